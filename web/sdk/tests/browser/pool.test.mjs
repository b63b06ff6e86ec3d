// Runs in the page's own pool, without any node: what they see, what they give, and how they end.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { guest, launchBrowser, openPage, servePages } from './support.mjs';

let browser;
let pages;
let page;

before(async () => {
  pages = await servePages();
  browser = await launchBrowser();
  page = await openPage(browser, pages, 'http://127.0.0.1:9', { offline: true });
});

after(async () => {
  await browser?.close();
  await pages?.close();
});

/** Runs code in the page's pool; gives the report. */
async function run(request) {
  return await page.evaluate(async ({ bytes, byteArgs, ...request }) => {
    if (bytes !== undefined) request.code = Uint8Array.from(bytes);
    if (byteArgs !== undefined) request.args = byteArgs.map((one) => Uint8Array.from(one));
    return await window.node.run(request);
  }, request);
}

async function outcome(request) {
  return (await run(request)).outcome;
}

const returned = (value) => ({ kind: 'returned', value });

for (const engine of ['native', 'quickjs']) {
  test(`a script's last expression is its value (${engine})`, async () => {
    const report = await run({ code: 'const x=1; const y=2; console.log(x+y); x + y;', engine });
    assert.deepEqual(report.outcome, returned(3));
    assert.deepEqual(report.output, [{ stream: 'stdout', text: '3', source: 'run' }]);
    assert.equal(report.usage.ran_on, 'tab');
  });

  test(`a script may await at its top (${engine})`, async () => {
    assert.deepEqual(await outcome({ code: 'const a = await Promise.resolve(20); a + 1;', engine }), returned(21));
  });

  test(`a module's default and named exports are called (${engine})`, async () => {
    const code = 'export default (a, b) => a + b; export async function twice(n) { return n * 2; }';
    assert.deepEqual(await outcome({ code, args: [2, 3], engine }), returned(5));
    assert.deepEqual(await outcome({ code, export: 'twice', args: [21], engine }), returned(42));
  });

  test(`undefined is null, and values follow JSON (${engine})`, async () => {
    assert.deepEqual(await outcome({ code: 'undefined', engine }), returned(null));
    assert.deepEqual(await outcome({ code: '({ a: [1, undefined, NaN], b: undefined })', engine }),
      returned({ a: [1, null, null] }));
  });

  test(`bytes go in and come out (${engine})`, async () => {
    const code = 'export default (bytes) => bytes.map((byte) => byte + 1);';
    assert.deepEqual(await outcome({ code, byteArgs: [[1, 2, 255]], engine }),
      { kind: 'returned', value: 'AgMA', value_encoding: 'base64' });
  });

  test(`what is thrown is told, with its lines (${engine})`, async () => {
    const { kind, error } = await outcome({ code: 'function f() {\n  throw new TypeError("no");\n}\nf();', engine });
    assert.equal(kind, 'threw');
    assert.equal(error.name, 'TypeError');
    assert.equal(error.message, 'no');
    assert.match(error.stack, /at f \(function\.js:2:/);
    assert.doesNotMatch(error.stack, /blob:/);
  });

  test(`a script waits for its timers, a module does not (${engine})`, async () => {
    const script = await run({ code: 'setTimeout(() => console.log("later"), 30); 1;', engine });
    assert.deepEqual(script.outcome, returned(1));
    assert.deepEqual(script.output.map(({ text }) => text), ['later']);
    const module = await run({ code: 'export default () => { setTimeout(() => console.log("later"), 30); return 1; }', engine });
    assert.deepEqual(module.outcome, returned(1));
    assert.deepEqual(module.output, []);
  });

  test(`a rejection that nobody handles makes a script throw (${engine})`, async () => {
    const { kind, error } = await outcome({ code: 'Promise.reject(new RangeError("lost")); 1;', engine });
    assert.deepEqual([kind, error.name], ['threw', 'RangeError']);
    assert.deepEqual(await outcome({ code: 'Promise.reject(new Error()).catch(() => {}); 2;', engine }), returned(2));
  });

  test(`a promise that never settles ends the run (${engine})`, async () => {
    const { kind, error } = await outcome({ code: 'export default () => new Promise(() => {});', engine });
    assert.deepEqual([kind, error.name], ['threw', 'NeverSettled']);
  });

  test(`a result beyond 6 MiB is too large (${engine})`, async () => {
    const { kind, error } = await outcome({ code: '"x".repeat(7 << 20)', engine });
    assert.deepEqual([kind, error.name], ['threw', 'ResultTooLarge']);
  });

  test(`output beyond 1 MiB is cut and marked (${engine})`, async () => {
    const report = await run({ code: 'for (let i = 0; i < 3000; i++) console.log("x".repeat(999)); 1;', engine });
    assert.deepEqual(report.outcome, returned(1));
    assert.equal(report.outputTruncated, true);
    const bytes = report.output.reduce((sum, { text }) => sum + text.length + 1, 0);
    assert.ok(bytes > 1_000_000 && bytes <= (1 << 20) + 1, `${bytes}`);
  });

  test(`an endless loop ends at its limit (${engine})`, async () => {
    assert.deepEqual(await outcome({ code: 'while (true) {}', engine, limits: { timeout_ms: 300 } }),
      { kind: 'timed_out', limit: 'wall', limit_ms: 300 });
    assert.deepEqual(await outcome({ code: '1 + 1', engine }), returned(2));
  });

  test(`two runs share nothing (${engine})`, async () => {
    const code = 'const before = globalThis.seen ?? "nothing"; globalThis.seen = 1; Array.prototype.map = 7; before;';
    assert.deepEqual(await outcome({ code, engine }), returned('nothing'));
    assert.deepEqual(await outcome({ code, engine }), returned('nothing'));
    assert.deepEqual(await outcome({ code: '[1].map((n) => n + 1)', engine }), returned([2]));
    const draws = new Set();
    for (let at = 0; at < 4; at++) draws.add((await outcome({ code: 'Math.random()', engine })).value);
    assert.equal(draws.size, 4);
  });

  test(`progress is told as it comes (${engine})`, async () => {
    const told = await page.evaluate(async (engine) => {
      const heard = [];
      await window.node.run({
        code: 'runabout.progress(0.5, "half"); runabout.progress(2); 1;', engine,
        onProgress: (progress) => heard.push(progress),
      });
      return heard;
    }, engine);
    assert.deepEqual(told, [{ fraction: 0.5, message: 'half' }, { fraction: 1 }]);
  });

  test(`web interfaces that are not there say so (${engine})`, async () => {
    const { kind, error } = await outcome({ code: 'new URL("http://a")', engine });
    assert.deepEqual([kind, error.name], ['threw', 'NotSupportedError']);
  });
}

test('a module of WebAssembly is called with numbers', async () => {
  const bytes = [...(await guest('fib'))];
  const report = await run({ bytes, args: [20] });
  assert.deepEqual(report.outcome, returned(6765));
  assert.ok(report.usage.memory_peak_bytes > 0);
  const wrong = await outcome({ bytes, args: ['x'] });
  assert.deepEqual([wrong.kind, wrong.error.name], ['threw', 'TypeError']);
});

test('a WASI command takes arguments and stdin, and its stdout is the result', async () => {
  const bytes = [...(await guest('echo'))];
  const { outcome: ended } = await run({ bytes, args: ['a', 1], stdin: 'in' });
  assert.equal(ended.kind, 'returned', JSON.stringify(ended));
});

test('a limit of memory caps WebAssembly', async () => {
  const module = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0,
    1, 6, 1, 0x60, 1, 0x7f, 1, 0x7f, 3, 2, 1, 0, 5, 3, 1, 0, 1,
    7, 8, 1, 4, ...Buffer.from('grow'), 0, 0, 10, 8, 1, 6, 0, 0x20, 0, 0x40, 0, 0x0b];
  assert.deepEqual(await outcome({ bytes: module, args: [10], limits: { memory_bytes: 1 << 20 } }), returned(1));
  assert.deepEqual(await outcome({ bytes: module, args: [16], limits: { memory_bytes: 1 << 20 } }), returned(-1));
});

