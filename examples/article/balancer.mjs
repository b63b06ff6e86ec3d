// A plain balancer over HTTP/1.1: it asks every node for `/readyz`, gives a request to the node that has
// the fewest, and lets it wait while no node can take it. Nothing is sent twice. No WebSockets.

import { Agent, createServer, request } from "node:http";
import { setTimeout as pause } from "node:timers/promises";

const ASK_EVERY_MS = 50;
const ASK_MS_MAX = 1_000;
/** How long a request may wait for a node, and how many may. */
const WAIT_MS_MAX = 10_000;
const WAITING_MAX = 4_096;
/** How long a node that is drained may take to answer what it has: a call's 30 s, and some more. */
const DRAIN_MS_MAX = 35_000;
/** Longer than clients keep idle connections. */
const KEEP_ALIVE_MS = 120_000;
/** They speak of one connection, and are not handed on. */
const HOP_BY_HOP = ["connection", "keep-alive", "proxy-connection", "expect"];

/** A node as the balancer sees it. */
class Backend {
  isReady = false;
  isDraining = false;
  /** What it was asked and has not answered to the end. */
  underway = new Set();
  /** How to end each stream of events, which never ends by itself; its reader resumes where it was. */
  streams = new Set();
  agent = new Agent({ keepAlive: true });

  constructor({ name, port, takes }) {
    Object.assign(this, { name, port, takes });
  }
}

/**
 * Listens at `port` for the nodes behind it; `takes(path)` says which paths a node answers.
 *
 * @param {{port: number, nodes: {name: string, port: number, takes: (path: string) => boolean}[]}} setup
 */
export async function balance({ port, nodes }) {
  const backends = nodes.map((node) => new Backend(node));
  const waiting = new Set();
  const named = (name) => backends.find((backend) => backend.name === name);

  const server = createServer({ keepAliveTimeout: KEEP_ALIVE_MS }, async (asked, answer) => {
    const backend = free(asked.url) ?? (await whenFree(asked.url));
    if (answer.destroyed) {
      return;
    }
    if (backend !== null) {
      handOn(backend, asked, answer);
    } else {
      answer.writeHead(503, { "Retry-After": "1" }).end("no node is ready\n");
    }
  });

  function free(path) {
    const able = backends.filter(
      (backend) => backend.isReady && !backend.isDraining && backend.takes(path),
    );
    const [first] = able.sort((a, b) => a.underway.size - b.underway.size);
    return first ?? null;
  }

  /** The node that becomes free for that path, or null if none does in time. */
  function whenFree(path) {
    if (waiting.size >= WAITING_MAX) {
      return null;
    }
    return new Promise((resolve) => {
      const waiter = { path, take };
      const late = setTimeout(take, WAIT_MS_MAX, null);
      function take(backend) {
        clearTimeout(late);
        waiting.delete(waiter);
        resolve(backend);
      }
      waiting.add(waiter);
    });
  }

  function letIn() {
    for (const { path, take } of waiting) {
      const backend = free(path);
      if (backend !== null) {
        take(backend);
      }
    }
  }

  async function ask(backend) {
    while (server.listening) {
      backend.isReady = await isReady(backend);
      letIn();
      await pause(ASK_EVERY_MS);
    }
  }

  await new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", resolve);
  });
  backends.forEach((backend) => void ask(backend));

  return {
    /** Gives that node nothing new, and waits until it has answered what it was asked. */
    async drain(name) {
      const backend = named(name);
      backend.isDraining = true;
      backend.streams.forEach((end) => end());
      const deadline = Date.now() + DRAIN_MS_MAX;
      while (backend.underway.size > 0 && Date.now() < deadline) {
        await pause(ASK_EVERY_MS);
      }
      backend.underway.forEach((handed) => handed.destroy());
      backend.agent.destroy();
    },

    /** Gives that node requests again, once it says that it is ready. */
    async restore(name) {
      const backend = named(name);
      backend.agent = new Agent({ keepAlive: true });
      while (!(await isReady(backend))) {
        await pause(ASK_EVERY_MS);
      }
      backend.isReady = true;
      backend.isDraining = false;
      letIn();
    },

    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}

function handOn(backend, asked, answer) {
  const { method, url: path } = asked;
  const headers = endToEnd(asked.headers);
  const handed = request({ port: backend.port, agent: backend.agent, method, path, headers });
  backend.underway.add(handed);
  handed.once("close", () => backend.underway.delete(handed));
  handed.once("response", (answered) => {
    answer.writeHead(answered.statusCode, endToEnd(answered.headers));
    answered.pipe(answer);
    answered.once("error", () => answer.destroy());
    if (answered.headers["content-type"] === "text/event-stream") {
      keepStream(backend, handed, answered, answer);
    }
  });
  handed.once("error", () => {
    if (answer.headersSent) {
      answer.destroy();
    } else {
      answer.writeHead(502).end(`${backend.name} was lost\n`);
    }
  });
  // Whoever hangs up ends what the node does for it.
  answer.once("close", () => answer.writableFinished || handed.destroy());
  asked.pipe(handed);
}

function keepStream(backend, handed, answered, answer) {
  const end = () => {
    answered.unpipe(answer);
    answer.end();
    handed.destroy();
  };
  backend.underway.delete(handed);
  backend.streams.add(end);
  answer.once("close", () => backend.streams.delete(end));
  if (backend.isDraining) {
    end();
  }
}

function endToEnd(headers) {
  const kept = Object.entries(headers).filter(([name]) => !HOP_BY_HOP.includes(name));
  return Object.fromEntries(kept);
}

async function isReady({ port }) {
  try {
    const signal = AbortSignal.timeout(ASK_MS_MAX);
    const answer = await fetch(`http://127.0.0.1:${port}/readyz`, { signal });
    await answer.arrayBuffer();
    return answer.ok;
  } catch {
    return false;
  }
}
