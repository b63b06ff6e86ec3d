//! Submissions on their way to the node: each is kept in the browser's store before anything is done
//! about it, and at most one page does anything about it at a time. That is the page that took it, for
//! as long as there is one: its handle waits for what comes of it.

import type { Handle } from '../client/task-handle.js';
import { problemOf, type Http } from '../client/http.js';
import { RunaboutError } from '../errors.js';
import { Listeners } from '../listeners.js';
import type { Outbox, OutboxEntry, Unsubscribe } from '../types.js';
import type { Task, TaskRequest } from '../wire.js';
import { canRunHere, reportOf, type Letter } from './letter.js';
import type { Reach } from './reach.js';
import type { Store } from './store.js';

/** Runs a submission in this page; gives what came of it, or undefined if this page lacks its code. */
export type RunHere = (letter: Letter, handle: Handle | undefined) => Promise<Partial<Letter> | undefined>;

/** How often letters of pages that are gone are looked for. */
const LOOK_EVERY_MS = 5_000;
const RETRY_MS_MIN = 500;
const RETRY_MS_MAX = 30_000;

export class Letters implements Outbox {
  private readonly changes = new Listeners<OutboxEntry[]>();
  private readonly handles = new Map<string, Handle>();
  private readonly busy = new Set<string>();
  private readonly looking: ReturnType<typeof setInterval>;
  private readonly stopListening: Unsubscribe;
  private isClosed = false;
  private leave: () => void = () => undefined;

  constructor(
    private readonly name: string,
    /** What this page calls itself. */
    private readonly page: string,
    private readonly store: Store,
    private readonly http: Http,
    private readonly reach: Reach,
    private readonly runHere: RunHere,
  ) {
    // Held while this page is there; browsers let go of the locks of pages that are not.
    void withLock(this.lockOf(page), async () => await new Promise<void>((resolve) => { this.leave = resolve; }));
    this.looking = setInterval(() => void this.flush(), LOOK_EVERY_MS);
    (this.looking as { unref?: () => void }).unref?.();
    this.stopListening = reach.on((mode) => { if (mode === 'connected') void this.flush(); });
    void this.flush();
  }

  async list(): Promise<OutboxEntry[]> {
    return (await this.store.letters()).map(({ id, stage, request, createdAt, outcome }) => ({
      id, request, createdAt, outcome, delivery: stage === 'sent' ? 'waiting for node' : 'local',
    }));
  }

  on(_event: 'change', listener: (entries: OutboxEntry[]) => void): Unsubscribe {
    return this.changes.add(listener);
  }

  /** Takes a submission. Settles when the node has it, or when it is known that it has to wait.
   *
   * @throws RunaboutError what the node has against it */
  async take(request: TaskRequest, id: string, handle: Handle): Promise<void> {
    const isLocal = this.reach.mode === 'local';
    const letter: Letter = {
      id, request, owner: this.page, stage: isLocal ? 'local' : 'sent', createdAt: new Date().toISOString(),
    };
    await this.store.putLetter(letter);
    this.changed();
    this.handles.set(id, handle);
    if (isLocal) {
      if (!canRunHere(request)) handle.waitsForNode();
      void this.attend(letter.id);
      return;
    }
    handle.waitsForNode();
    const delivered = this.attend(letter.id);
    // A node that does not answer keeps nobody waiting: the handle goes on.
    const lost = new Promise<void>((resolve) => {
      const stop = this.reach.on((mode) => { if (mode === 'local') { stop(); resolve(); } });
      delivered.finally(stop).catch(() => undefined);
    });
    await Promise.race([delivered, lost]);
  }

  /** Attends to the letters of this page, and to those of pages that are gone. */
  async flush(): Promise<void> {
    if (this.isClosed) return;
    const letters = await this.store.letters().catch(() => []);
    await Promise.all(letters.map(async ({ id, owner }) => {
      const attend = async (): Promise<void> => await this.attend(id).catch(() => undefined);
      if (owner === this.page) await attend();
      else await withLock(this.lockOf(owner), attend, 'shared');
    }));
  }

  close(): void {
    this.isClosed = true;
    clearInterval(this.looking);
    this.stopListening();
    this.leave();
  }

  private lockOf(page: string): string {
    return `${this.name} page ${page}`;
  }

