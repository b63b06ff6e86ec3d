// Generated from crates/protocol by `cargo xtask generate`; do not edit.

/* eslint-disable */

/** The version of the worker protocol. */
export const PROTOCOL_VERSION = 1;

/** The most bytes a frame may have. */
export const FRAME_BYTES_MAX = 16777216;

/** The number of an attempt at a task, from 1. It only grows, and fences late results. */
export type Attempt = number;

/** One attempt at a task. */
export type AttemptRecord = {
  /** Its number, from 1. */
  attempt: Attempt,
  /** The worker it ran on. */
  worker: string,
  /** How far that worker's word is to be believed. */
  trust: Trust,
  /** When it began, RFC 3339 in UTC. */
  started_at: string,
  /** When it ended. */
  finished_at: string | null,
  /** How it ended. */
  outcome: Outcome | null,
  /** What it used. */
  usage: Usage | null, };

/** An attempt to end at once. */
export type CancelFrame = {
  /** The task. */
  task: TaskId,
  /** The attempt. */
  attempt: Attempt, };

/** What a worker can run. */
export type Capability = "js" | "wasm" | "wasi" | "quickjs";

/** A state that an attempt keeps for a later one. */
export type CheckpointFrame = {
  /** The task. */
  task: TaskId,
  /** The attempt. */
  attempt: Attempt,
  /** The state as JSON. With `state_encoding`, a string of base64. */
  state: Json,
  /** `base64` if the state is bytes. */
  state_encoding?: Encoding | null, };

/** `event: deleted`: the task and all that belonged to it are gone. */
export type DeletedEvent = {
  /** The task. */
  task: TaskId, };

/** The SHA-256 of an artifact's bytes; `sha256:<64 hex digits>` in text. */
export type Digest = string;

/** How bytes stand in JSON: not at all, or as base64 text beside this marker. */
export type Encoding = "base64";

/** What a function threw. */
export type ErrorReport = {
  /** The error's name: `TypeError`, `RuntimeError` for a Wasm trap, `Exit` for an exit code. */
  name: string,
  /** The error's message. */
  message: string,
  /** Where it was thrown, one frame a line, if the engine knows. */
  stack?: string | null, };

/** An attempt has ended. */
export type FinishedFrame = {
  /** The task. */
  task: TaskId,
  /** The attempt. */
  attempt: Attempt,
  /** How. */
  outcome: Outcome,
  /** What it used, as far as the worker can tell. */
  usage: Usage,
  /** Whether output was dropped because there was too much of it. */
  output_truncated?: boolean, };

/** The form of JavaScript source, decided once, when it is accepted. */
export type Form = "script" | "module";

/** A function's name: 1 to 64 of `a-z A-Z 0-9 . _ -`, beginning with a letter, a digit or `_`. */
export type FunctionName = string;

/** One deployed version of a function. */
export type FunctionVersion = {
  /** The function's name. */
  name: FunctionName,
  /** From 1; a number is never used again, not even after the function was deleted. */
  version: number,
  /** The artifact. */
  digest: Digest,
  /** What the artifact is written in. */
  language: Language,
  /** Script or module, for JavaScript. */
  form?: Form | null,
  /** What can be called. */
  exports: Array<string>,
  /** What is said of it. */
  manifest: Manifest,
  /** When it was deployed, RFC 3339 in UTC. */
  created_at: string, };

/** The worker is about to go. */
export type GoodbyeFrame = Record<symbol, never>;

/** Who speaks. */
export type HelloFrame = {
  /** The version of the protocol that it speaks. */
  protocol: number,
  /** What it is. */
  kind: WorkerKind,
  /** How many attempts it takes at once. */
  slots: number,
  /** What it can run. */
  capabilities: Array<Capability>,
  /** What it calls itself. */
  name?: string | null,
  /** The node's token, where it wants one. */
  token?: string | null, };

/** What JavaScript runs in, where there is a choice: nodes have only this one, tabs their browser's
 * besides. */
