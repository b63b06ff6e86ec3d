// The console of a real node in a real Chromium, looked at as a person would.

import assert from "node:assert/strict";

import { PATIENCE_MS, launchBrowser, startNode } from "../../../sdk/tests/browser/support.mjs";

export { guest, startNode, until } from "../../../sdk/tests/browser/support.mjs";

/**
 * A browser and a node for one file of tests. `open` gives a page of the console; whatever it
 * complains about, and whatever it asks of anybody but its node, fails the test that closes it.
 */
export async function setUp(options = {}) {
  const node = await startNode(options);
  const browser = await launchBrowser();
  return {
    node,
    browser,
    open: (hash = "", context = {}) => open(browser, node.url, hash, context),
    close: async () => {
      await browser.close();
      await node.close();
    },
  };
}

async function open(browser, url, hash, options) {
  const { tab = "off", ...rest } = options;
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...rest });
  context.setDefaultTimeout(PATIENCE_MS);
  // A tab that works for the node would take tasks that a test wants to see elsewhere.
  await context.addInitScript((choice) => {
    // The sandboxed frame has no storage.
    if (window.origin === "null") return;
    if (localStorage.getItem("runabout.tab") === null) localStorage.setItem("runabout.tab", choice);
  }, tab);
  const page = await context.newPage();
  const complaints = [];
  page.on("pageerror", (error) => complaints.push(`error: ${error.message}`));
  page.on("console", (message) => {
    // Chromium itself reports each answer that is an error, also those the console expects.
    const isAnswer = message.text().startsWith("Failed to load resource");
    if (["error", "warning"].includes(message.type()) && !isAnswer) complaints.push(message.text());
  });
  page.on("request", (request) => {
    const asked = new URL(request.url());
    if (asked.origin !== url && !["data:", "blob:", "about:"].includes(asked.protocol)) {
      complaints.push(`asked ${request.url()}`);
    }
  });
  await page.goto(`${url}/${hash}`);
  const finish = async () => {
    await context.close();
    assert.deepEqual(complaints, []);
  };
  return { page, finish };
}

/** Puts text into the editor of the Run page, in place of what is there. */
export async function write(page, text) {
  const editor = page.getByRole("textbox", { name: "Code" });
  await editor.click();
  await page.keyboard.press("Control+A");
  await page.keyboard.insertText(text);
}
