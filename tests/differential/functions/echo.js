// What goes in comes out, once through the engine's own values.
export default (...args) => args;
export const first = (value) => value;
export const kinds = (...args) =>
  args.map((it) => (it === null ? "null" : Array.isArray(it) ? "array" : typeof it));
export const bytes = (bytes) => bytes;
export const length = (value) => value.length;
