import { expect, test } from 'vitest';
import { Outlet } from '../../src/sandbox/outlet.js';

function outlet() {
  const posted: { type: string; lines?: [string, string][] }[] = [];
  let now = 0;
  const out = new Outlet({
    post: (message) => posted.push(message as never), now: () => now, encode: (text) => new TextEncoder().encode(text),
  });
  return { out, posted, lines: () => posted.flatMap(({ lines = [] }) => lines), pass: (ms: number) => { now += ms; } };
}

test('bytes become lines', () => {
  const { out, lines } = outlet();
  out.write('stdout', 'one\ntw');
  out.write('stdout', 'o\n\nthree');
  out.end();
  expect(lines().map(([, text]) => text)).toEqual(['one', 'two', '', 'three']);
});

test('a few lines are told at once, many together', () => {
  const { out, posted, lines, pass } = outlet();
  out.line('stdout', 'first');
  expect(posted).toHaveLength(1);
  for (let at = 0; at < 1000; at++) out.line('stdout', 'x');
  expect(posted.length).toBeLessThan(50);
  pass(100);
  out.line('stdout', 'later');
  expect(lines().at(-1)).toEqual(['stdout', 'later']);
  expect(lines()).toHaveLength(1002);
});

test('beyond its bound one line more tells that there was more', () => {
  const { out, lines } = outlet();
  for (let at = 0; at < 3000; at++) out.line('stderr', 'x'.repeat(999));
  out.end();
  const bytes = lines().reduce((sum, [, text]) => sum + text.length + 1, 0);
  expect(bytes).toBeGreaterThanOrEqual(1 << 20);
  expect(bytes).toBeLessThan((1 << 20) + 2048);
});

test('a checkpoint beyond 1 MiB is refused', () => {
  const { out, posted } = outlet();
  expect(out.checkpoint({ text: '"small"' })).toBeUndefined();
  expect(out.checkpoint({ bytes: new Uint8Array((1 << 20) + 1) })).toBe('a checkpoint has 1 MiB at the most');
  expect(posted).toHaveLength(1);
});

test('of endless progresses and checkpoints the latest is told in the end', () => {
  const { out, posted, pass } = outlet();
  for (let at = 0; at < 10_000; at++) {
    out.progress(at / 10_000, '');
    out.checkpoint({ text: `${at}` });
  }
  expect(posted.length).toBeLessThan(50);
  out.flush();
  expect(posted.at(-1)).toEqual({ type: 'checkpoint', state: { text: '9999' } });
  expect(posted.at(-2)).toMatchObject({ type: 'progress', fraction: 0.9999 });
  pass(100);
  out.progress(1, 'end');
  expect(posted.at(-1)).toMatchObject({ fraction: 1, message: 'end' });
});
