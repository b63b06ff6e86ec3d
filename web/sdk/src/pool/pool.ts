//! The page's own pool: decides which run goes when, and settles every promise it gave, whatever
//! becomes of the frame. The frame does what it is told.

import { RunaboutError } from '../errors.js';
import { Listeners } from '../listeners.js';
import { QUEUE_MAX, SLOTS_MAX } from '../limits.js';
import type { FrameToPage, Line, RunEnd, RunSpec, RunUse, State } from '../sandbox/messages.js';
import type { Pool, Unsubscribe } from '../types.js';
import type { Language } from '../wire.js';
import type { Link, OpenLink } from './link.js';

/** Code, with what it is kept under. */
export interface PoolArtifact {
  key: string;
  language: Language;
  bytes: Uint8Array;
}

export interface PoolRun {
  artifact: PoolArtifact;
  spec: Omit<RunSpec, 'id' | 'artifact' | 'language'>;
  started?(): void;
  output?(lines: Line[]): void;
  progress?(fraction: number, message: string | undefined): void;
  checkpoint?(state: State): void;
}

export interface PoolEnd {
  end: RunEnd;
  use: RunUse;
  wallMs: number;
  outputTruncated: boolean;
}

export interface Ticket {
  /** Settles once, and never rejects. */
  ended: Promise<PoolEnd>;
  cancel(): void;
}

interface Entry {
  id: number;
  run: PoolRun;
  settle(end: PoolEnd): void;
}

/** What the frame keeps of code; what was used longest ago is dropped first. */
const ARTIFACT_BYTES_MAX = 256 << 20;

export class LocalPool implements Pool {
  private readonly waiting: Entry[] = [];
  private readonly active = new Map<number, Entry>();
  private readonly changes = new Listeners<Pool>();
  private readonly timers = new Map<number, () => void>();
  /** What the frame has been given, the one used longest ago first. */
  private readonly given = new Map<string, number>();
  private hasEngine = false;
  private link: Link | undefined;
  private lastId = 0;
  private isClosed = false;

  constructor(
    private count: number,
    private readonly open: OpenLink,
    private readonly engine: () => Promise<Uint8Array>,
  ) {}

  get slots(): number { return this.count; }
  get running(): number { return this.active.size; }
  get queued(): number { return this.waiting.length; }

  on(_event: 'change', listener: (pool: Pool) => void): Unsubscribe {
    return this.changes.add(listener);
  }

  /** Runs that are under way are left to finish, whatever the number. */
  resize(slots: number): void {
    this.count = boundedSlots(slots);
    this.link?.post({ type: 'slots', slots: this.count });
    this.pump();
    this.changes.tell(this);
  }

  /** Runs it when there is a slot.
   *
   * @throws RunaboutError `queue_full` */
  run(run: PoolRun): Ticket {
    if (this.isClosed) throw new RunaboutError('the node was closed', { code: 'closed' });
    if (this.waiting.length >= QUEUE_MAX) {
      throw new RunaboutError(`${QUEUE_MAX} runs wait already`, { code: 'queue_full' });
    }
    const id = ++this.lastId;
    const ended = new Promise<PoolEnd>((settle) => {
      this.waiting.push({ id, run, settle });
    });
    this.pump();
    this.changes.tell(this);
    return { ended, cancel: () => this.cancel(id) };
  }

  /** A timer that is on time while the page is in the background. */
  after(ms: number, ring: () => void): void {
    const id = ++this.lastId;
    this.timers.set(id, ring);
    this.frame().post({ type: 'timer', id, ms });
  }

  close(): void {
    this.isClosed = true;
    for (const { settle } of this.waiting.splice(0)) settle(ended({ kind: 'cancelled' }));
    this.loseAll({ kind: 'cancelled' });
    this.link?.close();
    this.link = undefined;
  }

  private cancel(id: number): void {
    const at = this.waiting.findIndex((entry) => entry.id === id);
    if (at >= 0) {
      this.waiting.splice(at, 1)[0]?.settle(ended({ kind: 'cancelled' }));
      this.changes.tell(this);
    } else if (this.active.has(id)) {
      this.link?.post({ type: 'cancel', id });
    }
  }

  private pump(): void {
    while (this.active.size < this.count) {
      const entry = this.waiting.shift();
      if (entry === undefined) return;
      this.active.set(entry.id, entry);
      this.begin(entry).catch((error: unknown) => {
        const reason = error instanceof Error ? error.message : String(error);
        this.finish(entry.id, ended({ kind: 'lost', reason }));
      });
    }
  }

