//! What page, frame and Web Workers say to each other. Named by direction.

import type { Form, Language, Limits, Stream } from '../wire.js';

/** A state that an earlier attempt left, or that this one leaves. */
export type State = { text: string } | { bytes: Uint8Array };

export interface TaskContext {
  id: string;
  attempt: number;
  checkpoint?: State | undefined;
}

/** A run, with all that is needed but the artifact's bytes. */
export interface RunSpec {
  id: number;
  /** What the artifact is kept under. */
  artifact: string;
  language: Language;
  form: Form;
  engine: 'native' | 'quickjs';
  /** Whether the function keeps its sandbox from one run to the next. */
  reuse: boolean;
  export?: string | undefined;
  /** A JSON array as text, or arguments that are bytes. */
  args: string | Uint8Array[];
  stdin?: Uint8Array | undefined;
  limits: Limits;
  task?: TaskContext | undefined;
}

/** How a run ended, its value still as the text or the bytes it came in. */
export type RunEnd =
  | { kind: 'returned'; text: string }
  | { kind: 'returned'; bytes: Uint8Array }
  | { kind: 'threw'; name: string; message: string; stack?: string | undefined }
  | { kind: 'timed_out'; limit: 'wall' | 'cpu'; limitMs: number }
  | { kind: 'out_of_memory'; limitBytes: number }
  | { kind: 'cancelled' }
  /** Not the code's doing: what it ran in is gone, or, for that reason, could not run it. */
  | { kind: 'lost'; reason?: string | undefined };

export interface RunUse {
  cpuMs: number | null;
  memoryPeakBytes: number | null;
}

export type Line = [stream: Stream, text: string];

export type PageToFrame =
  | { type: 'artifact'; artifact: string; language: Language; bytes: Uint8Array }
  | { type: 'drop'; artifact: string }
  | { type: 'engine'; wasm: Uint8Array }
  | { type: 'slots'; slots: number }
  | { type: 'run'; run: RunSpec }
  | { type: 'cancel'; id: number }
  | { type: 'timer'; id: number; ms: number }
  | { type: 'ping'; n: number };

export type FrameToPage =
  | { type: 'ready' }
  | { type: 'started'; id: number }
  | { type: 'output'; id: number; lines: Line[]; truncated: boolean }
  | { type: 'progress'; id: number; fraction: number; message?: string | undefined }
  | { type: 'checkpoint'; id: number; state: State }
  | { type: 'finished'; id: number; end: RunEnd; use: RunUse; wallMs: number; truncated: boolean }
  | { type: 'timer'; id: number }
  | { type: 'pong'; n: number };

/** The program as a Web Worker takes it. */
export type Program = { source: string } | { module: WebAssembly.Module; bytes: Uint8Array };

export type FrameToGuest =
  | { type: 'engine'; module: WebAssembly.Module }
  | { type: 'program'; key: string; program: Program }
  | { type: 'forget' }
  /** `key` names a program that was sent before. */
  | { type: 'run'; run: RunSpec; key: string; source?: string };

export type GuestToFrame =
  | { type: 'ready' }
  | { type: 'broken'; reason: string }
  | { type: 'output'; lines: Line[] }
  | { type: 'progress'; fraction: number; message: string }
  | { type: 'checkpoint'; state: State }
  | { type: 'done'; end: RunEnd; use: RunUse };
