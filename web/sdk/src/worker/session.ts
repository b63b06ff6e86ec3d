//! This page as a worker: takes attempts from the node over a WebSocket, and runs them in the page's
//! pool. Answers pings in the message handler, as browsers slow down timers in the background but not
//! messages.

import { RunaboutError } from '../errors.js';
import { memberText } from '../json-text.js';
import type { Functions } from '../client/functions.js';
import { Listeners } from '../listeners.js';
import { boundedSlots, type LocalPool, type PoolArtifact } from '../pool/pool.js';
import { start, type Running } from '../runs.js';
import type { Unsubscribe, Worker, WorkerState } from '../types.js';
import { fromWireArguments, fromWireState, wireState } from '../values.js';
import { PROTOCOL_VERSION, type FinishedFrame, type Run, type ServerToWorker, type WorkerToServer } from '../wire.js';

const RETRY_MS_MIN = 250;
const RETRY_MS_MAX = 15_000;
/** After so many times the node's own interval without a word from it, the session is dead. */
const SILENT_PINGS_MAX = 4;
/** The code of a session that the node has ended because of what was said on it. */
const REFUSED = 1008;

/** How long an attempt that could not be run here is kept before it is handed back. */
const HAND_BACK_AFTER_MS = 1_000;
/** After so long an artifact that could not be had is asked for again. */
const FETCH_AGAIN_AFTER_MS = 500;

/** An attempt that the node gave to this page. */
interface Attempt {
  running: Running | undefined;
  isCancelled: boolean;
}

type Ended = Pick<FinishedFrame, 'outcome' | 'usage' | 'output_truncated'>;

export interface SessionOptions {
  url: string;
  token: string | undefined;
  name: string | undefined;
  slots: number;
  pool: LocalPool;
  functions: Functions;
}

export class Session implements Worker {
  id: string | undefined;
  state: WorkerState = 'connecting';
  finished = 0;
  reason: string | undefined;
  private socket: WebSocket | undefined;
  private readonly attempts = new Map<string, Attempt>();
  private readonly changes = new Listeners<Worker>();
  private retryMs = RETRY_MS_MIN;
  private isWaiting = false;
  private heardAt = 0;
  private count: number;
  private readonly onAwake = (): void => this.wake();

  constructor(private readonly options: SessionOptions) {
    this.count = boundedSlots(options.slots);
    this.makeRoom();
    // The ends of a freeze, and of a time without any network.
    for (const event of ['online', 'pageshow', 'resume']) {
      (event === 'resume' ? document : window).addEventListener(event, this.onAwake);
    }
    this.connect();
  }

  get slots(): number { return this.count; }
  get running(): number { return this.attempts.size; }

  on(_event: 'change', listener: (worker: Worker) => void): Unsubscribe {
    return this.changes.add(listener);
  }

  resize(slots: number): void {
    this.count = boundedSlots(slots);
    this.makeRoom();
    if (this.state === 'working') this.say({ type: 'slots', slots: this.count });
    this.changes.tell(this);
  }

  async stop(): Promise<void> {
    if (this.state === 'stopped') return;
    if (this.state === 'working') this.say({ type: 'goodbye' });
    for (const event of ['online', 'pageshow', 'resume']) {
      (event === 'resume' ? document : window).removeEventListener(event, this.onAwake);
    }
    this.become('stopped', undefined);
    this.drop();
  }

  /** The pool has room for all that the node may send. */
  private makeRoom(): void {
    const { pool } = this.options;
    if (pool.slots < this.count) pool.resize(this.count);
  }

  private become(state: WorkerState, reason: string | undefined): void {
    this.state = state;
    this.reason = reason;
    this.changes.tell(this);
  }

  private connect(): void {
    if (this.state === 'stopped') return;
    const socket = new WebSocket(`${this.options.url.replace(/^http/, 'ws')}/v1/work`);
    this.socket = socket;
    this.become('connecting', this.reason);
    socket.onopen = () => this.hello();
    socket.onmessage = (event) => {
      if (socket === this.socket) this.hear(String(event.data));
    };
    socket.onclose = (event) => {
      if (socket === this.socket) this.lose(event);
    };
  }

