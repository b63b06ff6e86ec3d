// Guests that mean harm: the page they run in survives, stays responsive, and goes on.

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';
import { launchBrowser, openPage, servePages, until } from './support.mjs';

let browser;
let pages;

before(async () => {
  pages = await servePages();
  browser = await launchBrowser();
});

after(async () => {
  await browser?.close();
  await pages?.close();
});

const open = async () => await openPage(browser, pages, 'http://127.0.0.1:9', { offline: true });

/** Begins to watch how late a timer of the page's main thread is. */
async function watchTimer(page) {
  await page.evaluate(() => {
    window.latest = 0;
    let due = performance.now() + 20;
    window.watching = setInterval(() => {
      window.latest = Math.max(window.latest, performance.now() - due);
      due = performance.now() + 20;
    }, 20);
  });
  return async () => await page.evaluate(() => {
    clearInterval(window.watching);
    return window.latest;
  });
}

test('the page stays responsive while endless loops fill the pool, and each ends at its limit', async () => {
  const page = await open();
  // A page of its own process, with nothing in it: what it is late by is the machine's doing.
  const idle = await browser.newPage();
  await idle.goto(pages.url.replace('127.0.0.1', 'localhost'));
  // What is measured is the page, and not how long its parts take to load.
  await page.evaluate(async () => {
    await Promise.all([window.node.run({ code: '1' }), window.node.run({ code: '1', engine: 'quickjs' })]);
    window.node.resize(2);
  });
  const [latest, latestIdle] = [await watchTimer(page), await watchTimer(idle)];
  const { ends, next } = await page.evaluate(async () => {
    const { node } = window;
    const loops = ['while (true) {}', 'for (;;) { [].concat([1]); }', 'const s = []; for (;;) { s.push(1); if (s.length > 1000) s.length = 0; }'];
    const ends = await Promise.all(['native', 'quickjs'].flatMap((engine) => loops.map((code) =>
      node.run({ code, engine, limits: { timeout_ms: 700 } }))));
    const next = await node.run({ code: 'globalThis.seen === undefined' });
    return { ends: ends.map(({ outcome, usage }) => [outcome.kind, outcome.limit_ms, usage.wall_ms]), next: next.outcome };
  });
  const [late, lateIdle] = [await latest(), await latestIdle()];
  for (const [kind, limit, wallMs] of ends) {
    assert.deepEqual([kind, limit], ['timed_out', 700]);
    assert.ok(wallMs >= 699 && wallMs < 2_000 + 10 * lateIdle, `${wallMs} ms, an idle page's timer ${lateIdle} ms late`);
  }
  assert.deepEqual(next, { kind: 'returned', value: true });
  assert.ok(late <= 100 + lateIdle, `a timer of the page was ${late} ms late, one of an idle page ${lateIdle} ms`);
  await idle.close();
  await page.close();
});

test('a flood of output and progress neither chokes the page nor gets past its bounds', async () => {
  const page = await open();
  const { truncated, bytes, kind } = await page.evaluate(async () => {
    const report = await window.node.run({
      code: 'for (let n = 0; ; n++) { console.log("x".repeat(500), n); runabout.progress(0.5); runabout.checkpoint({ n }); }', limits: { timeout_ms: 3_000 },
    });
    const bytes = report.output.reduce((sum, { text }) => sum + text.length + 1, 0);
    return { truncated: report.outputTruncated, bytes, kind: report.outcome.kind };
  });
  assert.deepEqual([truncated, kind], [true, 'timed_out']);
  assert.ok(bytes <= (1 << 20) + 1, `${bytes}`);
  await page.close();
});

test('a WebAssembly memory bomb ends as out of memory, and the next run is fresh', async () => {
  const page = await open();
  // Grows by a page until it is refused, and traps then.
  const bomb = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 4, 1, 0x60, 0, 0, 3, 2, 1, 0, 5, 3, 1, 0, 1,
    7, 17, 2, 6, ...Buffer.from('memory'), 2, 0, 4, ...Buffer.from('bomb'), 0, 0,
    10, 20, 1, 18, 0, 0x03, 0x40, 0x41, 1, 0x40, 0, 0x41, 0x7f, 0x46, 0x04, 0x40, 0x00, 0x0b, 0x0c, 0, 0x0b, 0x0b];
  const kinds = await page.evaluate(async (bomb) => {
    const first = await window.node.run({ code: Uint8Array.from(bomb), export: 'bomb', limits: { memory_bytes: 64 << 20 } });
    const next = await window.node.run({ code: '1 + 1' });
    return [first.outcome, next.outcome.value];
  }, bomb);
  assert.deepEqual(kinds, [{ kind: 'out_of_memory', limit_bytes: 64 << 20 }, 2]);
  await page.close();
});

test('a memory bomb of native JavaScript takes its sandbox along at most, and the page goes on', async () => {
  // The frame runs in a process of its own, which the browser ends. Playwright takes that for a crash of
  // the page and speaks to it no more, so that the page tells a server what it sees.
  const told = [];
  const ear = createServer((request, response) => {
    told.push(decodeURIComponent(request.url.slice(1)));
    response.setHeader('Access-Control-Allow-Origin', '*');
    response.end();
  });
  await new Promise((resolve) => ear.listen(0, '127.0.0.1', resolve));
  const other = await launchBrowser();
  const page = await openPage(other, pages, 'http://127.0.0.1:9', { offline: true });
  page.evaluate(async (ear) => {
    const tell = (what) => fetch(`${ear}/${encodeURIComponent(what)}`);
    const bomb = await window.node.run({
      code: 'const a = []; for (;;) a.push(new Array(1e7).fill(1.5));', limits: { timeout_ms: 120_000 },
    });
    await tell(`bomb ${bomb.outcome.kind}`);
    const next = await window.node.run({ code: '6 * 7' });
    await tell(`next ${next.outcome.value}`);
  }, `http://127.0.0.1:${ear.address().port}`).catch(() => undefined);
  await until(() => told.length === 2, 180_000);
  assert.match(told[0], /^bomb (lost|out_of_memory|timed_out)$/);
  assert.equal(told[1], 'next 42');
  await other.close();
  ear.closeAllConnections();
  ear.close();
});
