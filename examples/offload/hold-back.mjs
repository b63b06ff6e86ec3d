// Makes a process slower, as `cpulimit` does: it is stopped for most of every few milliseconds. A
// thread of its own, because the main one could not keep such short times.

import { isMainThread, Worker, workerData } from "node:worker_threads";

/** How long the process runs before it is stopped again. */
const RUN_MS = 2;

/**
 * Holds `pid` back to one part in `times` of its speed, until the returned function is called.
 *
 * @returns {() => Promise<void>}
 */
export function holdBack(pid, times) {
  const ending = new Int32Array(new SharedArrayBuffer(4));
  const worker = new Worker(new URL(import.meta.url), { workerData: { pid, times, ending } });
  const ended = new Promise((resolve) => worker.once("exit", resolve));
  return async () => {
    Atomics.store(ending, 0, 1);
    await ended;
  };
}

if (!isMainThread) {
  const { pid, times, ending } = workerData;
  const pause = (ms) => Atomics.wait(ending, 0, 0, ms);
  try {
    while (Atomics.load(ending, 0) === 0) {
      process.kill(pid, "SIGSTOP");
      pause(RUN_MS * (times - 1));
      process.kill(pid, "SIGCONT");
      pause(RUN_MS);
    }
  } catch {
    // The process has ended: nothing is left to hold back.
  }
}
