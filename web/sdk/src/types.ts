//! What callers of the package see: the node, calls, task handles, workers, the pool, the outbox.

import type {
  Language, LimitsRequest, Outcome, Stream, Task, TaskRequest, TaskState, Usage,
} from './wire.js';
import type { RunaboutError } from './errors.js';

/** Where work goes: the node that was connected to, this page's own pool, the node behind the node,
 * or wherever it is expected to be done first. */
export type Place = 'auto' | 'here' | 'tab' | 'upstream';

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json | undefined };

/** A line of a task's output. */
export interface LogLine {
  /** When it arrived at the node, RFC 3339 in UTC. */
  at: string;
  attempt: number;
  /** Its place among the attempt's lines, from 0. */
  seq: number;
  stream: Stream;
  text: string;
}

/** An argument or a result: JSON, or bytes. */
export type Value = Json | Uint8Array;

/** Takes something back that was given: a listener, say. */
export type Unsubscribe = () => void;

export interface ConnectOptions {
  /** Shown to nodes that were started with a token. */
  token?: string | undefined;
  /** Called with the name of this page where it works for the node. */
  name?: string | undefined;
  /** This page's own Web Workers; 4 slots if left out, or the processor's cores if those are fewer. */
  pool?: { slots?: number } | undefined;
  /** Where `dist/frame.html` is served from, for pages whose own policy forbids inline scripts. */
  frameUrl?: string | undefined;
  /** Starts in local mode and stays there until `goOnline` is called. */
  offline?: boolean | undefined;
}

export interface CallOptions {
  /** Where to run. Left out, the function's manifest has the say, and `auto` if it says nothing. */
  place?: Place | undefined;
  /** The export to call; not needed where there is one. */
  export?: string | undefined;
  /** That version of the function; the latest if left out. */
  version?: number | undefined;
  limits?: LimitsRequest | undefined;
  /** Ends the call when it is aborted; nothing else is touched. */
  signal?: AbortSignal | undefined;
  /** Hears the lines this call writes. */
  onLog?: ((line: OutputLine) => void) | undefined;
}

/** A line that a run wrote. */
export interface OutputLine {
  stream: Stream;
  text: string;
  /** The function or task that wrote it. */
  source: string;
}

/** How a call went, beside its value. */
export interface CallReport {
  value: Value;
  /** Where it ran: the node's name, or `tab`. */
  ranOn: string;
  /** Why it ran there: `here; reason=asked`. */
  placement: string;
  /** Phases in milliseconds: `queue`, `prepare`, `run`, `total`. */
  timing: Readonly<Record<string, number>>;
  usage?: Usage | undefined;
  output: OutputLine[];
}

export type Mode = 'connected' | 'local';

export interface NodeEvents {
  /** The node came within reach, or went out of it. */
  mode: Mode;
}

export interface Node {
  readonly url: string;
  /** `local` while the node cannot be reached: runs go to this page's own pool. */
  readonly mode: Mode;
  /** A function by name, to call as if it were here: `const fib = node.fn<typeof fib>('fib')`. */
  fn<F extends (...args: never[]) => unknown>(
    name: string, options?: CallOptions,
  ): (...args: Parameters<F>) => Promise<Awaited<ReturnType<F>>>;
  /** Calls a function by name. Rejects with a `RunaboutError` if it does not return. */
  call(name: string, args?: readonly Value[], options?: CallOptions): Promise<Value>;
  /** The same, and tells where it ran and how long each phase took. */
  callWithReport(name: string, args?: readonly Value[], options?: CallOptions): Promise<CallReport>;
  /** Runs source in this page's own pool; no node is needed. */
  run(request: RunRequest): Promise<RunReport>;
  /** Hands in a task. Never rejects for want of a node: it then waits in the outbox. */
  submit(request: TaskRequest, options?: SubmitOptions): Promise<TaskHandle>;
  /** A handle on a task that exists. */
  task(id: string): TaskHandle;
  /** Makes this page a worker of the node. */
  work(options?: WorkOptions): Worker;
  /** Changes how many runs the pool has room for; those that run are left to finish. */
  resize(slots: number): void;
  readonly pool: Pool;
  /** Keeps functions and their code at hand for local mode. */
  pin(...names: string[]): Promise<void>;
  /** Hears the lines of every call and run made here. */
  onLog(listener: (line: OutputLine) => void): Unsubscribe;
  on<E extends keyof NodeEvents>(event: E, listener: (value: NodeEvents[E]) => void): Unsubscribe;
  readonly outbox: Outbox;
  /** Requests of any kind to the node, with its token: the console's lists are made of these. */
  request(path: string, init?: RequestInit): Promise<Response>;
  /** The node's events, from now on; cut off, it goes on by itself. */
  events(options?: EventsOptions): AsyncIterable<NodeEvent>;
  /** Leaves local mode that was asked for with `offline`. */
  goOnline(): void;
  close(): Promise<void>;
}

