//! The worker's side of a session: runs attempts in a sandbox and reports them. A node is its own
//! worker through [`attempts`]; a joined one is somebody else's through [`join`]. Both hear and say
//! the same frames.

pub mod attempts;
mod fetch;
pub mod join;
mod session;
mod spool;
