// Who is measured: how each queue is started, what a task does there, and how it is ended.

import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { start } from "../servers.mjs";

const path = (relative) => fileURLToPath(new URL(relative, import.meta.url));

/** Tasks that may run at once, everywhere. */
export const SLOTS = 100;

/**
 * @typedef {object} Contender
 * @property {string} name what the tables call it
 * @property {string} key what ratios call it
 * @property {(use: {processing: boolean}) => Promise<Open>} open starts it with nothing stored
 *
 * @typedef {object} Open a queue that answers
 * @property {object} reach how a generator reaches it: `client`, `address` and `work`
 * @property {number} pid the process that stores
 * @property {() => Promise<void>} close ends it and removes what it stored
 */

/** Runabout, with tasks in JavaScript or in Wasm. */
export function runabout(binary, language) {
  const work = WORK[language];
  const open = async ({ processing }) => {
    const folder = await mkdtemp(join(tmpdir(), "runabout-bench-"));
    const slots = processing ? SLOTS : 0;
    const serve = () =>
      start((port) => ({
        program: binary,
        args: ["serve", "--listen", `127.0.0.1:${port}`, "--data", folder, "--slots", `${slots}`],
        env: { RUNABOUT_LOG: "warn" },
        ready: "/readyz",
      }));
    let server = await serve();
    await deploy(server.url, work);
    return {
      get reach() {
        return { client: "runabout", address: server.url, work };
      },
      get pid() {
        return server.pid;
      },
      folder,
      async killAndRestart() {
        await server.kill();
        const begun = performance.now();
        server = await serve();
        return performance.now() - begun;
      },
      async close() {
        await server.stop();
        await rm(folder, { recursive: true, force: true });
      },
    };
  };
  return { name: `Runabout, ${work.name}`, key: work.key, open };
}

const WORK = {
  javascript: {
    name: "JavaScript",
    key: "JavaScript",
    type: "text/javascript",
    code: async () => "export default () => 0;",
    function: "noop",
    args: [],
    value: 0,
  },
  wasm: {
    name: "Wasm",
    key: "Wasm",
    type: "application/wasm",
    code: () => readFile(path("../../guests/dist/fib.wasm")),
    function: "fib",
    args: [1],
    value: 1,
  },
};

async function deploy(url, work) {
  const response = await fetch(`${url}/v1/functions/${work.function}`, {
    method: "PUT",
    headers: { "Content-Type": work.type },
    body: await work.code(),
  });
  if (!response.ok) {
    throw new Error(`failed to deploy: ${response.status} ${await response.text()}`);
  }
}

/** BullMQ on a Redis of its own that calls fsync so often: `always` or `everysec`. */
export function bullmq(fsync) {
  const open = async ({ processing }) => {
    const folder = await mkdtemp(join(tmpdir(), "runabout-bench-redis-"));
    const redis = await start((port) => ({
      program: "redis-server",
      args: [
        ...["--bind", "127.0.0.1", "--port", `${port}`, "--dir", folder, "--save", ""],
        ...["--appendonly", "yes", "--appendfsync", fsync],
      ],
      says: "Ready to accept connections",
    }));
    const worker = processing
      ? await start(() => ({
          program: process.execPath,
          args: [path("bullmq-worker.mjs"), `${redis.port}`, `${SLOTS}`],
          says: "the worker is ready",
        }))
      : null;
    return {
      reach: { client: "bullmq", address: redis.port, work: { value: 0 } },
      pid: redis.pid,
      folder,
      async close() {
        // Killed: neither has anything left to do, and a worker would wait for its last fetch.
        await worker?.kill();
        await redis.kill();
        await rm(folder, { recursive: true, force: true });
      },
    };
  };
  return { name: `BullMQ, Redis \`appendfsync ${fsync}\``, key: `BullMQ ${fsync}`, open };
}
