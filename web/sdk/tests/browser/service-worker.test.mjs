// A page that was open once opens again while the node is away.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { launchBrowser } from './support.mjs';

let browser;
let server;
let version = 1;
const FILES = {
  '/': () => ['text/html', `<!doctype html><body><script type="module" src="/assets/app-${version}.js"></script>`],
  '/worker.js': () => ['text/javascript', "import { keepShell } from '/sdk/service-worker.js'; keepShell({ extra: ['/extra.txt'] });"],
  '/assets/app-1.js': () => ['text/javascript', 'document.body.textContent = "version 1";'],
  '/assets/app-2.js': () => ['text/javascript', 'document.body.textContent = "version 2";'],
  '/extra.txt': () => ['text/plain', 'extra'],
  '/v1/node': () => ['application/json', '{}'],
};

async function serve(port) {
  const dist = new URL('../../dist/', import.meta.url);
  const started = createServer(async (request, response) => {
    const { pathname } = new URL(request.url, 'http://localhost');
    const file = FILES[pathname];
    if (file === undefined && !pathname.startsWith('/sdk/')) return response.writeHead(404).end();
    const [type, body] = file?.() ?? ['text/javascript', await readFile(new URL(pathname.slice('/sdk/'.length), dist))];
    response.setHeader('Content-Type', type);
    response.end(body);
  });
  await new Promise((resolve) => started.listen(port, '127.0.0.1', resolve));
  return started;
}

async function close() {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
}

before(async () => {
  server = await serve(0);
  browser = await launchBrowser();
});

after(async () => {
  await browser?.close();
  await close();
});

test('the page opens while the node is away, and is up to date when it is back', async () => {
  const { port } = server.address();
  const url = `http://127.0.0.1:${port}/`;
  const page = await browser.newPage();
  await page.goto(url);
  await page.evaluate(async () => {
    await navigator.serviceWorker.register('/worker.js', { type: 'module' });
    await navigator.serviceWorker.ready;
  });
  await close();
  await page.reload();
  assert.equal(await page.textContent('body'), 'version 1');
  assert.equal(await page.evaluate(async () => await (await fetch('/extra.txt')).text()), 'extra');
  // What the node answers is never made up.
  assert.equal(await page.evaluate(async () => await fetch('/v1/node').then(() => 'answered', () => 'away')), 'away');

  version = 2;
  server = await serve(port);
  await page.reload();
  assert.equal(await page.textContent('body'), 'version 2');
  await page.waitForFunction(async () => (await caches.match('/assets/app-2.js')) !== undefined
    && (await (await caches.match('/')).text()).includes('app-2'));
  await close();
  await page.reload();
  assert.equal(await page.textContent('body'), 'version 2');
  server = await serve(port);
});
