//! The upstream as one of the workers of tasks: it joins while it can be reached, with as many slots
//! as it has processors, and hands on what it is given. What it is given is the scheduler's to
//! decide; what it says of it is the engine's to keep.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use runabout_protocol::frame::{Finished, Goodbye, Slots};
use runabout_protocol::{
    Attempt, Outcome, Run, ServerToWorker, TaskId, Trust, Usage, WorkerKind, WorkerToServer,
};
use runabout_scheduler::placement::Side;
use runabout_scheduler::{Capabilities, Decline};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::attempt::{Ended, Handover, Listener};
use super::{Standing, Upstream, Via};
use crate::app::App;
use crate::engine::{Farewell, Inbox, Link, Newcomer, Reports};

/// Attempts under way upstream at once, however many processors it has. What waits is better off
/// waiting here, where a slot of another worker may take it.
const ATTEMPTS_MAX: u32 = 64;
/// How long an upstream that took no more is left alone; it doubles each time, up to the longest.
const REST_FIRST: Duration = Duration::from_millis(500);
const REST_LONGEST: Duration = Duration::from_secs(30);
/// Frames that are taken from the engine together.
const FRAMES_AT_ONCE_MAX: usize = 64;

/// Hands on tasks until the engine ends, or this is dropped.
pub async fn keep_working(app: App, upstream: Arc<Upstream>, mut link: Link) {
    let mut standing = upstream.standing.subscribe();
    // Those that wait for their last attempts while a new one is at work.
    let mut leaving = JoinSet::new();
    loop {
        let mut member = Member::new(app.clone(), Arc::clone(&upstream), link);
        match member.work(&mut standing).await {
            Over::Told(Farewell::Stopping) => break,
            Over::Told(_) => {}
            Over::Unreachable => drop(leaving.spawn(member.finish())),
        }
        if standing.wait_for(|standing| standing.is_reachable).await.is_err() {
            break;
        }
        while leaving.try_join_next().is_some() {}
        let Ok(joined) = app.engine.join(upstream.newcomer()).await else { break };
        link = joined;
    }
    while leaving.join_next().await.is_some() {}
}

impl Upstream {
    /// The worker that it is. It has no slots until it has said how many processors it has.
    pub fn newcomer(&self) -> Newcomer {
        Newcomer {
            name: self.standing.borrow().name.clone(),
            kind: WorkerKind::Node,
            trust: Trust::Joined,
            slots: 0,
            capabilities: Capabilities::all(),
            side: Side::Upstream,
        }
    }
}

/// Why a member's work is over.
enum Over {
    /// The engine said so.
    Told(Farewell),
    /// There is nobody to hand anything to.
    Unreachable,
}

type Key = (TaskId, Attempt);

/// One session with the engine.
struct Member {
    app: App,
    upstream: Arc<Upstream>,
    inbox: Inbox,
    ear: Ear,
    attempts: JoinSet<(Key, Ended)>,
    /// Exactly those in `attempts` that nobody has cancelled.
    running: HashMap<Key, AbortHandle>,
    /// The most slots that somebody asked for.
    wished_slots: u32,
    /// What the engine was told last.
    told: (u32, String),
    rest: Rest,
}

impl Member {
    fn new(app: App, upstream: Arc<Upstream>, link: Link) -> Self {
        let (inbox, reports) = link.split();
        Self {
            ear: Ear { app: app.clone(), reports },
            app,
            upstream,
            inbox,
            attempts: JoinSet::new(),
            running: HashMap::new(),
            wished_slots: ATTEMPTS_MAX,
            // What it joined as may be old by now.
            told: (0, String::new()),
            rest: Rest::default(),
        }
    }

    /// Takes what comes until there is nobody to hand it to.
    async fn work(&mut self, standing: &mut watch::Receiver<Standing>) -> Over {
        standing.mark_changed();
        let mut frames = Vec::new();
        loop {
            tokio::select! {
                // First, so that an upstream that is gone is given nothing more.
                biased;
                changed = standing.changed() => {
                    if changed.is_err() || !standing.borrow_and_update().is_reachable {
                        self.ear.say(WorkerToServer::Goodbye(Goodbye {})).await;
                        return Over::Unreachable;
                    }
                    self.announce().await;
                }
                Some(ended) = self.attempts.join_next() => self.ended(ended).await,
                () = self.rest.is_over() => {
                    self.rest.until = None;
                    self.announce().await;
                }
                taken = self.inbox.take(&mut frames, FRAMES_AT_ONCE_MAX) => {
                    if let Err(farewell) = taken {
                        return Over::Told(farewell);
                    }
                    for frame in frames.drain(..) {
                        self.obey(frame).await;
                    }
                }
            }
        }
    }

