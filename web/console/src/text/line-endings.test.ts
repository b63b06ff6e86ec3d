import { expect, test } from "vitest";

import { endingOf, withEnding, withPlainEnding } from "./line-endings";

test("a text comes back from the editor as it was", () => {
  for (const text of ["", "one", "one\ntwo\n", "one\r\ntwo\r\n", "\r\n"]) {
    expect(withEnding(withPlainEnding(text), endingOf(text))).toBe(text);
  }
});

test("where both are mixed, the more frequent is the document's", () => {
  expect(endingOf("one\r\ntwo\r\nthree\n")).toBe("\r\n");
  expect(endingOf("one\ntwo\nthree\r\n")).toBe("\n");
});
