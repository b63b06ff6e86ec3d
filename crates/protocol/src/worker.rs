//! Workers as clients see them.

use serde::{Deserialize, Serialize};

use crate::{Capability, TaskId, Trust, WorkerId, WorkerKind};

/// What runs attempts for a node: the node itself, or whoever has a session with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct Worker {
    /// Its id, which tasks carry as their `worker`.
    pub id: WorkerId,
    /// What it calls itself.
    pub name: String,
    /// What it is: the node itself and nodes that joined are `node`, told apart by `trust`.
    pub kind: WorkerKind,
    /// How far its word is to be believed.
    pub trust: Trust,
    /// How many attempts it takes at once.
    pub slots: u32,
    /// How many it has under way; above `slots` for a while after it was made smaller.
    pub busy: u32,
    /// The tasks they belong to.
    pub running: Vec<TaskId>,
    /// What it can run.
    pub capabilities: Vec<Capability>,
    /// Whether it takes nothing more, and goes when it has finished what it has.
    pub leaving: bool,
    /// Since when it is there, RFC 3339 in UTC.
    pub connected_at: String,
    /// How many attempts it has finished.
    pub completed: u64,
    /// How long it took to answer the latest ping, in milliseconds; null for the node itself.
    pub latency_ms: Option<f64>,
}

/// `event: worker`: a worker has come, has changed its slots, or is gone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct WorkerEvent {
    /// What happened to it.
    pub change: WorkerChange,
    /// The worker, as it is now or was last.
    pub worker: Worker,
    /// Why it is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What happened to a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "lowercase")]
pub enum WorkerChange {
    /// It has come.
    Joined,
    /// It has another number of slots, or is about to go.
    Changed,
    /// It is gone.
    Left,
}

/// What `PATCH /v1/workers/{id}` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(deny_unknown_fields)]
pub struct WorkerChanges {
    /// How many attempts it is to take at once.
    pub slots: u32,
}
