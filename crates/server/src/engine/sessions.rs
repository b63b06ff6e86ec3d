//! The workers as the loop reaches them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use parking_lot::Mutex;
use runabout_protocol::{
    Attempt, Capability, ServerToWorker, TaskId, Trust, Worker, WorkerId, WorkerKind,
    WorkerToServer,
};
use runabout_scheduler::placement::Side;
use runabout_scheduler::{Capabilities, Decline, Offer};
use runabout_store::time_text;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::JoinHandle;

/// The most slots of a worker that is not the node itself; one that offers more gets as much work
/// as if it had so many.
pub const SLOTS_MAX: u32 = 1_024;

/// Frames that may wait for a worker: a `run` and a `cancel` for each slot, those of the attempts
/// before, and some about the session. One that leaves it full obeys nothing any more, and its
/// session is ended.
pub(super) fn inbox_frames_max(slots: u32) -> usize {
    slots.max(SLOTS_MAX) as usize * 4 + 4
}

/// Who offers to run attempts.
#[derive(Clone, Debug)]
pub struct Newcomer {
    /// What it calls itself.
    pub name: String,
    /// What it is.
    pub kind: WorkerKind,
    /// How far its word is to be believed.
    pub trust: Trust,
    /// How many attempts it takes at once.
    pub slots: u32,
    /// What it can run.
    pub capabilities: Capabilities,
    /// Whether it is the upstream.
    pub side: Side,
}

/// Why a session is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// It left an attempt running that was to end.
    Disobeyed,
    /// It did not read what it was sent.
    TooSlow,
    /// The node stops.
    Stopping,
    /// The session ended by itself, for this reason.
    Left(String),
}

impl std::fmt::Display for Farewell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Disobeyed => "an attempt did not end in time after it was cancelled",
            Self::TooSlow => "frames were not read in time",
            Self::Stopping => "the node stops",
            Self::Left(reason) => reason,
        })
    }
}

/// What a worker has said, in order.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) worker: WorkerId,
    pub(super) frames: Vec<WorkerToServer>,
    /// What it gives back, after its frames. Only the upstream can say this, for which no frame is
    /// written.
    pub(super) declined: Vec<(TaskId, Attempt, Decline)>,
    /// What it calls itself from now on.
    pub(super) name: Option<String>,
    /// It says nothing after this, and why.
    pub(super) left: Option<Farewell>,
    /// What its frames take of what all sessions may have said and the loop not heard.
    pub(super) _room: Option<OwnedSemaphorePermit>,
}

impl Report {
    pub(super) fn of(worker: WorkerId, frames: Vec<WorkerToServer>) -> Self {
        Self { worker, frames, declined: Vec::new(), name: None, left: None, _room: None }
    }

    pub(super) fn left(worker: WorkerId, farewell: Farewell) -> Self {
        Self { left: Some(farewell), ..Self::of(worker, Vec::new()) }
    }
}

/// What a session and the loop know of each other beside frames.
#[derive(Debug, Default)]
pub(super) struct Ties {
    /// How long the latest ping took, in microseconds and plus one; 0 before the first.
    latency: AtomicU64,
    /// Why the loop has ended the session.
    farewell: Mutex<Option<Farewell>>,
}

impl Ties {
    pub(super) fn set_latency_us(&self, us: u64) {
        self.latency.store(us.saturating_add(1), Ordering::Relaxed);
    }

    #[expect(clippy::cast_precision_loss, reason = "no ping takes years")]
    fn latency_ms(&self) -> Option<f64> {
        let us = self.latency.load(Ordering::Relaxed).checked_sub(1)?;
        Some(us as f64 / 1_000.0)
    }

    pub(super) fn farewell(&self) -> Farewell {
        self.farewell.lock().clone().unwrap_or(Farewell::Stopping)
    }
}

