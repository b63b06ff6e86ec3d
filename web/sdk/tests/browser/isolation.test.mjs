// What guest code in a page must not reach, tried one by one. Each attempt gets an error, and nothing
// of it leaves the page.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { createServer } from 'node:http';
import { launchBrowser, openPage, servePages } from './support.mjs';

let browser;
let pages;
let page;
let target;
/** What has reached the server that guests try to reach. */
const reached = [];

before(async () => {
  pages = await servePages();
  target = createServer((request, response) => {
    reached.push(`${request.method} ${request.url}`);
    response.setHeader('Access-Control-Allow-Origin', '*');
    response.setHeader('Content-Type', 'text/javascript');
    response.end('export default 1;');
  });
  target.on('upgrade', (request, socket) => {
    reached.push(`UPGRADE ${request.url}`);
    socket.destroy();
  });
  await new Promise((resolve) => target.listen(0, '127.0.0.1', resolve));
  browser = await launchBrowser();
  page = await openPage(browser, pages, 'http://127.0.0.1:9', { offline: true });
  await page.evaluate(() => {
    document.cookie = 'secret=1';
    localStorage.setItem('secret', '1');
    window.heard = [];
    window.addEventListener('message', (event) => window.heard.push(JSON.stringify(event.data)));
    new BroadcastChannel('secret').onmessage = (event) => window.heard.push(event.data);
  });
});

after(async () => {
  await browser?.close();
  await pages?.close();
  target?.closeAllConnections();
  target?.close();
});

async function outcome(code, options = {}) {
  return await page.evaluate(
    async ([code, options]) => (await window.node.run({ code, ...options })).outcome, [code, options]);
}

const url = () => `http://127.0.0.1:${target.address().port}`;

/** Every attempt is a module whose value is what it got hold of; `URL_` stands for the server's address. */
const ATTEMPTS = {
  fetch: 'await fetch("URL_/fetch")',
  'fetch from the prototype': 'await Object.getPrototypeOf(Object.getPrototypeOf(globalThis)).fetch.call(globalThis, "URL_/f2")',
  XMLHttpRequest: 'const r = new XMLHttpRequest(); r.open("GET", "URL_/xhr", false); r.send()',
  WebSocket: 'new WebSocket("URL_/ws".replace("http", "ws"))',
  WebSocketStream: 'await new WebSocketStream("URL_/wss".replace("http", "ws")).opened',
  WebTransport: 'new WebTransport("https://127.0.0.1:1/")',
  EventSource: 'new EventSource("URL_/events")',
  importScripts: 'importScripts("URL_/import")',
  'dynamic import': 'await import("URL_/module")',
  'dynamic import of data': 'await import("data:text/javascript,export default 1")',
  'dynamic import of a file': 'await import("./other.js")',
  'dynamic import from a function': 'await new Function("return import(\'URL_/module2\')")()',
  'a nested Web Worker': 'new Worker("data:text/javascript,postMessage(1)")',
  'a nested Web Worker from a blob': 'new Worker(URL.createObjectURL(new Blob(["postMessage(1)"])))',
  SharedWorker: 'new SharedWorker("data:text/javascript,1")',
  BroadcastChannel: 'new BroadcastChannel("secret").postMessage("leak")',
  MessageChannel: 'new MessageChannel()',
  'postMessage to the frame': 'postMessage({ type: "done", end: { kind: "returned", text: "1" } })',
  'postMessage from the prototype': 'Object.getPrototypeOf(globalThis).postMessage({ leak: 1 })',
  'its parent': 'parent.postMessage("leak", "*")',
  top: 'top.location.href',
  document: 'document.title',
  window: 'window.name',
  cookies: 'document.cookie',
  cookieStore: 'await cookieStore.getAll()',
  localStorage: 'localStorage.getItem("secret")',
  sessionStorage: 'sessionStorage.length',
  IndexedDB: 'indexedDB.open("runabout")',
  'IndexedDB from the prototype':
    'Object.getOwnPropertyDescriptor(Object.getPrototypeOf(Object.getPrototypeOf(globalThis)), "indexedDB").get.call(globalThis)',
  caches: 'await caches.keys()',
  'the file system': 'webkitRequestFileSystem(0, 1, () => {})',
  'the file system of the origin': 'await navigator.storage.getDirectory()',
  'Web Locks': 'await navigator.locks.query()',
  'a service worker': 'await navigator.serviceWorker.register("/x.js")',
  sendBeacon: 'navigator.sendBeacon("URL_/beacon")',
  notifications: 'new Notification("leak")',
  Request: 'new Request("URL_/request")',
  'a script of WebAssembly': 'await WebAssembly.compileStreaming(fetch("URL_/wasm"))',
  'WebAssembly memory': 'new WebAssembly.Memory({ initial: 1 })',
  OffscreenCanvas: 'new OffscreenCanvas(1, 1)',
  location: 'location.href',
  'listening to messages': 'addEventListener("message", () => {})',
  'listening from the prototype': 'EventTarget.prototype.addEventListener.call(globalThis, "message", () => {})',
  'the EventTarget behind the global': 'new (Object.getPrototypeOf(Object.getPrototypeOf(Object.getPrototypeOf(globalThis))).constructor)().addEventListener("a", () => {})',
  'closing its Web Worker': 'close()',
  'the clock worker': 'setTimeout.constructor("return this.postMessage(1)")()',
  FontFace: 'new FontFace("a", "url(URL_/font)").load()',
  trustedTypes: 'trustedTypes.createPolicy("a", {})',
};

