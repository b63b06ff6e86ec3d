// Starts servers on free ports of this machine's loopback, and ends them again: those, and no others.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { setTimeout as pause } from "node:timers/promises";

const START_MS_MAX = 60_000;
const STOP_MS_MAX = 5_000;
const POLL_MS = 10;
const OUTPUT_CHARACTERS_KEPT = 4_096;

/** Every server that was started and not yet ended. */
const running = new Set();

/** A server that answers. */
class Server {
  #child;

  constructor(child, port) {
    this.#child = child;
    this.port = port;
    this.url = `http://127.0.0.1:${port}`;
  }

  get pid() {
    return this.#child.pid;
  }

  /** Ends it and waits until it is gone; it is killed if it does not go. */
  async stop() {
    await end(this.#child, "SIGTERM");
  }

  /** SIGKILL, wherever it is; fine if it is dead already. */
  async kill() {
    await end(this.#child, "SIGKILL");
  }
}

/**
 * Starts a program, and waits until it answers.
 *
 * @param {(port: number) => Command} command
 * @returns {Promise<Server>}
 *
 * @typedef {object} Command
 * @property {string} program
 * @property {string[]} args
 * @property {object} [env]
 * @property {string} [ready] the path of HTTP that answers once it is up
 * @property {string} [says] or what it prints then
 * @property {() => boolean} [isUp] or what is asked whether it is
 */
export async function start(command) {
  const port = await freePort();
  const { program, args, env = {}, ready = "/", says, isUp = () => seen() } = command(port);
  const child = spawn(program, args, {
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
    // A process group of its own: what npm installs may be a script that starts the real program.
    detached: true,
  });
  running.add(child);
  let output = "";
  let failure = null;
  const keep = (text) => {
    output = (output + text).slice(-OUTPUT_CHARACTERS_KEPT);
  };
  child.stdout.on("data", keep);
  child.stderr.on("data", keep);
  child.on("error", (error) => {
    failure = error.message;
  });
  child.on("exit", (code, signal) => {
    failure ??= `it ended with ${signal ?? code}`;
  });

  const server = new Server(child, port);
  const seen = () => (says === undefined ? answers(server.url + ready) : output.includes(says));
  const deadline = Date.now() + START_MS_MAX;
  while (!(await isUp())) {
    if (failure !== null || Date.now() > deadline) {
      throw new Error(`${program} did not start: ${failure ?? "it never answered"}\n${output}`);
    }
    await pause(POLL_MS);
  }
  return server;
}

/** Ends every server that was started here. */
export async function stopAll() {
  await Promise.all([...running].map((child) => end(child, "SIGTERM")));
}

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

async function answers(url) {
  try {
    const response = await fetch(url);
    await response.arrayBuffer();
    return response.ok;
  } catch {
    return false;
  }
}

async function end(child, signal) {
  running.delete(child);
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) {
    return;
  }
  const ended = once(child, "exit");
  process.kill(-child.pid, signal);
  const hurry = setTimeout(() => process.kill(-child.pid, "SIGKILL"), STOP_MS_MAX);
  await ended;
  clearTimeout(hurry);
}