export type JsEngine = "quickjs";

/** One JSON text, known to be valid. */
export type Json = unknown;

/** What an artifact is written in. */
export type Language = "js" | "wasm" | "wasi";

/** A limit of time. */
export type LimitKind = "wall" | "cpu";

/** The limits of one run, all decided. */
export type Limits = {
  /** Wall-clock time, in milliseconds. */
  timeout_ms: number,
  /** Processor time, in milliseconds. */
  cpu_ms: number,
  /** Memory, in bytes: every linear memory, table and buffer of the run counted. */
  memory_bytes: number, };

/** The limits a request or a manifest asks for; what it leaves out is the default. */
export type LimitsRequest = {
  /** Wall-clock time, in milliseconds. */
  timeout_ms?: number | null,
  /** Processor time, in milliseconds; the wall-clock limit if left out. */
  cpu_ms?: number | null,
  /** Memory, in bytes. */
  memory_bytes?: number | null, };

/** `event: log`: a line of output. */
export type LogEvent = {
  /** The task. */
  task: TaskId,
  /** When it arrived at the node, RFC 3339 in UTC. */
  at: string,
  /** The attempt that wrote it. */
  attempt: Attempt,
  /** Its place among the attempt's lines, from 0. */
  seq: number,
  /** Where it was written. */
  stream: Stream,
  /** What was written: one line without its line end, or one `console` call. */
  text: string, };

/** A piece of an attempt's output. */
export type LogFrame = {
  /** The task. */
  task: TaskId,
  /** The attempt. */
  attempt: Attempt,
  /** Its place among the attempt's output, from 0. */
  seq: number,
  /** Where it was written. */
  stream: Stream,
  /** What was written. */
  text: string, };

/** What is said of a function beside its code. */
export type Manifest = {
  /** What the code is written in; found out when left out. */
  language?: Language | null,
  /** Script or module; found out when left out. */
  form?: Form | null,
  /** The export that a call without one means. */
  export?: string | null,
  /** Limits of its runs, where a request asks for none. */
  limits?: LimitsRequest | null,
  /** How many more attempts a task gets after one that threw, timed out or ran out of memory. */
  retries?: number | null,
  /** Where to run. */
  place?: Place | null,
  /** The same, in the words of an endpoint: `0`, `1`, `auto`, `query`, or a CEL rule over `args`
   * that says whether a call goes upstream, `args[0] > 32`. It excludes `place`. */
  offload?: string | null,
  /** Whether running it twice does no harm; true when left out, as no role grants effects yet. */
  pure?: boolean | null,
  /** What it may touch while it runs. */
  role?: string | null,
  /** What its JavaScript must run in; whatever the worker has, when left out. */
  engine?: JsEngine | null,
  /** Whether its sandbox may be kept from one run to the next. */
  reuse?: boolean | null, };

/** Whose memory ran out. */
export type MemoryScope = "run" | "node";

/** What becomes of times that came while the node was not there to see them. */
export type Missed = "skip" | "run_once" | "run_all";

/** How a run ended. */
export type Outcome = { "kind": "returned",
  /** What it returned. */
  value: Json,
  /** `base64` if the value is bytes. */
  value_encoding?: Encoding, } | { "kind": "threw", error: ErrorReport, } | { "kind": "timed_out", limit: LimitKind, limit_ms: number, } | { "kind": "out_of_memory", limit_bytes: number,
  /** `node` if it was the memory of all runs together. */
  scope?: MemoryScope, } | { "kind": "cancelled" } | { "kind": "lost",
  /** How many workers were lost. */
  attempts: number, };

/** `event: outcome`: how a task ended; told once, as the last of it. */
export type OutcomeEvent = {
  /** The task. */
  task: TaskId,
  /** Its final state. */
  state: TaskState,
  /** The attempt that ended it; left out if none was under way. */
  attempt?: Attempt | null,
  /** When it ended, RFC 3339 in UTC. */
  at: string,
  /** How. */
  outcome: Outcome,
  /** What that attempt used, if that is known. */
  usage?: Usage | null, };

