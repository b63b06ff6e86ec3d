// The same as fib.js, with types: they are stripped when the function is accepted.
export default function fib(n: number): number {
  if (!Number.isInteger(n) || n < 0) {
    throw new RangeError(`fib wants a whole number from 0 upwards, not ${n}`);
  }
  return recurse(n);
}

function recurse(n: number): number {
  return n < 2 ? n : recurse(n - 1) + recurse(n - 2);
}
