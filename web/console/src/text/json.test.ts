import { expect, test } from "vitest";

import { readArguments, readable } from "./json";

test.each([
  ["", []],
  ["  ", []],
  ["34", [34]],
  ['34, "text"', [34, "text"]],
  ["[34]", [34]],
  ["[[1, 2]]", [[1, 2]]],
  ['{"key": true}', [{ key: true }]],
  ["[1, 2], 3", [[1, 2], 3]],
])("arguments %j", (text, args) => expect(readArguments(text)).toEqual({ args }));

test.each(["34,", "text", "{", "[1"])("%j is no arguments, and that is said", (text) => {
  expect(readArguments(text)).toHaveProperty("why");
});

test("short values stay on a line, long ones do not", () => {
  expect(readable(' {"a":1} ')).toBe('{"a":1}');
  const long = JSON.stringify({ text: "x".repeat(80) });
  expect(readable(long).split("\n")).toHaveLength(3);
});

test("what is no JSON is shown as it came", () => {
  const text = `{${"x".repeat(80)}`;
  expect(readable(text)).toBe(text);
});