/** A question whether the worker is there. */
export type PingFrame = {
  /** Which ping it is. */
  n: number, };

/** Where to run. */
export type Place = "here" | "upstream" | "tab" | "auto";

/** The answer to [`Ping`]. */
export type PongFrame = {
  /** Which ping it answers. */
  n: number, };

/** How far a run says it is. */
export type Progress = {
  /** From 0 to 1. */
  fraction: number,
  /** What it is doing. */
  message?: string | null, };

/** `event: progress`: how far the latest attempt says it is. */
export type ProgressEvent = {
  /** The task. */
  task: TaskId,
  /** The attempt. */
  attempt: Attempt,
  /** From 0 to 1. */
  fraction: number,
  /** What it is doing. */
  message?: string | null, };

/** How far an attempt is. */
export type ProgressFrame = {
  /** The task. */
  task: TaskId,
  /** The attempt. */
  attempt: Attempt,
  /** From 0 to 1. */
  fraction: number,
  /** What it is doing. */
  message?: string | null, };

/** `event: reset`: events were missed that cannot be told any more. A task's stream begins anew
 * after it; for a stream of all tasks, ask for the list again. */
export type ResetEvent = {
  /** Why. */
  reason: ResetReason, };

/** Why events were missed. */
export type ResetReason = "restarted" | "too_old" | "behind";

/** How many slots a worker is asked to offer. */
export type ResizeFrame = {
  /** That many. */
  slots: number, };

/** An attempt, with all that is needed to run it but the artifact's bytes. */
export type Run = { task: TaskId, attempt: Attempt,
  /** The artifact's digest; its bytes are at `/v1/artifacts/{digest}`. */
  artifact: Digest, language: Language, form?: Form | null, export?: string | null,
  /** An array. With `args_encoding`, every element is a string of base64. */
  args: Json, args_encoding?: Encoding | null, stdin?: string | null, limits: Limits,
  /** What the last attempt left to go on from. */
  checkpoint?: Json | null, checkpoint_encoding?: Encoding | null,
  /** What JavaScript must run in: its manifest says so, or its limits need to be exact. */
  engine?: JsEngine | null,
  /** Whether its sandbox may be kept for the next run of the same artifact. */
  reuse?: boolean, };

/** A schedule as clients see it. Times are RFC 3339 in UTC. */
export type Schedule = {
  /** Its name. */
  name: ScheduleName,
  /** When, as it was asked for. */
  cron: string,
  /** Where the clock hangs. */
  time_zone: string,
  /** What is handed in each time. */
  task: TaskRequest,
  /** What becomes of times that were missed. */
  missed: Missed,
  /** Whether it rests. */
  paused: boolean,
  /** The next time; null while it rests. */
  next_at: string | null,
  /** The next five times; none while it rests. */
  upcoming: Array<string>,
  /** The time that the latest task stands for. */
  last_due_at: string | null,
  /** That task. */
  last_task: TaskId | null,
  /** Why the latest time led to no task, if it did not. */
  last_error: string | null,
  /** When it was first put. */
  created_at: string,
  /** When it was last put, paused or resumed. */
  updated_at: string, };

/** A schedule's name; it is made like a function's. */
export type ScheduleName = string;

/** What a client asks for with `PUT /v1/schedules/{name}`. */
export type ScheduleRequest = {
  /** When: minute, hour, day of the month, month, day of the week. */
  cron: string,
  /** Where the clock hangs: an IANA name; UTC if left out. */
  time_zone?: string | null,
  /** What is handed in each time. Read again each time: `fib` is then the latest `fib`. */
  task: TaskRequest,
  /** What becomes of times that were missed; `run_once` if left out. */
  missed?: Missed | null,
  /** Whether it rests; false if left out. */
  paused?: boolean | null, };

