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
  await page.getByRole("button", { name: "New document…" }).press("Enter");
  await page.keyboard.type("Front_page");
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

/** How the answer to an edit is lost, once the node has the request. */
const LOSSES = {
  "after it was made": async (route) => {
    await route.fetch();
    await route.abort("connectionreset");
  },
  "while it is made": async (route) => {
    void route.fetch().catch(() => {});
    await route.abort("connectionreset");
  },
  "in the middle": async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, body: (await response.text()).slice(0, 20) });
  },
  "by a proxy": async (route) => {
    await route.fetch();
    await route.fulfill({ status: 504, contentType: "text/html", body: "<h1>Gateway Timeout</h1>" });
  },
};

/** Opens a document whose first edit is lost like that; `sent` tells of all edits that are tried. */
async function losing(name, lose) {
  await put(name, LINES.join("\n"));
  const { page, finish } = await world.open(`#/documents/${name}?view=edit`);
  const sent = [];
  await page.route(`**/v1/documents/${name}?base=*`, async (route) => {
    const request = route.request();
    sent.push({ url: request.url(), key: request.headers()["idempotency-key"], text: request.postData() });
    await (sent.length === 1 ? lose(route) : route.continue());
  });
  const save = async (text, says) => {
    await write(page, "Text", text);
    await page.getByRole("button", { name: "Save", exact: true }).click();
    await page.getByText(says).waitFor();
  };
  return { page, finish, sent, save };
}

const revisions = async (name) =>
  (await world.node.json(`/v1/documents/${name}/revisions`)).items.map(({ revision }) => revision);

for (const [when, lose] of Object.entries(LOSSES)) {
  test(`an edit whose answer is lost ${when} is the same edit when it is saved again`, async () => {
    const name = `lost_${when.replaceAll(" ", "_")}`;
    const { page, finish, sent, save } = await losing(name, lose);
    const mine = LINES.with(1, "<p>mine</p>").join("\n");
    await save(mine, "It is not known whether it was saved");
    await page.getByRole("button", { name: "Save", exact: true }).click();
    await page.getByText("Saved as revision 2.").waitFor();
    assert.equal(sent.length, 2);
    assert.deepEqual(sent[1], sent[0]);
    assert.equal(await read(name), mine);
    assert.deepEqual(await revisions(name), [2, 1]);
    await finish();
  });
}

test("who goes on writing after an answer was lost does not meet that edit as another's", async () => {
  const { finish, sent, save } = await losing("went_on", LOSSES["after it was made"]);
  await save(LINES.with(1, "<p>mine</p>").join("\n"), "It is not known whether it was saved");
  const more = LINES.with(1, "<p>mine, and more</p>").join("\n");
  await save(more, "Saved as revision 3.");
  assert.deepEqual(sent[1], sent[0]);
  assert.notEqual(sent[2].key, sent[0].key);
  assert.match(sent[2].url, /base=2$/);
  assert.equal(await read("went_on"), more);
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

test("a name that is taken is said to be, and leads to what has it", async () => {
  await put("taken", "plain\n", "text/plain");
  await put("page", LINES.join("\n"));
  const { page, finish } = await world.open("#/documents");
  await page.getByRole("button", { name: "New document…" }).click();
  const note = page.getByRole("alert");
  for (const name of ["taken", "page"]) {
    await page.getByRole("textbox", { name: "Name" }).fill(name);
    await page.getByRole("button", { name: "Create" }).click();
    await note.getByText("A document of that name exists already").waitFor();
    await note.getByRole("link", { name, exact: true }).waitFor();
  }
  await note.getByRole("link", { name: "page" }).click();
  await page.getByRole("heading", { name: "page", exact: true }).waitFor();
  await finish();
});

test("what is not saved is there when one comes back, and leaving the console asks first", async () => {
  await put("kept", LINES.join("\n"));
  const { page, finish } = await world.open("#/documents/kept?view=edit");
  const mine = LINES.with(1, "<p>mine</p>").join("\n");
  await write(page, "Text", mine);
  await page.getByLabel("What you changed").fill("The first line");
  await page.getByRole("link", { name: "Tasks" }).click();
  await page.getByRole("heading", { name: "Tasks", exact: true }).waitFor();
  await edit("kept", 1, LINES.with(3, "<p>theirs</p>").join("\n"));

  const asked = page.waitForEvent("dialog");
  // It waits for the answer to the question.
  const reloaded = page.evaluate(() => location.reload());
  const dialog = await asked;
  assert.equal(dialog.type(), "beforeunload");
  await dialog.dismiss();
  await reloaded;

  await page.getByRole("link", { name: "Documents" }).click();
  await page.getByRole("row", { name: "kept" }).getByRole("link", { name: "not saved" }).click();
  await page.frameLocator("iframe[title=Preview]").getByText("mine").waitFor();
  await page.getByText("Revision 2 by Bob is there already").waitFor();
  assert.equal(await page.getByLabel("What you changed").inputValue(), "The first line");
  await page.getByRole("button", { name: "Save", exact: true }).click();
  await page.getByText("Saved as revision 3, put together with what others had changed.").waitFor();
  await page.reload();
  await page.frameLocator("iframe[title=Preview]").getByText("theirs").waitFor();
  await finish();
});

test("where there is no document there is nothing to do but to go back", async () => {
  const { page, finish } = await world.open("#/documents/nowhere");
  await page.getByRole("alert").getByText("It cannot be read").waitFor();
  for (const name of ["Read", "Edit", "History", "Delete…"]) {
    assert.equal(await page.getByRole("button", { name }).count(), 0, name);
  }
  await page.getByRole("link", { name: "To the documents" }).click();
  await page.getByRole("heading", { name: "Documents" }).waitFor();
  await finish();
});
