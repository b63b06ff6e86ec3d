import { expect, test } from "vitest";

import { nameOfFile } from "./file-name";

test.each([
  ["fib.js", "fib"],
  ["my function (2).ts", "my-function-2-"],
  [".hidden.js", "hidden"],
  ["a.b.wasm", "a.b"],
  ["-x.js", "x"],
  [`${"a".repeat(80)}.js`, "a".repeat(64)],
])("%s", (file, name) => expect(nameOfFile(file)).toBe(name));
