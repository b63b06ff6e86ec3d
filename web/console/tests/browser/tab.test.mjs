import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { setUp, until } from "./support.mjs";

let world;

before(async () => {
  // The node itself takes no tasks: what runs, runs in a tab.
  world = await setUp({ args: ["--slots", "0"] });
});
after(() => world.close());

const json = (body) => ({
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify(body),
});
const workers = async () => (await world.node.json("/v1/workers")).items;

test("a tab of a node on this machine works for it, visibly, until it is switched off", async () => {
  const { page, finish } = await world.open("#/workers", { tab: "unasked" });
  const panel = page.getByRole("region", { name: "This tab" });
  await panel.getByText("takes tasks").waitFor();
  await page.getByRole("row", { name: /a browser tab/ }).waitFor();
  assert.equal((await workers()).length, 1);

  const { id } = await world.node.json("/v1/tasks", json({ source: "6 * 7" }));
  const task = await world.node.json(`/v1/tasks/${id}?wait=30`);
  assert.equal(task.outcome.value, 42);
  assert.equal(task.trust, "tab");
  await panel.getByText("1 finished").waitFor();

  await panel.getByRole("switch").click();
  await panel.getByText("runs nothing for others").waitFor();
  await until(async () => (await workers()).length === 0);
  await page.reload();
  await panel.getByText("runs nothing for others").waitFor();
  await page.getByText("Nobody takes tasks").waitFor();
  assert.deepEqual(await workers(), []);
  await finish();
});

test("slots go up and down under load, and every task ends", async () => {
  const { page, finish } = await world.open("#/workers", { tab: "on" });
  const panel = page.getByRole("region", { name: "This tab" });
  await panel.getByText("takes tasks").waitFor();
  const requests = Array.from({ length: 60 }, (_, n) => ({
    source: `await new Promise((resolve) => setTimeout(resolve, 20)); ${n}`,
  }));
  const { ids } = await world.node.json("/v1/tasks/batch", json(requests));
  const slots = panel.getByRole("group", { name: "Slots of this tab" });
  for (const button of ["One slot more", "One slot more", "One slot fewer", "One slot fewer", "One slot more"]) {
    await slots.getByRole("button", { name: button }).click();
  }
  for (const [n, id] of ids.entries()) {
    const task = await world.node.json(`/v1/tasks/${id}?wait=60`);
    assert.deepEqual([task.outcome?.value, task.attempt, task.lost], [n, 1, 0], JSON.stringify(task));
  }
  const shown = Number(await slots.getByRole("status").innerText());
  await until(async () => (await workers())[0]?.slots === shown);
  await finish();
});