/** From the node to a worker. */
export type ServerToWorker = { "type": "welcome" } & WelcomeFrame | { "type": "run" } & Run | { "type": "cancel" } & CancelFrame | { "type": "ping" } & PingFrame | { "type": "resize" } & ResizeFrame;

/** How many slots there are from now on. */
export type SlotsFrame = {
  /** That many. */
  slots: number, };

/** An attempt has begun. */
export type StartedFrame = {
  /** The task. */
  task: TaskId,
  /** The attempt. */
  attempt: Attempt, };

/** `event: state`: where a task stands now. */
export type StateEvent = {
  /** The task. */
  task: TaskId,
  /** Where it stands. */
  state: TaskState,
  /** The latest attempt; left out before the first, and where an end came between two. */
  attempt?: Attempt | null,
  /** When it came to stand there, RFC 3339 in UTC; left out where that is not kept. */
  at?: string | null,
  /** The name it was given; told when it is accepted. */
  name?: string | null,
  /** The function and version it is bound to, `fib@1`; told when it is accepted. */
  function?: string | null,
  /** Its labels; told when it is accepted. */
  labels?: { [key in string]: string },
  /** While it is queued: not before this time. */
  ready_at?: string | null,
  /** When it is queued again: how the attempt before ended, `threw`, `lost` and so on; left out
   * if the node put it back to stop. */
  previous?: string | null,
  /** While it runs: the worker it runs on. */
  worker?: string | null,
  /** While it runs: how far that worker's word is to be believed. */
  trust?: Trust | null, };

/** Where a run wrote a line. */
export type Stream = "stdout" | "stderr";

/** A task as clients see it. */
export type Task = {
  /** Its id, a UUIDv7. */
  id: TaskId,
  /** The name it was given. */
  name: string | null,
  /** Where it stands. */
  state: TaskState,
  /** The function and version it was bound to when accepted, `fib@1`; null for bare source. */
  function: string | null,
  /** The artifact that runs. */
  digest: Digest,
  /** What the artifact is written in. */
  language: Language,
  /** The export that is called. */
  export?: string | null,
  /** Its arguments, an array. */
  args: Json,
  /** `base64` if every argument is bytes. */
  args_encoding?: Encoding | null,
  /** The number of the latest attempt; 0 before the first. */
  attempt: Attempt,
  /** How many attempts may throw, time out or run out of memory. */
  max_attempts: number,
  /** How many attempts were lost with their worker. */
  lost: number,
  /** Higher goes first. */
  priority: number,
  /** Where it is to run; left out where that is open. */
  place?: Place,
  /** Words to find and group tasks by. */
  labels?: { [key in string]: string },
  /** When it was accepted, RFC 3339 in UTC. */
  created_at: string,
  /** When it may begin, if later. */
  run_at?: string | null,
  /** When the latest attempt began. */
  started_at: string | null,
  /** When it ended. */
  finished_at: string | null,
  /** The worker of the latest attempt. */
  worker: string | null,
  /** How far that worker's word is to be believed. */
  trust: Trust | null,
  /** How far it says it is. */
  progress: Progress | null,
  /** How it ended. */
  outcome: Outcome | null,
  /** What the attempt that ended it used. */
  usage: Usage | null, };

/** A task's id: a UUIDv7, so ids sort by the time of submission. */
export type TaskId = string;

/** What a client asks for with `POST /v1/tasks`. Exactly one of `source` and `function` is given. */
export type TaskRequest = {
  /** Source text of JavaScript or TypeScript. */
  source?: string | null,
  /** A deployed function: `name` for its latest version, `name@3` for that one. */
  function?: string | null,
  /** `js` or `ts`, for `source`; `js` if left out. */
  language?: string | null,
  /** The export to call. */
  export?: string | null,
  /** An array of arguments. */
  args?: Json | null,
  /** `base64` if every argument is bytes. */
  args_encoding?: Encoding | null,
  /** Standard input of a WASI command. */
  stdin?: string | null,
  /** A name to find the task by. */
  name?: string | null,
  /** Limits of each attempt. */
  limits?: LimitsRequest | null,
  /** How many more attempts after one that threw, timed out or ran out of memory; 0 if left out. */
  retries?: number | null,
  /** Higher goes first; 0 if left out. */
  priority?: number | null,
  /** Not before this time, RFC 3339. */
  run_at?: string | null,
  /** Where to run. */
  place?: Place | null,
  /** Words to find and group tasks by. */
  labels?: { [key in string]: string } | null, };

