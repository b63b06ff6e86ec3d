// The page's section on the queue: what was measured, how, and what came of it.

import { aligned, ratio, whole } from "../report.mjs";
import { SLOTS } from "./contenders.mjs";

/** Measures as rows; each names where the figures are, and what of BullMQ's stands beside them. */
const ROWS = [
  ["one at a time, tasks/s", "singles", "javascript", "per_second"],
  ["one at a time by wrk, tasks/s", "singles", "wrk", "per_second"],
  ["the same, BullMQ's on one connection", "singles", "wrk", "per_second", "_shared"],
  ["batches of 1,000, tasks/s", "batches", "javascript", "per_second"],
  ["no-op, JavaScript, tasks/s", "drain", "javascript", "per_second"],
  ["no-op, Wasm, tasks/s", "drain", "wasm", "per_second"],
  ["latency, JavaScript, p50 ms", "latency", "javascript", "p50_ms"],
  ["latency, JavaScript, p99 ms", "latency", "javascript", "p99_ms"],
  ["latency, Wasm, p50 ms", "latency", "wasm", "p50_ms"],
  ["latency, Wasm, p99 ms", "latency", "wasm", "p99_ms"],
];

export function section(figures, sizes) {
  const { kill, many, rate } = figures;
  return `## The task queue

Durable tasks: Runabout beside BullMQ on Redis. Runabout answers a submission once it is synced to
disk. Redis with \`appendfsync always\` does the same; with \`everysec\` a power cut may lose a second
of what was acknowledged. The medians of ${sizes.rounds} rounds, each with nothing stored before it.

${table(figures)}

How each is timed, the same loop for everybody in a Node.js process of its own, which speaks to
Redis through BullMQ's own client and to Runabout through undici:

- *One at a time*: ${sizes.adders} adders, each with a connection of its own, and each waiting for its
  acknowledgement before its next task, for ${sizes.seconds} s after one second of warming up; nobody works tasks off
  meanwhile. Only acknowledged tasks count, and as many must be queued afterwards.
  Either client is busy with it for most of a core, so this row measures them as much as the servers; the
  next row has \`wrk -t1 -c${sizes.adders}\` send the same requests to Runabout, beside BullMQ's figures, which stay those
  of its client in Node.js. Adders that are all in one
  process can share one connection of BullMQ's, on which their jobs go out together: the third row has that.
- *Batches of 1,000*: \`POST /v1/tasks/batch\` beside \`addBulk\`, two under way at once, for ${sizes.seconds} s.
- *No-op*: ${whole(sizes.drain_tasks)} tasks handed in by such batches to a node with ${SLOTS} slots, or to one BullMQ worker, a
  Node.js process, with concurrency ${SLOTS}. The clock runs from the first submission until nothing is
  unfinished, which is asked every 20 ms. Then, off the clock, every single result is looked at.
  Runabout runs \`export default () => 0\` or Wasm \`fib(1)\`, each task in a sandbox in which no other has left a trace, under its
  limits; BullMQ's processor is \`async () => 0\` within the worker's process: no walls, no limits.
- *Latency*: ${whole(rate)} tasks arrive each second, half of what the slowest row above sustains, for
  a second unmeasured and then timed: from the moment a task was due until its result is back at who
  submitted it (\`?wait=10\`; BullMQ: \`waitUntilFinished\`). Less is better.

**A long queue.** ${whole(many.tasks)} tasks queued: ${whole(many.task_bytes)} bytes of memory a task (${whole(many.restarted_task_bytes)} after a restart), ${whole(many.disk_bytes / many.tasks)} bytes a
task on the disk (${whole(many.disk_bytes / 2 ** 20)} MiB). After a SIGKILL the node was ready in ${whole(many.start_ms)} ms, and the first page
of \`GET /v1/tasks\` took ${many.first_page_ms.toFixed(1)} ms.

**A kill.** SIGKILL right after an acknowledgement, ${sizes.adders - 1} more requests under way: ${whole(kill.acknowledged)} tasks were
acknowledged, ${whole(kill.found)} of them are there after the restart.`;
}

function table(figures) {
  const lines = ROWS.map(([name, measure, ours, figure, kind = ""]) => {
    const own = figures[measure][ours][figure];
    const [always, everysec] = ["always", "everysec"].map((key) => figures[measure][key + kind]);
    const shown = figure.endsWith("_ms") ? (number) => number.toFixed(2) : whole;
    return [
      name,
      shown(own),
      shown(always[figure]),
      shown(everysec[figure]),
      ratio(own, always[figure]),
      ratio(own, everysec[figure]),
    ];
  });
  const head = ["what", "Runabout", "BullMQ always", "BullMQ everysec", "to always", "to everysec"];
  return aligned([head, ...lines]);
}
