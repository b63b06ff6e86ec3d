//! What the rest of the server asks of the engine, and how it refuses.

use std::collections::BTreeMap;

use bytes::Bytes;
use runabout_protocol::{
    Arguments, Digest, Form, Language, Limits, ScheduleName, Surroundings, Task, TaskId,
};
use runabout_store::{self as store, ArtifactMeta};

/// What the engine needs to know beside its store and its sandbox.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// The node's name; `usage.ran_on` of its own runs.
    pub node_name: String,
    /// Tasks the node itself runs at once; with 0 it runs none.
    pub slots: u32,
    /// Tasks that may wait; more are refused.
    pub queue_tasks_max: u64,
    /// Bytes of waiting tasks; more are refused.
    pub queue_bytes_max: u64,
    /// The label by whose values tasks take turns; without one, all tasks are one share.
    pub fair_label: Option<String>,
}

impl EngineConfig {
    /// A queue of 2,000,000 tasks and 4 GiB.
    pub fn new(node_name: String, slots: u32) -> Self {
        Self {
            node_name,
            slots,
            queue_tasks_max: 2_000_000,
            queue_bytes_max: 4 << 30,
            fair_label: None,
        }
    }
}

/// A task to be accepted, everything about it checked and decided.
#[derive(Clone, Debug)]
pub struct NewTask {
    /// The function and version it is bound to, `fib@1`; `None` for bare source.
    pub function: Option<String>,
    /// The artifact that runs.
    pub digest: Digest,
    /// The artifact itself, if it may be new to the store.
    pub artifact: Option<(Bytes, ArtifactMeta)>,
    /// What the artifact is written in.
    pub language: Language,
    /// Script or module, for JavaScript.
    pub form: Option<Form>,
    /// The export to call.
    pub export: Option<String>,
    /// The arguments.
    pub args: Arguments,
    /// Standard input of a WASI command.
    pub stdin: Option<String>,
    /// A name to find it by.
    pub name: Option<String>,
    /// Limits of each attempt.
    pub limits: Limits,
    /// In what surroundings its attempts run.
    pub surroundings: Surroundings,
    /// How many more attempts after one that threw, timed out or ran out of memory.
    pub retries: u32,
    /// Higher goes first.
    pub priority: i32,
    /// Not before this time.
    pub run_at: Option<jiff::Timestamp>,
    /// Words to find and group it by.
    pub labels: BTreeMap<String, String>,
}

/// What makes a submission known again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubmissionKey {
    /// The submitter's own word for it.
    pub key: String,
    /// Of what is submitted: the same key may not mean another thing.
    pub fingerprint: [u8; 32],
}

/// What tasks mean for the schedule that they come from.
#[derive(Clone, Debug)]
pub struct Firing {
    /// The schedule.
    pub schedule: ScheduleName,
    /// The time that the last of them stands for; it and all before it are dealt with.
    pub due_at: jiff::Timestamp,
}

/// Why nothing was accepted or changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// As many tasks or bytes wait as may.
    #[error("the queue is full")]
    QueueFull {
        /// When to try again.
        retry_after_s: u64,
    },
    /// The disk is full; reads go on.
    #[error("the disk is full")]
    StorageFull,
    /// The store can write no more, and why.
    #[error("{0}")]
    StorageFailed(String),
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopping,
    /// The key stands for another submission.
    #[error("the key was used for another submission")]
    KeyReused,
    /// It was submitted before, and these are its tasks.
    #[error("it was submitted before")]
    SubmittedBefore(Vec<TaskId>),
}

impl From<store::Error> for Refused {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::Full => Self::StorageFull,
            error => Self::StorageFailed(error.to_string()),
        }
    }
}

/// Why a task was not cancelled.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CancelRefused {
    /// There is no such task.
    #[error("no such task")]
    NotFound,
    /// It had ended already; the task as it ended.
    #[error("the task has ended already")]
    AlreadyFinished(Box<Task>),
    /// The engine could not write.
    #[error(transparent)]
    Refused(#[from] Refused),
}

/// Why a task was not deleted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeleteRefused {
    /// There is no such task.
    #[error("no such task")]
    NotFound,
    /// The engine could not write.
    #[error(transparent)]
    Refused(#[from] Refused),
}

/// How busy the engine is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Tasks that wait.
    pub queued: u64,
    /// Tasks with an attempt under way.
    pub running: u64,
    /// Slots of all workers.
    pub slots: u64,
    /// Workers beside the node itself.
    pub sessions: u64,
}
