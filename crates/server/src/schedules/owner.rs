//! The one task that owns the schedules' times: sleeps until something is due, hands it in, and
//! takes changes in between.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use runabout_protocol::{Missed, ScheduleName};
use runabout_store::{ScheduleRecord, time_text};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::cron::Cron;
use super::due::{Clock, Due, due};
use super::request::{Checked, LABEL_DUE, LABEL_SCHEDULE};
use super::{Request, cron_of, not_found};
use crate::app::App;
use crate::codes::Code;
use crate::engine::{Firing, NewTask};
use crate::problem::Problem;
use crate::submission;

/// The most schedules; more are refused.
const SCHEDULES_MAX: usize = 10_000;

/// Schedules that are read at once when the node starts.
const PAGE: u32 = 100;

/// Schedules that hand in at once, before requests have their turn again.
const FIRED_AT_ONCE_MAX: usize = 64;

/// The most tasks of a schedule in one transaction; what is left follows in the next.
const TASKS_AT_ONCE_MAX: usize = 100;

/// The longest sleep: nobody tells us when the clock on the wall is set.
const SLEEP_MAX: Duration = Duration::from_secs(30);

/// When to try again what the node had no room for.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(2);

/// Everything the owner owns.
pub struct Owner {
    app: App,
    inbox: mpsc::Receiver<Request>,
    /// Every schedule, those that rest too.
    timetables: BTreeMap<ScheduleName, Timetable>,
    clock: Clock,
    /// When it was looked at, by a clock that nobody sets.
    looked_at: Instant,
}

/// When a schedule is due.
struct Timetable {
    /// `None` while it rests.
    cron: Option<Cron>,
    missed: Missed,
    /// As the store has it.
    settled_at: Timestamp,
    /// The first time after that; `None` if there is none.
    next_at: Option<Timestamp>,
    /// Set while the node had no room for its tasks.
    try_again_at: Option<Instant>,
}

impl Timetable {
    fn new(record: &ScheduleRecord, cron: Cron) -> Self {
        let cron = (!record.paused).then_some(cron);
        let mut timetable = Self {
            cron,
            missed: record.missed,
            settled_at: record.settled_at,
            next_at: None,
            try_again_at: None,
        };
        timetable.settle(record.settled_at);
        timetable
    }

    fn settle(&mut self, until: Timestamp) {
        self.settled_at = self.settled_at.max(until);
        self.next_at = self.cron.as_ref().and_then(|cron| cron.next(self.settled_at));
        self.try_again_at = None;
    }

    fn due(&self, clock: Clock) -> Option<Due> {
        if self.try_again_at.is_some_and(|at| at > Instant::now()) {
            return None;
        }
        if self.next_at.is_none_or(|next_at| next_at > clock.now) {
            return None;
        }
        due(self.cron.as_ref()?, self.missed, self.settled_at, clock)
    }

    /// How long nothing is to be done.
    fn rest(&self, now: Timestamp) -> Duration {
        let Some(next_at) = self.next_at else { return SLEEP_MAX };
        let until_next = Duration::try_from(next_at.duration_since(now)).unwrap_or_default();
        let until_retry = self.try_again_at.map(|at| at.saturating_duration_since(Instant::now()));
        until_next.max(until_retry.unwrap_or_default())
    }
}

/// How a schedule's turn ended.
enum Turn {
    /// The times until then are dealt with.
    Settled(Timestamp),
    /// The node had no room.
    TryAgain(String),
}

impl Owner {
    /// Reads the store's schedules.
    pub async fn load(
        app: App,
        inbox: mpsc::Receiver<Request>,
    ) -> Result<Self, runabout_store::Error> {
        let now = Timestamp::now();
        let mut timetables = BTreeMap::new();
        let mut after = String::new();
        loop {
            let page = app.store.schedules(&after, PAGE).await?;
            let Some(last) = page.items.last() else { break };
            last.name.as_str().clone_into(&mut after);
            timetables.extend(page.items.into_iter().filter_map(taken_up));
        }
        let clock = Clock { now, watched_since: now };
        Ok(Self { app, inbox, timetables, clock, looked_at: Instant::now() })
    }

    /// Runs until the node stops.
    pub async fn run(mut self) {
        let stopping = self.app.stopping.clone();
        loop {
            self.look_at_the_clock();
            self.fire().await;
            let rest = self.rest();
            tokio::select! {
                () = stopping.cancelled() => return,
                Some(request) = self.inbox.recv() => self.take(request).await,
                () = sleep(rest) => {}
            }
        }
    }

    fn look_at_the_clock(&mut self) {
        let looked_at = Instant::now();
        let passed = SignedDuration::try_from(looked_at - self.looked_at).unwrap_or_default();
        self.clock = self.clock.look_again(Timestamp::now(), passed);
        self.looked_at = looked_at;
    }

    fn rest(&self) -> Duration {
        let now = Timestamp::now();
        let rest = self.timetables.values().map(|timetable| timetable.rest(now)).min();
        // Rounded up: a sleeper that wakes before the time would find nothing to do.
        rest.map_or(SLEEP_MAX, |rest| rest.min(SLEEP_MAX) + Duration::from_millis(1))
    }

    /// Hands in what is due, of so many schedules together: they share one fsync.
    async fn fire(&mut self) {
        let clock = self.clock;
        let due = self
            .timetables
            .iter()
            .filter_map(|(name, timetable)| Some((name.clone(), timetable.due(clock)?)));
        let due: Vec<_> = due.take(FIRED_AT_ONCE_MAX).collect();
        let turns = due.into_iter().map(|(name, due)| async {
            let turn = fire(&self.app, &name, due).await;
            (name, turn)
        });
        for (name, turn) in futures::future::join_all(turns).await {
            let Some(timetable) = self.timetables.get_mut(&name) else { continue };
            match turn {
                Turn::Settled(until) => timetable.settle(until),
                Turn::TryAgain(why) => {
                    tracing::warn!(schedule = %name, why, "a schedule is due and has to wait");
                    timetable.try_again_at = Some(Instant::now() + TRY_AGAIN_AFTER);
                }
            }
        }
    }

