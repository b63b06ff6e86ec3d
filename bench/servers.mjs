// Starts servers on free ports of this machine's loopback, and ends them again: those, and no others.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { setTimeout as pause } from "node:timers/promises";

const START_MS_MAX = 30_000;
const STOP_MS_MAX = 5_000;
const OUTPUT_CHARACTERS_KEPT = 4_096;

/** Every server that was started and not yet ended. */
const running = new Set();

/**
 * Starts a program that serves HTTP, and waits until it answers.
 *
 * @param {(port: number) => {program: string, args: string[], env?: object, ready?: string}} command
 * @returns {Promise<string>} where it answers
 */
export async function start(command) {
  const port = await freePort();
  const { program, args, env = {}, ready = "/" } = command(port);
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

  const url = `http://127.0.0.1:${port}`;
  const deadline = Date.now() + START_MS_MAX;
  while (!(await answers(url + ready))) {
    if (failure !== null || Date.now() > deadline) {
      throw new Error(`${program} did not start: ${failure ?? "it never answered"}\n${output}`);
    }
    await pause(50);
  }
  return url;
}

/** Ends every server that was started here. */
export async function stopAll() {
  await Promise.all([...running].map(end));
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

async function end(child) {
  running.delete(child);
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) {
    return;
  }
  const ended = once(child, "exit");
  process.kill(-child.pid, "SIGTERM");
  const hurry = setTimeout(() => process.kill(-child.pid, "SIGKILL"), STOP_MS_MAX);
  await ended;
  clearTimeout(hurry);
}
