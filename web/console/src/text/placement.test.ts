import { expect, test } from "vitest";

import { offloadText, paceText, reasonText, sideOf } from "./placement";

test("a pace says which node is faster, and by how much", () => {
  expect(paceText(0.25)).toBe("4 × faster");
  expect(paceText(0.7)).toBe("1.4 × faster");
  expect(paceText(1.02)).toBe("as fast as here");
  expect(paceText(12.3)).toBe("12 × slower");
});

test("what starts on both sides at once is told from what may follow later", () => {
  expect(sideOf({ first: "here", other_after_ms: 0, reason: "exploring" })).toBe("both");
  expect(sideOf({ first: "here", other_after_ms: 12.5, reason: "learning" })).toBe("here");
  expect(sideOf({ first: "upstream", other_after_ms: null, reason: "faster" })).toBe("upstream");
});

test("a reason of a newer node stands for itself", () => {
  expect(reasonText("faster")).toBe("expected to finish first");
  expect(reasonText("moon_phase")).toBe("moon_phase");
});

test("what is none of the four words is a rule", () => {
  expect(offloadText("n > 32")).toEqual({ text: "n > 32", isRule: true });
  expect(offloadText("query")).toEqual({ text: "as the caller says", isRule: false });
  expect(offloadText(null).isRule).toBe(false);
});
