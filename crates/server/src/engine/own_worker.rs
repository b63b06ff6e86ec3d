//! The worker that the node is itself. It hears and says the same frames as one far away.

use std::sync::Arc;

use bytes::Bytes;
use metrics::Counter;
use runabout_protocol::{Digest, ServerToWorker, WorkerId, WorkerToServer};
use runabout_sandbox::Sandbox;
use runabout_store::TaskStore;
use runabout_worker::attempts::{self, Node};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::sessions::{Report, inbox_frames_max};

/// Makes sessions of the node's own worker.
#[derive(Clone)]
pub(super) struct OwnWorker {
    sandbox: Sandbox,
    store: Arc<dyn TaskStore>,
    reports: mpsc::Sender<Report>,
    slots: u32,
    starts: Counter,
}

impl OwnWorker {
    pub(super) fn new(
        sandbox: Sandbox,
        store: Arc<dyn TaskStore>,
        reports: mpsc::Sender<Report>,
        slots: u32,
    ) -> Self {
        Self { sandbox, store, reports, slots, starts: crate::metrics::sandbox_starts() }
    }

    pub(super) fn slots(&self) -> u32 {
        self.slots
    }

    pub(super) fn set_slots(&mut self, slots: u32) {
        self.slots = slots;
    }

    /// Starts a session. It ends, and what it runs ends with it, when the task is aborted.
    pub(super) fn start(&self, id: WorkerId) -> (mpsc::Sender<ServerToWorker>, JoinHandle<()>) {
        let (inbox, frames) = mpsc::channel(inbox_frames_max(self.slots));
        let node = Arc::new(Here { own: self.clone(), id });
        (inbox, tokio::spawn(attempts::serve(node, self.sandbox.clone(), frames)))
    }
}

/// The node as one of its sessions sees it: its own store, and the loop's mailbox.
struct Here {
    own: OwnWorker,
    id: WorkerId,
}

impl Node for Here {
    async fn artifact(&self, digest: Digest) -> Result<Option<Bytes>, String> {
        let found = self.own.store.artifact(digest).await.map_err(|error| error.to_string())?;
        Ok(found.map(|(_, bytes)| bytes))
    }

    async fn tell(&self, frames: impl FnOnce() -> Vec<WorkerToServer> + Send) -> bool {
        // An error means that the engine has ended; the next one finds the task as it was.
        let Ok(permit) = self.own.reports.reserve().await else { return false };
        let frames = frames();
        if !frames.is_empty() {
            permit.send(Report::of(self.id, frames));
        }
        true
    }

    fn run_begins(&self) {
        self.own.starts.increment(1);
    }
}
