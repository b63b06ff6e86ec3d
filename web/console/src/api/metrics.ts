// Reads the page of metrics, as far as the console draws it.

/** What a node had counted at one moment. */
export interface Counted {
  /** Milliseconds since 1970. */
  at: number;
  /** Tasks that ended since the node started, by outcome. */
  tasks: Map<string, number>;
  /** Calls that ended since the node started, by outcome. */
  calls: Map<string, number>;
  queued: number;
  running: number;
  slots: number;
  callsRunning: number;
  callsWaiting: number;
  residentBytes: number;
}

const LINE = /^([a-z_]+)(?:\{([^}]*)\})? (\S+)$/;
const OUTCOME = /outcome="([a-z_]+)"/;

/** Reads Prometheus' text format; what is not known is passed over. */
export function readMetrics(page: string, at: number): Counted {
  const counted: Counted = {
    at,
    tasks: new Map(),
    calls: new Map(),
    queued: 0,
    running: 0,
    slots: 0,
    callsRunning: 0,
    callsWaiting: 0,
    residentBytes: 0,
  };
  for (const line of page.split("\n")) {
    const [, name, labels, text] = LINE.exec(line) ?? [];
    if (name) take(counted, name, labels ?? "", Number(text));
  }
  return counted;
}

function take(counted: Counted, name: string, labels: string, value: number) {
  const outcome = OUTCOME.exec(labels)?.[1] ?? "";
  switch (name) {
    case "runabout_task_outcomes_total":
      counted.tasks.set(outcome, value);
      break;
    case "runabout_calls_total":
      counted.calls.set(outcome, value);
      break;
    case "runabout_tasks_queued":
      counted.queued = value;
      break;
    case "runabout_tasks_running":
      counted.running = value;
      break;
    case "runabout_slots":
      counted.slots = value;
      break;
    case "runabout_calls_running":
      counted.callsRunning = value;
      break;
    case "runabout_calls_waiting":
      counted.callsWaiting = value;
      break;
    case "process_resident_memory_bytes":
      counted.residentBytes = value;
      break;
  }
}

/** How many ended in a second between two moments. */
export interface Rates {
  tasks: number;
  calls: number;
  /** Of both, those that neither returned nor were cancelled. */
  failed: number;
}

/** Rates between two moments; a node that was started anew in between counts from zero. */
export function ratesBetween(before: Counted, after: Counted): Rates {
  const seconds = Math.max((after.at - before.at) / 1_000, 0.001);
  const rate = (kind: "tasks" | "calls", isWanted: (outcome: string) => boolean) => {
    let ended = 0;
    for (const [outcome, total] of after[kind]) {
      const earlier = before[kind].get(outcome) ?? 0;
      if (isWanted(outcome)) ended += total >= earlier ? total - earlier : total;
    }
    return ended / seconds;
  };
  const any = () => true;
  const failed = (outcome: string) => outcome !== "returned" && outcome !== "cancelled";
  return {
    tasks: rate("tasks", any),
    calls: rate("calls", any),
    failed: rate("tasks", failed) + rate("calls", failed),
  };
}
