//! Lines of output.

use serde::{Deserialize, Serialize};

use crate::Attempt;

/// Where a run wrote a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// `console.log`, `console.info`, `console.debug`, WASI's descriptor 1.
    Stdout,
    /// `console.warn`, `console.error`, `console.trace`, WASI's descriptor 2.
    Stderr,
}

/// A piece of output, in the order it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct LogLine {
    /// When it arrived at the node, RFC 3339 in UTC.
    pub at: String,
    /// The attempt that wrote it.
    pub attempt: Attempt,
    /// Its place among the attempt's lines, from 0.
    pub seq: u64,
    /// Where it was written.
    pub stream: Stream,
    /// What was written: one line without its line end, or one `console` call.
    pub text: String,
}
