// Looks whether its world is as a fresh one must be, and names what is not. Others' runs try to
// spoil it: see worlds.js.

const native = (f) => /\[native code\]/.test(Function.prototype.toString.call(f));

export default async function witness() {
  const spoilt = [];
  const check = (name, holds) => holds || spoilt.push(name);
  for (const key in {}) spoilt.push(`Object.prototype.${key}`);
  for (const key in []) spoilt.push(`Array.prototype.${key}`);
  check('globals', Object.keys(globalThis).length === 0);
  check('marks', globalThis.mark === undefined && [].mark === undefined && (() => 0).mark === undefined);
  check('JSON', native(JSON.stringify) && native(JSON.parse));
  check('then', native(Promise.prototype.then) && native(Promise.resolve));
  check('iterators', native(Array.prototype[Symbol.iterator]));
  check('Date', native(Date.now) && Date.now() > 1.7e12);
  check('toString', `${{}}` === '[object Object]' && `${[1, 2]}` === '1,2');
  const numbers = new Set(Array.from({ length: 8 }, Math.random));
  check('random', native(Math.random) && numbers.size === 8);
  check('await', (await Promise.resolve(5)) === 5);
  check('task', runabout.task === null);
  return spoilt;
}
