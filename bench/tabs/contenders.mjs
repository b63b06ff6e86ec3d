// Who is measured: one tab each, that works for a node or answers a plain WebSocket.

import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { WebSocketServer } from "ws";

import { generate } from "../queue/generate.mjs";
import { start } from "../servers.mjs";
import { Pages } from "./tab.mjs";

const FIB = fileURLToPath(new URL("../../guests/dist/fib.wasm", import.meta.url));

/** Attempts at a time in the tab, everywhere. */
export const SLOTS = 8;

/**
 * @typedef {object} Open a tab that works
 * @property {(tasks: number) => Promise<number>} drain hands in so many tasks, waits until all are
 *   done, and gives the milliseconds that took
 * @property {(tasks: number) => Promise<void>} verify proves that so many came back as they should
 * @property {() => Promise<object>} [single] one task alone: what it took
 * @property {() => Promise<void>} close
 */

/** What a task is: the code, and what its manifest says beside. */
const JAVASCRIPT = { type: "text/javascript", code: "export default () => 0;", args: [], value: 0 };
const WORK = {
  wasm: { type: "application/wasm", args: [1], value: 1 },
  quickjs: { ...JAVASCRIPT, manifest: { engine: "quickjs" } },
  fresh: { ...JAVASCRIPT, manifest: {} },
  reuse: { ...JAVASCRIPT, manifest: { reuse: true } },
};

/** A node without slots of its own, and a tab that works for it. */
export function runabout(binary, kind) {
  const work = { ...WORK[kind], function: "noop" };
  const open = async () => {
    const folder = await mkdtemp(join(tmpdir(), "runabout-bench-"));
    const pages = await Pages.open();
    const server = await start((port) => ({
      program: binary,
      args: [
        ...["serve", "--listen", `127.0.0.1:${port}`, "--data", folder],
        ...["--slots", "0", "--allow-origin", pages.origin],
      ],
      env: { RUNABOUT_LOG: "warn" },
      ready: "/readyz",
    }));
    await deploy(server.url, work);
    const tab = await pages.show("runabout", { node: server.url, slots: `${SLOTS}` });
    const queue = { reach: { client: "runabout", address: server.url, work } };
    return {
      drain: async (tasks) => (await generate(queue, { kind: "drain", tasks })).ms,
      verify: (tasks) => generate(queue, { kind: "verify", tasks }),
      single: () => single(server.url, work),
      async close() {
        await tab.close();
        await server.stop();
        pages.close();
        await rm(folder, { recursive: true, force: true });
      },
    };
  };
  return { name: `Runabout, ${kind}`, open };
}

async function deploy(url, { manifest = {}, type, code }) {
  const form = new FormData();
  form.set("manifest", JSON.stringify(manifest));
  const [bytes, name] = code === undefined ? [await readFile(FIB), "fib.wasm"] : [code, "noop.js"];
  form.set("file", new Blob([bytes], { type }), name);
  const response = await fetch(`${url}/v1/functions/noop`, { method: "PUT", body: form });
  if (!response.ok) {
    throw new Error(`failed to deploy: ${response.status} ${await response.text()}`);
  }
}

/** From the submission to the answer, and between the node's own two times of it. */
async function single(url, { args, value }) {
  const begun = performance.now();
  const response = await fetch(`${url}/v1/tasks?wait=10`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ function: "noop", args }),
  });
  const task = await response.json();
  const answered_ms = performance.now() - begun;
  if (task.outcome?.value !== value) throw new Error(`not ${value}: ${JSON.stringify(task)}`);
  return { answered_ms, dispatched_ms: Date.parse(task.finished_at) - Date.parse(task.started_at) };
}

/** A tab that answers a plain WebSocket, in one of the ways of `pages/peer.js`. */
export function peer(how) {
  const open = async () => {
    const pages = await Pages.open();
    const sockets = new WebSocketServer({ server: pages.server });
    const connected = once(sockets, "connection");
    const socket = pages.origin.replace("http", "ws");
    const tab = await pages.show("peer", { socket, slots: `${SLOTS}`, how });
    const line = new Line((await connected)[0]);
    return {
      drain: (tasks) => line.drain(tasks),
      // Each was looked at as it came.
      verify: async () => undefined,
      single: async () => ({ answered_ms: await line.single() }),
      async close() {
        await tab.close();
        sockets.close();
        pages.close();
      },
    };
  };
  return { name: `plain WebSocket, ${how}`, open };
}

/** The server's end of the peer's WebSocket: as many tasks under way as the tab has slots. */
class Line {
  #socket;
  #answered = new Map();
  #last = 0;

  constructor(socket) {
    this.#socket = socket;
    socket.on("message", (text) => {
      const { task, value } = JSON.parse(text);
      this.#answered.get(task)(value);
      this.#answered.delete(task);
    });
  }

  async #run() {
    const task = ++this.#last;
    const value = await new Promise((resolve) => {
      this.#answered.set(task, resolve);
      this.#socket.send(JSON.stringify({ task, argument: 1 }));
    });
    if (value !== 1) throw new Error(`not 1: ${value}`);
  }

  async drain(tasks) {
    const begun = performance.now();
    let left = tasks;
    const slot = async () => {
      while (left-- > 0) await this.#run();
    };
    await Promise.all(Array.from({ length: SLOTS }, slot));
    return performance.now() - begun;
  }

  async single() {
    const begun = performance.now();
    await this.#run();
    return performance.now() - begun;
  }
}
