//! A store that keeps nothing beyond the process, for simulations: whoever holds it decides what
//! becomes of each commit, and what a crash leaves.

mod record;

use std::collections::{BTreeMap, HashMap};
use std::future::{poll_fn, ready};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use parking_lot::Mutex;
use runabout_protocol::{Attempt, Digest, Run, Task, TaskId};

use crate::task_store::{Answer, TaskStore};
use crate::{ArtifactMeta, Error, Health, NewArtifact, Submission, UnfinishedTask, Write};
use record::Record;

pub use record::{Ending, MemoryAttempt};

/// A handle to a store in memory; cheap to clone.
#[derive(Clone, Default)]
pub struct MemoryStore {
    state: Arc<Mutex<State>>,
}

/// What becomes of a commit that is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is durable.
    Written,
    /// There was no room for it.
    Full,
    /// It could not be made durable, and nobody is told whether it is: it may be, or not.
    Failed {
        /// Whether it is.
        written: bool,
    },
}

#[derive(Default)]
struct State {
    durable: Tables,
    /// Why nothing more is written.
    failed: Option<String>,
    /// Whether commits wait for their fate; otherwise each is written at once.
    holds: bool,
    /// Asked for, and neither durable nor refused; oldest first.
    held: BTreeMap<Ticket, Held>,
    /// What became of commits whose asker has not heard yet.
    decided: HashMap<Ticket, Result<(), Error>>,
    tickets: u64,
    unreadable: bool,
}

/// What stands for a commit while it is held.
type Ticket = u64;

struct Held {
    writes: Arc<Vec<Write>>,
    waker: Waker,
}

/// What is on the disk, if there were one.
#[derive(Clone, Default)]
struct Tables {
    records: HashMap<TaskId, Record>,
    /// The next place in the order of submission.
    next_number: u64,
    artifacts: HashMap<Digest, (ArtifactMeta, Bytes)>,
    submissions: HashMap<String, Submission>,
}

impl MemoryStore {
    /// An empty store that writes at once.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on each commit waits until [`Self::decide`] says what becomes of it.
    pub fn hold(&self) {
        self.state.lock().holds = true;
    }

    /// The oldest commit that is held.
    pub fn held(&self) -> Option<Arc<Vec<Write>>> {
        self.state.lock().held.values().next().map(|held| Arc::clone(&held.writes))
    }

    /// Decides what becomes of the oldest commit that is held, if there is one.
    pub fn decide(&self, fate: Fate) {
        let mut state = self.state.lock();
        if let Some((ticket, held)) = state.held.pop_first() {
            let result = state.settle(&held.writes, fate);
            state.decided.insert(ticket, result);
            held.waker.wake();
        }
    }

    /// From now on reads fail, or succeed again.
    pub fn set_unreadable(&self, unreadable: bool) {
        self.state.lock().unreadable = unreadable;
    }

    /// What is there after the node crashed: what is durable, and of what was held all or nothing.
    /// The one that crashed goes on by itself, and nothing it is told reaches the other.
    #[must_use]
    pub fn after_crash(&self, held_is_written: bool) -> Self {
        let state = self.state.lock();
        let mut durable = state.durable.clone();
        for held in state.held.values().filter(|_| held_is_written) {
            // One that cannot be applied would have been refused, crash or not.
            drop(durable.apply(&held.writes));
        }
        let state = State { durable, ..State::default() };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Every attempt at a task that is durable, oldest first; empty if there is no such task.
    pub fn attempts(&self, id: TaskId) -> Vec<MemoryAttempt> {
        let state = self.state.lock();
        state.durable.records.get(&id).map(Record::attempts).unwrap_or_default()
    }

    fn read<T>(&self, look: impl FnOnce(&Tables) -> T) -> Result<T, Error> {
        let state = self.state.lock();
        if state.unreadable {
            let (doing, reason) = ("read from the store".to_owned(), "it is unreadable".to_owned());
            return Err(Error::Other { doing, reason });
        }
        Ok(look(&state.durable))
    }
}

impl State {
    /// Writes at once, or takes the commit in and returns what stands for it.
    fn ask(&mut self, writes: &Arc<Vec<Write>>, waker: &Waker) -> Result<Option<Ticket>, Error> {
        if let Some(reason) = &self.failed {
            return Err(Error::Failed(reason.clone()));
        }
        if !self.holds {
            return self.settle(writes, Fate::Written).map(|()| None);
        }
        self.tickets += 1;
        let held = Held { writes: Arc::clone(writes), waker: waker.clone() };
        self.held.insert(self.tickets, held);
        Ok(Some(self.tickets))
    }

    fn hear(&mut self, ticket: Ticket, waker: &Waker) -> Poll<Result<(), Error>> {
        if let Some(held) = self.held.get_mut(&ticket) {
            held.waker.clone_from(waker);
            return Poll::Pending;
        }
        self.decided.remove(&ticket).map_or(Poll::Pending, Poll::Ready)
    }

