import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { setUp } from "./support.mjs";

const TOKEN = "a-token-of-this-test";

let folder;
let world;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "runabout-token-"));
  await writeFile(join(folder, "token"), `${TOKEN}\n`);
  world = await setUp({ args: ["--token-file", join(folder, "token")] });
});
after(async () => {
  await world.close();
  await rm(folder, { recursive: true });
});

test("the page is asked about each time, its assets are kept for ever", async () => {
  const page = await fetch(`${world.node.url}/`);
  assert.equal(page.headers.get("cache-control"), "no-cache");
  const policy = page.headers.get("content-security-policy");
  assert.match(policy, /script-src 'self';/);
  assert.match(policy, /frame-ancestors 'none'/);
  assert.match(policy, /style-src 'self';/);
  assert.doesNotMatch(policy, /unsafe-eval/);
  assert.equal(page.headers.get("x-content-type-options"), "nosniff");
  const etag = page.headers.get("etag");
  const again = await fetch(`${world.node.url}/`, { headers: { "If-None-Match": etag } });
  assert.equal(again.status, 304);

  const [, script] = /src="([^"]+\.js)"/.exec(await page.text());
  const asset = await fetch(world.node.url + script, { headers: { "Accept-Encoding": "gzip" } });
  assert.equal(asset.headers.get("content-encoding"), "gzip");
  assert.match(asset.headers.get("cache-control"), /immutable/);
  assert.match(asset.headers.get("content-type"), /^text\/javascript/);
  const plain = await fetch(world.node.url + script, { headers: { "Accept-Encoding": "identity" } });
  assert.equal(plain.headers.get("content-encoding"), null);
  assert.equal(await plain.text(), await asset.text());
});

test("nothing else is shadowed, and the API wants its token still", async () => {
  const asked = async (path) => {
    const answer = await fetch(world.node.url + path, { headers: { Authorization: `Bearer ${TOKEN}` } });
    return [answer.status, (await answer.json()).code];
  };
  assert.deepEqual(await asked("/assets/none.js"), [404, "unknown_path"]);
  assert.deepEqual(await asked("/assets/..%2findex.html"), [404, "unknown_path"]);
  assert.deepEqual(await asked("/v1/none"), [404, "unknown_path"]);
  assert.equal((await fetch(`${world.node.url}/v1/node`)).status, 401);
});

test("a token is asked for, a wrong one is told, and the right one opens the console", async () => {
  const { page, finish } = await world.open();
  await page.getByRole("heading", { name: "This node wants a token" }).waitFor();
  await page.getByLabel("Token").fill("something else");
  await page.getByRole("button", { name: "Open the console" }).click();
  await page.getByText("The node refuses this token").waitFor();
  await page.getByLabel("Token").fill(TOKEN);
  await page.getByRole("button", { name: "Open the console" }).click();
  await page.getByText("Running now").first().waitFor();
  await page.keyboard.press("2");
  await page.getByRole("textbox", { name: "Code" }).waitFor();
  await page.keyboard.press("Control+Enter");
  await page.getByText('"Hello, world!"').waitFor();
  await page.getByRole("log").getByText("hello from the sandbox").waitFor();
  await page.reload();
  await page.getByRole("textbox", { name: "Code" }).waitFor();
  assert.equal(await page.evaluate(() => localStorage.getItem("runabout.token")), null);
  await finish();
});

test("a document opens alone with the token, and what is in it acts as nobody", async () => {
  const headers = { Authorization: `Bearer ${TOKEN}`, "Content-Type": "text/html", "If-None-Match": "*" };
  const body = "<h1>Alone</h1><script>document.body.textContent = 'it ran'</script>";
  const made = await fetch(`${world.node.url}/v1/documents/alone`, { method: "PUT", headers, body });
  assert.equal(made.status, 201);
  const { page, finish } = await world.open("#/documents/alone");
  await page.getByLabel("Token").fill(TOKEN);
  await page.getByRole("button", { name: "Open the console" }).click();
  const opened = page.waitForEvent("popup");
  await page.getByRole("link", { name: "Open alone" }).click();
  const alone = await opened;
  await alone.frameLocator("iframe[title=Preview]").getByRole("heading", { name: "Alone" }).waitFor();
  assert.equal(await alone.getByRole("navigation").count(), 0);
  assert.equal(await alone.title(), "alone");
  const frame = alone.locator("iframe[title=Preview]");
  assert.equal(await frame.getAttribute("sandbox"), "allow-scripts");
  const inside = await (await frame.elementHandle()).contentFrame();
  assert.equal(await inside.evaluate(() => window.origin), "null");
  await finish();
});
