//! The one error of this package.

import type { Json } from './types.js';
import type { Outcome } from './wire.js';

export interface ErrorDetails {
  /** A stable word: a problem's `code`, or one of this package's own, see the README. */
  code: string;
  /** How the run ended, where there was one. */
  outcome?: Outcome | undefined;
  /** The HTTP status, where the node answered. */
  status?: number | undefined;
  /** The problem as the node told it. */
  problem?: { [key: string]: Json } | undefined;
  cause?: unknown;
}

export class RunaboutError extends Error {
  override readonly name = 'RunaboutError';
  readonly code: string;
  readonly outcome: Outcome | undefined;
  readonly status: number | undefined;
  readonly problem: { [key: string]: Json } | undefined;

  constructor(message: string, details: ErrorDetails) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = details.code;
    this.outcome = details.outcome;
    this.status = details.status;
    this.problem = details.problem;
  }
}
