// The words for how this tab works for the node.

import type { WorkerState } from "runabout";

export function wordOfTab(isOn: boolean, state: WorkerState): string {
  if (!isOn) return "runs nothing for others";
  switch (state) {
    case "connecting":
      return "joining the node";
    case "working":
      return "takes tasks";
    case "disconnected":
      return "joins again when it can";
    case "refused":
      return "the node refuses it";
    case "stopped":
      return "starting";
  }
}
