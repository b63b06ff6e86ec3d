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

/** Begins to watch the page's main thread: how long it has been busy, by the processor's time, and how
 * late a timer of its is. */
async function watchMainThread(page) {
  const session = await page.context().newCDPSession(page);
  // In the thread's own time: what other programs take of the machine is not the page's doing.
  await session.send('Performance.enable', { timeDomain: 'threadTicks' });
  const busy = async () => {
    const { metrics } = await session.send('Performance.getMetrics');
    return metrics.find(({ name }) => name === 'TaskDuration').value * 1_000;
  };
  await page.evaluate(() => {
    window.latest = 0;
    let due = performance.now() + 20;
    window.watching = setInterval(() => {
      window.latest = Math.max(window.latest, performance.now() - due);
      due = performance.now() + 20;
    }, 20);
  });
  const before = await busy();
  return async () => {
    const busyMs = (await busy()) - before;
    const lateMs = await page.evaluate(() => {
      clearInterval(window.watching);
      return window.latest;
    });
    await session.detach();
    return { busyMs, lateMs };
  };
}

test('the watch sees a main thread that is not responsive', async () => {
  const page = await open();
  const seen = await watchMainThread(page);
  // Work, not time: however little of the processor the page gets, it takes this much of it.
  await page.evaluate(() => { let n = 0; for (let i = 0; i < 3e8; i++) n = (n * 31 + i) | 0; return n; });
  const { busyMs, lateMs } = await seen();
  assert.ok(busyMs > 100 && lateMs > 100, `busy for ${busyMs} ms, a timer ${lateMs} ms late`);
  await page.close();
});

test('the page stays responsive while endless loops fill the pool, and each ends at its limit', async (context) => {
  const page = await open();
  // What is measured is the page, and not how long its parts take to load.
  await page.evaluate(async () => {
    await Promise.all([window.node.run({ code: '1' }), window.node.run({ code: '1', engine: 'quickjs' })]);
    window.node.resize(2);
  });
  const seen = await watchMainThread(page);
  const { ends, next } = await page.evaluate(async () => {
    const { node } = window;
    const loops = ['while (true) {}', 'for (;;) { [].concat([1]); }', 'const s = []; for (;;) { s.push(1); if (s.length > 1000) s.length = 0; }'];
    const ends = await Promise.all(['native', 'quickjs'].flatMap((engine) => loops.map((code) =>
      node.run({ code, engine, limits: { timeout_ms: 700 } }))));
    const next = await node.run({ code: 'globalThis.seen === undefined' });
    return { ends: ends.map(({ outcome, usage }) => [outcome.kind, outcome.limit_ms, usage.wall_ms]), next: next.outcome };
  });
  const { busyMs, lateMs } = await seen();
  for (const [kind, limit, wallMs] of ends) {
    assert.deepEqual([kind, limit], ['timed_out', 700]);
    assert.ok(wallMs >= 699, `${wallMs} ms`);
  }
  assert.deepEqual(next, { kind: 'returned', value: true });
  // In all of the two seconds and more together: a timer that was later than that waited for the
  // machine, and for nothing that the page did.
  assert.ok(busyMs <= 100, `the page’s main thread was busy for ${busyMs} ms`);
  context.diagnostic(`main thread busy for ${busyMs.toFixed(1)} ms in all, a timer at most ${lateMs.toFixed(1)} ms late`);
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
