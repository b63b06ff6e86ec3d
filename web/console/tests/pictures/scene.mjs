// A node with something to show on each page: functions, tasks in all states, schedules, endpoints, a
// node behind it, a node that joined, and documents with a history.

import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { guest, startNode, until } from "../../../sdk/tests/browser/support.mjs";

const repository = fileURLToPath(new URL("../../../..", import.meta.url));
const binary = process.env.RUNABOUT_BINARY ?? join(repository, "target/release/runabout");
const example = (name) => readFileSync(join(repository, "examples/functions", name));

/** What stands in the node's file. */
const FILE = `
[[endpoint]]
path = "/wiki/{name}"
document = "{name}"
compute = { function = "fib", args = [24], mode = "shared" }

[[endpoint]]
path = "/report/{year}"
function = "report"
args = ["{year}"]
`;

const ENDPOINTS = [
  { path: "/getData", function: "fib", args: ["{n=30}"], offload: "query" },
  { path: "/getBiggerData", function: "fib", args: ["{n}"], offload: "auto", methods: ["GET"] },
  { path: "/ruled/getBiggerData", function: "fib", args: ["{n}"], offload: "n > 32", methods: ["GET"] },
  { path: "/hello/{name}", function: "hello", args: [{ name: "Ada" }] },
];

export const json = (method, body, headers = {}) => ({
  method,
  headers: { "Content-Type": "application/json", ...headers },
  body: JSON.stringify(body),
});

/** The nodes, filled; `close` ends them. */
export async function setScene() {
  const folder = mkdtempSync(join(tmpdir(), "runabout-pictures-"));
  writeFileSync(join(folder, "runabout.toml"), FILE);
  const far = await startNode({ args: ["--name", "far", "--slots", "1"] });
  const config = join(folder, "runabout.toml");
  const node = await startNode({ args: ["--name", "harbour", "--slots", "4", "--upstream", far.url, "--config", config] });
  await deploy(node);
  await callAround(node);
  for (const endpoint of ENDPOINTS) await node.json("/v1/endpoints", json("PUT", endpoint));
  await writeDocuments(node);
  await handIn(node);
  const joined = await joinIn(node);
  return {
    node,
    close: async () => {
      joined.kill();
      await node.close();
      await far.close();
      rmSync(folder, { recursive: true });
    },
  };
}

async function deploy(node) {
  await node.deploy("fib", await guest("fib"), "application/wasm");
  await node.deploy("add", example("add.js"));
  await node.deploy("stages", example("stages.js"));
  await node.deploy("words", "export default (text) => text.split(/\\s+/).filter(Boolean).length;\n");
  await node.deploy("hello", example("hello.ts"), "text/typescript");
  await node.deploy("hello", `${example("hello.ts")}\n// once more\n`, "text/typescript");
}

/** So that placement has learned something. */
async function callAround(node) {
  const call = (name, argument, offload = "auto") =>
    fetch(`${node.url}/v1/functions/${name}/call?offload=${offload}`, json("POST", [argument]));
  for (let round = 0; round < 10; round++) {
    for (const n of [20, 26, 30, 32]) await call("fib", n);
    for (const n of [30, 32]) await call("fib", n, "1");
  }
  for (let round = 0; round < 4; round++) {
    for (const times of [20, 2_000]) await call("words", "a short text ".repeat(times));
  }
}

export async function submit(node, request) {
  return await node.json("/v1/tasks", json("POST", request));
}

/** One of each outcome, some that wait, and schedules. */
async function handIn(node) {
  const labels = { team: "data" };
  await submit(node, { name: "report", function: "stages", args: [3], labels });
  await submit(node, { name: "checksum", source: "throw new RangeError('no such block: 17')", labels });
  await submit(node, { name: "endless", source: "while (true) {}", limits: { timeout_ms: 300 } });
  await submit(node, { name: "hoarder", source: "const all = []; while (true) all.push(new Uint8Array(1 << 20))", limits: { memory_bytes: 32 << 20 } });
  const { id } = await submit(node, { name: "obsolete", source: "while (true) {}" });
  await fetch(`${node.url}/v1/tasks/${id}/cancel`, { method: "POST" });
  for (let n = 20; n < 30; n++) await submit(node, { function: "fib", args: [n] });
  const tomorrow = new Date(Date.now() + 9 * 3_600_000).toISOString();
  await submit(node, { name: "reminder", function: "hello", args: [{ name: "Ada" }], run_at: tomorrow });
  const task = { function: "stages", args: [5] };
  await node.json("/v1/schedules/nightly", json("PUT", { cron: "30 3 * * MON-FRI", time_zone: "Europe/Berlin", task }));
  await node.json("/v1/schedules/warm", json("PUT", { cron: "*/5 * * * *", paused: true, task: { function: "fib", args: [30] } }));
}

