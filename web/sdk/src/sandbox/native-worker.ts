//! A Web Worker in which one run of native JavaScript happens. Closes everything off that the
//! language itself does not have, before it lets guest code in: what remains is a list of names that
//! may stay, not of names that must go, so that what browsers add later is closed off as well.

import { Outlet } from './outlet.js';
import {
  FILE_NAME, MAIL, NEVER_SETTLED, STATE, ownLines, taskTold,
  type Prelude, type PreludeEntries,
} from './prelude.js';
import type { FrameToGuest, RunEnd, RunSpec } from './messages.js';

declare const runaboutPrelude: Prelude;

/** What is used of a dedicated Web Worker's global. */
interface Scope {
  postMessage(message: object): void;
  addEventListener(type: 'message', listener: (event: MessageEvent) => void): void;
  addEventListener(
    type: 'unhandledrejection' | 'rejectionhandled', listener: (event: PromiseRejectionEvent) => void): void;
  setTimeout(callback: () => void, ms: number): number;
  clearTimeout(timer: number): void;
  atob(text: string): string;
  btoa(text: string): string;
  performance: Performance;
  crypto: Crypto;
}

/** The language's own globals. Not among them: `Intl` and `Temporal`, which the engine of nodes does
 * not have, and `WebAssembly`, whose memory nobody would count. */
const KEPT = new Set<PropertyKey>([
  'Object', 'Function', 'Array', 'Number', 'parseFloat', 'parseInt', 'Infinity', 'NaN', 'undefined',
  'Boolean', 'String', 'Symbol', 'Date', 'Promise', 'RegExp', 'Error', 'AggregateError', 'EvalError',
  'RangeError', 'ReferenceError', 'SyntaxError', 'TypeError', 'URIError', 'SuppressedError',
  'globalThis', 'JSON', 'Math', 'ArrayBuffer', 'Atomics', 'Uint8Array', 'Int8Array', 'Uint16Array',
  'Int16Array', 'Uint32Array', 'Int32Array', 'BigUint64Array', 'BigInt64Array', 'Uint8ClampedArray',
  'Float16Array', 'Float32Array', 'Float64Array', 'DataView', 'Map', 'BigInt', 'Set', 'Iterator',
  'WeakMap', 'WeakSet', 'Proxy', 'Reflect', 'FinalizationRegistry', 'WeakRef', 'DisposableStack',
  'AsyncDisposableStack', 'decodeURI', 'decodeURIComponent', 'encodeURI', 'encodeURIComponent',
  'escape', 'unescape', 'eval', 'isFinite', 'isNaN', 'DOMException',
  // Numbers that cannot be removed: two constants of a file API that is gone.
  'TEMPORARY', 'PERSISTENT',
]);

// Kept from before guest code runs: a guest that replaces `Promise.prototype.then` changes its own
// world, not how its run is driven. Nothing of this is reachable from any object a guest gets.
const root = globalThis as unknown as Scope;
const { apply, deleteProperty, getPrototypeOf, ownKeys, defineProperty } = Reflect;
const { parse } = JSON;
const PromiseThen = Promise.prototype.then;
const resolved = Promise.resolve.bind(Promise);
const evaluate = globalThis.eval;
const dateNow = Date.now;
const post = root.postMessage.bind(root);
const listen = root.addEventListener.bind(root) as Scope['addEventListener'];
const later = root.setTimeout.bind(root);
const noLater = root.clearTimeout.bind(root);
const milliseconds = root.performance.now.bind(root.performance);
const fillRandom = root.crypto.getRandomValues.bind(root.crypto) as (bytes: Uint8Array) => void;
const makeUrl = URL.createObjectURL.bind(URL);
const dropUrl = URL.revokeObjectURL.bind(URL);
const BlobOf = Blob;
const encoder = new TextEncoder();
const encode = encoder.encode.bind(encoder) as (text: string) => Uint8Array;
const lossy = new TextDecoder('utf-8', { ignoreBOM: true });
const decodeLossy = lossy.decode.bind(lossy) as (bytes: Uint8Array) => string;
const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const decodeStrict = strict.decode.bind(strict) as (bytes: Uint8Array) => string;
const base64 = { atob: root.atob.bind(root), btoa: root.btoa.bind(root) };
const isArray = Array.isArray;

