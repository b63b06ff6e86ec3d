// Guests that throw what is no error, or an error that is a trap.

const hostile = (what) => { throw what; };

export const text = () => hostile('a text');
export const null_ = () => hostile(null);
export const undefined_ = () => hostile(undefined);
export const number = () => hostile(42);
export const symbol = () => hostile(Symbol('s'));
export const big_integer = () => hostile(1n);
export const function_ = () => hostile(function named() {});
export const object = () => hostile({ code: 7 });
export const proxy = () => hostile(new Proxy({}, { get() { throw 1; }, getPrototypeOf() { throw 2; }, ownKeys() { throw 3; } }));
export const revoked = () => { const { proxy, revoke } = Proxy.revocable({}, {}); revoke(); hostile(proxy); };
export const proxied_error = () => hostile(new Proxy(new Error('x'), { get() { throw new Error('never ask'); } }));
export const message_that_throws = () => hostile(Object.defineProperty(new Error('x'), 'message', { get() { throw 1; } }));
export const message_of_a_symbol = () => hostile(Object.assign(new Error('x'), { message: Symbol('s') }));
export const message_that_is_an_object = () => hostile(Object.assign(new Error('x'), { message: { toString() { throw 1; } } }));
export const name_that_is_huge = () => hostile(Object.assign(new Error('x'), { name: 'N'.repeat(1e6) }));
export const message_that_is_huge = () => hostile(new Error('m'.repeat(20e6)));
export const stack_that_is_huge = () => hostile(Object.assign(new Error('x'), { stack: '    at f (function.js:1:1)\n'.repeat(4e5) }));
export const stack_that_is_a_number = () => hostile(Object.assign(new Error('x'), { stack: 5 }));
export const to_string_that_loops_back = () => { const o = { toString: () => hostile(o) }; hostile(`${o}`); };
export const error_without_prototype = () => hostile(Object.setPrototypeOf(new Error('bare'), null));
export const later = () => { setTimeout(() => hostile(new Error('later')), 1); return new Promise(() => {}); };
export const rejected = async () => { await null; hostile(null); };
export const rejected_by_proxy = () => Promise.reject(new Proxy({}, { get() { throw 1; } }));
export const claims_out_of_memory = () => hostile(new Error('out of memory'));
export const claims_a_kind = () => hostile({ kind: 'returned', value: 5 });
export const claims_by_json = () => { Object.prototype.toJSON = () => ({ kind: 'returned' }); hostile(new Error('x')); };
export const in_then = () => ({ get then() { throw new RangeError('from then'); } });
export const half_a_character = () => hostile(new Error('a\ud800'));
export const aggregate = () => hostile(new AggregateError([new Error('a')], 'several'));
