// The words for where a task stands and how a run ended, and what they mean for a person.

import type { Outcome, Task, TaskState } from "../api/schema";
import { bytes, duration } from "./format";

/** What a mark shows: a state that is not final, or an outcome. */
export type Standing =
  | "queued"
  | "running"
  | "returned"
  | "threw"
  | "timed_out"
  | "out_of_memory"
  | "cancelled"
  | "lost";

const WORDS: Record<Standing, string> = {
  queued: "queued",
  running: "running",
  returned: "returned",
  threw: "threw",
  timed_out: "timed out",
  out_of_memory: "out of memory",
  cancelled: "cancelled",
  lost: "lost",
};

/** The word for it. */
export function word(standing: Standing): string {
  return WORDS[standing];
}

/** Where a task stands, by its outcome once it has one. */
export function standing(task: Pick<Task, "state"> & { outcome?: Outcome | null }): Standing {
  if (task.outcome) return kindOf(task.outcome.kind);
  return ofState(task.state);
}

/** Where a task stands, as far as its state alone tells. */
export function ofState(state: TaskState): Standing {
  switch (state) {
    case "queued":
    case "running":
    case "cancelled":
      return state;
    case "succeeded":
      return "returned";
    case "failed":
      return "threw";
  }
}

/** A kind as it comes over the wire; one of a newer node counts as an error. */
export function kindOf(kind: string): Standing {
  return kind in WORDS ? (kind as Standing) : "threw";
}

/** What happened, in one line; nothing where the word says it all. */
export function sentence(outcome: Outcome): string {
  switch (outcome.kind) {
    case "threw":
      return outcome.error ? `${outcome.error.name}: ${outcome.error.message}` : "";
    case "timed_out": {
      const which = outcome.limit === "cpu" ? "of processor time" : "on the clock";
      return `It reached its limit of ${duration(outcome.limit_ms ?? 0)} ${which}.`;
    }
    case "out_of_memory": {
      const whose = outcome.scope === "node" ? "All runs of the node together" : "The run";
      return `${whose} may have ${bytes(outcome.limit_bytes ?? 0)} of memory, and no more.`;
    }
    case "cancelled":
      return "Somebody asked for it to stop.";
    case "lost":
      return `${outcome.attempts ?? 0} of its workers went away while they ran it.`;
    default:
      return "";
  }
}

/** What can be done about it. */
export function advice(outcome: Outcome): string {
  switch (outcome.kind) {
    case "timed_out":
      return "Ask for a longer limit, or do less at once and leave checkpoints.";
    case "out_of_memory":
      return outcome.scope === "node"
        ? "Run it when less is going on, or give the node more with --memory-total."
        : "Ask for more memory, or hold less at once.";
    case "lost":
      return "Run it again; if it ends the workers it meets, give it less to do.";
    default:
      return "";
  }
}

/** Whether nothing more will happen to it. */
export function isFinal(state: TaskState): boolean {
  return state !== "queued" && state !== "running";
}
