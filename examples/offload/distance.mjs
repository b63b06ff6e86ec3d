// Puts a node at a distance: a proxy that hands every byte on after a while, in both directions.

import { connect, createServer } from "node:net";

/**
 * Listens on a free port of this machine and hands on to `port`, each way in `delayMs`.
 *
 * @returns {Promise<{port: number, close: () => void}>}
 */
export async function distance(port, delayMs) {
  const sockets = new Set();
  const server = createServer({ noDelay: true }, (near) => {
    const far = connect({ port, host: "127.0.0.1", noDelay: true });
    handOn(near, far);
    handOn(far, near);
  });

  /** Timers of one length fire in the order they were set, so bytes stay in theirs. */
  function handOn(from, to) {
    sockets.add(from);
    const later = (act) => setTimeout(() => to.destroyed || act(), delayMs);
    from.on("data", (bytes) => later(() => to.write(bytes)));
    from.on("close", () => sockets.delete(from) && later(() => to.destroySoon()));
    // What is closed after an error is told by `close`.
    from.on("error", () => {});
  }

  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const close = () => {
    server.close();
    sockets.forEach((socket) => socket.destroy());
  };
  return { port: server.address().port, close };
}