  private hello(): void {
    const { name, token } = this.options;
    this.say({
      type: 'hello',
      protocol: PROTOCOL_VERSION,
      kind: 'tab',
      slots: this.count,
      capabilities: ['js', 'wasm', 'wasi', 'quickjs'],
      ...(name === undefined ? {} : { name }),
      ...(token === undefined ? {} : { token }),
    });
  }

  private say(frame: WorkerToServer, valueText?: string): void {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(textOf(frame, valueText));
  }

  private hear(text: string): void {
    this.heardAt = Date.now();
    // What is not known is ignored: a later node may say more.
    const frame = JSON.parse(text) as ServerToWorker;
    switch (frame.type) {
      case 'welcome':
        this.id = frame.worker;
        this.retryMs = RETRY_MS_MIN;
        this.become('working', undefined);
        this.watch(frame.ping_every_ms);
        break;
      case 'ping':
        this.say({ type: 'pong', n: frame.n });
        break;
      case 'run':
        void this.run(frame, text);
        break;
      case 'cancel': {
        const attempt = this.attempts.get(key(frame));
        if (attempt !== undefined) {
          attempt.isCancelled = true;
          attempt.running?.cancel();
        }
        break;
      }
      case 'resize':
        this.resize(frame.slots);
        break;
    }
  }

  /** A session of which nothing has been heard for long is closed from here as well. */
  private watch(pingEveryMs: number): void {
    const { socket } = this;
    const look = (): void => {
      if (socket !== this.socket || this.state !== 'working') return;
      if (Date.now() - this.heardAt > pingEveryMs * SILENT_PINGS_MAX) return this.restart('the node fell silent');
      this.options.pool.after(pingEveryMs, look);
    };
    this.options.pool.after(pingEveryMs, look);
  }

  private async run(frame: Run, frameText: string): Promise<void> {
    const id = key(frame);
    const attempt: Attempt = { running: undefined, isCancelled: false };
    this.attempts.set(id, attempt);
    this.changes.tell(this);
    const { socket } = this;
    // Frames about an attempt go to the session that gave it, or nowhere.
    const say = (more: WorkerToServer, valueText?: string): void => {
      if (socket === this.socket) this.say(more, valueText);
    };
    try {
      const ended = await this.runToEnd(frame, frameText, attempt, say);
      if (socket !== this.socket) return;
      say({ type: 'finished', ...about(frame), ...ended }, attempt.running?.valueText);
      if (attempt.running !== undefined) this.finished++;
    } catch (error) {
      if (socket !== this.socket) return;
      console.warn(`Runabout: ${id} is handed back: ${error instanceof Error ? error.message : String(error)}`);
      // Not at once: what cannot run now is idle again, and would be given the next one.
      await this.pause(HAND_BACK_AFTER_MS);
      say({ type: 'finished', ...about(frame), ...HANDED_BACK });
    } finally {
      if (this.attempts.get(id) === attempt) this.attempts.delete(id);
      this.changes.tell(this);
    }
  }

  /** Runs it; rejects where that failed for want of anything but the function itself. */
  private async runToEnd(
    frame: Run, frameText: string, attempt: Attempt, say: (more: WorkerToServer) => void,
  ): Promise<Ended> {
    const artifact = await this.artifact(frame, attempt);
    if (artifact === undefined) return { outcome: { kind: 'cancelled' }, usage: NOTHING_USED };
    const its = about(frame);
    let seq = 0;
    attempt.running = start(this.options.pool, orderOf(frame, frameText, artifact), {
      started: () => say({ type: 'started', ...its }),
      line: ({ stream, text }) => say({ type: 'log', ...its, seq: seq++, stream, text }),
      progress: ({ fraction, message = null }) => say({ type: 'progress', ...its, fraction, message }),
      checkpoint: (state) => say({ type: 'checkpoint', ...its, ...wireState(state) }),
    });
    const { outcome, usage, outputTruncated, reason } = await attempt.running.report;
    if (reason !== undefined) throw new RunaboutError(reason, { code: 'lost' });
    const { ran_on: _here, ...use } = usage;
    return { outcome, usage: use, output_truncated: outputTruncated };
  }

