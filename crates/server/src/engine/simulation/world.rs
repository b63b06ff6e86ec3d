//! What happens, one thing after the other, as the seed has it.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use fastrand::Rng;
use jiff::{SignedDuration, Timestamp};
use runabout_protocol::{
    Arguments, Capability, Digest, JsEngine, Json, Language, Limits, Place, Surroundings, TaskId,
    Trust, WorkerId, WorkerKind, WorkerToServer, frame,
};
use runabout_scheduler::Capabilities;
use runabout_scheduler::placement::Side;
use runabout_store::{Fate, MemoryStore, NewTask, TaskStore};
use tokio::sync::mpsc;
use tokio::sync::oneshot::{self, error::TryRecvError};
use uuid::Uuid;

use super::oracle::Oracle;
use super::time::SimulatedTime;
use super::workers::{Worker, mark};
use crate::engine::clock::{Clock, Time};
use crate::engine::driver::Request;
use crate::engine::sessions::{Farewell, Newcomer, Report, Session};
use crate::engine::{Counts, Engine, EngineConfig, Refused, SubmissionKey};

/// What happens before everybody behaves and all is to come to rest.
const HAPPENINGS: usize = 400;

/// How long it may take until all is at rest: hours of the simulated clock.
const REST_ROUNDS_MAX: usize = 5_000;

/// Tasks that may wait; few, so that some are refused.
const QUEUE_TASKS_MAX: u64 = 30;

/// Makes what the engine is given of what is really there.
pub(super) type Wrap = dyn Fn(MemoryStore) -> Arc<dyn TaskStore>;

pub(super) struct World<'a> {
    random: Rng,
    time: SimulatedTime,
    disk: MemoryStore,
    /// No write succeeds until this ends.
    disk_is_full: bool,
    wrap: &'a Wrap,
    life: Life,
    oracle: Oracle,
    /// What workers have said and the node has not heard, in whatever order it arrives.
    wire: Vec<Report>,
    /// Some of what was heard, to be heard again much later.
    echoes: Vec<Report>,
    asked: Vec<Asked>,
    waiting: Vec<(TaskId, oneshot::Receiver<()>)>,
    tasks: u128,
    workers: u128,
    history: DefaultHasher,
}

/// The node between two crashes.
struct Life {
    engine: Engine,
    /// `None` when it has ended.
    driver: Option<Pin<Box<dyn Future<Output = ()>>>>,
    /// It has taken up what the life before it left, and can be asked.
    has_recovered: Arc<AtomicBool>,
    reports: mpsc::Sender<Report>,
    workers: Vec<Worker>,
    /// Its latest write was refused, and it tries again.
    is_stalled: bool,
    /// Its disk has failed for good.
    has_failed: bool,
    stop: Option<oneshot::Receiver<()>>,
}

/// What somebody asked for, and where the answer comes.
struct Asked {
    what: What,
    /// It came after a stop was taken.
    comes_too_late: bool,
    answer: oneshot::Receiver<Result<bool, Refused>>,
}

enum What {
    Submit(Vec<TaskId>),
    Cancel(TaskId),
    Delete(TaskId),
}

impl<'a> World<'a> {
    /// Lets a seed's history happen, and returns what stands for it.
    pub(super) fn run(seed: u64, wrap: &'a Wrap) -> u64 {
        let mut world = Self::new(seed, wrap);
        for _ in 0..HAPPENINGS {
            world.happen();
        }
        world.come_to_rest();
        world.look_back();
        world.history.finish()
    }

    fn new(seed: u64, wrap: &'a Wrap) -> Self {
        let (time, disk) = (SimulatedTime::new(), MemoryStore::new());
        disk.hold();
        let life = Life::begin(wrap(disk.clone()), &time);
        Self {
            random: Rng::with_seed(seed),
            time,
            disk,
            disk_is_full: false,
            wrap,
            life,
            oracle: Oracle::default(),
            wire: Vec::new(),
            echoes: Vec::new(),
            asked: Vec::new(),
            waiting: Vec::new(),
            tasks: 0,
            workers: 0,
            history: DefaultHasher::new(),
        }
    }

