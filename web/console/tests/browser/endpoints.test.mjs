import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { guest, setUp } from "./support.mjs";

const FILE = `
[[endpoint]]
path = "/report/{year}"
function = "report"
args = ["{year}"]
offload = "year > 2000"
`;

let folder;
let world;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "runabout-endpoints-"));
  await writeFile(join(folder, "runabout.toml"), FILE);
  world = await setUp({ args: ["--config", join(folder, "runabout.toml")] });
  await world.node.deploy("fib", await guest("fib"), "application/wasm");
});
after(async () => {
  await world.close();
  await rm(folder, { recursive: true });
});

const known = async () => (await world.node.json("/v1/endpoints")).items;

async function put(endpoint) {
  const headers = { "Content-Type": "application/json" };
  const answer = await fetch(`${world.node.url}/v1/endpoints`, { method: "PUT", headers, body: JSON.stringify(endpoint) });
  assert.equal(answer.status, 201);
}

/** The field that the page says is wrong. */
const invalid = (page) => page.locator("[aria-invalid=true]");

test("an endpoint is made, tried, changed and deleted", async () => {
  const { page, finish } = await world.open("#/endpoints");
  await page.getByRole("button", { name: "New endpoint…" }).click();
  await page.getByRole("textbox", { name: "Path, with parameters in braces" }).fill("/getData");
  await page.getByRole("combobox", { name: "Function" }).fill("fib");
  await page.getByRole("textbox", { name: "Arguments" }).fill("{n=30}");
  await page.getByLabel("Where it runs").selectOption("as the caller says, ?offload=");
  await page.getByRole("button", { name: "Create" }).click();
  await page.getByRole("heading", { name: "/getData" }).waitFor();
  await page.getByRole("textbox", { name: "n", exact: true }).fill("20");
  await page.getByLabel("Where").selectOption("here");
  await page.getByText("GET /getData?n=20&offload=0").waitFor();
  await page.getByRole("button", { name: "Send" }).click();
  await page.getByLabel("Value").getByText("6765", { exact: true }).waitFor();
  await page.getByText("here; reason=asked").waitFor();

  await page.getByRole("button", { name: "Edit…" }).click();
  await page.getByRole("textbox", { name: "Arguments" }).fill("{n=10}");
  await page.getByRole("checkbox", { name: "GET" }).uncheck();
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByRole("button", { name: "Save" }).waitFor({ state: "detached" });
  await page.getByText("POST /getData {}").waitFor();
  await page.getByRole("button", { name: "Send" }).click();
  await page.getByLabel("Value").getByText("55", { exact: true }).waitFor();
  const [{ args, methods }] = (await known()).filter(({ path }) => path === "/getData");
  assert.deepEqual([args, methods], [["{n=10}"], ["POST"]]);

  await page.getByRole("button", { name: "Delete…" }).click();
  await page.getByRole("button", { name: "Delete it" }).click();
  await page.getByRole("link", { name: "/getData" }).waitFor({ state: "detached" });
  assert.deepEqual((await known()).map(({ path }) => path), ["/report/{year}"]);
  await finish();
});

test("what is wrong with an endpoint is said at its field", async () => {
  const { page, finish } = await world.open("#/endpoints");
  await page.getByRole("button", { name: "New endpoint…" }).click();
  await page.getByRole("textbox", { name: "Path, with parameters in braces" }).fill("/v1/mine");
  await page.getByRole("combobox", { name: "Function" }).fill("fib");
  await page.getByRole("button", { name: "Create" }).click();
  await page.getByRole("alert").getByText("/v1/mine belongs to the node itself").waitFor();
  assert.equal(await invalid(page).inputValue(), "/v1/mine");

  await page.getByRole("textbox", { name: "Path, with parameters in braces" }).fill("/mine");
  await page.getByRole("textbox", { name: "Arguments" }).fill("{count}");
  await page.getByLabel("Where it runs").selectOption("upstream if a rule is true…");
  await page.getByRole("textbox", { name: "Rule over the parameters" }).fill("cuont > 32");
  await page.getByRole("button", { name: "Create" }).click();
  await page.getByRole("alert").getByText('did you mean "count"?').waitFor();
  assert.ok((await invalid(page).all()).length > 0);
  assert.deepEqual((await known()).map(({ path }) => path), ["/report/{year}"]);
  await finish();
});

test("one of the node's file is shown, and not changed here", async () => {
  const { page, finish } = await world.open("#/endpoints");
  const row = page.getByRole("row", { name: "/report/{year}" });
  await row.getByText("the node's file").waitFor();
  await row.getByText("not deployed:").waitFor();
  await row.click();
  await page.getByText("and until it is the endpoint answers 503").waitFor();
  await page.getByText("changed there:").waitFor();
  assert.equal(await page.getByRole("button", { name: "Edit…" }).count(), 0);
  assert.equal(await page.getByRole("button", { name: "Delete…" }).count(), 0);
  assert.ok(await page.getByRole("button", { name: "Send" }).isDisabled());
  await page.getByRole("textbox", { name: "year, in the path" }).fill("2024");
  await page.getByRole("button", { name: "Send" }).click();
  await page.getByRole("alert").getByText("function_missing").waitFor();
  await finish();
});

test("a page that is served with a computation is shown in a frame that runs nothing", async () => {
  const headers = { "Content-Type": "text/html", "If-None-Match": "*" };
  const text = "<h1>Front</h1><script>document.body.textContent = 'it ran'</script>";
  const made = await fetch(`${world.node.url}/v1/documents/Front`, { method: "PUT", headers, body: text });
  assert.equal(made.status, 201);
  await put({ path: "/wiki/{name}", document: "{name}", compute: { function: "fib", args: [20], mode: "shared" } });
  const { page, finish } = await world.open(`#/endpoints/${encodeURIComponent("/wiki/{name}")}`);
  await page.getByText("shared: computed once for all who wait").waitFor();
  await page.getByRole("textbox", { name: "name, in the path" }).fill("Front");
  await page.getByRole("button", { name: "Send" }).click();
  await page.frameLocator("iframe[title=Preview]").getByRole("heading", { name: "Front" }).waitFor();
  await page.getByText("shared; ran=").waitFor();
  assert.equal(await page.locator("iframe[title=Preview]").getAttribute("sandbox"), "allow-scripts");
  await finish();
});

test("the keyboard alone finds an endpoint, tries it and goes back", async () => {
  await put({ path: "/keys", function: "fib", args: ["{n}"], methods: ["GET"] });
  const { page, finish } = await world.open();
  await page.getByText("Running now").first().waitFor();
  await page.keyboard.press("6");
  await page.getByRole("row", { name: "/keys" }).waitFor();
  await page.keyboard.press("/");
  await page.keyboard.type("/keys");
  await page.keyboard.press("Escape");
  await page.keyboard.press("j");
  await page.keyboard.press("Enter");
  const field = page.getByRole("textbox", { name: "n", exact: true });
  await field.focus();
  await page.keyboard.type("12");
  await page.keyboard.press("Enter");
  await page.getByLabel("Value").getByText("144", { exact: true }).waitFor();
  await page.keyboard.press("Escape");
  await page.keyboard.press("Escape");
  await page.getByRole("heading", { name: "/keys" }).waitFor({ state: "detached" });
  await finish();
});
