import { expect, test } from 'vitest';
import { resolveLimits, wantsExactLimits } from '../../src/limits.js';
import { serverTiming } from '../../src/client/calls.js';
import { failureOf, fromBase64, fromWireArguments, readArguments, toBase64, valueOf, wireArguments } from '../../src/values.js';

test('arguments are JSON or bytes, not both', () => {
  expect(readArguments([1, undefined as never, 'a'])).toEqual({ text: '[1,null,"a"]' });
  expect(readArguments([Uint8Array.of(1)])).toEqual({ bytes: [Uint8Array.of(1)] });
  expect(() => readArguments([1, Uint8Array.of(1)])).toThrow(expect.objectContaining({ code: 'invalid_arguments' }));
});

test('arguments survive the wire', () => {
  for (const args of [[1, 'a', null, { b: [2] }], [Uint8Array.of(0, 255)]]) {
    const { args: sent, args_encoding } = wireArguments(readArguments(args as never));
    expect(fromWireArguments(sent, args_encoding)).toEqual(readArguments(args as never));
  }
});

test('bytes survive base64, however many', () => {
  const bytes = Uint8Array.from({ length: 100_000 }, (_, at) => at % 256);
  // Byte by byte, which is slow where each comparison is prepared for being shown.
  expect(Buffer.compare(fromBase64(toBase64(bytes)), bytes)).toBe(0);
});

test('an outcome is a value or an error of its own code', () => {
  expect(valueOf({ kind: 'returned', value: 1 })).toBe(1);
  expect(valueOf({ kind: 'returned', value: 'AQ==', value_encoding: 'base64' })).toEqual(Uint8Array.of(1));
  expect(failureOf({ kind: 'threw', error: { name: 'TypeError', message: 'no' } })).toMatchObject({
    code: 'function_threw', message: 'TypeError: no',
  });
  expect(failureOf({ kind: 'timed_out', limit: 'cpu', limit_ms: 5 }).code).toBe('timed_out');
});

test('limits are wishes over the manifest over the defaults', () => {
  expect(resolveLimits()).toEqual({ timeout_ms: 30_000, cpu_ms: 30_000, memory_bytes: 128 << 20 });
  expect(resolveLimits({ timeout_ms: 50 }, { timeout_ms: 100, cpu_ms: 80 })).toMatchObject({ timeout_ms: 50, cpu_ms: 50 });
  expect(resolveLimits({ timeout_ms: null }, { cpu_ms: 80 })).toMatchObject({ timeout_ms: 30_000, cpu_ms: 80 });
  expect([wantsExactLimits({ timeout_ms: 5 }), wantsExactLimits({ cpu_ms: 5 }), wantsExactLimits(null)]).toEqual([false, true, false]);
});

test('phases are read from Server-Timing', () => {
  expect(serverTiming('queue;dur=0.012, run;dur=1.5, total;desc="x";dur=2')).toEqual({ queue: 0.012, run: 1.5, total: 2 });
  expect(serverTiming(null)).toEqual({});
});
