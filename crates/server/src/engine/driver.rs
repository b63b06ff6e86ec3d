//! The loop. Requests and reports that arrive together are decided together and written in one
//! transaction; while it is written, the next ones gather.

use std::collections::BTreeMap;
use std::sync::Arc;

use runabout_protocol::{
    Capability, JsEngine, Language, Place, Progress, Surroundings, TaskId, Trust, Worker, WorkerId,
    WorkerToServer, frame,
};
use runabout_scheduler::{
    Effect, Event, Lease, Needs, Restored, Rules, Scheduler, Sides, Step, Submission,
};
use runabout_store::{self as store, TaskStore, UnfinishedTask, Write};
use tokio::sync::{mpsc, oneshot};

use super::batch::{self, Answer, Batch};
use super::clock::Clock;
use super::inputs::Inputs;
use super::keyed::Keyed;
use super::own_worker::OwnWorker;
use super::sessions::{Report, Session, Sessions};
use super::shared::Shared;
use super::shares::Shares;
use super::waiters::Waiters;
use super::{EngineConfig, Refused, SubmissionKey};
use crate::events::{Events, Facts, Said};
use crate::metrics::EngineMeasures;

/// Reports that may wait for the loop; workers that have more to say wait to say it.
const REPORTS_MAX: usize = 256;

/// The most requests, and the most reports, in one turn.
const TURN_MAX: usize = 1_024;

/// When to try again after the queue was full. A guess: how fast it empties depends on the tasks.
const RETRY_AFTER_S: u64 = 5;

/// Where an answer is awaited.
pub(super) type Reply = oneshot::Sender<Result<bool, Refused>>;

/// What handles ask of the loop.
pub(super) enum Request {
    /// Accept tasks, all or none.
    Submit { tasks: Vec<Arc<store::NewTask>>, key: Option<SubmissionKey>, reply: Reply },
    /// Accept a schedule's tasks, all or none, and with them the fact of what they settle.
    Fire { tasks: Vec<Arc<store::NewTask>>, fired: Write, reply: Reply },
    /// End a task; answered with whether it had not ended.
    Cancel { task: TaskId, reply: Reply },
    /// Forget a task; answered with whether it had not ended.
    Delete { task: TaskId, reply: Reply },
    /// Say when a task has ended.
    Wait { task: TaskId, waiter: oneshot::Sender<()> },
    /// Put back what runs, and end.
    Stop { done: oneshot::Sender<()> },
    /// Give work to a worker from now on; answered once that is so.
    Join { worker: WorkerId, session: Box<Session>, reply: oneshot::Sender<()> },
    /// Give a worker more work or less, and tell it; answered with the worker, if it is there.
    Resize { worker: WorkerId, slots: u32, reply: oneshot::Sender<Option<Worker>> },
    /// Say who is there.
    Workers { reply: oneshot::Sender<Vec<Worker>> },
}

/// Why the loop cannot go on.
#[derive(Debug)]
pub(super) struct Halted(pub(super) String);

/// Everything the loop owns.
pub(super) struct Driver {
    pub(super) clock: Clock,
    pub(super) scheduler: Scheduler,
    shares: Shares,
    pub(super) store: Arc<dyn TaskStore>,
    pub(super) sessions: Sessions,
    pub(super) own_worker: Option<OwnWorker>,
    pub(super) node_name: String,
    pub(super) inputs: Inputs,
    pub(super) waiters: Waiters,
    pub(super) shared: Arc<Shared>,
    pub(super) events: Arc<Events>,
    pub(super) measures: EngineMeasures,
    pub(super) requests: mpsc::Receiver<Request>,
    reports: mpsc::Receiver<Report>,
    reports_sender: mpsc::Sender<Report>,
    pub(super) batch: Batch,
    /// Submissions under a key, which are looked up together before the turn ends.
    pub(super) keyed: Vec<Keyed>,
    /// Progress that is not written yet. By itself it causes no transaction.
    unwritten_progress: BTreeMap<TaskId, Progress>,
    /// Progress that listeners have not been told yet. Told at the end of each turn.
    untold_progress: Vec<Said>,
    /// Who waits for the end; not empty once the engine stops.
    pub(super) stopping: Vec<oneshot::Sender<()>>,
}

