// Guests that spoil the world for who comes next. witness.js comes next.

const loop = () => { for (;;); };

export const prototypes = () => {
  for (const owner of [Object, Array, Function, String, Number, Promise, Map, Uint8Array, Error]) {
    owner.prototype.mark = owner.mark = 1;
  }
  return 'spoilt';
};

export const json = () => { JSON.stringify = () => 'forged'; JSON.parse = () => 'forged'; return 'whole'; };

export const to_json = () => { String.prototype.toJSON = () => 'forged'; return 'whole'; };

export const promise_then = () => { Promise.prototype.then = loop; Promise.resolve = loop; return 'whole'; };

export const then_of_everything = () => { Object.prototype.then = 5; return 'whole'; };

export const globals = () => {
  for (const name of Object.getOwnPropertyNames(globalThis)) {
    try { globalThis[name] = undefined; } catch {}
  }
  return 'whole';
};

export const random = () => { Math.random = () => 0.5; return Math.random(); };

export const clock = () => { Date.now = () => 0; Date.prototype.getTime = () => 0; performance.now = () => 0; return Date.now(); };

export const frozen = () => { Object.freeze(Object.prototype); Object.freeze(Array.prototype); Object.freeze(globalThis); Object.freeze(runabout); return 'frozen'; };

export const iterators = () => { Array.prototype[Symbol.iterator] = loop; String.prototype[Symbol.iterator] = loop; return 'whole'; };

export const setters = () => {
  for (let index = 0; index < 8; index++) {
    Object.defineProperty(Array.prototype, index, { set: loop, get: loop, configurable: true });
  }
  return 'whole';
};

export const setters_of_objects = () => {
  for (const name of ['name', 'message', 'stack', 'due', 'id', 'state', 'value', 'callback']) {
    Object.defineProperty(Object.prototype, name, { set: loop, get: loop, configurable: true });
  }
  return 'whole';
};

export const apply = () => { Reflect.apply = loop; Function.prototype.apply = loop; Function.prototype.call = loop; return 'whole'; };

export const host = () => {
  for (const name of Object.keys(runabout)) { try { runabout[name] = loop; } catch {} }
  console.log = loop;
  return 'whole';
};

export const reflection = () => Reflect.ownKeys(globalThis).filter((name) => /^(host|qjs|wasi|mail|std|os|bjson|scriptArgs|print)/.test(String(name)));

export const network = () => {
  const tried = ['fetch', 'WebSocket', 'XMLHttpRequest', 'require', 'process', 'Deno', 'Bun', 'Worker', 'importScripts'];
  return tried.filter((name) => { try { return typeof globalThis[name] === 'object' || globalThis[name]('http://127.0.0.1'); } catch { return false; } });
};

export const storage = () => runabout.storage;

export const imported = async () => import('file:///etc/passwd');

export const meta = async () => import.meta.url;

export const clocks = () => {
  const seen = new Set();
  for (let n = 0; n < 20000; n++) { seen.add(performance.now() % 1); seen.add(Date.now() % 1); }
  return [...seen];
};
