import { describe, expect, test } from "vitest";

import { bytes, duration, plural, rate, relative, shortId } from "./format";

describe("lengths of time keep their unit", () => {
  test.each([
    [0, "0 ms"],
    [-3, "0 ms"],
    [0.004, "4 µs"],
    [0.42, "0.4 ms"],
    [9.96, "10 ms"],
    [23.4, "23 ms"],
    [999, "999 ms"],
    [1_500, "1.5 s"],
    [9_000, "9 s"],
    [59_940, "59.9 s"],
    [60_000, "1 min"],
    [125_000, "2 min 5 s"],
    [3_780_000, "1 h 3 min"],
    [90_000_000, "1 d 1 h"],
  ])("%d", (ms, text) => expect(duration(ms)).toBe(text));
});

describe("a moment is told by its distance", () => {
  const now = 1_000_000_000;
  test.each([
    [0, "now"],
    [-900, "now"],
    [-12_000, "12 s ago"],
    [180_000, "in 3 min"],
    [-7_200_000, "2 h ago"],
    [-172_800_000, "2 d ago"],
  ])("%d ms", (distance, text) => expect(relative(now + distance, now)).toBe(text));
});

test.each([
  [0, "0 B"],
  [1_023, "1023 B"],
  [65_536, "64 KiB"],
  [1_114_112, "1.1 MiB"],
  [134_217_728, "128 MiB"],
  [3_221_225_472, "3 GiB"],
])("%d bytes", (count, text) => expect(bytes(count)).toBe(text));

test("rates are told as exactly as they are read", () => {
  expect([rate(0), rate(0.44), rate(12.6), rate(3_200)]).toEqual(["0", "0.4", "13", "3,200"]);
});

test("one is not several", () => {
  expect([plural(1, "slot"), plural(0, "slot"), plural(1_200, "slot")]).toEqual([
    "1 slot",
    "0 slots",
    "1,200 slots",
  ]);
});

test("ids are shortened where they differ", () => {
  expect(shortId("0198f2c4-5b1e-7c3a-9d2f-6a7b8c9d0e1f")).toBe("…8c9d0e1f");
  expect(shortId("sha256:abcdef0123456789")).toBe("sha256:abcdef01");
  expect(shortId("short")).toBe("short");
});
