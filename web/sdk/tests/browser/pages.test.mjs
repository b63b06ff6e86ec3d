// Pages as they are made: by Vite on another port, and with a strict policy of their own.

import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, symlink, writeFile, mkdir } from 'node:fs/promises';
import { createServer as serveHttp } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { after, before, test } from 'node:test';
import { build, createServer, preview } from 'vite';
import { launchBrowser, startNode } from './support.mjs';

const package_ = fileURLToPath(new URL('../..', import.meta.url));

let browser;
let site;

before(async () => {
  browser = await launchBrowser();
  site = await mkdtemp(join(tmpdir(), 'runabout-site-'));
  await mkdir(join(site, 'node_modules'));
  await symlink(package_, join(site, 'node_modules/runabout'));
  await writeFile(join(site, 'index.html'), '<!doctype html><body><script type="module" src="/main.ts"></script>');
  await writeFile(join(site, 'main.ts'), `
    import { connect } from 'runabout';
    const node = connect(new URLSearchParams(location.search).get('node') ?? undefined);
    const add = node.fn<(a: number, b: number) => number>('add');
    const local = await node.run({ code: 'const n = await Promise.resolve(20); n + 1' });
    const here = await node.call('add', [1, 2], { place: 'tab' });
    document.body.textContent = JSON.stringify([await add(20, 22), here, local.outcome]);
  `);
});

after(async () => {
  await browser?.close();
  await rm(site, { recursive: true, force: true });
});

async function expectWorks(url) {
  const node = await startNode({ origins: [new URL(url).origin] });
  await node.deploy('add', 'export default (a, b) => a + b;');
  const page = await browser.newPage();
  page.on('pageerror', (error) => console.error(error.message));
  await page.goto(`${url}?node=${encodeURIComponent(node.url)}`);
  await page.waitForFunction(() => document.body.textContent.startsWith('['), undefined, { timeout: 60_000 });
  assert.deepEqual(JSON.parse(await page.textContent('body')), [42, 3, { kind: 'returned', value: 21 }]);
  await page.close();
  await node.close();
}

test('a page served by Vite on another port, as its author develops it', async () => {
  const vite = await createServer({ root: site, logLevel: 'error', server: { port: 0, host: '127.0.0.1', fs: { strict: false } } });
  await vite.listen();
  await expectWorks(`http://127.0.0.1:${vite.httpServer.address().port}/`);
  await vite.close();
});

test('a page built by Vite', async () => {
  await build({ root: site, logLevel: 'error', build: { target: 'es2022' } });
  const server = await preview({ root: site, logLevel: 'error', preview: { port: 0, host: '127.0.0.1' } });
  await expectWorks(`http://127.0.0.1:${server.httpServer.address().port}/`);
  await server.close();
});

test('a page whose own policy forbids inline scripts serves the frame as a file', async () => {
  const dist = join(package_, 'dist');
  const { policy } = JSON.parse(await readFile(join(dist, 'frame.json'), 'utf8'));
  const server = serveHttp(async (request, response) => {
    const { pathname } = new URL(request.url, 'http://localhost');
    if (pathname === '/') {
      response.setHeader('Content-Type', 'text/html');
      response.setHeader('Content-Security-Policy', "default-src 'self'; script-src 'self'; frame-src 'self'");
      return response.end('<!doctype html><body><script type="module" src="/main.js"></script>');
    }
    if (pathname === '/main.js') {
      response.setHeader('Content-Type', 'text/javascript');
      return response.end(`import { connect } from '/sdk/index.js';
        const node = connect('http://127.0.0.1:9', { offline: true, frameUrl: '/frame.html' });
        const ends = await Promise.all([
          node.run({ code: '1 + 1' }), node.run({ code: '2 + 2', engine: 'quickjs' }),
          node.run({ code: 'export default async () => await fetch("/")' })]);
        document.body.textContent = JSON.stringify(ends.map(({ outcome }) => outcome.value ?? outcome.error.name));`);
    }
    if (pathname === '/favicon.ico') return response.writeHead(404).end();
    const isFrame = pathname === '/frame.html';
    response.setHeader('Content-Type', isFrame ? 'text/html' : 'text/javascript');
    if (isFrame) response.setHeader('Content-Security-Policy', policy);
    response.end(await readFile(join(dist, pathname.replace('/sdk/', ''))));
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const page = await browser.newPage();
  await page.goto(`http://127.0.0.1:${server.address().port}/`);
  await page.waitForFunction(() => document.body.textContent.startsWith('['), undefined, { timeout: 60_000 });
  assert.deepEqual(JSON.parse(await page.textContent('body')), [2, 4, 'NotSupportedError']);
  await page.close();
  server.closeAllConnections();
  server.close();
});
