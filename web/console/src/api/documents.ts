// Documents: files that are read by many and edited by many at once.

import { Refused, ask, askJson } from "./ask";
import type { Page } from "./node";
import type { Document, DocumentChange, DocumentRevision } from "./schema";

const address = (name: string, rest = "") => `/v1/documents/${encodeURIComponent(name)}${rest}`;

/** A text, and the revision that it is. */
export interface Text {
  revision: number;
  text: string;
}

/** A text as it is read. */
export interface Reading extends Text {
  /** Without parameters: `text/html`. */
  mediaType: string;
}

/** Two edits of the same place: what the node says when it cannot put them together. */
export interface Conflict {
  base: Text;
  current: Text;
  yours: { text: string };
  conflicts: unknown[];
}

/** The conflict that a refusal tells of, if it is one that a person can join. */
export function conflictOf(error: unknown): Conflict | null {
  if (!(error instanceof Refused) || error.code !== "edit_conflict") return null;
  const conflict = error.problem as unknown as Conflict;
  // What is no text has no places to join.
  return typeof conflict.yours.text === "string" ? conflict : null;
}

/** Who edits, and why. */
export interface Edit {
  author: string;
  summary: string;
  /** Sent again with the same one, an edit is not made twice. */
  key: string;
}

function headersOf({ author, summary, key }: Edit): Record<string, string> {
  return {
    "Idempotency-Key": key,
    // Headers carry no more than Latin letters; the rest is written as in addresses, and so is the
    // sign that marks it.
    ...(author === "" ? {} : { "Runabout-Author": plain(author) }),
    ...(summary === "" ? {} : { "Runabout-Summary": plain(summary) }),
  };
}

function plain(text: string): string {
  return /^[\x20-\x24\x26-\x7e]*$/.test(text) ? text : encodeURIComponent(text);
}

export const documents = {
  list: (cursor?: string, signal?: AbortSignal) =>
    askJson<Page<Document>>("/v1/documents", { query: { limit: 500, cursor }, signal }),
  async read(name: string, signal?: AbortSignal): Promise<Reading> {
    const response = await ask(address(name), { signal });
    const [mediaType = ""] = (response.headers.get("Content-Type") ?? "").split(";");
    return { revision: revisionOf(response), text: await response.text(), mediaType };
  },
  create: (name: string, text: string, edit: Edit) =>
    askJson<DocumentChange>(address(name), {
      method: "PUT",
      headers: { ...headersOf(edit), "Content-Type": "text/html", "If-None-Match": "*" },
      body: text,
    }),
  edit: (name: string, base: number, text: string, edit: Edit) =>
    askJson<DocumentChange>(address(name), {
      method: "POST",
      query: { base },
      headers: headersOf(edit),
      body: text,
    }),
  remove: (name: string) => ask(address(name), { method: "DELETE" }),
  history: (name: string, cursor?: string, signal?: AbortSignal) =>
    askJson<Page<DocumentRevision>>(address(name, "/revisions"), { query: { cursor }, signal }),
  difference: async (name: string, from: number, to: number, signal?: AbortSignal) =>
    (await ask(address(name, `/revisions/${to}`), { query: { diff: from }, signal })).text(),
  revision: async (name: string, revision: number, signal?: AbortSignal) =>
    (await ask(address(name, `/revisions/${revision}`), { signal })).text(),
  revert: (name: string, revision: number, edit: Edit) =>
    askJson<DocumentChange>(address(name, `/revisions/${revision}/revert`), {
      method: "POST",
      headers: headersOf(edit),
    }),
};

function revisionOf(response: Response): number {
  return Number(response.headers.get("Runabout-Revision") ?? "0");
}