  private changed(): void {
    if (this.changes.isEmpty) return;
    this.list().then((entries) => this.changes.tell(entries), () => undefined);
  }

  /** Does what is to be done about a letter, unless somebody does already: this page, or another one
   * that holds the letter's lock. */
  private async attend(id: string): Promise<void> {
    if (this.busy.has(id) || this.isClosed) return;
    this.busy.add(id);
    try {
      await withLock(`${this.name} letter ${id}`, async () => await this.advance(id));
    } finally {
      this.busy.delete(id);
      this.changed();
    }
  }

  private async advance(id: string): Promise<void> {
    let retryMs = RETRY_MS_MIN;
    while (!this.isClosed) {
      // Another page may have been here in the meantime.
      const letter = await this.store.getLetter(id);
      if (letter === undefined) return;
      if (letter.stage === 'local' && this.reach.mode === 'local') {
        if (!(await this.tryHere(letter))) return;
        continue;
      }
      // In local mode it waits: `flush` comes back when the node does.
      if (this.reach.mode === 'local') return;
      const next = await this.send(letter);
      if (next === 'done') return;
      retryMs = await pause(next ?? retryMs);
    }
  }

  /** Whether it ran here, so that there is more to do. */
  private async tryHere(letter: Letter): Promise<boolean> {
    if (!canRunHere(letter.request)) return false;
    const ran = await this.runHere(letter, this.handles.get(letter.id));
    if (ran === undefined || this.isClosed) return false;
    await this.store.putLetter({ ...letter, ...ran, stage: 'done here' });
    this.changed();
    return true;
  }

  /** `done`, or after how long to try again. */
  private async send(letter: Letter): Promise<'done' | number | undefined> {
    const handle = this.handles.get(letter.id);
    const report = letter.stage === 'done here' ? reportOf(letter) : undefined;
    // Written before the first byte leaves: from here on it is the node's, or its report is.
    if (letter.stage !== 'sent' && (report === undefined || letter.isReported !== true)) {
      await this.store.putLetter(report === undefined ? { ...letter, stage: 'sent' } : { ...letter, isReported: true });
    }
    let response: Response;
    try {
      response = await this.http.send('/v1/tasks', {
        method: 'POST',
        headers: { 'Content-Type': 'application/json', 'Idempotency-Key': letter.id },
        body: JSON.stringify(report ?? letter.request),
      });
      if (response.ok) {
        const task = (await response.json()) as Task;
        await this.store.deleteLetter(letter.id);
        if (report === undefined) handle?.accepted(task);
        else handle?.reported(task);
        return this.forget(letter.id);
      }
    } catch {
      // No answer, or half of one: it is sent again with the same key.
      return undefined;
    }
    if (response.status === 429 || response.status >= 500) return retryAfterMs(response);
    const problem = await problemOf(response);
    if (problem.code === 'unauthorized' || problem.code === 'foreign_origin') {
      // Nothing is wrong with the submission: it waits for a page that may send it.
      handle?.refused(problem);
      throw problem;
    }
    await this.store.deleteLetter(letter.id);
    handle?.refused(problem);
    this.forget(letter.id);
    throw problem;
  }

  private forget(id: string): 'done' {
    this.handles.delete(id);
    return 'done';
  }
}

function retryAfterMs(response: Response): number | undefined {
  const seconds = Number(response.headers.get('retry-after'));
  return Number.isFinite(seconds) && seconds > 0 ? seconds * 1000 : undefined;
}

/** Waits so long, and gives how long to wait the next time. */
async function pause(ms: number): Promise<number> {
  const bounded = Math.min(ms, RETRY_MS_MAX);
  await new Promise((resolve) => setTimeout(resolve, bounded));
  return bounded * 2;
}

/** Does `work` while holding a lock that all pages of this browser share; does nothing if it is held. */
async function withLock(name: string, work: () => Promise<void>, mode: LockMode = 'exclusive'): Promise<void> {
  const locks = globalThis.navigator?.locks;
  if (locks === undefined) return await work();
  await locks.request(name, { ifAvailable: true, mode }, async (lock) => {
    if (lock !== null) await work();
  });
}

/** What is thrown when there is no way to run or to send something. */
export function notHere(what: string): RunaboutError {
  return new RunaboutError(`${what} is not kept in this page, and the node cannot be reached`, { code: 'not_kept' });
}
