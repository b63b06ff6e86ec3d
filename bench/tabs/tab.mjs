// A browser tab: a Chromium of its own with one page in it, and the server the page's files come from.
// Nothing watches the browser from outside: what a debugger is told of each message costs more than
// the message.

import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { start } from "../servers.mjs";

const path = (relative) => fileURLToPath(new URL(relative, import.meta.url));

const CHROMIUM = process.env.CHROMIUM ?? "chromium";
const FLAGS = [
  ...["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"],
  ...["--disable-background-networking", "--disable-component-update", "--disable-quic"],
];

/** Where the files of each first part of a path are. */
const FOLDERS = {
  sdk: path("../../web/sdk/dist"),
  comlink: path("../node_modules/comlink/dist/esm"),
  guests: path("../../guests/dist"),
  pages: path("pages"),
};
const TYPES = { ".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm" };

/** Serves pages; `ready` is told when one of them says that it works. */
export class Pages {
  #server = createServer((request, response) => this.#answer(request.url, response));
  isReady = false;

  static async open() {
    if (!existsSync(FOLDERS.sdk)) throw new Error("build the package for pages first: make web");
    const pages = new Pages();
    await new Promise((resolve) => pages.#server.listen(0, "127.0.0.1", resolve));
    return pages;
  }

  get server() {
    return this.#server;
  }

  get origin() {
    return `http://127.0.0.1:${this.#server.address().port}`;
  }

  async #answer(url, response) {
    const [, folder, name] = new URL(url, this.origin).pathname.split("/");
    if (folder === "ready") {
      this.isReady = true;
      response.end();
    } else if (folder === "page") {
      response.setHeader("Content-Type", "text/html");
      response.end(`<!doctype html><body><script type="module" src="/pages/${name}.js"></script>`);
    } else if (folder in FOLDERS && /^[\w.-]+$/.test(name ?? "")) {
      response.setHeader("Content-Type", TYPES[extname(name)] ?? "application/octet-stream");
      response.end(await readFile(join(FOLDERS[folder], name)));
    } else {
      response.writeHead(404).end();
    }
  }

  /** Opens the page `name` in a browser of its own, and waits until it says that it works. */
  async show(name, query) {
    const profile = await mkdtemp(join(tmpdir(), "runabout-bench-tab-"));
    const address = `${this.origin}/page/${name}?${new URLSearchParams(query)}`;
    this.isReady = false;
    const browser = await start(() => ({
      program: CHROMIUM,
      args: [...FLAGS, `--user-data-dir=${profile}`, address],
      isUp: () => this.isReady,
    }));
    return {
      async close() {
        await browser.stop();
        // Chromium's own helpers may write a last time after it has ended.
        await rm(profile, { recursive: true, force: true, maxRetries: 10 });
      },
    };
  }

  close() {
    this.#server.closeAllConnections();
    this.#server.close();
  }
}
