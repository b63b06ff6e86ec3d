// The page's section on the article: what was measured, how, and what came of it.

import { aligned, ratio, whole } from "../report.mjs";

const ROWS = [
  ["Runabout, shared", "shared"],
  ["Runabout, shared, 20,000 a second asked", "sharedOpen"],
  ["Runabout, each", "each"],
  ["Runabout, cached", "cached"],
  ["Runabout, the text alone", "plain"],
  ["Node.js cluster and Express, each", "express"],
  ["nginx, the file alone", "nginx"],
];

export function section(figures, { cores, seconds, edits }) {
  const { fib_ms, each, express, cached, nginx, one, many, shared } = figures;
  const limit = (cores * 1_000) / fib_ms;
  const far = (12 * 1_000) / fib_ms;
  return `## The article

An article of 10 KB that everybody reads while ten people a second download it, change a paragraph and
post it back; each request is to compute fib(34). Readers and editors are one program on the same
machine, and it checks all that was acknowledged and all that was seen. ${seconds} s each.

${table(figures)}

- *Shared*: a request is answered by a computation that began after it came, shared with all who wait
  for it; so its answer is never older than its question. One computation is under way at a time, and
  takes ${fib_ms.toFixed(1)} ms when it has a core to itself.
- *Each*: a computation for each request. ${cores} cores cannot do more than ${cores} × 1,000 / ${fib_ms.toFixed(1)} = ${whole(limit)} a
  second; this is ${ratio(each.requests_per_second, limit)} of it, and ${ratio(each.requests_per_second, express.requests_per_second)} of what Express does. 12 cores could not do more than
  ${whole(far)}: nobody computes fib(34) 20,000 times a second on 12 cores.
- *Cached*: a computation for each revision; ${ratio(cached.requests_per_second, nginx.requests_per_second)} of nginx, which only sends the file.
- On 12 cores *shared* still keeps one core computing and has eleven to answer with; here it has
  ${whole(cores - 1)} to share with its own readers, and sent ${whole(shared.requests_per_second)} answers a second.

During the first five rows there were ${edits} edits a second; nginx and Express serve what never changes.
Durable edits as fast as they are acknowledged, by 48 editors: ${whole(one.per_second)} a second of one document
(p50 ${one.p50_ms.toFixed(1)} ms, ${one.syncs_per_edit.toFixed(2)} syncs an edit), ${whole(many.per_second)} a second of 32 documents (p50 ${many.p50_ms.toFixed(1)} ms, ${many.syncs_per_edit.toFixed(2)} syncs an
edit). An edit alone takes three syncs, one after the other; those that wait together share them.`;
}

function table(figures) {
  const lines = ROWS.map(([name, key]) => {
    const it = figures[key];
    const failed = it.failed + it.wrong + Object.values(it.refused).reduce((a, b) => a + b, 0);
    return [
      name,
      whole(it.requests_per_second),
      ...[it.p50_ms, it.p99_ms, it.p999_ms].map((ms) => ms.toFixed(1)),
      whole(failed),
      whole(it.edits),
      it.cores_used.toFixed(2),
    ];
  });
  const head = ["who", "requests/s", "p50 ms", "p99 ms", "p99.9 ms", "wrong", "edits", "cores"];
  return aligned([head, ...lines]);
}
