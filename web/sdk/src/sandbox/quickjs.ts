//! Runs JavaScript in QuickJS, itself WebAssembly, as nodes do: exact limits, at the price of slow
//! arithmetic. The engine is started once with the prelude and a picture of its memory taken; each
//! run begins with a copy of that picture, so that no two runs share anything.
//!
//! The picture may be laid over an instance that has run before: an instance is its memory, which is
//! replaced to the last byte, a stack pointer, which is set, and a table that nothing writes to. To
//! make one costs twenty times what a small run does.

import { EvalFlags, JSException, QuickJS, type JSValueHandle, type QuickJSOptions, type Snapshot } from 'quickjs-wasi';
import { RESULT_BYTES_MAX } from '../limits.js';
import type { RunEnd, RunSpec, RunUse } from './messages.js';
import type { Outlet } from './outlet.js';
import {
  FILE_NAME, MAIL, NEVER_SETTLED, RESULT_TOO_LARGE, STATE, ownLines, taskTold, type PreludeEntries,
} from './prelude.js';

const ENTRIES = ['give', 'settle', 'adopt', 'invoke', 'fail', 'fire', 'take'] as const;
type Entry = (typeof ENTRIES)[number] | 'start' | 'begin' | 'mail';
type HostName = 'log' | 'progress' | 'checkpoint' | 'task' | 'state' | 'random' | 'encode' | 'decode';
/** What begins a run, made before guest code can replace what it uses. */
const BEGINNINGS = `(mail, invoke, fail) => {
  const { apply } = Reflect;
  const { then } = Promise.prototype;
  const { parse } = JSON;
  const done = Promise.resolve();
  return {
    start(now) { mail[${MAIL.STARTED_MS}] = now; },
    begin(evaluated, request) {
      apply(then, evaluated, [(namespace) => invoke(done, namespace, parse(request)), fail]);
    },
  };
}`;
const STACK_BYTES_MAX = 512 << 10;
/** What a run is left at the least, beside the engine itself. */
const HEAP_BYTES_MIN = 1 << 20;

/** What the package keeps to itself, and the second use of an instance needs; its version is pinned. */
interface Inside {
  instance: WebAssembly.Instance;
  exports: {
    memory: WebAssembly.Memory;
    __stack_pointer: WebAssembly.Global;
    qjs_set_runtime_and_context(runtime: number, context: number): void;
  };
}
const applyLimits = (QuickJS as unknown as { applyLimits(vm: QuickJS, options: QuickJSOptions): void }).applyLimits;

export class Engine {
  /** What ran last, if another run may begin in it. */
  private idle: { vm: QuickJS; inside: Inside } | undefined;

  private constructor(
    private readonly module: WebAssembly.Module,
    private readonly picture: Snapshot,
    private readonly tokens: Record<Entry, number>,
    /** Where `Math.random` keeps its state in the picture. */
    private readonly randomAt: number,
    /** What the engine takes beside its heap. */
    private readonly fixedBytes: number,
  ) {}

  static async start(module: WebAssembly.Module, prelude: string): Promise<Engine> {
    const randomAt = await findRandomState(module);
    const vm = await QuickJS.create({ wasm: module, timezoneOffset: 0, maxStackSize: STACK_BYTES_MAX });
    const host = vm.newObject();
    for (const name of Object.keys(hostFunctions(undefined as never, undefined as never, undefined)) as HostName[]) {
      vm.setProp(host, name, vm.newFunction(name, () => vm.undefined));
    }
    const mail = vm.evalCode(`new Float64Array(${MAIL.LENGTH})`);
    const entries = vm.callFunction(vm.evalCode(prelude, 'runabout:prelude'), vm.undefined, host, mail);
    const beginnings = vm.callFunction(
      vm.evalCode(BEGINNINGS, 'runabout:begin'), vm.undefined, mail, entries.getProp('invoke'), entries.getProp('fail'));
    const tokens: Record<string, number> = { mail: vm.exportHandle(mail) };
    for (const name of ['start', 'begin']) tokens[name] = vm.exportHandle(beginnings.getProp(name));
    for (const name of ENTRIES) {
      const entry = entries.getProp(name);
      if (entry.isUndefined) throw new Error(`the prelude has no ${name}`);
      tokens[name] = vm.exportHandle(entry);
    }
    vm.executePendingJobs();
    vm.runGC();
    const picture = vm.snapshot();
    const fixedBytes = picture.memory.byteLength - vm.getMemoryUsage().mallocSize;
    vm.dispose();
    return new Engine(module, picture, tokens as Record<Entry, number>, randomAt, fixedBytes);
  }

