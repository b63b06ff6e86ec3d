import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { setUp, write } from "./support.mjs";

let world;

before(async () => {
  world = await setUp({ args: ["--slots", "2"] });
});
after(() => world.close());

test("from an empty node to a result, its output and where it ran, with two keys", async () => {
  const { page, finish } = await world.open();
  await page.getByText("Nothing has run here yet").waitFor();
  await page.keyboard.press("2");
  await page.getByRole("textbox", { name: "Code" }).waitFor();
  await page.keyboard.press("Control+Enter");
  await page.getByText('"Hello, world!"').waitFor();
  await page.getByRole("log").getByText("hello from the sandbox").waitFor();
  const ranOn = page.locator("dt", { hasText: "Ran on" }).locator("+ dd");
  assert.match(await ranOn.innerText(), new RegExp(new URL(world.node.url).host));
  await finish();
});

test("output and progress are shown while it runs", async () => {
  const { page, finish } = await world.open("#/run");
  await write(
    page,
    `export default async function () {
      console.log("began");
      runabout.progress(0.25, "a quarter");
      while (true) await new Promise((resolve) => setTimeout(resolve, 50));
    }`,
  );
  await page.getByRole("textbox", { name: "Arguments" }).fill("");
  await page.keyboard.press("Control+Enter");
  await page.getByRole("log").getByText("began").waitFor();
  await page.getByText("a quarter", { exact: true }).waitFor();
  assert.equal(await page.getByRole("progressbar").getAttribute("value"), "25");
  await page.getByRole("button", { name: "Cancel" }).click();
  await page.getByText("cancelled").waitFor();
  assert.equal(await page.getByRole("button", { name: "Cancel" }).count(), 0);
  await finish();
});

test("an error tells its line, and so does code that cannot be read", async () => {
  const { page, finish } = await world.open("#/run");
  await page.getByLabel("Begin with").selectOption("An error");
  await page.keyboard.press("Control+Enter");
  await page.getByText("RangeError: this far, and no further").waitFor();
  await page.getByText("threw").waitFor();
  await write(page, "const fine = 1;\nconst = 2;\n");
  await page.keyboard.press("Control+Enter");
  await page.getByRole("alert").getByText("line 2").waitFor();
  await page.locator(".cm-faulty").waitFor();
  await finish();
});

test("TypeScript runs, and limits are kept", async () => {
  const { page, finish } = await world.open("#/run");
  await page.getByLabel("Begin with").selectOption("TypeScript");
  await page.getByRole("textbox", { name: "Arguments" }).fill("100");
  await page.keyboard.press("Control+Enter");
  await page.getByText('{"count":25,"largest":97}').waitFor();
  await write(page, "while (true) {}");
  await page.getByLabel("Time limit, s").fill("0.2");
  await page.keyboard.press("Control+Enter");
  await page.getByText("It reached its limit of 200 ms on the clock.").waitFor();
  await finish();
});

test("what is no argument is said before it is sent", async () => {
  const { page, finish } = await world.open("#/run");
  await page.getByRole("textbox", { name: "Arguments" }).fill("{oops");
  await page.getByText("Arguments are JSON values").waitFor();
  assert.ok(await page.getByRole("button", { name: /^Run/ }).isDisabled());
  await finish();
});

test("what was written is there after a reload", async () => {
  const { page, finish } = await world.open("#/run");
  await write(page, "41 + 1");
  await page.getByRole("textbox", { name: "Arguments" }).fill("7");
  await page.reload();
  await page.getByRole("textbox", { name: "Code" }).getByText("41 + 1").waitFor();
  assert.equal(await page.getByRole("textbox", { name: "Arguments" }).inputValue(), "7");
  await finish();
});

test("a limit that cannot be meant is told at its field, and nothing is sent", async () => {
  const { page, finish } = await world.open("#/run");
  const run = page.getByRole("button", { name: "Run" });
  for (const [label, text, says] of [
    ["Time limit, s", "0", "Time limit must be at least 0.001 s"],
    ["Time limit, s", "-1", "Time limit must be at least 0.001 s"],
    ["Memory, MiB", "0", "Memory must be at least 1 MiB"],
  ]) {
    const field = page.getByLabel(label);
    await field.fill(text);
    await page.getByText(says).waitFor();
    assert.equal(await field.getAttribute("aria-invalid"), "true");
    assert.ok(await run.isDisabled());
    await field.fill("");
  }
  assert.ok(await run.isEnabled());
  await finish();
});

test("after a refusal, the run before is not taken for the answer", async () => {
  const { page, finish } = await world.open("#/run");
  await page.getByRole("textbox", { name: "Code" }).waitFor();
  await page.keyboard.press("Control+Enter");
  await page.getByText('"Hello, world!"').waitFor();
  const field = page.getByLabel("Memory, MiB");
  await field.fill("999999");
  await page.getByRole("button", { name: "Run" }).click();
  await page.getByRole("alert").getByText(/Memory may be [\d,]+ MiB at most on this node/).waitFor();
  assert.equal(await field.getAttribute("aria-invalid"), "true");
  await page.getByRole("heading", { name: "Result of the run before" }).waitFor();
  await field.fill("");
  await page.keyboard.press("Control+Enter");
  await page.getByRole("heading", { name: "Result", exact: true }).waitFor();
  await finish();
});