/** Another machine, as far as the node can tell. */
async function joinIn(node) {
  const child = spawn(binary, ["join", node.url, "--slots", "2", "--name", "quay"], { stdio: "ignore" });
  await until(async () => (await node.json("/v1/workers")).items.length > 1);
  return child;
}

/** Work that goes on while pictures are taken. */
export function keepBusy(node) {
  let isOver = false;
  const going = (async () => {
    while (!isOver) {
      const calls = Array.from({ length: 1 + Math.round(4 * Math.random()) }, () =>
        fetch(`${node.url}/v1/functions/fib/call`, json("POST", [20])),
      );
      await Promise.all([...calls, submit(node, { function: "fib", args: [22] })]);
      await new Promise((resolve) => setTimeout(resolve, 60 + 200 * Math.random()));
    }
  })();
  return async () => {
    isOver = true;
    await going;
  };
}

export const ARTICLE = "Harbour_bridge";
const PAGE = `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>The harbour bridge</title>
<style>body { font: 16px/1.5 Georgia, serif; max-width: 34em; margin: 2em auto; padding: 0 1em; }</style>
</head>
<body>
<h1>The harbour bridge</h1>
<p>The old swing bridge between the two quays opened again this morning.</p>
<h2>What was done</h2>
<p>The bearing on which it turns was replaced, and the deck has new planks.</p>
<p>Work took eleven weeks.</p>
<h2>Opening hours</h2>
<p>Pedestrians may cross from six to midnight.</p>
</body>
</html>
`;

/** A text that two people can disagree about: the sentence both change. */
export const WORK = { before: "Work took eleven weeks.", theirs: "Work took twelve weeks, one more than planned.", mine: "Work took eleven weeks and two days." };

async function writeDocuments(node) {
  const at = (name, rest = "") => `${node.url}/v1/documents/${name}${rest}`;
  const put = (name, type, text) =>
    fetch(at(name), { method: "PUT", body: text, headers: { "Content-Type": type, "If-None-Match": "*", "Runabout-Author": "Ines Duarte" } });
  const edit = (base, text, author, summary) =>
    fetch(at(ARTICLE, `?base=${base}`), { method: "POST", body: text, headers: { "Runabout-Author": author, "Runabout-Summary": summary } });
  await put(ARTICLE, "text/html", PAGE);
  const first = PAGE.replace("this morning", "on Tuesday morning");
  await edit(1, first, "Tom Brandt", "Say which day");
  await edit(1, PAGE.replace("new planks", "new planks of larch"), "Ines Duarte", "What the planks are of");
  await edit(3, first.replace("new planks", "new planks of larch").replace("to midnight", "to eleven"), "Priya Nair", "Closing time, as the harbour office says");
  await fetch(at(ARTICLE, "/revisions/3/revert"), { method: "POST", headers: { "Runabout-Author": "Tom Brandt", "Runabout-Summary": "The office takes it back" } });
  await put("House_rules", "text/plain", "Be kind.\nName your source.\n");
  await put("Opening_hours", "application/json", '{"bridge": ["06:00", "24:00"]}\n');
}

/** Somebody else's edit of the sentence that is being changed. */
export async function disagree(node) {
  const answer = await fetch(`${node.url}/v1/documents/${ARTICLE}`);
  const base = answer.headers.get("Runabout-Revision");
  const text = (await answer.text()).replace(WORK.before, WORK.theirs);
  const headers = { "Runabout-Author": "Priya Nair", "Runabout-Summary": "How long it took" };
  await fetch(`${node.url}/v1/documents/${ARTICLE}?base=${base}`, { method: "POST", headers, body: text });
}

/** Back to what it was, so that the next picture finds the same. */
export async function agree(node) {
  await fetch(`${node.url}/v1/documents/${ARTICLE}/revisions/5/revert`, { method: "POST", headers: { "Runabout-Author": "Tom Brandt" } });
}
