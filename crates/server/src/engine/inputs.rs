//! What submitted tasks run with, kept in memory until they first run, as far as there is room.
//! The store has it all; this only saves reading back what has just been written.

use std::collections::HashMap;
use std::sync::Arc;

use runabout_protocol::{Attempt, Run, TaskId};
use runabout_store::NewTask;

/// What may be kept, in bytes. Beyond it, tasks are read from the store when they run.
const KEPT_BYTES_MAX: u64 = 64 << 20;

/// Tasks that have not run yet.
#[derive(Debug, Default)]
pub(super) struct Inputs {
    tasks: HashMap<TaskId, Arc<NewTask>>,
    bytes: u64,
}

impl Inputs {
    pub(super) fn keep(&mut self, task: Arc<NewTask>) {
        if self.bytes + task.queue_bytes <= KEPT_BYTES_MAX {
            self.bytes += task.queue_bytes;
            self.tasks.insert(task.id, task);
        }
    }

    /// Takes what a worker is sent for a first attempt. A later one is read from the store, as it
    /// may go on from a checkpoint.
    pub(super) fn take(&mut self, task: TaskId, attempt: Attempt) -> Option<Run> {
        let task = self.remove(task).filter(|_| attempt == Attempt(1))?;
        Some(Run {
            task: task.id,
            attempt,
            artifact: task.digest,
            language: task.language,
            form: task.form,
            export: task.export.clone(),
            args: task.args.clone(),
            stdin: task.stdin.clone(),
            limits: task.limits,
            checkpoint: None,
            surroundings: task.surroundings,
        })
    }

    pub(super) fn forget(&mut self, task: TaskId) {
        self.remove(task);
    }

    fn remove(&mut self, task: TaskId) -> Option<Arc<NewTask>> {
        let task = self.tasks.remove(&task)?;
        self.bytes -= task.queue_bytes;
        Some(task)
    }
}
