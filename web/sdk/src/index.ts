//! The package's front door.

export { RunaboutError } from './errors.js';
export type * from './types.js';
export type * from './wire.js';
export { connect } from './connect.js';
