// A process that puts load on one queue and times it: the same loops for every contender, only the
// client differs. Its one argument is a plan as JSON; it prints what it measured as JSON.

import { readFileSync, writeFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";

/** How often the end of a drain is looked for. */
const POLL_MS = 20;
/** Connections are made and code is compiled before the clock of singles and arrivals runs. */
const WARM_UP_MS = 1_000;
const BATCH_TASKS = 1_000;
/** Batches under way at once, so that the client packs one while the server stores another. */
const BATCHES_UNDER_WAY = 2;

const KINDS = { singles, batches, drain, arrivals, verify, killed, found };

const plan = JSON.parse(process.argv[2]);
const { connect } = await import(`./${plan.client}-client.mjs`);
const client = await connect(plan.address, plan.work, plan.connections);
const measured = await KINDS[plan.kind](client, plan);
// Whole before the process ends: a pipe may take it in pieces.
process.stdout.write(JSON.stringify(measured), () => process.exit(0));

/** Adders, each waiting for its acknowledgement before its next task. */
async function singles(client, { seconds, adders }) {
  let total = 0;
  const addFor = async (ms) => {
    const begun = performance.now();
    let acknowledged = 0;
    const add = async (_, adder) => {
      while (performance.now() < begun + ms) {
        await client.add(adder);
        acknowledged += 1;
      }
    };
    await Promise.all(Array.from({ length: adders }, add));
    total += acknowledged;
    return { acknowledged, ms: performance.now() - begun };
  };
  await addFor(WARM_UP_MS);
  const measured = await addFor(seconds * 1_000);
  const stored = await client.unfinished();
  if (stored !== total) {
    throw new Error(`${total} tasks were acknowledged, and ${stored} are queued`);
  }
  return measured;
}

/** The same, but right after the first acknowledgement past the time the server is killed. */
async function killed(client, { seconds, adders, pid, ids_file }) {
  const until = performance.now() + seconds * 1_000;
  const ids = [];
  let isDead = false;
  const add = async (_, adder) => {
    while (!isDead) {
      const id = await client.add(adder).catch((error) => {
        // Under way when the server was killed, and never acknowledged.
        if (!isDead) throw error;
      });
      if (id === undefined) continue;
      ids.push(id);
      if (performance.now() >= until && !isDead) {
        isDead = true;
        process.kill(pid, "SIGKILL");
      }
    }
  };
  await Promise.all(Array.from({ length: adders }, add));
  writeFileSync(ids_file, ids.join("\n"));
  return { acknowledged: ids.length };
}

/** Which of the acknowledged tasks are still there. */
async function found(client, { ids_file }) {
  const ids = readFileSync(ids_file, "utf8").split("\n");
  const there = await client.all();
  return { found: ids.filter((id) => there.has(id)).length };
}

/** Batches until the time is over, or until so many tasks were handed in. */
async function batches(client, { seconds = Infinity, tasks = Infinity }) {
  const begun = performance.now();
  const until = begun + seconds * 1_000;
  let [begunTasks, acknowledged] = [0, 0];
  const adder = async () => {
    while (begunTasks < tasks && performance.now() < until) {
      const count = Math.min(BATCH_TASKS, tasks - begunTasks);
      begunTasks += count;
      acknowledged += await client.addBatch(count);
    }
  };
  await Promise.all(Array.from({ length: BATCHES_UNDER_WAY }, adder));
  return { acknowledged, ms: performance.now() - begun };
}

/** From the first submission until the last result is there. */
async function drain(client, { tasks }) {
  const begun = performance.now();
  await batches(client, { tasks });
  const submitted_ms = performance.now() - begun;
  while ((await client.unfinished()) > 0) {
    await pause(POLL_MS);
  }
  return { submitted_ms, ms: performance.now() - begun };
}

/** Arrivals at a fixed rate, however slow the answers: each is timed from when it was due. */
async function arrivals(client, { rate, seconds }) {
  await arriveFor(client, rate, WARM_UP_MS);
  const latencies = await arriveFor(client, rate, seconds * 1_000);
  latencies.sort((a, b) => a - b);
  const at = (share) => latencies[Math.ceil(share * latencies.length) - 1];
  return { answered: latencies.length, p50_ms: at(0.5), p99_ms: at(0.99) };
}

/** The latencies of all that arrive in a time, in milliseconds. */
async function arriveFor(client, rate, ms) {
  const total = Math.round((rate * ms) / 1_000);
  const latencies = [];
  const results = [];
  const begun = performance.now();
  const arrive = async (due) => {
    await client.addAndWait();
    latencies.push(performance.now() - due);
  };
  for (let next = 0; next < total; await pause(1)) {
    for (; next < total; next++) {
      const due = begun + (next * 1_000) / rate;
      if (due > performance.now()) break;
      results.push(arrive(due));
    }
  }
  await Promise.all(results);
  return latencies;
}

/** Looks at every task's result; outside of every measured time. */
async function verify(client, { tasks }) {
  const seen = await client.results();
  if (seen.size !== tasks) {
    throw new Error(`${seen.size} tasks have a result, not ${tasks}`);
  }
  return {};
}
