//! What the node's own prelude (`crates/sandbox/prelude/prelude.js`) takes and gives. The same text
//! makes the world that JavaScript sees on a node and here.

import type { RunSpec } from './messages.js';

/** Where the prelude says how the run stands, in a `Float64Array` of this many numbers. */
export const MAIL = { STATE: 0, NEXT_TIMER_MS: 1, TIMERS: 2, STARTED_MS: 3, LENGTH: 4 } as const;
export const STATE = { PENDING: 0, RETURNED: 1, RETURNED_BYTES: 2, THREW: 3 } as const;

/** The name that stack traces show. */
export const FILE_NAME = 'function.js';

export const NEVER_SETTLED = {
  kind: 'threw',
  name: 'NeverSettled',
  message: 'the promise never settles: no timer and no other work is left that could settle it',
} as const;

export const RESULT_TOO_LARGE = {
  kind: 'threw', name: 'ResultTooLarge', message: 'the result is larger than 6 MiB',
} as const;

/** What leaves the sandbox. */
export interface PreludeHost {
  log(stream: number, text: string): void;
  progress(fraction: number, message: string): void;
  /** `kind` 1 for bytes. Answers with a text where it refuses. */
  checkpoint(kind: number, state: string | Uint8Array): string | undefined;
  /** As JSON, but for a checkpoint that is bytes; undefined if the run has none. */
  task(): string | undefined;
  /** The task's checkpoint, if that is bytes. */
  state(): Uint8Array | undefined;
  random(bytes: Uint8Array): string | undefined;
  encode(text: string): Uint8Array;
  /** Answers with undefined if the bytes must be valid and are not. */
  decode(bytes: Uint8Array, fatal: number): string | undefined;
}

export interface PreludeEntries {
  give(bytes: Uint8Array): void;
  settle(value: unknown): void;
  invoke(evaluated: Promise<unknown>, namespace: object, request: [string, unknown]): void;
  fail(error: unknown): void;
  fire(): void;
  take(): unknown;
}

export type Prelude = (host: PreludeHost, mail: Float64Array) => PreludeEntries;

/** What the prelude is told of a run's task. */
export function taskTold(task: RunSpec['task']): { text: string | undefined; bytes: Uint8Array | undefined } {
  if (task === undefined) return { text: undefined, bytes: undefined };
  const { id, attempt, checkpoint } = task;
  const state = checkpoint !== undefined && 'text' in checkpoint ? checkpoint.text : 'null';
  return {
    text: `{"id":${JSON.stringify(id)},"attempt":${attempt},"checkpoint":${state}}`,
    bytes: checkpoint !== undefined && 'bytes' in checkpoint ? checkpoint.bytes : undefined,
  };
}

const STACK_LINES_MAX = 100;
const STACK_LINE_LENGTH_MAX = 1024;

/** The user's own lines of a stack, as many as are told. */
export function ownLines(stack: unknown): string | undefined {
  if (typeof stack !== 'string') return undefined;
  const lines = stack.split('\n')
    .filter((line) => line.startsWith('    at ') && !line.includes('runabout:') && !line.includes('blob:'))
    .slice(0, STACK_LINES_MAX)
    .map((line) => line.slice(0, STACK_LINE_LENGTH_MAX));
  return lines.length === 0 ? undefined : lines.join('\n');
}
