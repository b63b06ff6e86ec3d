// BullMQ's worker, a process of its own: as many jobs at once as Runabout has slots, all of them in
// this process. Arguments: the port of Redis, the concurrency.

import { Worker } from "bullmq";

import { QUEUE } from "./bullmq-queue.mjs";

const [port, concurrency] = process.argv.slice(2).map(Number);
const worker = new Worker(QUEUE, async () => 0, {
  connection: { host: "127.0.0.1", port },
  concurrency,
});
worker.on("error", (error) => {
  console.error(error);
  process.exit(1);
});
await worker.waitUntilReady();
console.log("the worker is ready");
