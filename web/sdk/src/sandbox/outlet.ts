//! A run's way out, as Web Workers use it: keeps lines together while there are many, tells the latest
//! of many progresses and checkpoints, and holds the run to its bounds. The frame counts again, as it does not believe a guest's own realm.

import { CHECKPOINT_BYTES_MAX, MESSAGE_BYTES_MAX, OUTPUT_BYTES_MAX } from '../limits.js';
import type { Line, State } from './messages.js';

/** What is told at once within `WINDOW_MS`. Later lines wait for company, and of progresses and
 * checkpoints the latest waits for the next occasion: a loop that tells without end chokes nobody. */
const PROMPT_MESSAGES = 32;
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
  private heldProgress: object | undefined;
  private heldCheckpoint: object | undefined;
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
    if (this.isPrompt() || this.gathered > GATHERED_BYTES_MAX) this.flush();
  }

  private isPrompt(): boolean {
    const now = this.ways.now();
    if (now - this.windowStart > WINDOW_MS) {
      this.windowStart = now;
      this.inWindow = 0;
    }
    return ++this.inWindow <= PROMPT_MESSAGES;
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
    if (this.lines.length > 0) {
      this.ways.post({ type: 'output', lines: this.lines });
      this.lines = [];
      this.gathered = 0;
    }
    if (this.heldProgress !== undefined) this.ways.post(this.heldProgress);
    if (this.heldCheckpoint !== undefined) this.ways.post(this.heldCheckpoint);
    this.heldProgress = undefined;
    this.heldCheckpoint = undefined;
  }

  /** The end of the run: what was begun and will not be ended is told as well. */
  end(): void {
    if (this.partial.stdout !== '') this.line('stdout', this.partial.stdout);
    if (this.partial.stderr !== '') this.line('stderr', this.partial.stderr);
    this.flush();
  }

  progress(fraction: number, message: string): void {
    const kept = message.length > MESSAGE_BYTES_MAX ? message.slice(0, MESSAGE_BYTES_MAX) : message;
    this.heldProgress = { type: 'progress', fraction, message: kept };
    if (this.isPrompt()) this.flush();
  }

  /** Answers with a text if the state is refused. */
  checkpoint(state: State): string | undefined {
    const bytes = 'bytes' in state ? state.bytes.length : this.ways.encode(state.text).length;
    if (bytes > CHECKPOINT_BYTES_MAX) return 'a checkpoint has 1 MiB at the most';
    // A copy: the guest may go on writing into its own bytes before this is sent.
    const kept = 'bytes' in state ? { bytes: state.bytes.slice() } : state;
    this.heldCheckpoint = { type: 'checkpoint', state: kept };
    if (this.isPrompt()) this.flush();
    return undefined;
  }
}
