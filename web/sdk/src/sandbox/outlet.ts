//! A run's way out, as Web Workers use it: keeps lines together while there are many, and holds the
//! run to its bounds. The frame counts again, as it does not believe a guest's own realm.

import { CHECKPOINT_BYTES_MAX, MESSAGE_BYTES_MAX, OUTPUT_BYTES_MAX } from '../limits.js';
import type { Line, State } from './messages.js';

/** Lines within `WINDOW_MS` that are told at once; later ones wait for company. */
const PROMPT_LINES = 32;
const WINDOW_MS = 50;
/** Told at once when this much has gathered. */
const GATHERED_BYTES_MAX = 16 << 10;

export interface Ways {
  post(message: object): void;
  now(): number;
  encode(text: string): Uint8Array;
}

export class Outlet {
  private lines: Line[] = [];
  private gathered = 0;
  private left = OUTPUT_BYTES_MAX;
  private toldOfMore = false;
  private windowStart = 0;
  private inWindow = 0;
  /** Lines that WASI or a Wasm guest has begun and not ended. */
  private partial = { stdout: '', stderr: '' };

  constructor(private readonly ways: Ways) {}

  /** One line, without its end. */
  line(stream: Line[0], text: string): void {
    if (this.left <= 0) return this.tellOfMore(stream);
    // A character is a byte at least: what is longer than that is cut by the frame, exactly.
    const kept = text.length > this.left ? text.slice(0, this.left + 1) : text;
    this.left -= kept.length + 1;
    this.lines[this.lines.length] = [stream, kept];
    this.gathered += kept.length + 1;
    const now = this.ways.now();
    if (now - this.windowStart > WINDOW_MS) {
      this.windowStart = now;
      this.inWindow = 0;
    }
    this.inWindow++;
    if (this.inWindow <= PROMPT_LINES || this.gathered > GATHERED_BYTES_MAX) this.flush();
  }

  /** One line more than is kept lets the frame see that there was more. */
  private tellOfMore(stream: Line[0]): void {
    if (this.toldOfMore) return;
    this.toldOfMore = true;
    this.ways.post({ type: 'output', lines: [[stream, '']] });
  }

  /** Text as it comes; whole lines are told at once, the rest when it is complete. */
  write(stream: Line[0], text: string): void {
    let rest = this.partial[stream] + text;
    for (;;) {
      const end = rest.indexOf('\n');
      if (end < 0) break;
      this.line(stream, rest.slice(0, end));
      rest = rest.slice(end + 1);
    }
    this.partial[stream] = rest.length > OUTPUT_BYTES_MAX ? rest.slice(0, OUTPUT_BYTES_MAX + 1) : rest;
  }

  /** Tells all that has gathered. */
  flush(): void {
    if (this.lines.length === 0) return;
    this.ways.post({ type: 'output', lines: this.lines });
    this.lines = [];
    this.gathered = 0;
  }

  /** The end of the run: what was begun and will not be ended is told as well. */
  end(): void {
    if (this.partial.stdout !== '') this.line('stdout', this.partial.stdout);
    if (this.partial.stderr !== '') this.line('stderr', this.partial.stderr);
    this.flush();
  }

  progress(fraction: number, message: string): void {
    const kept = message.length > MESSAGE_BYTES_MAX ? message.slice(0, MESSAGE_BYTES_MAX) : message;
    this.ways.post({ type: 'progress', fraction, message: kept });
  }

  /** Answers with a text if the state is refused. */
  checkpoint(state: State): string | undefined {
    const bytes = 'bytes' in state ? state.bytes.length : this.ways.encode(state.text).length;
    if (bytes > CHECKPOINT_BYTES_MAX) return 'a checkpoint has 1 MiB at the most';
    this.ways.post({ type: 'checkpoint', state });
    return undefined;
  }
}
