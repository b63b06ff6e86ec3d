//! Values on their way: bytes as base64 beside a marker in JSON, as they are in memory.

import { RunaboutError } from './errors.js';
import type { Json, Value } from './types.js';
import type { Outcome } from './wire.js';
import type { RunEnd, State } from './sandbox/messages.js';

/** Arguments as JSON text, or as bytes, each of them. */
export type Arguments = { text: string } | { bytes: Uint8Array[] };

export function readArguments(args: readonly Value[]): Arguments {
  const bytes = args.filter((value) => value instanceof Uint8Array);
  if (bytes.length === 0) return { text: JSON.stringify(args, undefinedIsNull) };
  if (bytes.length === args.length) return { bytes };
  throw new RunaboutError('arguments are bytes, all of them, or JSON', { code: 'invalid_arguments' });
}

/** As in arrays: an argument that is undefined arrives as null. */
function undefinedIsNull(this: unknown, _key: string, value: unknown): unknown {
  return Array.isArray(this) && value === undefined ? null : value;
}

/** Arguments as they stand in requests and frames. */
export function wireArguments(args: Arguments): { args: unknown; args_encoding?: 'base64' } {
  if ('text' in args) return { args: JSON.parse(args.text) as unknown };
  return { args: args.bytes.map(toBase64), args_encoding: 'base64' };
}

export function fromWireArguments(args: unknown, encoding: 'base64' | null | undefined): Arguments {
  const values = Array.isArray(args) ? (args as unknown[]) : [];
  if (encoding !== 'base64') return { text: JSON.stringify(values) };
  return { bytes: values.map((value) => fromBase64(String(value))) };
}

export function wireState(state: State): { state: unknown; state_encoding?: 'base64' } {
  return 'text' in state
    ? { state: JSON.parse(state.text) as unknown }
    : { state: toBase64(state.bytes), state_encoding: 'base64' };
}

export function fromWireState(state: unknown, encoding: 'base64' | null | undefined): State {
  return encoding === 'base64' ? { bytes: fromBase64(String(state)) } : { text: JSON.stringify(state) };
}

/** How a run ended, in the words of the wire. */
export function outcomeOf(end: RunEnd): Outcome {
  switch (end.kind) {
    case 'returned':
      return 'bytes' in end
        ? { kind: 'returned', value: toBase64(end.bytes), value_encoding: 'base64' }
        : { kind: 'returned', value: JSON.parse(end.text) as unknown };
    case 'threw': {
      const { name, message, stack } = end;
      return { kind: 'threw', error: stack === undefined ? { name, message } : { name, message, stack } };
    }
    case 'timed_out': return { kind: 'timed_out', limit: end.limit, limit_ms: end.limitMs };
    case 'out_of_memory': return { kind: 'out_of_memory', limit_bytes: end.limitBytes };
    case 'cancelled': return { kind: 'cancelled' };
    case 'lost': return { kind: 'lost', attempts: 1 };
  }
}

/** The value of a run that returned; throws what others mean. */
export function valueOf(outcome: Outcome): Value {
  if (outcome.kind !== 'returned') throw failureOf(outcome);
  const value = outcome.value as Json;
  return outcome.value_encoding === 'base64' ? fromBase64(String(value)) : value;
}

export function failureOf(outcome: Exclude<Outcome, { kind: 'returned' }>): RunaboutError {
  switch (outcome.kind) {
    case 'threw': {
      const { name, message } = outcome.error;
      return new RunaboutError(`${name}: ${message}`, { code: 'function_threw', outcome });
    }
    case 'timed_out':
      return new RunaboutError(`the run reached its limit of ${outcome.limit_ms} ms`, { code: 'timed_out', outcome });
    case 'out_of_memory': {
      const message = `the run may have ${outcome.limit_bytes} bytes of memory, and no more`;
      return new RunaboutError(message, { code: 'out_of_memory', outcome });
    }
    case 'cancelled': return new RunaboutError('the run was cancelled', { code: 'cancelled', outcome });
    case 'lost': return new RunaboutError('what it ran on was lost', { code: 'lost', outcome });
  }
}

const PIECE = 0x8000;

export function toBase64(bytes: Uint8Array): string {
  let binary = '';
  for (let at = 0; at < bytes.length; at += PIECE) {
    binary += String.fromCharCode(...bytes.subarray(at, at + PIECE));
  }
  return btoa(binary);
}

export function fromBase64(text: string): Uint8Array {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let at = 0; at < binary.length; at++) bytes[at] = binary.charCodeAt(at);
  return bytes;
}
