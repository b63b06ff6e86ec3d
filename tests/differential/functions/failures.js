// Ways for a run to end that are not a value.
export const range = () => {
  throw new RangeError("out of range");
};
export const text = () => {
  throw "only text";
};
export const number = () => {
  throw 42;
};
export const nothing = () => {
  throw null;
};
export const object = () => {
  throw { code: 7 };
};
export const own = () => {
  class Refused extends Error {
    name = "Refused";
  }
  throw new Refused("ü and 😀");
};
export const rejected = async () => {
  throw new TypeError("later");
};
export const caused = () => {
  throw new Error("outer", { cause: new Error("inner") });
};
export const undefinedName = () => notDefined;
export const property = () => null.property;
export const circle = () => {
  const circle = {};
  circle.self = circle;
  return circle;
};
export const bigint = () => 1n;
export const endless = () => {
  for (;;);
};
export const never = () => new Promise(() => {});
export const deep = () => {
  const down = () => down() + 1;
  return down();
};
export const caught = () => {
  try {
    null.property;
  } catch (error) {
    return error.name;
  }
};
export const talks = () => {
  console.log("to stdout", 1, { a: [1] });
  console.error("to stderr");
  return "talked";
};
