// Runs the generator, a process of its own, against an open queue.

import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const GENERATOR = fileURLToPath(new URL("generator.mjs", import.meta.url));
const OUTPUT_BYTES_MAX = 1 << 20;

/** Does what the plan says, and gives what was measured. */
export async function generate({ reach }, plan) {
  const args = [GENERATOR, JSON.stringify({ ...reach, ...plan })];
  const { stdout } = await promisify(execFile)(process.execPath, args, {
    maxBuffer: OUTPUT_BYTES_MAX,
  });
  return JSON.parse(stdout);
}