    fn happen(&mut self) {
        match self.random.u32(0..1_000) {
            0..120 => self.submit(),
            120..150 => self.cancel(),
            150..170 => self.delete(),
            170..200 => self.wait(),
            200..400 => self.a_worker_acts(),
            400..600 => self.deliver(),
            600..630 => self.echo(),
            630..780 => self.decide(),
            780..810 => self.join(),
            810..820 => self.leave(),
            820..835 => self.fall_asleep_or_wake(),
            940..955 => self.resize(),
            955..960 => self.say_goodbye(),
            835..900 => self.pass_time(),
            900..910 => self.set_the_wall_clock(),
            910..920 => self.disk_is_full = !self.disk_is_full,
            920..926 => self.disk.set_unreadable(self.random.bool()),
            926..936 => self.crash(),
            936..940 => self.stop(),
            _ => {}
        }
        // Several things may have happened before the loop looks.
        if self.random.u32(0..3) > 0 {
            self.turn();
        }
        if self.life.driver.is_none() {
            self.crash();
        }
    }

    /// Lets the loop do what it can, and looks at what it did.
    fn turn(&mut self) {
        if let Some(driver) = &mut self.life.driver
            && driver.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
        {
            self.life.driver = None;
        }
        self.look_at_workers();
        self.look_at_answers();
        self.look_at_waiters();
        self.look_at_counts();
        self.look_at_the_stop();
    }
}

/// What clients do.
impl World<'_> {
    fn submit(&mut self) {
        let count = self.random.usize(1..4);
        let tasks: Vec<_> = (0..count).map(|_| Arc::new(self.new_task())).collect();
        let ids = tasks.iter().map(|task| task.id).collect();
        for task in &tasks {
            self.oracle.submitted(task);
        }
        let key = self.submission_key();
        self.ask(What::Submit(ids), |reply| Request::Submit { tasks, key, reply });
    }

    /// Now and then one of few, so that some are used again, and some of those for another thing.
    fn submission_key(&mut self) -> Option<SubmissionKey> {
        let key = self.random.u8(0..100);
        let fingerprint = [self.random.u8(0..20) / 19; 32];
        (key < 30).then(|| SubmissionKey { key: key.to_string(), fingerprint })
    }

    fn new_task(&mut self) -> NewTask {
        self.tasks += 1;
        let random = &mut self.random;
        let now = self.time.wall();
        let later = SignedDuration::from_millis(random.i64(-5_000..20_000));
        let languages = [Language::Js, Language::Wasm, Language::Wasi];
        let surroundings = Surroundings {
            place: if random.u32(0..6) == 0 { Place::Tab } else { Place::Auto },
            engine: (random.u32(0..6) == 0).then_some(JsEngine::Quickjs),
            reuse: false,
        };
        let team = random.u32(0..4).to_string();
        NewTask {
            id: TaskId(Uuid::from_u128(self.tasks)),
            name: None,
            function: None,
            digest: Digest([1; 32]),
            artifact: None,
            language: languages[random.usize(0..3)],
            form: None,
            export: None,
            args: Arguments { values: Json::null(), encoding: None },
            stdin: None,
            limits: Limits { timeout_ms: random.u64(1..30_000), ..Limits::default() },
            surroundings,
            max_attempts: random.u32(1..4),
            priority: random.i32(-1..2),
            queue_bytes: 100,
            labels: BTreeMap::from([("team".to_owned(), team)]),
            created_at: now,
            run_at: (random.u32(0..4) == 0)
                .then(|| Timestamp::saturating_add(now, later).expect("in range")),
        }
    }

    fn cancel(&mut self) {
        let Some(task) = self.known_task() else { return };
        self.oracle.cancel_asked(task);
        self.ask(What::Cancel(task), |reply| Request::Cancel { task, reply });
    }

    fn delete(&mut self) {
        let Some(task) = self.known_task() else { return };
        self.oracle.delete_asked(task);
        self.ask(What::Delete(task), |reply| Request::Delete { task, reply });
    }

    fn ask(
        &mut self,
        what: What,
        request: impl FnOnce(oneshot::Sender<Result<bool, Refused>>) -> Request,
    ) {
        let (reply, answer) = oneshot::channel();
        if self.life.request(request(reply)) {
            let comes_too_late = self.oracle.has_stopped;
            self.asked.push(Asked { what, comes_too_late, answer });
        }
    }

    fn wait(&mut self) {
        let Some(task) = self.known_task() else { return };
        let (waiter, woken) = oneshot::channel();
        if self.life.request(Request::Wait { task, waiter }) {
            self.waiting.push((task, woken));
        }
    }

    /// Some task whose id anybody can have been told.
    fn known_task(&mut self) -> Option<TaskId> {
        self.oracle.any(&mut self.random).filter(|task| self.oracle.has_been_there(*task))
    }

    fn look_at_answers(&mut self) {
        for mut asked in std::mem::take(&mut self.asked) {
            match asked.answer.try_recv() {
                Err(TryRecvError::Empty) => self.asked.push(asked),
                Err(TryRecvError::Closed) => assert!(self.life.driver.is_none(), "no answer"),
                Ok(answer) => self.look_at_answer(&asked, &answer),
            }
        }
    }

    fn look_at_answer(&mut self, asked: &Asked, answer: &Result<bool, Refused>) {
        match &asked.what {
            What::Submit(tasks) => {
                assert!(!(asked.comes_too_late && answer.is_ok()), "accepted after the stop");
                self.oracle.submission_answered(tasks, answer);
            }
            What::Cancel(task) if answer.is_ok() => self.oracle.told_of_its_end(*task),
            What::Delete(task) if answer.is_ok() => self.oracle.told_of_its_deletion(*task),
            What::Cancel(_) | What::Delete(_) => {}
        }
    }

    fn look_at_waiters(&mut self) {
        for (task, mut woken) in std::mem::take(&mut self.waiting) {
            match woken.try_recv() {
                Err(TryRecvError::Empty) => self.waiting.push((task, woken)),
                Err(TryRecvError::Closed) => {
                    let is_over = self.life.driver.is_none() || self.life.has_failed;
                    let is_over = is_over || self.life.stop.is_some();
                    assert!(is_over, "whoever waited for {task} waits for nothing");
                }
                Ok(()) => self.oracle.told_of_its_end(task),
            }
        }
        if self.life.has_failed && self.disk.held().is_none() {
            assert!(self.waiting.is_empty(), "the disk has failed, and somebody waits on");
        }
    }
}

