// Text with `code` between backticks, cut into its pieces.

export interface Span {
  text: string;
  isCode: boolean;
}

export function spans(text: string): Span[] {
  return text
    .split("`")
    .map((piece, index) => ({ text: piece, isCode: index % 2 === 1 }))
    .filter((span) => span.text !== "");
}
