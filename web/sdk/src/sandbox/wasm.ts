//! Runs WebAssembly: exports of core modules with JSON numbers, and WASI commands. A fresh instance
//! for each run, but for functions that keep theirs.

import { Fd, WASI, WASIProcExit, wasi as defs } from '@bjorn3/browser_wasi_shim';
import { RESULT_BYTES_MAX } from '../limits.js';
import { elementTexts } from '../json-text.js';
import type { Json } from '../types.js';
import type { Stream } from '../wire.js';
import type { RunEnd, RunSpec, RunUse } from './messages.js';
import type { Outlet } from './outlet.js';
import { RESULT_TOO_LARGE, ownLines } from './prelude.js';
import { exportedFunctions, PAGE_BYTES, type Signature } from './wasm-binary.js';
import { BadCall, findExport, readArguments, writeResults } from './wasm-values.js';

/** A module, with what is kept of it between runs. */
export interface WasmProgram {
  module: WebAssembly.Module;
  functions: Map<string, Signature>;
  /** Whether it imports anything of WASI: what it would import costs more to make than an instance. */
  needsSystem: boolean;
  /** The instance of a function that keeps its sandbox. */
  kept?: Instance;
}

interface Instance {
  exports: WebAssembly.Exports;
  surroundings: Surroundings;
}

/** What an instance's imports look at; a kept instance looks at another run's each time. */
interface Surroundings {
  outlet: Outlet;
  /** What an earlier attempt left, as bytes. */
  checkpoint: Uint8Array | undefined;
  memory: () => WebAssembly.Memory;
}

const SYSTEM = 'wasi_snapshot_preview1';
const PROGRAM_NAME = 'function';
const ARGUMENTS_MAX = 10_000;
const RANDOM_BYTES_MAX = 1 << 20;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

export function readProgram(module: WebAssembly.Module, bytes: Uint8Array): WasmProgram {
  const needsSystem = WebAssembly.Module.imports(module).some((one) => one.module === SYSTEM);
  return { module, functions: exportedFunctions(bytes), needsSystem };
}

/**
 * Runs a function or a command to its end.
 *
 * @throws what has nothing to do with the function: the browser has no memory left for an instance
 */
export function runWasm(program: WasmProgram, run: RunSpec, outlet: Outlet): { end: RunEnd; use: RunUse } {
  const began = performance.now();
  let instance: Instance | undefined;
  let end: RunEnd;
  try {
    if (run.language === 'wasi') {
      end = runCommand(program, run, outlet, (made) => { instance = made; });
    } else {
      end = callExport(program, run, outlet, (made) => { instance = made; });
    }
  } catch (error) {
    if (instance === undefined && isWithoutMemory(error)) throw error;
    end = failure(error, instance, run);
  }
  const memory = instance?.exports['memory'];
  const memoryPeakBytes = memory instanceof WebAssembly.Memory ? memory.buffer.byteLength : null;
  return { end, use: { cpuMs: performance.now() - began, memoryPeakBytes } };
}

function callExport(
  program: WasmProgram, run: RunSpec, outlet: Outlet, made: (instance: Instance) => void,
): RunEnd {
  const [name, signature] = findExport(program.functions, run.export);
  if (typeof run.args !== 'string') throw new BadCall(`${name} takes numbers, not bytes`);
  const args = readArguments(name, signature, elementTexts(run.args));
  const instance = instanceFor(program, run, outlet);
  made(instance);
  const value = (instance.exports[name] as (...args: unknown[]) => unknown)(...args);
  return { kind: 'returned', text: writeResults(value) };
}

function instanceFor(program: WasmProgram, run: RunSpec, outlet: Outlet): Instance {
  const checkpoint = keptState(run);
  if (program.kept !== undefined) {
    Object.assign(program.kept.surroundings, { outlet, checkpoint });
    return program.kept;
  }
  const surroundings: Surroundings = { outlet, checkpoint, memory: noMemory };
  const wasi = program.needsSystem ? new WASI([], [], [
    new Input(new Uint8Array()), new Output('stdout', () => surroundings.outlet), new Output('stderr', () => surroundings.outlet),
  ]) : undefined;
  const instance = instantiate(program.module, surroundings, wasi);
  if (run.reuse) program.kept = instance;
  return instance;
}

