//! Calls of functions over HTTP, and the lines and times that come with the answer.

import { fromBase64, type Arguments } from '../values.js';
import type { CallOptions, CallReport, Json, OutputLine, Value } from '../types.js';
import { RunaboutError } from '../errors.js';
import { problemOf, type Http } from './http.js';

/** `offload` as in the node's API; left out, the function's manifest has the say. */
export type Offload = '0' | '1' | 'auto' | undefined;

/** Calls `name` on the node. */
export async function callNode(
  http: Http, name: string, args: Arguments, offload: Offload, options: CallOptions,
): Promise<CallReport> {
  const response = await http.send(path(name, offload, options), {
    method: 'POST',
    headers: { 'Content-Type': contentType(args), 'Runabout-Want-Logs': '1' },
    body: bodyOf(args),
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  });
  if (!response.ok) {
    const problem = await problemOf(response);
    throw Object.assign(problem, { output: problemLines(name, problem) });
  }
  const isBytes = response.headers.get('content-type')?.startsWith('application/octet-stream') ?? false;
  const value: Value = isBytes ? new Uint8Array(await response.arrayBuffer()) : ((await response.json()) as Json);
  return {
    value,
    ranOn: response.headers.get('runabout-ran-on') ?? http.url,
    placement: response.headers.get('runabout-placement') ?? 'here',
    timing: serverTiming(response.headers.get('server-timing')),
    output: headerLines(name, response.headers.get('runabout-logs')),
  };
}

function path(name: string, offload: Offload, options: CallOptions): string {
  const query = new URLSearchParams(offload === undefined ? {} : { offload });
  if (options.export !== undefined) query.set('export', options.export);
  if (options.version !== undefined) query.set('version', String(options.version));
  for (const [limit, value] of Object.entries(options.limits ?? {})) {
    if (value !== undefined && value !== null) query.set(limit, String(value));
  }
  return `/v1/functions/${encodeURIComponent(name)}/call?${query}`;
}

function contentType(args: Arguments): string {
  return 'text' in args ? 'application/json' : 'application/octet-stream';
}

function bodyOf(args: Arguments): BodyInit {
  if ('text' in args) return args.text;
  const [only, more] = args.bytes;
  if (only === undefined || more !== undefined) {
    throw new RunaboutError('a call takes one argument of bytes', { code: 'invalid_arguments' });
  }
  return only as Uint8Array<ArrayBuffer>;
}

/** `queue;dur=0.012, run;dur=1.5` */
export function serverTiming(header: string | null): Record<string, number> {
  const phases: Record<string, number> = {};
  for (const part of header?.split(',') ?? []) {
    const [name, ...parameters] = part.trim().split(';');
    const duration = parameters.map((one) => /^\s*dur=([\d.]+)$/.exec(one)?.[1]).find((found) => found !== undefined);
    if (name !== undefined && duration !== undefined) phases[name] = Number(duration);
  }
  return phases;
}

function headerLines(source: string, header: string | null): OutputLine[] {
  if (header === null) return [];
  const text = new TextDecoder().decode(fromBase64(header));
  return (JSON.parse(text) as { stream: OutputLine['stream']; text: string }[]).map(
    (line) => ({ stream: line.stream, text: line.text, source }));
}

/** A problem carries the last of its run's output as one text, which does not tell the streams apart. */
function problemLines(source: string, problem: RunaboutError): OutputLine[] {
  const output = problem.problem?.['output'];
  if (typeof output !== 'string' || output === '') return [];
  return output.replace(/\n$/, '').split('\n').map((text) => ({ stream: 'stdout', text, source }));
}
