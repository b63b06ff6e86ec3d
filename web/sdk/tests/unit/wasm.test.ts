import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { capMemory, exportedFunctions, type Signature } from '../../src/sandbox/wasm-binary.js';
import type { RunSpec } from '../../src/sandbox/messages.js';
import { Outlet } from '../../src/sandbox/outlet.js';
import { readProgram, runWasm } from '../../src/sandbox/wasm.js';
import { BadCall, findExport, readArguments, writeResults } from '../../src/sandbox/wasm-values.js';

const given = (name: string, signature: Signature, args: unknown[]): (number | bigint)[] =>
  readArguments(name, signature, args.map((value) => JSON.stringify(value)));

const guest = (name: string) =>
  new Uint8Array(readFileSync(new URL(`../../../../guests/dist/${name}.wasm`, import.meta.url)));
const of = (...params: ('i32' | 'i64' | 'f64')[]) => ({ params, results: [] });

describe('what a module says of itself', () => {
  test('the types of its exports are read', () => {
    const functions = exportedFunctions(guest('fib'));
    expect(functions.get('fib')).toEqual({ params: ['i32'], results: [expect.stringMatching(/^i(32|64)$/)] });
  });

  test('imported functions are counted before its own', () => {
    const functions = exportedFunctions(guest('counter'));
    const module = new WebAssembly.Module(guest('counter'));
    const names = WebAssembly.Module.exports(module).filter(({ kind }) => kind === 'function').map(({ name }) => name);
    expect([...functions.keys()]).toEqual(names);
    for (const { params } of functions.values()) expect(params).not.toContain('other');
  });

  test('its memory is capped, and the rest of it is left as it is', () => {
    const bytes = guest('counter');
    const capped = capMemory(bytes, 100) as Uint8Array<ArrayBuffer>;
    expect(WebAssembly.Module.exports(new WebAssembly.Module(capped)))
      .toEqual(WebAssembly.Module.exports(new WebAssembly.Module(bytes)));
    expect(capMemory(bytes, 1)).toBeUndefined();
    expect(capMemory(capped, 100)).toEqual(capped);
  });

  test('half a module is an error, not an endless loop', () => {
    const bytes = guest('fib');
    for (const length of [9, 20, 50, 100]) {
      expect(() => exportedFunctions(bytes.slice(0, length))).toThrow();
    }
  });
});

describe('a browser that has no memory left', () => {
  test('is not the fault of the function', () => {
    const bytes = guest('fib');
    const program = readProgram(new WebAssembly.Module(bytes), bytes);
    const run = {
      id: 1, language: 'wasm', export: 'fib', args: '[10]', reuse: false, limits: { memory_bytes: 128 << 20 },
    } as unknown as RunSpec;
    const outlet = new Outlet({ post: () => {}, now: () => 0, encode: (text) => new TextEncoder().encode(text) });
    expect(runWasm(program, run, outlet).end).toEqual({ kind: 'returned', text: '55' });
    const held: WebAssembly.Memory[] = [];
    const takeAll = (): void => { for (;;) held.push(new WebAssembly.Memory({ initial: 1 })); };
    expect(takeAll).toThrow(RangeError);
    expect(() => runWasm(program, run, outlet)).toThrow(RangeError);
    held.length = 0;
  });
});

describe('numbers on their way in and out', () => {
  test('both readings of 32 bits are taken', () => {
    expect(given('f', of('i32'), [4294967295])).toEqual([-1]);
    expect(given('f', of('i32'), [-2147483648])).toEqual([-2147483648]);
    for (const wrong of [1.5, 4294967296, '1', null, true]) {
      expect(() => given('f', of('i32'), [wrong])).toThrow(BadCall);
    }
  });

  test('64 bits are integers or strings of digits', () => {
    expect(given('f', of('i64'), ['9223372036854775807'])).toEqual([9223372036854775807n]);
    expect(given('f', of('i64'), [7])).toEqual([7n]);
    expect(readArguments('f', of('i64'), ['9007199254740993'])).toEqual([9007199254740993n]);
    for (const wrong of ['ten', '99999999999999999999', 1.5, '', ' 1']) {
      expect(() => given('f', of('i64'), [wrong])).toThrow(BadCall);
    }
  });

  test('words stand for what JSON has no numbers for', () => {
    expect(given('f', of('f64'), ['-Infinity'])).toEqual([-Infinity]);
    expect(given('f', of('f64'), ['NaN'])).toEqual([NaN]);
    expect(() => given('f', of('f64'), ['inf'])).toThrow(BadCall);
  });

  test('results are JSON', () => {
    expect(writeResults(undefined)).toBe('null');
    expect(writeResults(34)).toBe('34');
    expect(writeResults(-0)).toBe('-0');
    expect(writeResults(9007199254740993n)).toBe('"9007199254740993"');
    expect(writeResults(-5n)).toBe('-5');
    expect(writeResults([1, NaN])).toBe('[1,"NaN"]');
  });

  test('an export is found by name, or because it is the only one', () => {
    const two = new Map([['a', of()], ['b', of('i32')]]);
    expect(findExport(two, 'b')[0]).toBe('b');
    expect(() => findExport(two, undefined)).toThrow('name the export to call: a, b');
    expect(() => findExport(two, 'c')).toThrow('no export "c"; there is a, b');
    expect(() => given('b', of('i32'), [])).toThrow('b takes 1 argument, 0 given');
  });
});
