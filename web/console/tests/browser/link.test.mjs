// How the console tells a node that is slow from one that is gone.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { setUp, until } from "./support.mjs";

let world;

before(async () => {
  world = await setUp();
});
after(() => world.close());

/** What the console asks again and again to know how the node is. */
const PROBES = /\/(v1\/node|v1\/workers|metrics|readyz)$/;

/** Opens a page whose clock is the test's, and that remembers whether it ever took the node for gone. */
async function open() {
  const { page, finish } = await world.open("about:blank");
  await page.clock.install();
  await page.goto(`${world.node.url}/#/workers`);
  await page.getByRole("status").getByText("up", { exact: true }).waitFor();
  await page.evaluate(() => {
    window.sawUnreachable = false;
    new MutationObserver(() => {
      window.sawUnreachable ||= document.body.innerText.includes("unreachable");
    }).observe(document.body, { subtree: true, childList: true, characterData: true });
  });
  return { page, finish, sawUnreachable: () => page.evaluate(() => window.sawUnreachable) };
}

/** Keeps probes from their answers until they are let go. */
async function hold(page) {
  const held = [];
  await page.route(PROBES, (route) => held.push(route));
  const letGo = async () => {
    await page.unroute(PROBES);
    for (const route of held.splice(0)) await route.continue().catch(() => {});
  };
  return { held, letGo };
}

test("one slow answer is called slow, and no node is gone because of it", async () => {
  const { page, finish, sawUnreachable } = await open();
  const { held, letGo } = await hold(page);
  await until(async () => {
    await page.clock.runFor(500);
    return held.length >= 4;
  });
  await page.clock.runFor(6_000);
  await page.getByText("slow to answer").waitFor();
  await letGo();
  await page.getByRole("status").getByText("up", { exact: true }).waitFor();
  assert.equal(await sawUnreachable(), false);
  await finish();
});

test("one connection that breaks is tried again, and two in a row are believed", async () => {
  const { page, finish, sawUnreachable } = await open();
  let broken = 0;
  let answered = 0;
  await page.route(/\/v1\/node$/, async (route) => {
    answered += 1;
    await route.continue();
  });
  await page.route(PROBES, async (route) => {
    if (broken === 4) return await route.fallback();
    broken += 1;
    await route.abort("connectionreset");
  });
  await until(async () => {
    await page.clock.runFor(500);
    return answered > 0;
  });
  await page.getByRole("status").getByText("up", { exact: true }).waitFor();
  assert.equal(broken, 4);
  assert.equal(await sawUnreachable(), false);
  await page.unroute(PROBES);
  await page.route(PROBES, (route) => route.abort("connectionrefused"));
  await until(async () => {
    await page.clock.runFor(500);
    return await page.getByText("Node unreachable: running in this tab.").isVisible();
  });
  await page.unroute(PROBES);
  await until(async () => {
    await page.clock.runFor(500);
    return await page.getByRole("status").getByText("up", { exact: true }).isVisible();
  });
  await finish();
});

test("a node that says nothing at all is gone after a while, and back with its first answer", async () => {
  const { page, finish } = await open();
  const { held, letGo } = await hold(page);
  await until(async () => {
    await page.clock.runFor(500);
    return held.length >= 4;
  });
  await until(async () => {
    await page.clock.runFor(21_000);
    return await page.getByText("Node unreachable: running in this tab.").isVisible();
  });
  await letGo();
  await until(async () => {
    await page.clock.runFor(500);
    return await page.getByRole("status").getByText("up", { exact: true }).isVisible();
  });
  await finish();
});
