// The page's section on browser tabs: what was measured, how, and what came of it.

import { aligned, ratio, whole } from "../report.mjs";
import { SLOTS } from "./contenders.mjs";

const ROWS = [
  ["Runabout, Wasm `fib(1)`", "wasm"],
  ["Runabout, JavaScript in QuickJS", "quickjs"],
  ["Runabout, native JavaScript, `reuse = true`", "reuse"],
  ["Runabout, native JavaScript", "fresh"],
  ["WebSocket and Wasm on the main thread", "plain"],
  ["WebSocket, Comlink and Wasm", "comlink"],
  ["WebSocket, a fresh Web Worker each", "plainFresh"],
];

export function section(figures, { rounds, quick_tasks, quickjs_tasks, fresh_tasks, singles }) {
  const { wasm } = figures;
  return `## Through a browser tab

No-op tasks through one tab of Chromium with ${SLOTS} slots, for a node that has none of its own: each is
durable, runs in a sandbox of its own within a frame that reaches nothing, and its result is looked
at. Beside it, tabs that answer a plain WebSocket of a Node.js process, ${SLOTS} tasks under way: no store, no
walls, no limits. The medians of ${rounds} rounds, each with a browser and a node of its own.

${table(figures)}

- *Tasks/s*: ${whole(quick_tasks)} tasks (QuickJS ${whole(quickjs_tasks)}, a fresh Web Worker each ${whole(fresh_tasks)}) in batches of 1,000, after a fifth as
  many unmeasured; from the first submission until nothing is unfinished, which is asked every 20 ms.
  Native JavaScript has a fresh Web Worker for each task; with \`reuse = true\` it keeps them.
- *Alone*: ${whole(singles)} tasks, one every 20 ms or more. For Runabout from the submission over HTTP until the answer
  (\`?wait=10\`) is there, which takes in two syncs to disk and the way through the tab; for the others
  from the message to its answer.
- From the moment the node gave a Wasm task to the tab until it had the result, one sync to disk included:
  p50 ${wasm.dispatched_p50_ms.toFixed(2)} ms, ${wasm.dispatched_mean_ms.toFixed(2)} ms in the mean. By the task's own \`started_at\` and \`finished_at\`, which are
  whole milliseconds, so that the p50 is the median of grouped values.`;
}

function table(figures) {
  const lines = ROWS.map(([name, key]) => {
    const { per_second, p50_ms, p99_ms } = figures[key];
    const shown = (ms) => (ms === undefined ? "" : ms.toFixed(2));
    const peers = ["plain", "comlink", "plainFresh"].map((peer) => figures[peer].per_second);
    return [
      ...[name, whole(per_second), shown(p50_ms), shown(p99_ms)],
      ...peers.map((peer) => ratio(per_second, peer)),
    ];
  });
  const head = ["what", "tasks/s", "alone, p50 ms", "p99 ms", "to main", "to Comlink", "to fresh"];
  return aligned([head, ...lines]);
}
