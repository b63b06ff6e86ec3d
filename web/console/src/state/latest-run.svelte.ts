// What was run last on the Run page. Watched on while the person looks at another page, so that it
// is there when they come back.

import type { Watched } from "./watched-task.svelte";

class LatestRun {
  watched = $state.raw<Watched | null>(null);

  show(next: Watched) {
    this.watched?.stop();
    this.watched = next;
    void next.watch();
  }
}

export const latestRun = new LatestRun();
