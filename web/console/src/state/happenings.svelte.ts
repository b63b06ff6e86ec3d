// What happens to tasks, as it is told. Pages look at `count` to know that there is news, and ask
// for what they show; a busy node tells more than anybody could read.

import { follow } from "../api/events";

/** Pages ask again this often at most, however much happens. */
export const REFRESH_MS = 700;

class Happenings {
  /** Grows whenever a task stands elsewhere, ends or goes, and when a worker comes, changes or goes. */
  count = $state(0);
  isLive = $state(false);

  constructor() {
    // A browser has six connections to a node, for all its tabs: those nobody looks at keep none.
    document.addEventListener("visibilitychange", () => {
      if (this.#listeners === 0) return;
      if (document.hidden) this.#close();
      else this.#open();
    });
  }

  #listeners = 0;
  #abort: AbortController | null = null;
  #isDue = false;

  /** Listens while a page needs it; gives back how to stop. */
  listen(): () => void {
    this.#listeners += 1;
    if (this.#listeners === 1) this.#open();
    return () => {
      this.#listeners -= 1;
      if (this.#listeners === 0) this.#close();
    };
  }

  #open() {
    if (this.#abort || document.hidden) return;
    this.#abort = new AbortController();
    const listening = {
      onEvent: () => this.#tell(),
      onLink: (isOpen: boolean) => {
        this.isLive = isOpen;
        // What happened before it was open is news as well.
        if (isOpen) this.#tell();
      },
    };
    void follow("/v1/events?only=state,outcome,deleted,worker", listening, this.#abort.signal);
  }

  #close() {
    this.#abort?.abort();
    this.#abort = null;
    this.isLive = false;
  }

  #tell() {
    if (this.#isDue) return;
    this.#isDue = true;
    setTimeout(() => {
      this.#isDue = false;
      this.count += 1;
    }, REFRESH_MS);
  }
}

export const happenings = new Happenings();
