// What the browser tests stand on: a real node, a server for the package's files on another port, and
// Chromium.

import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const package_ = fileURLToPath(new URL('../..', import.meta.url));
const repository = join(package_, '../..');

const CHROMIUM = process.env['CHROMIUM'] ?? '/usr/bin/chromium';
const BINARY = process.env['RUNABOUT_BINARY'] ?? join(repository, 'target/release/runabout');
/** How long anything in a test may take; reaching it is a failure. */
export const PATIENCE_MS = 60_000;

const TYPES = { '.js': 'text/javascript', '.html': 'text/html', '.json': 'application/json' };

/** Serves `dist` under `/sdk/`, and an empty page everywhere else. Counts what it is asked for. */
export async function servePages() {
  const asked = [];
  const server = createServer(async (request, response) => {
    const path = new URL(request.url, 'http://localhost').pathname;
    asked.push(path);
    response.setHeader('Cache-Control', 'no-store');
    if (!path.startsWith('/sdk/')) {
      response.setHeader('Content-Type', 'text/html');
      response.end('<!doctype html><title>test</title><body>');
      return;
    }
    try {
      const body = await readFile(join(package_, 'dist', path.slice('/sdk/'.length)));
      response.setHeader('Content-Type', TYPES[extname(path)] ?? 'application/octet-stream');
      response.end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${server.address().port}`;
  return { url, asked, close: () => new Promise((resolve) => { server.closeAllConnections(); server.close(resolve); }) };
}

export const launchOptions = {
  executablePath: CHROMIUM,
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync'],
};

export async function launchBrowser() {
  return await chromium.launch(launchOptions);
}

/** A page with the package in it: `window.connect`, and `window.node` if `url` is given. */
export async function openPage(context, pages, url, options = {}) {
  const page = await context.newPage();
  page.on('pageerror', (error) => console.error('page error:', error.message));
  if (process.env['VERBOSE']) page.on('console', (message) => console.error('page:', message.text()));
  await page.goto(pages.url);
  await page.evaluate(async ([sdk, node, nodeOptions]) => {
    const { connect } = await import(sdk);
    window.connect = connect;
    if (node !== null) window.node = connect(node, nodeOptions);
  }, [`${pages.url}/sdk/index.js`, url ?? null, options]);
  return page;
}

/** A tab that works for the node, once the node knows it. */
export async function workingTab(context, pages, node, slots, name) {
  const page = await openPage(context, pages, node.url, { pool: { slots } });
  await page.evaluate(async ([slots, name]) => {
    window.worker = window.node.work({ slots, name });
    await new Promise((resolve) => {
      const look = () => { if (window.worker.state === 'working') resolve(); };
      window.worker.on('change', look);
      look();
    });
  }, [slots, name]);
  return page;
}

/** Reports how far it is, leaves checkpoints, and says from where it began. */
export const STEPS = `export default async function steps(count, ms) {
  const from = runabout.task.checkpoint?.done ?? 0;
  for (let done = from; done < count; done++) {
    await new Promise((resolve) => setTimeout(resolve, ms));
    runabout.checkpoint({ done: done + 1 });
    runabout.progress((done + 1) / count);
  }
  return { from, count };
}`;

/** Starts a node on a free port, or on `port`, with a data directory of its own, or `data`. */
export async function startNode({ args = [], data, port = 0, origins = [] } = {}) {
  if (!existsSync(BINARY)) throw new Error(`${BINARY} is missing: build it first`);
  const directory = data ?? (await mkdtemp(join(tmpdir(), 'runabout-web-')));
  const allowed = origins.flatMap((origin) => ['--allow-origin', origin]);
  const child = spawn(BINARY, ['serve', '--listen', `127.0.0.1:${port}`, '--data', directory, ...allowed, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let log = '';
  const url = await new Promise((resolve, reject) => {
    const hear = (piece) => {
      log += piece;
      const found = /listening on http:\/\/127\.0\.0\.1:(\d+)/.exec(log);
      if (found !== null && Number(found[1]) !== 0) resolve(`http://127.0.0.1:${found[1]}`);
    };
    child.stdout.on('data', hear);
    child.stderr.on('data', hear);
    child.on('exit', (code) => reject(new Error(`the node ended with ${code}: ${log}`)));
  });
  await until(async () => (await fetch(`${url}/readyz`).catch(() => undefined))?.ok);
  const stop = async (signal = 'SIGTERM') => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill(signal);
    await ended;
  };
  return {
    url, data: directory, port: Number(new URL(url).port), stop, log: () => log,
    deploy: (name, body, type = 'text/javascript', manifest) => deploy(url, name, body, type, manifest),
    json: async (path, init) => await (await fetch(`${url}${path}`, init)).json(),
    close: async () => {
      await stop();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

async function deploy(url, name, body, type, manifest) {
  let init = { method: 'PUT', headers: { 'Content-Type': type }, body };
  if (manifest !== undefined) {
    const form = new FormData();
    form.set('manifest', JSON.stringify(manifest));
    form.set('file', new Blob([body], { type }), type === 'application/wasm' ? 'function.wasm' : 'function.js');
    init = { method: 'PUT', body: form };
  }
  const response = await fetch(`${url}/v1/functions/${name}`, init);
  if (!response.ok) throw new Error(`deploying ${name}: ${response.status} ${await response.text()}`);
  return await response.json();
}

/** Asks again until it is so. For what tells nobody when it changes. */
export async function until(isSo, patienceMs = PATIENCE_MS) {
  const deadline = Date.now() + patienceMs;
  for (;;) {
    const answer = await isSo();
    if (answer) return answer;
    if (Date.now() > deadline) throw new Error(`not so after ${patienceMs} ms: ${isSo}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** A module of the repository's guests, built. */
export async function guest(name) {
  return await readFile(join(repository, 'guests/dist', `${name}.wasm`));
}
