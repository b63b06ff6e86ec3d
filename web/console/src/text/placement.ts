// The words for where calls run and why.

/** Why a call runs where it does: the words of `Runabout-Placement`, for a person. */
const REASONS: Record<string, string> = {
  asked: "as the caller or the manifest says",
  rule: "as a rule says",
  rule_failed: "its rule could not be decided",
  faster: "expected to finish first",
  learning: "nothing was known yet",
  exploring: "time to look at the other side",
  outlived: "it took too long on the other side",
  upstream_unreachable: "the upstream cannot be reached",
  upstream_busy: "the upstream takes no more",
  upstream_refused: "the upstream does not take it",
  upstream_limits: "the upstream grants less",
  upstream_lost: "the upstream was lost",
  upstream_memory: "the upstream had no memory left",
  offload_loop: "the upstream had handed it on",
  too_far: "it has passed too many nodes",
  no_upstream: "there is no other node",
  no_tab: "there is no tab",
};

/** The reason in words; a word of a newer node stands for itself. */
export function reasonText(reason: string): string {
  return REASONS[reason] ?? reason;
}

/** What was decided, as the node tells it. */
export interface Decision {
  first: string;
  other_after_ms?: number | null;
  reason: string;
}

/** Where a call was sent: `here`, `upstream`, `both`. */
export function sideOf({ first, other_after_ms: after }: Decision): string {
  return after === 0 ? "both" : first;
}

/** How a pace reads: time there over time here. */
export function paceText(pace: number): string {
  const times = (value: number) => `${Number(value.toFixed(value < 10 ? 1 : 0))} ×`;
  if (pace < 0.95) return `${times(1 / pace)} faster`;
  if (pace > 1.05) return `${times(pace)} slower`;
  return "as fast as here";
}

/** Where an endpoint or a function lets its calls run; what is no word is a rule. */
export function offloadText(offload: string | null | undefined): { text: string; isRule: boolean } {
  switch (offload ?? "") {
    case "":
      return { text: "as the function says", isRule: false };
    case "0":
      return { text: "here", isRule: false };
    case "1":
      return { text: "upstream", isRule: false };
    case "auto":
      return { text: "where it is done first", isRule: false };
    case "query":
      return { text: "as the caller says", isRule: false };
    default:
      return { text: offload ?? "", isRule: true };
  }
}
