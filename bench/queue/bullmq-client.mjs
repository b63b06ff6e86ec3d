// A client of BullMQ's, as its documentation shows one.

import { Queue, QueueEvents } from "bullmq";

import { QUEUE } from "./bullmq-queue.mjs";

const PAGE_JOBS = 5_000;

/**
 * @param {number} port where Redis is
 * @param {{value: unknown}} work what must come of each job
 * @param {number} connections how many adders share out among them
 */
export async function connect(port, work, connections = 1) {
  const connection = { host: "127.0.0.1", port };
  const queues = Array.from({ length: connections }, () => new Queue(QUEUE, { connection }));
  await Promise.all(queues.map((queue) => queue.waitUntilReady()));
  const [queue] = queues;
  let events = null;

  return {
    async add(adder) {
      return (await queues[adder % queues.length].add("noop", {})).id;
    },
    async addBatch(count) {
      const jobs = await queue.addBulk(Array(count).fill({ name: "noop", data: {} }));
      return jobs.length;
    },
    async addAndWait() {
      events ??= new QueueEvents(QUEUE, { connection });
      await events.waitUntilReady();
      const job = await queue.add("noop", {});
      prove(await job.waitUntilFinished(events), work);
    },
    async unfinished() {
      const counts = await queue.getJobCounts("wait", "active", "failed");
      if (counts.failed > 0) throw new Error(`${counts.failed} jobs failed`);
      return counts.wait + counts.active;
    },
    /** The ids of all jobs, each proven to have come back with the right value. */
    async results() {
      const seen = new Set();
      for (let start = 0; ; start += PAGE_JOBS) {
        const jobs = await queue.getJobs(["completed"], start, start + PAGE_JOBS - 1);
        if (jobs.length === 0) return seen;
        for (const job of jobs) {
          prove(job.returnvalue, work);
          seen.add(job.id);
        }
      }
    },
  };
}

function prove(value, work) {
  if (value !== work.value) {
    throw new Error(`a job came back with ${JSON.stringify(value)}`);
  }
}
