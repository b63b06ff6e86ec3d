// The node that `make serve` started: who it is, whether it lives, how it is started and ended.
//
// A record in the data folder says which process it is. The process is asked for by name as well,
// because a number may have been given to another program since.

import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, openSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";

const START_MS_MAX = 30_000;
const STOP_MS_MAX = 15_000;
const POLL_MS = 50;

const recordPath = (data) => join(data, "serve.json");

/** Where the node writes what it has to say. */
export const logPath = (data) => join(data, "serve.log");

/** The node's address for clients on this machine. */
export const address = (port) => `http://127.0.0.1:${port}`;

/**
 * The node that was started here and still lives.
 *
 * @returns {{pid: number, port: number, startedAt: number} | null}
 */
export function recorded(data) {
  try {
    const record = JSON.parse(readFileSync(recordPath(data), "utf8"));
    return commandOf(record.pid).includes("runabout") ? record : null;
  } catch {
    return null;
  }
}

function commandOf(pid) {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8");
  } catch {
    return execFileSync("ps", ["-o", "command=", "-p", String(pid)], { encoding: "utf8" });
  }
}

/** Whether that node runs this build, on this port. */
export function isCurrent(node, binary, port) {
  return node.port === port && node.startedAt > statSync(binary).mtimeMs;
}

/** Whether a node answers at this address. */
export async function isHealthy(url) {
  try {
    const response = await fetch(`${url}/healthz`, { signal: AbortSignal.timeout(1_000) });
    await response.arrayBuffer();
    return response.ok;
  } catch {
    return false;
  }
}

/**
 * Starts a node that outlives this process, and waits until it answers.
 *
 * @throws {Error} with the end of its log, if it ends or never answers
 */
export async function start({ binary, port, data, flags = [] }) {
  // The log is there before the node is; readable by its owner alone, as the node makes it itself.
  mkdirSync(data, { recursive: true, mode: 0o700 });
  const log = openSync(logPath(data), "w");
  const listen = ["serve", "--listen", `127.0.0.1:${port}`, "--data", data];
  const child = spawn(binary, [...listen, ...flags], {
    detached: true,
    stdio: ["ignore", log, log],
  });
  let ending = null;
  child.on("error", (error) => {
    ending = error.message;
  });
  child.on("exit", (code, signal) => {
    ending = `it ended with ${signal ?? `code ${code}`}`;
  });
  child.unref();

  const healthy = await until(() => isHealthy(address(port)), START_MS_MAX, () => ending !== null);
  if (ending !== null || !healthy) {
    if (ending === null) {
      child.kill();
    }
    const reason = ending ?? `it did not answer within ${START_MS_MAX / 1000} s`;
    throw new Error(`the node did not start: ${reason}\n${readFileSync(logPath(data), "utf8").slice(-4_096)}`);
  }
  const record = { pid: child.pid, port, startedAt: Date.now() };
  writeFileSync(recordPath(data), `${JSON.stringify(record)}\n`);
  return record;
}

/** Ends that node and waits until it is gone; one that does not go is killed: its store allows it. */
export async function stop(data) {
  const node = recorded(data);
  if (node !== null) {
    process.kill(node.pid, "SIGTERM");
    if (!(await until(() => recorded(data) === null, STOP_MS_MAX))) {
      process.kill(node.pid, "SIGKILL");
      await until(() => recorded(data) === null, STOP_MS_MAX);
    }
  }
  rmSync(recordPath(data), { force: true });
  return node;
}

/** Whether it came true in time, and before it became hopeless. */
async function until(isTrue, timeoutMs, isHopeless = () => false) {
  const deadline = Date.now() + timeoutMs;
  while (Date.now() < deadline && !isHopeless()) {
    if (await isTrue()) {
      return true;
    }
    await pause(POLL_MS);
  }
  return false;
}
