import { describe, expect, test } from 'vitest';
import { canRunHere, reportOf, type Letter } from '../../src/local/letter.js';
import type { Outcome } from '../../src/wire.js';

const letter = (outcome: Outcome | undefined, output: Letter['output'] = []): Letter => ({
  id: 'k', stage: 'done here', owner: 'p', createdAt: '', finishedAt: '2026-01-02T03:04:05Z',
  request: { function: 'fib', args: [3], name: 'n', labels: { mine: '1' } }, ranAs: 'fib@1',
  ...(outcome === undefined ? {} : { outcome }), output: output ?? [],
});

/** What the record's script comes to, and what it writes. */
function evaluated(source: string): { value?: unknown; error?: Error; lines: unknown[][] } {
  const lines: unknown[][] = [];
  const console = { log: (...line: unknown[]) => lines.push(['log', ...line]), error: (...line: unknown[]) => lines.push(['error', ...line]) };
  try {
    return { value: new Function('console', 'source', 'return eval(source)')(console, source) as unknown, lines };
  } catch (error) {
    return { error: error as Error, lines };
  }
}

describe('the record of what ran in a page', () => {
  test('states the value', () => {
    for (const value of [null, 42, 'a "quoted" \u2028 </script> text', { __proto__x: [1, { a: 'b' }] }, '`${1}`']) {
      const report = reportOf(letter({ kind: 'returned', value }));
      expect(evaluated(report?.source ?? '').value).toEqual(value);
    }
  });

  test('states bytes as bytes', () => {
    const report = reportOf(letter({ kind: 'returned', value: 'AQID', value_encoding: 'base64' }));
    expect(evaluated(report?.source ?? '').value).toEqual(Uint8Array.of(1, 2, 3));
  });

  test('throws what was thrown, and names other ends', () => {
    const threw = evaluated(reportOf(letter({ kind: 'threw', error: { name: 'TypeError', message: "it's\nno" } }))?.source ?? '');
    expect([threw.error?.name, threw.error?.message]).toEqual(['TypeError', "it's\nno"]);
    const late = evaluated(reportOf(letter({ kind: 'timed_out', limit: 'wall', limit_ms: 5 }))?.source ?? '');
    expect(late.error?.name).toBe('timed_out');
  });

  test('writes its lines again', () => {
    const report = reportOf(letter({ kind: 'returned', value: 1 }, [
      { stream: 'stdout', text: 'a %s' }, { stream: 'stderr', text: 'b' },
    ]));
    expect(evaluated(report?.source ?? '').lines).toEqual([['log', '%s', 'a %s'], ['error', '%s', 'b']]);
  });

  test('says what it is, and keeps name and labels', () => {
    const report = reportOf(letter({ kind: 'returned', value: 1 }));
    expect(report).toMatchObject({
      name: 'n', labels: { mine: '1', 'ran-in': 'tab', 'ran-as': 'fib@1', 'ran-until': '2026-01-02T03:04:05Z' },
    });
    expect(report).not.toHaveProperty('function');
  });

  test('is not made of what does not fit, nor of what has not ended', () => {
    expect(reportOf(letter({ kind: 'returned', value: 'x'.repeat(5 << 20) }))).toBeUndefined();
    expect(reportOf(letter(undefined))).toBeUndefined();
  });
});

test('what a page cannot run waits for the node', () => {
  expect(canRunHere({ source: '1' })).toBe(true);
  expect(canRunHere({ function: 'f', place: 'tab' })).toBe(true);
  expect(canRunHere({ source: '1', language: 'ts' })).toBe(false);
  expect(canRunHere({ function: 'f', run_at: '2026-01-01T00:00:00Z' })).toBe(false);
  expect(canRunHere({ function: 'f', place: 'upstream' })).toBe(false);
});
