//! JSON as the text that it is. JavaScript's own reader and writer lose some of it: -0 is written 0,
//! 1e400 null, and of an integer beyond a double's the last digits are gone.

/** The text of a member of the object that `text` is. */
export function memberText(text: string, name: string): string | undefined {
  for (const piece of pieces(text)) {
    const from = piece.indexOf('"');
    const end = endOfString(piece, from);
    if (JSON.parse(piece.slice(from, end + 1)) === name) return piece.slice(piece.indexOf(':', end) + 1).trim();
  }
  return undefined;
}

/** The texts of the elements of the array that `text` is. */
export function elementTexts(text: string): string[] {
  return pieces(text).map((piece) => piece.trim());
}

/** What stands between the commas of the outermost object or array; of valid JSON. */
function pieces(text: string): string[] {
  const found: string[] = [];
  let depth = 0;
  let from = 0;
  for (let at = 0; at < text.length; at++) {
    switch (text[at]) {
      case '"':
        at = endOfString(text, at);
        break;
      case '{':
      case '[':
        if (depth++ === 0) from = at + 1;
        break;
      case ',':
        if (depth !== 1) break;
        found.push(text.slice(from, at));
        from = at + 1;
        break;
      case '}':
      case ']':
        if (--depth !== 0) break;
        if (text.slice(from, at).trim() !== '') found.push(text.slice(from, at));
        return found;
    }
  }
  return found;
}

/** Where the string ends that begins at `from`. */
function endOfString(text: string, from: number): number {
  let end = from;
  for (;;) {
    end = text.indexOf('"', end + 1);
    if (end < 0) return text.length;
    let escapes = 0;
    while (text[end - 1 - escapes] === '\\') escapes++;
    if (escapes % 2 === 0) return end;
  }
}
