// The article, and how it gets onto a node.

import { readFileSync } from "node:fs";

/** The document's name. */
export const DOCUMENT = "Latest_plane_crash";

/** Puts it there as it is committed, unless somebody has edited it already. */
export async function putArticle(url) {
  const response = await fetch(`${url}/v1/documents/${DOCUMENT}`, {
    method: "PUT",
    headers: { "Content-Type": "text/html", "If-None-Match": "*" },
    body: readFileSync(new URL(`${DOCUMENT}.html`, import.meta.url)),
  });
  if (!response.ok && response.status !== 412) {
    throw new Error(`the article was refused: ${await response.text()}`);
  }
}
