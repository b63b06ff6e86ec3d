//! Deadlines, kept in a Web Worker of their own. Only the earliest is told to it, so that most runs
//! cost no message.

import { spawn } from './spawn.js';
import { clockScript } from './scripts.js';

export class Clock {
  private readonly worker = spawn(clockScript);
  private readonly deadlines = new Map<number, { at: number; ring: () => void }>();
  private armedAt = Number.POSITIVE_INFINITY;
  private last = 0;

  constructor() {
    this.worker.onmessage = () => this.ring();
  }

  set(ms: number, ring: () => void): number {
    const id = ++this.last;
    const at = performance.now() + ms;
    this.deadlines.set(id, { at, ring });
    if (at < this.armedAt) this.arm(at);
    return id;
  }

  clear(id: number | undefined): void {
    if (id !== undefined) this.deadlines.delete(id);
  }

  private arm(at: number): void {
    this.armedAt = at;
    this.worker.postMessage(Math.max(at - performance.now(), 0));
  }

  private ring(): void {
    this.armedAt = Number.POSITIVE_INFINITY;
    // Half a millisecond early is on time: clocks of two threads differ that much.
    const now = performance.now() + 0.5;
    let earliest = Number.POSITIVE_INFINITY;
    for (const [id, deadline] of [...this.deadlines]) {
      if (deadline.at <= now) {
        this.deadlines.delete(id);
        deadline.ring();
      } else if (deadline.at < earliest) earliest = deadline.at;
    }
    if (earliest < this.armedAt) this.arm(earliest);
  }
}
