//! What a node and its workers say to each other about runs. The built-in worker hears the same
//! words over a channel that a remote one hears over a socket: one execution path for tasks.

use serde::{Deserialize, Serialize};

use crate::{
    Arguments, Attempt, Digest, Form, Json, Language, Limits, Outcome, Stream, TaskId, Usage,
};

/// An attempt, with all that is needed to run it but the artifact's bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// The task.
    pub task: TaskId,
    /// The attempt's number; every frame about it carries it back.
    pub attempt: Attempt,
    /// The artifact to run.
    pub artifact: Digest,
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
    /// What it may use.
    pub limits: Limits,
    /// What the last attempt left to go on from.
    pub checkpoint: Option<Checkpoint>,
}

/// A small state that a run leaves for a later attempt: JSON, or bytes as base64.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The state as JSON. With `encoding`, a string of base64.
    pub state: Json,
    /// Set when the state is bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<crate::Encoding>,
}

/// From the node to a worker.
#[derive(Clone, Debug, PartialEq)]
pub enum ServerToWorker {
    /// Begin an attempt.
    Run(Box<Run>),
    /// End an attempt at once; `Finished` is still expected.
    Cancel {
        /// The task.
        task: TaskId,
        /// The attempt.
        attempt: Attempt,
    },
}

/// From a worker to the node.
#[derive(Clone, Debug, PartialEq)]
pub enum WorkerToServer {
    /// The attempt has begun.
    Started {
        /// The task.
        task: TaskId,
        /// The attempt.
        attempt: Attempt,
    },
    /// How far the attempt is.
    Progress {
        /// The task.
        task: TaskId,
        /// The attempt.
        attempt: Attempt,
        /// From 0 to 1.
        fraction: f64,
        /// What it is doing.
        message: Option<String>,
    },
    /// A piece of output.
    Log {
        /// The task.
        task: TaskId,
        /// The attempt.
        attempt: Attempt,
        /// Its place among the attempt's output, from 0.
        seq: u64,
        /// Where it was written.
        stream: Stream,
        /// What was written.
        text: String,
    },
    /// A state for a later attempt to go on from.
    Checkpoint {
        /// The task.
        task: TaskId,
        /// The attempt.
        attempt: Attempt,
        /// The state.
        checkpoint: Checkpoint,
    },
    /// The attempt has ended.
    Finished {
        /// The task.
        task: TaskId,
        /// The attempt.
        attempt: Attempt,
        /// How.
        outcome: Outcome,
        /// What it used.
        usage: Usage,
        /// Whether output was dropped because there was too much of it.
        output_truncated: bool,
    },
}
