// Limits as the form of the Run page has them: in seconds and MiB, where the node counts in
// milliseconds and bytes.

import { count } from "./format";

export interface LimitField {
  /** What the node calls it. */
  name: "timeout_ms" | "memory_bytes";
  label: string;
  unit: string;
  /** How many of the node's units one of the form's is. */
  scale: number;
  /** In the form's unit. */
  min: number;
}

export const TIME: LimitField = { name: "timeout_ms", label: "Time limit", unit: "s", scale: 1_000, min: 0.001 };
export const MEMORY: LimitField = { name: "memory_bytes", label: "Memory", unit: "MiB", scale: 2 ** 20, min: 1 };

/** In the node's unit; undefined where nothing is written, and the default holds. */
export type Limit = { value: number | undefined } | { why: string };

export function readLimit(text: string, { label, unit, scale, min }: LimitField): Limit {
  const trimmed = text.trim();
  if (trimmed === "") return { value: undefined };
  const value = Number(trimmed);
  if (!Number.isFinite(value)) return { why: `${label} is a number, in ${unit}, or empty for the default` };
  if (value < min) return { why: `${label} must be at least ${min} ${unit}` };
  return { value: Math.round(value * scale) };
}

/** What the node grants, where it granted less than was asked for. */
export function mostOf({ name, label, unit, scale }: LimitField, problem: Record<string, unknown>): string {
  const { field, maximum } = problem;
  if (field !== `limits.${name}` || typeof maximum !== "number") return "";
  return `${label} may be ${count(Math.floor(maximum / scale))} ${unit} at most on this node`;
}
