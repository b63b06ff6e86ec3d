import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { FrameToPage } from '../../src/sandbox/messages.js';
import { Outbox } from '../../src/sandbox/outbox.js';

let told: string[];
let outbox: Outbox;

beforeEach(() => {
  vi.useFakeTimers();
  told = [];
  outbox = new Outbox((message) => told.push('id' in message ? `${message.type} ${message.id}` : message.type));
});

afterEach(() => vi.useRealTimers());

const finished = (id: number): FrameToPage => ({
  type: 'finished', id, end: { kind: 'returned', text: '1' }, use: { cpuMs: null, memoryPeakBytes: null }, wallMs: 0, truncated: false,
});

test('of a run that ends at once the page hears the end alone', () => {
  outbox.tell({ type: 'started', id: 1 });
  outbox.tell(finished(1));
  vi.runAllTimers();
  expect(told).toEqual(['finished 1']);
});

test('of a run that goes on the page hears within a moment', () => {
  outbox.tell({ type: 'started', id: 1 });
  outbox.tell({ type: 'started', id: 2 });
  outbox.tell(finished(2));
  expect(told).toEqual(['finished 2']);
  vi.advanceTimersByTime(5);
  expect(told).toEqual(['finished 2', 'started 1']);
  outbox.tell(finished(1));
  vi.runAllTimers();
  expect(told).toEqual(['finished 2', 'started 1', 'finished 1']);
});

test('what a run says is heard after it has begun', () => {
  outbox.tell({ type: 'started', id: 1 });
  outbox.tell({ type: 'progress', id: 1, fraction: 0.5 });
  outbox.tell({ type: 'started', id: 3 });
  vi.runAllTimers();
  expect(told).toEqual(['started 1', 'progress 1', 'started 3']);
});
