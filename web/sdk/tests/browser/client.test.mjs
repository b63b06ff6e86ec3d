// The package as a client: in Node.js, and in a page of another origin that the node allows.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { connect } from '../../dist/index.js';
import { guest, launchBrowser, openPage, servePages, startNode } from './support.mjs';

let node;
let pages;
let browser;
let page;
/** The package in Node.js. */
let here;

before(async () => {
  pages = await servePages();
  node = await startNode({ origins: [pages.url] });
  await node.deploy('sum', 'export default (a, b) => { console.log("adding", a, b); return a + b; }');
  await node.deploy('fail', 'export default () => { console.error("about to"); throw new TypeError("no"); }');
  await node.deploy('reverse', 'export default (bytes) => bytes.reverse();');
  await node.deploy('slow', `export default async (ms) => {
    for (let at = 0; at < 4; at++) {
      runabout.progress(at / 4, "step " + at);
      console.log("step", at);
      await new Promise((resolve) => setTimeout(resolve, ms / 4));
    }
    return "done";
  }`);
  await node.deploy('fib', await guest('fib'), 'application/wasm');
  here = connect(node.url);
  browser = await launchBrowser();
  page = await openPage(browser, pages, node.url);
});

after(async () => {
  await here?.close();
  await browser?.close();
  await pages?.close();
  await node?.close();
});

test('a function is called by name, from Node.js and from a page', async () => {
  assert.equal(await here.fn('sum')(2, 3), 5);
  assert.equal(await page.evaluate(() => window.node.fn('sum')(2, 3)), 5);
});

test('a call brings its lines, where it ran, and how long it took', async () => {
  const heard = [];
  const stop = here.onLog((line) => heard.push(line));
  const report = await here.callWithReport('sum', [2, 3], { place: 'here' });
  stop();
  assert.deepEqual(heard, [{ stream: 'stdout', text: 'adding 2 3', source: 'sum' }]);
  assert.match(report.placement, /^here/);
  assert.ok(report.timing.total > 0);
});

test('a function that throws rejects with its outcome', async () => {
  const heard = [];
  await assert.rejects(here.call('fail', [], { place: 'here', onLog: ({ text }) => heard.push(text) }), (error) => {
    assert.equal(error.name, 'RunaboutError');
    assert.equal(error.code, 'function_threw');
    assert.equal(error.status, 422);
    assert.equal(error.outcome.error.name, 'TypeError');
    return true;
  });
  assert.deepEqual(heard, ['about to']);
});

test('a function that is not there is a problem of that name', async () => {
  await assert.rejects(here.call('nowhere'), { code: 'function_not_found', status: 404 });
});

test('bytes go as they are', async () => {
  assert.deepEqual(await here.call('reverse', [Uint8Array.of(1, 2, 3)]), Uint8Array.of(3, 2, 1));
});

test('a caller who gives up ends the call', async () => {
  const stop = new AbortController();
  const called = here.call('slow', [60_000], { signal: stop.signal });
  setTimeout(() => stop.abort(), 50);
  await assert.rejects(called, { code: 'aborted' });
});

test('the same function runs in the page, with the same result', async () => {
  const values = await page.evaluate(async () => {
    const { node } = window;
    const tab = { place: 'tab' };
    return [await node.call('sum', [2, 3], tab), await node.call('fib', [20], tab),
      [...(await node.call('reverse', [Uint8Array.of(1, 2, 3)], tab))],
      (await node.callWithReport('sum', [1, 1], tab)).placement,
      await node.call('fail', [], tab).catch((error) => [error.code, error.outcome.error.name])];
  });
  assert.deepEqual(values, [5, 6765, [3, 2, 1], 'tab; reason=asked', ['function_threw', 'TypeError']]);
});

test('calls move to the page when that is expected to be sooner', async () => {
  await node.deploy('spin', 'export default (n) => { let sum = 0; for (let at = 0; at < n; at++) sum += at % 7; return sum; }');
  const places = await page.evaluate(async () => {
    const seen = [];
    for (let at = 0; at < 20; at++) {
      seen.push((await window.node.callWithReport('spin', [3_000_000])).ranOn === 'tab' ? 'tab' : 'node');
    }
    return seen;
  });
  assert.deepEqual(places.slice(0, 3), ['node', 'node', 'node']);
  // QuickJS takes some thirty times longer at arithmetic.
  assert.ok(places.slice(4).filter((place) => place === 'tab').length >= 14, places.join(' '));
});

