//! Runs a submission in this page while the node is out of reach.

import type { Functions } from '../client/functions.js';
import type { Handle } from '../client/task-handle.js';
import { RunaboutError } from '../errors.js';
import { resolveLimits, wantsExactLimits } from '../limits.js';
import type { LocalPool } from '../pool/pool.js';
import { examine, formOf, orderOf, start, type Order } from '../runs.js';
import type { OutputLine } from '../types.js';
import { fromWireArguments } from '../values.js';
import type { Outcome, Task, Usage } from '../wire.js';
import type { Letter } from './letter.js';

/** What it wrote that goes into the record. */
const OUTPUT_LINES_MAX = 500;

export async function runLetter(
  letter: Letter, handle: Handle | undefined, pool: LocalPool, functions: Functions,
  say: (line: OutputLine) => void,
): Promise<Partial<Letter> | undefined> {
  const order = await orderFor(letter, functions);
  if (order === undefined) {
    handle?.waitsForNode();
    return undefined;
  }
  const startedAt = new Date().toISOString();
  let seq = 0;
  const running = start(pool, order, {
    line(line) {
      say(line);
      handle?.heard({ at: new Date().toISOString(), attempt: 1, seq: seq++, stream: line.stream, text: line.text });
    },
    progress: (progress) => handle?.progressedTo(progress),
  });
  handle?.runsHere(() => running.cancel());
  const { outcome, usage, output } = await running.report;
  // What it ran in died, or the page is going: it has not been done.
  if (outcome.kind === 'lost') return undefined;
  const ranAs = letter.request.function === undefined ? {} : { ranAs: order.source };
  const finished = { outcome, startedAt, finishedAt: new Date().toISOString() };
  handle?.finishedWith(recordOf(letter, order, { ...finished, usage }));
  return {
    ...finished, ...ranAs,
    output: output.slice(-OUTPUT_LINES_MAX).map(({ stream, text }) => ({ stream, text })),
  };
}

async function orderFor(letter: Letter, functions: Functions): Promise<Order | undefined> {
  const { request } = letter;
  const args = fromWireArguments(request.args ?? [], request.args_encoding);
  const task = { id: letter.id, attempt: 1 };
  if (typeof request.source === 'string') {
    return {
      artifact: await examine(request.source, 'js'),
      form: await formOf(request.source),
      engine: wantsExactLimits(request.limits) ? 'quickjs' : 'native',
      reuse: false,
      export: request.export ?? undefined,
      args,
      stdin: request.stdin,
      limits: resolveLimits(request.limits),
      task,
      source: letter.id,
    };
  }
  const [name = '', version] = (request.function ?? '').split('@');
  try {
    const found = await functions.find(name, version === undefined ? undefined : Number(version));
    const artifact = await functions.artifact(found.digest, found.language);
    return { ...orderOf(found, artifact, args, request), task };
  } catch (error) {
    if (error instanceof RunaboutError) return undefined;
    throw error;
  }
}

/** The task as it would stand on a node. */
function recordOf(
  letter: Letter, order: Order,
  { outcome, usage, startedAt, finishedAt }: { outcome: Outcome; usage: Usage; startedAt: string; finishedAt: string },
): Task {
  const { request } = letter;
  const state = outcome.kind === 'returned' ? 'succeeded' : outcome.kind === 'cancelled' ? 'cancelled' : 'failed';
  return {
    id: letter.id,
    name: request.name ?? null,
    state,
    function: request.function ?? null,
    digest: order.artifact.key,
    language: order.artifact.language,
    args: request.args ?? [],
    attempt: 1,
    max_attempts: 1,
    lost: 0,
    priority: request.priority ?? 0,
    created_at: letter.createdAt,
    started_at: startedAt,
    finished_at: finishedAt,
    worker: 'tab',
    trust: 'tab',
    progress: null,
    outcome,
    usage,
  };
}
