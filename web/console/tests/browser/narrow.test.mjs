// Every page on a telephone and on a tablet: nothing is pushed out of sight to the side, no column
// vanishes under another one.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { guest, setUp, startNode } from "./support.mjs";

const PAGES = [
  ["#/", "Ended last"],
  ["#/run", "Run"],
  ["#/tasks", "Tasks"],
  ["#/workers", "Workers"],
  ["#/functions", "Functions"],
  ["#/functions/fib", "Try it"],
  ["#/endpoints", "Endpoints"],
  ["#/endpoints/%2FgetData", "Try it"],
  ["#/schedules", "Schedules", "nightly"],
  ["#/documents", "Documents"],
  ["#/documents/page?view=edit", "page"],
  ["#/documents/page?view=history", "page"],
  ["#/placement", "Upstream"],
];
/** A column narrower than this shows nothing. */
const COLUMN_PX_MIN = 24;

let far;
let world;

before(async () => {
  far = await startNode({ args: ["--name", "far"] });
  world = await setUp({ args: ["--slots", "2", "--upstream", far.url] });
  const { node } = world;
  await node.deploy("fib", await guest("fib"), "application/wasm");
  const put = (path, body, type = "application/json", method = "PUT") =>
    fetch(node.url + path, { method, body, headers: { "Content-Type": type } });
  await put("/v1/endpoints", JSON.stringify({ path: "/getData", function: "fib", args: ["{n=30}"] }));
  await put("/v1/schedules/nightly", JSON.stringify({ cron: "30 3 * * *", task: { function: "fib", args: [9] } }));
  await put("/v1/documents/page", "<h1>A page</h1>\n", "text/html");
  await put("/v1/functions/fib/call", "[20]", "application/json", "POST");
  const task = JSON.stringify({ function: "fib", args: [9], name: "one-with-a-rather-long-name", labels: { team: "data" } });
  const { id } = await (await put("/v1/tasks", task, "application/json", "POST")).json();
  await node.json(`/v1/tasks/${id}?wait=30`);
  PAGES.push([`#/tasks/${id}`, "Outcome"]);
});
after(async () => {
  await world.close();
  await far.close();
});

for (const width of [380, 768]) {
  test(`no page is wider than ${width} px, and each column shows something`, async () => {
    const { page, finish } = await world.open("", { viewport: { width, height: 720 } });
    for (const [hash, heading, row = ""] of PAGES) {
      await page.goto(`${world.node.url}/${hash}`);
      await page.getByRole("heading", { name: heading, exact: true }).first().waitFor();
      if (row !== "") await page.getByRole("row", { name: row }).waitFor();
      const found = await page.evaluate(() => {
        const [whole, main] = [document.documentElement, document.querySelector("main")];
        const columns = [...main.querySelectorAll("th")].filter((one) => one.offsetParent !== null);
        return {
          beside: Math.max(whole.scrollWidth - whole.clientWidth, main.scrollWidth - main.clientWidth),
          columns: columns.map((one) => [one.textContent.trim(), one.getBoundingClientRect().width]),
        };
      });
      assert.equal(found.beside, 0, `${hash} is ${found.beside} px too wide`);
      const lost = found.columns.filter(([, width]) => width < COLUMN_PX_MIN);
      assert.deepEqual(lost, [], hash);
    }
    await finish();
  });
}

test("a telephone has everything that stands below the pages", async () => {
  const { page, finish } = await world.open("", { viewport: { width: 380, height: 720 } });
  const api = page.getByRole("link", { name: "API" });
  await page.getByText("Running now").first().waitFor();
  assert.ok(!(await api.isVisible()));
  await page.getByRole("button", { name: "More" }).click();
  await api.waitFor();
  await page.getByRole("switch", { name: "This tab runs tasks" }).waitFor();
  await page.getByLabel("Theme").selectOption("dark");
  assert.equal(await page.locator("html").getAttribute("data-theme"), "dark");
  await finish();
});
