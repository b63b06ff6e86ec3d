import { expect, test } from "vitest";

import { kindOfText, parametersIn, parametersOf, targetOf } from "./template";

test("parameters are found with their defaults, and double braces are none", () => {
  expect(parametersIn("{n=30}")).toEqual([{ name: "n", fallback: "30" }]);
  expect(parametersIn("report-{year}-{part=}")).toEqual([
    { name: "year", fallback: null },
    { name: "part", fallback: "" },
  ]);
  expect(parametersIn("{{n}}")).toEqual([]);
  expect(parametersIn('{o={"a":{"b":1}}}')).toEqual([{ name: "o", fallback: '{"a":{"b":1}}' }]);
  expect(parametersIn("{n")).toEqual([]);
});

test("an endpoint's parameters are those of its path, its document and its calls, each once", () => {
  const found = parametersOf({
    path: "/wiki/{name}",
    document: "{name}",
    compute: { function: "render", args: ["{document}", "{width=80}", 7] },
  });
  expect(found).toEqual([
    { name: "name", fallback: null, isOfPath: true },
    { name: "width", fallback: "80", isOfPath: false },
  ]);
});

test("a default that stands at the second use holds for both", () => {
  expect(parametersOf({ path: "/f", function: "f", args: ["{n}", "{n=3}"] })).toEqual([
    { name: "n", fallback: "3", isOfPath: false },
  ]);
});

test("what is typed is read as the node reads it", () => {
  expect(["34", "true", "[1]", "null", '{"a":1}', '"34"', "Ada", ""].map(kindOfText)).toEqual([
    "number", "boolean", "list", "null", "object", "text", "text", "text",
  ]);
});

test("a request has its parameters where they belong", () => {
  expect(targetOf("/report/{year}", { year: "20/24", n: "3", left: "" })).toBe("/report/20%2F24?n=3");
  expect(targetOf("/getData", {})).toBe("/getData");
});
