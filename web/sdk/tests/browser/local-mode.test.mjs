// The node goes away while a page works with it, and comes back: the page goes on, and everything is
// accounted for once.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launchBrowser, openPage, servePages, startNode, until } from './support.mjs';

let node;
let pages;
let browser;
let context;

before(async () => {
  pages = await servePages();
  node = await startNode({ origins: [pages.url] });
  await node.deploy('sum', 'export default (a, b) => a + b;');
  await node.deploy('double', 'export default (n) => { console.log("doubling", n); return 2 * n; }');
  browser = await launchBrowser();
  context = await browser.newContext();
});

after(async () => {
  await browser?.close();
  await pages?.close();
  await node?.close();
});

async function restart() {
  const { port, data } = node;
  node = await startNode({ origins: [pages.url], port, data });
  return node;
}

async function everyTask() {
  const items = [];
  for (let cursor = ''; cursor !== null;) {
    const page = await node.json(`/v1/tasks?limit=100${cursor === '' ? '' : `&cursor=${cursor}`}`);
    items.push(...page.items);
    cursor = page.next_cursor;
  }
  return items;
}

const atEnd = (page) => until(async () => (await page.evaluate(async () => (await window.node.outbox.list()).length)) === 0);

test('with the node away, calls of known functions run in the page', async () => {
  const page = await openPage(context, pages, node.url);
  await page.evaluate(async () => await window.node.pin('sum'));
  await node.stop();
  const told = await page.evaluate(async () => {
    const modes = [];
    window.node.on('mode', (mode) => modes.push(mode));
    const first = await window.node.callWithReport('sum', [2, 3]);
    const second = await window.node.callWithReport('sum', [3, 4]);
    const unknown = await window.node.call('unheard-of').catch((error) => error.code);
    const asked = await window.node.call('sum', [1, 1], { place: 'here' }).catch((error) => error.code);
    return { modes, values: [first.value, second.value], placement: second.placement, unknown, asked, mode: window.node.mode };
  });
  assert.deepEqual(told, {
    modes: ['local'], values: [5, 7], placement: 'tab; reason=node_unreachable', unknown: 'not_kept',
    asked: 'unreachable', mode: 'local',
  });
  await restart();
  await until(async () => await page.evaluate(() => window.node.mode === 'connected'));
  assert.equal((await page.evaluate(async () => (await window.node.callWithReport('sum', [2, 2], { place: 'here' })).placement)).startsWith('here'), true);
  await page.close();
});

test('a page that reloads while the node is away goes on with what it has pinned', async () => {
  const first = await openPage(context, pages, node.url);
  await first.evaluate(async () => await window.node.pin('sum'));
  await first.close();
  await node.stop();
  const again = await openPage(context, pages, node.url);
  assert.equal(await again.evaluate(async () => await window.node.call('sum', [20, 22])), 42);
  await again.close();
  await restart();
});

test('a submission that ran in the page is told to the node once, as that', async () => {
  const page = await openPage(context, pages, node.url);
  await page.evaluate(async () => await window.node.pin('double'));
  await node.stop();
  const local = await page.evaluate(async () => {
    await window.node.call('double', [0]);
    const handle = await window.node.submit({ function: 'double', args: [21], name: 'away' });
    window.away = handle;
    return { value: await handle.result(), delivery: handle.delivery, state: handle.state, logs: (await handle.logs()).map(({ text }) => text) };
  });
  assert.deepEqual(local, { value: 42, delivery: 'local', state: 'succeeded', logs: ['doubling 21'] });
  await restart();
  await atEnd(page);
  const { items } = await node.json('/v1/tasks?name=away');
  assert.equal(items.length, 1);
  const task = await node.json(`/v1/tasks/${items[0].id}?wait=20`);
  assert.deepEqual(task.outcome, { kind: 'returned', value: 42 });
  assert.equal(task.labels['ran-in'], 'tab');
  assert.equal(task.labels['ran-as'], 'double@1');
  const logs = await node.json(`/v1/tasks/${task.id}/logs`);
  assert.deepEqual(logs.items.map(({ text }) => text), ['doubling 21']);
  assert.deepEqual(await page.evaluate(() => [window.away.delivery, window.away.id]), ['accepted', task.id]);
  await page.close();
});

test('what cannot run in a page waits for the node', async () => {
  const page = await openPage(context, pages, node.url);
  await node.stop();
  const waiting = await page.evaluate(async () => {
    await window.node.call('sum', [0, 0]).catch(() => undefined);
    const handle = await window.node.submit({ source: 'const n: number = 5; n', language: 'ts', name: 'typed' });
    window.typed = handle;
    return [handle.delivery, (await window.node.outbox.list()).length];
  });
  assert.deepEqual(waiting, ['waiting for node', 1]);
  await restart();
  assert.equal(await page.evaluate(async () => await window.typed.result()), 5);
  const { items } = await node.json('/v1/tasks?name=typed');
  assert.equal(items.length, 1);
  await page.close();
});

test('a page that is closed leaves its outbox to the next', async () => {
  const page = await openPage(context, pages, node.url);
  await node.stop();
  await page.evaluate(async () => {
    await window.node.call('sum', [0, 0]).catch(() => undefined);
    await window.node.submit({ source: 'const n: number = 6; n', language: 'ts', name: 'left' });
  });
  await page.close();
  await restart();
  const next = await openPage(context, pages, node.url);
  await atEnd(next);
  const { items } = await node.json('/v1/tasks?name=left');
  assert.equal(items.length, 1);
  await next.close();
});

for (const signal of ['SIGTERM', 'SIGKILL']) {
  test(`the node stops (${signal}) while two pages submit, and everything is accounted for once`, async () => {
    const tabs = await Promise.all([openPage(context, pages, node.url), openPage(context, pages, node.url)]);
    for (const [tab, page] of tabs.entries()) {
      await page.evaluate(async ([tab, signal]) => {
        await window.node.pin('double');
        window.submitted = [];
        window.submitting = (async () => {
          for (let n = 0; n < 40; n++) {
            const handle = await window.node.submit({ function: 'double', args: [n], name: `${signal}-${tab}-${n}` });
            window.submitted.push(handle);
            await new Promise((resolve) => setTimeout(resolve, 20));
          }
        })();
      }, [tab, signal]);
    }
    await until(async () => (await tabs[0].evaluate(() => window.submitted.length)) >= 10);
    await node.stop(signal);
    await until(async () => (await tabs[0].evaluate(() => window.submitted.length)) >= 30);
    await restart();
    for (const page of tabs) {
      const values = await page.evaluate(async () => {
        await window.submitting;
        return await Promise.all(window.submitted.map((handle) => handle.result()));
      });
      assert.deepEqual(values, Array.from({ length: 40 }, (_, n) => 2 * n));
      await atEnd(page);
    }
    const names = (await everyTask()).map(({ name }) => name).filter((name) => name?.startsWith(signal));
    assert.equal(names.length, 80);
    assert.equal(new Set(names).size, 80);
    const unfinished = async () => (await everyTask()).filter(({ name, state }) => name?.startsWith(signal) && state !== 'succeeded');
    await until(async () => (await unfinished()).length === 0);
    for (const page of tabs) await page.close();
  });
}