function runCommand(
  program: WasmProgram, run: RunSpec, outlet: Outlet, made: (instance: Instance) => void,
): RunEnd {
  const { argv, stdin } = commandInput(run);
  const stdout = new Output('stdout', () => outlet, RESULT_BYTES_MAX);
  const wasi = new WASI(argv, [], [new Input(stdin), stdout, new Output('stderr', () => outlet)]);
  const instance = instantiate(program.module, { outlet, checkpoint: keptState(run), memory: noMemory }, wasi);
  made(instance);
  let code: number;
  try {
    code = wasi.start(instance as never);
  } catch (error) {
    if (stdout.isFull) return RESULT_TOO_LARGE;
    throw error;
  }
  if (stdout.isFull) return RESULT_TOO_LARGE;
  if (code !== 0) return { kind: 'threw', name: 'Exit', message: `exited with code ${code}` };
  return textOrBytes(stdout.bytes());
}

function textOrBytes(bytes: Uint8Array): RunEnd {
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    return { kind: 'returned', text: JSON.stringify(text) };
  } catch {
    return { kind: 'returned', bytes };
  }
}

/** Strings go in as they are, other values as JSON; bytes are stdin. */
function commandInput(run: RunSpec): { argv: string[]; stdin: Uint8Array } {
  if (typeof run.args !== 'string') {
    const [stdin, more] = run.args;
    if (stdin === undefined || more !== undefined) throw new BadCall('a command takes one argument of bytes, its stdin');
    return { argv: [PROGRAM_NAME], stdin };
  }
  const values = JSON.parse(run.args) as Json[];
  if (values.length > ARGUMENTS_MAX) throw new BadCall('a command takes 10,000 arguments at most');
  const texts = values.map((value) => (typeof value === 'string' ? value : JSON.stringify(value)));
  if (texts.some((text) => text.includes('\0'))) {
    throw new BadCall('an argument of a command cannot contain a zero byte');
  }
  return { argv: [PROGRAM_NAME, ...texts], stdin: run.stdin ?? new Uint8Array() };
}

function instantiate(module: WebAssembly.Module, surroundings: Surroundings, wasi: WASI | undefined): Instance {
  const imports: WebAssembly.Imports = { runabout: hostImports(surroundings) };
  if (wasi !== undefined) imports[SYSTEM] = systemImports(wasi);
  const { exports } = new WebAssembly.Instance(module, imports);
  const memory = exports['memory'];
  if (memory instanceof WebAssembly.Memory) surroundings.memory = () => memory;
  // A library's imports look for its memory here; a command's are told when it starts.
  if (wasi !== undefined) wasi.inst = { exports } as never;
  return { exports, surroundings };
}

function systemImports(wasi: WASI): WebAssembly.ModuleImports {
  const system: Record<string, unknown> = { ...wasi.wasiImport };
  system['random_get'] = (at: number, length: number) => {
    if (length >>> 0 > RANDOM_BYTES_MAX) throw new WebAssembly.RuntimeError('random_get gives 1 MiB at most');
    return (wasi.wasiImport['random_get'] as (at: number, length: number) => number)(at >>> 0, length >>> 0) ?? 0;
  };
  // The shim forgets to answer, which the caller reads as success or not, by chance.
  system['sched_yield'] = () => defs.ERRNO_SUCCESS;
  return system as WebAssembly.ModuleImports;
}

function noMemory(): never {
  throw new WebAssembly.RuntimeError('the module exports no memory named "memory"');
}

function hostImports(around: Surroundings): WebAssembly.ModuleImports {
  const read = (start: number, length: number): Uint8Array => {
    const bytes = new Uint8Array(around.memory().buffer);
    const [from, to] = [start >>> 0, (start >>> 0) + (length >>> 0)];
    if (to > bytes.length) throw new WebAssembly.RuntimeError(`bytes ${from}..${to} lie outside the module's memory`);
    return bytes.subarray(from, to);
  };
  return {
    progress(fraction: number, text: number, length: number) {
      const message = decoder.decode(read(text, length).subarray(0, 1024));
      around.outlet.progress(Number.isNaN(fraction) ? 0 : Math.min(Math.max(fraction, 0), 1), message);
    },
    log(stream: number, text: number, length: number) {
      if (stream !== 1 && stream !== 2) {
        throw new WebAssembly.RuntimeError(`runabout.log: stream ${stream} is neither 1 (stdout) nor 2 (stderr)`);
      }
      around.outlet.line(stream === 1 ? 'stdout' : 'stderr', decoder.decode(read(text, length)));
    },
    checkpoint(state: number, length: number) {
      const refused = around.outlet.checkpoint({ bytes: read(state, length) });
      if (refused !== undefined) throw new WebAssembly.RuntimeError(`runabout.checkpoint: ${refused}`);
    },
    checkpoint_size: () => around.checkpoint?.length ?? -1,
    checkpoint_read(target: number, length: number) {
      if (around.checkpoint === undefined) return -1;
      const count = Math.min(around.checkpoint.length, length >>> 0);
      read(target, count).set(around.checkpoint.subarray(0, count));
      return count;
    },
  };
}