/** Where a task stands. */
export type TaskState = "queued" | "running" | "succeeded" | "failed" | "cancelled";

/** `event: truncated`: the attempt wrote more than is kept. */
export type TruncatedEvent = {
  /** The task. */
  task: TaskId,
  /** The attempt. */
  attempt: Attempt, };

/** How far a worker's word is to be believed. */
export type Trust = "node" | "joined" | "tab";

/** What a run used. */
export type Usage = {
  /** Processor time, in milliseconds; null where it cannot be measured. */
  cpu_ms: number | null,
  /** Wall-clock time, in milliseconds. */
  wall_ms: number,
  /** The most memory it held at once, in bytes; null where it cannot be measured. */
  memory_peak_bytes: number | null,
  /** The node or worker it ran on; set by the server, never by the worker. */
  ran_on?: string | null, };

/** The answer to [`Hello`]. */
export type WelcomeFrame = {
  /** The version of the protocol that the node speaks. */
  protocol: number,
  /** The session's id; tasks carry it as their `worker`. */
  worker: WorkerId,
  /** How often a ping comes, in milliseconds. Who leaves three unanswered is taken for gone. */
  ping_every_ms: number, };

/** What runs attempts for a node: the node itself, or whoever has a session with it. */
export type Worker = {
  /** Its id, which tasks carry as their `worker`. */
  id: WorkerId,
  /** What it calls itself. */
  name: string,
  /** What it is: the node itself and nodes that joined are `node`, told apart by `trust`. */
  kind: WorkerKind,
  /** How far its word is to be believed. */
  trust: Trust,
  /** How many attempts it takes at once. */
  slots: number,
  /** How many it has under way; above `slots` for a while after it was made smaller. */
  busy: number,
  /** The tasks they belong to. */
  running: Array<TaskId>,
  /** What it can run. */
  capabilities: Array<Capability>,
  /** Whether it takes nothing more, and goes when it has finished what it has. */
  leaving: boolean,
  /** Since when it is there, RFC 3339 in UTC. */
  connected_at: string,
  /** How many attempts it has finished. */
  completed: number,
  /** How long it took to answer the latest ping, in milliseconds; null for the node itself. */
  latency_ms: number | null, };

/** What happened to a worker. */
export type WorkerChange = "joined" | "changed" | "left";

/** What `PATCH /v1/workers/{id}` asks for. */
export type WorkerChanges = {
  /** How many attempts it is to take at once. */
  slots: number, };

/** `event: worker`: a worker has come, has changed its slots, or is gone. */
export type WorkerEvent = {
  /** What happened to it. */
  change: WorkerChange,
  /** The worker, as it is now or was last. */
  worker: Worker,
  /** Why it is gone. */
  reason?: string | null, };

/** A worker session's id; a worker that reconnects is a new one. */
export type WorkerId = string;

/** What a session says that it is. How far it is believed does not depend on it. */
export type WorkerKind = "tab" | "node" | "other";

/** From a worker to the node. */
export type WorkerToServer = { "type": "hello" } & HelloFrame | { "type": "started" } & StartedFrame | { "type": "progress" } & ProgressFrame | { "type": "log" } & LogFrame | { "type": "checkpoint" } & CheckpointFrame | { "type": "finished" } & FinishedFrame | { "type": "pong" } & PongFrame | { "type": "slots" } & SlotsFrame | { "type": "goodbye" } & GoodbyeFrame;
