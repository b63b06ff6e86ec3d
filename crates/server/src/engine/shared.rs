//! What the loop lets others see without asking it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;
use runabout_protocol::{Progress, TaskId, WorkerId};
use runabout_scheduler::Scheduler;

use super::Counts;

/// Written by the loop alone.
#[derive(Debug, Default)]
pub(super) struct Shared {
    queued: AtomicU64,
    running: AtomicU64,
    slots: AtomicU64,
    /// Sessions of others.
    sessions: AtomicU64,
    own_worker: RwLock<Option<WorkerId>>,
    /// Of running tasks only, so never more than there are slots.
    progress: RwLock<HashMap<TaskId, Progress>>,
}

impl Shared {
    pub(super) fn counts(&self) -> Counts {
        Counts {
            queued: self.queued.load(Ordering::Relaxed),
            running: self.running.load(Ordering::Relaxed),
            slots: self.slots.load(Ordering::Relaxed),
            sessions: self.sessions.load(Ordering::Relaxed),
        }
    }

    pub(super) fn count(&self, scheduler: &Scheduler, sessions: usize) {
        self.sessions.store(sessions as u64, Ordering::Relaxed);
        self.queued.store(scheduler.queued(), Ordering::Relaxed);
        self.running.store(scheduler.running(), Ordering::Relaxed);
        self.slots.store(scheduler.slots(), Ordering::Relaxed);
    }

    pub(super) fn own_worker(&self) -> Option<WorkerId> {
        *self.own_worker.read()
    }

    pub(super) fn set_own_worker(&self, worker: WorkerId) {
        *self.own_worker.write() = Some(worker);
    }

    pub(super) fn progress(&self, task: TaskId) -> Option<Progress> {
        self.progress.read().get(&task).cloned()
    }

    pub(super) fn set_progress(&self, task: TaskId, progress: Progress) {
        self.progress.write().insert(task, progress);
    }

    pub(super) fn forget_progress(&self, task: TaskId) {
        self.progress.write().remove(&task);
    }
}