    /// Waits for what is still under way, and leaves.
    async fn finish(mut self) {
        let mut frames = Vec::new();
        while !self.attempts.is_empty() {
            tokio::select! {
                Some(ended) = self.attempts.join_next() => self.ended(ended).await,
                taken = self.inbox.take(&mut frames, FRAMES_AT_ONCE_MAX) => {
                    if taken.is_err() {
                        return;
                    }
                    for frame in frames.drain(..) {
                        self.obey(frame).await;
                    }
                }
            }
        }
        let farewell = Farewell::Left("the upstream cannot be reached".to_owned());
        self.ear.reports.leave(farewell).await;
    }

    /// Tells the engine what is new of name and slots.
    async fn announce(&mut self) {
        let Standing { processors, name, .. } = self.upstream.standing.borrow().clone();
        let slots = match self.rest.until {
            Some(_) => 0,
            None => processors.min(ATTEMPTS_MAX).min(self.wished_slots),
        };
        if self.told.1 != name {
            self.ear.reports.rename(name.clone()).await;
        }
        if self.told.0 != slots {
            self.ear.say(WorkerToServer::Slots(Slots { slots })).await;
        }
        self.told = (slots, name);
    }

    async fn obey(&mut self, frame: ServerToWorker) {
        match frame {
            ServerToWorker::Run(run) => self.begin(*run),
            ServerToWorker::Cancel(cancel) => {
                let key = (cancel.task, cancel.attempt);
                if let Some(running) = self.running.remove(&key) {
                    // With it goes the connection's stream, and with that the run there.
                    running.abort();
                    self.ear.say(finished(key, Outcome::Cancelled)).await;
                }
            }
            ServerToWorker::Resize(resize) => {
                self.wished_slots = resize.slots;
                // The engine has given it that many.
                self.told.0 = resize.slots;
                self.announce().await;
            }
            ServerToWorker::Welcome(_) | ServerToWorker::Ping(_) => {}
        }
    }

    fn begin(&mut self, run: Run) {
        let key = (run.task, run.attempt);
        let (app, upstream, ear) = (self.app.clone(), self.upstream.clone(), self.ear.clone());
        let attempt = async move {
            let handover = Handover { run: &run, via: &Via::default() };
            (key, upstream.attempt(&app, handover, &ear).await)
        };
        self.running.insert(key, self.attempts.spawn(attempt));
    }

    async fn ended(&mut self, ended: Result<(Key, Ended), JoinError>) {
        let (key, ended) = match ended {
            Ok(ended) => ended,
            Err(error) => {
                let panicked = self.running.iter().find(|(_, it)| it.id() == error.id());
                let Some((key, _)) = panicked else { return };
                (*key, Ended::Lost(error.to_string()))
            }
        };
        if self.running.remove(&key).is_none() {
            return;
        }
        match ended {
            Ended::Told => self.rest.recover(),
            Ended::Unheard => {}
            Ended::Declined(why) => {
                let frames = self.withdraw(why);
                self.ear.reports.decline(frames, key, why).await;
            }
            Ended::Lost(why) => {
                let (task, attempt) = (key.0, key.1.0);
                tracing::info!(%task, attempt, why, "an attempt was lost upstream");
                self.ear.say(finished(key, Outcome::Lost { attempts: 1 })).await;
            }
        }
    }

    /// What takes no more, or stops, is given nothing for a while, before it is given back what it
    /// has just declined.
    fn withdraw(&mut self, why: Decline) -> Vec<WorkerToServer> {
        if why == Decline::Unfit {
            return Vec::new();
        }
        self.rest.begin();
        self.told.0 = 0;
        vec![WorkerToServer::Slots(Slots { slots: 0 })]
    }
}

/// When the upstream is asked again after it took no more.
#[derive(Default)]
struct Rest {
    until: Option<Instant>,
    times: u32,
}

impl Rest {
    /// What is declined while it rests already was given out before.
    fn begin(&mut self) {
        if self.until.is_some() {
            return;
        }
        let pause = REST_FIRST.saturating_mul(1 << self.times.min(16)).min(REST_LONGEST);
        self.until = Some(Instant::now() + pause);
        self.times += 1;
    }

    fn recover(&mut self) {
        self.times = 0;
    }

    async fn is_over(&self) {
        match self.until {
            Some(until) => sleep_until(until).await,
            None => std::future::pending().await,
        }
    }
}

/// The engine, as attempts tell it.
#[derive(Clone)]
struct Ear {
    app: App,
    reports: Reports,
}

impl Ear {
    async fn say(&self, frame: WorkerToServer) {
        // An error says that the engine has ended, which the inbox tells too.
        self.hear(vec![frame], 0).await;
    }
}

impl Listener for Ear {
    async fn hear(&self, frames: Vec<WorkerToServer>, bytes: usize) -> bool {
        let Some(room) = self.app.workers.room(bytes).await else { return false };
        self.reports.say(frames, room).await
    }
}

fn finished((task, attempt): Key, outcome: Outcome) -> WorkerToServer {
    let usage = Usage::default();
    WorkerToServer::Finished(Finished { task, attempt, outcome, usage, output_truncated: false })
}
