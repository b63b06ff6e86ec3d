import { expect, test } from 'vitest';
import { LocalPool, type PoolRun } from '../../src/pool/pool.js';
import type { LinkEvents } from '../../src/pool/link.js';
import type { PageToFrame } from '../../src/sandbox/messages.js';

/** A pool whose frame is this test. */
function pool(slots: number) {
  const frames: { events: LinkEvents; heard: PageToFrame[]; isClosed: boolean }[] = [];
  const local = new LocalPool(slots, (events) => {
    const frame = { events, heard: [] as PageToFrame[], isClosed: false };
    frames.push(frame);
    return { post: (message) => frame.heard.push(message), close: () => { frame.isClosed = true; } };
  }, () => Promise.resolve(new Uint8Array()));
  const running = () => (frames.at(-1)?.heard ?? []).flatMap((message) => (message.type === 'run' ? [message.run.id] : []));
  const finish = (id: number) => frames.at(-1)?.events.hear({
    type: 'finished', id, end: { kind: 'returned', text: `${id}` }, use: { cpuMs: null, memoryPeakBytes: null }, wallMs: 1, truncated: false,
  });
  return { local, frames, running, finish };
}

const run: PoolRun = {
  artifact: { key: 'a', language: 'wasm', bytes: new Uint8Array(8) },
  spec: {
    form: 'module', engine: 'native', reuse: false, args: '[]',
    limits: { timeout_ms: 1, cpu_ms: 1, memory_bytes: 1 },
  },
};

test('as many run as there are slots, in their order', async () => {
  const { local, running, finish } = pool(2);
  const tickets = [1, 2, 3, 4].map(() => local.run(run));
  await Promise.resolve();
  expect(running()).toEqual([1, 2]);
  expect([local.running, local.queued]).toEqual([2, 2]);
  finish(2);
  expect(running()).toEqual([1, 2, 3]);
  expect((await tickets[1]?.ended)?.end).toEqual({ kind: 'returned', text: '2' });
});

test('a smaller pool lets what runs finish', () => {
  const { local, running, finish } = pool(3);
  for (let at = 0; at < 5; at++) local.run(run);
  local.resize(1);
  finish(1);
  finish(2);
  expect(running()).toEqual([1, 2, 3]);
  finish(3);
  expect(running()).toEqual([1, 2, 3, 4]);
  local.resize(8);
  expect(running()).toEqual([1, 2, 3, 4, 5]);
});

test('code is handed over once, and again to a new frame', () => {
  const { local, frames, finish } = pool(1);
  const given = (at: number) => frames[at]?.heard.filter(({ type }) => type === 'artifact').length;
  local.run(run);
  finish(1);
  local.run(run);
  expect(given(0)).toBe(1);
  frames[0]?.events.lost();
  local.run(run);
  expect(given(1)).toBe(1);
});

test('a frame that is lost takes its runs with it, and no others', async () => {
  const { local, frames, running } = pool(1);
  const [first, second] = [local.run(run), local.run(run)];
  frames[0]?.events.lost();
  expect((await first.ended).end.kind).toBe('lost');
  expect(frames).toHaveLength(2);
  expect(running()).toEqual([2]);
  // What a frame that is gone says late changes nothing.
  expect(local.running).toBe(1);
  second.cancel();
});

test('a run that waits is cancelled without the frame, one that runs by it', async () => {
  const { local, frames } = pool(1);
  const [first, second] = [local.run(run), local.run(run)];
  second.cancel();
  expect((await second.ended).end.kind).toBe('cancelled');
  first.cancel();
  expect(frames[0]?.heard.at(-1)).toEqual({ type: 'cancel', id: 1 });
});

test('beyond ten thousand that wait, runs are refused', () => {
  const { local } = pool(0);
  for (let at = 0; at < 10_000; at++) local.run(run);
  expect(() => local.run(run)).toThrow(expect.objectContaining({ code: 'queue_full' }));
});

test('every promise settles when the pool is closed', async () => {
  const { local, frames } = pool(1);
  const tickets = [local.run(run), local.run(run)];
  local.close();
  for (const ticket of tickets) expect((await ticket.ended).end.kind).toBe('cancelled');
  expect(frames[0]?.isClosed).toBe(true);
  expect(() => local.run(run)).toThrow(expect.objectContaining({ code: 'closed' }));
});

test('slots are a whole number within bounds', () => {
  const { local } = pool(1);
  for (const wrong of [-1, 1.5, 65, Number.NaN]) expect(() => local.resize(wrong)).toThrow();
});
