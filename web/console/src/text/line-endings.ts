// The ends of lines. The editor knows one kind; a document keeps its own, or an edit would change
// every line of it.

export type Ending = "\n" | "\r\n";

/** How the lines of a text end: as most of them do. */
export function endingOf(text: string): Ending {
  const all = text.split("\n").length - 1;
  const long = text.split("\r\n").length - 1;
  return long * 2 > all ? "\r\n" : "\n";
}

export function withPlainEnding(text: string): string {
  return text.replace(/\r\n?/g, "\n");
}

/** A text from the editor, with the ends of lines that its document has. */
export function withEnding(text: string, ending: Ending): string {
  return ending === "\n" ? text : text.replaceAll("\n", ending);
}
