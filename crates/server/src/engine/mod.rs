//! The engine of tasks: one loop that owns the scheduler, makes what it decides durable, and only
//! then does it. Others hold a cheap handle to it. Reads go to the store, not through here.

mod api;
mod batch;
mod clock;
mod driver;
mod inputs;
mod keyed;
mod link;
mod members;
mod own_worker;
mod perform;
mod sessions;
mod shared;
mod shares;
#[cfg(test)]
mod simulation;
mod stall;
mod submit;
#[cfg(test)]
mod tests;
mod waiters;

pub use link::{Inbox, Link, Reports};
pub use sessions::{Farewell, Newcomer, SLOTS_MAX};

pub use api::{
    CancelRefused, Counts, DeleteRefused, EngineConfig, Firing, NewTask, Refused, SubmissionKey,
};

use std::sync::Arc;

use jiff::Timestamp;
use runabout_protocol::{Progress, Task, TaskId, Worker, WorkerId};
use runabout_sandbox::Sandbox;
use runabout_store::{self as store, TaskStore};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::events::Events;
use clock::Clock;
use driver::{Driver, Reply, Request};
use own_worker::OwnWorker;
use sessions::{Report, Session, inbox_frames_max};
use shared::Shared;

/// Requests that may wait for the loop; whoever asks beyond that waits to ask.
const REQUESTS_MAX: usize = 4_096;

/// A handle to the engine.
#[derive(Clone)]
pub struct Engine {
    requests: mpsc::Sender<Request>,
    reports: mpsc::Sender<Report>,
    shared: Arc<Shared>,
    events: Arc<Events>,
    store: Arc<dyn TaskStore>,
}

/// The loop itself. Whoever holds this waits for its end, or ends it at once by dropping it.
pub struct EngineTask {
    handle: JoinHandle<()>,
}

/// Takes up the tasks that had not ended when the node did, and starts the loop. The upstream, if
/// there is one, is a worker before the node itself is: what is to go there does not begin here.
///
/// # Errors
/// The store cannot be read, or not written to.
pub async fn start(
    config: EngineConfig,
    store: Arc<dyn TaskStore>,
    sandbox: Sandbox,
    upstream: Option<Newcomer>,
) -> Result<(Engine, EngineTask, Option<Link>), store::Error> {
    let slots = config.slots;
    let (engine, mut driver) = Engine::new(&config, Arc::clone(&store), Clock::start());
    driver.recover().await?;
    let upstream = upstream.map(|newcomer| {
        let (link, session) = engine.link(newcomer);
        driver.join(link.worker(), session);
        link
    });
    if slots > 0 {
        let reports = driver.reports();
        driver.employ(OwnWorker::new(sandbox, store, reports, slots));
    }
    // A node that has just started says so before its first turn.
    engine.shared.count(&driver.scheduler, 0);
    let handle = tokio::spawn(driver.run());
    Ok((engine, EngineTask { handle }, upstream))
}

impl EngineTask {
    /// Resolves when the loop has ended.
    pub async fn join(mut self) {
        if let Err(error) = (&mut self.handle).await {
            tracing::error!(%error, "the engine did not end well");
        }
    }
}

impl Drop for EngineTask {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

impl Engine {
    fn new(config: &EngineConfig, store: Arc<dyn TaskStore>, clock: Clock) -> (Self, Driver) {
        let (requests, inbox) = mpsc::channel(REQUESTS_MAX);
        let shared = Arc::new(Shared::default());
        let events = Arc::new(Events::new());
        let seen = (Arc::clone(&shared), Arc::clone(&events));
        let driver = Driver::new(config, (Arc::clone(&store), clock), seen, inbox);
        let reports = driver.reports();
        (Self { requests, reports, shared, events, store }, driver)
    }

    /// Accepts a task. When this returns it is on the disk.
    ///
    /// # Errors
    /// It was refused, and nothing of it is kept.
    pub async fn submit(&self, task: NewTask, key: Option<SubmissionKey>) -> Result<Task, Refused> {
        let mut tasks = self.submit_all(vec![task], key).await?;
        tasks.pop().ok_or(Refused::Stopping)
    }

    /// Accepts tasks, all or none. Under a key that was used before, nothing is accepted again:
    /// [`Refused::SubmittedBefore`] names the tasks of the first time.
    ///
    /// # Errors
    /// They were refused, and nothing of them is kept.
    pub async fn submit_all(
        &self,
        tasks: Vec<NewTask>,
        key: Option<SubmissionKey>,
    ) -> Result<Vec<Task>, Refused> {
        if tasks.is_empty() {
            return Ok(Vec::new());
        }
        let tasks = submit::prepare(&*self.store, tasks).await?;
        let accepted = tasks.iter().map(|task| submit::as_accepted(task)).collect();
        self.ask(|reply| Request::Submit { tasks, key, reply }).await?;
        Ok(accepted)
    }