for (const [name, attempt] of Object.entries(ATTEMPTS)) {
  test(`${name} is out of reach`, async () => {
    const code = `export default async () => { const got = await (async () => { ${
      attempt.includes(';') ? attempt : `return (${attempt})`} })(); return String(got); }`.replaceAll('URL_', url());
    const ended = await outcome(code);
    assert.equal(ended.kind, 'threw', JSON.stringify(ended));
    assert.ok(['ReferenceError', 'TypeError', 'NotSupportedError'].includes(ended.error.name), JSON.stringify(ended));
  });
}

test('what the global still has is the language and the host interface', async () => {
  const { value } = await outcome(`
    const names = [];
    for (let at = globalThis; at !== null && at !== Object.prototype; at = Object.getPrototypeOf(at)) {
      for (const name of Reflect.ownKeys(at)) names.push(String(name));
    }
    names.sort();`);
  const language = await page.evaluate(() => {
    // The language's own names, by asking a realm for what ECMAScript defines.
    return ['Object', 'Function', 'Array', 'Promise', 'Proxy', 'Reflect', 'Map', 'Set', 'JSON', 'Math'];
  });
  for (const name of language) assert.ok(value.includes(name), name);
  for (const name of ['postMessage', 'onmessage', 'addEventListener', 'constructor', 'indexedDB', 'EventSource',
    'BroadcastChannel', 'Worker', 'importScripts', 'close', 'location', 'Intl', 'Temporal']) {
    assert.ok(!value.includes(name), `${name} is still there`);
  }
});

test('a module knows its own address and can do nothing with it', async () => {
  const ended = await outcome('export default async () => { const again = await import(import.meta.url); return Object.keys(again); }');
  if (ended.kind === 'returned') assert.deepEqual(ended.value, ['default']);
  else assert.equal(ended.kind, 'threw');
});

test('a stack shows nothing of what is around a run', async () => {
  const { value } = await outcome(`
    Error.prepareStackTrace = (error, sites) => sites.map((site) => String(site.getThis()) + String(site.getFunction()));
    JSON.stringify(new Error().stack);`);
  assert.doesNotMatch(value, /postMessage|deleteProperty|Outlet/);
});

test('a guest that breaks built-ins breaks its own run at most', async () => {
  const ended = await outcome(`
    Promise.prototype.then = () => { throw 1; };
    Array.prototype.push = () => { throw 2; };
    JSON.stringify = () => 'forged';
    Object.defineProperty(Object.prototype, 'type', { get: () => 'done', set() {} });
    Reflect.apply = () => { throw 3; };
    String.prototype.slice = () => 'cut';
    ({ a: 1 });`);
  assert.equal(ended.kind, 'returned', JSON.stringify(ended));
  const next = await outcome('[1, 2].map((n) => n * 2)');
  assert.deepEqual(next, { kind: 'returned', value: [2, 4] });
});

test('a frame in the page cannot speak for the sandbox', async () => {
  const counted = await page.evaluate(() => document.querySelectorAll('iframe').length);
  assert.equal(counted, 1);
  const frame = await page.evaluate(() => {
    const { sandbox } = document.querySelector('iframe');
    return [...sandbox];
  });
  assert.deepEqual(frame, ['allow-scripts']);
});

test('nothing of all this reached anybody', async () => {
  assert.deepEqual(reached, []);
  assert.deepEqual(await page.evaluate(() => window.heard), []);
});
