// A node that ends with the process that started it.

import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

/** How much of what it says is kept, to be told if it ends. */
const LINES_MAX = 20;

/**
 * Starts a node; port 0 takes a free one.
 *
 * @returns {{
 *   pid: number,
 *   listening: Promise<{url: string, port: number}>,
 *   ended: Promise<string>,
 *   stop: () => Promise<void>,
 * }} `ended` tells what the node said last; `listening` fails if it ends before it listens.
 */
export function startNode({ binary, name, port, data, flags }) {
  const listen = ["serve", "--listen", `127.0.0.1:${port}`, "--data", data, "--name", name];
  const child = spawn(binary, [...listen, ...flags], { stdio: ["ignore", "ignore", "pipe"] });
  const said = [];
  const ended = new Promise((resolve) => {
    child.once("error", (error) => resolve(error.message));
    child.once("close", () => resolve(said.join("\n")));
  });
  const listening = new Promise((resolve, reject) => {
    createInterface({ input: child.stderr }).on("line", (line) => {
      said.push(line);
      said.splice(0, said.length - LINES_MAX);
      const address = /listening on (http:\/\/[^,\s]+)/.exec(line);
      if (address !== null) {
        resolve({ url: address[1], port: Number(new URL(address[1]).port) });
      }
    });
    void ended.then((why) => reject(new Error(`the ${name} node did not start: ${why}`)));
  });
  const stop = async () => {
    // One that is held back would not hear the other signal for a while.
    child.kill("SIGCONT");
    child.kill("SIGTERM");
    await ended;
  };
  return { pid: child.pid, listening, ended, stop };
}
