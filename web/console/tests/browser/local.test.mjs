import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { setUp, startNode, until, write } from "./support.mjs";

let world;

before(async () => {
  world = await setUp();
});
after(() => world.close());

const run = (page) => page.keyboard.press("Control+Enter");

test("what is to run in this tab alone runs here, and no node hears of it", async () => {
  const { page, finish } = await world.open("#/run");
  await page.getByRole("textbox", { name: "Code" }).waitFor();
  await page.getByLabel("Where").selectOption("In this tab alone");
  await run(page);
  await page.getByText('"Hello, world!"').waitFor();
  await page.getByRole("log").getByText("hello from the sandbox").waitFor();
  await write(page, "while (true) {}");
  await run(page);
  await page.getByRole("button", { name: "Cancel" }).click();
  await page.getByText("cancelled").waitFor();
  const { items } = await world.node.json("/v1/tasks");
  assert.deepEqual(items, []);
  await finish();
});

test("while the node is away a reload opens the console, and Run goes on", async () => {
  const node = await startNode();
  const context = await world.browser.newContext();
  const page = await context.newPage();
  await page.addInitScript(() => localStorage.setItem("runabout.tab", "off"));
  await page.goto(`${node.url}/#/run`);
  await page.getByRole("textbox", { name: "Code" }).waitFor();
  await page.evaluate(async () => {
    await navigator.serviceWorker.ready;
  });
  await page.locator("iframe[title='Kept for later']").waitFor({ state: "detached" });
  await node.stop();
  await page.reload();
  await page.getByText("Node unreachable: running in this tab.").waitFor();
  await page.getByRole("textbox", { name: "Code" }).waitFor();
  await run(page);
  await page.getByText('"Hello, world!"').waitFor();
  await page.getByText("local", { exact: true }).waitFor();
  await context.close();
  await node.close();
});
