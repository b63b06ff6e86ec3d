// Many values, sorted, mapped and nested.
export const range = (count) => Array.from({ length: count }, (_, index) => index);
export const sorted = (values) => [...values].sort((a, b) => a - b);
export const sortedAsText = (values) => [...values].sort();
export const stable = (count) =>
  Array.from({ length: count }, (_, index) => ({ key: index % 3, index }))
    .sort((a, b) => a.key - b.key)
    .map((it) => it.index);
export const holes = () => [1, , 3];
export const nested = (depth) => {
  let value = [];
  for (let level = 0; level < depth; level++) value = [value];
  return value;
};
export const typed = () => [new Uint8Array([1, 2]), new Float64Array([0.5])].map((it) => [...it]);
export const grouped = (values) => [...new Map(values.map((it) => [it % 3, it]))];
export const dates = () => [new Date(0), new Date(Date.UTC(2024, 1, 29))];
export const dropped = () => ({ a: undefined, b: () => 1, c: Symbol("c"), d: 1 });
export const listed = () => [undefined, () => 1, Symbol("c"), 1];
export const own = () => ({ toJSON: () => ({ own: true }) });
