//! The package's front door.

export { connect } from './connect.js';
export { RunaboutError, type ErrorDetails } from './errors.js';
export type * from './types.js';
/** The words of the node's API, generated from the node's own. */
export type * as wire from './wire.js';
export type {
  AttemptRecord, ErrorReport, FunctionVersion, Language, Limits, LimitsRequest, Manifest, Outcome, Stream, Task,
  TaskRequest, TaskState, Trust, Usage,
} from './wire.js';