  async run(source: string, spec: RunSpec, outlet: Outlet): Promise<{ end: RunEnd; use: RunUse }> {
    const run = new Run(spec, outlet);
    crypto.getRandomValues(this.picture.memory.subarray(this.randomAt, this.randomAt + 8));
    const options: QuickJSOptions = {
      wasm: this.module,
      timezoneOffset: 0,
      maxStackSize: STACK_BYTES_MAX,
      memoryLimit: Math.max(spec.limits.memory_bytes - this.fixedBytes, HEAP_BYTES_MIN),
      interruptHandler: () => run.isOver(),
      onUnhandledRejection: (promise, reason, isHandled) => run.rejection(promise, reason, isHandled),
    };
    const vm = this.again(options) ?? await QuickJS.restore(this.picture, options);
    const inside = { ...(vm as unknown as Inside) };
    const { memory } = inside.exports;
    run.memory = () => memory.buffer.byteLength;
    try {
      return await run.drive(vm, source, this.tokens);
    } finally {
      vm.dispose();
      // One that has grown cannot shrink, and the next run would begin with less than its limit.
      if (memory.buffer.byteLength === this.picture.memory.length) this.idle = { vm, inside };
    }
  }

  /** The instance of the run before, with nothing left of it. */
  private again(options: QuickJSOptions): QuickJS | undefined {
    const { idle, picture } = this;
    if (idle === undefined) return undefined;
    this.idle = undefined;
    const { vm, inside } = idle;
    const { memory, __stack_pointer, qjs_set_runtime_and_context } = inside.exports;
    new Uint8Array(memory.buffer).set(picture.memory);
    qjs_set_runtime_and_context(picture.runtimePtr, picture.contextPtr);
    __stack_pointer.value = picture.stackPointer;
    // As it was before its first run: it was disposed of, and remembers nothing outside of that memory.
    Object.assign(vm, inside);
    applyLimits(vm, options);
    return vm;
  }
}

/** One run, from its code to its end. */
class Run {
  memory: () => number = () => 0;
  private busyMs = 0;
  private visitBegan = performance.now();
  private readonly began = performance.now();
  private stop: RunEnd | undefined;
  private readonly rejections: { promise: JSValueHandle; reason: JSValueHandle }[] = [];
  private vm!: QuickJS;
  private tokens!: Record<Entry, number>;

  constructor(private readonly spec: RunSpec, private readonly outlet: Outlet) {}

  /** The engine asks this again and again while code runs. */
  isOver(): boolean {
    const now = performance.now();
    const { cpu_ms, timeout_ms } = this.spec.limits;
    if (now - this.began > timeout_ms) this.stop = { kind: 'timed_out', limit: 'wall', limitMs: timeout_ms };
    // A run cannot be busy for longer than it has run: of two equal limits it is the wall clock's that ends it.
    else if (cpu_ms < timeout_ms && this.busyMs + now - this.visitBegan > cpu_ms) {
      this.stop = { kind: 'timed_out', limit: 'cpu', limitMs: cpu_ms };
    }
    return this.stop !== undefined;
  }

  rejection(promise: JSValueHandle, reason: JSValueHandle, isHandled: boolean): void {
    if (!isHandled) {
      this.rejections.push({ promise: promise.dup(), reason: reason.dup() });
      return;
    }
    const at = this.rejections.findIndex((one) => one.promise.identity === promise.identity);
    if (at >= 0) this.rejections.splice(at, 1);
  }

