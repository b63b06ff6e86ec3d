// JSON between people and the node.

/** Longer values are shown as they came: to indent them would take longer than to read them. */
const CHARS_MAX = 200_000;
/** Values up to this length stay on one line. */
const LINE_CHARS_MAX = 60;

/** JSON text with line ends where they help. */
export function readable(json: string): string {
  const text = json.trim();
  if (text.length <= LINE_CHARS_MAX || text.length > CHARS_MAX) return text;
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

export type Arguments = { args: unknown[] } | { why: string };

/**
 * What a person wrote as arguments: a JSON array, or its elements with commas between them. The
 * brackets are easily forgotten.
 */
export function readArguments(text: string): Arguments {
  const trimmed = text.trim();
  if (trimmed === "") return { args: [] };
  for (const candidate of [trimmed, `[${trimmed}]`]) {
    const value = parse(candidate);
    if (Array.isArray(value)) return { args: value };
  }
  return { why: 'Arguments are JSON values with commas between them: 34, "text", {"key": true}' };
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
