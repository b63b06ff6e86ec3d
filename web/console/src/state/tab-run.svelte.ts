// A run in this tab's own pool, looked at like any task: with the node out of reach, or because the
// person wants it here and nowhere else.

import type { LogLine as SdkLine, RunReport, TaskHandle } from "runabout";

import type { LogLine, Outcome, Task, TaskRequest, Usage } from "../api/schema";
import { newKey } from "../text/key";
import { isFinal } from "../text/outcome";
import { thisTab } from "./this-tab.svelte";
import type { Watched } from "./watched-task.svelte";

const NOWHERE = "sha256:" + "0".repeat(64);

/** A record for a run that no node keeps. */
function recordOf(request: TaskRequest, id: string): Task {
  return {
    id,
    name: request.name ?? null,
    state: "queued",
    function: request.function ?? null,
    digest: NOWHERE,
    language: "js",
    args: request.args ?? [],
    attempt: 0,
    max_attempts: 1,
    lost: 0,
    priority: 0,
    created_at: new Date().toISOString(),
    started_at: null,
    finished_at: null,
    worker: null,
    trust: null,
    progress: null,
    outcome: null,
    usage: null,
  };
}

/** A run that stays here: no node hears of it. */
export class PrivateRun implements Watched {
  readonly id = newKey();
  readonly kept = "this tab alone";
  /** What it writes comes with no delay. */
  readonly isWaiting = false;
  task = $state.raw<Task | null>(null);
  lines = $state.raw<LogLine[]>([]);
  isTruncated = $state(false);
  isDeleted = false;
  error = $state.raw<unknown>(null);
  #abort = new AbortController();

  constructor(readonly request: TaskRequest) {
    this.task = recordOf(request, this.id);
  }

  get isOver(): boolean {
    return this.error !== null || (this.task !== null && isFinal(this.task.state));
  }

  async watch() {
    try {
      const node = await thisTab.node();
      this.#change({ state: "running", started_at: new Date().toISOString() });
      const { source, args, limits } = this.request;
      const report = await node.run({
        code: source ?? "",
        language: "js",
        args: (args ?? []) as never,
        ...(limits ? { limits: limits as never } : {}),
        signal: this.#abort.signal,
        onLog: ({ stream, text }) => this.#write(stream, text),
        onProgress: ({ fraction, message }) =>
          this.#change({ progress: { fraction, ...(message ? { message } : {}) } }),
      });
      this.#end(report);
    } catch (error) {
      if (this.#abort.signal.aborted) this.#cancelled();
      else this.error = error;
    }
  }

  async cancel() {
    this.#abort.abort();
  }

  stop() {
    this.#abort.abort();
  }

  #write(stream: "stdout" | "stderr", text: string) {
    const at = new Date().toISOString();
    this.lines = [...this.lines, { at, attempt: 1, seq: this.lines.length, stream, text }];
  }

  #end({ outcome, usage, outputTruncated }: RunReport) {
    this.isTruncated = outputTruncated;
    const state =
      outcome.kind === "returned" ? "succeeded" : outcome.kind === "cancelled" ? "cancelled" : "failed";
    this.#change({
      state,
      finished_at: new Date().toISOString(),
      outcome: outcome as Outcome,
      usage: { ...usage, ran_on: "this tab" } as Usage,
    });
  }

  #cancelled() {
    const finished_at = new Date().toISOString();
    this.#change({ state: "cancelled", finished_at, outcome: { kind: "cancelled" } });
  }

  #change(change: Partial<Task>) {
    if (this.task) this.task = { ...this.task, ...change };
  }
}

/** A submission on its way to the node: run here meanwhile, or waiting for it. */
export class OutboxRun implements Watched {
  task = $state.raw<Task | null>(null);
  lines = $state.raw<LogLine[]>([]);
  isTruncated = false;
  isDeleted = false;
  error = $state.raw<unknown>(null);
  #delivery = $state("");
  #isTold = $state(false);
  readonly #stops: (() => void)[] = [];

  constructor(
    readonly handle: TaskHandle,
    request: TaskRequest,
  ) {
    this.task = { ...recordOf(request, handle.id), state: handle.state };
    this.#delivery = handle.delivery;
  }

  get id(): string {
    return this.handle.id;
  }

  /** Where its record is, while no node has it. */
  get kept(): string {
    return this.#delivery === "accepted" ? "" : this.#delivery;
  }

  get isOver(): boolean {
    return this.error !== null || (this.task !== null && isFinal(this.task.state));
  }

  get isWaiting(): boolean {
    return this.error === null && this.isOver && !this.#isTold;
  }

  async watch() {
    const { handle } = this;
    const looked = setInterval(() => (this.#delivery = handle.delivery), 500);
    this.#stops.push(
      () => clearInterval(looked),
      handle.onState((state) => this.#change({ state })),
      handle.onProgress(({ fraction, message }) =>
        this.#change({ progress: { fraction, ...(message ? { message } : {}) } }),
      ),
      handle.onLog((line: SdkLine) => (this.lines = [...this.lines, line])),
    );
    try {
      this.task = (await handle.finished()) as Task;
      this.lines = await handle.logs();
      this.#isTold = true;
    } catch (error) {
      this.error = error;
    }
  }

  async cancel() {
    await this.handle.cancel();
  }

  stop() {
    for (const stop of this.#stops.splice(0)) stop();
  }

  #change(change: Partial<Task>) {
    if (this.task) this.task = { ...this.task, ...change };
  }
}
