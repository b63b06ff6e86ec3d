//! Reads what a browser does not tell of a WebAssembly module: the types of its exports, and how
//! much memory it may have. Writes a smaller maximum where the run's limit asks for one.

export type NumberType = 'i32' | 'i64' | 'f32' | 'f64' | 'other';

export interface Signature {
  params: NumberType[];
  results: NumberType[];
}

export const PAGE_BYTES = 65_536;

const HEADER_BYTES = 8;
const SECTION = { TYPE: 1, IMPORT: 2, FUNCTION: 3, MEMORY: 5, EXPORT: 7 } as const;
const KIND = { FUNCTION: 0, TABLE: 1, MEMORY: 2, GLOBAL: 3, TAG: 4 } as const;
const NUMBER_TYPES: Record<number, NumberType> = { 0x7f: 'i32', 0x7e: 'i64', 0x7d: 'f32', 0x7c: 'f64' };

interface Section {
  id: number;
  start: number;
  payload: Uint8Array;
}

/** The functions a module exports, in the order it declares them. Types beyond numbers are `other`. */
export function exportedFunctions(module: Uint8Array): Map<string, Signature> {
  const sections = sectionsOf(module);
  const payload = (id: number): Reader | undefined => {
    const found = sections.find((section) => section.id === id);
    return found && new Reader(found.payload);
  };
  const types = readTypes(payload(SECTION.TYPE));
  const functions = [...readImportedFunctions(payload(SECTION.IMPORT)), ...readFunctions(payload(SECTION.FUNCTION))];
  const found = new Map<string, Signature>();
  const exports = payload(SECTION.EXPORT);
  for (let left = exports?.number() ?? 0; exports !== undefined && left > 0; left--) {
    const name = exports.name();
    const kind = exports.byte();
    const index = exports.number();
    const signature = types[functions[index] ?? -1];
    if (kind === KIND.FUNCTION) found.set(name, signature ?? { params: ['other'], results: ['other'] });
  }
  return found;
}

/** The module with the maximum of its own memory lowered to `pages`; undefined if it needs more than
 * that from the start. */
export function capMemory(module: Uint8Array, pages: number): Uint8Array | undefined {
  const section = sectionsOf(module).find(({ id }) => id === SECTION.MEMORY);
  if (section === undefined) return module;
  const reader = new Reader(section.payload);
  const count = reader.number();
  const memories: number[] = [...leb(count)];
  for (let index = 0; index < count; index++) {
    const flags = reader.byte();
    // Memories of 64 bits, and custom page sizes, keep what they say: browsers cap those themselves.
    if ((flags & ~0b11) !== 0) return module;
    const minimum = reader.number();
    const maximum = (flags & 1) === 1 ? reader.number() : Number.POSITIVE_INFINITY;
    if (minimum > pages) return undefined;
    memories.push(flags | 1, ...leb(minimum), ...leb(Math.min(maximum, pages)));
  }
  const head = module.subarray(0, section.start);
  const tail = module.subarray(section.payload.byteOffset - module.byteOffset + section.payload.length);
  return joined(head, Uint8Array.of(SECTION.MEMORY, ...leb(memories.length), ...memories), tail);
}

/** Whether bytes are a WebAssembly module. */
export function isModule(bytes: Uint8Array): boolean {
  return bytes.length >= HEADER_BYTES && bytes[0] === 0 && bytes[1] === 0x61 && bytes[2] === 0x73 && bytes[3] === 0x6d;
}

function sectionsOf(module: Uint8Array): Section[] {
  const reader = new Reader(module, HEADER_BYTES);
  const sections: Section[] = [];
  while (reader.at < module.length) {
    const start = reader.at;
    const id = reader.byte();
    const length = reader.number();
    sections.push({ id, start, payload: reader.take(length) });
  }
  return sections;
}

/** Types may stand in groups, and may be other than functions; those count, and are skipped. */
function readTypes(reader: Reader | undefined): Signature[] {
  const types: Signature[] = [];
  for (let left = reader?.number() ?? 0; reader !== undefined && left > 0; left--) {
    const form = reader.byte();
    // Beyond plain function types nothing can be told apart without knowing every proposal.
    if (form !== 0x60) return types;
    types.push({ params: readValueTypes(reader), results: readValueTypes(reader) });
  }
  return types;
}

function readValueTypes(reader: Reader): NumberType[] {
  return Array.from({ length: reader.number() }, () => {
    const byte = reader.byte();
    // A reference with its heap type takes more than a byte.
    if (byte === 0x63 || byte === 0x64) reader.number();
    return NUMBER_TYPES[byte] ?? 'other';
  });
}

/** The type indexes of the functions a module imports. */
function readImportedFunctions(reader: Reader | undefined): number[] {
  const found: number[] = [];
  for (let left = reader?.number() ?? 0; reader !== undefined && left > 0; left--) {
    reader.name();
    reader.name();
    const kind = reader.byte();
    if (kind === KIND.FUNCTION) found.push(reader.number());
    else if (kind === KIND.GLOBAL) reader.skip(2);
    else if (kind === KIND.TAG) reader.skip(2);
    else {
      if (kind === KIND.TABLE) reader.skip(1);
      const flags = reader.byte();
      reader.number();
      if ((flags & 1) === 1) reader.number();
    }
  }
  return found;
}

function readFunctions(reader: Reader | undefined): number[] {
  return reader === undefined ? [] : Array.from({ length: reader.number() }, () => reader.number());
}

function joined(...parts: Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function leb(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  do {
    const low = rest % 128;
    rest = Math.floor(rest / 128);
    bytes.push(rest > 0 ? low | 0x80 : low);
  } while (rest > 0);
  return bytes;
}

class Reader {
  constructor(private readonly bytes: Uint8Array, public at = 0) {}

  byte(): number {
    const byte = this.bytes[this.at++];
    if (byte === undefined) throw new RangeError('the module ends in the middle of something');
    return byte;
  }

  number(): number {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = this.byte();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
      if (scale > 2 ** 63) throw new RangeError('the module has a number that is too long');
    }
  }

  skip(count: number): void {
    this.at += count;
  }

  take(length: number): Uint8Array {
    if (this.at + length > this.bytes.length) throw new RangeError('the module ends in the middle of a section');
    const taken = this.bytes.subarray(this.at, this.at + length);
    this.at += length;
    return taken;
  }

  name(): string {
    return new TextDecoder().decode(this.take(this.number()));
  }
}
