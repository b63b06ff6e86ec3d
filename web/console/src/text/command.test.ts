import { expect, test } from "vitest";

import { nodeOption } from "./command";

test("only a node that is not where commands look is named", () => {
  expect(nodeOption("http://127.0.0.1:7878")).toBe("");
  expect(nodeOption("http://localhost:7878")).toBe("");
  expect(nodeOption("http://127.0.0.1:7900")).toBe(" --node http://127.0.0.1:7900");
});
