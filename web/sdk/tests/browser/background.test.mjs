// Tabs that nobody looks at: slowed down, frozen, stopped by the system, discarded.

import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { chromium } from 'playwright-core';
import { connect } from '../../dist/index.js';
import { HiddenPages } from './hidden-pages.mjs';
import { launchBrowser, launchOptions, servePages, startNode, STEPS, until, workingTab } from './support.mjs';

let pages;
let hidden;
let browser;
let node;
let here;

before(async () => {
  pages = await servePages();
  hidden = await HiddenPages.launch();
  browser = await launchBrowser();
});

after(async () => {
  await browser?.close();
  await hidden?.close();
  await pages?.close();
});

beforeEach(async () => {
  node = await startNode({ origins: [pages.url], args: ['--slots', '0'] });
  here = connect(node.url);
  await node.deploy('steps', STEPS);
});

afterEach(async () => {
  await here?.close();
  await node?.close();
});

const show = async (id) => await node.json(`/v1/tasks/${id}`);

/** A tab that another worker takes over from. */
async function awake() {
  return await workingTab(browser, pages, node, 1, 'awake');
}

/** Makes the page a worker; again, if it was loaded again. */
async function work(tab, slots) {
  await until(async () => await tab.evaluate('document.readyState === "complete" && document.title === "test"')
    .catch(() => false));
  await tab.evaluate(`(async () => {
    const { connect } = await import('${pages.url}/sdk/index.js');
    window.worker = connect('${node.url}', { pool: { slots: ${slots} } }).work({ slots: ${slots} });
    document.addEventListener('freeze', () => { window.hasFrozen = true; });
  })()`);
  await until(async () => await tab.evaluate('window.worker.state === "working"'));
}

/** A tab that works for the node and has another in front of it. */
async function hiddenTab(slots) {
  const tab = await hidden.open(pages.url);
  await work(tab, slots);
  await (await hidden.open(pages.url)).toFront();
  await until(async () => (await tab.evaluate('document.visibilityState')) === 'hidden');
  return tab;
}

test('a tab in the background keeps its session and its limits while its timers are held back', async () => {
  const tab = await hiddenTab(2);
  await tab.evaluate('window.ticks = 0; (function tick() { ticks++; setTimeout(tick, 20); })();');
  // As slow as browsers make the timers of a page hidden for minutes.
  await until(async () => {
    const before = await tab.evaluate('ticks');
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    return (await tab.evaluate('ticks')) <= before + 1;
  });
  const [id, before] = [await tab.evaluate('worker.id'), await tab.evaluate('ticks')];
  // Longer than three pings, and than an attempt may take to say that it has begun.
  const long = await here.submit({ source: 'await new Promise((r) => setTimeout(r, 21_000)); 5' });
  const endless = await here.submit({ source: 'for (;;) {}', limits: { timeout_ms: 500 } });
  const { outcome, usage } = await endless.finished();
  assert.deepEqual(outcome, { kind: 'timed_out', limit: 'wall', limit_ms: 500 });
  assert.ok(usage.wall_ms < 10_000, `${usage.wall_ms} ms`);
  assert.equal(await long.result(), 5);
  const { attempt, lost } = await show(long.id);
  assert.deepEqual([attempt, lost], [1, 0]);
  assert.equal(await tab.evaluate('worker.id'), id);
  const ticks = (await tab.evaluate('ticks')) - before;
  assert.ok(ticks <= 25, `the page’s timers were not held back: ${ticks} ticks`);
});

test('a frozen tab’s attempts run elsewhere, and it comes back when it resumes', async () => {
  const tab = await hiddenTab(1);
  const handle = await here.submit({ function: 'steps', args: [60, 100] });
  await until(async () => ((await show(handle.id)).progress?.fraction ?? 0) > 0);
  const before = await tab.evaluate('worker.id');
  await tab.send('Page.setWebLifecycleState', { state: 'frozen' });
  const other = await awake();
  const { outcome, lost } = await handle.finished();
  assert.equal(outcome.kind, 'returned', JSON.stringify(outcome));
  assert.ok(outcome.value.from >= 1);
  assert.equal(lost, 1);
  await tab.send('Page.setWebLifecycleState', { state: 'active' });
  await until(async () => await tab.evaluate(`worker.state === 'working' && worker.id !== '${before}'`));
  assert.equal(await tab.evaluate('window.hasFrozen'), true);
  // Its own late result has changed nothing, and it works as before.
  assert.deepEqual((await show(handle.id)).outcome, outcome);
  await other.close();
  const next = await here.submit({ source: '2 + 2' });
  assert.equal(await next.result(), 4);
  assert.equal((await show(next.id)).worker, await tab.evaluate('worker.id'));
});

test('a discarded tab’s attempts run elsewhere, and it works again once it is loaded', async () => {
  const tab = await hiddenTab(1);
  const handle = await here.submit({ function: 'steps', args: [60, 100] });
  await until(async () => ((await show(handle.id)).progress?.fraction ?? 0) > 0);
  // To the node, and to the page, a discard is this: its process is gone, without a word.
  tab.send('Page.crash').catch(() => undefined);
  const other = await awake();
  const { outcome, lost } = await handle.finished();
  assert.equal(outcome.kind, 'returned', JSON.stringify(outcome));
  assert.ok(outcome.value.from >= 1);
  assert.equal(lost, 1);
  await other.close();
  await tab.send('Page.reload');
  await work(tab, 1);
  assert.equal(await (await here.submit({ source: '3 + 3' })).result(), 6);
});

test('a stopped tab’s attempts run elsewhere, and it comes back when its processes go on', async () => {
  // A browser of its own: its pages' processes are stopped, as a system does that wants their share.
  const server = await chromium.launchServer(launchOptions);
  const other = await chromium.connect(server.wsEndpoint());
  const stopped = await workingTab(await other.newContext(), pages, node, 1, 'stopped');
  await node.deploy('steps', STEPS);
  const handle = await here.submit({ function: 'steps', args: [60, 100] });
  await until(async () => ((await show(handle.id)).progress?.fraction ?? 0) > 0);
  const before = await stopped.evaluate(() => window.worker.id);
  const pids = await renderersOf(server.process().pid);
  for (const pid of pids) process.kill(pid, 'SIGSTOP');
  await awake();
  const { outcome, lost } = await handle.finished();
  assert.equal(outcome.kind, 'returned', JSON.stringify(outcome));
  assert.ok(outcome.value.from >= 1);
  assert.equal(lost, 1);
  for (const pid of pids) process.kill(pid, 'SIGCONT');
  await until(async () => await stopped.evaluate(
    (before) => window.worker.state === 'working' && window.worker.id !== before, before));
  // Its own late result has changed nothing.
  assert.deepEqual((await show(handle.id)).outcome, outcome);
  await other.close();
  await server.close();
});

/** The processes of a browser that run pages. */
async function renderersOf(browserPid) {
  const parents = new Map();
  const renderers = [];
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const pid = Number(name);
      const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
      parents.set(pid, Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]));
      if ((await readFile(`/proc/${pid}/cmdline`, 'utf8')).includes('--type=renderer')) renderers.push(pid);
    } catch {
      // It ended while we looked.
    }
  }
  const isOfBrowser = (pid) => pid === browserPid || (parents.has(pid) && isOfBrowser(parents.get(pid)));
  return renderers.filter(isOfBrowser);
}
