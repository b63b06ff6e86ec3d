import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { setUp, until } from "./support.mjs";

const MANY = 120;

let world;
let ids;

before(async () => {
  world = await setUp({ args: ["--slots", "2"] });
  const requests = Array.from({ length: MANY }, (_, index) => ({
    source: index % 10 === 0 ? 'throw new Error("every tenth")' : `console.log("number ${index}"); ${index}`,
    name: `number-${index}`,
    labels: { parity: index % 2 === 0 ? "even" : "odd" },
  }));
  const answer = await fetch(`${world.node.url}/v1/tasks/batch`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(requests),
  });
  ({ ids } = await answer.json());
  for (const id of ids) await fetch(`${world.node.url}/v1/tasks/${id}?wait=30`);
});
after(() => world.close());

const rows = (page) => page.locator("tbody tr.opens");
const focusedText = (page) => page.locator("button:focus").innerText();

test("pages follow each other to the end and back", async () => {
  const { page, finish } = await world.open("#/tasks");
  await page.getByText(`number-${MANY - 1}`, { exact: true }).waitFor();
  const seen = [];
  for (const [size, isLast] of [[50, false], [50, false], [20, true]]) {
    await page.getByText(`, ${size} tasks`).waitFor();
    await page.getByText(`number-${MANY - 1 - seen.length}`, { exact: true }).waitFor();
    seen.push(...(await rows(page).locator("td:nth-child(2) a").allInnerTexts()));
    if (!isLast) await page.getByRole("button", { name: "Older" }).click();
  }
  assert.equal(new Set(seen).size, MANY);
  assert.ok(await page.getByRole("button", { name: "Older" }).isDisabled());
  await page.getByRole("button", { name: "Newer" }).click();
  await page.getByText("Page 2").waitFor();
  await page.getByRole("button", { name: "Newer" }).click();
  await page.getByText("The newest").waitFor();
  await finish();
});

test("filters narrow the list, and are part of the address", async () => {
  const { page, finish } = await world.open("#/tasks");
  await page.getByRole("button", { name: "Failed" }).click();
  await page.getByText(", 12 tasks").waitFor();
  await page.getByRole("searchbox", { name: "Label" }).fill("parity=odd");
  await page.getByText("No task is like that").waitFor();
  await page.getByRole("button", { name: "All", exact: true }).click();
  await page.getByText(", 50 tasks").waitFor();
  await page.getByRole("searchbox", { name: "Label" }).fill("");
  await page.keyboard.press("Escape");
  await page.keyboard.press("/");
  await page.keyboard.type("number-7");
  await page.getByText(/, 1 task$/).waitFor();
  assert.match(page.url(), /name=number-7/);
  await page.reload();
  await page.getByText("number-7", { exact: true }).waitFor();
  assert.equal(await rows(page).count(), 1);
  await finish();
});

test("a list is walked and opened with keys, and left again", async () => {
  const { page, finish } = await world.open("#/tasks");
  await rows(page).first().waitFor();
  for (const key of ["j", "j", "j", "k"]) await page.keyboard.press(key);
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: `number-${MANY - 2}` }).waitFor();
  await page.getByRole("log").getByText(`number ${MANY - 2}`).waitFor();
  assert.match(await page.title(), new RegExp(`^task …${ids.at(-2).slice(-8)} · Tasks · `));
  await page.keyboard.press("Escape");
  await page.getByRole("heading", { name: "Tasks" }).waitFor();
  const focused = page.locator("tr.opens:focus");
  await focused.getByText(`number-${MANY - 2}`).waitFor();
  await page.keyboard.press("?");
  await page.getByRole("dialog").getByText("Run what is in the editor").waitFor();
  await page.keyboard.press("Escape");
  await page.keyboard.press("5");
  await page.getByRole("heading", { name: "Functions" }).waitFor();
  await finish();
});

test("a task is run again, and deleted", async () => {
  const { page, finish } = await world.open(`#/tasks/${ids[1]}`);
  await page.getByRole("button", { name: "Run again" }).click();
  await page.waitForURL((url) => !url.hash.includes(ids[1]) && url.hash.startsWith("#/tasks/"));
  await page.getByText("returned").first().waitFor();
  await page.getByRole("log").getByText("number 1").waitFor();
  const again = new URL(page.url()).hash.slice("#/tasks/".length);
  await page.getByRole("button", { name: "Delete…" }).press("Enter");
  assert.equal(await focusedText(page), "Keep it");
  await page.keyboard.press("Escape");
  assert.equal(await focusedText(page), "Delete…");
  await page.getByRole("button", { name: "Delete…" }).click();
  assert.equal((await fetch(`${world.node.url}/v1/tasks/${again}`)).status, 200);
  await page.getByRole("button", { name: "Delete it" }).click();
  await page.getByRole("heading", { name: "Tasks" }).waitFor();
  await page.locator("main:focus").waitFor();
  const answer = await fetch(`${world.node.url}/v1/tasks/${again}`);
  assert.equal(answer.status, 404);
  await page.goto(`${world.node.url}/#/tasks/${again}`);
  await page.getByRole("alert").getByText("The task cannot be shown").waitFor();
  await finish();
});

test("what a task wrote is not called nothing before its stream has spoken", async () => {
  const { page, finish } = await world.open("#/tasks");
  const answers = [];
  await page.route("**/v1/tasks/*/events", async (route) => {
    const answer = await route.fetch();
    await new Promise((resolve) => answers.push(resolve));
    await route.fulfill({ response: answer });
  });
  const output = page.getByRole("log");
  for (const [index, says] of [[1, "number 1"], [0, "It wrote nothing."]]) {
    await page.goto(`${world.node.url}/#/tasks/${ids[index]}`);
    await page.getByRole("heading", { name: "Outcome" }).waitFor();
    await output.getByText("Waiting to hear what it wrote…").waitFor();
    assert.equal(await output.innerText(), "Waiting to hear what it wrote…");
    await until(() => answers.length > 0);
    answers.shift()();
    await output.getByText(says).waitFor();
  }
  await finish();
});

test("a running task is cancelled from its page", async () => {
  const answer = await fetch(`${world.node.url}/v1/tasks`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ source: "while (true) {}", name: "endless" }),
  });
  const { id } = await answer.json();
  const { page, finish } = await world.open(`#/tasks/${id}`);
  await page.getByText("runs on").waitFor();
  await page.getByRole("button", { name: "Cancel" }).click();
  await page.getByText("Somebody asked for it to stop.").waitFor();
  await page.getByRole("button", { name: "Run again" }).waitFor();
  await finish();
});

test("the overview tells of failures, and what ends appears by itself", async () => {
  const { page, finish } = await world.open();
  await page.getByText("Failed in the last hour").waitFor();
  await page.getByText("12 show them").waitFor();
  await fetch(`${world.node.url}/v1/tasks`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ source: "1", name: "just-now" }),
  });
  await page.getByText("just-now").waitFor();
  await finish();
});