test('a call that the page fails to run goes to the node, and so do the next ones', async () => {
  const spin = 'export default (n) => { let sum = 0; for (let at = 0; at < n; at++) sum += at % 7; return sum; }';
  await node.deploy('exact', spin, 'text/javascript', { engine: 'quickjs' });
  const broken = await openPage(browser, pages, node.url);
  let asked = 0;
  await broken.route('**/quickjs-wasm-*.js', (route) => { asked++; return route.abort(); });
  const seen = await broken.evaluate(async () => {
    const seen = [];
    for (let at = 0; at < 8; at++) {
      const { value, placement } = await window.node.callWithReport('exact', [300_000]);
      seen.push([value, placement.startsWith('tab')]);
    }
    const code = await window.node.call('exact', [1], { place: 'tab' }).catch((error) => error.code);
    return { seen, code };
  });
  assert.deepEqual(seen.seen, Array(8).fill([899_997, false]));
  // Once by the call that tried the page, and once by the call that was to run there.
  assert.deepEqual([seen.code, asked], ['lost', 2]);
  await broken.close();
});

for (const [where, submit] of [
  ['Node.js', async (request) => {
    const handle = await here.submit(request);
    const lines = [];
    const progress = [];
    handle.onLog((line) => lines.push(line.text));
    handle.onProgress((one) => progress.push(one.fraction));
    return { value: await handle.result(), lines, progress, state: handle.state, delivery: handle.delivery };
  }],
  ['a page', async (request) => await page.evaluate(async (request) => {
    const handle = await window.node.submit(request);
    const lines = [];
    const progress = [];
    handle.onLog((line) => lines.push(line.text));
    handle.onProgress((one) => progress.push(one.fraction));
    return { value: await handle.result(), lines, progress, state: handle.state, delivery: handle.delivery };
  }, request)],
]) {
  test(`a task is followed to its end, from ${where}`, async () => {
    const { value, lines, progress, state, delivery } = await submit({ function: 'slow', args: [400] });
    assert.equal(value, 'done');
    assert.deepEqual(lines, ['step 0', 'step 1', 'step 2', 'step 3']);
    assert.ok(progress.length > 0 && progress.every((one, at) => at === 0 || one >= progress[at - 1]));
    assert.deepEqual([state, delivery], ['succeeded', 'accepted']);
  });
}

test('a rule in the manifest holds for calls of the package, unless the caller says a place', async () => {
  await node.deploy('ruled', await guest('fib'), 'application/wasm', { offload: 'args[0] > 32' });
  const placed = async (n, options) => (await here.callWithReport('ruled', [n], options)).placement;
  assert.equal(await placed(20), 'here; reason=rule');
  assert.equal(await placed(33), 'here; reason=no_upstream');
  assert.equal(await placed(20, { place: 'auto' }), 'here; reason=no_upstream');
  // Slow enough for a page to try it itself, were it not the node's to decide.
  const code = 'export default (ms) => { const end = Date.now() + ms; while (Date.now() < end); return ms; }';
  await node.deploy('kept', code, 'text/javascript', { offload: '0' });
  const places = await page.evaluate(async () => {
    const places = [];
    for (let call = 0; call < 8; call++) places.push((await window.node.callWithReport('kept', [10])).placement);
    return places;
  });
  assert.deepEqual(places, Array.from({ length: 8 }, () => 'here; reason=asked'));
});

test('hundreds of tasks are waited for over a few connections', async () => {
  const values = await page.evaluate(async () => {
    const handles = await Promise.all(Array.from({ length: 200 }, (_, n) =>
      window.node.submit({ function: 'sum', args: [n, 1] })));
    return await Promise.all(handles.map((handle) => handle.result()));
  });
  assert.deepEqual(values, Array.from({ length: 200 }, (_, n) => n + 1));
});

test('progress can be iterated', async () => {
  const handle = await here.submit({ function: 'slow', args: [400] });
  const seen = [];
  for await (const { fraction } of handle.progress) seen.push(fraction);
  assert.ok(seen.length > 0 && seen.at(-1) <= 1);
});

test('a task is cancelled', async () => {
  const handle = await here.submit({ function: 'slow', args: [60_000] });
  await handle.cancel();
  await assert.rejects(handle.result(), { code: 'cancelled' });
  assert.equal((await node.json(`/v1/tasks/${handle.id}`)).state, 'cancelled');
});

test('a submission that the node refuses is refused at once, and is not kept', async () => {
  await assert.rejects(here.submit({ function: 'nowhere' }), { code: 'function_not_found' });
  assert.deepEqual(await here.outbox.list(), []);
});

test('the same key is not done twice', async () => {
  const request = { function: 'sum', args: [7, 1] };
  const first = await here.submit(request, { idempotencyKey: 'once' });
  const again = await here.submit(request, { idempotencyKey: 'once' });
  assert.equal(first.id, again.id);
});

test('what a node does not know is asked for as it is', async () => {
  const response = await here.request('/v1/node');
  assert.equal(response.status, 200);
});

test('a page of an origin that is not allowed is refused', async () => {
  const others = await servePages();
  const stranger = await openPage(browser, others, node.url);
  const code = await stranger.evaluate(async () => await window.node.call('sum', [1, 2], { place: 'here' }).catch((error) => error.code));
  // A browser shows no answer to such a page, not even the problem.
  assert.equal(code, 'unreachable');
  await stranger.close();
  await others.close();
});
