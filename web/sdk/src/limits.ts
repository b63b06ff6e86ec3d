//! The bounds of what a run may say and use, the same as on a node, and those of this package's own
//! queues.

import type { Limits, LimitsRequest } from './wire.js';

/** How much output of a run is kept. */
export const OUTPUT_BYTES_MAX = 1 << 20;
/** How large a result may be. */
export const RESULT_BYTES_MAX = 6 << 20;
/** How large a checkpoint may be. */
export const CHECKPOINT_BYTES_MAX = 1 << 20;
/** How long a progress message may be; what is longer is cut. */
export const MESSAGE_BYTES_MAX = 1 << 10;
/** Runs that wait in a page's pool; more are refused with `queue_full`. */
export const QUEUE_MAX = 10_000;
/** The most slots a page's pool may have. */
export const SLOTS_MAX = 64;

const DEFAULTS: Limits = { timeout_ms: 30_000, cpu_ms: 30_000, memory_bytes: 128 << 20 };

/** Decides the limits of a run: a request's wishes over its manifest's over the defaults. */
export function resolveLimits(wished?: LimitsRequest | null, granted?: LimitsRequest | null): Limits {
  const wishes = wished ?? {};
  const manifest = granted ?? {};
  const timeout_ms = wishes.timeout_ms ?? manifest.timeout_ms ?? DEFAULTS.timeout_ms;
  // A tighter wall-clock wish is not undone by the manifest's processor time.
  const fallback_ms = (wishes.timeout_ms ?? undefined) === undefined ? manifest.cpu_ms : undefined;
  return {
    timeout_ms,
    cpu_ms: wishes.cpu_ms ?? fallback_ms ?? timeout_ms,
    memory_bytes: wishes.memory_bytes ?? manifest.memory_bytes ?? DEFAULTS.memory_bytes,
  };
}

/** Whether exact limits were asked for, which native JavaScript in a tab cannot keep. */
export function wantsExactLimits(limits: LimitsRequest | null | undefined): boolean {
  return typeof limits?.cpu_ms === 'number' || typeof limits?.memory_bytes === 'number';
}
