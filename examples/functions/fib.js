// Fibonacci numbers by naive recursion. Arithmetic like this is many times slower here than in the
// WebAssembly beside it (guests/fib): compare `runabout call fib-js 27` with `runabout call fib 27`.
export default function fib(n) {
  if (!Number.isInteger(n) || n < 0) {
    throw new RangeError(`fib wants a whole number from 0 upwards, not ${n}`);
  }
  return recurse(n);
}

function recurse(n) {
  return n < 2 ? n : recurse(n - 1) + recurse(n - 2);
}
