// `make article`: a node with the article and its endpoints, and how to set readers and editors on it.

import { execFileSync } from "node:child_process";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

import { address, isHealthy, recorded, start, stop } from "../../scripts/node-process.mjs";
import { DOCUMENT, putArticle } from "./article.mjs";

const HERE = dirname(fileURLToPath(import.meta.url));

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
  await putArticle(url);
  console.log(whatNext());
} catch (error) {
  console.error(`make article: ${error.message}`);
  process.exitCode = 1;
}

function deploy(name, file) {
  execFileSync(binary, ["deploy", file, "--name", name, "--node", url], { stdio: "inherit" });
}

function whatNext() {
  return `
The article: ${url}/wiki/${DOCUMENT}
Its file:    ${data}/documents/${DOCUMENT}.html

Readers and editors, and an account of what all of them saw:
  target/release/runabout-article --node 127.0.0.1:${port} --seconds 10
  target/release/runabout-article --node 127.0.0.1:${port} --path /each/${DOCUMENT} --readers 8
  target/release/runabout-article --node 127.0.0.1:${port} --path /cached/${DOCUMENT} --readers 64

Stop it with: make stop DATA=${data}`;
}