/// What workers do.
impl World<'_> {
    fn join(&mut self) {
        if self.life.workers.len() < 4 {
            let slots = self.random.u32(0..4);
            let some = [Capability::Js, Capability::Wasm];
            let some = Capabilities::of(&some[..self.random.usize(0..3)]);
            let capabilities = if self.random.bool() { some } else { Capabilities::all() };
            let trust = if self.random.bool() { Trust::Tab } else { Trust::Joined };
            self.join_with(slots, trust, capabilities);
        }
    }

    fn join_with(&mut self, slots: u32, trust: Trust, capabilities: Capabilities) {
        self.workers += 1;
        let worker = WorkerId(Uuid::from_u128(self.workers));
        // Small, so that it is full now and then when a worker sleeps.
        let (sender, inbox) = mpsc::channel(slots as usize * 2 + 2);
        let name = "elsewhere".to_owned();
        let (kind, side) = (WorkerKind::Other, Side::Here);
        let newcomer = Newcomer { name, kind, trust, slots, capabilities, side };
        let session = Box::new(Session::new(newcomer, sender, None, self.time.wall()));
        let (reply, _) = oneshot::channel();
        self.oracle.met(worker, trust);
        if self.life.request(Request::Join { worker, session, reply }) {
            self.life.workers.push(Worker::new(worker, slots, inbox));
        }
    }

    fn leave(&mut self) {
        if let Some(which) = self.some_worker() {
            let worker = self.life.workers.remove(which);
            // What it has said is heard before, or not at all.
            self.wire.retain(|report| report.worker != worker.id);
            let farewell = Farewell::Left("it has gone".to_owned());
            self.life.hear(Report::left(worker.id, farewell));
        }
    }

    /// It says how many slots it has, or is told; the frames that tell it arrive in order.
    fn resize(&mut self) {
        let Some(which) = self.some_worker() else { return };
        let slots = self.random.u32(0..4);
        let worker = self.life.workers[which].id;
        if self.random.bool() {
            let (reply, _) = oneshot::channel();
            self.life.request(Request::Resize { worker, slots, reply });
        } else {
            self.life.workers[which].offers(slots);
            self.wire.push(Report::of(worker, vec![slots_frame(slots)]));
        }
    }

    fn say_goodbye(&mut self) {
        let Some(which) = self.some_worker() else { return };
        let worker = self.life.workers[which].id;
        self.oracle.says_goodbye(worker);
        let goodbye = WorkerToServer::Goodbye(frame::Goodbye {});
        self.wire.push(Report::of(worker, vec![goodbye]));
    }

    fn fall_asleep_or_wake(&mut self) {
        if let Some(which) = self.some_worker() {
            self.life.workers[which].sleeps ^= true;
        }
    }

    fn a_worker_acts(&mut self) {
        if let Some(which) = self.some_worker() {
            let report = self.life.workers[which].act(&mut self.random);
            self.wire.extend(report);
        }
    }

    fn some_worker(&mut self) -> Option<usize> {
        let count = self.life.workers.len();
        (count > 0).then(|| self.random.usize(..count))
    }

    /// What was said arrives: mostly in order, sometimes not, sometimes twice.
    fn deliver(&mut self) {
        if self.wire.is_empty() {
            return;
        }
        let in_order = self.random.u32(0..4) > 0;
        let which = if in_order { 0 } else { self.random.usize(..self.wire.len()) };
        let report = self.wire.remove(which);
        if self.random.u32(0..8) == 0 {
            self.echoes.push(copy(&report, report.worker));
        }
        if !self.life.hear(report) {
            // Nobody takes it any more: it is lost with the connection.
            self.wire.retain(|it| self.life.workers.iter().any(|worker| worker.id == it.worker));
        }
    }

    /// What was said long ago is said again, by whoever it was or by somebody else.
    fn echo(&mut self) {
        if self.echoes.is_empty() {
            return;
        }
        let which = self.random.usize(..self.echoes.len());
        let speaker = match self.some_worker() {
            Some(other) if self.random.bool() => self.life.workers[other].id,
            _ => self.echoes[which].worker,
        };
        let echo = copy(&self.echoes[which], speaker);
        self.life.hear(echo);
    }

    fn look_at_workers(&mut self) {
        let (random, oracle) = (&mut self.random, &self.oracle);
        self.life.workers.retain_mut(|worker| worker.sleeps || worker.receive(random, oracle));
    }
}