  async drive(vm: QuickJS, source: string, tokens: Record<Entry, number>): Promise<{ end: RunEnd; use: RunUse }> {
    this.vm = vm;
    this.tokens = tokens;
    for (const [name, call] of Object.entries(hostFunctions(vm, this.outlet, this.spec.task))) vm.registerHostCallback(name, call);
    let end: RunEnd;
    try {
      this.begin(source);
      await this.turn();
      end = this.conclude();
    } catch (error) {
      end = this.stop ?? broken(error);
    }
    this.busyMs += performance.now() - this.visitBegan;
    return { end: this.stop ?? end, use: { cpuMs: this.busyMs, memoryPeakBytes: this.memory() } };
  }

  private entry(name: Entry, ...args: JSValueHandle[]): JSValueHandle {
    const { vm } = this;
    return vm.callFunction(vm.importHandle(this.tokens[name]), vm.undefined, ...args);
  }

  private begin(source: string): void {
    const { vm, spec } = this;
    this.entry('start', vm.newNumber(Date.now()));
    const isAsync = spec.form === 'script' && source.includes('await');
    const flags = spec.form === 'module' ? EvalFlags.TYPE_MODULE : isAsync ? EvalFlags.ASYNC : EvalFlags.TYPE_GLOBAL;
    let evaluated: JSValueHandle;
    try {
      evaluated = vm.evalCode(source, FILE_NAME, flags);
    } catch (error) {
      if (!(error instanceof JSException)) throw error;
      this.entry('fail', error.handle);
      return;
    }
    if (spec.form === 'script') {
      this.entry(isAsync ? 'adopt' : 'settle', evaluated);
    } else {
      this.invoke(evaluated);
    }
  }

  private invoke(evaluated: JSValueHandle): void {
    const { vm, spec } = this;
    const isBytes = typeof spec.args !== 'string';
    if (isBytes) for (const bytes of spec.args) this.entry('give', vm.newUint8Array(bytes as Uint8Array));
    const request = `[${JSON.stringify(spec.export ?? 'default')},${isBytes ? 'null' : spec.args}]`;
    this.entry('begin', evaluated, vm.newString(request));
  }

  /** The event loop: promise jobs until there are none, then the next timer. A module's run ends when
   * its promise settles; a script's when nothing is left to do. */
  private async turn(): Promise<void> {
    for (;;) {
      this.vm.executePendingJobs();
      const mail = this.mail();
      const state = mail[MAIL.STATE];
      const settled = state !== STATE.PENDING;
      if (state === STATE.THREW || (settled && this.spec.form === 'module') || mail[MAIL.TIMERS] === 0) return;
      await this.sleep((mail[MAIL.NEXT_TIMER_MS] ?? 0) - Date.now());
      if (this.isOver()) return;
      this.entry('fire');
    }
  }

  /** Waiting takes no processor time. */
  private async sleep(ms: number): Promise<void> {
    if (ms <= 0) return;
    this.outlet.flush();
    this.busyMs += performance.now() - this.visitBegan;
    await new Promise((resolve) => setTimeout(resolve, ms));
    this.visitBegan = performance.now();
  }

  private mail(): Float64Array {
    return new Float64Array(this.vm.importHandle(this.tokens.mail).toUint8Array().slice().buffer);
  }

  private conclude(): RunEnd {
    const first = this.rejections[0];
    if (this.spec.form === 'script' && first !== undefined) this.entry('fail', first.reason);
    const state = this.mail()[MAIL.STATE];
    if (state === STATE.PENDING) return NEVER_SETTLED;
    const value = this.entry('take');
    if (state === STATE.RETURNED_BYTES) {
      const bytes = value.toUint8Array();
      return bytes.length > RESULT_BYTES_MAX ? RESULT_TOO_LARGE : { kind: 'returned', bytes: bytes.slice() };
    }
    const text = value.toString();
    return state === STATE.RETURNED ? { kind: 'returned', text } : this.thrown(text);
  }

