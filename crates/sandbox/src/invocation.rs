//! What is asked of a run, what it says while it runs, and what is known when it has ended.

use std::sync::Arc;

use bytes::Bytes;
use runabout_protocol::{Arguments, Attempt, Checkpoint, Limits, Outcome, Stream, TaskId, Usage};
use tokio_util::sync::CancellationToken;

/// One run that is asked for.
pub struct Invocation {
    /// The export to call; `None` means the only or the default one.
    pub export: Option<String>,
    /// The arguments.
    pub args: Arguments,
    /// Standard input of a WASI command.
    pub stdin: Option<Bytes>,
    /// What the run may use.
    pub limits: Limits,
    /// The task it is an attempt at, if it is one.
    pub task: Option<TaskContext>,
    /// Hears what the run says.
    pub observer: Arc<dyn Observer>,
    /// Cancelling it ends the run with the outcome `cancelled`.
    pub cancel: CancellationToken,
}

/// What a run sees of its task, as `runabout.task`.
#[derive(Clone, Debug)]
pub struct TaskContext {
    /// The task.
    pub id: TaskId,
    /// The attempt.
    pub attempt: Attempt,
    /// What an earlier attempt left.
    pub checkpoint: Option<Checkpoint>,
}

/// Hears what a run says, while it runs and on the thread that runs it: it must not block.
pub trait Observer: Send + Sync {
    /// A piece of output. Never more than 1 MiB a run in all; the rest is dropped before this.
    fn log(&self, stream: Stream, text: &str);
    /// How far it is, from 0 to 1.
    fn progress(&self, fraction: f64, message: Option<&str>);
    /// A state for a later attempt, 1 MiB at most.
    fn checkpoint(&self, checkpoint: Checkpoint);
}

/// An observer that hears nothing.
pub struct Silent;

impl Observer for Silent {
    fn log(&self, _stream: Stream, _text: &str) {}
    fn progress(&self, _fraction: f64, _message: Option<&str>) {}
    fn checkpoint(&self, _checkpoint: Checkpoint) {}
}

/// What is known of a run that has ended.
#[derive(Clone, Debug)]
pub struct Report {
    /// How it ended.
    pub outcome: Outcome,
    /// What it used; `ran_on` is left to the caller.
    pub usage: Usage,
    /// Whether output was dropped because there was more than 1 MiB.
    pub output_truncated: bool,
}