/// What disks, clocks and power supplies do.
impl World<'_> {
    fn decide(&mut self) {
        let fate = match self.random.u32(0..400) {
            _ if self.disk_is_full => Fate::Full,
            0 => Fate::Failed { written: self.random.bool() },
            1..16 => Fate::Full,
            _ => Fate::Written,
        };
        self.decide_on(fate);
    }

    fn decide_on(&mut self, fate: Fate) {
        let Some(writes) = self.disk.held() else { return };
        if matches!(fate, Fate::Written | Fate::Failed { written: true }) {
            self.history.write(format!("{writes:?}").as_bytes());
            self.oracle.written(&writes);
        }
        self.life.is_stalled = fate != Fate::Written;
        self.life.has_failed |= matches!(fate, Fate::Failed { .. });
        self.disk.decide(fate);
    }

    fn pass_time(&mut self) {
        let ms = match self.random.u32(0..10) {
            0..5 => self.random.u32(0..100),
            5..9 => self.random.u32(0..3_000),
            _ => self.random.u32(0..30_000),
        };
        self.time.pass_ms(ms);
    }

    fn set_the_wall_clock(&mut self) {
        self.time.set_wall_by_ms(self.random.i64(-3_600_000..3_600_000));
    }

    /// The node is gone, in the middle of whatever it was doing, and another begins.
    fn crash(&mut self) {
        let held = self.disk.held();
        let held_is_written = self.random.bool();
        if let Some(writes) = held.filter(|_| held_is_written) {
            self.history.write(format!("{writes:?}").as_bytes());
            self.oracle.written(&writes);
        }
        self.disk = self.disk.after_crash(held_is_written);
        self.disk.hold();
        self.asked.clear();
        self.waiting.clear();
        (self.oracle.stopping, self.oracle.has_stopped) = (false, false);
        self.life = Life::begin((self.wrap)(self.disk.clone()), &self.time);
    }

    fn stop(&mut self) {
        if self.life.stop.is_some() {
            return;
        }
        let (done, ended) = oneshot::channel();
        if self.life.request(Request::Stop { done }) {
            self.life.stop = Some(ended);
            self.oracle.stopping = true;
        }
    }

    fn look_at_the_stop(&mut self) {
        let Some(stop) = &mut self.life.stop else { return };
        if stop.try_recv().is_ok() && !self.life.is_stalled && !self.life.has_failed {
            assert_eq!(self.oracle.counts().1, 0, "it has stopped and something runs");
        }
        // Reports that had arrived were taken before it, and what they led to is written.
        self.oracle.has_stopped |= self.is_idle();
    }

    /// When the loop has nothing left to do, what it says of itself is what the disk has.
    fn look_at_counts(&mut self) {
        if self.is_idle() {
            let Counts { queued, running, .. } = self.life.engine.counts();
            assert_eq!((queued, running), self.oracle.counts(), "(queued, running)");
        }
    }

    /// Whether the loop waits for something to happen, and nothing has.
    fn is_idle(&self) -> bool {
        let life = &self.life;
        life.driver.is_some()
            && life.has_recovered.load(Ordering::Relaxed)
            && !life.is_stalled
            && !life.has_failed
            && self.disk.held().is_none()
            && life.engine.requests.capacity() == life.engine.requests.max_capacity()
            && life.reports.capacity() == life.reports.max_capacity()
    }
}