  private thrown(text: string): RunEnd {
    const { name, message, stack } = JSON.parse(text) as { name: string; message: string; stack?: string };
    const lacksMemory = message === 'out of memory' || (message === 'threw null' && this.isNearlyFull());
    if (lacksMemory) return { kind: 'out_of_memory', limitBytes: this.spec.limits.memory_bytes };
    return { kind: 'threw', name, message, stack: ownLines(stack) };
  }

  /** The engine throws a null when it has no memory left for an error. */
  private isNearlyFull(): boolean {
    return this.memory() > this.spec.limits.memory_bytes / 2;
  }
}

/** The engine itself fell over: out of memory, out of stack, or a replaced built-in. */
function broken(error: unknown): RunEnd {
  if (error instanceof RangeError) return { kind: 'threw', name: 'RangeError', message: 'Maximum call stack size exceeded' };
  const message = error instanceof Error ? error.message : String(error);
  return { kind: 'threw', name: 'InternalError', message };
}

function hostFunctions(
  vm: QuickJS, outlet: Outlet, task: RunSpec['task'],
): Record<HostName, (...args: JSValueHandle[]) => JSValueHandle> {
  const told = taskTold(task);
  const answer = (text: string | undefined): JSValueHandle => (text === undefined ? vm.undefined : vm.newString(text));
  return {
    log(stream, text) {
      outlet.line(stream?.toNumber() === 1 ? 'stdout' : 'stderr', text?.toString() ?? '');
      return vm.undefined;
    },
    progress(fraction, message) {
      outlet.progress(fraction?.toNumber() ?? 0, message?.toString() ?? '');
      return vm.undefined;
    },
    checkpoint(kind, state) {
      if (state === undefined) return vm.undefined;
      return answer(outlet.checkpoint(
        kind?.toNumber() === 1 ? { bytes: state.toUint8Array() } : { text: state.toString() }));
    },
    task: () => answer(told.text),
    state: () => (told.bytes === undefined ? vm.undefined : vm.newUint8Array(told.bytes)),
    random(array) {
      return fillRandom(vm, array);
    },
    encode: (text) => vm.newUint8Array(new TextEncoder().encode(text?.toString() ?? '')),
    decode(bytes, fatal) {
      const decoder = new TextDecoder('utf-8', { fatal: fatal?.toNumber() === 1, ignoreBOM: true });
      try {
        return vm.newString(decoder.decode(bytes?.toUint8Array()));
      } catch {
        return vm.undefined;
      }
    },
  };
}

/** The array is the guest's own: the bytes are set through it. */
function fillRandom(vm: QuickJS, array: JSValueHandle | undefined): JSValueHandle {
  if (array === undefined) return vm.undefined;
  const length = array.getProp('length').toNumber();
  if (length > 65_536) return vm.newString('getRandomValues fills 65,536 bytes at most');
  const bytes = vm.newUint8Array(crypto.getRandomValues(new Uint8Array(length)));
  const set = array.getProp('set');
  vm.callFunction(set, array, bytes);
  return vm.undefined;
}

const XORSHIFT_MASK = (1n << 64n) - 1n;

/** Finds the state of `Math.random` by what it does: the one word of memory that a call turns into
 * what the engine's generator makes of it. A run is given its own seed there. */
async function findRandomState(module: WebAssembly.Module): Promise<number> {
  const vm = await QuickJS.create({ wasm: module });
  vm.evalCode('Math.random()');
  const before = vm.snapshot().memory;
  vm.evalCode('Math.random()');
  const after = vm.snapshot().memory;
  vm.dispose();
  const [old, now] = [new BigUint64Array(before.slice().buffer), new BigUint64Array(after.slice(0, before.length).buffer)];
  const places: number[] = [];
  for (let at = 0; at < old.length; at++) {
    if (old[at] !== now[at] && next(old[at] ?? 0n) === now[at]) places.push(at * 8);
  }
  const [place, more] = places;
  if (place === undefined || more !== undefined) throw new Error(`expected one generator state, found ${places.length}`);
  return place;
}

function next(state: bigint): bigint {
  let word = state;
  word ^= word >> 12n;
  word ^= (word << 25n) & XORSHIFT_MASK;
  word ^= word >> 27n;
  return word;
}
