// Measures Runabout beside its peers, in one run. `make bench` prepares everything and starts this.

import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

import { article } from "./article/measure.mjs";
import { calls } from "./calls/measure.mjs";
import { queue } from "./queue/measure.mjs";
import { page } from "./report.mjs";
import { stopAll } from "./servers.mjs";
import { tabs } from "./tabs/measure.mjs";

const RESULTS = fileURLToPath(new URL("RESULTS.md", import.meta.url));
const SECTIONS = { calls, queue, article, tabs };

const HELP = `usage: make bench [OPTIONS="..."]

  --runabout FILE   the binary to measure
  --only NAME       measure calls, queue, article or tabs alone; prints, and leaves bench/RESULTS.md as it is
  --rounds N        rounds of calls, each of which measures everybody once (5)
  --seconds N       how long calls are measured in a round (3)
  --quick           short rounds of all but calls, for development; writes nothing either
  --dry             print the page, and leave bench/RESULTS.md as it is
`;

const { values: options } = parseArgs({
  options: {
    runabout: { type: "string", default: "target/release/runabout" },
    only: { type: "string" },
    rounds: { type: "string", default: "5" },
    seconds: { type: "string", default: "3" },
    quick: { type: "boolean", default: false },
    dry: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});

if (options.help) {
  process.stdout.write(HELP);
} else {
  await main();
}

async function main() {
  process.once("SIGINT", () => stopAll().finally(() => process.exit(130)));
  const settings = {
    runabout: options.runabout,
    rounds: Number(options.rounds),
    seconds: Number(options.seconds),
    quick: options.quick,
  };
  const sections = [];
  for (const name of chosen()) {
    sections.push(await SECTIONS[name](settings));
  }
  const text = page(sections, versions());
  console.log(`\n${text}`);
  if (options.only === undefined && !options.quick && !options.dry) {
    await writeFile(RESULTS, text);
    console.log("wrote bench/RESULTS.md");
  }
}

function chosen() {
  if (options.only === undefined) return Object.keys(SECTIONS);
  if (options.only in SECTIONS) return [options.only];
  throw new Error(`--only is one of: ${Object.keys(SECTIONS).join(", ")}`);
}

function versions() {
  const firstLine = (program, args) =>
    execFileSync(program, args, { encoding: "utf8" }).split("\n")[0].replace(/ \(.*/, "");
  const npm = (name) => fileURLToPath(new URL(`node_modules/${name}`, import.meta.url));
  const packaged = (name) =>
    `${name} ${JSON.parse(readFileSync(`${npm(name)}/package.json`, "utf8")).version}`;
  const redis = /v=(\S+)/.exec(firstLine("redis-server", ["--version"]))[1];
  return [
    firstLine(options.runabout, ["--version"]),
    firstLine(npm(".bin/deno"), ["--version"]),
    firstLine(npm(".bin/workerd"), ["--version"]),
    firstLine("chromium", ["--version"]),
    ...["bullmq", "comlink", "express", "ioredis", "undici", "ws"].map(packaged),
    `redis ${redis}`,
    `Node.js ${process.versions.node}`,
  ];
}
