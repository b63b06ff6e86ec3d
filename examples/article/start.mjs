// `make article`: a node with the article and its endpoints, and how to set readers and editors on it.

import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

import { address, isHealthy, recorded, start, stop } from "../../scripts/node-process.mjs";

const HERE = dirname(fileURLToPath(import.meta.url));
const NAME = "Latest_plane_crash";

const { values: options } = parseArgs({
  options: { binary: { type: "string" }, port: { type: "string" }, data: { type: "string" } },
});
const { binary, data } = options;
const port = Number(options.port);
const url = address(port);

try {
  if (recorded(data) !== null) {
    await stop(data);
  }
  if (await isHealthy(url)) {
    throw new Error(`another node answers at ${url}; stop it, or choose another PORT`);
  }
  await start({ binary, port, data, flags: ["--config", join(HERE, "runabout.toml")] });
  deploy("fib", join(HERE, "../../guests/dist/fib.wasm"));
  deploy("words", join(HERE, "words.js"));
  await putArticle();
  console.log(whatNext());
} catch (error) {
  console.error(`make article: ${error.message}`);
  process.exitCode = 1;
}

function deploy(name, file) {
  execFileSync(binary, ["deploy", file, "--name", name, "--node", url], { stdio: "inherit" });
}

/** The article as it is committed, unless somebody has edited it already. */
async function putArticle() {
  const text = readFileSync(join(HERE, `${NAME}.html`));
  const response = await fetch(`${url}/v1/documents/${NAME}`, {
    method: "PUT",
    headers: { "Content-Type": "text/html", "If-None-Match": "*" },
    body: text,
  });
  if (!response.ok && response.status !== 412) {
    throw new Error(`the article was refused: ${await response.text()}`);
  }
}

function whatNext() {
  return `
The article: ${url}/wiki/${NAME}
Its file:    ${data}/documents/${NAME}.html

Readers and editors, and an account of what all of them saw:
  target/release/runabout-article --node 127.0.0.1:${port} --seconds 10
  target/release/runabout-article --node 127.0.0.1:${port} --path /each/${NAME} --readers 8
  target/release/runabout-article --node 127.0.0.1:${port} --path /cached/${NAME} --readers 64

Stop it with: make stop DATA=${data}`;
}
