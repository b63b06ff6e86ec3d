//! Waits for the ends of many tasks over one stream: browsers have only a handful of connections to
//! one node, and a page may wait for hundreds of tasks.

import type { Http } from './http.js';
import { follow } from './events.js';
import { RunaboutError } from '../errors.js';
import type { OutcomeEvent, StateEvent, Task } from '../wire.js';

interface Waiter {
  settle(task: Task): void;
  fail(error: unknown): void;
  state?(state: Task['state']): void;
}

/** How many tasks are asked after at once when the stream began anew. */
const ASKED_AT_ONCE = 4;

export class Outcomes {
  private readonly waiters = new Map<string, Set<Waiter>>();
  private stop: AbortController | undefined;
  private asking = 0;
  private readonly toAsk = new Set<string>();

  constructor(private readonly http: Http) {}

  /** The task at its end. */
  async ended(id: string, signal?: AbortSignal, state?: Waiter['state']): Promise<Task> {
    return await new Promise<Task>((resolve, reject) => {
      const leave = (): void => {
        const all = this.waiters.get(id);
        all?.delete(waiter);
        if (all?.size === 0) this.waiters.delete(id);
        if (this.waiters.size === 0) this.close();
        signal?.removeEventListener('abort', onAbort);
      };
      const waiter: Waiter = {
        settle: (task) => { leave(); resolve(task); },
        fail: (error) => { leave(); reject(error); },
        ...(state === undefined ? {} : { state }),
      };
      const onAbort = (): void =>
        waiter.fail(new RunaboutError('aborted by the caller', { code: 'aborted', cause: signal?.reason }));
      if (signal?.aborted === true) return onAbort();
      signal?.addEventListener('abort', onAbort);
      const all = this.waiters.get(id) ?? new Set();
      all.add(waiter);
      this.waiters.set(id, all);
      this.open();
      // It may have ended before the stream was there.
      this.ask(id);
    });
  }

  close(): void {
    this.stop?.abort();
    this.stop = undefined;
  }

  private open(): void {
    if (this.stop !== undefined) return;
    const stop = new AbortController();
    this.stop = stop;
    this.listen(stop.signal).catch((error: unknown) => {
      if (!stop.signal.aborted) this.failAll(error);
    });
  }

  private async listen(signal: AbortSignal): Promise<void> {
    // What happened before a stream was there is not told on it, nor what a reset leaves out.
    const askAll = (): void => {
      for (const id of this.waiters.keys()) this.ask(id);
    };
    const kinds = { only: ['state', 'outcome', 'deleted'], signal };
    for await (const event of follow(this.http, kinds, askAll)) {
      if (event.type === 'reset') {
        askAll();
        continue;
      }
      const told = event.data as unknown as StateEvent | OutcomeEvent;
      const waiters = this.waiters.get(told.task);
      if (waiters === undefined) continue;
      if (event.type === 'state') for (const waiter of [...waiters]) waiter.state?.(told.state);
      // The record has more than the event: logs are durable and usage is there.
      if (event.type === 'outcome' || event.type === 'deleted') this.ask(told.task);
    }
  }

  private ask(id: string): void {
    this.toAsk.add(id);
    while (this.asking < ASKED_AT_ONCE) {
      const [next] = this.toAsk;
      if (next === undefined) return;
      this.toAsk.delete(next);
      this.asking++;
      this.look(next).finally(() => {
        this.asking--;
        const [more] = this.toAsk;
        if (more !== undefined) this.ask(more);
      });
    }
  }

  private async look(id: string): Promise<void> {
    const waiters = this.waiters.get(id);
    if (waiters === undefined) return;
    try {
      const task = await this.http.json<Task>(`/v1/tasks/${id}`);
      for (const waiter of [...waiters]) {
        if (task.outcome !== null) waiter.settle(task);
        else waiter.state?.(task.state);
      }
    } catch (error) {
      if (error instanceof RunaboutError && error.code === 'unreachable') {
        // The stream will begin anew, and everything is asked after then.
        this.again(id);
        return;
      }
      for (const waiter of [...waiters]) waiter.fail(error);
    }
  }

  private again(id: string): void {
    setTimeout(() => { if (this.waiters.has(id)) this.ask(id); }, 1_000);
  }

  private failAll(error: unknown): void {
    this.stop = undefined;
    for (const waiters of [...this.waiters.values()]) for (const waiter of [...waiters]) waiter.fail(error);
  }
}