  /** Its code, however often it takes to get it; nothing once the attempt is cancelled. That it cannot
   * be had is not the function's doing: the node cancels what does not begin in time, and gives it to
   * another worker. */
  private async artifact(frame: Run, attempt: Attempt): Promise<PoolArtifact | undefined> {
    while (!attempt.isCancelled) {
      try {
        const artifact = await this.options.functions.artifact(frame.artifact, frame.language);
        return attempt.isCancelled ? undefined : artifact;
      } catch {
        if (!attempt.isCancelled) await this.pause(FETCH_AGAIN_AFTER_MS);
      }
    }
    return undefined;
  }

  /** As long in the background as in front. */
  private async pause(ms: number): Promise<void> {
    await new Promise<void>((resolve) => this.options.pool.after(ms, resolve));
  }

  private restart(reason: string): void {
    this.drop();
    this.become('disconnected', reason);
    this.retry();
  }

  private lose(event: CloseEvent): void {
    this.drop();
    if (this.state === 'stopped') return;
    const isRefused = event.code === REFUSED;
    if (isRefused) this.retryMs = RETRY_MS_MAX;
    this.become(isRefused ? 'refused' : 'disconnected', event.reason || undefined);
    this.retry();
  }

  /** Ends the session here: no result of its attempts would be taken any more. */
  private drop(): void {
    const { socket } = this;
    this.socket = undefined;
    this.id = undefined;
    socket?.close();
    for (const attempt of this.attempts.values()) {
      attempt.isCancelled = true;
      attempt.running?.cancel();
    }
    this.attempts.clear();
  }

  private retry(): void {
    if (this.isWaiting) return;
    this.isWaiting = true;
    const ms = this.retryMs * (0.75 + Math.random() / 2);
    this.retryMs = Math.min(this.retryMs * 2, RETRY_MS_MAX);
    this.options.pool.after(ms, () => {
      if (!this.isWaiting) return;
      this.isWaiting = false;
      this.connect();
    });
  }

  private wake(): void {
    if (!this.isWaiting) return;
    this.isWaiting = false;
    this.retryMs = RETRY_MS_MIN;
    this.connect();
  }
}

const NOTHING_USED = { cpu_ms: null, wall_ms: 0, memory_peak_bytes: null };
/** The node counts it as lost, and runs it elsewhere. */
const HANDED_BACK: Ended = { outcome: { kind: 'lost', attempts: 1 }, usage: NOTHING_USED };

function about({ task, attempt }: Run): { task: string; attempt: number } {
  return { task, attempt };
}

function key({ task, attempt }: { task: string; attempt: number }): string {
  return `${task}/${attempt}`;
}

/** A frame; of one that tells a result, with the value as the text that the run gave. */
function textOf(frame: WorkerToServer, valueText: string | undefined): string {
  if (valueText === undefined || frame.type !== 'finished' || frame.outcome.kind !== 'returned') {
    return JSON.stringify(frame);
  }
  const text = JSON.stringify({ ...frame, outcome: { kind: 'returned', value: null } });
  return text.replace('"value":null', () => `"value":${valueText}`);
}

/** What a frame asks for; its values as the text that they came in. */
function orderOf(
  frame: Run, frameText: string, artifact: Parameters<typeof start>[1]['artifact'],
): Parameters<typeof start>[1] {
  const { checkpoint, checkpoint_encoding: encoding } = frame;
  return {
    artifact,
    form: frame.form ?? 'script',
    engine: frame.engine ?? 'native',
    reuse: frame.reuse === true,
    export: frame.export ?? undefined,
    args: frame.args_encoding === 'base64'
      ? fromWireArguments(frame.args, 'base64') : { text: memberText(frameText, 'args') ?? '[]' },
    stdin: frame.stdin,
    limits: frame.limits,
    task: {
      id: frame.task,
      attempt: frame.attempt,
      ...(checkpoint === undefined || checkpoint === null
        ? {} : {
          checkpoint: encoding === 'base64'
            ? fromWireState(checkpoint, 'base64') : { text: memberText(frameText, 'checkpoint') ?? 'null' },
        }),
    },
    source: frame.task,
  };
}

/** Makes a session, where there is a page to run in. */
export function openSession(options: SessionOptions): Session {
  if (typeof document === 'undefined' || typeof WebSocket === 'undefined') {
    throw new RunaboutError('only a page in a browser can work for a node', { code: 'no_pool' });
  }
  return new Session(options);
}