  private async begin({ id, run }: Entry): Promise<void> {
    const { artifact, spec } = run;
    const link = this.frame();
    this.give(link, artifact);
    if (mayNeedEngine(run) && !this.hasEngine) {
      const wasm = await this.engine();
      if (!this.hasEngine && link === this.link) {
        this.hasEngine = true;
        link.post({ type: 'engine', wasm });
      }
    }
    // It may have been settled meanwhile, with the frame.
    if (!this.active.has(id) || link !== this.link) return;
    link.post({ type: 'run', run: { ...spec, id, artifact: artifact.key, language: artifact.language } });
  }

  private give(link: Link, { key, language, bytes }: PoolArtifact): void {
    const known = this.given.delete(key);
    this.given.set(key, bytes.length);
    if (!known) link.post({ type: 'artifact', artifact: key, language, bytes });
    let total = 0;
    for (const size of this.given.values()) total += size;
    if (total <= ARTIFACT_BYTES_MAX) return;
    const inUse = new Set([...this.active.values()].map((entry) => entry.run.artifact.key));
    for (const [old, size] of this.given) {
      if (total <= ARTIFACT_BYTES_MAX) return;
      if (inUse.has(old)) continue;
      this.given.delete(old);
      link.post({ type: 'drop', artifact: old });
      total -= size;
    }
  }

  private frame(): Link {
    if (this.link === undefined) {
      this.link = this.open({ hear: (message) => this.hear(message), lost: () => this.lose() });
      this.link.post({ type: 'slots', slots: this.count });
    }
    return this.link;
  }

  private hear(message: FrameToPage): void {
    if (message.type === 'timer') {
      const ring = this.timers.get(message.id);
      this.timers.delete(message.id);
      ring?.();
      return;
    }
    if (message.type === 'ready' || message.type === 'pong') return;
    const entry = this.active.get(message.id);
    if (entry === undefined) return;
    switch (message.type) {
      case 'started': return entry.run.started?.();
      case 'output': return entry.run.output?.(message.lines);
      case 'progress': return entry.run.progress?.(message.fraction, message.message);
      case 'checkpoint': return entry.run.checkpoint?.(message.state);
      case 'finished': {
        const { end, use, wallMs, truncated } = message;
        this.finish(message.id, { end, use, wallMs, outputTruncated: truncated });
      }
    }
  }

  private finish(id: number, end: PoolEnd): void {
    const entry = this.active.get(id);
    if (entry === undefined) return;
    this.active.delete(id);
    entry.settle(end);
    this.pump();
    this.changes.tell(this);
  }

  /** The frame's process is gone, and all that ran in it. What waits runs in a new one. */
  private lose(): void {
    this.link = undefined;
    this.hasEngine = false;
    this.given.clear();
    this.loseAll({ kind: 'lost' });
    for (const ring of [...this.timers.values()]) ring();
    this.timers.clear();
    this.pump();
    this.changes.tell(this);
  }

  private loseAll(end: RunEnd): void {
    const lost = [...this.active.values()];
    this.active.clear();
    for (const { settle } of lost) settle(ended(end));
  }
}

/** Four, or the processor's cores if those are fewer. */
export function defaultSlots(): number {
  const cores = typeof navigator === 'undefined' ? undefined : navigator.hardwareConcurrency;
  return Math.min(4, cores ?? 4);
}

export function boundedSlots(slots: number): number {
  if (!Number.isInteger(slots) || slots < 0 || slots > SLOTS_MAX) {
    throw new RunaboutError(`slots are a whole number from 0 to ${SLOTS_MAX}`, { code: 'invalid_slots' });
  }
  return slots;
}

function mayNeedEngine({ artifact, spec }: PoolRun): boolean {
  if (artifact.language !== 'js') return false;
  // A script with a top-level `await` runs in QuickJS, and only the frame can tell which that is.
  return spec.engine === 'quickjs' || (spec.form === 'script' && includesAwait(artifact.bytes));
}

function includesAwait(source: Uint8Array): boolean {
  return new TextDecoder().decode(source).includes('await');
}

function ended(end: RunEnd): PoolEnd {
  return { end, use: { cpuMs: null, memoryPeakBytes: null }, wallMs: 0, outputTruncated: false };
}
