// Serves the page, and nothing else.

import { readFileSync } from "node:fs";
import { createServer } from "node:http";

/**
 * Serves `file` at `/`, with the address that it asks put in.
 *
 * @returns {Promise<{url: string, close: () => void}>}
 */
export async function servePage(file, port, near) {
  const server = createServer((request, response) => {
    if (request.url !== "/") {
      response.writeHead(404).end();
      return;
    }
    const html = readFileSync(file, "utf8").replaceAll("{{near}}", near);
    response.writeHead(200, { "Content-Type": "text/html; charset=utf-8" }).end(html);
  });
  await new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", resolve);
  });
  const close = () => {
    server.close();
    server.closeAllConnections();
  };
  return { url: `http://127.0.0.1:${server.address().port}`, close };
}
