// The task queue: Runabout's beside BullMQ's on Redis.

import { mkdtemp, readFile, readdir, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { median, whole } from "../report.mjs";
import { stopAll } from "../servers.mjs";
import { load } from "../wrk.mjs";
import { bullmq, runabout } from "./contenders.mjs";
import { generate } from "./generate.mjs";
import { section } from "./section.mjs";

/**
 * Measures, and gives the section of the page.
 *
 * @param {{runabout: string, quick: boolean}} settings
 */
export async function queue(settings) {
  const sizes = settings.quick ? QUICK : FULL;
  const javascript = runabout(settings.runabout, "javascript");
  const contenders = {
    javascript,
    wrk: { ...javascript, name: `${javascript.name}, by wrk` },
    wasm: runabout(settings.runabout, "wasm"),
    always: bullmq("always"),
    everysec: bullmq("everysec"),
  };
  for (const fsync of ["always", "everysec"]) {
    const shared = { ...contenders[fsync], name: `${contenders[fsync].name}, one connection` };
    contenders[`${fsync}_shared`] = shared;
  }
  try {
    const figures = {
      ...(await inTurn(contenders, MEASURES, sizes)),
      kill: await killAfterAcknowledgements(javascript, sizes),
      many: await manyQueued(javascript, sizes),
    };
    figures.rate = commonRate(figures);
    Object.assign(figures, await inTurn(contenders, { latency: latency(figures.rate) }, sizes));
    return section(figures, sizes);
  } finally {
    await stopAll();
  }
}

/** How much and how long. */
const FULL = { rounds: 3, adders: 64, seconds: 3, drain_tasks: 50_000, many_tasks: 1_000_000 };
const QUICK = { rounds: 1, adders: 64, seconds: 1, drain_tasks: 10_000, many_tasks: 50_000 };

/** What is measured, and by whom: for each the function that measures it. */
const MEASURES = {
  singles: {
    javascript: singles,
    wrk: singlesByWrk,
    always: singles,
    everysec: singles,
    always_shared: singlesShared,
    everysec_shared: singlesShared,
  },
  batches: { javascript: batches, always: batches, everysec: batches },
  drain: { javascript: drain, wasm: drain, always: drain, everysec: drain },
};

/**
 * Every measure, in rounds, of one contender after the other, so that what else the machine does
 * falls on everybody alike; the medians of the rounds, by measure and contender.
 */
async function inTurn(contenders, measures, sizes) {
  const medians = {};
  for (const [name, measurers] of Object.entries(measures)) {
    const rounds = Object.fromEntries(Object.keys(measurers).map((key) => [key, []]));
    for (let round = 1; round <= sizes.rounds; round++) {
      for (const [key, measure] of Object.entries(measurers)) {
        const measured = await measure(contenders[key], sizes);
        rounds[key].push(measured);
        const shown = Object.entries(measured).map(([what, it]) => `${what} ${it.toPrecision(4)}`);
        const about = `queue, ${name}, round ${round} of ${sizes.rounds}`;
        console.log(`${about}: ${contenders[key].name}: ${shown.join(", ")}`);
      }
    }
    const middle = ([key, figures]) => [key, medianOfEach(figures)];
    medians[name] = Object.fromEntries(Object.entries(rounds).map(middle));
  }
  return medians;
}

function medianOfEach(rounds) {
  const names = Object.keys(rounds[0]);
  return Object.fromEntries(names.map((name) => [name, median(rounds.map((it) => it[name]))]));
}

/** Each adder has a connection of its own, as if it were a process of its own. */
async function singles(contender, { seconds, adders }, connections = adders) {
  return await within(contender, { processing: false }, async (open) => {
    const plan = { kind: "singles", seconds, adders, connections };
    const { acknowledged, ms } = await generate(open, plan);
    return { per_second: (acknowledged / ms) * 1_000 };
  });
}

/** All adders have one connection together, on which their jobs go out in one piece. */
async function singlesShared(contender, sizes) {
  return await singles(contender, sizes, 1);
}

/** The same load from wrk, which takes less of the machine than a client in Node.js does. */
async function singlesByWrk(contender, { seconds, adders }) {
  return await within(contender, { processing: false }, async ({ reach }) => {
    const { args, function: name } = reach.work;
    const body = JSON.stringify({ function: name, args });
    const request = { url: `${reach.address}/v1/tasks`, method: "POST", body };
    const measured = await load(request, { seconds, connections: adders });
    return { per_second: measured.requests_per_second };
  });
}

async function batches(contender, { seconds }) {
  return await within(contender, { processing: false }, async (open) => {
    const { acknowledged, ms } = await generate(open, { kind: "batches", seconds });
    return { per_second: (acknowledged / ms) * 1_000 };
  });
}

async function drain(contender, { drain_tasks: tasks }) {
  return await within(contender, { processing: true }, async (open) => {
    const { ms } = await generate(open, { kind: "drain", tasks });
    await generate(open, { kind: "verify", tasks });
    return { per_second: (tasks / ms) * 1_000 };
  });
}

/** Half of what the slowest of all can take and work off: nobody is overrun. */
function commonRate({ singles, drain }) {
  const slowest = [singles, drain].flatMap((figures) =>
    Object.values(figures).map((figure) => figure.per_second),
  );
  return Math.round(Math.min(...slowest) / 2);
}

function latency(rate) {
  const measure = (contender, { seconds }) =>
    within(contender, { processing: true }, async (open) => {
      const { p50_ms, p99_ms } = await generate(open, { kind: "arrivals", rate, seconds });
      return { p50_ms, p99_ms };
    });
  return { javascript: measure, wasm: measure, always: measure, everysec: measure };
}

/** SIGKILL right after an acknowledgement, with more under way; then every acknowledged task is looked for. */
async function killAfterAcknowledgements(contender, { seconds, adders }) {
  const folder = await mkdtemp(join(tmpdir(), "runabout-bench-ids-"));
  const ids_file = join(folder, "ids");
  try {
    return await within(contender, { processing: false }, async (open) => {
      const plan = { kind: "killed", seconds, adders, pid: open.pid, ids_file };
      const { acknowledged } = await generate(open, plan);
      await open.killAndRestart();
      const { found } = await generate(open, { kind: "found", ids_file });
      console.log(`queue, kill: ${whole(acknowledged)} acknowledged, ${whole(found)} there after`);
      if (found !== acknowledged) {
        throw new Error(`${acknowledged - found} acknowledged tasks are lost`);
      }
      return { acknowledged, found };
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** What a long queue costs: memory, room on the disk, and time to start after a SIGKILL. */
async function manyQueued(contender, { many_tasks: tasks }) {
  return await within(contender, { processing: false }, async (open) => {
    const before = await residentBytes(open.pid);
    const { ms } = await generate(open, { kind: "batches", tasks });
    const after = await residentBytes(open.pid);
    const disk_bytes = await folderBytes(open.folder);
    const start_ms = await open.killAndRestart();
    const { queued } = await (await fetch(`${open.reach.address}/v1/node`)).json();
    if (queued !== tasks) throw new Error(`${queued} tasks are queued, not ${tasks}`);
    const begun = performance.now();
    const page = await (await fetch(`${open.reach.address}/v1/tasks`)).json();
    const first_page_ms = performance.now() - begun;
    if (page.items.length !== 50) throw new Error(`the first page has ${page.items.length} tasks`);
    const many = {
      tasks,
      submit_per_second: (tasks / ms) * 1_000,
      task_bytes: (after - before) / tasks,
      restarted_task_bytes: ((await residentBytes(open.pid)) - before) / tasks,
      disk_bytes,
      start_ms,
      first_page_ms,
    };
    console.log("queue, many:", many);
    return many;
  });
}

async function residentBytes(pid) {
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)[1]) * 1024;
}

async function folderBytes(folder) {
  const names = await readdir(folder, { recursive: true });
  const sizes = names.map(async (name) => (await stat(join(folder, name))).size);
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
}

async function within(contender, use, work) {
  const open = await contender.open(use);
  try {
    return await work(open);
  } finally {
    await open.close();
  }
}
