//! The frame's way to the page. A run that begins is not told of at once: most end so soon after that
//! the page need hear nothing but the end, and a message between two processes costs both of them more
//! than such a run.

import type { FrameToPage } from './messages.js';

/** How long the page may not know that a run has begun. Browsers make it a second in the background. */
const UNTOLD_MS = 5;

export class Outbox {
  /** Runs that have begun, and of which the page has not been told. */
  private readonly begun = new Set<number>();
  private isWaiting = false;

  constructor(private readonly post: (message: FrameToPage) => void) {}

  readonly tell = (message: FrameToPage): void => {
    if (message.type === 'started') return this.began(message.id);
    if ('id' in message && this.begun.delete(message.id) && message.type !== 'finished') {
      this.post({ type: 'started', id: message.id });
    }
    this.post(message);
  };

  private began(id: number): void {
    this.begun.add(id);
    if (this.isWaiting) return;
    this.isWaiting = true;
    setTimeout(() => this.tellOfBegun(), UNTOLD_MS);
  }

  private tellOfBegun(): void {
    this.isWaiting = false;
    for (const id of this.begun) this.post({ type: 'started', id });
    this.begun.clear();
  }
}
