import { expect, test } from "vitest";

import type { EndpointRequest } from "../api/schema";
import { EMPTY, argsOf, formOf, requestOf } from "./endpoint-form";

test("arguments are JSON where a line parses as JSON, else templates", () => {
  expect(argsOf('{n=30}\n34\n"34"\n\nnull\n{"a": 1}\nreport-{year}')).toEqual([
    "{n=30}", 34, "34", null, { a: 1 }, "report-{year}",
  ]);
});

test("what is there comes back from its form as it was", () => {
  const written: EndpointRequest[] = [
    { path: "/a", function: "fib@3", export: "fast", args: ["{n=30}", 34, "34", " x", null], offload: "n > 32", methods: ["GET", "POST"] },
    { path: "/b", function: "f", offload: "query", methods: ["POST"] },
    { path: "/wiki/{name}", document: "{name}", compute: { function: "fib", args: [34], mode: "shared", respond: false } },
    { path: "/plain/{name}", document: "{name}" },
  ];
  for (const one of written) expect(requestOf(formOf(one))).toEqual(one);
});

test("HEAD comes with GET and is not asked for", () => {
  const form = formOf({ path: "/a", function: "f", methods: ["GET", "HEAD"] });
  expect(requestOf(form).methods).toEqual(["GET"]);
});

test("a form that is not filled in asks for nothing it does not say", () => {
  const asked = requestOf({ ...EMPTY, path: " /a ", function: "f", where: "rule", rule: "" });
  expect(asked).toEqual({ path: "/a", function: "f", methods: ["GET", "POST"] });
});
