//! The scheduler as its driver sees it: events in, writes and effects out.

mod facts;
mod invariants;
mod simulation;
mod world;
