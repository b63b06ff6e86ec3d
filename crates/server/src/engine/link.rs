//! What a session has of the loop: what it is sent, and where it reports.

use std::sync::Arc;
use std::time::Duration;

use runabout_protocol::{Attempt, ServerToWorker, TaskId, WorkerId, WorkerToServer};
use runabout_scheduler::Decline;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::sessions::{Farewell, Report, Ties};

/// A worker's place among those that are given work. Whoever holds it must [`leave`](Self::leave).
#[derive(Debug)]
pub struct Link {
    worker: WorkerId,
    inbox: mpsc::Receiver<ServerToWorker>,
    reports: mpsc::Sender<Report>,
    ties: Arc<Ties>,
}

/// Where a session reports.
#[derive(Clone, Debug)]
pub struct Reports {
    worker: WorkerId,
    reports: mpsc::Sender<Report>,
    ties: Arc<Ties>,
}

/// What the loop sends a session.
#[derive(Debug)]
pub struct Inbox {
    frames: mpsc::Receiver<ServerToWorker>,
    ties: Arc<Ties>,
}

impl Link {
    pub(super) fn new(
        worker: WorkerId,
        inbox: mpsc::Receiver<ServerToWorker>,
        reports: mpsc::Sender<Report>,
        ties: Arc<Ties>,
    ) -> Self {
        Self { worker, inbox, reports, ties }
    }

    /// The session's id.
    pub fn worker(&self) -> WorkerId {
        self.worker
    }

    /// Its two directions.
    pub fn split(self) -> (Inbox, Reports) {
        let Self { worker, inbox, reports, ties } = self;
        let inbox = Inbox { frames: inbox, ties: Arc::clone(&ties) };
        (inbox, Reports { worker, reports, ties })
    }
}

impl Inbox {
    /// Waits for frames, and takes as many as there are, up to `frames_max`.
    ///
    /// # Errors
    /// The loop has ended the session, for this reason.
    pub async fn take(
        &mut self,
        frames: &mut Vec<ServerToWorker>,
        frames_max: usize,
    ) -> Result<(), Farewell> {
        match self.frames.recv_many(frames, frames_max).await {
            0 => Err(self.ties.farewell()),
            _ => Ok(()),
        }
    }
}

impl Reports {
    /// Hands on what the worker has said. Waits while the loop is busy; `room` is given back when it
    /// has heard. Says whether anybody hears.
    pub async fn say(&self, frames: Vec<WorkerToServer>, room: OwnedSemaphorePermit) -> bool {
        let report = Report { _room: Some(room), ..Report::of(self.worker, frames) };
        self.reports.send(report).await.is_ok()
    }

    /// Gives an attempt back, after what `frames` say. Says whether anybody hears.
    pub async fn decline(
        &self,
        frames: Vec<WorkerToServer>,
        (task, attempt): (TaskId, Attempt),
        why: Decline,
    ) -> bool {
        let declined = vec![(task, attempt, why)];
        let report = Report { declined, ..Report::of(self.worker, frames) };
        self.reports.send(report).await.is_ok()
    }

    /// Says what the worker calls itself. Says whether anybody hears.
    pub async fn rename(&self, name: String) -> bool {
        let report = Report { name: Some(name), ..Report::of(self.worker, Vec::new()) };
        self.reports.send(report).await.is_ok()
    }

    /// Says how long the worker took to answer a ping.
    pub fn latency(&self, latency: Duration) {
        self.ties.set_latency_us(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
    }

    /// Says that the session is over. After it nothing more is sent, and nothing heard.
    pub async fn leave(self, farewell: Farewell) {
        // An error means that the loop has ended, and every session with it.
        drop(self.reports.send(Report::left(self.worker, farewell)).await);
    }
}