/** How long a run with nothing left to do is given, for rejections of `import()` to arrive. */
const IDLE_MS = 1000;
/** How long its code may take to be read, when there is no sign of its having begun. */
const READING_MS = 20_000;
const POLL_MS = 10;
/** The longest wait for a timer: a rejected `import()` may set an earlier one unseen. */
const SLEEP_MS_MAX = 100;

/** Removes every global that the language does not have. Fails where one cannot be removed. */
function closeOff(): void {
  const objectPrototype = Object.prototype;
  for (let at: object | null = globalThis; at !== null && at !== objectPrototype; at = getPrototypeOf(at)) {
    for (const key of ownKeys(at)) {
      if (at === globalThis ? KEPT.has(key) : key === 'TEMPORARY' || key === 'PERSISTENT') continue;
      if (!deleteProperty(at, key)) throw new Error(`${String(key)} cannot be closed off`);
    }
  }
  for (const name of ['atob', 'btoa'] as const) {
    defineProperty(globalThis, name, { value: base64[name], writable: true, configurable: true });
  }
}

/** One world: what the prelude made, and how far its run is. */
class World {
  readonly mail = new Float64Array(MAIL.LENGTH);
  readonly outlet = new Outlet({ post, now: milliseconds, encode });
  readonly entries: PreludeEntries;
  /** Whether the code itself has been evaluated, so that only promises and timers are left. */
  private evaluated = false;
  private idleSince: number | undefined;
  private ended = false;
  private waiting = 0;

  private readonly isModule: boolean;

  constructor(spec: RunSpec) {
    const { outlet } = this;
    this.isModule = spec.form === 'module';
    const told = taskTold(spec.task);
    this.entries = runaboutPrelude({
      log: (stream, text) => outlet.line(stream === 1 ? 'stdout' : 'stderr', text),
      progress: (fraction, message) => outlet.progress(fraction, message),
      checkpoint: (kind, state) =>
        outlet.checkpoint(kind === 1 ? { bytes: state as Uint8Array } : { text: state as string }),
      task: () => told.text,
      state: () => told.bytes,
      random: (bytes) => { fillRandom(bytes); return undefined; },
      encode,
      decode: (bytes, fatal) => {
        if (fatal !== 1) return decodeLossy(bytes);
        try { return decodeStrict(bytes); } catch { return undefined; }
      },
    }, this.mail);
  }

  begin(run: RunSpec, code: () => Promise<object> | undefined): void {
    this.mail[MAIL.STARTED_MS] = dateNow();
    const loading = code();
    if (loading === undefined) {
      this.evaluated = true;
    } else {
      const { entries } = this;
      const request: [string, unknown] = [run.export ?? 'default', isArray(run.args) ? null : parse(run.args)];
      if (isArray(run.args)) for (let at = 0; at < run.args.length; at++) entries.give(run.args[at] as Uint8Array);
      apply(PromiseThen, loading, [
        (namespace: object) => {
          this.evaluated = true;
          entries.invoke(resolved(undefined), namespace, request);
          this.turnSoon();
        },
        (error: unknown) => {
          this.evaluated = true;
          entries.fail(error);
          this.turnSoon();
        },
      ]);
    }
    this.turnSoon();
  }

  /** There is one next step, never two. */
  private next(step: () => void, ms: number): void {
    noLater(this.waiting);
    this.waiting = later(step, ms);
  }

  private turnSoon(): void {
    if (!this.ended) this.next(() => this.turn(), 0);
  }

