// What stands in the Run page. Kept on this machine, so that a reload loses nothing.

import { EXAMPLES } from "../text/examples";

const KEY = "runabout.draft";

export interface Draft {
  text: string;
  language: "js" | "ts";
  args: string;
  place: string;
  /** Empty for the default. */
  timeoutS: string;
  /** Empty for the default. */
  memoryMib: string;
}

const FRESH: Draft = {
  text: EXAMPLES[0]!.text,
  language: "js",
  args: EXAMPLES[0]!.args,
  place: "auto",
  timeoutS: "",
  memoryMib: "",
};

export const draft = $state<Draft>(read());

/** Writes it down; called from an effect, so that each change is kept. */
export function keepDraft() {
  localStorage.setItem(KEY, JSON.stringify(draft));
}

function read(): Draft {
  try {
    const kept = { ...FRESH, ...JSON.parse(localStorage.getItem(KEY) ?? "{}") };
    return { ...kept, timeoutS: String(kept.timeoutS ?? ""), memoryMib: String(kept.memoryMib ?? "") };
  } catch {
    return { ...FRESH };
  }
}
