//! The commands, one file each, and what several of them share.

pub mod backup;
pub mod call;
pub mod deploy;
pub mod document;
pub mod endpoint;
pub mod join;
mod limits;
mod progress;
pub mod run;
pub mod schedule;
pub mod serve;
pub mod status;
mod stdin;
pub mod task;
pub mod types;
