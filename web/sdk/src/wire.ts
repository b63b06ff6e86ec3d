//! The words on the wire. Written by hand until they are generated from `crates/protocol`.

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
export type Language = 'js' | 'wasm' | 'wasi';
export type Form = 'script' | 'module';
export type Stream = 'stdout' | 'stderr';
export type TaskState = 'queued' | 'running' | 'succeeded' | 'failed' | 'cancelled';
export type Trust = 'node' | 'joined' | 'tab';
export type Encoding = 'base64';

export interface Limits { timeout_ms: number; cpu_ms: number; memory_bytes: number }
export interface LimitsRequest { timeout_ms?: number; cpu_ms?: number; memory_bytes?: number }
export interface ErrorReport { name: string; message: string; stack?: string }

export type Outcome =
  | { kind: 'returned'; value: Json; value_encoding?: Encoding }
  | { kind: 'threw'; error: ErrorReport }
  | { kind: 'timed_out'; limit: 'wall' | 'cpu'; limit_ms: number }
  | { kind: 'out_of_memory'; limit_bytes: number; scope?: 'node' }
  | { kind: 'cancelled' }
  | { kind: 'lost'; attempts: number };

export interface Usage {
  cpu_ms: number | null;
  wall_ms: number;
  memory_peak_bytes: number | null;
  ran_on?: string;
}

export interface LogLine { at: string; attempt: number; seq: number; stream: Stream; text: string }
export interface Progress { fraction: number; message?: string }

export interface TaskRequest {
  source?: string;
  function?: string;
  language?: string;
  export?: string;
  args?: Json;
  args_encoding?: Encoding;
  stdin?: string;
  name?: string;
  limits?: LimitsRequest;
  retries?: number;
  priority?: number;
  run_at?: string;
  place?: 'here' | 'upstream' | 'tab' | 'auto';
  labels?: Record<string, string>;
}

export interface Task {
  id: string;
  name: string | null;
  state: TaskState;
  function: string | null;
  digest: string;
  language: Language;
  export?: string;
  args: Json;
  args_encoding?: Encoding;
  attempt: number;
  max_attempts: number;
  lost: number;
  priority: number;
  labels?: Record<string, string>;
  created_at: string;
  run_at?: string;
  started_at: string | null;
  finished_at: string | null;
  worker: string | null;
  trust: Trust | null;
  progress: Progress | null;
  outcome: Outcome | null;
  usage: Usage | null;
}

export interface Manifest {
  language?: Language;
  form?: Form;
  export?: string;
  limits?: LimitsRequest;
  retries?: number;
  place?: 'here' | 'upstream' | 'tab' | 'auto';
  pure?: boolean;
  role?: string;
  reuse?: boolean;
  engine?: 'quickjs';
}

export interface FunctionVersion {
  name: string;
  version: number;
  digest: string;
  language: Language;
  form?: Form;
  exports: string[];
  manifest: Manifest;
  created_at: string;
}

export interface Checkpoint { state: Json; encoding?: Encoding }

export interface Run {
  task: string;
  attempt: number;
  artifact: string;
  language: Language;
  form?: Form;
  export?: string;
  args: Json;
  args_encoding?: Encoding;
  stdin?: string;
  limits: Limits;
  checkpoint?: Checkpoint;
}
