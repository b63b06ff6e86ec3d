// Measures what it costs to have a call run on the node behind the one that is asked, and prints
// the break-even points of docs/when-to-offload.md. Two nodes on this machine: what a network adds
// is added to what is measured.
//
//   node bench/offload/measure.mjs [--runabout target/release/runabout] [--calls 400]

import { mkdtemp, readFile, rm } from "node:fs/promises";
import { Agent, request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

import { start, stopAll } from "../servers.mjs";

const { values: options } = parseArgs({
  options: {
    runabout: { type: "string", default: "target/release/runabout" },
    calls: { type: "string", default: "400" },
  },
});
const CALLS = Number(options.calls);
const FIB = fileURLToPath(new URL("../../guests/dist/fib.wasm", import.meta.url));
const LENGTH = "export default (text) => text.length";
const SIZES = [1_000, 10_000, 100_000, 1_000_000, 5_000_000];
const FASTER = [1.5, 2, 4, 8];
const DISTANCES_MS = [0, 1, 10, 50];

const agent = new Agent({ keepAlive: true, maxSockets: 1 });

/** One call; what it took, in milliseconds. */
function call(node, path, body) {
  return new Promise((resolve, reject) => {
    const began = performance.now();
    const head = { method: "POST", agent, headers: { "content-type": "application/json" } };
    const sent = request(`${node.url}/v1/functions/${path}`, head, (response) => {
      response.resume();
      response.once("end", () => {
        if (response.statusCode === 200) resolve(performance.now() - began);
        else reject(new Error(`${path}: ${response.statusCode}`));
      });
    });
    sent.once("error", reject);
    sent.end(body);
  });
}

function median(numbers) {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)];
}

/** The medians of calls here and upstream, taken in turns, so that both meet the same machine. */
async function both(node, name, body, calls = CALLS) {
  const times = { 0: [], 1: [] };
  for (let round = 0; round < calls + 20; round++) {
    for (const offload of [0, 1]) {
      const took = await call(node, `${name}/call?offload=${offload}`, body);
      // The first ones compile, send the artifact, and open connections.
      if (round >= 20) times[offload].push(took);
    }
  }
  return { here: median(times[0]), upstream: median(times[1]) };
}

async function deploy(node, name, type, body) {
  const put = { method: "PUT", headers: { "content-type": type }, body };
  const answer = await fetch(`${node.url}/v1/functions/${name}`, put);
  if (!answer.ok) throw new Error(await answer.text());
}

async function main() {
  const folder = await mkdtemp(join(tmpdir(), "runabout-offload-"));
  const node = (name, flags = []) =>
    start((port) => ({
      program: options.runabout,
      args: [
        ["serve", "--listen", `127.0.0.1:${port}`, "--name", name, "--data", join(folder, name)],
        flags,
      ].flat(),
      ready: "/readyz",
    }));
  try {
    const far = await node("far");
    const near = await node("near", ["--upstream", far.url]);
    await deploy(near, "fib", "application/wasm", await readFile(FIB));
    await deploy(near, "length", "text/javascript", LENGTH);
    print(await measure(near));
  } finally {
    await stopAll();
    await rm(folder, { recursive: true, force: true });
  }
}

async function measure(near) {
  const tiny = await both(near, "fib", "[1]");
  const sizes = [];
  for (const bytes of SIZES) {
    const body = JSON.stringify(["x".repeat(bytes)]);
    sizes.push({ bytes, ...(await both(near, "length", body, Math.min(CALLS, 100))) });
  }
  const auto = [];
  for (let round = 0; round < CALLS; round++) {
    auto.push(await call(near, "fib/call", "[1]"));
  }
  return { tiny, sizes, auto: median(auto) };
}

function print({ tiny, sizes, auto }) {
  const ms = (number) => `${number.toFixed(number < 10 ? 2 : 0)} ms`;
  const way = tiny.upstream - tiny.here;
  console.log(`A call of fib(1), median of ${CALLS}: here ${ms(tiny.here)}, upstream`);
  console.log(`${ms(tiny.upstream)}: the way there and back costs ${ms(way)}.`);
  console.log(`The same call left to \`auto\`: ${ms(auto)}.\n`);
  console.log("| arguments | here | upstream | the way |\n| --- | --- | --- | --- |");
  for (const { bytes, here, upstream } of sizes) {
    const label = bytes < 1e6 ? `${bytes / 1e3} kB` : `${bytes / 1e6} MB`;
    console.log(`| ${label} | ${ms(here)} | ${ms(upstream)} | ${ms(upstream - here)} |`);
  }
  const large = sizes.at(-1);
  const distance = (round) => (round === 0 ? "same machine" : `${round} ms away`);
  console.log(`\n| upstream is | ${FASTER.map((times) => `${times} x faster`).join(" | ")} |`);
  console.log(`| --- |${" --- |".repeat(FASTER.length)}`);
  for (const round of DISTANCES_MS) {
    // Here it takes t, there way + t / times: equal at way * times / (times - 1).
    const even = FASTER.map((times) => ms(((way + round) * times) / (times - 1)));
    console.log(`| ${distance(round)} | ${even.join(" | ")} |`);
  }
  const perMegabyte = (large.upstream - large.here - way) / (large.bytes / 1e6);
  console.log(`\nEach megabyte of arguments or results adds ${ms(perMegabyte)}.`);
}

await main();
