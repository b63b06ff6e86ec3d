// Who serves the article: Runabout in three ways, a cluster of Express, and nginx, which computes
// nothing.

import { readFile } from "node:fs/promises";
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { start } from "../servers.mjs";

const path = (relative) => fileURLToPath(new URL(relative, import.meta.url));

export const NAME = "Latest_plane_crash";
const ARTICLE = path(`../../examples/article/${NAME}.html`);

/** A node with the article, its function and its endpoints. */
export async function runabout(binary, folder) {
  const server = await start((port) => ({
    program: binary,
    args: [
      ...["serve", "--listen", `127.0.0.1:${port}`, "--data", join(folder, "data")],
      ...["--config", path("../../examples/article/runabout.toml")],
    ],
    env: { RUNABOUT_LOG: "warn" },
    ready: "/healthz",
  }));
  const put = async (where, headers, body) => {
    const response = await fetch(server.url + where, { method: "PUT", headers, body });
    if (!response.ok) throw new Error(`${where}: ${response.status} ${await response.text()}`);
  };
  const fib = await readFile(path("../../guests/dist/fib.wasm"));
  await put("/v1/functions/fib", { "Content-Type": "application/wasm" }, fib);
  const html = { "Content-Type": "text/html", "If-None-Match": "*" };
  for (const name of [NAME, ...others()]) {
    await put(`/v1/documents/${name}`, html, await readFile(ARTICLE));
  }
  return server;
}

/** Documents beside the article, for edits of many at once. */
export function others() {
  return Array.from({ length: 32 }, (_, number) => `page-${number}`);
}

export async function express() {
  return await start((port) => ({
    program: process.execPath,
    args: [path("peers/express.cjs"), String(port), ARTICLE],
    ready: `/wiki/${NAME}`,
  }));
}

export async function nginx(folder) {
  const root = join(folder, "nginx");
  // Started by root, nginx serves as nobody, who may not look into a folder made for one user.
  chmodSync(folder, 0o755);
  mkdirSync(join(root, "wiki"), { recursive: true });
  writeFileSync(join(root, "wiki", NAME), await readFile(ARTICLE));
  return await start((port) => {
    const configuration = join(root, "nginx.conf");
    writeFileSync(
      configuration,
      `worker_processes ${cpus().length};
daemon off;
pid ${root}/nginx.pid;
error_log stderr warn;
events { worker_connections 4096; }
http {
  access_log off;
  default_type text/html;
  sendfile on;
  tcp_nopush on;
  open_file_cache max=100;
  keepalive_requests 1000000000;
  add_header runabout-revision 1;
  ${["body", "proxy", "fastcgi", "uwsgi", "scgi"]
    .map((kind) => `${kind === "body" ? "client_body" : kind}_temp_path ${root}/${kind};`)
    .join(" ")}
  server { listen 127.0.0.1:${port} backlog=4096; root ${root}; }
}
`,
    );
    return { program: "nginx", args: ["-p", root, "-c", configuration], ready: `/wiki/${NAME}` };
  });
}
