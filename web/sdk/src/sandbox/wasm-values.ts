//! JSON numbers into WebAssembly's numbers and back, by the same rules as on a node.

import type { Json } from '../types.js';
import type { NumberType, Signature } from './wasm-binary.js';

/** The call does not fit the function. */
export class BadCall extends Error {}

const SAFE_INTEGER_MAX = BigInt(Number.MAX_SAFE_INTEGER);
const WORDS: Record<string, number> = { NaN: Number.NaN, Infinity: Infinity, '-Infinity': -Infinity };

const DESCRIPTIONS: Record<NumberType, string> = {
  i32: 'a 32-bit integer (i32)',
  i64: 'a 64-bit integer (i64; a number, or a decimal string)',
  f32: 'a number, "NaN", "Infinity" or "-Infinity"',
  f64: 'a number, "NaN", "Infinity" or "-Infinity"',
  other: 'of a type that JSON cannot give',
};

/** Finds the export that a call means. */
export function findExport(
  functions: ReadonlyMap<string, Signature>, wanted: string | undefined,
): [string, Signature] {
  const names = [...functions.keys()].join(', ').slice(0, 500);
  if (wanted !== undefined) {
    const found = functions.get(wanted);
    if (found === undefined) throw new BadCall(`no export ${JSON.stringify(wanted)}; there is ${names}`);
    return [wanted, found];
  }
  const [only, more] = functions;
  if (only === undefined) throw new BadCall('the module exports no function');
  if (more !== undefined) throw new BadCall(`name the export to call: ${names}`);
  return only;
}

/** Reads a call's arguments, each of them JSON text, as the export's parameters. */
export function readArguments(name: string, { params }: Signature, args: readonly string[]): (number | bigint)[] {
  if (args.length !== params.length) {
    const plural = params.length === 1 ? '' : 's';
    throw new BadCall(`${name} takes ${params.length} argument${plural}, ${args.length} given`);
  }
  return params.map((type, index) => {
    const text = args[index] as string;
    const number = readNumber(type, text);
    if (number === undefined) {
      const given = JSON.stringify(JSON.parse(text)).slice(0, 40);
      throw new BadCall(`argument ${index + 1} of ${name} is ${DESCRIPTIONS[type]}, ${given} given`);
    }
    return number;
  });
}

function readNumber(type: NumberType, text: string): number | bigint | undefined {
  const value = JSON.parse(text) as Json;
  switch (type) {
    case 'i32': return isInteger(value) && value >= -(2 ** 31) && value < 2 ** 32 ? value | 0 : undefined;
    // The last digits of a long integer are in the text alone.
    case 'i64': return readLong(/^-?\d{1,20}$/.test(text) ? text : value);
    case 'f32':
    case 'f64': return typeof value === 'number' ? value : typeof value === 'string' ? WORDS[value] : undefined;
    case 'other': return undefined;
  }
}

function readLong(value: Json): bigint | undefined {
  const isText = typeof value === 'string' && /^[+-]?\d{1,20}$/.test(value);
  if (!isText && !isInteger(value)) return undefined;
  const number = BigInt(value as string | number);
  const fits = number >= -(2n ** 63n) && number < 2n ** 64n;
  return fits ? BigInt.asIntN(64, number) : undefined;
}

function isInteger(value: Json): value is number {
  return typeof value === 'number' && Number.isInteger(value) && Math.abs(value) <= 2 ** 64;
}

/** What an export gave, as JSON text: nothing is `null`, several are an array. */
export function writeResults(value: unknown): string {
  if (value === undefined) return 'null';
  return Array.isArray(value) ? `[${value.map(writeNumber).join(',')}]` : writeNumber(value);
}

function writeNumber(value: unknown): string {
  if (typeof value === 'bigint') {
    const isSafe = value <= SAFE_INTEGER_MAX && value >= -SAFE_INTEGER_MAX;
    return isSafe ? value.toString() : `"${value}"`;
  }
  if (typeof value !== 'number') return 'null';
  if (!Number.isFinite(value)) return `"${value}"`;
  // JavaScript would write 0 and lose the sign; JSON has it.
  return Object.is(value, -0) ? '-0' : `${value}`;
}
