import { expect, test } from "vitest";

import { readDifference } from "./difference";

test("lines are told apart by their first sign", () => {
  const text = "--- a\n+++ b\n@@ -1,2 +1,2 @@\n same\n-old\n+new\n";
  expect(readDifference(text)).toEqual([
    { kind: "place", text: "@@ -1,2 +1,2 @@" },
    { kind: "same", text: "same" },
    { kind: "gone", text: "old" },
    { kind: "new", text: "new" },
  ]);
});

test("no difference has no lines", () => {
  expect(readDifference("")).toEqual([]);
});
