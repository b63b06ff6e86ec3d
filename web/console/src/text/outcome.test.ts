import { expect, test } from "vitest";

import { advice, kindOf, sentence, standing } from "./outcome";

test("a task stands by its outcome once it has one", () => {
  expect(standing({ state: "running" })).toBe("running");
  expect(standing({ state: "failed" })).toBe("threw");
  expect(standing({ state: "failed", outcome: { kind: "timed_out" } })).toBe("timed_out");
});

test("a kind of a newer node counts as an error", () => {
  expect(kindOf("evaporated")).toBe("threw");
});

test.each([
  [{ kind: "threw", error: { name: "TypeError", message: "no" } }, "TypeError: no"],
  [
    { kind: "timed_out", limit: "wall" as const, limit_ms: 30_000 },
    "It reached its limit of 30 s on the clock.",
  ],
  [
    { kind: "out_of_memory", limit_bytes: 134_217_728 },
    "The run may have 128 MiB of memory, and no more.",
  ],
  [{ kind: "returned", value: 1 }, ""],
])("%j is told in one line", (outcome, text) => expect(sentence(outcome)).toBe(text));

test("what can be done is told where something can", () => {
  expect(advice({ kind: "timed_out" })).not.toBe("");
  expect(advice({ kind: "returned" })).toBe("");
});
