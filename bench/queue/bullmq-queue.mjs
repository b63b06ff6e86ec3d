// What BullMQ's client and worker agree on.

/** The queue's name in Redis. */
export const QUEUE = "bench";
