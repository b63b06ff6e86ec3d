// A client of Runabout's, as a Node.js program would have one: JSON over kept connections.

import { Pool } from "undici";

/**
 * @param {string} url where the node is
 * @param {{function: string, args: unknown[], value: unknown}} work what each task does, and what
 *   must come of it
 */
export async function connect(url, work) {
  // Each request looks for a free one along the list: with 2,000 of them this process was busy with
  // looking, and answers waited for half a second.
  const pool = new Pool(url, { connections: 256 });
  const one = JSON.stringify({ function: work.function, args: work.args });

  const ask = async (method, path, body) => {
    const headers = body === undefined ? {} : { "Content-Type": "application/json" };
    const response = await pool.request({ method, path, headers, body });
    if (response.statusCode >= 300) {
      const text = await response.body.text();
      throw new Error(`${method} ${path} answered ${response.statusCode} ${text}`);
    }
    return await response.body.json();
  };

  const prove = (task) => {
    if (task.outcome?.kind !== "returned" || task.outcome.value !== work.value) {
      throw new Error(`not ${JSON.stringify(work.value)}: ${JSON.stringify(task)}`);
    }
  };

  return {
    async add() {
      return (await ask("POST", "/v1/tasks", one)).id;
    },
    async addBatch(count) {
      const body = `[${Array(count).fill(one).join(",")}]`;
      return (await ask("POST", "/v1/tasks/batch", body)).ids.length;
    },
    async addAndWait() {
      prove(await ask("POST", "/v1/tasks?wait=10", one));
    },
    async unfinished() {
      const node = await ask("GET", "/v1/node");
      return node.queued + node.running;
    },
    /** The ids of all tasks, each proven to have come back with the right value. */
    async results() {
      return await list(prove);
    },
    /** The ids of all tasks, whatever became of them. */
    async all() {
      return await list(() => {});
    },
  };

  async function list(look) {
    const seen = new Set();
    let cursor = "";
    while (cursor !== null) {
      const page = await ask("GET", `/v1/tasks?limit=500${cursor}`);
      for (const task of page.items) {
        look(task);
        seen.add(task.id);
      }
      cursor = page.next_cursor === null ? null : `&cursor=${page.next_cursor}`;
    }
    return seen;
  }
}
