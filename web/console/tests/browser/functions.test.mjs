import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { guest, setUp } from "./support.mjs";

let world;

before(async () => {
  world = await setUp();
});
after(() => world.close());

async function drop(page, name, bytes) {
  const files = await page.evaluateHandle(
    ([name, bytes]) => {
      const transfer = new DataTransfer();
      transfer.items.add(new File([new Uint8Array(bytes)], name));
      return transfer;
    },
    [name, [...bytes]],
  );
  await page.dispatchEvent("main", "drop", { dataTransfer: files });
}

test("a file is deployed by dropping it, and tried at once", async () => {
  const { page, finish } = await world.open("#/functions");
  await page.getByText("Nothing is deployed yet").waitFor();
  await drop(page, "fib.wasm", await guest("fib"));
  await page.getByRole("button", { name: "Deploy", exact: true }).click();
  await page.getByRole("link", { name: "fib@1" }).click();
  await page.getByRole("textbox", { name: "Arguments" }).fill("20");
  await page.getByRole("button", { name: "Call" }).click();
  await page.getByText("6765", { exact: true }).waitFor();
  await page.getByText("returned").waitFor();
  await finish();
});

test("versions are told apart, equal code is none, and a function is removed", async () => {
  const { page, finish } = await world.open("#/functions");
  const code = (text) => Buffer.from(`export default () => { console.log("called"); return ${text}; }`);
  for (const [text, says] of [["1", "deployed as"], ["2", "deployed as"], ["2", "is equal to"]]) {
    await drop(page, "numbers.js", code(text));
    await page.getByRole("button", { name: "Deploy", exact: true }).click();
    await page.getByText(says).waitFor();
    await page.getByRole("button", { name: "Done" }).click();
  }
  await page.getByRole("link", { name: "numbers" }).click();
  await page.getByText("version 2").waitFor();
  await page.getByRole("button", { name: "1", exact: true }).click();
  await page.getByText("version 1").waitFor();
  await page.getByRole("button", { name: "Call" }).click();
  await page.getByLabel("Value").getByText("1", { exact: true }).waitFor();
  await page.getByRole("log").getByText("called").waitFor();
  await page.getByRole("button", { name: "Remove…" }).click();
  await page.getByRole("button", { name: "Remove all versions" }).click();
  await page.getByRole("link", { name: "numbers" }).waitFor({ state: "detached" });
  assert.equal((await fetch(`${world.node.url}/v1/functions/numbers`)).status, 404);
  await finish();
});

test("what is refused says why and what can be done", async () => {
  const { page, finish } = await world.open("#/functions");
  await drop(page, "broken.js", Buffer.from("export default ("));
  await page.getByRole("button", { name: "Deploy", exact: true }).click();
  await page.getByRole("alert").getByText("It was not deployed").waitFor();
  await page.getByRole("alert").getByText("syntax_error").waitFor();
  await finish();
});

test("what is in the editor is deployed under a name", async () => {
  const { page, finish } = await world.open("#/run");
  const open = page.getByRole("button", { name: "Deploy…" });
  const field = page.getByLabel("Deploy as");
  await open.press("Enter");
  await page.locator("input:focus").waitFor();
  await page.keyboard.press("Escape");
  await field.waitFor({ state: "detached" });
  assert.equal(await page.locator("button:focus").innerText(), "Deploy…");
  await open.press("Enter");
  await page.keyboard.type("greet");
  assert.equal(await field.inputValue(), "greet");
  await page.getByRole("button", { name: "Deploy", exact: true }).click();
  await page.getByRole("link", { name: "greet@1" }).waitFor();
  const answer = await fetch(`${world.node.url}/v1/functions/greet/call`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: '["Ada"]',
  });
  assert.equal(await answer.text(), '"Hello, Ada!"');
  await finish();
});

test("TypeScript that was deployed is opened without the map that the node added", async () => {
  await world.node.deploy("typed", "export default (n: number): number => n + 1;\n", "text/typescript");
  const { page, finish } = await world.open("#/functions/typed");
  await page.getByRole("button", { name: "Open in Run" }).click();
  const editor = page.getByRole("textbox", { name: "Code" });
  await editor.getByText("n + 1").waitFor();
  assert.doesNotMatch(await editor.innerText(), /sourceMappingURL/);
  await finish();
});
