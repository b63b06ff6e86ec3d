// Takes the pictures in docs/images: every page of a real node with something to show, light and dark.
//
//   node tests/pictures.mjs [FOLDER [NAME...]]        after `make serve` or a build of the binary
//
// With names only those are taken. WIDTH=380 takes them as a telephone shows them.

import { mkdirSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { launchBrowser, startNode } from "../../sdk/tests/browser/support.mjs";
import { picture, take } from "./pictures/camera.mjs";
import { ARTICLE, WORK, agree, disagree, keepBusy, setScene, submit } from "./pictures/scene.mjs";

const [given, ...names] = process.argv.slice(2);
const folder = given ?? fileURLToPath(new URL("../../../docs/images", import.meta.url));
const width = Number(process.env.WIDTH ?? 1200);
const viewport = { width, height: 720 };
/** How long the charts fill before they are looked at. */
const FILLING_MS = Number(process.env.FILLING_MS ?? 20_000);

const settled = (ms) => (page) => page.waitForTimeout(ms);
const endpoint = (path) => `#/endpoints/${encodeURIComponent(path)}`;

async function run(page) {
  await page.getByRole("textbox", { name: "Code" }).waitFor();
  await page.getByLabel("Begin with").selectOption("Progress, as it goes");
  await page.keyboard.press("Control+Enter");
  await page.waitForTimeout(2_600);
}

async function call(page) {
  await page.getByRole("textbox", { name: "Arguments" }).fill('{"name": "Ada"}');
  await page.getByRole("button", { name: "Call" }).click();
  await page.getByText("returned").waitFor();
}

async function send(page) {
  await page.getByRole("textbox", { name: "n", exact: true }).fill("32");
  await page.getByLabel("Where").selectOption("upstream");
  await page.getByRole("button", { name: "Send" }).click();
  await page.getByText("Server-Timing").waitFor();
}

async function change(page) {
  const editor = page.getByRole("textbox", { name: "Text" });
  await editor.getByText("Work took eleven").click();
  await page.keyboard.press("Home");
  await page.keyboard.press("Shift+End");
  await page.keyboard.insertText(`<p>${WORK.mine}</p>`);
  await page.getByLabel("Your name").fill("Ada Lovelace");
  await page.getByLabel("What you changed").fill("How long it took, to the day");
  await page.waitForTimeout(500);
}

/** Pictures of a node that has something to show. */
const filled = (node, longId) => [
  picture("overview", "#/", settled(FILLING_MS)),
  picture("run", "#/run", run),
  picture("task", `#/tasks/${longId}`, settled(1_500)),
  picture("workers", "#/workers", settled(2_500)),
  picture("functions", "#/functions", settled(1_000)),
  picture("function", "#/functions/hello", call),
  picture("endpoints", "#/endpoints", settled(1_000)),
  picture("endpoint", endpoint("/getData"), send),
  picture("endpoint-edit", endpoint("/ruled/getBiggerData"), async (page) => {
    await page.getByRole("button", { name: "Edit…" }).click();
    await page.waitForTimeout(500);
  }),
  picture("schedules", "#/schedules", settled(1_000)),
  picture("documents", "#/documents", settled(1_000)),
  picture("document", `#/documents/${ARTICLE}?view=edit`, change),
  picture("document-history", `#/documents/${ARTICLE}?view=history`, async (page) => {
    await page.getByRole("row", { name: "What the planks are of" }).click();
    await page.getByRole("region", { name: "Difference" }).waitFor();
  }),
  picture("document-conflict", `#/documents/${ARTICLE}?view=edit`, async (page) => {
    await change(page);
    await disagree(node);
    await page.getByText("by Priya Nair is there already").waitFor();
    await page.getByRole("button", { name: "Save", exact: true }).click();
    await page.getByRole("button", { name: "Save what is at the right" }).waitFor();
    await page.getByRole("textbox", { name: "Your text" }).waitFor();
    await page.waitForTimeout(500);
    await agree(node);
  }),
  picture("placement", "#/placement", settled(2_500)),
];

/** Pictures of it before so much runs that nothing else is seen. */
const calm = [picture("tasks", "#/tasks", settled(1_500))];

/** Pictures of one that was just started. */
const empty = [
  picture("empty-overview", "#/", settled(2_500)),
  picture("empty-tasks", "#/tasks", settled(1_000)),
  picture("empty-functions", "#/functions", settled(1_000)),
  picture("empty-endpoints", "#/endpoints", settled(1_000)),
  picture("empty-placement", "#/placement", settled(1_000)),
];

const wanted = (pictures) => pictures.filter(({ name }) => names.length === 0 || names.includes(name));

mkdirSync(folder, { recursive: true });
const browser = await launchBrowser();
if (wanted(empty).length > 0) {
  const bare = await startNode({ args: ["--slots", "2"] });
  for (const scheme of ["light", "dark"]) {
    await take(browser, { url: bare.url, folder, scheme, viewport }, wanted(empty));
  }
  await bare.close();
}
if (wanted([...calm, ...filled()]).length > 0) {
  const { node, close } = await setScene();
  // Here: a tab that is looked at goes with its picture, and what ran in it would begin again.
  const nightly = { name: "nightly", function: "stages", args: [900], limits: { timeout_ms: 240_000 }, place: "here", labels: { team: "data" } };
  const { id } = await submit(node, nightly);
  for (const scheme of ["light", "dark"]) {
    await take(browser, { url: node.url, folder, scheme, viewport }, wanted(calm));
  }
  const rest = keepBusy(node);
  for (const scheme of ["light", "dark"]) {
    await take(browser, { url: node.url, folder, scheme, viewport }, wanted(filled(node, id)));
  }
  await rest();
  await close();
}
await browser.close();