  /** The event loop: each call comes after all promise jobs of the one before. A module's run ends
   * when its promise settles; a script's when nothing is left to do. */
  private turn(): void {
    if (this.ended) return;
    this.outlet.flush();
    const state = this.mail[MAIL.STATE];
    const settled = state !== STATE.PENDING;
    if (state === STATE.THREW || (settled && (this.isModule || this.mail[MAIL.TIMERS] === 0))) {
      return this.concludeSoon();
    }
    if (this.mail[MAIL.TIMERS] !== 0) {
      this.idleSince = undefined;
      const wait = (this.mail[MAIL.NEXT_TIMER_MS] ?? 0) - dateNow();
      return this.next(() => this.fire(), wait > SLEEP_MS_MAX ? SLEEP_MS_MAX : wait > 0 ? wait : 0);
    }
    const now = milliseconds();
    this.idleSince ??= now;
    if (now - this.idleSince > (this.evaluated ? IDLE_MS : READING_MS)) return this.concludeSoon();
    this.next(() => this.turn(), POLL_MS);
  }

  private fire(): void {
    const due = this.mail[MAIL.TIMERS] !== 0 && (this.mail[MAIL.NEXT_TIMER_MS] ?? 0) <= dateNow();
    if (due) this.entries.fire();
    this.turnSoon();
  }

  /** Gives the browser a turn to tell of rejections that nobody handled. */
  private concludeSoon(): void {
    this.ended = true;
    if (this.isModule) return this.conclude();
    this.next(() => {
      if (rejections.length > 0 && rejections[0] !== undefined) this.entries.fail(rejections[0].reason);
      this.conclude();
    }, 0);
  }

  private conclude(): void {
    this.outlet.end();
    post({ type: 'done', end: this.end(), use: { cpuMs: null, memoryPeakBytes: null } });
  }

  private end(): RunEnd {
    const value = this.entries.take();
    switch (this.mail[MAIL.STATE]) {
      case STATE.PENDING: return NEVER_SETTLED;
      case STATE.RETURNED: return { kind: 'returned', text: value as string };
      case STATE.RETURNED_BYTES: return { kind: 'returned', bytes: value as Uint8Array };
      default: return thrown(value as string);
    }
  }
}

function thrown(text: string): RunEnd {
  const { name, message, stack } = parse(text) as { name: string; message: string; stack?: string };
  return { kind: 'threw', name, message, stack: ownLines(stack) };
}

/** Rejections that nobody has handled, in their order. */
let rejections: { promise: Promise<unknown>; reason: unknown }[] = [];

/** A module that was loaded for a function that keeps its sandbox. */
let kept: object | undefined;

function run(spec: RunSpec, source: string): void {
  rejections = [];
  const world = new World(spec);
  // The name stands at the end, so that the user's lines keep their numbers.
  const named = `${source}\n//# sourceURL=${FILE_NAME}`;
  world.begin(spec, () => {
    if (spec.form === 'script') {
      try {
        world.entries.settle(evaluate(named));
      } catch (error) {
        world.entries.fail(error);
      }
      return undefined;
    }
    if (kept !== undefined) return resolved(kept) as Promise<object>;
    const url = makeUrl(new BlobOf([named], { type: 'text/javascript' }));
    const loading = import(url) as Promise<object>;
    const loaded = (namespace?: object): void => {
      dropUrl(url);
      if (spec.reuse) kept = namespace;
    };
    apply(PromiseThen, loading, [loaded, () => loaded()]);
    return loading;
  });
}

listen('message', (event) => {
  const message = event.data as FrameToGuest;
  if (message.type === 'run' && message.source !== undefined) run(message.run, message.source);
});
listen('unhandledrejection', (event) => {
  event.preventDefault();
  rejections[rejections.length] = { promise: event.promise, reason: event.reason };
});
listen('rejectionhandled', (event) => {
  const others: typeof rejections = [];
  for (let at = 0; at < rejections.length; at++) {
    const one = rejections[at];
    if (one !== undefined && one.promise !== event.promise) others[others.length] = one;
  }
  rejections = others;
});
try {
  closeOff();
  post({ type: 'ready' });
} catch (error) {
  post({ type: 'broken', reason: String(error) });
}
