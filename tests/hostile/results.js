// Guests whose results are traps.

export const hundred_megabytes = () => 'x'.repeat(100e6);

export const thirty_megabytes = () => 'x'.repeat(30e6);

export const hundred_megabytes_of_bytes = () => new Uint8Array(100e6);

export const many_values = () => new Array(7e5).fill('xxxxxxxxxx');

export const just_too_large = () => 'x'.repeat((6 << 20) - 1);

export const as_large_as_may_be = () => new Uint8Array(6 << 20);

export const grows_when_escaped = () => '\u0001'.repeat(2 << 20);

export const circular = () => { const a = {}; a.a = a; return a; };

export const big_integer = () => 1n;

export const symbol = () => Symbol('s');

export const function_ = () => () => 1;

export const throwing_getter = () => ({ get a() { throw new RangeError('from the getter'); } });

export const throwing_proxy = () => new Proxy({}, { get() { throw new RangeError('from the proxy'); } });

export const revoked_proxy = () => { const { proxy, revoke } = Proxy.revocable({}, {}); revoke(); return proxy; };

export const proxy_for_an_array = () => new Proxy([1, 2], { get: (target, name) => (name === 'length' ? 3 : target[name]) });

export const length_of_a_proxy = () => new Proxy([], { get: (target, name) => (name === 'length' ? 2 ** 32 : 1) });

export const detached = () => { const b = new ArrayBuffer(8); const a = new Uint8Array(b); b.transfer(); return a; };

export const lying_length = () => Object.defineProperty(new Uint8Array(4), 'byteLength', { get: () => 2 ** 40 });

export const lying_view = () => {
  const view = new Uint8Array(4);
  Object.defineProperty(view, 'buffer', { get: () => new ArrayBuffer(1 << 20) });
  Object.defineProperty(view, 'byteOffset', { get: () => 100 });
  Object.defineProperty(view, 'byteLength', { get: () => 8 });
  return view;
};

export const half_a_character = () => 'a\ud800b\udc00';

export const nul = () => 'a\u0000b';

export const proto = () => JSON.parse('{"__proto__": {"polluted": true}}');

export const numbers = () => [NaN, Infinity, -0, 1e308, 5e-324, 2 ** 53];

export const many_keys = () => Object.fromEntries(Array.from({ length: 1e5 }, (_, n) => [`k${n}`, n]));

export const to_json_of_another = () => ({ toJSON: () => new Proxy(function () {}, {}) });