/// How it ends.
impl World<'_> {
    /// From now on nothing goes wrong, and all that was accepted must end.
    fn come_to_rest(&mut self) {
        if self.life.stop.is_some() {
            self.await_the_stop();
        }
        self.disk_is_full = false;
        if self.life.has_failed || self.life.stop.is_some() {
            self.crash();
        }
        for round in 0..REST_ROUNDS_MAX {
            if self.life.driver.is_none() {
                self.crash();
            }
            self.disk.set_unreadable(false);
            self.decide_on(Fate::Written);
            self.turn();
            // Every now and then: a bad one may have been closed, or hold all it can.
            if round % 20 == 0 {
                self.join_with(3, Trust::Joined, Capabilities::all());
                self.join_with(3, Trust::Tab, Capabilities::all());
            }
            for worker in &mut self.life.workers {
                worker.sleeps = false;
                self.wire.extend(worker.finish_all());
            }
            while !self.wire.is_empty() {
                self.life.hear(self.wire.remove(0));
            }
            self.turn();
            let is_quiet = self.asked.is_empty() && self.waiting.is_empty();
            if is_quiet && self.disk.held().is_none() && self.oracle.all_ended() {
                return;
            }
            self.time.pass_ms(5_000);
        }
        panic!("it does not come to rest: {:?} (queued, running)", self.oracle.counts());
    }

    /// A node that is told to stop does, even if its disk is full and its workers obey nothing.
    fn await_the_stop(&mut self) {
        for _ in 0..100 {
            if self.life.driver.is_none() {
                return;
            }
            self.decide();
            self.turn();
            self.time.pass_ms(1_000);
        }
        panic!("it does not stop");
    }

    fn look_back(&self) {
        let mut context = Context::from_waker(Waker::noop());
        for id in self.oracle.tasks() {
            let Poll::Ready(found) = self.disk.task(id).as_mut().poll(&mut context) else {
                panic!("memory answers at once");
            };
            self.oracle.settled(id, found.expect("readable").as_ref());
        }
    }
}

impl Life {
    fn begin(store: Arc<dyn TaskStore>, time: &SimulatedTime) -> Self {
        let config = EngineConfig {
            queue_tasks_max: QUEUE_TASKS_MAX,
            fair_label: Some("team".to_owned()),
            ..EngineConfig::new("node".to_owned(), 0)
        };
        let clock = Clock::of(Arc::new(time.clone()));
        let (engine, mut driver) = Engine::new(&config, store, clock);
        let (shared, reports) = (Arc::clone(&engine.shared), driver.reports());
        let has_recovered = Arc::new(AtomicBool::new(false));
        let recovered = Arc::clone(&has_recovered);
        let driver = async move {
            // A node that cannot take up what was left does not start.
            if driver.recover().await.is_ok() {
                shared.count(&driver.scheduler, 0);
                recovered.store(true, Ordering::Relaxed);
                driver.run().await;
            }
        };
        Self {
            engine,
            driver: Some(Box::pin(driver)),
            has_recovered,
            reports,
            workers: Vec::new(),
            is_stalled: false,
            has_failed: false,
            stop: None,
        }
    }

    /// Asks the loop, if it can be asked.
    fn request(&self, request: Request) -> bool {
        self.has_recovered.load(Ordering::Relaxed) && self.engine.requests.try_send(request).is_ok()
    }

    fn hear(&self, report: Report) -> bool {
        self.reports.try_send(report).is_ok()
    }
}

/// The same said again, by whoever says it now: output bears its speaker's mark. What it said of
/// itself nobody says in its place.
fn copy(report: &Report, speaker: WorkerId) -> Report {
    let mut frames = report.frames.clone();
    frames.retain(|frame| frame.attempt().is_some());
    for frame in &mut frames {
        if let WorkerToServer::Log(frame::Log { task, attempt, text, .. }) = frame {
            *text = mark(&speaker.to_string(), *task, *attempt);
        }
    }
    Report::of(speaker, frames)
}

fn slots_frame(slots: u32) -> WorkerToServer {
    WorkerToServer::Slots(frame::Slots { slots })
}