/// A worker that is there.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) newcomer: Newcomer,
    /// Bounded by [`inbox_frames_max`].
    pub(super) inbox: mpsc::Sender<ServerToWorker>,
    /// What serves it, if it is the node itself; ends with the session.
    pub(super) task: Option<JoinHandle<()>>,
    pub(super) ties: Arc<Ties>,
    pub(super) connected_at: Timestamp,
    /// Attempts that it has finished.
    pub(super) completed: u64,
    pub(super) is_leaving: bool,
}

impl Session {
    pub(super) fn new(
        newcomer: Newcomer,
        inbox: mpsc::Sender<ServerToWorker>,
        task: Option<JoinHandle<()>>,
        connected_at: Timestamp,
    ) -> Self {
        Self {
            newcomer,
            inbox,
            task,
            ties: Arc::default(),
            connected_at,
            completed: 0,
            is_leaving: false,
        }
    }

    pub(super) fn is_distant(&self) -> bool {
        self.newcomer.trust != Trust::Node
    }

    pub(super) fn offer(&self) -> Offer {
        let Newcomer { capabilities, trust, side, .. } = self.newcomer;
        Offer { capabilities, trust, side }
    }

    /// What `usage.ran_on` says of its runs. A tab may call itself what it likes, even by this
    /// node's name. The upstream says which node it was, as that may be one behind it.
    pub(super) fn ran_on(&self, worker: WorkerId, said: Option<String>) -> String {
        if let (Side::Upstream, Some(said)) = (self.newcomer.side, said) {
            return said;
        }
        match self.newcomer.trust {
            Trust::Tab => worker.to_string(),
            Trust::Node | Trust::Joined => self.newcomer.name.clone(),
        }
    }

    pub(super) fn part(&self, farewell: Farewell) {
        *self.ties.farewell.lock() = Some(farewell);
    }

    pub(super) fn record(&self, id: WorkerId, slots: u32, running: Vec<TaskId>) -> Worker {
        let Newcomer { name, kind, trust, capabilities, .. } = &self.newcomer;
        Worker {
            id,
            name: name.clone(),
            kind: *kind,
            trust: *trust,
            slots,
            busy: u32::try_from(running.len()).unwrap_or(u32::MAX),
            running,
            capabilities: capabilities.iter().collect::<Vec<Capability>>(),
            leaving: self.is_leaving,
            connected_at: time_text(self.connected_at),
            completed: self.completed,
            latency_ms: self.ties.latency_ms(),
        }
    }
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
    by_id: BTreeMap<WorkerId, Session>,
    /// Those beside the node itself.
    distant: usize,
}

/// The worker takes no more frames.
#[derive(Debug)]
pub(super) struct Unreachable;

impl Sessions {
    pub(super) fn add(&mut self, worker: WorkerId, session: Session) {
        self.distant += usize::from(session.is_distant());
        self.by_id.insert(worker, session);
    }

    pub(super) fn remove(&mut self, worker: WorkerId) -> Option<Session> {
        let session = self.by_id.remove(&worker)?;
        self.distant -= usize::from(session.is_distant());
        Some(session)
    }

    pub(super) fn get(&self, worker: WorkerId) -> Option<&Session> {
        self.by_id.get(&worker)
    }

    pub(super) fn get_mut(&mut self, worker: WorkerId) -> Option<&mut Session> {
        self.by_id.get_mut(&worker)
    }

    /// In the order in which they came.
    pub(super) fn ids(&self) -> Vec<WorkerId> {
        self.by_id.keys().copied().collect()
    }

    /// How many there are beside the node itself.
    pub(super) fn distant(&self) -> usize {
        self.distant
    }

    pub(super) fn send(&self, worker: WorkerId, frame: ServerToWorker) -> Result<(), Unreachable> {
        let session = self.by_id.get(&worker).ok_or(Unreachable)?;
        session.inbox.try_send(frame).map_err(|_| Unreachable)
    }

    pub(super) fn end_all(&mut self) {
        for session in self.by_id.values() {
            session.part(Farewell::Stopping);
        }
        self.by_id.clear();
        self.distant = 0;
    }
}
