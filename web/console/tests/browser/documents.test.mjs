import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { setUp, until } from "./support.mjs";

let world;

before(async () => {
  world = await setUp();
});
after(() => world.close());

const LINES = ["<h1>Title</h1>", "<p>one</p>", "<p>two</p>", "<p>three</p>", ""];
const address = (name, rest = "") => `${world.node.url}/v1/documents/${name}${rest}`;
const read = async (name) => await (await fetch(address(name))).text();

async function put(name, text, type = "text/html") {
  const headers = { "Content-Type": type, "If-None-Match": "*" };
  assert.equal((await fetch(address(name), { method: "PUT", headers, body: text })).status, 201);
}

/** An edit by somebody else. */
async function edit(name, base, text) {
  const headers = { "Runabout-Author": "Bob" };
  const answer = await fetch(address(name, `?base=${base}`), { method: "POST", headers, body: text });
  assert.equal(answer.status, 200);
}

async function write(page, label, text) {
  await page.getByRole("textbox", { name: label }).click();
  await page.keyboard.press("Control+A");
  await page.keyboard.insertText(text);
}

/** Writes one's own text, and waits until the page has heard of the other's revision. */
async function meet(page, name, mine, theirs) {
  await write(page, "Text", mine);
  await edit(name, 1, theirs);
  await page.getByText("Revision 2 by Bob is there already").waitFor();
  await page.getByRole("button", { name: "Save", exact: true }).click();
}

test("a document is made, edited, seen and found in the list", async () => {
  const { page, finish } = await world.open("#/documents");
  await page.getByText("There are no documents yet").waitFor();
  await page.getByRole("button", { name: "New document…" }).click();
  await page.getByRole("textbox", { name: "Name" }).fill("Front_page");
  await page.getByRole("button", { name: "Create" }).click();
  await page.frameLocator("iframe[title=Preview]").getByRole("heading", { name: "Front page" }).waitFor();
  await page.getByRole("button", { name: "Edit" }).click();
  await write(page, "Text", "<h1>Hello</h1>\n<script>document.body.textContent = 'it ran'</script>\n");
  await page.frameLocator("iframe[title=Preview]").getByRole("heading", { name: "Hello" }).waitFor();
  await page.getByLabel("Your name").fill("Zoë 100%");
  await page.getByLabel("What you changed").fill("A greeting");
  await page.getByRole("button", { name: "Save", exact: true }).click();
  await page.getByText("Saved as revision 2.").waitFor();
  assert.match(await read("Front_page"), /^<h1>Hello<\/h1>/);
  await page.getByRole("link", { name: "Documents" }).first().click();
  const row = page.getByRole("row", { name: "Front_page" });
  await row.getByText("Zoë 100%").waitFor();
  await finish();
});

test("edits of different lines are put together", async () => {
  await put("merged", LINES.join("\n"));
  const { page, finish } = await world.open("#/documents/merged?view=edit");
  await meet(page, "merged", LINES.with(1, "<p>mine</p>").join("\n"), LINES.with(3, "<p>theirs</p>").join("\n"));
  await page.getByText("Saved as revision 3, put together with what others had changed.").waitFor();
  assert.equal(await read("merged"), LINES.with(1, "<p>mine</p>").with(3, "<p>theirs</p>").join("\n"));
  await page.frameLocator("iframe[title=Preview]").getByText("theirs").waitFor();
  await finish();
});

test("edits of the same place are joined by a person", async () => {
  await put("contested", LINES.join("\n"));
  const { page, finish } = await world.open("#/documents/contested?view=edit");
  await meet(page, "contested", LINES.with(1, "<p>mine</p>").join("\n"), LINES.with(1, "<p>theirs</p>").join("\n"));
  await page.getByRole("alert").getByText("Somebody else changed the same place.").waitFor();
  assert.equal(await read("contested"), LINES.with(1, "<p>theirs</p>").join("\n"));
  const joined = LINES.with(1, "<p>theirs and mine</p>").join("\n");
  await write(page, "Your text", joined);
  await page.getByRole("button", { name: "Save what is at the right" }).click();
  await page.getByText("Saved as revision 3.").waitFor();
  assert.equal(await read("contested"), joined);
  await finish();
});

test("the history tells what changed, and goes back", async () => {
  await put("old", "first\n", "text/plain");
  await edit("old", 1, "second\n");
  const { page, finish } = await world.open("#/documents/old?view=history");
  await page.getByRole("row", { name: "Bob" }).click();
  const difference = page.getByRole("region", { name: "Difference" });
  await difference.getByText("first").waitFor();
  await difference.getByText("second").waitFor();
  await page.getByRole("row", { name: "create" }).click();
  await page.getByRole("button", { name: "Go back to this text" }).click();
  await page.getByText("Revision 3 has the text of revision 1.").waitFor();
  await page.getByRole("row", { name: "back to revision 1" }).waitFor();
  assert.equal(await read("old"), "first\n");
  await finish();
});

test("lines end as they did", async () => {
  await put("windows", "one\r\ntwo\r\n", "text/plain");
  const { page, finish } = await world.open("#/documents/windows?view=edit");
  await page.getByRole("textbox", { name: "Text" }).waitFor();
  assert.ok(await page.getByRole("button", { name: "Save", exact: true }).isDisabled());
  await write(page, "Text", "one\nthree\n");
  await page.getByRole("button", { name: "Save", exact: true }).click();
  await page.getByText("Saved as revision 2.").waitFor();
  assert.equal(await read("windows"), "one\r\nthree\r\n");
  await finish();
});

test("a document that was deleted elsewhere is told of, and one is deleted here", async () => {
  await put("gone", LINES.join("\n"));
  await put("going", LINES.join("\n"));
  const { page, finish } = await world.open("#/documents/gone");
  await page.frameLocator("iframe[title=Preview]").getByText("one").waitFor();
  assert.equal((await fetch(address("gone"), { method: "DELETE" })).status, 204);
  await page.getByText("This document was deleted").waitFor();
  await page.goto(`${world.node.url}/#/documents/going`);
  await page.getByRole("button", { name: "Delete…" }).click();
  await page.getByRole("button", { name: "Delete it" }).click();
  await page.getByRole("button", { name: "New document…" }).waitFor();
  await until(async () => (await fetch(address("going"))).status === 404);
  await finish();
});
