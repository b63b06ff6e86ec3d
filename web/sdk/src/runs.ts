//! Runs in the page's own pool: from what a caller says to what the pool needs, and back.

import { RunaboutError } from './errors.js';
import { resolveLimits, wantsExactLimits } from './limits.js';
import type { LocalPool, PoolArtifact, Ticket } from './pool/pool.js';
import type { TaskContext, State } from './sandbox/messages.js';
import type { OutputLine, RunReport, TaskProgress } from './types.js';
import { outcomeOf, type Arguments } from './values.js';
import type { Form, FunctionVersion, LimitsRequest } from './wire.js';

/** A run with everything decided. */
export interface Order {
  artifact: PoolArtifact;
  form: Form;
  engine: 'native' | 'quickjs';
  reuse: boolean;
  export?: string | undefined;
  args: Arguments;
  stdin?: string | null | undefined;
  limits: ReturnType<typeof resolveLimits>;
  task?: TaskContext | undefined;
  /** What its lines are said to come from. */
  source: string;
}

export interface OrderEvents {
  started?(): void;
  line?(line: OutputLine): void;
  progress?(progress: TaskProgress): void;
  checkpoint?(state: State): void;
}

export interface Running {
  report: Promise<RunReport>;
  /** The text of the value that it returned, once it has; what its numbers were is not lost in it. */
  valueText?: string;
  cancel(): void;
}

/** Starts it, or lets it wait for a slot. */
export function start(pool: LocalPool, order: Order, events: OrderEvents = {}): Running {
  const { args, stdin } = order;
  const output: OutputLine[] = [];
  const ticket: Ticket = pool.run({
    artifact: order.artifact,
    spec: {
      form: order.form,
      engine: order.engine,
      reuse: order.reuse,
      export: order.export,
      args: 'text' in args ? args.text : args.bytes,
      stdin: typeof stdin === 'string' ? new TextEncoder().encode(stdin) : undefined,
      limits: order.limits,
      task: order.task,
    },
    started: () => events.started?.(),
    output(lines) {
      for (const [stream, text] of lines) {
        const line = { stream, text, source: order.source };
        output.push(line);
        events.line?.(line);
      }
    },
    progress: (fraction, message) => events.progress?.(message === undefined ? { fraction } : { fraction, message }),
    checkpoint: (state) => events.checkpoint?.(state),
  });
  const report = ticket.ended.then(({ end, use, wallMs, outputTruncated }) => {
    if (end.kind === 'returned' && 'text' in end) running.valueText = end.text;
    return {
      outcome: outcomeOf(end),
      usage: { cpu_ms: use.cpuMs, wall_ms: wallMs, memory_peak_bytes: use.memoryPeakBytes, ran_on: 'tab' },
      output,
      outputTruncated,
      ...(end.kind === 'lost' && end.reason !== undefined ? { reason: end.reason } : {}),
    };
  });
  const running: Running = { report, cancel: () => ticket.cancel() };
  return running;
}

/** The same, ended when the caller's signal is. */
export async function runToEnd(
  pool: LocalPool, order: Order, events: OrderEvents, signal: AbortSignal | undefined,
): Promise<RunReport> {
  if (isAborted(signal)) throw abortedBy(signal);
  const running = start(pool, order, events);
  const onAbort = (): void => running.cancel();
  signal?.addEventListener('abort', onAbort);
  try {
    const report = await running.report;
    if (isAborted(signal) && report.outcome.kind === 'cancelled') throw abortedBy(signal);
    return report;
  } finally {
    signal?.removeEventListener('abort', onAbort);
  }
}

/** What a deployed function's run needs. */
export function orderOf(
  version: FunctionVersion, artifact: PoolArtifact, args: Arguments,
  wishes: { export?: string | null | undefined; limits?: LimitsRequest | null | undefined; stdin?: string | null | undefined },
): Order {
  const { manifest } = version;
  const isExact = manifest.engine === 'quickjs' || wantsExactLimits(wishes.limits) || wantsExactLimits(manifest.limits);
  return {
    artifact,
    form: version.form ?? 'script',
    engine: isExact ? 'quickjs' : 'native',
    reuse: manifest.reuse === true,
    export: wishes.export ?? manifest.export ?? undefined,
    args,
    stdin: wishes.stdin,
    limits: resolveLimits(wishes.limits, manifest.limits),
    source: `${version.name}@${version.version}`,
  };
}

/** Finds out what bytes or a text are, and what they are kept under. */
export async function examine(code: string | Uint8Array, language?: PoolArtifact['language']): Promise<PoolArtifact> {
  const bytes = typeof code === 'string' ? new TextEncoder().encode(code) : code;
  const found = language ?? (isWasm(bytes) ? await wasmLanguage(bytes) : 'js');
  return { key: await keyOf(bytes), language: found, bytes };
}

/** A script has neither imports nor exports. */
export async function formOf(source: string): Promise<Form> {
  const { parse } = await import('es-module-lexer/js');
  try {
    const [imports, , , isModule] = parse(source);
    const asked = imports.find((one) => one.type === 'static' || one.type === 'reexport-star');
    if (asked !== undefined) {
      const message = `cannot import ${JSON.stringify(asked.specifier)}: a function is one file`;
      throw new RunaboutError(message, { code: 'unresolved_import' });
    }
    return isModule ? 'module' : 'script';
  } catch (error) {
    if (error instanceof RunaboutError) throw error;
    // What the lexer cannot read, the engine will say more of.
    return /^\s*export\s/m.test(source) ? 'module' : 'script';
  }
}

async function wasmLanguage(bytes: Uint8Array): Promise<'wasm' | 'wasi'> {
  const { exportedFunctions } = await import('./sandbox/wasm-binary.js');
  return exportedFunctions(bytes).has('_start') ? 'wasi' : 'wasm';
}

function isWasm(bytes: Uint8Array): boolean {
  return bytes[0] === 0 && bytes[1] === 0x61 && bytes[2] === 0x73 && bytes[3] === 0x6d;
}

let unnamed = 0;

/** Its digest; where pages get no digests (plain HTTP beyond this machine), a number. */
async function keyOf(bytes: Uint8Array): Promise<string> {
  const subtle = globalThis.crypto?.subtle;
  if (subtle === undefined) return `code ${++unnamed}`;
  const hash = new Uint8Array(await subtle.digest('SHA-256', bytes as Uint8Array<ArrayBuffer>));
  return `sha256:${[...hash].map((byte) => byte.toString(16).padStart(2, '0')).join('')}`;
}

function isAborted(signal: AbortSignal | undefined): boolean {
  return signal?.aborted === true;
}

function abortedBy(signal: AbortSignal | undefined): RunaboutError {
  return new RunaboutError('aborted by the caller', { code: 'aborted', cause: signal?.reason });
}
