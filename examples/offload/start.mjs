// `make offload`: two nodes and a page. The near node is held back, the far one is fast but at a
// distance; the page asks the near one and shows who answered, why, and how long it took.

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

import { startNode } from "../../scripts/child-node.mjs";
import { distance } from "./distance.mjs";
import { holdBack } from "./hold-back.mjs";
import { servePage } from "./page.mjs";

/** How many times slower the near node is. */
const HELD_BACK = 7;
/** How long a byte takes from one node to the other. */
const DISTANCE_MS = 30;
/** How often each call is made before anybody asks, here, there and where the node thinks best. */
const WARMING_CALLS = 6;

const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const { values: options } = parseArgs({
  options: {
    binary: { type: "string", default: here("../../target/release/runabout") },
    /** The near node's; the page has the next one. */
    port: { type: "string", default: "7878" },
  },
});
const { binary } = options;
const port = Number(options.port);

const folder = mkdtempSync(join(tmpdir(), "runabout-offload-"));
/** What is undone at the end, the latest first. */
const endings = [() => rmSync(folder, { recursive: true, force: true })];
let isEnding = false;

for (const signal of ["SIGINT", "SIGTERM"]) {
  process.on(signal, () => void end(0));
}

try {
  const far = await node("far", 0);
  const link = await distance(far.port, DISTANCE_MS);
  endings.push(link.close);
  const page = await servePage(here("page.html"), port + 1, `http://127.0.0.1:${port}`);
  endings.push(page.close);
  const near = await node("near", port, [
    ...["--config", here("near.toml")],
    ...["--upstream", `http://127.0.0.1:${link.port}`],
    ...["--allow-origin", page.url],
  ]);
  await deploy(near.url);
  endings.push(holdBack(near.pid, HELD_BACK));
  await warm(near.url);
  console.log(whatNext(page.url, near.url, far.url));
} catch (error) {
  await fail(error.message);
}

/** A node that ends with this process, and this process with it. */
async function node(name, port, flags = []) {
  const started = startNode({ binary, name, port, data: join(folder, name), flags });
  endings.push(started.stop);
  void started.ended.then((why) => fail(`the ${name} node ended: ${why}`));
  return { ...(await started.listening), pid: started.pid };
}

/** On the near node alone: the far one is handed the bytes when a call first goes there. */
async function deploy(url) {
  const body = readFileSync(here("../../guests/dist/fib.wasm"));
  const headers = { "Content-Type": "application/wasm" };
  const answer = await fetch(`${url}/v1/functions/fib`, { method: "PUT", headers, body });
  if (!answer.ok) {
    throw new Error(`fib was refused: ${await answer.text()}`);
  }
}

/** The node cannot know what it has not seen: a few calls in each place teach it. */
async function warm(url) {
  for (let call = 0; call < WARMING_CALLS; call += 1) {
    for (const n of [30, 34]) {
      for (const offload of [0, 1, "auto"]) {
        const answer = await fetch(`${url}/getData?n=${n}&offload=${offload}`);
        if (!answer.ok) {
          throw new Error(`a call failed: ${await answer.text()}`);
        }
        await answer.arrayBuffer();
      }
    }
  }
}

function whatNext(page, near, far) {
  return `
Near: ${near}, held back to 1/${HELD_BACK} of its speed.
Far:  ${far}, as fast as this machine, ${2 * DISTANCE_MS} ms there and back.

Open ${page}, or ask the near node:
  curl -i '${near}/getData?offload=0'           # near, because you say so
  curl -i '${near}/getData?offload=1'           # far, because you say so
  curl -i '${near}/getBiggerData?n=30'          # near, because the way takes longer
  curl -i '${near}/getBiggerData?n=34'          # far, because it is done sooner
  curl -i '${near}/ruled/getBiggerData?n=30'    # near, because n > 32 is false
  curl -i '${near}/ruled/getBiggerData?n=34'    # far, because n > 32 is true
Ctrl-C ends both nodes.`;
}

/** What goes wrong because all of it is ending is not worth a word. */
async function fail(why) {
  if (!isEnding) {
    console.error(`make offload: ${why}`);
    await end(1);
  }
}

async function end(code) {
  if (isEnding) {
    return;
  }
  isEnding = true;
  for (const undo of endings.reverse()) {
    await undo();
  }
  process.exit(code);
}
