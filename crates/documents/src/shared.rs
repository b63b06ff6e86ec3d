//! What all documents of a store share: the disk, the limits, the counts, and the threads that write.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

use crate::current::Current;
use crate::disk::SharedDisk;
use crate::document::Document;
use crate::{Limits, Name, Revision};

/// Threads that write: so many documents are synced at once. They wait for the disk, not for the
/// processor.
const THREADS: usize = 8;
/// What they are called.
pub(crate) const THREAD: &str = "documents-writer";

/// What is told of each revision, once it is durable and read.
pub type Listener = Box<dyn Fn(&Name, &Revision) + Send + Sync>;

pub(crate) struct Shared {
    pub(crate) disk: SharedDisk,
    /// The folder of the documents' files.
    pub(crate) root: PathBuf,
    pub(crate) limits: Limits,
    pub(crate) counts: Counts,
    /// What all newest texts take in memory.
    bytes: AtomicUsize,
    listener: Listener,
    /// A document stands here at most once, so that they bound what waits; `None` once closed.
    work: Mutex<Option<Sender<Work>>>,
}

/// What a thread does next.
pub(crate) enum Work {
    /// Changes wait.
    Drain(Arc<Document>),
    /// A large text is to be compressed.
    Compress(Arc<Current>),
}

/// What has been counted since the start.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) syncs: Arc<AtomicU64>,
    revisions: AtomicU64,
    merges: AtomicU64,
    conflicts: AtomicU64,
}

/// What a store has done since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Files and folders synced.
    pub syncs: u64,
    /// Revisions made.
    pub revisions: u64,
    /// Edits that were put together with later ones.
    pub merges: u64,
    /// Edits that could not be.
    pub conflicts: u64,
}

impl Counts {
    pub(crate) fn merges(&self, merges: u64, conflicts: u64) {
        self.merges.fetch_add(merges, Ordering::Relaxed);
        self.conflicts.fetch_add(conflicts, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Counted {
        Counted {
            syncs: self.syncs.load(Ordering::Relaxed),
            revisions: self.revisions.load(Ordering::Relaxed),
            merges: self.merges.load(Ordering::Relaxed),
            conflicts: self.conflicts.load(Ordering::Relaxed),
        }
    }
}

impl Shared {
    /// With its threads.
    pub(crate) fn start(
        disk: SharedDisk,
        root: PathBuf,
        limits: Limits,
        counts: Counts,
        listener: Listener,
    ) -> std::io::Result<(Arc<Self>, Vec<JoinHandle<()>>)> {
        let (sender, receiver) = channel();
        let receiver = Arc::new(Mutex::new(receiver));
        let threads = (0..THREADS)
            .map(|_| {
                let receiver = Arc::clone(&receiver);
                thread::Builder::new().name(THREAD.to_owned()).spawn(move || work(&receiver))
            })
            .collect::<Result<_, _>>()?;
        let work = Mutex::new(Some(sender));
        let bytes = AtomicUsize::new(0);
        Ok((Arc::new(Self { disk, root, limits, counts, bytes, listener, work }), threads))
    }

    /// Has a thread do something; false if they have been told to end.
    pub(crate) fn hand_over(&self, work: Work) -> bool {
        self.work.lock().as_ref().is_some_and(|sender| sender.send(work).is_ok())
    }

    /// Lets the threads end when they have done what waits.
    pub(crate) fn close(&self) {
        self.work.lock().take();
    }

    pub(crate) fn tell(&self, name: &Name, revision: &Revision) {
        self.counts.revisions.fetch_add(1, Ordering::Relaxed);
        (self.listener)(name, revision);
    }

    /// A document takes more memory than before, or less.
    pub(crate) fn grown(&self, before: usize, after: usize) {
        self.bytes.fetch_add(after, Ordering::Relaxed);
        self.bytes.fetch_sub(before, Ordering::Relaxed);
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
}

fn work(receiver: &Mutex<Receiver<Work>>) {
    loop {
        // In a statement of its own: the lock is held while waiting, not while working.
        let next = receiver.lock().recv();
        match next {
            Ok(Work::Drain(document)) => document.drain(),
            Ok(Work::Compress(current)) => {
                // Readers do without that form; the thread is not to be lost for it.
                if catch_unwind(AssertUnwindSafe(|| current.compress())).is_err() {
                    tracing::error!("compressing a document has panicked");
                }
            }
            Err(_) => return,
        }
    }
}

/// The time, in milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
