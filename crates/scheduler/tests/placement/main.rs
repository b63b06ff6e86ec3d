//! Placement over whole workloads, in a simulated world: two machines, a network, and callers.
//! Compared with an oracle that knows every cost, and with always running on one side.

mod caller;
mod facts;
mod machine;
mod quality;
mod workload;
mod world;
