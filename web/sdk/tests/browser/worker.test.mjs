// Tabs as workers of a node that has no slots of its own.

import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { connect } from '../../dist/index.js';
import {
  guest, launchBrowser, openPage, servePages, startNode, STEPS, until, workingTab as workerTab,
} from './support.mjs';

let pages;
let browser;
let node;
let context;
let here;

before(async () => {
  pages = await servePages();
  browser = await launchBrowser();
});

after(async () => {
  await browser?.close();
  await pages?.close();
});

beforeEach(async () => {
  node = await startNode({ origins: [pages.url], args: ['--slots', '0'] });
  context = await browser.newContext();
  here = connect(node.url);
});

afterEach(async () => {
  await context?.close();
  await here?.close();
  await node?.close();
});

const show = async (id, wait = 0) => await node.json(`/v1/tasks/${id}${wait > 0 ? `?wait=${wait}` : ''}`);
const attempts = async (id) => {
  const answer = await node.json(`/v1/tasks/${id}/attempts`);
  return answer.items ?? answer;
};

/** A tab of this test that works for its node. */
const workingTab = (slots, name) => workerTab(context, pages, node, slots, name);

test('a script submitted in one tab runs in another, and its result comes back', async () => {
  const worker = await workingTab(2, 'tab B');
  const submitter = await openPage(context, pages, node.url);
  const told = await submitter.evaluate(async () => {
    const handle = await window.node.submit({ source: 'console.log("here"); 6 * 7;' });
    const lines = [];
    handle.onLog(({ text }) => lines.push(text));
    return { value: await handle.result(), lines, id: handle.id };
  });
  assert.deepEqual([told.value, told.lines], [42, ['here']]);
  const task = await show(told.id);
  assert.equal(task.trust, 'tab');
  assert.equal(task.worker, await worker.evaluate(() => window.worker.id));
  assert.deepEqual([task.usage.cpu_ms, task.usage.memory_peak_bytes], [null, null]);
});

test('every language runs in a tab as on a node', async () => {
  await workingTab(2);
  await node.deploy('fib', await guest('fib'), 'application/wasm');
  await node.deploy('echo', await guest('echo'), 'application/wasm');
  await node.deploy('sum', 'export default (a: number, b: number): number => a + b;', 'text/typescript');
  await node.deploy('bytes', 'export default (bytes) => bytes.map((byte) => byte * 2);');
  const result = async (request) => await (await here.submit(request)).result();
  assert.equal(await result({ function: 'fib', args: [20] }), 6765);
  assert.equal(await result({ function: 'sum', args: [2, 3] }), 5);
  assert.deepEqual(await result({ function: 'bytes', args: ['AQID'], args_encoding: 'base64' }), Uint8Array.of(2, 4, 6));
  assert.ok((await result({ function: 'echo', args: ['a'], stdin: 'b' })) !== null);
  assert.equal(await result({ source: 'const n = await Promise.resolve(4); n * 2;' }), 8);
  await assert.rejects(result({ source: 'throw new RangeError("far");' }), (error) => {
    assert.deepEqual([error.code, error.outcome.error.name], ['function_threw', 'RangeError']);
    return true;
  });
});

test('explicit limits are kept exactly, in QuickJS', async () => {
  await workingTab(1);
  const handle = await here.submit({ source: 'for (;;) {}', limits: { cpu_ms: 200 } });
  const { outcome, usage } = await handle.finished();
  assert.deepEqual(outcome, { kind: 'timed_out', limit: 'cpu', limit_ms: 200 });
  assert.ok(usage.cpu_ms >= 200 && usage.memory_peak_bytes > 0);
});

test('an endless loop ends at its limit, and the next task runs in a fresh Web Worker', async () => {
  await workingTab(1);
  const endless = await here.submit({ source: 'globalThis.seen = 1; while (true) {}', limits: { timeout_ms: 500 } });
  assert.deepEqual((await endless.finished()).outcome, { kind: 'timed_out', limit: 'wall', limit_ms: 500 });
  assert.equal(await (await here.submit({ source: 'globalThis.seen === undefined' })).result(), true);
});

