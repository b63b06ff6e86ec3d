//! What streams of events tell: each of these is the JSON of one server-sent event's `data`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    Attempt, LogLine, Outcome, Progress, Task, TaskId, TaskState, Trust, Usage, WorkerLabel,
};

/// `event: state`: where a task stands now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct StateEvent {
    /// The task.
    pub task: TaskId,
    /// Where it stands.
    pub state: TaskState,
    /// The latest attempt; left out before the first, and where an end came between two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<Attempt>,
    /// When it came to stand there, RFC 3339 in UTC; left out where that is not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// The name it was given; told when it is accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The function and version it is bound to, `fib@1`; told when it is accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
    /// Its labels; told when it is accepted.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// While it is queued: not before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_at: Option<String>,
    /// When it is queued again: how the attempt before ended, `threw`, `lost` and so on; left out
    /// if the node put it back to stop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    /// While it runs: the worker it runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<WorkerLabel>,
    /// While it runs: how far that worker's word is to be believed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust: Option<Trust>,
}

impl StateEvent {
    /// A task that stands there, and nothing more known of it.
    pub fn new(task: TaskId, state: TaskState) -> Self {
        Self {
            task,
            state,
            attempt: None,
            at: None,
            name: None,
            function: None,
            labels: BTreeMap::new(),
            ready_at: None,
            previous: None,
            worker: None,
            trust: None,
        }
    }

    /// Where a task stands by its record.
    pub fn of(task: &Task) -> Self {
        let running = task.state == TaskState::Running;
        Self {
            attempt: (task.attempt > Attempt(0)).then_some(task.attempt),
            at: match task.state {
                TaskState::Queued if task.attempt > Attempt(0) => None,
                TaskState::Queued => Some(task.created_at.clone()),
                TaskState::Running => task.started_at.clone(),
                _ => task.finished_at.clone(),
            },
            name: task.name.clone(),
            function: task.function.clone(),
            labels: task.labels.clone(),
            // A later attempt has another time, which the task does not tell.
            ready_at: task.run_at.clone().filter(|_| task.attempt.0 == 0),
            worker: task.worker.clone().filter(|_| running),
            trust: task.trust.filter(|_| running),
            ..Self::new(task.id, task.state)
        }
    }
}

/// `event: progress`: how far the latest attempt says it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct ProgressEvent {
    /// The task.
    pub task: TaskId,
    /// The attempt.
    pub attempt: Attempt,
    /// How far.
    #[serde(flatten)]
    pub progress: Progress,
}

/// `event: log`: a line of output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct LogEvent {
    /// The task.
    pub task: TaskId,
    /// The line.
    #[serde(flatten)]
    pub line: LogLine,
}

/// `event: truncated`: the attempt wrote more than is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct TruncatedEvent {
    /// The task.
    pub task: TaskId,
    /// The attempt.
    pub attempt: Attempt,
}

/// `event: outcome`: how a task ended; told once, as the last of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct OutcomeEvent {
    /// The task.
    pub task: TaskId,
    /// Its final state.
    pub state: TaskState,
    /// The attempt that ended it; left out if none was under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<Attempt>,
    /// When it ended, RFC 3339 in UTC.
    pub at: String,
    /// How.
    pub outcome: Outcome,
    /// What that attempt used, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
}

/// `event: deleted`: the task and all that belonged to it are gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct DeletedEvent {
    /// The task.
    pub task: TaskId,
}

/// `event: reset`: events were missed that cannot be told any more. A task's stream begins anew
/// after it; for a stream of all tasks, ask for the list again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct ResetEvent {
    /// Why.
    pub reason: ResetReason,
}

/// Why events were missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum ResetReason {
    /// `Last-Event-ID` is of an earlier life of the node, or no id of this node.
    Restarted,
    /// What came after `Last-Event-ID` is not kept any more.
    TooOld,
    /// This stream was read more slowly than events came.
    Behind,
}
