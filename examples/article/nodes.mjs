// `make nodes`: two nodes behind a balancer, and how they are rolled over while people read and edit.
// One node owns the documents; the other takes calls, and computes for the owner when that is busy.

import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

import { startNode } from "../../scripts/child-node.mjs";
import { DOCUMENT, putArticle } from "./article.mjs";
import { balance } from "./balancer.mjs";

/** What any node answers alike; the rest is the owner's: documents, tasks, deploys. */
const ANYBODYS = /^\/(massage|v1\/functions\/[^/]+\/call)($|\?)/;

const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const { values: options } = parseArgs({
  options: {
    binary: { type: "string", default: here("../../target/release/runabout") },
    /** The balancer's; the nodes have the next two. */
    port: { type: "string", default: "7878" },
  },
});
const { binary } = options;
const port = Number(options.port);
const url = `http://127.0.0.1:${port}`;

const folder = mkdtempSync(join(tmpdir(), "runabout-article-"));
const config = here("runabout.toml");
const helper = setup("helper", port + 2, ["--config", config]);
const owner = setup("owner", port + 1, ["--config", config, "--upstream", helper.url]);
const nodes = [helper, owner];
let balancer = null;
let isEnding = false;
/** One at a time: while a node is replaced, the other one is there. */
let rolling = Promise.resolve();

for (const signal of ["SIGINT", "SIGTERM"]) {
  process.on(signal, () => void end(0));
}

try {
  for (const node of nodes) {
    await start(node);
    execFileSync(binary, ["deploy", here("../../guests/dist/fib.wasm"), "--node", node.url]);
    execFileSync(binary, ["deploy", here("words.js"), "--node", node.url]);
  }
  await putArticle(owner.url);
  balancer = await balance({
    port,
    nodes: nodes.map(({ name, port }) => ({
      name,
      port,
      takes: (path) => name === "owner" || ANYBODYS.test(path),
    })),
  });
  process.on("SIGHUP", roll);
  createInterface({ input: process.stdin }).on("line", roll);
  console.log(whatNext());
} catch (error) {
  await fail(error.message);
}

function setup(name, port, flags) {
  const data = join(folder, name);
  return { name, port, data, flags, url: `http://127.0.0.1:${port}`, running: null };
}

async function start(node) {
  const running = startNode({ binary, ...node });
  node.running = running;
  void running.ended.then((why) => {
    // One that is being replaced is expected to end.
    if (node.running === running) {
      void fail(`the ${node.name} node ended: ${why}`);
    }
  });
  await running.listening;
}

function roll() {
  rolling = rolling.then(async () => {
    for (const node of nodes) {
      await replace(node);
    }
  });
  rolling.catch((error) => fail(error.message));
}

/** Drain, replace, ready. What only this node can answer waits at the balancer meanwhile. */
async function replace(node) {
  const began = performance.now();
  const since = () => `${(performance.now() - began).toFixed(0)} ms`;
  await balancer.drain(node.name);
  const drained = since();
  const { stop } = node.running;
  node.running = null;
  await stop();
  const stopped = since();
  await start(node);
  await balancer.restore(node.name);
  console.log(`${node.name}: drained after ${drained}, stopped after ${stopped}, ready after ${since()}`);
}

function whatNext() {
  return `
The balancer: ${url}
Behind it:    ${owner.url} (owns the documents), ${helper.url} (takes calls)

  curl -i ${url}/wiki/${DOCUMENT}      # from the owner alone
  curl -i '${url}/massage?n=30'                # from either

Readers and editors, and an account of what all of them saw:
  target/release/runabout-article --node 127.0.0.1:${port} --seconds 20 --readers 64

Enter, or kill -HUP ${process.pid}, replaces both nodes, one after the other. Ctrl-C ends all.`;
}

/** What goes wrong because all of it is ending is not worth a word. */
async function fail(why) {
  if (!isEnding) {
    console.error(`make nodes: ${why}`);
    await end(1);
  }
}

async function end(code) {
  if (isEnding) {
    return;
  }
  isEnding = true;
  balancer?.close();
  await Promise.all(nodes.map(({ running }) => running?.stop()));
  rmSync(folder, { recursive: true, force: true });
  process.exit(code);
}
