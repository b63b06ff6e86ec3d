//! The workers as the loop reaches them.

use std::collections::HashMap;

use runabout_protocol::{ServerToWorker, Trust, WorkerId, WorkerToServer};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// What a worker has said, in order.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) worker: WorkerId,
    pub(super) frames: Vec<WorkerToServer>,
}

/// A worker that is there.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) trust: Trust,
    /// What `usage.ran_on` says of its runs.
    pub(super) ran_on: String,
    /// Bounded; has room for a `run` and a `cancel` for each slot. A worker that leaves it full
    /// obeys nothing any more, and its session is ended.
    pub(super) inbox: mpsc::Sender<ServerToWorker>,
    /// What serves it; ends with the session.
    pub(super) task: Option<JoinHandle<()>>,
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// All workers that are there.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    by_id: HashMap<WorkerId, Session>,
}

/// The worker takes no more frames.
#[derive(Debug)]
pub(super) struct Unreachable;

impl Sessions {
    pub(super) fn add(&mut self, worker: WorkerId, session: Session) {
        self.by_id.insert(worker, session);
    }

    pub(super) fn remove(&mut self, worker: WorkerId) -> Option<Session> {
        self.by_id.remove(&worker)
    }

    pub(super) fn get(&self, worker: WorkerId) -> Option<&Session> {
        self.by_id.get(&worker)
    }

    pub(super) fn send(&self, worker: WorkerId, frame: ServerToWorker) -> Result<(), Unreachable> {
        let session = self.by_id.get(&worker).ok_or(Unreachable)?;
        session.inbox.try_send(frame).map_err(|_| Unreachable)
    }

    pub(super) fn end_all(&mut self) {
        self.by_id.clear();
    }
}
