//! What stores promise: the contract of every store, and what the one in a file adds to it.

mod contract;
mod fixtures;
mod sqlite;
