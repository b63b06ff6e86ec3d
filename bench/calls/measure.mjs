// Calls over HTTP: Runabout's beside a hello world of Deno's and of workerd's.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { aligned, median, ratio, whole } from "../report.mjs";
import { stopAll } from "../servers.mjs";
import { load } from "../wrk.mjs";
import { peers, prove, runabout } from "./contenders.mjs";

const CONNECTIONS = 32;
const WARM_UP_SECONDS = 1;

/**
 * Measures, and gives the section of the page.
 *
 * @param {{runabout: string, rounds: number, seconds: number}} settings
 */
export async function calls(settings) {
  const dataFolder = await mkdtemp(join(tmpdir(), "runabout-bench-"));
  try {
    const rivals = await peers();
    const contenders = [...(await runabout(settings.runabout, dataFolder)), ...rivals];
    const measured = await measure(contenders, settings);
    const peerKeys = rivals.map(({ key }) => key);
    return section(table(summarise(contenders, measured), peerKeys), settings);
  } finally {
    await stopAll();
    await rm(dataFolder, { recursive: true, force: true });
  }
}

/** In turn, round after round, so that what else the machine does falls on everybody alike. */
async function measure(contenders, { rounds, seconds }) {
  for (const contender of contenders) {
    await prove(contender);
    await load(contender.request, { seconds: WARM_UP_SECONDS, connections: CONNECTIONS });
  }
  const measured = contenders.map(() => []);
  for (let round = 1; round <= rounds; round++) {
    for (const [index, contender] of contenders.entries()) {
      const figures = await load(contender.request, { seconds, connections: CONNECTIONS });
      measured[index].push(figures);
      const rate = whole(figures.requests_per_second);
      console.log(`calls, round ${round} of ${rounds}: ${contender.name}: ${rate} req/s`);
    }
  }
  return measured;
}

function summarise(contenders, rounds) {
  return contenders.map(({ name, key }, index) => ({
    name,
    key,
    requests_per_second: median(rounds[index].map((round) => round.requests_per_second)),
    p50_ms: median(rounds[index].map((round) => round.p50_ms)),
    p99_ms: median(rounds[index].map((round) => round.p99_ms)),
  }));
}

/** The table, each row with its ratio to every peer. */
function table(rows, peerKeys) {
  const peers = rows.filter(({ key }) => peerKeys.includes(key));
  const lines = rows.map((row) => [
    row.name,
    whole(row.requests_per_second),
    row.p50_ms.toFixed(2),
    row.p99_ms.toFixed(2),
    ...peers.map((peer) => ratio(row.requests_per_second, peer.requests_per_second)),
  ]);
  const head = ["what", "req/s", "p50 ms", "p99 ms", ...peers.map((peer) => `to ${peer.key}`)];
  return aligned([head, ...lines]);
}

function section(tableText, { rounds, seconds }) {
  return `## Calls over HTTP

Requests per second and latencies: \`wrk -t1 -c${CONNECTIONS}\`, ${rounds} rounds of ${seconds} s for each in turn, the median of the
rounds. Every call to Runabout runs in a sandbox in which no other has left a trace; Deno and workerd
answer every request from one isolate that stays.

${tableText}`;
}
