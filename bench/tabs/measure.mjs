// Tasks through one browser tab: what a tab that works for a node does, beside tabs that do the same
// for a plain WebSocket.

import { setTimeout as pause } from "node:timers/promises";

import { median, medianOfWhole } from "../report.mjs";
import { stopAll } from "../servers.mjs";
import { peer, runabout } from "./contenders.mjs";
import { section } from "./section.mjs";

/** How much: tasks of one drain by how fast they are, and tasks alone. */
const FULL = { rounds: 3, quick_tasks: 10_000, quickjs_tasks: 4_000, fresh_tasks: 600, singles: 300 };
const QUICK = { rounds: 1, quick_tasks: 3_000, quickjs_tasks: 1_000, fresh_tasks: 150, singles: 100 };
/** Between two tasks that are alone. */
const ALONE_MS = 20;

/**
 * Measures, and gives the section of the page.
 *
 * @param {{runabout: string, quick: boolean}} settings
 */
export async function tabs(settings) {
  const sizes = settings.quick ? QUICK : FULL;
  const { quick_tasks, quickjs_tasks, fresh_tasks } = sizes;
  const contenders = {
    wasm: { ...runabout(settings.runabout, "wasm"), tasks: quick_tasks, singles: sizes.singles },
    quickjs: { ...runabout(settings.runabout, "quickjs"), tasks: quickjs_tasks },
    reuse: { ...runabout(settings.runabout, "reuse"), tasks: quick_tasks },
    fresh: { ...runabout(settings.runabout, "fresh"), tasks: fresh_tasks },
    plain: { ...peer("plain"), tasks: quick_tasks, singles: sizes.singles },
    comlink: { ...peer("comlink"), tasks: quick_tasks, singles: sizes.singles },
    plainFresh: { ...peer("fresh"), tasks: fresh_tasks },
  };
  try {
    return section(await inTurn(contenders, sizes), sizes);
  } finally {
    await stopAll();
  }
}

/** In rounds of one contender after the other; the medians of the rounds. */
async function inTurn(contenders, { rounds }) {
  const measured = Object.fromEntries(Object.keys(contenders).map((key) => [key, []]));
  for (let round = 1; round <= rounds; round++) {
    for (const [key, contender] of Object.entries(contenders)) {
      const figures = await measure(contender);
      measured[key].push(figures);
      const shown = Object.entries(figures).map(([what, it]) => `${what} ${it.toPrecision(4)}`);
      console.log(`tabs, round ${round} of ${rounds}: ${contender.name}: ${shown.join(", ")}`);
    }
  }
  const middle = ([key, figures]) => [key, medianOfEach(figures)];
  return Object.fromEntries(Object.entries(measured).map(middle));
}

function medianOfEach(rounds) {
  const names = Object.keys(rounds[0]);
  return Object.fromEntries(names.map((name) => [name, median(rounds.map((it) => it[name]))]));
}

async function measure({ open, tasks, singles }) {
  const tab = await open();
  try {
    // Once unmeasured: code is fetched and compiled, Web Workers come up.
    const warm_up = Math.ceil(tasks / 5);
    await tab.drain(warm_up);
    const ms = await tab.drain(tasks);
    await tab.verify(warm_up + tasks);
    const rate = { per_second: (tasks / ms) * 1_000 };
    return singles === undefined ? rate : { ...rate, ...(await alone(tab, singles)) };
  } finally {
    await tab.close();
  }
}

/** Tasks one by one, each into a tab at rest. */
async function alone(tab, singles) {
  const [answered, dispatched] = [[], []];
  for (let count = 0; count < singles; count++) {
    await pause(ALONE_MS);
    const { answered_ms, dispatched_ms } = await tab.single();
    answered.push(answered_ms);
    if (dispatched_ms !== undefined) dispatched.push(dispatched_ms);
  }
  answered.sort((a, b) => a - b);
  const at = (share) => answered[Math.ceil(share * answered.length) - 1];
  const figures = { p50_ms: at(0.5), p99_ms: at(0.99) };
  if (dispatched.length === 0) return figures;
  // Whole milliseconds, both cut off alike: their mean is right as it is.
  const dispatched_mean_ms = dispatched.reduce((sum, ms) => sum + ms, 0) / dispatched.length;
  return { ...figures, dispatched_p50_ms: medianOfWhole(dispatched), dispatched_mean_ms };
}
