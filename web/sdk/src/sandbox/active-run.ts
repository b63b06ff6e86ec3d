//! One run under way: counts what it says, and holds it to its bounds from outside of its realm.

import { CHECKPOINT_BYTES_MAX, OUTPUT_BYTES_MAX, RESULT_BYTES_MAX } from '../limits.js';
import type { FrameToPage, GuestToFrame, Line, RunEnd, RunSpec, RunUse } from './messages.js';
import { RESULT_TOO_LARGE } from './prelude.js';
import type { Guest } from './guest.js';

const NOTHING_KNOWN: RunUse = { cpuMs: null, memoryPeakBytes: null };
const encoder = new TextEncoder();
const decoder = new TextDecoder();

export class ActiveRun {
  guest: Guest | undefined;
  deadline: number | undefined;
  isOver = false;
  private startedAt: number | undefined;
  private outputLeft = OUTPUT_BYTES_MAX;
  private truncated = false;

  constructor(readonly spec: RunSpec, private readonly tell: (message: FrameToPage) => void) {}

  started(): void {
    this.startedAt = performance.now();
    this.tell({ type: 'started', id: this.spec.id });
  }

  /** Takes what its Web Worker says; gives the end, if that was it. */
  hear(message: GuestToFrame): { end: RunEnd; use: RunUse } | undefined {
    const { id } = this.spec;
    switch (message.type) {
      case 'output':
        this.output(message.lines);
        return undefined;
      case 'progress': {
        const fraction = Math.min(Math.max(message.fraction || 0, 0), 1);
        const text = message.message.slice(0, 1024);
        this.tell({ type: 'progress', id, fraction, ...(text === '' ? {} : { message: text }) });
        return undefined;
      }
      case 'checkpoint':
        if (size(message.state) <= CHECKPOINT_BYTES_MAX) this.tell({ type: 'checkpoint', id, state: message.state });
        return undefined;
      case 'done':
        return { end: bounded(message.end), use: readUse(message.use) };
      case 'broken':
        return { end: this.brokenBy(message.reason), use: NOTHING_KNOWN };
      case 'ready':
        return undefined;
    }
  }

  finished(end: RunEnd, use: RunUse = NOTHING_KNOWN): void {
    this.isOver = true;
    const wallMs = this.startedAt === undefined ? 0 : performance.now() - this.startedAt;
    this.tell({ type: 'finished', id: this.spec.id, end, use, wallMs, truncated: this.truncated });
  }

  /** In a realm of its own whatever breaks is the guest's doing; in a warm Web Worker it is ours. */
  private brokenBy(reason: string): RunEnd {
    if (this.guest?.kind === 'engine') return { kind: 'lost', reason };
    return { kind: 'threw', name: 'InternalError', message: reason };
  }

  private output(lines: readonly Line[]): void {
    const kept: Line[] = [];
    for (const [stream, text] of lines) {
      const bytes = text.length * 3 <= this.outputLeft ? text.length : encoder.encode(text).length;
      if (this.outputLeft === 0 || bytes > this.outputLeft) this.truncated = true;
      if (this.outputLeft === 0) break;
      kept.push([stream, bytes > this.outputLeft ? cut(text, this.outputLeft) : text]);
      this.outputLeft = Math.max(this.outputLeft - bytes - 1, 0);
    }
    if (kept.length > 0 || this.truncated) {
      this.tell({ type: 'output', id: this.spec.id, lines: kept, truncated: this.truncated });
    }
  }
}

function cut(text: string, bytesMax: number): string {
  return decoder.decode(encoder.encode(text).subarray(0, bytesMax));
}

function size(state: { text: string } | { bytes: Uint8Array }): number {
  return 'bytes' in state ? state.bytes.length : encoder.encode(state.text).length;
}

function bounded(end: RunEnd): RunEnd {
  if (end.kind !== 'returned') return end;
  if ('bytes' in end) return end.bytes.length > RESULT_BYTES_MAX ? RESULT_TOO_LARGE : end;
  const mayBeLarge = end.text.length * 3 > RESULT_BYTES_MAX;
  return mayBeLarge && encoder.encode(end.text).length > RESULT_BYTES_MAX ? RESULT_TOO_LARGE : end;
}

function readUse(use: unknown): RunUse {
  const { cpuMs, memoryPeakBytes } = (use ?? {}) as Record<string, unknown>;
  return {
    cpuMs: typeof cpuMs === 'number' ? cpuMs : null,
    memoryPeakBytes: typeof memoryPeakBytes === 'number' ? memoryPeakBytes : null,
  };
}
