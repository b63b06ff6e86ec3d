// Arithmetic at the edges of numbers.
export const add = (a, b) => a + b;
export const divide = (a, b) => a / b;
export const negate = (a) => -a;
export const isNegativeZero = (a) => Object.is(a, -0);
export const remainder = (a, b) => a % b;
export const power = (a, b) => a ** b;
export const shift = (a, b) => [a << b, a >> b, a >>> b];
export const truncate = (a) => [Math.trunc(a), Math.floor(a), Math.ceil(a), Math.round(a), a | 0];
export const roots = (a) => [Math.sqrt(a), Math.hypot(a, a), Math.fround(a)];
export const text = (a) => [String(a), a.toFixed(3), a.toString(2).length, a.toExponential(5)];
export const parse = (text) => [Number(text), parseFloat(text), parseInt(text, 10)];
export const special = () => [NaN, Infinity, -Infinity, -0, undefined, null];
export const notANumber = () => NaN;
export const infinite = () => -Infinity;
export const negativeZero = () => -0;
export const nothing = () => undefined;
export const big = (text) => String(BigInt(text) * BigInt(text));
export const bigShift = (text) => String(BigInt.asIntN(64, BigInt(text) + 1n));
export const limits = () => [
  Number.MAX_SAFE_INTEGER,
  Number.MIN_SAFE_INTEGER,
  Number.MAX_VALUE,
  Number.MIN_VALUE,
  Number.EPSILON,
  2 ** 53 + 1,
];
export const sum = (values) => values.reduce((sum, value) => sum + value, 0);
