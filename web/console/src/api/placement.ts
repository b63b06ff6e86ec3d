// Where calls run: what the node has learned, and the node behind it.

import { askJson } from "./ask";
import type { PlacementReport } from "./schema";

/** Functions that are shown; the node lists those called last first. */
const FUNCTIONS_MAX = 100;

export const placement = {
  show: (signal?: AbortSignal) =>
    askJson<PlacementReport>("/v1/placement", { query: { limit: FUNCTIONS_MAX }, signal }),
};
