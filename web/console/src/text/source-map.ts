// The source map at the end of code that was stripped of types: the node's own, which tells positions
// alone, or another tool's, which may hold what was written.

/** Code as a person edits it. */
export interface Editable {
  text: string;
  language: "js" | "ts";
}

const COMMENT = /\n?\/\/# sourceMappingURL=data:application\/json;(?:charset=utf-8;)?base64,([\w+/=]+)\s*$/;

/** What was written, if the map holds it; else what was made of it, without the map. */
export function editable(code: string): Editable {
  const found = COMMENT.exec(code);
  if (!found) return { text: code, language: "js" };
  const original = originalIn(found[1] ?? "");
  return original === null
    ? { text: `${code.slice(0, found.index)}\n`, language: "js" }
    : { text: original, language: "ts" };
}

/** Only one file is ever stripped; a map of several is a bundler's. */
function originalIn(base64: string): string | null {
  try {
    const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
    const { sources, sourcesContent } = JSON.parse(new TextDecoder().decode(bytes));
    const [text] = sourcesContent ?? [];
    return sources?.length === 1 && /\.m?ts$/.test(sources[0]) && typeof text === "string" ? text : null;
  } catch {
    return null;
  }
}