impl Driver {
    pub(super) fn new(
        config: &EngineConfig,
        (store, clock): (Arc<dyn TaskStore>, Clock),
        (shared, events): (Arc<Shared>, Arc<Events>),
        requests: mpsc::Receiver<Request>,
    ) -> Self {
        let (reports_sender, reports) = mpsc::channel(REPORTS_MAX);
        let rules = Rules {
            queue_tasks_max: config.queue_tasks_max,
            queue_bytes_max: config.queue_bytes_max,
            ..Rules::default()
        };
        Self {
            clock,
            scheduler: Scheduler::new(rules),
            shares: Shares::by(config.fair_label.clone()),
            store,
            sessions: Sessions::default(),
            own_worker: None,
            node_name: config.node_name.clone(),
            inputs: Inputs::default(),
            waiters: Waiters::default(),
            shared,
            events,
            measures: EngineMeasures::new(),
            requests,
            reports,
            reports_sender,
            batch: Batch::default(),
            keyed: Vec::new(),
            unwritten_progress: BTreeMap::new(),
            untold_progress: Vec::new(),
            stopping: Vec::new(),
        }
    }

    /// Where workers report.
    pub(super) fn reports(&self) -> mpsc::Sender<Report> {
        self.reports_sender.clone()
    }

    /// Takes up what the store has of an earlier life of the node.
    pub(super) async fn recover(&mut self) -> Result<(), store::Error> {
        let label = self.shares.label().map(str::to_owned);
        for task in self.store.unfinished(label).await? {
            let restored = self.restored(&task);
            self.step(Event::Restore(restored));
        }
        let writes = std::mem::take(&mut self.batch.writes);
        self.store.commit(Arc::new(writes)).await
    }

    /// Runs until it is asked to stop.
    pub(super) async fn run(mut self) {
        if let Err(Halted(reason)) = self.turns().await {
            tracing::error!(reason, "the engine runs no more tasks");
            self.sessions.end_all();
            self.refuse_until_stopped(&Refused::StorageFailed(reason)).await;
        }
        self.sessions.end_all();
        for done in self.stopping.drain(..) {
            // An error means that whoever stopped us has gone.
            let _ = done.send(());
        }
    }

