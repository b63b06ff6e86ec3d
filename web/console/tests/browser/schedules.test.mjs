import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { guest, setUp } from "./support.mjs";

let world;

before(async () => {
  world = await setUp();
});
after(() => world.close());

const names = async () => (await world.node.json("/v1/schedules")).items.map(({ name }) => name);

async function put(name, schedule) {
  const headers = { "Content-Type": "application/json" };
  const body = JSON.stringify(schedule);
  const answer = await fetch(`${world.node.url}/v1/schedules/${name}`, { method: "PUT", headers, body });
  assert.equal(answer.status, 201);
}

test("a command to begin with reaches this node", async () => {
  const { page, finish } = await world.open("#/schedules");
  await page.getByText(`--function fib 30 --node ${world.node.url}`).waitFor();
  await finish();
});

test("a schedule rests, goes on, and is deleted once that was said twice", async () => {
  await world.node.deploy("fib", await guest("fib"), "application/wasm");
  for (const name of ["first", "second"]) {
    await put(name, { cron: "30 3 * * *", task: { function: "fib", args: [9] } });
  }
  const { page, finish } = await world.open("#/schedules");
  const first = page.getByRole("row", { name: "first" });
  await first.getByRole("button", { name: "Pause" }).click();
  await first.getByRole("button", { name: "Go on" }).click();
  await first.getByRole("button", { name: "Pause" }).waitFor();

  await first.getByRole("button", { name: "Delete…: first" }).dblclick();
  await first.getByRole("button", { name: "Delete…: first" }).waitFor();
  assert.deepEqual(await names(), ["first", "second"]);

  await first.getByRole("button", { name: "Delete…: first" }).press("Enter");
  assert.equal(await page.locator("button:focus").innerText(), "Keep it");
  await first.getByRole("button", { name: "Delete it: first" }).click();
  await first.waitFor({ state: "detached" });
  await page.locator("main:focus").waitFor();
  assert.deepEqual(await names(), ["second"]);
  await finish();
});

test("why a schedule was refused is there to be read", async () => {
  const { page, finish } = await world.open();
  // A real one is refused when it is due, and cron counts in minutes.
  const why = 'no function "brief" is deployed';
  await page.route("**/v1/schedules?*", async (route) => {
    const response = await route.fetch();
    const { items } = await response.json();
    await route.fulfill({ response, json: { items: items.map((one) => ({ ...one, last_error: why })) } });
  });
  await page.goto(`${world.node.url}/#/schedules`);
  await page.getByRole("row", { name: "second" }).getByText("refused").waitFor();
  await page.getByRole("cell", { name: why }).waitFor();
  await finish();
});
