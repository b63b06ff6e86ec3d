// Puts load on one server with wrk, and says what came back.

import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const SCRIPT = fileURLToPath(new URL("load.lua", import.meta.url));

/**
 * @param {{url: string, method: string, body?: string}} request
 * @param {{seconds: number, connections: number}} load one thread of wrk drives all connections
 * @returns {Promise<{requests: number, requests_per_second: number, p50_ms: number, p99_ms: number}>}
 */
export async function load(request, { seconds, connections }) {
  const env = { ...process.env, BENCH_METHOD: request.method };
  if (request.body !== undefined) {
    env.BENCH_BODY = request.body;
  }
  const args = ["-t1", `-c${connections}`, `-d${seconds}s`, "-s", SCRIPT, request.url];
  const { stdout } = await promisify(execFile)("wrk", args, { env });

  const measured = JSON.parse(stdout.trim().split("\n").at(-1));
  if (measured.errors > 0) {
    throw new Error(`${measured.errors} of ${measured.requests} requests to ${request.url} failed`);
  }
  return {
    requests: measured.requests,
    requests_per_second: measured.requests / (measured.duration_us / 1e6),
    p50_ms: measured.p50_us / 1e3,
    p99_ms: measured.p99_us / 1e3,
  };
}