test('two hundred tasks finish while the tab goes from 4 slots to 1 to 8', async () => {
  const tab = await workingTab(4);
  await node.deploy('double', 'export default async (n) => { await new Promise((r) => setTimeout(r, 5)); return 2 * n; }');
  const handles = await Promise.all(Array.from({ length: 200 }, (_, n) => here.submit({ function: 'double', args: [n] })));
  const results = handles.map((handle) => handle.result());
  await Promise.all(results.slice(0, 20));
  await tab.evaluate(() => window.worker.resize(1));
  await Promise.all(results.slice(0, 40));
  await tab.evaluate(() => window.worker.resize(8));
  assert.deepEqual(await Promise.all(results), Array.from({ length: 200 }, (_, n) => 2 * n));
  for (const { id } of handles) assert.equal((await attempts(id)).length, 1);
});

test('the node resizes a tab', async () => {
  const tab = await workingTab(2);
  const id = await tab.evaluate(() => window.worker.id);
  const response = await fetch(`${node.url}/v1/workers/${id}`, {
    method: 'PATCH', headers: { 'Content-Type': 'application/json' }, body: '{"slots":5}',
  });
  assert.ok(response.ok);
  await until(async () => (await tab.evaluate(() => [window.worker.slots, window.node.pool.slots].join())) === '5,5');
});

test('a tab is closed with ten tasks, and all ten finish elsewhere, once, from their checkpoints', async () => {
  const first = await workingTab(10, 'first');
  await node.deploy('steps', STEPS);
  const handles = await Promise.all(Array.from({ length: 10 }, () => here.submit({ function: 'steps', args: [20, 100] })));
  await until(async () => {
    const tasks = await Promise.all(handles.map(({ id }) => show(id)));
    return tasks.every(({ progress }) => (progress?.fraction ?? 0) >= 0.2);
  });
  await workingTab(10, 'second');
  await first.close();
  for (const handle of handles) {
    const { outcome, lost, attempt } = await handle.finished();
    assert.equal(outcome.kind, 'returned', JSON.stringify(outcome));
    assert.equal(outcome.value.count, 20);
    assert.ok(outcome.value.from >= 3, `began again from ${outcome.value.from}`);
    assert.deepEqual([lost, attempt], [1, 2]);
    const kinds = (await attempts(handle.id)).map(({ outcome }) => outcome?.kind);
    assert.equal(kinds.filter((kind) => kind === 'returned').length, 1);
  }
});

test('a cancelled task ends at once, and its neighbour goes on', async () => {
  const tab = await workingTab(2);
  const endless = await here.submit({ source: 'while (true) {}' });
  await node.deploy('steps', STEPS);
  const other = await here.submit({ function: 'steps', args: [5, 50] });
  await until(async () => (await show(endless.id)).state === 'running');
  await endless.cancel();
  assert.equal((await show(endless.id)).state, 'cancelled');
  assert.equal((await other.result()).count, 5);
  await until(async () => (await tab.evaluate(() => window.worker.running)) === 0);
});

test('a tab that says goodbye leaves its tasks to others, uncounted', async () => {
  const tab = await workingTab(1, 'leaving');
  await node.deploy('steps', STEPS);
  const handle = await here.submit({ function: 'steps', args: [10, 100] });
  await until(async () => ((await show(handle.id)).progress?.fraction ?? 0) > 0);
  await workingTab(1, 'staying');
  await tab.evaluate(async () => await window.worker.stop());
  assert.equal(await tab.evaluate(() => window.worker.state), 'stopped');
  const { outcome } = await handle.finished();
  assert.equal(outcome.kind, 'returned');
});

