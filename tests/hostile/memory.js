// Guests that want all memory there is.

export const array_buffer = () => new ArrayBuffer(1 << 30);

export const growing_buffer = () => { const b = new ArrayBuffer(1, { maxByteLength: 2 ** 31 }); b.resize(2 ** 31 - 1); for (;;) new Uint8Array(b).fill(1); };

export const buffers = () => { const all = []; for (;;) all.push(new Uint8Array(1 << 20).fill(1)); };

export const strings = () => { const all = []; for (let n = 0; ; n++) all.push(`${n}`.repeat(100000)); };

export const one_string = () => { let s = 'x'; for (;;) s += s; };

export const repeated = () => 'x'.repeat(2 ** 30);

export const joined = () => new Array(2 ** 20).join('abcdefgh'.repeat(1000));

export const padded = () => 'a'.padEnd(2 ** 31 - 1, 'b');

export const array = () => { const all = []; for (;;) all.push(1); };

export const objects = () => { const all = []; for (;;) all.push({ all }); };

export const sparse_array = () => { const all = []; all[4294967294] = 1; return all.fill(1).length; };

export const map = () => { const all = new Map(); for (let n = 0; ; n++) all.set({}, n); };

export const closures = () => { let f = () => 1; for (;;) { const g = f; f = () => g; } };

export const rejections = () => { for (;;) Promise.reject(new Error('nobody listens')); };

export const promises = () => { const all = []; for (;;) all.push(new Promise((resolve) => setTimeout(resolve, 1e9))); };

export const timers = () => { for (;;) setTimeout(() => {}, 1e9); };

export const symbols = () => { const all = {}; for (let n = 0; ; n++) all[Symbol.for(`s${n}`)] = n; };

export const big_integer = () => { let n = 2n; for (;;) n = n ** 3n; };

export const spread = () => Math.max(...new Array(2 ** 26).fill(1));

export const generators = () => { const all = []; for (;;) { const g = (function* () { yield 1; })(); g.next(); all.push(g); } };

// It gets over the refusal, and goes on as if nothing had been.
export const caught = () => { try { const all = []; for (;;) all.push(new Uint8Array(1 << 20)); } catch { return 'caught'; } };

// It holds all it may, touches every page of it, and returns.
export const all_of_it = (mebibytes) => {
  const all = [];
  for (let n = 0; n < mebibytes; n++) all.push(new Uint8Array(1 << 20).fill(n));
  return all.length;
};

export const last_words = () => {
  const all = [];
  try { for (;;) all.push(new Uint8Array(1 << 16)); } catch { for (;;) console.log('x'.repeat(1 << 20)); }
};

export const while_it_fails = () => {
  const all = [];
  try { for (;;) all.push(new Uint8Array(4096)); } catch {}
  try { for (;;) all.push({}); } catch {}
  throw new Error('no room left even for this');
};
