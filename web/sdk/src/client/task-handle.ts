//! A task as its submitter holds it: first in the outbox, perhaps run here, then the node's.

import { RunaboutError } from '../errors.js';
import { Listeners } from '../listeners.js';
import type { Delivery, LogLine, TaskHandle, TaskProgress, Unsubscribe, Value } from '../types.js';
import { valueOf } from '../values.js';
import type { LogEvent, ProgressEvent, Task, TaskState } from '../wire.js';
import { follow } from './events.js';
import type { Http } from './http.js';
import type { Outcomes } from './outcomes.js';

/** Streams of single tasks at a time; browsers have six connections to one node. */
const STREAMS_MAX = 3;
let streams = 0;
const waitingForStream: (() => void)[] = [];

export class Handle implements TaskHandle {
  state: TaskState = 'queued';
  delivery: Delivery;
  private readonly progressed = new Listeners<TaskProgress>();
  private readonly logged = new Listeners<LogLine>();
  private readonly stated = new Listeners<TaskState>();
  /** The task at its end, wherever that came. */
  private readonly end: Promise<Task>;
  private settleEnd!: (task: Task) => void;
  private failEnd!: (error: unknown) => void;
  private isWaiting = false;
  private isFollowing = false;
  private isOver = false;
  private readonly linesHere: LogLine[] = [];
  private cancelHere: (() => void) | undefined;
  /** Whether it is wanted to stop, before anybody could be told. */
  private isCancelled = false;

  constructor(
    private readonly http: Http,
    private readonly outcomes: Outcomes,
    /** The node's id, or the submission's before the node has it. */
    public id: string,
    delivery: Delivery,
  ) {
    this.delivery = delivery;
    this.end = new Promise((resolve, reject) => {
      this.settleEnd = resolve;
      this.failEnd = reject;
    });
    // Whoever asks for the end hears of a failure; nobody need ask.
    this.end.catch(() => undefined);
  }

  // --- what the outbox tells ----------------------------------------------------------------------

  /** The node has it. */
  accepted(task: Task): void {
    this.id = task.id;
    this.delivery = 'accepted';
    if (this.isOver) return;
    this.become(task.state);
    if (task.outcome !== null) this.finishedWith(task);
    else this.goOn();
    if (this.isCancelled) this.cancel().catch(() => undefined);
  }

  /** The node has the record of what ran here. */
  reported(task: Task): void {
    this.id = task.id;
    this.delivery = 'accepted';
  }

  waitsForNode(): void {
    this.delivery = 'waiting for node';
  }

  /** It runs here. */
  runsHere(cancel: () => void): void {
    this.cancelHere = cancel;
    if (this.isCancelled) cancel();
    else this.become('running');
  }

  heard(line: LogLine): void {
    this.linesHere.push(line);
    this.logged.tell(line);
  }

  progressedTo(progress: TaskProgress): void {
    this.progressed.tell(progress);
  }

  finishedWith(task: Task): void {
    if (this.isOver) return;
    this.isOver = true;
    this.become(task.state);
    this.settleEnd(task);
  }

  refused(error: unknown): void {
    this.isOver = true;
    this.failEnd(error);
  }

  // --- what the submitter asks --------------------------------------------------------------------

  async result(options: { signal?: AbortSignal } = {}): Promise<Value> {
    const task = await this.finished(options);
    if (task.outcome === null) throw new RunaboutError('the task has no outcome', { code: 'lost' });
    return valueOf(task.outcome);
  }

  async finished({ signal }: { signal?: AbortSignal } = {}): Promise<Task> {
    this.isWaiting = true;
    this.goOn();
    if (signal === undefined) return await this.end;
    return await Promise.race([this.end, abortOf(signal)]);
  }

  get progress(): AsyncIterable<TaskProgress> {
    return { [Symbol.asyncIterator]: () => this.iterate() };
  }

