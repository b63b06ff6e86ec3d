//! Tasks: durable, asynchronous pieces of work.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    Attempt, Digest, Encoding, Json, Language, LimitsRequest, Outcome, Place, TaskId, Usage,
};

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "lowercase")]
pub enum TaskState {
    /// Accepted, and waiting for a slot.
    Queued,
    /// An attempt is under way.
    Running,
    /// It returned.
    Succeeded,
    /// It threw, reached a limit, or its workers were lost, as often as it may.
    Failed,
    /// Somebody asked for it to stop.
    Cancelled,
}

impl TaskState {
    /// Whether nothing more will happen to the task.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }

    /// The word for it on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// The state that [`Self::as_str`] writes as `text`.
    pub fn from_str_exact(text: &str) -> Option<Self> {
        [Self::Queued, Self::Running, Self::Succeeded, Self::Failed, Self::Cancelled]
            .into_iter()
            .find(|state| state.as_str() == text)
    }
}

/// How far a worker's word is to be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "lowercase")]
pub enum Trust {
    /// The node itself.
    Node,
    /// A node that joined with a token.
    Joined,
    /// A browser tab: its result is a claim.
    Tab,
}

/// How far a run says it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct Progress {
    /// From 0 to 1.
    pub fraction: f64,
    /// What it is doing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// What a client asks for with `POST /v1/tasks`. Exactly one of `source` and `function` is given.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(deny_unknown_fields)]
pub struct TaskRequest {
    /// Source text of JavaScript or TypeScript.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// A deployed function: `name` for its latest version, `name@3` for that one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
    /// `js` or `ts`, for `source`; `js` if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// The export to call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub export: Option<String>,
    /// An array of arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub args: Option<Json>,
    /// `base64` if every argument is bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub args_encoding: Option<Encoding>,
    /// Standard input of a WASI command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<String>,
    /// A name to find the task by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Limits of each attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<LimitsRequest>,
    /// How many more attempts after one that threw, timed out or ran out of memory; 0 if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<u32>,
    /// Higher goes first; 0 if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i32>,
    /// Not before this time, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_at: Option<String>,
    /// Where to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// Words to find and group tasks by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
}

/// A task as clients see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct Task {
    /// Its id, a UUIDv7.
    pub id: TaskId,
    /// The name it was given.
    pub name: Option<String>,
    /// Where it stands.
    pub state: TaskState,
    /// The function and version it was bound to when accepted, `fib@1`; null for bare source.
    pub function: Option<String>,
    /// The artifact that runs.
    pub digest: Digest,
    /// What the artifact is written in.
    pub language: Language,
    /// The export that is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub export: Option<String>,
    /// Its arguments, an array.
    pub args: Json,
    /// `base64` if every argument is bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub args_encoding: Option<Encoding>,
    /// The number of the latest attempt; 0 before the first.
    pub attempt: Attempt,
    /// How many attempts may throw, time out or run out of memory.
    pub max_attempts: u32,
    /// How many attempts were lost with their worker.
    pub lost: u32,
    /// Higher goes first.
    pub priority: i32,
    /// Where it is to run; left out where that is open.
    #[serde(default, skip_serializing_if = "Place::is_auto")]
    pub place: Place,
    /// Words to find and group tasks by.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// When it was accepted, RFC 3339 in UTC.
    pub created_at: String,
    /// When it may begin, if later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_at: Option<String>,
    /// When the latest attempt began.
    pub started_at: Option<String>,
    /// When it ended.
    pub finished_at: Option<String>,
    /// The worker of the latest attempt.
    pub worker: Option<WorkerLabel>,
    /// How far that worker's word is to be believed.
    pub trust: Option<Trust>,
    /// How far it says it is.
    pub progress: Option<Progress>,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// What the attempt that ended it used.
    pub usage: Option<Usage>,
}

/// A worker's id as text.
pub type WorkerLabel = String;

/// One attempt at a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct AttemptRecord {
    /// Its number, from 1.
    pub attempt: Attempt,
    /// The worker it ran on.
    pub worker: WorkerLabel,
    /// How far that worker's word is to be believed.
    pub trust: Trust,
    /// When it began, RFC 3339 in UTC.
    pub started_at: String,
    /// When it ended.
    pub finished_at: Option<String>,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// What it used.
    pub usage: Option<Usage>,
}
