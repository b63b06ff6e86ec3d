// Who is measured: how each server is started, what it is asked, and what it must answer.

import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

import { start } from "../servers.mjs";

const path = (relative) => fileURLToPath(new URL(relative, import.meta.url));

/**
 * Starts the peers. Each is a server's hello world: one isolate, already warm, answers everything.
 *
 * @returns {Promise<Contender[]>}
 *
 * @typedef {object} Contender
 * @property {string} name what the table calls it
 * @property {string} key what ratios call it
 * @property {{url: string, method: string, body?: string}} request
 * @property {unknown} answer what the request must come back with
 */
export async function peers() {
  const { url: deno } = await start((port) => ({
    program: path("../node_modules/.bin/deno"),
    args: ["run", `--allow-net=127.0.0.1:${port}`, path("peers/deno.js"), String(port)],
    env: { DENO_NO_UPDATE_CHECK: "1", DENO_DIR: path("../node_modules/.cache/deno") },
  }));
  const { url: workerd } = await start((port) => ({
    program: path("../node_modules/.bin/workerd"),
    args: ["serve", path("peers/workerd.capnp"), `--socket-addr=http=127.0.0.1:${port}`],
  }));
  return [
    { name: "Deno, hello world", key: "Deno", ...hello(deno) },
    { name: "workerd, hello world", key: "workerd", ...hello(workerd) },
  ];
}

function hello(server) {
  return { request: { url: `${server}/`, method: "GET" }, answer: "hello" };
}

/**
 * Starts a node and deploys two functions. Each call runs in a sandbox without a trace of others.
 *
 * @param {string} binary
 * @param {string} dataFolder
 * @returns {Promise<Contender[]>}
 */
export async function runabout(binary, dataFolder) {
  const { url: server } = await start((port) => ({
    program: binary,
    args: ["serve", "--listen", `127.0.0.1:${port}`, "--data", dataFolder],
    env: { RUNABOUT_LOG: "warn" },
    ready: "/healthz",
  }));
  await deploy(server, "fib", "application/wasm", await readFile(path("../../guests/dist/fib.wasm")));
  await deploy(server, "add", "text/javascript", "export default (a, b) => a + b;");
  return [
    { name: "Runabout, Wasm `fib(1)`", key: "Wasm", ...call(server, "fib", [1], 1) },
    {
      name: "Runabout, JavaScript `(a, b) => a + b`",
      key: "JavaScript",
      ...call(server, "add", [1, 2], 3),
    },
  ];
}

function call(server, name, args, answer) {
  const url = `${server}/v1/functions/${name}/call`;
  return { request: { url, method: "POST", body: JSON.stringify(args) }, answer };
}

async function deploy(server, name, type, body) {
  const url = `${server}/v1/functions/${name}`;
  const response = await fetch(url, { method: "PUT", headers: { "Content-Type": type }, body });
  if (!response.ok) {
    throw new Error(`failed to deploy ${name}: ${response.status} ${await response.text()}`);
  }
}

/** Asks once, so that nobody is measured for a wrong answer. */
export async function prove({ name, request, answer }) {
  const headers = request.body === undefined ? {} : { "Content-Type": "application/json" };
  const response = await fetch(request.url, { method: request.method, headers, body: request.body });
  const text = await response.text();
  if (!response.ok || text.trim() !== JSON.stringify(answer)) {
    throw new Error(`${name} answered ${response.status} ${text}, not ${JSON.stringify(answer)}`);
  }
}
