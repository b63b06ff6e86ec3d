//! What has happened to tasks and to workers, for those who listen while it happens. The loop hands in what it has
//! just made durable, and that is kept as it is, in a ring: only when somebody reads is it put into
//! words. Nobody is sent anything; a listener is woken and reads on at its own pace, and one that
//! is too slow finds that the ring has gone on and begins anew.
//!
//! Documents will be another kind of [`Facts`].

mod place;
mod ring;
mod telling;

pub use place::{LastEventId, Place};
pub use ring::{Behind, Fact};
pub use telling::{Only, PIECE_BYTES_MAX, Sheet, Teller, Told};

use std::sync::Arc;
use std::time::Instant;

use metrics::Counter;
use parking_lot::Mutex;
use runabout_protocol::{Attempt, DocumentRevision, Progress, TaskId, WorkerEvent};
use runabout_store::Write;
use tokio::sync::Notify;
use uuid::Uuid;

use ring::Ring;

/// Streams of one task at once; more hear 503. Each takes a connection, and some of those are to be
/// left for requests.
const TASK_STREAMS_MAX: usize = 3_072;
/// Streams of all tasks at once; more hear 503. Each of them is told everything.
const NODE_STREAMS_MAX: usize = 128;

/// Facts that became known together.
#[derive(Clone, Debug)]
pub enum Facts {
    /// Durable ones, in order, as they were written.
    Written(Arc<Vec<Write>>),
    /// A revision of a document; durable.
    Revised(Arc<DocumentRevision>),
    /// What runs said of their progress. Of no consequence, and so told before it is durable.
    Said(Arc<Vec<Said>>),
    /// Workers that have come, changed or gone.
    Workers(Arc<Vec<WorkerEvent>>),
}

/// Progress that an attempt reported.
#[derive(Clone, Debug)]
pub struct Said {
    /// The task.
    pub task: TaskId,
    /// Its latest attempt.
    pub attempt: Attempt,
    /// How far it is.
    pub progress: Progress,
}

/// The ring, shared by the loop that fills it and the streams that read it.
#[derive(Debug)]
pub struct Events {
    /// Tells this life of the node from others.
    life: String,
    ring: Mutex<Ring>,
    /// Wakes the streams of all tasks.
    news: Notify,
    resets: Counter,
}

/// As many listen as may.
#[derive(Debug)]
pub struct Full;

/// How much the ring holds and for whom.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Streams that are open.
    pub streams: usize,
    /// Bytes kept, roughly.
    pub bytes: usize,
}

impl Events {
    /// An empty ring, of a new life.
    pub fn new() -> Self {
        let mut life = Uuid::new_v4().simple().to_string();
        life.truncate(12);
        let resets = metrics::counter!("runabout_event_resets_total");
        Self { life, ring: Mutex::default(), news: Notify::new(), resets }
    }

    /// Adds what has just become known, and wakes those who listen for it.
    pub fn publish(&self, facts: Facts) {
        if facts.len() == 0 {
            return;
        }
        let followers = self.ring.lock().push(facts, Instant::now());
        for follower in followers {
            follower.notify_waiters();
        }
        self.news.notify_waiters();
    }

    /// Listens to one task from now on.
    ///
    /// # Errors
    /// Too many do.
    pub fn follow(self: &Arc<Self>, task: TaskId) -> Result<Listener, Full> {
        let mut ring = self.ring.lock();
        if ring.task_streams() >= TASK_STREAMS_MAX {
            return Err(Full);
        }
        let wake = ring.follow(task);
        Ok(Listener { place: ring.now(), events: Arc::clone(self), to: Some((task, wake)) })
    }

    /// Listens to all tasks from now on.
    ///
    /// # Errors
    /// Too many do.
    pub fn listen(self: &Arc<Self>) -> Result<Listener, Full> {
        let mut ring = self.ring.lock();
        if ring.node_streams() >= NODE_STREAMS_MAX {
            return Err(Full);
        }
        ring.listen();
        Ok(Listener { place: ring.now(), events: Arc::clone(self), to: None })
    }

    /// How much there is of everything.
    pub fn load(&self) -> Load {
        let ring = self.ring.lock();
        Load { streams: ring.task_streams() + ring.node_streams(), bytes: ring.bytes() }
    }

    /// What tells this life of the node from others.
    pub fn life(&self) -> &str {
        &self.life
    }

    /// Counts a stream that has to begin anew.
    pub fn count_reset(&self) {
        self.resets.increment(1);
    }
}

/// One who listens, until it is dropped.
#[derive(Debug)]
pub struct Listener {
    events: Arc<Events>,
    /// The task that it listens to, and what wakes it; `None` listens to all.
    to: Option<(TaskId, Arc<Notify>)>,
    /// What it is told next.
    place: Place,
}

impl Listener {
    /// What it is told next.
    pub fn place(&self) -> Place {
        self.place
    }

    /// Goes on at another place.
    pub fn go_on_at(&mut self, place: Place) {
        self.place = place;
    }

    /// Whether what it is told next is not kept any more.
    pub fn is_behind(&self) -> bool {
        self.look(1).is_err()
    }

    /// Whether the end of its task, or of its record, is among what it is told next.
    pub fn sees_the_end(&self) -> bool {
        self.look(usize::MAX).is_ok_and(|facts| facts.iter().any(Fact::is_the_end))
    }

    /// Goes on with what will become known from now on.
    pub fn skip_to_now(&mut self) {
        self.place = self.events.ring.lock().now();
    }

    /// Waits until there is something to be told, and takes `facts_max` facts of it at most. May be
    /// dropped while it waits.
    ///
    /// # Errors
    /// What it would be told next is not kept any more.
    pub async fn next(&mut self, facts_max: usize) -> Result<Vec<Fact>, Behind> {
        loop {
            let wake = self.to.as_ref().map_or(&self.events.news, |(_, wake)| wake);
            let woken = wake.notified();
            tokio::pin!(woken);
            // Enabled before the look: what is added after the look wakes it.
            woken.as_mut().enable();
            let facts = self.look(facts_max)?;
            if let Some(last) = facts.last() {
                self.place = Place::after(last.number);
                return Ok(facts);
            }
            woken.await;
        }
    }

    fn look(&self, facts_max: usize) -> Result<Vec<Fact>, Behind> {
        let ring = self.events.ring.lock();
        match &self.to {
            Some((task, _)) => ring.read_task(*task, self.place, facts_max),
            None => ring.read(self.place, facts_max),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut ring = self.events.ring.lock();
        match &self.to {
            Some((task, _)) => ring.unfollow(*task, Instant::now()),
            None => ring.leave(Instant::now()),
        }
    }
}

impl Facts {
    fn len(&self) -> usize {
        match self {
            Self::Written(writes) => writes.len(),
            Self::Said(said) => said.len(),
            Self::Workers(workers) => workers.len(),
            Self::Revised(_) => 1,
        }
    }

    fn task(&self, index: usize) -> Option<TaskId> {
        match self {
            Self::Written(writes) => writes.get(index).map(Write::task),
            Self::Said(said) => said.get(index).map(|said| said.task),
            Self::Workers(_) => None,
            Self::Revised(_) => None,
        }
    }
}
