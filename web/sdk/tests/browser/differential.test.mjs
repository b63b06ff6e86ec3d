// The corpus of tests/differential: what a node runs and what a tab runs, in the browser's own engine
// and in the node's, must have the same results and outcomes.

import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import { launchBrowser, openPage, servePages, startNode, until } from './support.mjs';

const folder = new URL('../../../../tests/differential/', import.meta.url);
const corpus = JSON.parse(await readFile(new URL('corpus.json', folder), 'utf8'));

/** Cases under way at once. */
const AT_ONCE = 8;

let pages;
let browser;
/** Runs the corpus itself. */
let here;
/** Has no slots, and a tab that works for it. */
let elsewhere;

before(async () => {
  pages = await servePages();
  browser = await launchBrowser();
  here = await startNode({ args: ['--slots', '2'] });
  elsewhere = await startNode({ origins: [pages.url], args: ['--slots', '0'] });
  await Promise.all([here, elsewhere].map(deployAll));
  const page = await openPage(browser, pages, elsewhere.url, { pool: { slots: 4 } });
  await page.evaluate(() => { window.worker = window.node.work({ slots: 4, name: 'tab' }); });
  await until(async () => (await elsewhere.json('/v1/workers')).items.some(({ name }) => name === 'tab'));
});

after(async () => {
  await browser?.close();
  await Promise.all([pages?.close(), here?.close(), elsewhere?.close()]);
});

const nameOf = (file) => file.replace('.', '_');

/** Every file of the corpus, and of JavaScript a second function that asks for the node's engine. */
async function deployAll(node) {
  for (const file of await readdir(new URL('functions/', folder))) {
    const code = await readFile(new URL(`functions/${file}`, folder));
    if (file.endsWith('.wasm')) await node.deploy(nameOf(file), code, 'application/wasm');
    if (!file.endsWith('.js')) continue;
    await node.deploy(nameOf(file), code);
    await node.deploy(`${nameOf(file)}_quickjs`, code, 'text/javascript', { engine: 'quickjs' });
  }
}

/** The request as text: no reader of numbers comes between the corpus and the node. */
function request({ function: file, export: name, args, limits = {} }, suffix, place) {
  const bytes = args.startsWith('base64:') ? args.slice('base64:'.length) : undefined;
  const rest = {
    function: nameOf(file) + suffix, place, limits,
    ...(name === 'default' ? {} : { export: name }),
    ...(bytes === undefined ? {} : { args_encoding: 'base64' }),
  };
  return `{"args":${bytes === undefined ? args : JSON.stringify([bytes])},${JSON.stringify(rest).slice(1)}`;
}

/** What a run came to: how it ended, its value as the text that it is, and what it wrote. */
async function seen(node, body) {
  const init = { method: 'POST', headers: { 'Content-Type': 'application/json' }, body };
  const accepted = await fetch(`${node.url}/v1/tasks?wait=60`, init);
  const text = await accepted.text();
  const task = JSON.parse(text);
  if (accepted.status >= 400) return { refused: task.code };
  assert.equal(accepted.status, 200, text);
  const logs = await node.json(`/v1/tasks/${task.id}/logs`);
  const { kind, error, ...details } = task.outcome;
  const value = kind === 'returned' ? member(member(text, 'outcome'), 'value') : undefined;
  delete details.value;
  return {
    trust: task.trust, kind, value, name: error?.name, message: error?.message, details,
    lines: logs.items.map(({ stream, text }) => `${stream} ${text}`),
  };
}

/** The text of a member of the object that `text` is. */
function member(text, name) {
  let depth = 0;
  let start;
  for (let at = 0; at < text.length; at++) {
    const sign = text[at];
    if (sign === '"') {
      const from = at;
      for (at++; text[at] !== '"'; at++) if (text[at] === '\\') at++;
      const isKey = depth === 1 && start === undefined && text[at + 1] === ':';
      if (isKey && text.slice(from + 1, at) === name) start = at + 2;
    } else if (sign === '{' || sign === '[') {
      depth++;
    } else if (sign === '}' || sign === ']') {
      depth--;
    }
    const isEnd = (depth === 1 && sign === ',') || (depth === 0 && sign === '}');
    if (start !== undefined && at > start && isEnd) return text.slice(start, at);
  }
  throw new Error(`no ${name} in ${text.slice(0, 200)}`);
}

/** What is compared; `inherent` names what engines may do differently, each in its own way. */
function compared({ trust, ...seen }, inherent) {
  if (inherent.includes('outcome')) return seen.kind === 'returned' ? 'an end' : 'no end';
  for (const part of inherent) delete seen[part];
  return JSON.stringify(seen);
}

async function check(cases, suffix, inherentOf) {
  const kinds = {};
  const different = [];
  const waiting = cases.values();
  await Promise.all(Array.from({ length: AT_ONCE }, async () => {
    for (const it of waiting) {
      const [onNode, inTab] = await Promise.all([
        seen(here, request(it, suffix, 'here')), seen(elsewhere, request(it, suffix, 'tab')),
      ]);
      const label = onNode.refused ?? onNode.kind;
      kinds[label] = (kinds[label] ?? 0) + 1;
      if (onNode.refused === undefined) assert.deepEqual([onNode.trust, inTab.trust], ['node', 'tab']);
      const inherent = inherentOf(it);
      const [expected, found] = [compared(onNode, inherent), compared(inTab, inherent)];
      if (expected === found) continue;
      different.push(`${it.function} ${it.export} ${it.args.slice(0, 80)}\n  here ${expected.slice(0, 400)}\n  tab  ${found.slice(0, 400)}`);
    }
  }));
  assert.deepEqual(different, [], `${different.length} of ${cases.length} differ:\n${different.join('\n')}`);
  return kinds;
}

test('the browser\'s own engines and the node\'s come to the same', async () => {
  const kinds = await check(corpus, '', ({ inherent = [] }) => inherent);
  // The corpus would prove nothing if everything in it were refused.
  for (const kind of ['returned', 'threw', 'timed_out']) assert.ok(kinds[kind] >= 2, JSON.stringify(kinds));
  assert.ok(kinds.returned * 2 > corpus.length, JSON.stringify(kinds));
});

test('the node\'s engine in a tab comes to the same to the letter', async () => {
  const scripts = corpus.filter((it) => it.function.endsWith('.js'));
  const kinds = await check(scripts, '_quickjs', () => []);
  assert.ok(kinds.returned * 2 > scripts.length, JSON.stringify(kinds));
});
