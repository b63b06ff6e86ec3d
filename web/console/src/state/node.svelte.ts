// The node, as far as every page shows it: whether it answers, how busy it is, who works for it.
// Asked every two seconds while somebody looks.

import { Refused } from "../api/ask";
import { access } from "../api/access.svelte";
import { type Counted, type Rates, ratesBetween, readMetrics } from "../api/metrics";
import { node as api } from "../api/node";
import type { NodeReport, Worker } from "../api/schema";
import { shortId } from "../text/format";

const EVERY_MS = 2_000;
/** Five minutes. */
const SAMPLES_MAX = 150;

export type Link = "connecting" | "up" | "refused" | "unreachable";

/** One moment of the charts. */
export interface Sample extends Rates {
  /** Seconds since 1970. */
  at: number;
  queued: number;
  running: number;
  slots: number;
}

class NodeState {
  link = $state<Link>("connecting");
  report = $state.raw<NodeReport | null>(null);
  workers = $state.raw<Worker[]>([]);
  counted = $state.raw<Counted | null>(null);
  samples = $state.raw<Sample[]>([]);
  /** What keeps it from taking work, in its own words. */
  notReady = $state("");
  /** Since when it does not answer. */
  unreachableSince = $state(0);

  #timer: ReturnType<typeof setTimeout> | undefined;
  #asking: Promise<void> | null = null;

  start() {
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) void this.refresh();
    });
    void this.refresh();
  }

  /** Asks now; those who ask at once share the answer. */
  refresh(): Promise<void> {
    this.#asking ??= this.#ask().finally(() => {
      this.#asking = null;
      clearTimeout(this.#timer);
      if (!document.hidden) this.#timer = setTimeout(() => void this.refresh(), EVERY_MS);
    });
    return this.#asking;
  }

  /** The worker's name, if it is here still. */
  workerName(id: string | null | undefined): string {
    if (!id) return "";
    return this.workers.find((worker) => worker.id === id)?.name ?? "";
  }

  /** Where a run was, as a person knows it: nodes tell their names, of other workers the id is kept. */
  placeName(ranOn: string | null | undefined, worker?: string | null): string {
    const place = ranOn || worker || "";
    return this.workerName(place) || (isId(place) ? shortId(place) : place);
  }

  async #ask() {
    // One that does not answer in this time is as good as gone.
    const signal = AbortSignal.timeout(5_000);
    try {
      const [report, workers, page] = await Promise.all([
        api.report(signal),
        api.workers(signal),
        api.metrics(signal),
        this.#askReady(signal),
      ]);
      this.report = report;
      this.workers = workers.items;
      this.#take(readMetrics(page, Date.now()));
      this.#answered("up");
      access.isRefused = false;
    } catch (error) {
      if (error instanceof Refused) {
        this.#answered("refused");
      } else {
        this.#silent();
      }
    }
  }

  async #askReady(signal: AbortSignal) {
    try {
      await api.ready(signal);
      this.notReady = "";
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      this.notReady = error.problem.detail;
    }
  }

  #answered(link: Link) {
    this.link = link;
    this.unreachableSince = 0;
  }

  #silent() {
    this.link = "unreachable";
    this.unreachableSince ||= Date.now();
  }

  #take(counted: Counted) {
    const before = this.counted;
    this.counted = counted;
    if (!before) return;
    const { queued, running, slots } = counted;
    const sample = { at: counted.at / 1_000, ...ratesBetween(before, counted), queued, running, slots };
    this.samples = [...this.samples.slice(-(SAMPLES_MAX - 1)), sample];
  }
}

function isId(text: string): boolean {
  return /^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$/.test(text);
}

export const node = new NodeState();
