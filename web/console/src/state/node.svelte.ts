// The node, as far as every page shows it: whether it answers, how busy it is, who works for it.
// Asked every two seconds while somebody looks.

import { Refused } from "../api/ask";
import { access } from "../api/access.svelte";
import { type Counted, type Rates, ratesBetween, readMetrics } from "../api/metrics";
import { node as api } from "../api/node";
import { pulse } from "../api/pulse";
import type { NodeReport, Worker } from "../api/schema";
import { shortId } from "../text/format";

const EVERY_MS = 2_000;
/** After a connection that did not come about. */
const AGAIN_MS = 500;
/** Connections in a row that do not come about, before it counts as gone: one may break for many
    reasons. */
const FAILURES_MAX = 2;
/** An answer that takes this long is said to be slow. */
const SLOW_MS = 5_000;
/** One from which nothing at all is heard for this long counts as gone. A stream that is open is
    never silent for longer than 15 s. */
const SILENCE_MS_MAX = 20_000;
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
  /** It takes its time. */
  isSlow = $state(false);
  /** Since when it does not answer. */
  unreachableSince = $state(0);

  #timer: ReturnType<typeof setTimeout> | undefined;
  #asking: Promise<void> | null = null;
  #failures = 0;

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
      const pause = this.#failures === 1 ? AGAIN_MS : EVERY_MS;
      if (!document.hidden) this.#timer = setTimeout(() => void this.refresh(), pause);
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
    const began = Date.now();
    const abort = new AbortController();
    const slow = setTimeout(() => (this.isSlow = true), SLOW_MS);
    const silent = setTimeout(() => abort.abort(), SILENCE_MS_MAX);
    const answers = await this.#questions(abort.signal);
    clearTimeout(slow);
    clearTimeout(silent);
    const errors = answers.flatMap((answer) => (answer.status === "rejected" ? [answer.reason] : []));
    const said = errors.filter((error): error is Refused => error instanceof Refused && error.isOfNode);
    if (said.some(({ problem }) => problem.status === 401 || problem.status === 403)) {
      this.#answered("refused");
    } else if (errors.length < answers.length || said.length > 0) {
      this.#answered("up");
    } else {
      this.#unanswered(began, abort.signal.aborted);
    }
  }

  /** Everything that is shown of it. Each answer counts by itself: a slow one keeps no other back. */
  #questions(signal: AbortSignal): Promise<PromiseSettledResult<void>[]> {
    const report = async () => {
      this.report = await api.report(signal);
      access.isRefused = false;
      this.#answered("up");
    };
    const workers = async () => {
      this.workers = (await api.workers(signal)).items;
    };
    const metrics = async () => {
      const page = await api.metrics(signal);
      this.#take(readMetrics(page, Date.now()));
    };
    return Promise.allSettled([report(), workers(), metrics(), this.#askReady(signal)]);
  }

  async #askReady(signal: AbortSignal) {
    try {
      await api.ready(signal);
      this.notReady = "";
    } catch (error) {
      if (!(error instanceof Refused && error.isOfNode)) throw error;
      this.notReady = error.problem.detail;
    }
  }

  #answered(link: Link) {
    this.link = link;
    this.isSlow = false;
    this.unreachableSince = 0;
    this.#failures = 0;
  }

  /** Nothing of what was asked was answered, within the time or because no connection came about. */
  #unanswered(began: number, isSilent: boolean) {
    if (pulse.heardAt >= began) {
      this.isSlow = true;
      return;
    }
    this.#failures += 1;
    this.unreachableSince ||= Date.now();
    if (isSilent || this.#failures >= FAILURES_MAX) this.link = "unreachable";
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