export interface EventsOptions {
  /** One task's events; those of all tasks if left out. */
  task?: string | undefined;
  /** Only these kinds, of `state`, `progress`, `log`, `outcome`, `deleted`. */
  only?: readonly string[] | undefined;
  signal?: AbortSignal | undefined;
}

/** One server-sent event. */
export interface NodeEvent {
  type: string;
  id?: string | undefined;
  data: Json;
}

/** Code to run in this page's pool. */
export interface RunRequest {
  /** JavaScript; or an artifact's bytes. */
  code: string | Uint8Array;
  language?: Language | undefined;
  /** Found out if left out. */
  form?: 'script' | 'module' | undefined;
  /** `quickjs` for exact limits of time and memory; found out from `limits` if left out. */
  engine?: 'native' | 'quickjs' | undefined;
  export?: string | undefined;
  args?: readonly Value[] | undefined;
  /** Standard input of a WASI command. */
  stdin?: string | undefined;
  limits?: LimitsRequest | undefined;
  signal?: AbortSignal | undefined;
  onLog?: ((line: OutputLine) => void) | undefined;
  onProgress?: ((progress: TaskProgress) => void) | undefined;
}

/** How a run in this page's pool ended. A function's failure is data here, not a rejection. */
export interface RunReport {
  outcome: Outcome;
  usage: Usage;
  output: OutputLine[];
  outputTruncated: boolean;
  /** Why the page could not run it, where the outcome is `lost` and that is known. */
  reason?: string | undefined;
}

export interface SubmitOptions {
  /** Sent again with this key a submission is not done again; made up if left out. */
  idempotencyKey?: string | undefined;
  signal?: AbortSignal | undefined;
}

export interface TaskProgress {
  fraction: number;
  message?: string | undefined;
}

/** Where a submission stands on its way to the node. */
export type Delivery =
  /** It runs, or ran, in this page, and the node does not know of it yet. */
  | 'local'
  /** The node may have it: it is sent again with its key until the node answers. */
  | 'waiting for node'
  /** The node has it. */
  | 'accepted';

export interface TaskHandle {
  /** The task's id on the node; before it is accepted, that of the submission. */
  readonly id: string;
  readonly state: TaskState;
  readonly delivery: Delivery;
  /** The value it returned; rejects with a `RunaboutError` if it did not return. */
  result(options?: { signal?: AbortSignal }): Promise<Value>;
  /** The task as it is at its end, whatever that is. */
  finished(options?: { signal?: AbortSignal }): Promise<Task>;
  /** How far it says it is, until it ends. */
  readonly progress: AsyncIterable<TaskProgress>;
  onProgress(listener: (progress: TaskProgress) => void): Unsubscribe;
  onLog(listener: (line: LogLine) => void): Unsubscribe;
  onState(listener: (state: TaskState) => void): Unsubscribe;
  /** All lines it has written so far. */
  logs(): Promise<LogLine[]>;
  cancel(): Promise<void>;
}

export interface WorkOptions {
  /** Attempts at a time; as many as the pool has slots, if left out. */
  slots?: number | undefined;
  name?: string | undefined;
}

export type WorkerState = 'connecting' | 'working' | 'disconnected' | 'stopped' | 'refused';

export interface Worker {
  /** The id the node gave it; undefined before. */
  readonly id: string | undefined;
  readonly slots: number;
  /** How many attempts run here now. */
  readonly running: number;
  readonly state: WorkerState;
  /** How many attempts have finished here since it began. */
  readonly finished: number;
  /** Why it is not working, if it is not. */
  readonly reason: string | undefined;
  /** Attempts that run here are left to finish, whatever the number. */
  resize(slots: number): void;
  /** Says goodbye: what has not finished runs elsewhere. */
  stop(): Promise<void>;
  on(event: 'change', listener: (worker: Worker) => void): Unsubscribe;
}

export interface Pool {
  readonly slots: number;
  readonly running: number;
  /** Runs that wait for a slot. */
  readonly queued: number;
  resize(slots: number): void;
  on(event: 'change', listener: (pool: Pool) => void): Unsubscribe;
}

/** A submission that has not come to its end with the node yet. */
export interface OutboxEntry {
  id: string;
  delivery: Exclude<Delivery, 'accepted'>;
  request: TaskRequest;
  createdAt: string;
  /** How it ended here, if it has. */
  outcome?: Outcome | undefined;
}

export interface Outbox {
  list(): Promise<OutboxEntry[]>;
  on(event: 'change', listener: (entries: OutboxEntry[]) => void): Unsubscribe;
  /** Tries to bring everything to the node now; resolves when nothing is left or the node is out of reach. */
  flush(): Promise<void>;
}

export type { RunaboutError };
