// Measures calls over HTTP: Runabout's beside a hello world of Deno's and of workerd's, in one run.
// `make bench` prepares everything and starts this.

import { execFileSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

import { peers, prove, runabout } from "./contenders.mjs";
import { load } from "./load.mjs";
import { page, summarise, table } from "./report.mjs";
import { stopAll } from "./servers.mjs";

const RESULTS = fileURLToPath(new URL("RESULTS.md", import.meta.url));
const DEPENDENCIES = new URL("package.json", import.meta.url);
const WARM_UP_SECONDS = 1;

const HELP = `usage: make bench [OPTIONS="..."]

  --runabout FILE   the binary to measure; without it only the peers are measured
  --rounds N        rounds, each of which measures everybody once (5)
  --seconds N       how long each is measured in a round (3)
  --dry             print the table, and leave bench/RESULTS.md as it is
`;

const { values: options } = parseArgs({
  options: {
    runabout: { type: "string" },
    rounds: { type: "string", default: "5" },
    seconds: { type: "string", default: "3" },
    dry: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});

if (options.help) {
  process.stdout.write(HELP);
} else {
  await main(Number(options.rounds), Number(options.seconds));
}

async function main(rounds, seconds) {
  const dataFolder = await mkdtemp(join(tmpdir(), "runabout-bench-"));
  const tidy = async () => {
    await stopAll();
    await rm(dataFolder, { recursive: true, force: true });
  };
  process.once("SIGINT", () => tidy().finally(() => process.exit(130)));
  try {
    const rivals = await peers();
    const ours = options.runabout === undefined ? [] : await runabout(options.runabout, dataFolder);
    const contenders = [...ours, ...rivals];
    const measured = await measure(contenders, rounds, seconds);
    const peerKeys = rivals.map(({ key }) => key);
    const tableText = table(summarise(contenders, measured), peerKeys);
    console.log(`\n${tableText}`);
    if (options.runabout !== undefined && !options.dry) {
      await writeFile(RESULTS, page({ tableText, versions: versions(), rounds, seconds }));
      console.log("\nwrote bench/RESULTS.md");
    }
  } finally {
    await tidy();
  }
}

/** In turn, round after round, so that what else the machine does falls on everybody alike. */
async function measure(contenders, rounds, seconds) {
  for (const contender of contenders) {
    await prove(contender);
    await load(contender.request, WARM_UP_SECONDS);
  }
  const measured = contenders.map(() => []);
  for (let round = 1; round <= rounds; round++) {
    for (const [index, contender] of contenders.entries()) {
      const figures = await load(contender.request, seconds);
      measured[index].push(figures);
      const rate = Math.round(figures.requests_per_second);
      console.log(`round ${round} of ${rounds}: ${contender.name}: ${rate} req/s`);
    }
  }
  return measured;
}

function versions() {
  const binary = (file) => fileURLToPath(new URL(`node_modules/.bin/${file}`, DEPENDENCIES));
  const firstLine = (program, args) =>
    execFileSync(program, args, { encoding: "utf8" }).split("\n")[0].replace(/ \(.*/, "");
  return [
    firstLine(options.runabout, ["--version"]),
    firstLine(binary("deno"), ["--version"]),
    firstLine(binary("workerd"), ["--version"]),
  ];
}
