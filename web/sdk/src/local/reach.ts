//! Whether the node can be reached, learnt from every request, and asked after while it cannot.

import { Listeners } from '../listeners.js';
import type { Mode, Unsubscribe } from '../types.js';

const PROBE_MS_MIN = 500;
const PROBE_MS_MAX = 10_000;

export class Reach {
  private readonly changes = new Listeners<Mode>();
  private timer: ReturnType<typeof setTimeout> | undefined;
  private probeMs = PROBE_MS_MIN;
  private isClosed = false;
  private current: Mode;
  private readonly onOnline = (): void => this.probeNow();

  constructor(
    private readonly url: string,
    /** Local mode was asked for, and nothing is sent. */
    private isOffline: boolean,
  ) {
    this.current = isOffline ? 'local' : 'connected';
    globalThis.addEventListener?.('online', this.onOnline);
  }

  get mode(): Mode {
    return this.current;
  }

  on(listener: (mode: Mode) => void): Unsubscribe {
    return this.changes.add(listener);
  }

  reached(): void {
    this.probeMs = PROBE_MS_MIN;
    this.clear();
    if (!this.isOffline) this.become('connected');
  }

  missed(): void {
    if (this.isClosed) return;
    this.become('local');
    if (!this.isOffline) this.probeLater();
  }

  goOnline(): void {
    this.isOffline = false;
    this.probeNow();
  }

  /** Settles when the node can be reached. */
  async connected(): Promise<void> {
    if (this.current === 'connected') return;
    await new Promise<void>((resolve) => {
      const stop = this.on((mode) => {
        if (mode !== 'connected') return;
        stop();
        resolve();
      });
    });
  }

  close(): void {
    this.isClosed = true;
    this.clear();
    globalThis.removeEventListener?.('online', this.onOnline);
  }

  private become(mode: Mode): void {
    if (this.current === mode) return;
    this.current = mode;
    this.changes.tell(mode);
  }

  private probeLater(): void {
    if (this.timer !== undefined) return;
    this.timer = setTimeout(() => this.probeNow(), this.probeMs);
    (this.timer as { unref?: () => void }).unref?.();
    this.probeMs = Math.min(this.probeMs * 2, PROBE_MS_MAX);
  }

  private probeNow(): void {
    this.clear();
    if (this.isOffline || this.isClosed) return;
    // The probe of a node that is starting answers 503: it is there.
    fetch(`${this.url}/healthz`, { cache: 'no-store' }).then(() => this.reached(), () => this.missed());
  }

  private clear(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
  }
}
