// Runs in one engine, one after the other: whatever one does, the next begins as the first did.

import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { beforeAll, expect, test } from 'vitest';
import type { RunSpec } from '../../src/sandbox/messages.js';
import { Outlet } from '../../src/sandbox/outlet.js';
import { Engine } from '../../src/sandbox/quickjs.js';

let engine: Engine;

beforeAll(async () => {
  const wasm = await readFile(fileURLToPath(import.meta.resolve('quickjs-wasi/quickjs.wasm')));
  const prelude = new URL('../../../../crates/sandbox/prelude/prelude.js', import.meta.url);
  engine = await Engine.start(await WebAssembly.compile(wasm), await readFile(prelude, 'utf8'));
});

async function run(source: string, limits: Partial<RunSpec['limits']> = {}) {
  const spec: RunSpec = {
    id: 1, artifact: 'a', language: 'js', form: 'script', engine: 'quickjs', reuse: false, args: '[]',
    limits: { timeout_ms: 10_000, cpu_ms: 10_000, memory_bytes: 64 << 20, ...limits },
  };
  const outlet = new Outlet({ post: () => undefined, now: () => 0, encode: (text) => new TextEncoder().encode(text) });
  return await engine.run(source, spec, outlet);
}

const WORLD = `[Object.keys(globalThis).length, [1].map((n) => n + 1)[0], typeof globalThis.seen,
  new Date(0).getFullYear(), "x".repeat(1e6).length].join()`;

const BEFORE: [string, string, Partial<RunSpec['limits']>?][] = [
  ['returned', 'globalThis.seen = 1; Array.prototype.map = () => [7]; delete globalThis.Date; 1'],
  ['threw', 'globalThis.seen = 1; throw new RangeError("far")'],
  ['overflowed its stack', 'globalThis.seen = 1; const f = () => f() + 1; f()'],
  ['ran out of memory', 'globalThis.seen = []; for (;;) seen.push("x".repeat(1000) + seen.length)', { memory_bytes: 8 << 20 }],
  ['was out of time', 'globalThis.seen = 1; for (;;) {}', { cpu_ms: 50 }],
  ['left a promise', 'globalThis.seen = new Promise(() => {}); Promise.reject(new Error("nobody"))'],
];

for (const [what, source, limits] of BEFORE) {
  test(`a run after one that ${what} begins as the first did`, async () => {
    const first = await run(WORLD);
    await run(source, limits);
    expect((await run(WORLD)).end).toEqual(first.end);
  });
}

test('no two runs draw the same numbers', async () => {
  const ends = [await run('Math.random()'), await run('Math.random()')].map(({ end }) => end);
  expect(ends[0]).not.toEqual(ends[1]);
});

test('a run is given the memory it asks for after one that had less, and says what it used', async () => {
  const take = 'const a = []; for (let n = 0; n < 12; n++) a.push(new Uint8Array(1 << 20).fill(1)); a.length';
  expect((await run(take, { memory_bytes: 8 << 20 })).end.kind).not.toBe('returned');
  const large = await run(take, { memory_bytes: 32 << 20 });
  expect(large.end).toEqual({ kind: 'returned', text: '12' });
  const small = await run('1', { memory_bytes: 32 << 20 });
  expect(small.use.memoryPeakBytes).toBeLessThan(large.use.memoryPeakBytes ?? 0);
});
