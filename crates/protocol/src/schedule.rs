//! Schedules: task requests that a node hands in by itself, again and again.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{FunctionName, InvalidName, TaskId, TaskRequest};

/// A schedule's name; it is made like a function's.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(type = "string"))]
#[serde(transparent)]
pub struct ScheduleName(FunctionName);

impl ScheduleName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for ScheduleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ScheduleName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        text.parse().map(Self)
    }
}

/// What becomes of times that came while the node was not there to see them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(rename_all = "snake_case")]
pub enum Missed {
    /// Nothing.
    Skip,
    /// One task, for the latest of them.
    #[default]
    RunOnce,
    /// A task for each.
    RunAll,
}

impl Missed {
    /// The word for it on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::RunOnce => "run_once",
            Self::RunAll => "run_all",
        }
    }
}

/// What a client asks for with `PUT /v1/schedules/{name}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[serde(deny_unknown_fields)]
pub struct ScheduleRequest {
    /// When: minute, hour, day of the month, month, day of the week.
    pub cron: String,
    /// Where the clock hangs: an IANA name; UTC if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// What is handed in each time. Read again each time: `fib` is then the latest `fib`.
    pub task: TaskRequest,
    /// What becomes of times that were missed; `run_once` if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed: Option<Missed>,
    /// Whether it rests; false if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
}

/// A schedule as clients see it. Times are RFC 3339 in UTC.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct Schedule {
    /// Its name.
    pub name: ScheduleName,
    /// When, as it was asked for.
    pub cron: String,
    /// Where the clock hangs.
    pub time_zone: String,
    /// What is handed in each time.
    pub task: TaskRequest,
    /// What becomes of times that were missed.
    pub missed: Missed,
    /// Whether it rests.
    pub paused: bool,
    /// The next time; null while it rests.
    pub next_at: Option<String>,
    /// The next five times; none while it rests.
    pub upcoming: Vec<String>,
    /// The time that the latest task stands for.
    pub last_due_at: Option<String>,
    /// That task.
    pub last_task: Option<TaskId>,
    /// Why the latest time led to no task, if it did not.
    pub last_error: Option<String>,
    /// When it was first put.
    pub created_at: String,
    /// When it was last put, paused or resumed.
    pub updated_at: String,
}
