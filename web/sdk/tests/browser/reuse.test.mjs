// Functions that keep their sandbox from one run to the next, in a tab: their own, and nobody else's.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { connect } from '../../dist/index.js';
import { launchBrowser, servePages, startNode, workingTab } from './support.mjs';

let pages;
let browser;
let node;
let here;

before(async () => {
  pages = await servePages();
  browser = await launchBrowser();
  node = await startNode({ origins: [pages.url], args: ['--slots', '0'] });
  here = connect(node.url);
  // One slot: runs come one after the other, and each could meet what the one before left.
  await workingTab(browser, pages, node, 1);
});

after(async () => {
  await here?.close();
  await browser?.close();
  await node?.close();
  await pages?.close();
});

/** Counts its runs, and shows what it sees of others'. `mark` makes its code its own. */
const counter = (mark) => `let runs = 0; // ${mark}
export default (what) => {
  if (what === 'hang') { globalThis.trace = 'hung'; for (;;) {} }
  if (what === 'throw') { globalThis.trace = 'threw'; throw new Error('far'); }
  const seen = globalThis.trace ?? null;
  globalThis.trace = '${mark}';
  return [++runs, seen];
};`;

const deploy = async (name, manifest = { reuse: true }, mark = name) =>
  await node.deploy(name, counter(mark), 'text/javascript', manifest);

const finished = async (name, args = [], limits) =>
  (await (await here.submit({ function: name, args, limits })).finished()).outcome;

const result = async (name, ...args) => {
  const outcome = await finished(name, args);
  assert.equal(outcome.kind, 'returned', JSON.stringify(outcome));
  return outcome.value;
};

test('a function with `reuse` finds what its last run left', async () => {
  await deploy('first');
  assert.deepEqual([await result('first'), await result('first'), await result('first')],
    [[1, null], [2, 'first'], [3, 'first']]);
});

test('another function never sees it, with `reuse` or without', async () => {
  await deploy('mine');
  await deploy('other');
  await deploy('fresh', {});
  assert.deepEqual(await result('mine'), [1, null]);
  assert.deepEqual(await result('other'), [1, null]);
  assert.deepEqual(await result('fresh'), [1, null]);
  assert.deepEqual(await result('fresh'), [1, null]);
  assert.deepEqual(await result('mine'), [2, 'mine']);
  assert.deepEqual(await result('other'), [2, 'other']);
});

test('a new version begins anew', async () => {
  await deploy('changing', { reuse: true }, 'one');
  assert.deepEqual([await result('changing'), await result('changing')], [[1, null], [2, 'one']]);
  await deploy('changing', { reuse: true }, 'two');
  assert.deepEqual([await result('changing'), await result('changing')], [[1, null], [2, 'two']]);
});

test('after a time-out it begins anew', async () => {
  await deploy('hanging');
  assert.deepEqual([await result('hanging'), await result('hanging')], [[1, null], [2, 'hanging']]);
  assert.deepEqual(await finished('hanging', ['hang'], { timeout_ms: 400 }),
    { kind: 'timed_out', limit: 'wall', limit_ms: 400 });
  assert.deepEqual([await result('hanging'), await result('hanging')], [[1, null], [2, 'hanging']]);
});

test('after an error it goes on', async () => {
  await deploy('throwing');
  assert.deepEqual(await result('throwing'), [1, null]);
  const { kind, error } = await finished('throwing', ['throw']);
  assert.deepEqual([kind, error.message], ['threw', 'far']);
  assert.deepEqual(await result('throwing'), [2, 'threw']);
});

test('an instance of WebAssembly is kept for its function alone', async () => {
  // Counts in its memory how often it was called.
  const count = Uint8Array.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 5, 1, 0x60, 0, 1, 0x7f, 3, 2, 1, 0, 5, 3, 1, 0, 1,
    7, 9, 1, 5, ...Buffer.from('count'), 0, 0, 10, 22, 1, 20, 0, 0x41, 0, 0x41, 0, 0x28, 2, 0, 0x41, 1, 0x6a, 0x36, 2, 0,
    0x41, 0, 0x28, 2, 0, 0x0b]);
  // The same with a section of its own: another artifact.
  const other = Uint8Array.from([...count, 0, 2, 1, 0x78]);
  await node.deploy('kept', count, 'application/wasm', { reuse: true });
  await node.deploy('kept-too', other, 'application/wasm', { reuse: true });
  assert.deepEqual([await result('kept'), await result('kept'), await result('kept-too'), await result('kept')], [1, 2, 1, 3]);
});