    /// Accepts the tasks of a schedule, all or none, and notes in the same transaction what times
    /// they stand for: a crash neither loses a time nor repeats it.
    ///
    /// # Errors
    /// They were refused, and nothing of them is kept.
    pub async fn fire(&self, tasks: Vec<NewTask>, firing: Firing) -> Result<(), Refused> {
        let tasks = submit::prepare(&*self.store, tasks).await?;
        let Some(last) = tasks.last() else { return Ok(()) };
        let Firing { schedule, due_at } = firing;
        let fired = store::Write::ScheduleFired { schedule, task: last.id, due_at };
        self.ask(|reply| Request::Fire { tasks, fired, reply }).await.map(drop)
    }

    /// Ends a task at once.
    ///
    /// # Errors
    /// There is no such task, it has ended already, or the store cannot be written to.
    pub async fn cancel(&self, id: TaskId) -> Result<Task, CancelRefused> {
        let was_unfinished = self.ask(|reply| Request::Cancel { task: id, reply }).await?;
        match self.store.task(id).await.map_err(Refused::from)? {
            None => Err(CancelRefused::NotFound),
            Some(task) if was_unfinished => Ok(task),
            Some(task) => Err(CancelRefused::AlreadyFinished(Box::new(task))),
        }
    }

    /// Forgets a task, and ends it if it has not ended.
    ///
    /// # Errors
    /// There is no such task, or the store cannot be written to.
    pub async fn delete(&self, id: TaskId) -> Result<(), DeleteRefused> {
        if self.store.task(id).await.map_err(Refused::from)?.is_none() {
            return Err(DeleteRefused::NotFound);
        }
        self.ask(|reply| Request::Delete { task: id, reply }).await?;
        Ok(())
    }

    /// Resolves when the task has ended, or there is none. What it ended with is in the store.
    pub async fn wait(&self, id: TaskId) {
        let (waiter, ended) = oneshot::channel();
        if self.requests.send(Request::Wait { task: id, waiter }).await.is_ok() {
            // An error means that the engine has ended, and nothing will happen to the task.
            drop(ended.await);
        }
    }

    /// Gives work to a worker from now on, until the link is left.
    ///
    /// # Errors
    /// The node is stopping.
    pub async fn join(&self, newcomer: Newcomer) -> Result<Link, Refused> {
        let (link, session) = self.link(newcomer);
        let (reply, joined) = oneshot::channel();
        let request = Request::Join { worker: link.worker(), session: Box::new(session), reply };
        self.requests.send(request).await.map_err(|_| Refused::Stopping)?;
        joined.await.map_err(|_| Refused::Stopping)?;
        Ok(link)
    }

    fn link(&self, newcomer: Newcomer) -> (Link, Session) {
        let worker = WorkerId(Uuid::now_v7());
        let (sender, inbox) = mpsc::channel(inbox_frames_max(newcomer.slots));
        let session = Session::new(newcomer, sender, None, Timestamp::now());
        let link = Link::new(worker, inbox, self.reports.clone(), Arc::clone(&session.ties));
        (link, session)
    }

    /// Tells a worker to take another number of attempts at once, and returns it; `None` if there is
    /// no such worker.
    ///
    /// # Errors
    /// The node is stopping.
    pub async fn resize(&self, worker: WorkerId, slots: u32) -> Result<Option<Worker>, Refused> {
        let (reply, resized) = oneshot::channel();
        let request = Request::Resize { worker, slots, reply };
        self.requests.send(request).await.map_err(|_| Refused::Stopping)?;
        resized.await.map_err(|_| Refused::Stopping)
    }

    /// Every worker, in the order in which they came.
    ///
    /// # Errors
    /// The node is stopping.
    pub async fn workers(&self) -> Result<Vec<Worker>, Refused> {
        let (reply, workers) = oneshot::channel();
        let request = Request::Workers { reply };
        self.requests.send(request).await.map_err(|_| Refused::Stopping)?;
        workers.await.map_err(|_| Refused::Stopping)
    }

    /// The session of the node itself, if it runs tasks; tasks carry it as their worker.
    pub fn own_worker(&self) -> Option<WorkerId> {
        self.shared.own_worker()
    }

    /// How far a running task says it is; newer than what the store has.
    pub fn progress(&self, id: TaskId) -> Option<Progress> {
        self.shared.progress(id)
    }

    /// What happens to tasks.
    pub fn events(&self) -> &Arc<Events> {
        &self.events
    }

    /// How busy the engine is.
    pub fn counts(&self) -> Counts {
        self.shared.counts()
    }

    /// Begins nothing more, puts back what runs, and resolves when that is on the disk.
    pub async fn stop(&self) {
        let (done, ended) = oneshot::channel();
        if self.requests.send(Request::Stop { done }).await.is_ok() {
            drop(ended.await);
        }
    }

    async fn ask(&self, request: impl FnOnce(Reply) -> Request) -> Result<bool, Refused> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).await.map_err(|_| Refused::Stopping)?;
        answer.await.map_err(|_| Refused::Stopping)?
    }
}
