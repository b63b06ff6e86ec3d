import { expect, test } from "vitest";

import { editable } from "./source-map";

const CODE = "export default function (n) {\n  return n;\n}";

function withMap(map: unknown): string {
  const base64 = btoa(String.fromCharCode(...new TextEncoder().encode(JSON.stringify(map))));
  return `${CODE}\n//# sourceMappingURL=data:application/json;charset=utf-8;base64,${base64}`;
}

test("what was written comes back from a map that holds it", () => {
  const text = "// Zoë's\nexport default function (n: number) {\n  return n;\n}\n";
  const code = withMap({ version: 3, sources: ["function.ts"], sourcesContent: [text], mappings: "" });
  expect(editable(code)).toEqual({ text, language: "ts" });
});

test("a map that does not hold it is left away", () => {
  const code = withMap({ version: 3, sources: ["function.ts"], mappings: "AAAA" });
  expect(editable(code)).toEqual({ text: `${CODE}\n`, language: "js" });
});

test("a bundler's map tells of files that are not this one", () => {
  const code = withMap({ version: 3, sources: ["a.ts", "b.ts"], sourcesContent: ["a", "b"], mappings: "" });
  expect(editable(code)).toEqual({ text: `${CODE}\n`, language: "js" });
});

test("JavaScript stays as it is", () => {
  expect(editable(CODE)).toEqual({ text: CODE, language: "js" });
});
