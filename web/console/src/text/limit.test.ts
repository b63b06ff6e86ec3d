import { expect, test } from "vitest";

import { MEMORY, TIME, mostOf, readLimit } from "./limit";

test("limits are read in the units of the form, and sent in those of the node", () => {
  expect(readLimit("0.2", TIME)).toEqual({ value: 200 });
  expect(readLimit(" 64 ", MEMORY)).toEqual({ value: 64 * 2 ** 20 });
  expect(readLimit("", MEMORY)).toEqual({ value: undefined });
});

test.each(["0", "-1", "0.0001"])("a time limit of %s is told to be too small", (text) => {
  expect(readLimit(text, TIME)).toEqual({ why: "Time limit must be at least 0.001 s" });
});

test.each(["0", "-5", "0.5"])("%s MiB are told to be too few", (text) => {
  expect(readLimit(text, MEMORY)).toEqual({ why: "Memory must be at least 1 MiB" });
});

test("what is no number is told", () => {
  expect(readLimit("1e", TIME)).toEqual({ why: "Time limit is a number, in s, or empty for the default" });
});

test("what a node grants is told in the unit of the form", () => {
  const problem = { field: "limits.memory_bytes", maximum: 2 ** 30 };
  expect(mostOf(MEMORY, problem)).toBe("Memory may be 1,024 MiB at most on this node");
  expect(mostOf(TIME, problem)).toBe("");
});
