// What every JavaScript run finds before its own code: timers, console, `runabout`, and the web
// globals we have so far. Evaluated once, when the binary is built, and frozen into a snapshot;
// every run starts from a copy of it. Nothing here may depend on time or chance.
//
// Called by the build script as `prelude(host, mail)`:
//   host  functions that leave the sandbox: log, progress, checkpoint, task, state, random, encode, decode
//   mail  a Float64Array that the host reads straight from memory, see MAIL below
// Returns what the host calls: give, settle, adopt, invoke, call, fail, fire, take.
(function prelude(host, mail) {
  'use strict';

  // Kept from before guest code runs: a guest that replaces `JSON.stringify` or
  // `Promise.prototype.then` changes its own world, not how its result is read.
  const {
    Array, ArrayBuffer, Boolean, DataView, Date, Error, Function, JSON, Map, Math, Number, Object,
    Promise, RangeError, Reflect, RegExp, Set, String, Symbol, TypeError, Uint8Array,
  } = globalThis;
  const { stringify, parse } = JSON;
  const { isView } = ArrayBuffer;
  const { isArray } = Array;
  const { floor, trunc, abs, min, max } = Math;
  const { isFinite: isFiniteNumber } = Number;
  const { defineProperty, getOwnPropertyNames, getOwnPropertySymbols, getPrototypeOf } = Object;
  const { apply, getOwnPropertyDescriptor, ownKeys } = Reflect;
  const PromiseThen = Promise.prototype.then;
  const PromiseResolve = Promise.resolve.bind(Promise);
  const Bytes = Uint8Array;
  const Text = String;
  const objectTag = Object.prototype.toString;
  const dateNow = Date.now;
  const { toWellFormed } = String.prototype;

  const MAIL = { STATE: 0, NEXT_TIMER_MS: 1, TIMERS: 2, STARTED_MS: 3 };
  const STATE = { PENDING: 0, RETURNED: 1, RETURNED_BYTES: 2, THREW: 3 };

  // --- how a run ends -------------------------------------------------------------------------

  let ended = undefined;

  function end(state, value) {
    if (mail[MAIL.STATE] !== STATE.PENDING) return;
    ended = value;
    mail[MAIL.STATE] = state;
  }

  function succeed(value) {
    try {
      if (value instanceof ArrayBuffer) return end(STATE.RETURNED_BYTES, new Bytes(value));
      if (isView(value)) {
        return end(STATE.RETURNED_BYTES, new Bytes(value.buffer, value.byteOffset, value.byteLength));
      }
      const text = stringify(value);
      end(STATE.RETURNED, text === undefined ? 'null' : text);
    } catch (error) {
      fail(error);
    }
  }

  // Reads a property that may be a getter, or belong to a proxy, that throws.
  function field(error, name) {
    try {
      const value = error[name];
      // Half a surrogate pair has no place in JSON that others read.
      return value === undefined || value === null ? undefined : apply(toWellFormed, Text(value), []);
    } catch {
      return undefined;
    }
  }

  function describe(error) {
    if (error instanceof Error || objectTag.call(error) === '[object Error]') {
      return {
        name: field(error, 'name') ?? 'Error',
        message: field(error, 'message') ?? '',
        stack: field(error, 'stack'),
      };
    }
    return { name: 'Error', message: apply(toWellFormed, `threw ${inspect(error)}`, []) };
  }

  function fail(error) {
    let text;
    try {
      text = stringify(describe(error));
    } catch {
      text = '{"name":"Error","message":"threw a value that cannot be shown"}';
    }
    // A failure after a script has its value, in a timer say, is still the script's.
    if (mail[MAIL.STATE] === STATE.THREW) return;
    ended = text;
    mail[MAIL.STATE] = STATE.THREW;
  }

  function take() {
    return ended;
  }

  // --- how a run begins -----------------------------------------------------------------------

  const given = [];

  // Arguments that are bytes, one after the other.
  function give(bytes) {
    given[given.length] = bytes;
  }

  // A script with a top-level await gives a promise of `{ value }`.
  function adopt(promise) {
    try {
      apply(PromiseThen, promise, [(last) => settle(last.value), fail]);
    } catch (error) {
      fail(error);
    }
  }

  // `evaluated`: the promise of a module that has been evaluated; `request`: [export, args], where
  // args is null if they are bytes.
  function invoke(evaluated, namespace, request) {
    try {
      apply(PromiseThen, evaluated, [() => call(evaluated, namespace, request), fail]);
    } catch (error) {
      fail(error);
    }
  }

  // The same for a module that has been evaluated to its end and left nothing to do.
  function call(evaluated, namespace, request) {
    try {
      // By index: a guest may have replaced how arrays are walked.
      const target = namespace[request[0]];
      if (typeof target !== 'function') return settle(target);
      settle(apply(target, undefined, request[1] === null ? given : request[1]));
    } catch (error) {
      fail(error);
    }
  }

  function settle(value) {
    if (value !== null && (typeof value === 'object' || typeof value === 'function')) {
      let then;
      try {
        then = value.then;
      } catch (error) {
        return fail(error);
      }
      if (typeof then === 'function') {
        apply(PromiseThen, PromiseResolve(value), [succeed, fail]);
        return;
      }
    }
    succeed(value);
  }

  // --- timers ---------------------------------------------------------------------------------

  // Sorted by due time, equal times in the order they were set.
  const timers = [];
  let lastTimer = 0;

  function publishTimers() {
    mail[MAIL.TIMERS] = timers.length;
    mail[MAIL.NEXT_TIMER_MS] = timers.length === 0 ? 0 : timers[0].due;
  }

  function insert(timer) {
    let low = 0;
    let high = timers.length;
    if (high > 0 && timers[high - 1].due <= timer.due) low = high;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (timers[middle].due <= timer.due) low = middle + 1;
      else high = middle;
    }
    if (low === timers.length) timers[low] = timer;
    else apply(spliceIn, timers, [low, 0, timer]);
    publishTimers();
  }
  const spliceIn = Array.prototype.splice;
  const shift = Array.prototype.shift;

  function addTimer(callback, delay, args, repeat) {
    if (typeof callback !== 'function') {
      throw new TypeError('the callback of a timer must be a function');
    }
    const delayMs = min(max(trunc(+delay) || 0, 0), 0x7fffffff);
    const id = ++lastTimer;
    insert({ id, callback, args, due: dateNow() + delayMs, every: repeat ? max(delayMs, 1) : 0 });
    return id;
  }

  function clearTimer(id) {
    for (let index = 0; index < timers.length; index++) {
      if (timers[index].id === id) {
        apply(spliceIn, timers, [index, 1]);
        publishTimers();
        return;
      }
    }
    if (firing !== undefined && firing.id === id) firing.every = 0;
  }

  let firing = undefined;

  // Runs the first timer that is due; the host drains promise jobs between one and the next.
  function fire() {
    const timer = apply(shift, timers, []);
    publishTimers();
    if (timer === undefined) return;
    firing = timer;
    try {
      apply(timer.callback, globalThis, timer.args);
    } catch (error) {
      fail(error);
    }
    firing = undefined;
    if (timer.every > 0) {
      timer.due = dateNow() + timer.every;
      insert(timer);
    }
  }

  // --- showing values -------------------------------------------------------------------------

  const plainKey = /^[A-Za-z_$][\w$]*$/;
  const test = RegExp.prototype.test;

  function quote(text) {
    const inner = stringify(text).slice(1, -1).replaceAll('\\"', '"');
    if (!text.includes("'")) return `'${inner}'`;
    if (!text.includes('"')) return `"${inner}"`;
    return `'${inner.replaceAll("'", "\\'")}'`;
  }

  function inspect(value) {
    try {
      return show(value, 0, []);
    } catch {
      return '[a value that cannot be shown]';
    }
  }

  function show(value, depth, seen) {
    switch (typeof value) {
      case 'string': return quote(value);
      case 'number': return value === 0 && 1 / value < 0 ? '-0' : `${value}`;
      case 'bigint': return `${value}n`;
      case 'symbol': return Symbol.prototype.toString.call(value);
      case 'function': return showFunction(value);
      case 'object': return value === null ? 'null' : showObject(value, depth, seen);
      default: return `${value}`;
    }
  }

  function showFunction(value) {
    const source = Function.prototype.toString.call(value);
    const kind = source.startsWith('class') ? 'class' : 'Function';
    const name = typeof value.name === 'string' && value.name !== '' ? value.name : undefined;
    if (kind === 'class') return `[class ${name ?? '(anonymous)'}]`;
    return name === undefined ? '[Function (anonymous)]' : `[Function: ${name}]`;
  }

  function showObject(value, depth, seen) {
    if (seen.includes(value)) return '[Circular *1]';
    if (value instanceof Error) return showError(value, depth, seen);
    if (value instanceof Date) {
      return Number.isNaN(value.getTime()) ? 'Invalid Date' : value.toISOString();
    }
    if (value instanceof RegExp) return RegExp.prototype.toString.call(value);
    if (value instanceof Promise) return 'Promise { ... }';
    const label = constructorLabel(value);
    if (depth > 2) return isArray(value) ? '[Array]' : `[${label || 'Object'}]`;
    const inner = [...seen, value];
    if (isArray(value)) {
      return wrap('[', ']', label === 'Array' ? '' : `${label}(${value.length}) `,
        items(value, value.length, depth, inner));
    }
    if (value instanceof Map) {
      const entries = [...value].slice(0, 100).map(
        ([key, item]) => `${show(key, depth + 1, inner)} => ${show(item, depth + 1, inner)}`);
      return wrap('{', '}', `${label}(${value.size}) `, entries);
    }
    if (value instanceof Set) {
      const entries = [...value].slice(0, 100).map((item) => show(item, depth + 1, inner));
      return wrap('{', '}', `${label}(${value.size}) `, entries);
    }
    if (value instanceof ArrayBuffer) return `ArrayBuffer { byteLength: ${value.byteLength} }`;
    if (value instanceof DataView) return `DataView { byteLength: ${value.byteLength} }`;
    if (isView(value)) {
      return wrap('[', ']', `${label}(${value.length}) `, items(value, value.length, depth, inner));
    }
    if (value instanceof Number || value instanceof String || value instanceof Boolean) {
      return `[${label}: ${show(value.valueOf(), depth + 1, inner)}]`;
    }
    return wrap('{', '}', label === 'Object' ? '' : `${label} `, properties(value, depth, inner));
  }

  function showError(error, depth, seen) {
    const { name, message, stack } = describe(error);
    const head = message === '' ? name : `${name}: ${message}`;
    let text = stack === undefined || stack === '' ? head : `${head}\n${stack.trimEnd()}`;
    if (error.cause !== undefined) {
      text += `\n  [cause]: ${show(error.cause, depth + 1, [...seen, error])}`;
    }
    return text;
  }

  function constructorLabel(value) {
    const prototype = getPrototypeOf(value);
    if (prototype === null) return '[Object: null prototype]';
    const constructor = prototype.constructor;
    return typeof constructor === 'function' && constructor.name ? constructor.name : 'Object';
  }

  function items(list, length, depth, seen) {
    const shown = [];
    for (let index = 0; index < min(length, 100); index++) {
      if (isArray(list) && !(index in list)) shown.push('<empty>');
      else shown.push(show(list[index], depth + 1, seen));
    }
    if (length > 100) shown.push(`... ${length - 100} more items`);
    return shown;
  }

  function properties(value, depth, seen) {
    const shown = [];
    for (const key of ownKeys(value)) {
      const property = getOwnPropertyDescriptor(value, key);
      if (property === undefined || !property.enumerable) continue;
      if (shown.length === 100) {
        shown.push('...');
        break;
      }
      let text = '[Getter]';
      if (value === runabout && key === 'task' && property.get !== undefined) {
        text = show(knownTask(), depth + 1, seen);
      } else if (property.get === undefined) {
        text = property.set === undefined ? show(property.value, depth + 1, seen) : '[Setter]';
      }
      const name = typeof key === 'symbol' ? `[${Symbol.prototype.toString.call(key)}]`
        : apply(test, plainKey, [key]) ? key : quote(key);
      shown.push(`${name}: ${text}`);
    }
    return shown;
  }

  function wrap(open, close, prefix, parts) {
    if (parts.length === 0) return `${prefix}${open}${close}`;
    const length = parts.reduce((sum, part) => sum + part.length + 2, prefix.length);
    if (length <= 72 && !parts.some((part) => part.includes('\n'))) {
      return `${prefix}${open} ${parts.join(', ')} ${close}`;
    }
    const lines = parts.map((part) => `  ${part.replaceAll('\n', '\n  ')}`);
    return `${prefix}${open}\n${lines.join(',\n')}\n${close}`;
  }

  // `console.log`'s formatting: %s %d %i %f %j %o %O %c %% in a leading string.
  function format(values) {
    if (values.length === 1 && typeof values[0] === 'string') return values[0];
    let next = 0;
    let text = '';
    if (typeof values[0] === 'string') {
      next = 1;
      text = values[0];
      if (values.length > 1 && text.includes('%')) {
        text = text.replace(/%[sdifjoOc%]/g, (placeholder) => {
          if (placeholder === '%%') return '%';
          if (next >= values.length) return placeholder;
          return formatOne(placeholder, values[next++]);
        });
      }
    }
    for (let index = next; index < values.length; index++) {
      const value = values[index];
      text += (index === 0 ? '' : ' ') + (typeof value === 'string' ? value : inspect(value));
    }
    return text;
  }

  function formatOne(placeholder, value) {
    switch (placeholder) {
      case '%s': return typeof value === 'string' ? value : inspect(value);
      case '%d': return typeof value === 'bigint' ? `${value}n` : `${Number(value)}`;
      case '%i': return typeof value === 'bigint' ? `${value}n` : `${trunc(Number(value))}`;
      case '%f': return `${Number.parseFloat(value)}`;
      case '%j': return stringify(value) ?? 'undefined';
      case '%c': return '';
      default: return inspect(value);
    }
  }

  // --- globals --------------------------------------------------------------------------------

  let indent = '';
  const counts = new Map();
  const clocks = new Map();

  const STDOUT = 1;
  const STDERR = 2;

  function write(stream, values) {
    const text = format(values);
    host.log(stream, indent === '' ? text : indent + text.replaceAll('\n', `\n${indent}`));
  }

  const out = (...values) => write(STDOUT, values);
  const err = (...values) => write(STDERR, values);

  const console = {
    log: out,
    info: out,
    debug: out,
    warn: err,
    error: err,
    trace(...values) {
      err(`Trace: ${format(values)}\n${new Error().stack.split('\n').slice(1).join('\n').trimEnd()}`);
    },
    dir(value) { out(inspect(value)); },
    table(value) { out(inspect(value)); },
    assert(condition, ...values) {
      if (!condition) err(values.length === 0 ? 'Assertion failed' : `Assertion failed: ${format(values)}`);
    },
    count(label = 'default') {
      counts.set(label, (counts.get(label) ?? 0) + 1);
      out(`${label}: ${counts.get(label)}`);
    },
    countReset(label = 'default') { counts.delete(label); },
    time(label = 'default') { clocks.set(label, dateNow()); },
    timeLog(label = 'default', ...values) {
      if (clocks.has(label)) out(`${label}: ${dateNow() - clocks.get(label)}ms`, ...values);
    },
    timeEnd(label = 'default') {
      console.timeLog(label);
      clocks.delete(label);
    },
    group(...values) {
      if (values.length > 0) out(...values);
      indent += '  ';
    },
    groupEnd() { indent = indent.slice(2); },
  };
  console.groupCollapsed = console.group;

  class NotSupportedError extends Error {
    get name() { return 'NotSupportedError'; }
  }

  // A host function answers with a text where it refuses.
  function refuse(answer) {
    if (answer !== undefined) throw new RangeError(answer);
  }

  let task = null;
  let isTaskKnown = false;

  // It is asked for when it is wanted: the sandbox hears of that.
  function knownTask() {
    if (!isTaskKnown) {
      const text = host.task();
      if (text !== undefined) task = parse(text);
      const bytes = host.state();
      if (bytes !== undefined) task.checkpoint = bytes;
      isTaskKnown = true;
    }
    return task;
  }

  const runabout = {
    get task() { return knownTask(); },
    set task(value) {
      task = value;
      isTaskKnown = true;
    },
    progress(fraction, message) {
      const number = +fraction;
      if (!isFiniteNumber(number)) throw new TypeError('progress takes a number from 0 to 1');
      host.progress(min(max(number, 0), 1), message === undefined ? '' : `${message}`);
    },
    log: out,
    checkpoint(state) {
      if (state instanceof ArrayBuffer) return refuse(host.checkpoint(1, new Bytes(state)));
      if (isView(state)) {
        return refuse(host.checkpoint(1, new Bytes(state.buffer, state.byteOffset, state.byteLength)));
      }
      const text = stringify(state);
      if (text === undefined) throw new TypeError('a checkpoint must have a JSON form, or be bytes');
      refuse(host.checkpoint(0, text));
    },
    call() {
      throw new NotSupportedError('runabout.call is not available in this version of Runabout');
    },
    get storage() {
      throw new NotSupportedError('runabout.storage needs a role that grants it, and this run has none');
    },
    fetch() {
      throw new NotSupportedError('runabout.fetch needs a role that grants it, and this run has none');
    },
  };

  class TextEncoder {
    get encoding() { return 'utf-8'; }
    encode(text = '') { return host.encode(`${text}`); }
    encodeInto(text, target) {
      const bytes = host.encode(`${text}`);
      let written = min(bytes.length, target.length);
      while (written > 0 && written < bytes.length && (bytes[written] & 0xc0) === 0x80) written--;
      target.set(bytes.subarray(0, written));
      return { read: host.decode(bytes.subarray(0, written), 0).length, written };
    }
  }

  class TextDecoder {
    #fatal;
    #ignoreBom;
    constructor(label = 'utf-8', options = {}) {
      if (!/^(utf-?8|unicode-1-1-utf-8)$/i.test(`${label}`.trim())) {
        throw new RangeError(`TextDecoder knows utf-8 only, not ${label}`);
      }
      this.#fatal = Boolean(options?.fatal);
      this.#ignoreBom = Boolean(options?.ignoreBOM);
    }
    get encoding() { return 'utf-8'; }
    get fatal() { return this.#fatal; }
    get ignoreBOM() { return this.#ignoreBom; }
    decode(input, options = {}) {
      if (options?.stream) throw new NotSupportedError('TextDecoder cannot stream in this version of Runabout');
      if (input === undefined) return '';
      const bytes = isView(input) ? new Bytes(input.buffer, input.byteOffset, input.byteLength) : new Bytes(input);
      const text = host.decode(bytes, this.#fatal ? 1 : 0);
      if (text === undefined) throw new TypeError('the encoded data was not valid utf-8');
      return !this.#ignoreBom && text.charCodeAt(0) === 0xfeff ? text.slice(1) : text;
    }
  }

  const integerArrays = [Int8Array, Uint8Array, Uint8ClampedArray, Int16Array, Uint16Array, Int32Array,
    Uint32Array, BigInt64Array, BigUint64Array];

  const crypto = {
    getRandomValues(array) {
      if (!integerArrays.some((kind) => array instanceof kind)) {
        throw new TypeError('getRandomValues fills an integer typed array');
      }
      if (array.byteLength > 65536) throw new RangeError('getRandomValues fills 65,536 bytes at most');
      refuse(host.random(new Bytes(array.buffer, array.byteOffset, array.byteLength)));
      return array;
    },
    randomUUID() {
      const bytes = crypto.getRandomValues(new Bytes(16));
      bytes[6] = (bytes[6] & 0x0f) | 0x40;
      bytes[8] = (bytes[8] & 0x3f) | 0x80;
      const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
      return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
    },
    get subtle() {
      throw new NotSupportedError('crypto.subtle is not available in this version of Runabout');
    },
  };

  // Asks the clock, so that the sandbox hears that this run's time was asked for.
  function started() {
    dateNow();
    return mail[MAIL.STARTED_MS];
  }

  const performance = {
    now() { return dateNow() - mail[MAIL.STARTED_MS]; },
    get timeOrigin() { return started(); },
    toJSON() { return { timeOrigin: started() }; },
  };

  function define(name, value) {
    defineProperty(globalThis, name, { value, writable: true, configurable: true, enumerable: false });
  }

  define('console', console);
  define('runabout', runabout);
  define('TextEncoder', TextEncoder);
  define('TextDecoder', TextDecoder);
  define('crypto', crypto);
  define('performance', performance);
  define('self', globalThis);
  define('setTimeout', (callback, delay, ...args) => addTimer(callback, delay, args, false));
  define('setInterval', (callback, delay, ...args) => addTimer(callback, delay, args, true));
  define('clearTimeout', clearTimer);
  define('clearInterval', clearTimer);
  define('queueMicrotask', (callback) => {
    if (typeof callback !== 'function') throw new TypeError('queueMicrotask takes a function');
    apply(PromiseThen, PromiseResolve(), [() => { callback(); }]);
  });
  define('reportError', (error) => { err(error); });
  define('navigator', { userAgent: 'Runabout' });

  // Named by the WinterTC minimum common API and not here yet: a clear error, never a silent
  // undefined.
  const missing = ['fetch', 'Request', 'Response', 'Headers', 'FormData', 'Blob', 'File',
    'ReadableStream', 'WritableStream', 'TransformStream', 'CompressionStream',
    'DecompressionStream', 'URL', 'URLSearchParams', 'URLPattern', 'WebSocket', 'EventTarget',
    'Event', 'CustomEvent', 'AbortController', 'AbortSignal', 'DOMException', 'structuredClone',
    'MessageChannel', 'WebAssembly'];
  for (const name of missing) {
    if (name in globalThis) continue;
    const stub = { [name]: function () {
      throw new NotSupportedError(`${name} is not available in this version of Runabout`);
    } }[name];
    define(name, stub);
  }

  return { give, settle, adopt, invoke, call, fail, fire, take };
})