    async fn take(&mut self, request: Request) {
        // Whoever asked may have gone; what they asked for stands all the same.
        match request {
            Request::Put { name, schedule, reply } => {
                drop(reply.send(self.put(name, *schedule).await));
            }
            Request::Pause { name, paused, reply } => {
                drop(reply.send(self.pause(name, paused).await));
            }
            Request::Delete { name, reply } => drop(reply.send(self.delete(&name).await)),
        }
    }

    async fn put(
        &mut self,
        name: ScheduleName,
        new: Checked,
    ) -> Result<(ScheduleRecord, bool), Problem> {
        let old = self.app.store.schedule(&name).await?;
        if old.is_none() && self.timetables.len() >= SCHEDULES_MAX {
            let detail = format!("this node keeps {SCHEDULES_MAX} schedules at most");
            return Err(Problem::new(Code::TooManySchedules, detail));
        }
        let now = Timestamp::now();
        let record = ScheduleRecord {
            name: name.clone(),
            settled_at: settled_at(old.as_ref(), &new, now),
            cron: new.cron_text,
            time_zone: new.time_zone,
            missed: new.missed,
            paused: new.paused,
            task: new.task,
            created_at: old.as_ref().map_or(now, |old| old.created_at),
            updated_at: now,
            last_due_at: old.as_ref().and_then(|old| old.last_due_at),
            last_task: old.as_ref().and_then(|old| old.last_task),
            last_error: None,
        };
        self.app.store.put_schedule(record.clone()).await?;
        self.timetables.insert(name, Timetable::new(&record, new.cron));
        Ok((record, old.is_none()))
    }

    async fn pause(&mut self, name: ScheduleName, paused: bool) -> Result<ScheduleRecord, Problem> {
        let found = self.app.store.schedule(&name).await?;
        let mut record = found.ok_or_else(|| not_found(name.as_str()))?;
        if record.paused == paused {
            return Ok(record);
        }
        let cron = cron_of(&record).map_err(Problem::internal)?;
        let now = Timestamp::now();
        record.paused = paused;
        record.updated_at = now;
        // What passed while it rested is never made up for.
        record.settled_at = record.settled_at.max(now);
        self.app.store.put_schedule(record.clone()).await?;
        self.timetables.insert(name, Timetable::new(&record, cron));
        Ok(record)
    }

    async fn delete(&mut self, name: &ScheduleName) -> Result<(), Problem> {
        let existed = self.app.store.delete_schedule(name).await?;
        self.timetables.remove(name);
        if existed { Ok(()) } else { Err(not_found(name.as_str())) }
    }
}

/// One whose time zone is gone stays in the store and is told of, but is never due.
fn taken_up(record: ScheduleRecord) -> Option<(ScheduleName, Timetable)> {
    match cron_of(&record) {
        Ok(cron) => {
            let timetable = Timetable::new(&record, cron);
            Some((record.name, timetable))
        }
        Err(why) => {
            tracing::error!(schedule = %record.name, why, "a schedule cannot be followed");
            None
        }
    }
}

/// Until when a schedule that is put has nothing to make up for. One that is put again as it was
/// keeps its place, so that a script that puts it at every start takes no time from it.
fn settled_at(old: Option<&ScheduleRecord>, new: &Checked, now: Timestamp) -> Timestamp {
    match old {
        Some(old) if !old.paused && old.cron == new.cron_text && old.time_zone == new.time_zone => {
            old.settled_at
        }
        // It never goes back, whatever was done to the clock.
        Some(old) => old.settled_at.max(now),
        None => now,
    }
}

/// Hands in what is due of one schedule.
async fn fire(app: &App, name: &ScheduleName, due: Due) -> Turn {
    if due.dropped {
        tracing::warn!(schedule = %name, "more times were missed than are made up for; the oldest are dropped");
    }
    let due = due.first(TASKS_AT_ONCE_MAX);
    let until = due.until;
    let why = match hand_in(app, name, &due).await {
        Ok(()) if !due.times.is_empty() => return Turn::Settled(until),
        Ok(()) => None,
        Err(problem) if problem.is_passing() => return Turn::TryAgain(problem.detail().to_owned()),
        Err(problem) => {
            let why = problem.detail();
            tracing::warn!(schedule = %name, why, "a schedule's task was refused");
            Some(why.to_owned())
        }
    };
    match app.store.settle_schedule(name, until, why).await {
        Ok(()) => Turn::Settled(until),
        Err(error) => Turn::TryAgain(error.to_string()),
    }
}

async fn hand_in(app: &App, name: &ScheduleName, due: &Due) -> Result<(), Problem> {
    let Some(last) = due.times.last() else { return Ok(()) };
    let record = app.store.schedule(name).await?.ok_or_else(|| not_found(name.as_str()))?;
    let task = submission::from_request(app, record.task).await?;
    let tasks = due.times.iter().map(|time| labelled(task.clone(), name, *time)).collect();
    let firing = Firing { schedule: name.clone(), due_at: *last };
    Ok(app.engine.fire(tasks, firing).await?)
}

fn labelled(mut task: NewTask, name: &ScheduleName, due_at: Timestamp) -> NewTask {
    task.labels.insert(LABEL_SCHEDULE.to_owned(), name.to_string());
    task.labels.insert(LABEL_DUE.to_owned(), time_text(due_at));
    task
}