  private async *iterate(): AsyncGenerator<TaskProgress, void, undefined> {
    const heard: TaskProgress[] = [];
    let wake: () => void = () => undefined;
    let isOver = false;
    const stop = this.onProgress((progress) => { heard.push(progress); wake(); });
    const ended = (): void => { isOver = true; wake(); };
    this.finished().then(ended, ended);
    try {
      for (;;) {
        const next = heard.shift();
        if (next !== undefined) yield next;
        else if (isOver) return;
        else await new Promise<void>((resolve) => { wake = resolve; });
      }
    } finally {
      stop();
    }
  }

  onProgress(listener: (progress: TaskProgress) => void): Unsubscribe {
    const stop = this.progressed.add(listener);
    this.listen();
    return stop;
  }

  onLog(listener: (line: LogLine) => void): Unsubscribe {
    for (const line of this.linesHere) listener(line);
    const stop = this.logged.add(listener);
    this.listen();
    return stop;
  }

  onState(listener: (state: TaskState) => void): Unsubscribe {
    const stop = this.stated.add(listener);
    this.isWaiting = true;
    this.goOn();
    return stop;
  }

  async logs(): Promise<LogLine[]> {
    if (this.linesHere.length > 0 || this.delivery !== 'accepted') return [...this.linesHere];
    return (await this.http.json<{ items: LogLine[] }>(`/v1/tasks/${this.id}/logs`)).items;
  }

  async cancel(): Promise<void> {
    this.isCancelled = true;
    if (this.cancelHere !== undefined) return this.cancelHere();
    if (this.delivery !== 'accepted' || this.isOver) return;
    try {
      const task = await this.http.json<Task>(`/v1/tasks/${this.id}/cancel`, { method: 'POST' });
      this.finishedWith(task);
    } catch (error) {
      // It has ended by itself, which the end tells.
      if (!(error instanceof RunaboutError) || error.code !== 'task_finished') throw error;
    }
  }

  // --- following the node -------------------------------------------------------------------------

  private become(state: TaskState): void {
    if (this.state === state) return;
    this.state = state;
    this.stated.tell(state);
  }

  private listen(): void {
    this.isFollowing = true;
    this.goOn();
  }

  private isAsked = false;
  private isStreaming = false;

  private goOn(): void {
    if (this.delivery !== 'accepted' || this.isOver) return;
    if ((this.isWaiting || this.isFollowing) && !this.isAsked) {
      this.isAsked = true;
      this.outcomes.ended(this.id, undefined, (state) => this.become(state))
        .then((task) => this.endOnceTold(task), (error: unknown) => this.refused(error));
    }
    if (this.isFollowing && !this.isStreaming) {
      this.isStreaming = true;
      this.streamed = this.stream();
    }
  }

  private streamed: Promise<void> | undefined;

  /** Whoever listens to lines hears all of them before the end. */
  private async endOnceTold(task: Task): Promise<void> {
    await this.streamed;
    this.finishedWith(task);
  }

  private async stream(): Promise<void> {
    await roomForStream();
    try {
      for await (const event of follow(this.http, { task: this.id })) {
        if (event.type === 'log') {
          const { task: _task, ...line } = event.data as unknown as LogEvent;
          this.logged.tell(line);
        } else if (event.type === 'progress') {
          const { fraction, message } = event.data as unknown as ProgressEvent;
          this.progressed.tell(typeof message === 'string' ? { fraction, message } : { fraction });
        } else if (event.type === 'outcome' || event.type === 'deleted') return;
      }
    } catch {
      // The end is asked for separately, and says what is wrong.
    } finally {
      streams--;
      waitingForStream.shift()?.();
    }
  }
}

async function roomForStream(): Promise<void> {
  while (streams >= STREAMS_MAX) await new Promise<void>((resolve) => waitingForStream.push(resolve));
  streams++;
}

async function abortOf(signal: AbortSignal): Promise<never> {
  return await new Promise((_, reject) => {
    const fail = (): void => reject(new RunaboutError('aborted by the caller', { code: 'aborted', cause: signal.reason }));
    if (signal.aborted) fail();
    else signal.addEventListener('abort', fail, { once: true });
  });
}
