import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { guest, setUp, startNode } from "./support.mjs";

let far;
let world;

before(async () => {
  far = await startNode({ args: ["--name", "far"] });
  world = await setUp({ args: ["--name", "near", "--upstream", far.url] });
  await world.node.deploy("fib", await guest("fib"), "application/wasm");
});
after(async () => {
  await world.close();
  await far.close();
});

async function call(n) {
  const answer = await fetch(`${world.node.url}/v1/functions/fib/call`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify([n]),
  });
  assert.equal(answer.status, 200);
}

test("a node without an upstream says how it gets one", async () => {
  const alone = await setUp();
  const { page, finish } = await alone.open("#/placement");
  await page.getByRole("heading", { name: "There is no node behind this one" }).waitFor();
  await page.getByText("runabout serve --upstream").waitFor();
  await finish();
  await alone.close();
});

test("what was learned and decided is shown, and that the upstream is gone", async () => {
  const { page, finish } = await world.open("#/placement");
  await page.getByRole("heading", { name: "Nothing was decided yet" }).waitFor();
  await page.getByText("reachable", { exact: true }).waitFor();
  for (const n of [20, 20, 24]) await call(n);
  const learned = page.getByRole("region", { name: "fib" });
  const row = (n) => learned.getByRole("row").filter({ has: page.getByRole("cell", { name: n, exact: true }) });
  await row("24").waitFor();
  const { functions } = await world.node.json("/v1/placement");
  const [twenty] = functions[0].classes.filter((one) => one.class === "20");
  const { here, upstream, both } = twenty.decided;
  assert.equal(here + upstream + both, 2);
  const cells = await row("20").getByRole("cell").allInnerTexts();
  assert.deepEqual(cells.slice(6, 9), [`${here}`, `${upstream}`, `${both}`]);
  assert.match(cells[1], /ms|µs/);
  assert.match(cells[9], /^(here|upstream|both) /);

  await page.getByRole("searchbox", { name: "Function" }).fill("no such");
  await page.getByText("No function that was called has a name like that.").waitFor();
  await far.stop();
  // The node may take it for gone only when it asks, and a call is what makes it ask.
  await call(20);
  await page.getByText("unreachable", { exact: true }).waitFor();
  await page.getByText("calls run here at once").waitFor();
  await finish();
});
