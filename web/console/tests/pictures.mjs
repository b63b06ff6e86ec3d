// Takes the pictures in docs/images: every page of a real node with something to show, light and dark.
//
//   node tests/pictures.mjs [FOLDER]        after `make serve` or a build of the binary

import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { guest, launchBrowser, startNode } from "../../sdk/tests/browser/support.mjs";

const repository = fileURLToPath(new URL("../../..", import.meta.url));
const folder = process.argv[2] ?? join(repository, "docs/images");
const VIEWPORT = { width: 1200, height: 720 };
/** How long the charts fill before they are looked at. */
const FILLING_MS = 20_000;

const example = (name) => readFileSync(join(repository, "examples/functions", name));

async function deploy(node) {
  await node.deploy("fib", await guest("fib"), "application/wasm");
  await node.deploy("add", example("add.js"));
  await node.deploy("stages", example("stages.js"));
  await node.deploy("hello", example("hello.ts"), "text/typescript");
  await node.deploy("hello", `${example("hello.ts")}\n// once more\n`, "text/typescript");
}

const json = (method, body) => ({
  method,
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify(body),
});

async function submit(node, request) {
  return await node.json("/v1/tasks", json("POST", request));
}

/** One of each outcome, and something that runs. */
async function fill(node) {
  await submit(node, { name: "report", function: "stages", args: [3], labels: { team: "data" } });
  await submit(node, { name: "checksum", source: "throw new RangeError('no such block: 17')", labels: { team: "data" } });
  await submit(node, { name: "endless", source: "while (true) {}", limits: { timeout_ms: 300 } });
  await submit(node, { name: "hoarder", source: "const all = []; while (true) all.push(new Uint8Array(1 << 20))", limits: { memory_bytes: 32 << 20 } });
  const { id } = await submit(node, { name: "obsolete", source: "while (true) {}" });
  await fetch(`${node.url}/v1/tasks/${id}/cancel`, { method: "POST" });
  for (let n = 20; n < 30; n++) await submit(node, { function: "fib", args: [n] });
  const task = { function: "stages", args: [5] };
  await node.json("/v1/schedules/nightly", json("PUT", { cron: "30 3 * * MON-FRI", time_zone: "Europe/Berlin", task }));
  await node.json("/v1/schedules/warm", json("PUT", { cron: "*/5 * * * *", paused: true, task: { function: "fib", args: [30] } }));
}

/** Work that goes on while pictures are taken. */
function keepBusy(node) {
  let isOver = false;
  const going = (async () => {
    while (!isOver) {
      const calls = Array.from({ length: 1 + Math.round(4 * Math.random()) }, () =>
        fetch(`${node.url}/v1/functions/fib/call`, json("POST", [18])),
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

async function look(browser, node, scheme, pages) {
  const context = await browser.newContext({ viewport: VIEWPORT, colorScheme: scheme });
  const page = await context.newPage();
  for (const [name, hash, act] of pages) {
    await page.goto(`${node.url}/${hash}`);
    await act?.(page);
    const png = await page.screenshot();
    writeFileSync(join(folder, `console-${name}-${scheme}.webp`), await asWebp(page, png));
  }
  await context.close();
}

/** Chromium writes WebP, which is a third of the size. */
async function asWebp(page, png) {
  const blank = await page.context().newPage();
  const text = await blank.evaluate(async (source) => {
    const image = new Image();
    image.src = `data:image/png;base64,${source}`;
    await image.decode();
    const canvas = document.createElement("canvas");
    canvas.width = image.width;
    canvas.height = image.height;
    canvas.getContext("2d").drawImage(image, 0, 0);
    return canvas.toDataURL("image/webp", 0.9).split(",")[1];
  }, png.toString("base64"));
  await blank.close();
  return Buffer.from(text, "base64");
}

const settled = (ms) => (page) => page.waitForTimeout(ms);

const filled = (longId) => [
  ["overview", "#/", settled(FILLING_MS)],
  [
    "run",
    "#/run",
    async (page) => {
      await page.getByRole("textbox", { name: "Code" }).waitFor();
      await page.getByLabel("Begin with").selectOption("Progress, as it goes");
      await page.keyboard.press("Control+Enter");
      await page.waitForTimeout(2_600);
    },
  ],
  ["tasks", "#/tasks", settled(1_500)],
  ["task", `#/tasks/${longId}`, settled(1_500)],
  ["workers", "#/workers", settled(2_500)],
  [
    "functions",
    "#/functions/hello",
    async (page) => {
      await page.getByRole("textbox", { name: "Arguments" }).fill('{"name": "Ada"}');
      await page.getByRole("button", { name: "Call" }).click();
      await page.getByText("returned").waitFor();
    },
  ],
  ["schedules", "#/schedules", settled(1_000)],
];

const empty = [
  ["empty-overview", "#/", settled(2_500)],
  ["empty-tasks", "#/tasks", settled(1_000)],
  ["empty-functions", "#/functions", settled(1_000)],
];

mkdirSync(folder, { recursive: true });
const browser = await launchBrowser();
const bare = await startNode({ args: ["--slots", "2"] });
for (const scheme of ["light", "dark"]) await look(browser, bare, scheme, empty);
await bare.close();

const node = await startNode({ args: ["--slots", "4"] });
await deploy(node);
await fill(node);
const rest = keepBusy(node);
for (const scheme of ["light", "dark"]) {
  const { id } = await submit(node, { name: "nightly", function: "stages", args: [120], labels: { team: "data" } });
  await look(browser, node, scheme, filled(id));
}
await rest();
await node.close();
await browser.close();
