// One task, from where it stands to its end: its record, what it writes, how far it is. The Run page
// and a task's own page look at the same.

import { Refused } from "../api/ask";
import { follow, type NodeEvent } from "../api/events";
import { tasks } from "../api/node";
import type {
  AttemptRecord,
  LogEvent,
  LogLine,
  OutcomeEvent,
  ProgressEvent,
  StateEvent,
  Task,
} from "../api/schema";
import { isFinal } from "../text/outcome";

/** Lines are shown in pieces, so that a run that writes much does not draw the page for each. */
const DRAW_MS = 50;

/** What is looked at while it runs, wherever that is. */
export interface Watched {
  readonly id: string;
  readonly task: Task | null;
  readonly lines: LogLine[];
  readonly isTruncated: boolean;
  readonly isDeleted: boolean;
  readonly isOver: boolean;
  /** Whether it is not known yet if it wrote anything. */
  readonly isWaiting: boolean;
  readonly error: unknown;
  /** Where its record is, if the node does not have it. */
  readonly kept: string;
  /** Looks until it has ended, or `stop` is called. */
  watch(): Promise<void>;
  stop(): void;
  cancel(): Promise<void>;
}

export class WatchedTask implements Watched {
  readonly kept = "";
  task = $state.raw<Task | null>(null);
  lines = $state.raw<LogLine[]>([]);
  attempts = $state.raw<AttemptRecord[]>([]);
  isTruncated = $state(false);
  isDeleted = $state(false);
  error = $state.raw<unknown>(null);
  /** Its stream has spoken. */
  #isHeard = $state(false);
  /** All that it wrote has been told. */
  #isTold = $state(false);

  readonly id: string;
  #abort = new AbortController();
  #written: LogLine[] = [];
  #drawing: ReturnType<typeof setTimeout> | undefined;

  constructor(id: string, known: Task | null = null) {
    this.id = id;
    this.task = known;
  }

  async watch() {
    const { signal } = this.#abort;
    await this.#read();
    if (signal.aborted || this.error) return;
    const listening = {
      onEvent: (event: NodeEvent) => this.#take(event),
      lastKinds: ["outcome", "deleted"],
      onRefused: (refused: Refused) => (this.error = refused),
    };
    await follow(`/v1/tasks/${this.id}/events`, listening, signal);
    if (signal.aborted) return;
    this.#isTold = true;
    if (!this.isDeleted) await this.#read();
  }

  stop() {
    this.#abort.abort();
    clearTimeout(this.#drawing);
  }

  async cancel() {
    await tasks.cancel(this.id);
  }

  get isOver(): boolean {
    return this.isDeleted || (this.task !== null && isFinal(this.task.state));
  }

  get isWaiting(): boolean {
    if (this.error !== null) return false;
    return this.isOver ? !this.#isTold : !this.#isHeard;
  }

  async #read() {
    const { signal } = this.#abort;
    try {
      const [task, attempts] = await Promise.all([
        tasks.show(this.id, signal),
        tasks.attempts(this.id, signal),
      ]);
      this.task = task;
      this.attempts = attempts.items;
      this.error = null;
    } catch (error) {
      if (!signal.aborted) this.error = error;
    }
  }

  #take({ kind, data }: NodeEvent) {
    this.#isHeard = true;
    switch (kind) {
      case "state":
        this.#stands(JSON.parse(data));
        break;
      case "progress":
        this.#progresses(JSON.parse(data));
        break;
      case "log":
        this.#write(JSON.parse(data));
        break;
      case "truncated":
        this.isTruncated = true;
        break;
      case "outcome":
        this.#ends(JSON.parse(data));
        break;
      case "deleted":
        this.isDeleted = true;
        break;
      case "reset":
        this.#written = [];
        this.#draw();
        break;
    }
  }

  #stands(event: StateEvent) {
    if (!this.task) return;
    const isNext = event.attempt !== undefined && event.attempt !== this.task.attempt;
    this.task = {
      ...this.task,
      state: event.state,
      attempt: event.attempt ?? this.task.attempt,
      worker: event.worker ?? this.task.worker ?? null,
      trust: event.trust ?? this.task.trust ?? null,
      ...(event.state === "running" && event.at ? { started_at: event.at } : {}),
      ...(isNext ? { progress: null } : {}),
    };
    if (isNext) void this.#read();
  }

  #progresses(event: ProgressEvent) {
    if (!this.task || event.attempt < this.task.attempt) return;
    const { fraction, message } = event;
    this.task = { ...this.task, progress: { fraction, ...(message ? { message } : {}) } };
  }

  #write(line: LogEvent) {
    this.#written.push(line);
    this.#draw();
  }

  #ends(event: OutcomeEvent) {
    if (!this.task) return;
    this.task = {
      ...this.task,
      state: event.state,
      finished_at: event.at,
      outcome: event.outcome,
      usage: event.usage ?? null,
    };
    // Its lines were told before its end.
    clearTimeout(this.#drawing);
    this.#drawn();
    this.#isTold = true;
  }

  #draw() {
    this.#drawing ??= setTimeout(() => this.#drawn(), DRAW_MS);
  }

  #drawn() {
    this.#drawing = undefined;
    this.lines = [...this.#written];
  }
}
