//! Schedules: tasks that the node hands in by itself when their time comes. One task owns when what
//! is due; everybody else asks it. What schedules there are is read from the store.

mod cron;
mod due;
mod owner;
mod request;

use jiff::Timestamp;
use runabout_protocol::{Schedule, ScheduleName};
use runabout_store::{ScheduleRecord, time_text};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::app::App;
use crate::codes::Code;
use crate::problem::{Problem, stopping};

use owner::Owner;

pub use cron::{Cron, zone};
pub use request::{Checked, read};

/// Requests that may wait for the owner; whoever asks beyond that waits to ask.
const REQUESTS_MAX: usize = 64;

/// Times to come that a schedule is shown with.
const UPCOMING: usize = 5;

/// Asks the owner; cheap to clone.
#[derive(Clone)]
pub struct Schedules {
    requests: mpsc::Sender<Request>,
}

/// Where the owner hears.
pub struct Inbox(mpsc::Receiver<Request>);

type Reply<T> = oneshot::Sender<Result<T, Problem>>;

/// What is asked of the owner.
enum Request {
    /// Keep a schedule; answered with it, and whether it is new.
    Put { name: ScheduleName, schedule: Box<Checked>, reply: Reply<(ScheduleRecord, bool)> },
    /// Let a schedule rest, or not any more.
    Pause { name: ScheduleName, paused: bool, reply: Reply<ScheduleRecord> },
    /// Forget a schedule.
    Delete { name: ScheduleName, reply: Reply<()> },
}

/// The owner. Dropping it ends it at once.
pub struct SchedulesTask {
    handle: JoinHandle<()>,
}

/// A handle, and what [`start`] needs to hear it.
pub fn channel() -> (Schedules, Inbox) {
    let (requests, inbox) = mpsc::channel(REQUESTS_MAX);
    (Schedules { requests }, Inbox(inbox))
}

/// Takes up the schedules that the store has, and starts the owner.
///
/// # Errors
/// The store cannot be read.
pub async fn start(app: App, inbox: Inbox) -> Result<SchedulesTask, runabout_store::Error> {
    let owner = Owner::load(app, inbox.0).await?;
    Ok(SchedulesTask { handle: tokio::spawn(owner.run()) })
}

impl SchedulesTask {
    /// Ends it. Whatever it was at is either on the disk as a whole or not at all.
    pub async fn end(mut self) {
        self.handle.abort();
        if let Err(error) = (&mut self.handle).await
            && !error.is_cancelled()
        {
            tracing::error!(%error, "the schedules did not end well");
        }
    }
}

impl Drop for SchedulesTask {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

impl Schedules {
    /// Keeps a schedule, in the place of one of the same name; with whether it is new.
    ///
    /// # Errors
    /// `too_many_schedules`, or the store cannot write.
    pub async fn put(
        &self,
        name: ScheduleName,
        schedule: Checked,
    ) -> Result<(ScheduleRecord, bool), Problem> {
        self.ask(|reply| Request::Put { name, schedule: Box::new(schedule), reply }).await
    }

    /// Lets a schedule rest, or not any more.
    ///
    /// # Errors
    /// `schedule_not_found`, or the store cannot write.
    pub async fn pause(&self, name: ScheduleName, paused: bool) -> Result<ScheduleRecord, Problem> {
        self.ask(|reply| Request::Pause { name, paused, reply }).await
    }

    /// Forgets a schedule. Its tasks stay.
    ///
    /// # Errors
    /// `schedule_not_found`, or the store cannot write.
    pub async fn delete(&self, name: ScheduleName) -> Result<(), Problem> {
        self.ask(|reply| Request::Delete { name, reply }).await
    }

    async fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T, Problem> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).await.map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())?
    }
}

/// A schedule as clients see it at that moment.
pub fn view(record: ScheduleRecord, now: Timestamp) -> Schedule {
    let cron = cron_of(&record).ok().filter(|_| !record.paused);
    let next = |after: &Timestamp| cron.as_ref()?.next(*after);
    let upcoming = std::iter::successors(next(&now.max(record.settled_at)), next);
    let upcoming: Vec<_> = upcoming.take(UPCOMING).map(time_text).collect();
    Schedule {
        name: record.name,
        cron: record.cron,
        time_zone: record.time_zone,
        task: record.task,
        missed: record.missed,
        paused: record.paused,
        next_at: upcoming.first().cloned(),
        upcoming,
        last_due_at: record.last_due_at.map(time_text),
        last_task: record.last_task,
        last_error: record.last_error,
        created_at: time_text(record.created_at),
        updated_at: time_text(record.updated_at),
    }
}

/// Reads what was accepted once. It fails only where a newer time zone database has lost the zone.
fn cron_of(record: &ScheduleRecord) -> Result<Cron, String> {
    let zone = cron::zone(&record.time_zone).ok_or("its time zone is not known any more")?;
    Cron::parse(&record.cron, zone)
}

/// There is no such schedule.
pub fn not_found(name: &str) -> Problem {
    Problem::new(Code::ScheduleNotFound, format!("there is no schedule {name:?}"))
}

/// Reads a schedule's name.
///
/// # Errors
/// `invalid_name`.
pub fn parse_name(name: &str) -> Result<ScheduleName, Problem> {
    name.parse().map_err(|_| {
        let detail = format!(
            "{name:?} is no schedule's name: it has 1 to 64 letters, digits, dots, dashes and \
             underscores, and begins with neither a dot nor a dash"
        );
        Problem::new(Code::InvalidName, detail)
    })
}
