//! Chooses between this page's pool and the node, from what calls have cost so far. Reads no clock
//! and does no I/O.

export type Where = 'tab' | 'node';

/** What is known of a function's calls with arguments alike. */
interface Known {
  tab?: Cost;
  node?: Cost;
  /** Calls since the place that was not chosen was last tried. */
  sinceOther: number;
}

interface Cost {
  /** A mean in which later calls weigh more. */
  ms: number;
  count: number;
}

/** How busy this page's pool is. */
export interface Load {
  slots: number;
  running: number;
  queued: number;
}

const WEIGHT = 0.3;
/** Calls on the node before the pool is tried: most functions are called a few times only. */
const CALLS_BEFORE_TRYING = 3;
/** What is answered faster than this is not worth fetching code for. */
const WORTH_MS = 3;
/** The other place is tried again after so many calls, if it is not out of the question. */
const TRY_AGAIN_AFTER = 50;
const OUT_OF_THE_QUESTION = 4;
/** The kinds of calls that are remembered; the one used longest ago is forgotten. */
const KINDS_MAX = 1_000;

export class Placement {
  private readonly kinds = new Map<string, Known>();

  /** Where a call of this kind is expected to be done first. */
  choose(kind: string, load: Load): Where {
    const known = this.recall(kind);
    const { tab, node } = known;
    if (node === undefined) return 'node';
    if (tab === undefined) {
      return node.count >= CALLS_BEFORE_TRYING && node.ms >= WORTH_MS && load.slots > load.running ? 'tab' : 'node';
    }
    const expected = { tab: tab.ms * turns(load), node: node.ms };
    const best: Where = expected.tab < expected.node ? 'tab' : 'node';
    const other: Where = best === 'tab' ? 'node' : 'tab';
    const mayBeTried = expected[other] < expected[best] * OUT_OF_THE_QUESTION;
    if (mayBeTried && ++known.sinceOther >= TRY_AGAIN_AFTER) {
      known.sinceOther = 0;
      return other;
    }
    return best;
  }

  /** Learns what a call cost, from asking to having. */
  observe(kind: string, where: Where, ms: number): void {
    const known = this.recall(kind);
    const cost = known[where];
    if (cost === undefined) known[where] = { ms, count: 1 };
    else known[where] = { ms: cost.ms + (ms - cost.ms) * WEIGHT, count: cost.count + 1 };
  }

  private recall(kind: string): Known {
    const known = this.kinds.get(kind) ?? { sinceOther: 0 };
    this.kinds.delete(kind);
    this.kinds.set(kind, known);
    if (this.kinds.size > KINDS_MAX) {
      const [oldest] = this.kinds.keys();
      if (oldest !== undefined) this.kinds.delete(oldest);
    }
    return known;
  }
}

/** How many runs' time passes until one more is done. */
function turns({ slots, running, queued }: Load): number {
  if (slots === 0) return Number.POSITIVE_INFINITY;
  return 1 + Math.max(0, running + queued + 1 - slots) / slots;
}

/** Calls that may be expected to cost alike: the same function, and arguments of about the same size. */
export function kindOf(name: string, exported: string | undefined, args: readonly unknown[]): string {
  return `${name}#${exported ?? ''}(${args.slice(0, 8).map(sizeClass).join(',')})`;
}

/** Fine for small numbers, where one more may double the work, and coarse for large ones. */
function sizeClass(value: unknown): string {
  if (typeof value === 'number') return `n${bucket(Math.abs(value), 8)}`;
  if (typeof value === 'string') return `s${bucket(value.length, 1)}`;
  if (value instanceof Uint8Array) return `b${bucket(value.length, 1)}`;
  if (Array.isArray(value)) return `a${bucket(value.length, 1)}`;
  return typeof value;
}

function bucket(size: number, steps: number): number {
  return Math.round(Math.log2(1 + size) * steps);
}
