// Guests that never come to an end by themselves.

export const loop = () => { for (;;); };

export const loop_in_catch = () => { for (;;) { try { for (;;) throw 1; } catch { continue; } finally { continue; } } };

export const promise_chain = () => {
  const next = () => Promise.resolve().then(next);
  return next();
};

export const awaits = async () => { for (;;) await null; };

export const microtasks = () => {
  const again = () => queueMicrotask(again);
  again();
  return new Promise(() => {});
};

export const never = () => new Promise(() => {});

export const thenable = () => {
  const endless = { then(resolve) { resolve(endless); } };
  return endless;
};

export const then_that_loops = () => ({ then() { for (;;); } });

export const interval = () => new Promise(() => setInterval(() => {}, 0));

export const timer_flood = () => new Promise(() => {
  const again = () => { for (let n = 0; n < 100; n++) setTimeout(again, 0); };
  again();
});

export const a_timer_in_a_month = () => new Promise((resolve) => setTimeout(resolve, 2 ** 31));

// Timers are kept in an array: a setter on its prototype gets hold of them.
export const stolen_timers = () => {
  Object.defineProperty(Array.prototype, '0', { set() {}, get() { return { due: Infinity }; }, configurable: true });
  setTimeout(() => {}, 10);
  return new Promise(() => {});
};

export const timers_due_never = () => {
  Object.prototype.valueOf = () => NaN;
  return new Promise((resolve) => setTimeout(resolve, {}));
};

export const async_generator = async () => {
  async function* forever() { for (;;) yield* inner(); }
  async function* inner() { yield 1; }
  for await (const one of forever());
};

export const catastrophic_regex = () => /^(a+)+$/.test('a'.repeat(60) + 'b');

export const regex_with_references = () => /(x+x+)+\1y/.exec('x'.repeat(5000));

export const regex_replace = () => 'a'.repeat(200000).replace(/(a|aa)+$/g, (all) => { for (;;); });

export const comparator = () => [3, 2, 1].sort(() => { for (;;); });

export const to_json = () => ({ toJSON() { for (;;); } });

export const getter_in_result = () => ({ get a() { for (;;); } });

export const proxy_in_result = () => new Proxy({}, { ownKeys() { for (;;); } });

export const to_primitive = () => { runabout.progress({ [Symbol.toPrimitive]() { for (;;); } }); };

export const logged_getter = () => { console.log({ get [Symbol.toStringTag]() { for (;;); } }, new Proxy({}, { ownKeys() { for (;;); } })); };

export const message_getter = () => { throw Object.defineProperty(new Error('x'), 'message', { get() { for (;;); } }); };

export const evaluated = () => eval('for (;;);');

export const constructed = () => new Function('for (;;);')();

export const evaluated_source = () => { let code = '1'; for (;;) { code = `(${code})+1`; if (code.length > 1e5) code = '1'; eval(code); } };

export const finalizers = async () => {
  const registry = new FinalizationRegistry(() => { for (;;) register(); });
  const register = () => registry.register({}, 0);
  for (;;) { register(); new WeakRef({}); await null; }
};

export const big_integers = () => { let n = 3n; for (;;) n = (n * n) % (2n ** 60000n - 1n); };

export const sparse = () => Array.prototype.indexOf.call({ length: 2 ** 53 - 1 }, 1);

export const array_like = () => Array.from({ length: 2 ** 53 - 1, get 0() { for (;;); } });

export const dates = () => { for (;;) new Date().toString(); };

export const parse = () => { const text = JSON.stringify(Array(100000).fill({ a: [1] })); for (;;) JSON.parse(text, (key, value) => value); };

export const atomics_wait = () => {
  if (typeof Atomics === 'undefined' || typeof SharedArrayBuffer === 'undefined') for (;;);
  try { Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0); } catch { for (;;); }
  for (;;);
};

export const encode_and_decode = () => {
  const bytes = new Uint8Array(20 << 20).fill(0xff);
  for (;;) new TextDecoder().decode(bytes);
};
