//! A Web Worker as the frame sees it: what it is doing, and what it says. Nothing it says is believed
//! beyond what it could have said honestly.

import type { FrameToGuest, GuestToFrame, Line, Program, RunSpec, State } from './messages.js';
import { engineScript, nativeScript } from './scripts.js';
import { spawn } from './spawn.js';

export type GuestKind = 'native' | 'engine';

/** Programs a warm Web Worker holds; beyond that it is told to forget them all. */
const PROGRAMS_MAX = 64;

export class Guest {
  private readonly worker: Worker;
  private readonly sent = new Set<string>();
  private hasEngine = false;
  readonly ready: Promise<void>;
  /** Hears what it says; set for each run. */
  hear: ((message: GuestToFrame) => void) | undefined;

  constructor(readonly kind: GuestKind) {
    this.worker = spawn(kind === 'native' ? nativeScript : engineScript);
    this.ready = new Promise((resolve, reject) => {
      this.worker.onmessage = (event) => {
        const message = readMessage(event.data);
        if (message?.type === 'ready') resolve();
        else if (message?.type === 'broken') reject(new Error(message.reason));
        if (message !== undefined) this.hear?.(message);
      };
      this.worker.onerror = (event) => {
        event.preventDefault();
        reject(new Error(event.message));
        this.hear?.({ type: 'broken', reason: event.message });
      };
    });
    // Whoever gives it a run hears of this; a spare that breaks is noticed then.
    this.ready.catch(() => undefined);
  }

  begin(run: RunSpec, key: string, program: Program, engine: WebAssembly.Module | undefined): void {
    if (this.kind === 'native') {
      this.post({ type: 'run', run, key, source: 'source' in program ? program.source : '' });
      return;
    }
    if (engine !== undefined && !this.hasEngine) {
      this.post({ type: 'engine', module: engine });
      this.hasEngine = true;
    }
    if (!this.sent.has(key)) this.teach(key, program);
    this.post({ type: 'run', run, key });
  }

  private teach(key: string, program: Program): void {
    if (this.sent.size >= PROGRAMS_MAX) {
      this.post({ type: 'forget' });
      this.sent.clear();
    }
    this.post({ type: 'program', key, program });
    this.sent.add(key);
  }

  private post(message: FrameToGuest): void {
    this.worker.postMessage(message);
  }

  end(): void {
    this.hear = undefined;
    this.worker.terminate();
  }
}

/** A message, if it is one; a guest's own realm may have been made to say anything. */
function readMessage(data: unknown): GuestToFrame | undefined {
  if (typeof data !== 'object' || data === null) return undefined;
  const message = data as Record<string, unknown>;
  switch (message['type']) {
    case 'ready': return { type: 'ready' };
    case 'broken': return { type: 'broken', reason: String(message['reason']).slice(0, 1000) };
    case 'output': {
      const lines = message['lines'];
      return Array.isArray(lines) && lines.every(isLine) ? { type: 'output', lines } : undefined;
    }
    case 'progress': {
      const { fraction, message: text } = message;
      if (typeof fraction !== 'number' || typeof text !== 'string') return undefined;
      return { type: 'progress', fraction, message: text };
    }
    case 'checkpoint': {
      const state = message['state'];
      return isState(state) ? { type: 'checkpoint', state } : undefined;
    }
    case 'done': return isEnd(message['end']) ? (message as unknown as GuestToFrame) : undefined;
    default: return undefined;
  }
}

function isLine(value: unknown): value is Line {
  return Array.isArray(value) && (value[0] === 'stdout' || value[0] === 'stderr') && typeof value[1] === 'string';
}

function isState(value: unknown): value is State {
  if (typeof value !== 'object' || value === null) return false;
  const { text, bytes } = value as Record<string, unknown>;
  return typeof text === 'string' || bytes instanceof Uint8Array;
}

function isEnd(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const { kind, text, bytes, name, message, limit } = value as Record<string, unknown>;
  switch (kind) {
    case 'returned': return typeof text === 'string' || bytes instanceof Uint8Array;
    case 'threw': return typeof name === 'string' && typeof message === 'string';
    case 'timed_out': return limit === 'wall' || limit === 'cpu';
    case 'out_of_memory': return true;
    default: return false;
  }
}
