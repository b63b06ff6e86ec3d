// Guests that go too deep.

export const calls = () => calls() + 1;

export const natives = () => [1].map(natives);

export const getters = () => { const o = { get a() { return o.a; } }; return o.a; };

export const proxies = () => { const p = new Proxy({}, { get: (target, name) => p[name] }); return p.a; };

export const a_chain_of_proxies = () => { let p = {}; for (let n = 0; n < 1e6; n++) p = new Proxy(p, {}); return p.a; };

export const to_strings = () => { const o = { toString: () => `${o}` }; return `${o}`; };

export const json = () => { let a = []; for (let n = 0; n < 1e6; n++) a = [a]; return a; };

export const parsed = () => JSON.parse('['.repeat(1e6));

export const evaluated = () => eval('('.repeat(1e5));

export const regex = () => new RegExp('('.repeat(1e6));

export const bound = () => { let f = () => 1; for (let n = 0; n < 1e6; n++) f = f.bind(null); return f(); };

export const prototypes = () => { let o = {}; for (let n = 0; n < 1e6; n++) o = Object.create(o); return o.missing ?? 'not found'; };

export const ropes = () => { let s = 'x'; for (let n = 0; n < 1e6; n++) s = `${s}y`; return s.length; };

export const flattened = () => { let a = []; for (let n = 0; n < 1e6; n++) a = [a]; return a.flat(Infinity); };

export const caught_again_and_again = () => {
  const deep = () => { try { deep(); } catch { deep(); } };
  deep();
};

export const nested_results = () => { let a = 1; for (let n = 0; n < 300; n++) a = [a]; return a; };

export const logged = () => { let a = {}; for (let n = 0; n < 1e5; n++) a = { a }; console.log(a); return 'logged'; };

export const causes = () => { let e = new Error('0'); for (let n = 0; n < 1e5; n++) e = new Error('n', { cause: e }); console.log(e); return 'logged'; };

export const freed = () => { let a = null; for (let n = 0; n < 1e6; n++) a = { a }; a = null; return 'freed'; };
