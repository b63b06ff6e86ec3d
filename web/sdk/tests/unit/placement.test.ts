import { describe, expect, test } from 'vitest';
import { kindOf, Placement, type Where } from '../../src/placement.js';

const idle = { slots: 4, running: 0, queued: 0 };

function learnt(costs: Partial<Record<Where, number[]>>): Placement {
  const placement = new Placement();
  for (const where of ['node', 'tab'] as const) for (const ms of costs[where] ?? []) placement.observe('f', where, ms);
  return placement;
}

describe('where a call goes', () => {
  test('with no history it starts on the node', () => {
    expect(new Placement().choose('f', idle)).toBe('node');
  });

  test('the pool is tried after a few calls that took long enough', () => {
    expect(learnt({ node: [50, 50] }).choose('f', idle)).toBe('node');
    expect(learnt({ node: [50, 50, 50] }).choose('f', idle)).toBe('tab');
  });

  test('what is answered quickly stays on the node', () => {
    expect(learnt({ node: [1, 1, 1, 1, 1, 1] }).choose('f', idle)).toBe('node');
  });

  test('the place that takes less is chosen', () => {
    expect(learnt({ node: [50], tab: [5] }).choose('f', idle)).toBe('tab');
    expect(learnt({ node: [5], tab: [50] }).choose('f', idle)).toBe('node');
  });

  test('a queue in the pool counts', () => {
    const placement = learnt({ node: [50], tab: [30] });
    expect(placement.choose('f', idle)).toBe('tab');
    expect(placement.choose('f', { slots: 4, running: 4, queued: 4 })).toBe('node');
  });

  test('a pool without slots is never chosen', () => {
    expect(learnt({ node: [5000], tab: [1] }).choose('f', { slots: 0, running: 0, queued: 0 })).toBe('node');
    expect(learnt({ node: [50, 50, 50] }).choose('f', { slots: 0, running: 0, queued: 0 })).toBe('node');
  });

  test('the other place is tried again now and then, unless it is out of the question', () => {
    const near = learnt({ node: [50], tab: [40] });
    const chosen = Array.from({ length: 100 }, () => near.choose('f', idle));
    expect(chosen.filter((where) => where === 'node')).toHaveLength(2);
    const far = learnt({ node: [5000], tab: [40] });
    expect(Array.from({ length: 100 }, () => far.choose('f', idle))).not.toContain('node');
  });

  test('a change is learnt within a few calls', () => {
    const placement = learnt({ node: [10], tab: [50] });
    for (let call = 0; call < 6; call++) placement.observe('f', 'node', 200);
    expect(placement.choose('f', idle)).toBe('tab');
  });
});

describe('calls that cost alike', () => {
  test('neighbours that are small are told apart, large ones are not', () => {
    expect(kindOf('fib', undefined, [20])).not.toBe(kindOf('fib', undefined, [30]));
    expect(kindOf('sum', undefined, [1_000_000])).toBe(kindOf('sum', undefined, [1_000_900]));
  });

  test('function, export and kinds of values matter', () => {
    expect(kindOf('a', undefined, [1])).not.toBe(kindOf('b', undefined, [1]));
    expect(kindOf('a', 'x', [1])).not.toBe(kindOf('a', 'y', [1]));
    expect(kindOf('a', undefined, ['1'])).not.toBe(kindOf('a', undefined, [1]));
  });
});
