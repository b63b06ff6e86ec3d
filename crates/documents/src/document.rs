//! One document: what is read without waiting, and the line of changes that wait for its writer.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};

use crate::current::Current;
use crate::log::Log;
use crate::shared::{Shared, Work};
use crate::turn::Request;
use crate::writer::Writer;
use crate::{Accepted, Error, MediaType, Name};

/// Changes of one document that may wait; more hear that it is busy.
const WAITING_MAX: usize = 1_024;
/// The most that are made durable together.
const TOGETHER_MAX: usize = 256;
/// Nor more than this of text.
const TOGETHER_BYTES_MAX: usize = 32 << 20;

/// A document, there or deleted.
pub(crate) struct Document {
    pub(crate) name: Name,
    /// `None` if it is not there. Readers never wait for it.
    pub(crate) current: ArcSwapOption<Current>,
    pub(crate) log: Log,
    /// The newest revision, for those who wait for the next; 0 before the first.
    pub(crate) latest: watch::Sender<u64>,
    /// Why nothing is written any more.
    pub(crate) read_only: OnceLock<String>,
    pub(crate) shared: Arc<Shared>,
    line: Mutex<Line>,
    /// Locked by the one thread that writes, for as long as it does.
    writer: Mutex<Writer>,
}

#[derive(Default)]
struct Line {
    jobs: VecDeque<Job>,
    /// Whether a thread works on it, or is about to.
    is_worked_on: bool,
}

/// Something to be done to a document.
pub(crate) enum Job {
    /// A change that somebody waits for.
    Change { request: Request, bytes: usize, reply: oneshot::Sender<Result<Accepted, Error>> },
    /// The file may have been changed by hand.
    Look(MediaType),
}

impl Document {
    pub(crate) fn new(name: Name, log: Log, shared: Arc<Shared>, writer: Writer) -> Self {
        Self {
            name,
            current: ArcSwapOption::empty(),
            log,
            latest: watch::Sender::new(writer.last()),
            read_only: OnceLock::new(),
            shared,
            line: Mutex::default(),
            writer: Mutex::new(writer),
        }
    }

    /// Queues a job and sees to it that somebody does it.
    pub(crate) fn queue(self: &Arc<Self>, job: Job) -> Result<(), Error> {
        let mut line = self.line.lock();
        if line.jobs.len() >= WAITING_MAX {
            return Err(Error::Busy);
        }
        line.jobs.push_back(job);
        if !line.is_worked_on {
            line.is_worked_on = true;
            if !self.shared.hand_over(Work::Drain(Arc::clone(self))) {
                line.jobs.clear();
                line.is_worked_on = false;
                return Err(Error::ReadOnly("the node is stopping".to_owned()));
            }
        }
        Ok(())
    }

    /// Does what waits, as much of it together as there is, until nothing does.
    pub(crate) fn drain(&self) {
        loop {
            let jobs = self.line.lock().take();
            if jobs.is_empty() {
                return;
            }
            self.writer.lock().work(self, jobs);
        }
    }

    /// Whether the file is as the writer left it, without waiting for a writer that is at work.
    pub(crate) fn is_as_written(&self, found: Option<crate::disk::Stamp>) -> bool {
        self.writer.try_lock().is_none_or(|writer| writer.stamp() == found)
    }

    /// Whether anything is known of it: it is there, or was.
    pub(crate) fn is_known(&self) -> bool {
        self.log.range().is_some() || self.line.lock().is_worked_on
    }

    /// With the writer; for the start, before anybody else knows the document.
    pub(crate) fn with_writer<T>(&self, work: impl FnOnce(&mut Writer) -> T) -> T {
        work(&mut self.writer.lock())
    }
}

impl Line {
    fn take(&mut self) -> Vec<Job> {
        let mut jobs = Vec::new();
        let mut bytes = 0;
        while let Some(job) = self.jobs.front() {
            // Deleting also removes the history, and so begins and ends with itself.
            let is_alone = job.is_delete();
            if !jobs.is_empty() && (is_alone || bytes > TOGETHER_BYTES_MAX) {
                break;
            }
            bytes += job.bytes();
            jobs.extend(self.jobs.pop_front());
            if is_alone || jobs.len() >= TOGETHER_MAX {
                break;
            }
        }
        self.is_worked_on = !jobs.is_empty();
        jobs
    }
}

impl Job {
    fn is_delete(&self) -> bool {
        matches!(self, Self::Change { request, .. } if request.is_delete())
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Change { bytes, .. } => *bytes,
            Self::Look(_) => 0,
        }
    }
}