function keptState(run: RunSpec): Uint8Array | undefined {
  const state = run.task?.checkpoint;
  if (state === undefined) return undefined;
  return 'bytes' in state ? state.bytes : encoder.encode(state.text);
}

function failure(error: unknown, instance: Instance | undefined, run: RunSpec): RunEnd {
  if (error instanceof BadCall) return { kind: 'threw', name: 'TypeError', message: error.message };
  if (error instanceof WASIProcExit) return { kind: 'threw', name: 'Exit', message: `exited with code ${error.code}` };
  if (isOutOfMemory(error, instance, run)) return { kind: 'out_of_memory', limitBytes: run.limits.memory_bytes };
  const { message, stack } = error instanceof Error ? error : { message: String(error), stack: undefined };
  const lines = ownLines(stack?.replaceAll(/wasm:\/\/wasm\/[0-9a-f]+/g, 'wasm'));
  return { kind: 'threw', name: 'RuntimeError', message: TRAPS[message] ?? message, stack: lines };
}

/** What it asks for to begin with is within the run's limit, or it would not have been compiled. Instances
 * that nobody uses any more take room in the browser until its garbage is collected, in every Web Worker. */
function isWithoutMemory(error: unknown): boolean {
  return error instanceof RangeError && /memory/i.test(error.message);
}

/** A module that traps at the end of what it may have did not get over a refusal. That it was refused
 * one large piece before that end cannot be seen from outside. */
function isOutOfMemory(error: unknown, instance: Instance | undefined, run: RunSpec): boolean {
  const memory = instance?.exports['memory'];
  if (!(error instanceof WebAssembly.RuntimeError) || !(memory instanceof WebAssembly.Memory)) return false;
  const roomBytes = run.limits.memory_bytes - memory.buffer.byteLength;
  return roomBytes < Math.max(16 * PAGE_BYTES, run.limits.memory_bytes / 16);
}

/** Chromium's words for traps, as the node says them. */
const TRAPS: Record<string, string> = {
  unreachable: 'wasm `unreachable` instruction executed',
  'divide by zero': 'integer divide by zero',
  'remainder by zero': 'integer divide by zero',
  'divide result unrepresentable': 'integer overflow',
  'float unrepresentable in integer range': 'invalid conversion to integer',
  'memory access out of bounds': 'out of bounds memory access',
  'table index is out of bounds': 'undefined element: out of bounds table access',
  'null function or function signature mismatch': 'indirect call type mismatch',
  'Maximum call stack size exceeded': 'call stack exhausted',
};

class Input extends Fd {
  private at = 0;

  constructor(private readonly content: Uint8Array) {
    super();
  }

  override fd_fdstat_get() {
    return { ret: defs.ERRNO_SUCCESS, fdstat: new defs.Fdstat(defs.FILETYPE_CHARACTER_DEVICE, 0) };
  }

  override fd_read(size: number) {
    const data = this.content.slice(this.at, this.at + size);
    this.at += data.length;
    return { ret: defs.ERRNO_SUCCESS, data };
  }
}

/** stdout or stderr: told line by line, and stdout of a command kept whole as well. */
class Output extends Fd {
  private readonly pieces: Uint8Array[] = [];
  private keptBytes = 0;
  isFull = false;
  private readonly decoder = new TextDecoder();

  constructor(
    private readonly stream: Stream,
    private readonly outlet: () => Outlet,
    private readonly keepBytesMax = 0,
  ) {
    super();
  }

  override fd_fdstat_get() {
    const fdstat = new defs.Fdstat(defs.FILETYPE_CHARACTER_DEVICE, 0);
    fdstat.fs_rights_base = BigInt(defs.RIGHTS_FD_WRITE);
    return { ret: defs.ERRNO_SUCCESS, fdstat };
  }

  override fd_write(data: Uint8Array) {
    this.outlet().write(this.stream, this.decoder.decode(data, { stream: true }));
    if (this.keepBytesMax > 0) this.keep(data);
    return { ret: defs.ERRNO_SUCCESS, nwritten: data.byteLength };
  }

  private keep(data: Uint8Array): void {
    this.keptBytes += data.length;
    if (this.keptBytes > this.keepBytesMax) {
      this.isFull = true;
      throw new WebAssembly.RuntimeError('the result is too large');
    }
    this.pieces.push(data.slice());
  }

  bytes(): Uint8Array {
    const whole = new Uint8Array(this.keptBytes);
    let at = 0;
    for (const piece of this.pieces) {
      whole.set(piece, at);
      at += piece.length;
    }
    return whole;
  }
}