    async fn turns(&mut self) -> Result<(), Halted> {
        while !self.is_done() {
            // What was done in the last turn may have led to something new.
            if self.batch.is_empty() {
                self.receive().await;
            }
            self.gather();
            self.take_keyed().await;
            // It may have had to wait: what has ended meanwhile is not overdue.
            self.gather_reports();
            self.step(Event::Tick);
            self.settle().await?;
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        !self.stopping.is_empty() && self.scheduler.running() == 0 && self.batch.is_empty()
    }

    /// Waits for something to happen.
    async fn receive(&mut self) {
        let alarm = self.scheduler.next_alarm().map(|moment| self.clock.sleep_until(moment));
        let alarm_rings = async {
            match alarm {
                Some(sleep) => sleep.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            Some(report) = self.reports.recv() => self.take_report(report),
            Some(request) = self.requests.recv() => self.take_request(request),
            () = alarm_rings => {}
        }
    }

    /// Takes whatever else has arrived.
    fn gather(&mut self) {
        self.gather_reports();
        for _ in 0..TURN_MAX {
            let Ok(request) = self.requests.try_recv() else { break };
            self.take_request(request);
        }
    }

    /// Takes the reports that have arrived. Before anything else: after a pause of the store, the
    /// end of an attempt may wait here while its deadline has passed.
    fn gather_reports(&mut self) {
        for _ in 0..TURN_MAX {
            let Ok(report) = self.reports.try_recv() else { break };
            self.take_report(report);
        }
    }

    pub(super) fn take_request(&mut self, request: Request) {
        match request {
            Request::Submit { tasks, key: None, reply } => {
                self.submit(tasks, reply);
            }
            Request::Submit { tasks, key: Some(key), reply } => {
                self.keyed.push(Keyed { tasks, key, reply });
            }
            Request::Fire { tasks, fired, reply } => {
                if self.submit(tasks, reply) {
                    self.batch.writes.push(fired);
                }
            }
            Request::Cancel { task, reply } => self.change(task, Event::Cancel(task), reply),
            Request::Delete { task, reply } => self.change(task, Event::Delete(task), reply),
            Request::Wait { task, waiter } => self.wait(task, waiter),
            Request::Stop { done } => {
                self.stopping.push(done);
                self.step(Event::Stop);
            }
            Request::Join { worker, session, reply } => {
                // An error means that it has gone; then its session says so next.
                if self.stopping.is_empty() {
                    self.join(worker, *session);
                    let _ = reply.send(());
                }
            }
            Request::Resize { worker, slots, reply } => {
                let _ = reply.send(self.order_resize(worker, slots));
            }
            Request::Workers { reply } => {
                let _ = reply.send(self.workers());
            }
        }
    }

    /// Whether the tasks were accepted, as far as it is for this turn to say.
    pub(super) fn submit(&mut self, tasks: Vec<Arc<store::NewTask>>, reply: Reply) -> bool {
        if !self.stopping.is_empty() {
            drop(reply.send(Err(Refused::Stopping)));
            return false;
        }
        let submissions = tasks.iter().map(|task| self.submission(task)).collect();
        let step = self.scheduler.step(self.clock.now(), Event::Submit(submissions));
        if step.effects.contains(&Effect::QueueFull) {
            self.absorb(step);
            drop(reply.send(Err(Refused::QueueFull { retry_after_s: RETRY_AFTER_S })));
            return false;
        }
        self.measures.submitted(tasks.len());
        let submitted = tasks.iter().map(|task| task.id).collect();
        for task in tasks {
            self.inputs.keep(Arc::clone(&task));
            self.batch.writes.push(Write::TaskAccepted(task));
        }
        // After the tasks themselves: it may say that one of them runs already.
        self.absorb(step);
        self.batch.answers.push(Answer { reply, value: Ok(true), submitted });
        true
    }

    fn change(&mut self, task: TaskId, event: Event, reply: Reply) {
        let value = self.scheduler.is_unfinished(task);
        self.step(event);
        self.batch.answers.push(Answer { reply, value: Ok(value), submitted: Vec::new() });
    }

    pub(super) fn wait(&mut self, task: TaskId, waiter: oneshot::Sender<()>) {
        let unfinished = self.scheduler.is_unfinished(task);
        self.waiters.add(task, waiter);
        if !unfinished {
            // After this turn's writes: it may have ended a moment ago.
            self.batch.effects.push(Effect::Ended(task));
        }
    }

    fn take_report(&mut self, report: Report) {
        let worker = report.worker;
        for frame in report.frames {
            let Some((task, attempt)) = frame.attempt() else {
                self.take_session_frame(worker, &frame);
                continue;
            };
            let lease = Lease { worker, task, attempt };
            if self.scheduler.is_held(lease) {
                self.take_frame(lease, frame);
            } else {
                self.measures.frame_ignored();
            }
        }
        for (task, attempt, why) in report.declined {
            let lease = Lease { worker, task, attempt };
            if self.scheduler.is_held(lease) {
                self.step(Event::Declined { lease, why });
            }
        }
        if let Some(name) = report.name {
            self.rename(worker, name);
        }
        if let Some(farewell) = report.left {
            self.close(worker, farewell);
        }
    }

    fn take_session_frame(&mut self, worker: WorkerId, frame: &WorkerToServer) {
        match frame {
            WorkerToServer::Slots(frame::Slots { slots }) => self.resize(worker, *slots),
            WorkerToServer::Goodbye(_) => self.retire(worker),
            // The session has answered them itself.
            _ => {}
        }
    }

    /// Takes a frame from the worker that holds its attempt. What would change the task, and not
    /// only that attempt's output, counts from the current attempt alone.
    fn take_frame(&mut self, lease: Lease, frame: WorkerToServer) {
        let Lease { task, attempt, .. } = lease;
        let current = self.scheduler.is_current(lease);
        match frame {
            WorkerToServer::Started(_) => self.step(Event::Started(lease)),
            WorkerToServer::Progress(frame::Progress { fraction, message, .. }) if current => {
                let progress = Progress { fraction, message };
                self.shared.set_progress(task, progress.clone());
                self.untold_progress.push(Said { task, attempt, progress: progress.clone() });
                self.unwritten_progress.insert(task, progress);
            }
            WorkerToServer::Checkpoint(kept) if current => {
                let checkpoint = kept.checkpoint();
                self.batch.writes.push(Write::Checkpoint { task, checkpoint });
            }
            WorkerToServer::Log(frame::Log { seq, stream, text, .. }) => {
                let at = self.clock.wall();
                self.batch.writes.push(Write::Log { task, attempt, seq, at, stream, text });
            }
            WorkerToServer::Finished(frame::Finished {
                outcome,
                mut usage,
                output_truncated,
                ..
            }) => {
                if output_truncated {
                    self.batch.writes.push(Write::OutputTruncated { task, attempt });
                }
                if let Some(session) = self.sessions.get_mut(lease.worker) {
                    session.completed += 1;
                    usage.ran_on = Some(session.ran_on(lease.worker, usage.ran_on.take()));
                }
                self.step(Event::Finished { lease, outcome, usage });
            }
            WorkerToServer::Progress(_) | WorkerToServer::Checkpoint(_) => {}
            // These are about no attempt.
            WorkerToServer::Hello(_)
            | WorkerToServer::Pong(_)
            | WorkerToServer::Slots(_)
            | WorkerToServer::Goodbye(_) => {}
        }
    }

    /// Tells the scheduler, and adds what it decides to this turn.
    pub(super) fn step(&mut self, event: Event) {
        let step = self.scheduler.step(self.clock.now(), event);
        self.absorb(step);
    }

    fn absorb(&mut self, step: Step) {
        self.measures.decided(&step.writes);
        let sessions = &self.sessions;
        let trust =
            |lease: Lease| sessions.get(lease.worker).map_or(Trust::Tab, |it| it.newcomer.trust);
        let fact = |decision| batch::fact(decision, &self.clock, trust);
        self.batch.writes.extend(step.writes.into_iter().map(fact));
        self.batch.effects.extend(step.effects);
    }

    /// Makes this turn's writes durable, then answers, then does what is to be done.
    async fn settle(&mut self) -> Result<(), Halted> {
        let mut batch = std::mem::take(&mut self.batch);
        if !batch.writes.is_empty() {
            self.add_progress(&mut batch);
            self.measures.turn(batch.writes.len());
            self.commit(&mut batch).await?;
        }
        self.tell(Arc::default());
        batch.answer_all();
        self.perform(batch.effects).await;
        self.shared.count(&self.scheduler, self.sessions.distant());
        Ok(())
    }

    /// Tells listeners what is durable now; before it the progress that was heard in the same turn,
    /// as the attempt it came from may have ended in it.
    pub(super) fn tell(&mut self, written: Arc<Vec<Write>>) {
        let said = std::mem::take(&mut self.untold_progress);
        self.events.publish(Facts::Said(Arc::new(said)));
        self.events.publish(Facts::Written(written));
    }

    /// First, so that it counts for the attempt it came from and not for one that begins now.
    fn add_progress(&mut self, batch: &mut Batch) {
        let progress = std::mem::take(&mut self.unwritten_progress);
        let write = |(task, progress)| Write::Progress { task, progress };
        let later = std::mem::take(&mut batch.writes);
        batch.writes = progress.into_iter().map(write).chain(later).collect();
    }

    fn submission(&self, task: &store::NewTask) -> Submission {
        Submission {
            task: task.id,
            needs: needs(task.language, task.surroundings),
            priority: task.priority,
            share: self.shares.of(&task.labels),
            bytes: task.queue_bytes,
            timeout_ms: task.limits.timeout_ms,
            max_attempts: task.max_attempts,
            ready_at: task.run_at.map(|at| self.clock.moment(at)).unwrap_or_default(),
        }
    }

    fn restored(&self, task: &UnfinishedTask) -> Restored {
        Restored {
            submission: Submission {
                task: task.id,
                needs: needs(task.language, task.surroundings),
                priority: task.priority,
                share: self.shares.of_value(task.label.as_deref()),
                bytes: task.queue_bytes,
                timeout_ms: task.timeout_ms,
                max_attempts: task.max_attempts,
                ready_at: self.clock.moment(task.ready_at),
            },
            attempt: task.attempt,
            failures: task.failures,
            lost: task.lost,
            running: task.running,
        }
    }
}

/// What a task in such surroundings asks of a worker.
fn needs(language: Language, surroundings: Surroundings) -> Needs {
    let plain = Needs::of(language);
    let capability = match (language, surroundings.engine) {
        (Language::Js, Some(JsEngine::Quickjs)) => Capability::Quickjs,
        _ => plain.capability,
    };
    let (only, sides) = match surroundings.place {
        Place::Here => (Some(Trust::Node), Sides::Here),
        Place::Tab => (Some(Trust::Tab), Sides::Here),
        Place::Upstream => (None, Sides::Upstream),
        Place::Auto => (None, Sides::Both),
    };
    Needs { capability, only, sides }
}
