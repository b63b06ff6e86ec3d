//! A submission on its way to the node, and whose it is. Decides; does nothing.

import type { Outcome, TaskRequest } from '../wire.js';

/** A submission is the page's until its first byte is sent, and the node's for ever after. */
export type Stage =
  /** Not sent. It may run here. */
  | 'local'
  /** It ran here, and the node is to be told. */
  | 'done here'
  /** The node may have it: it is sent again until the node answers, and never runs here. */
  | 'sent';

export interface Letter {
  /** Its idempotency key, and what the page calls it by. */
  id: string;
  stage: Stage;
  /** The page that took it, and whose handle waits for it. */
  owner: string;
  request: TaskRequest;
  createdAt: string;
  /** How it ended here. */
  outcome?: Outcome;
  /** What it wrote here, the last of it. */
  output?: { stream: 'stdout' | 'stderr'; text: string }[];
  startedAt?: string;
  finishedAt?: string;
  /** What it ran as here: `fib@3`, or nothing for bare source. */
  ranAs?: string;
  /** Its report is on its way: the node may have it. */
  isReported?: boolean;
}

/** The most source text the node takes. */
const SOURCE_BYTES_MAX = 4 << 20;

/** Whether it can run in a page at all; what cannot waits for the node. */
export function canRunHere(request: TaskRequest): boolean {
  if (request.run_at !== undefined && request.run_at !== null) return false;
  if (request.place === 'here' || request.place === 'upstream') return false;
  const language = request.language ?? 'js';
  return request.source === undefined || request.source === null || language === 'js';
}

/** What the node is sent to have a record of what was done here: a script that states the outcome.
 * Undefined if the outcome does not fit one; the submission itself is sent then. */
export function reportOf(letter: Letter): TaskRequest | undefined {
  const { outcome, request } = letter;
  if (outcome === undefined) return undefined;
  const source = [
    '// A record of what ran in a tab while the node was out of reach.',
    ...(letter.output ?? []).map(({ stream, text }) =>
      `console.${stream === 'stderr' ? 'error' : 'log'}('%s', ${JSON.stringify(text)});`),
    statement(outcome),
  ].join('\n');
  if (new TextEncoder().encode(source).length > SOURCE_BYTES_MAX) return undefined;
  return {
    source,
    ...(request.name === undefined ? {} : { name: request.name }),
    labels: {
      ...request.labels,
      'ran-in': 'tab',
      'ran-as': letter.ranAs ?? 'source',
      'ran-until': letter.finishedAt ?? '',
    },
  };
}

function statement(outcome: Outcome): string {
  if (outcome.kind === 'returned' && outcome.value_encoding === 'base64') {
    return `Uint8Array.from(atob(${JSON.stringify(outcome.value)}), (c) => c.charCodeAt(0));`;
  }
  if (outcome.kind === 'returned') return `JSON.parse(${JSON.stringify(JSON.stringify(outcome.value))});`;
  const { name, message } = outcome.kind === 'threw'
    ? outcome.error
    : { name: outcome.kind, message: `it ended as ${outcome.kind} in a tab` };
  return `throw Object.assign(new Error(${JSON.stringify(message)}), { name: ${JSON.stringify(name)} });`;
}