test('a memory bomb in QuickJS ends as out of memory', async () => {
  const ended = await outcome({ code: 'const a = []; for (;;) a.push("x".repeat(1000) + a.length);', engine: 'quickjs',
    limits: { memory_bytes: 16 << 20 } });
  assert.deepEqual(ended, { kind: 'out_of_memory', limit_bytes: 16 << 20 });
});

test('a limit of processor time is kept exactly in QuickJS', async () => {
  const ended = await outcome({ code: 'for (;;) {}', limits: { cpu_ms: 100 } });
  assert.deepEqual(ended, { kind: 'timed_out', limit: 'cpu', limit_ms: 100 });
});

test('cancelling one run leaves its neighbour alone', async () => {
  const ended = await page.evaluate(async () => {
    const stop = new AbortController();
    const endless = window.node.run({ code: 'for (;;) {}', signal: stop.signal });
    const other = window.node.run({ code: 'await new Promise((r) => setTimeout(r, 200)); 7;' });
    setTimeout(() => stop.abort(), 50);
    return [await endless.catch((error) => error.code), (await other).outcome.value];
  });
  assert.deepEqual(ended, ['aborted', 7]);
});

test('two hundred runs finish while the pool goes from 4 to 1 to 8', async () => {
  const values = await page.evaluate(async () => {
    const { node } = window;
    node.resize(4);
    const runs = Array.from({ length: 200 }, (_, n) =>
      node.run({ code: 'export default (n) => n * 2;', engine: n % 2 ? 'quickjs' : 'native', args: [n] }));
    await Promise.all(runs.slice(0, 20));
    node.resize(1);
    await Promise.all(runs.slice(0, 40));
    node.resize(8);
    const ends = await Promise.all(runs);
    node.resize(4);
    return ends.map(({ outcome }) => outcome.value);
  });
  assert.deepEqual(values, Array.from({ length: 200 }, (_, n) => n * 2));
});
