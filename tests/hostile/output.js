// Guests that say too much.

export const gigabytes = () => { const line = 'x'.repeat(1 << 20); for (;;) console.log(line); };

export const short_lines = () => { for (;;) console.log(''); };

export const both_streams = () => { for (;;) { console.log('o'); console.error('e'); } };

export const one_line = () => { console.log('x'.repeat(60e6)); return 'said'; };

export const nul = () => { console.log('a\u0000b'); console.error('\ud800'); console.log('\u001b[2J\r\n\u0007'); return 'said'; };

export const placeholders = () => { console.log('%s'.repeat(1e6), 'x'); console.log('%'.repeat(1e6)); return 'said'; };

export const groups = () => { for (;;) console.group(); };

export const wide_groups = () => { for (let n = 0; n < 5000; n++) console.group(); console.log('\n'.repeat(1e5)); return 'said'; };

export const counts = () => { for (let n = 0; ; n++) console.count(`${n}`); };

export const progress = () => { for (;;) runabout.progress(Math.random(), 'm'.repeat(1e6)); };

export const progress_of_nothing = () => {
  const wrong = [NaN, Infinity, 'x', {}, Symbol('s'), 1n];
  return wrong.filter((value) => { try { runabout.progress(value); return true; } catch { return false; } }).length;
};

export const checkpoints = () => { const state = 'c'.repeat(1e6); for (;;) runabout.checkpoint(state); };

export const checkpoints_of_bytes = () => { const state = new Uint8Array(1 << 20); for (;;) runabout.checkpoint(state); };

export const too_large_checkpoint = () => runabout.checkpoint('c'.repeat(2 << 20));

export const random_bytes = () => { const bytes = new Uint8Array(65536); for (;;) crypto.getRandomValues(bytes); };

export const proxies = () => { console.log(new Proxy({}, { ownKeys() { throw 1; } }), new Proxy([], { get() { throw 1; } })); return 'said'; };

export const wide_object = () => { console.log(Object.fromEntries(Array.from({ length: 1e5 }, (_, n) => [`k${n}`, n])), new Array(1e6).fill(0)); return 'said'; };