test('a tab comes back when its node was restarted', async () => {
  const tab = await workingTab(1);
  const { port, data } = node;
  await node.stop();
  await until(async () => (await tab.evaluate(() => window.worker.state)) !== 'working');
  node = await startNode({ origins: [pages.url], args: ['--slots', '0'], port, data });
  await until(async () => (await tab.evaluate(() => window.worker.state)) === 'working');
  assert.equal(await (await here.submit({ source: '1 + 1' })).result(), 2);
});

test('frames from a session that does not hold the attempt change nothing', async () => {
  await workingTab(1, 'holder');
  await node.deploy('steps', STEPS);
  const handle = await here.submit({ function: 'steps', args: [10, 100] });
  await until(async () => (await show(handle.id)).state === 'running');
  const stranger = await openPage(context, pages, node.url);
  await stranger.evaluate(async ([url, task]) => {
    const socket = new WebSocket(`${url.replace('http', 'ws')}/v1/work`);
    await new Promise((resolve) => { socket.onopen = resolve; });
    const say = (frame) => socket.send(JSON.stringify(frame));
    const welcomed = new Promise((resolve) => {
      socket.onmessage = ({ data }) => { if (JSON.parse(data).type === 'welcome') resolve(); };
    });
    say({ type: 'hello', protocol: 1, kind: 'tab', slots: 0, capabilities: [] });
    await welcomed;
    const usage = { cpu_ms: null, wall_ms: 1, memory_peak_bytes: null };
    for (const attempt of [0, 1, 2]) {
      say({ type: 'progress', task, attempt, fraction: 0.99 });
      say({ type: 'finished', task, attempt, outcome: { kind: 'returned', value: 'forged' }, usage });
    }
  }, [node.url, handle.id]);
  assert.deepEqual(await handle.result(), { from: 0, count: 10 });
});

test('code that could not be had at once is asked for again, and the attempt goes on', async () => {
  const tab = await workingTab(1);
  let asked = 0;
  await tab.route('**/v1/artifacts/**', (route) => (++asked < 3 ? route.abort() : route.continue()));
  const handle = await here.submit({ source: '6 * 7' });
  assert.equal(await handle.result(), 42);
  assert.deepEqual([asked, (await show(handle.id)).attempt], [3, 1]);
});

test('a tab that cannot get the code leaves the task to others', async () => {
  const tab = await workingTab(1);
  await tab.route('**/v1/artifacts/**', (route) => route.abort());
  const handle = await here.submit({ source: '6 * 7' });
  await until(async () => (await show(handle.id)).state === 'running');
  const other = await workingTab(1);
  assert.equal(await handle.result(), 42);
  const { lost, worker } = await show(handle.id);
  assert.deepEqual([lost, worker], [1, await other.evaluate(() => window.worker.id)]);
});

test('a tab that fails to run a task hands it back, and the function is not blamed', async () => {
  const tab = await workingTab(1);
  // What runs QuickJS is a file of the package: it may be out of reach when it is first needed.
  let asked = 0;
  await tab.route('**/quickjs-wasm-*.js', (route) => (++asked === 1 ? route.abort() : route.continue()));
  await node.deploy('exact', 'export default () => 7;', 'text/javascript', { engine: 'quickjs' });
  const handle = await here.submit({ function: 'exact' });
  assert.equal(await handle.result(), 7);
  const { lost, attempt } = await show(handle.id);
  assert.deepEqual([asked, lost, attempt], [2, 1, 2]);
  assert.deepEqual((await attempts(handle.id)).map(({ outcome }) => outcome?.kind), ['lost', 'returned']);
});

test('a memory bomb is lost with its tab’s sandbox, and others’ tasks go on', async () => {
  await workingTab(1);
  // In QuickJS its limit is exact; a native one ends the sandbox's process, which another test shows.
  const bomb = await here.submit({ source: 'const a = []; for (;;) a.push("x".repeat(1e5) + a.length);', limits: { memory_bytes: 32 << 20 } });
  assert.deepEqual((await bomb.finished()).outcome, { kind: 'out_of_memory', limit_bytes: 32 << 20 });
  assert.equal(await (await here.submit({ source: '2 + 2' })).result(), 4);
});