    fn settle(&mut self, writes: &[Write], fate: Fate) -> Result<(), Error> {
        if let Some(reason) = &self.failed {
            return Err(Error::Failed(reason.clone()));
        }
        match fate {
            Fate::Written => self.durable.apply(writes),
            Fate::Full => Err(Error::Full),
            Fate::Failed { written } => {
                if written {
                    self.durable.apply(writes)?;
                }
                let reason = "the disk has failed".to_owned();
                self.failed = Some(reason.clone());
                Err(Error::Failed(reason))
            }
        }
    }
}

impl Tables {
    /// Applies all of them, or none.
    fn apply(&mut self, writes: &[Write]) -> Result<(), Error> {
        // What changes, and what goes, beside what stays.
        let mut changed: HashMap<TaskId, Option<Record>> = HashMap::new();
        let mut artifacts = Vec::new();
        let mut submissions = Vec::new();
        for write in writes {
            if let Write::Submitted(submission) = write {
                submissions.push(Submission::clone(submission));
                continue;
            }
            let id = write.task();
            let record = changed.entry(id).or_insert_with(|| self.records.get(&id).cloned());
            match (write, record) {
                (Write::TaskAccepted(_), Some(_)) => {
                    let reason = format!("task {id} is there already");
                    return Err(Error::Other { doing: "write to the store".to_owned(), reason });
                }
                (Write::TaskAccepted(new), record @ None) => {
                    self.next_number += 1;
                    *record = Some(Record::new(self.next_number, Arc::clone(new)));
                    artifacts.extend(new.artifact.clone());
                }
                (Write::TaskDeleted(_), record) => *record = None,
                (write, Some(record)) => record.apply(write),
                // It was deleted: late facts about it write nothing.
                (_, None) => {}
            }
        }
        for (id, record) in changed {
            match record {
                Some(record) => drop(self.records.insert(id, record)),
                None => drop(self.records.remove(&id)),
            }
        }
        for artifact in artifacts {
            self.put_artifact(artifact);
        }
        let by_key = |submission: Submission| (submission.key.clone(), submission);
        self.submissions.extend(submissions.into_iter().map(by_key));
        Ok(())
    }

    fn put_artifact(&mut self, artifact: NewArtifact) -> bool {
        let NewArtifact { digest, meta, bytes } = artifact;
        let is_new = !self.artifacts.contains_key(&digest);
        self.artifacts.entry(digest).or_insert((meta, bytes));
        is_new
    }

    fn unfinished(&self, label: Option<&str>) -> Vec<UnfinishedTask> {
        let unfinished = self.records.values().filter_map(|record| {
            record.unfinished(label).map(|unfinished| (record.number, unfinished))
        });
        let in_order: BTreeMap<_, _> = unfinished.collect();
        in_order.into_values().collect()
    }
}

impl TaskStore for MemoryStore {
    fn commit(&self, writes: Arc<Vec<Write>>) -> Answer<'_, ()> {
        let mut ticket = None;
        Box::pin(poll_fn(move |context: &mut Context<'_>| {
            let mut state = self.state.lock();
            if let Some(ticket) = ticket {
                return state.hear(ticket, context.waker());
            }
            match state.ask(&writes, context.waker()) {
                Ok(None) => Poll::Ready(Ok(())),
                Ok(it) => {
                    ticket = it;
                    Poll::Pending
                }
                Err(error) => Poll::Ready(Err(error)),
            }
        }))
    }

    fn unfinished(&self, label: Option<String>) -> Answer<'_, Vec<UnfinishedTask>> {
        Box::pin(ready(self.read(|tables| tables.unfinished(label.as_deref()))))
    }

    fn runs(&self, attempts: Vec<(TaskId, Attempt)>) -> Answer<'_, Vec<Run>> {
        let find = |tables: &Tables| {
            let run = |(task, attempt)| tables.records.get(&task).map(|it| it.run(attempt));
            attempts.into_iter().filter_map(run).collect()
        };
        Box::pin(ready(self.read(find)))
    }

    fn task(&self, id: TaskId) -> Answer<'_, Option<Task>> {
        Box::pin(ready(self.read(|tables| tables.records.get(&id).map(Record::task))))
    }

    fn submissions(&self, keys: Vec<String>) -> Answer<'_, HashMap<String, Submission>> {
        let find = |tables: &Tables| {
            let find = |key| tables.submissions.get(&key).map(|found| (key, found.clone()));
            keys.into_iter().filter_map(find).collect()
        };
        Box::pin(ready(self.read(find)))
    }

    fn put_artifact(&self, artifact: NewArtifact) -> Answer<'_, bool> {
        let mut state = self.state.lock();
        let put = match &state.failed {
            Some(reason) => Err(Error::Failed(reason.clone())),
            None => Ok(state.durable.put_artifact(artifact)),
        };
        Box::pin(ready(put))
    }

    fn artifact(&self, digest: Digest) -> Answer<'_, Option<(ArtifactMeta, Bytes)>> {
        Box::pin(ready(self.read(|tables| tables.artifacts.get(&digest).cloned())))
    }

    fn health(&self) -> Health {
        let failed = self.state.lock().failed.clone();
        failed.map_or(Health::Working, Health::Failed)
    }
}
