// Commands that a person may copy into a terminal.

/** Where the command line looks for a node that nobody names. */
const USUAL = ["http://127.0.0.1:7878", "http://localhost:7878"];

/** What a command has to say so that it reaches the node at `origin`; nothing for the usual one. */
export function nodeOption(origin: string): string {
  return USUAL.includes(origin) ? "" : ` --node ${origin}`;
}
