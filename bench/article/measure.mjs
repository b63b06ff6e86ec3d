// The hot article: everybody serves the same text to the same readers while some edit it.

import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";

import { NAME, express, nginx, others, runabout } from "./contenders.mjs";
import { section } from "./section.mjs";

const run = promisify(execFile);
const CORES = cpus().length;
/** Editors' rate in all measurements of Runabout, edits a second. */
const EDITS = 10;

/** @returns {Promise<string>} the page's section */
export async function article({ runabout: binary, quick }) {
  const driver = join(dirname(binary), "runabout-article");
  const seconds = quick ? 3 : 60;
  const folder = mkdtempSync(join(tmpdir(), "runabout-bench-"));
  const figures = {};
  try {
    const node = await runabout(binary, folder);
    figures.fib_ms = await timeOfFib(node);
    const read = (server, where, options) =>
      load(driver, server, { path: `${where}/${NAME}`, seconds, ...options });
    const edited = { editors: 10, edits: EDITS };
    figures.shared = await read(node, "/wiki", { readers: 1_408, ...edited });
    figures.sharedOpen = await read(node, "/wiki", { readers: 1_408, rate: 20_000, ...edited });
    figures.each = await read(node, "/each", { readers: 4 * CORES, ...edited });
    figures.cached = await read(node, "/cached", { readers: 64, ...edited });
    figures.plain = await read(node, "/plain", { readers: 64, ...edited });
    figures.one = await edits(driver, node, [NAME], seconds);
    figures.many = await edits(driver, node, others(), seconds);
    await node.stop();
    const unedited = { editors: 0, unchecked: true };
    const cluster = await express();
    figures.express = await read(cluster, "/wiki", { readers: 4 * CORES, ...unedited });
    await cluster.stop();
    const files = await nginx(folder);
    figures.nginx = await read(files, "/wiki", { readers: 64, ...unedited });
    await files.stop();
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return section(figures, { cores: CORES, seconds, edits: EDITS });
}

/** One fib(34) on an idle node, the median of some, in milliseconds as the node tells them. */
async function timeOfFib(node) {
  const times = [];
  for (let n = 0; n < 21; n += 1) {
    const response = await fetch(`${node.url}/v1/functions/fib/call`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: "[34]",
    });
    await response.arrayBuffer();
    times.push(Number(/run;dur=([0-9.]+)/.exec(response.headers.get("server-timing"))[1]));
  }
  return times.toSorted((a, b) => a - b)[10];
}

/** Sets readers and editors on a server, and tells what came of it and what the server used. */
async function load(driver, server, options) {
  const { path, seconds, readers, rate = 0, editors, edits = 1, unchecked = false } = options;
  const args = ["--node", `127.0.0.1:${server.port}`, "--path", path, "--json"];
  args.push("--seconds", seconds, "--readers", readers, "--rate", rate);
  args.push("--editors", editors, "--edits", edits);
  if (options.document !== undefined) args.push("--document", options.document);
  if (unchecked) args.push("--unchecked");
  const before = cpuSeconds(server.pid);
  const { stdout } = await run(driver, args.map(String), { maxBuffer: 1 << 24 });
  const figures = JSON.parse(stdout);
  return { ...figures, cores_used: (cpuSeconds(server.pid) - before) / seconds };
}

/** As many edits as are acknowledged, by sixty-four editors, of one document or of many. */
async function edits(driver, server, documents, seconds) {
  const synced = async () => {
    const page = await (await fetch(`${server.url}/metrics`)).text();
    return Number(/runabout_document_syncs_total (\d+)/.exec(page)[1]);
  };
  const before = await synced();
  const each = Math.max(1, Math.floor(48 / documents.length));
  const runs = documents.map((document) =>
    load(driver, server, {
      path: `/plain/${document}`,
      document,
      seconds,
      readers: 0,
      editors: each,
      edits: 1_000_000,
    }),
  );
  const figures = await Promise.all(runs);
  const total = figures.reduce((sum, { edits: count }) => sum + count, 0);
  const latencies = figures.map((figure) => figure.edit_p50_ms).toSorted((a, b) => a - b);
  return {
    per_second: total / seconds,
    p50_ms: latencies[latencies.length >> 1],
    syncs_per_edit: ((await synced()) - before) / total,
  };
}

/** What a process and its children have used, in seconds of processor time (Linux). */
function cpuSeconds(pid) {
  const own = (id) => {
    const fields = readFileSync(`/proc/${id}/stat`, "utf8").replace(/.*\) /, "").split(" ");
    return (Number(fields[11]) + Number(fields[12])) / 100;
  };
  const parent = (id) => {
    try {
      return Number(readFileSync(`/proc/${id}/stat`, "utf8").replace(/.*\) /, "").split(" ")[1]);
    } catch {
      return 0;
    }
  };
  const children = readdirSync("/proc").filter((id) => /^\d+$/.test(id) && parent(id) === pid);
  return [pid, ...children].reduce((sum, id) => sum + own(id), 0);
}
