//! The engine with a real store and a worker that does what the test says.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use runabout_protocol::{
    Arguments, Attempt, Checkpoint, Digest, Form, Json, Language, Limits, Missed, Outcome,
    Returned, Run, ScheduleName, ServerToWorker, Stream, Surroundings, Task, TaskId, TaskRequest,
    TaskState, Trust, Usage, WorkerId, WorkerKind, WorkerToServer, frame,
};
use runabout_scheduler::Capabilities;
use runabout_scheduler::placement::Side;
use runabout_store::{ArtifactMeta, ScheduleRecord, Store};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::time::timeout;
use uuid::Uuid;

use super::clock::Clock;
use super::sessions::{Newcomer, Report, Session};
use super::{
    CancelRefused, DeleteRefused, Engine, EngineConfig, EngineTask, Firing, NewTask, Refused,
};

/// Nothing in these tests takes long; whatever does will never come.
const LONG: Duration = Duration::from_secs(20);

struct World {
    dir: TempDir,
    store: Store,
    engine: Engine,
    task: EngineTask,
    worker: Worker,
}

struct Worker {
    id: WorkerId,
    inbox: mpsc::Receiver<ServerToWorker>,
    reports: mpsc::Sender<Report>,
}

impl World {
    async fn new(slots: u32) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        Self::open(dir, EngineConfig::new("node".to_owned(), slots)).await
    }

    async fn open(dir: TempDir, config: EngineConfig) -> Self {
        let store = Store::open(dir.path()).expect("opens");
        let (engine, mut driver) = Engine::new(&config, Arc::new(store.clone()), Clock::start());
        driver.recover().await.expect("recovers");
        let id = WorkerId(Uuid::now_v7());
        let (sender, inbox) = mpsc::channel(64);
        let newcomer = Newcomer {
            name: "far away".to_owned(),
            kind: WorkerKind::Node,
            trust: Trust::Joined,
            slots: config.slots,
            capabilities: Capabilities::all(),
            side: Side::Here,
        };
        driver.join(id, Session::new(newcomer, sender, None, Timestamp::now()));
        let worker = Worker { id, inbox, reports: driver.reports() };
        let task = EngineTask { handle: tokio::spawn(driver.run()) };
        Self { dir, store, engine, task, worker }
    }

    /// Ends the node as a crash does, and starts another on the same directory.
    async fn crash(self) -> Self {
        self.crash_into(EngineConfig::new("node".to_owned(), 1)).await
    }

    async fn crash_into(self, config: EngineConfig) -> Self {
        let Self { dir, store, engine, mut task, worker } = self;
        task.handle.abort();
        assert!((&mut task.handle).await.is_err());
        drop((store, engine, worker));
        Self::open(dir, config).await
    }

    /// Makes the store refuse some statements, as a full disk does, until it is called with `""`.
    fn refuse(&self, statements: &str) {
        let db = rusqlite::Connection::open(self.dir.path().join("tasks.db")).expect("opens");
        db.busy_timeout(LONG).expect("set");
        db.execute_batch("DROP TRIGGER IF EXISTS refuse").expect("dropped");
        if !statements.is_empty() {
            let sql = format!(
                "CREATE TRIGGER refuse BEFORE {statements} ON tasks
                 BEGIN SELECT RAISE (ABORT, 'no room'); END"
            );
            db.execute_batch(&sql).expect("created");
        }
    }

    async fn submit(&self, name: &str) -> TaskId {
        self.engine.submit(new_task(name), None).await.expect("accepted").id
    }

    async fn get(&self, id: TaskId) -> Task {
        self.store.task(id).await.expect("read").expect("there")
    }

    async fn ended(&self, id: TaskId) -> Task {
        timeout(LONG, self.engine.wait(id)).await.expect("ends");
        self.get(id).await
    }
}

impl Worker {
    async fn frame(&mut self) -> ServerToWorker {
        timeout(LONG, self.inbox.recv()).await.expect("comes").expect("the session lasts")
    }

    async fn run(&mut self) -> Run {
        match self.frame().await {
            ServerToWorker::Run(run) => *run,
            other => panic!("{other:?}"),
        }
    }

    async fn say(&self, frames: Vec<WorkerToServer>) {
        self.reports.send(Report::of(self.id, frames)).await.expect("heard");
    }

    async fn finish(&self, run: &Run, outcome: Outcome) {
        self.say(vec![finished(run, outcome)]).await;
    }
}

fn finished(run: &Run, outcome: Outcome) -> WorkerToServer {
    let (task, attempt, usage) = (run.task, run.attempt, Usage::default());
    WorkerToServer::Finished(frame::Finished {
        task,
        attempt,
        outcome,
        usage,
        output_truncated: false,
    })
}

fn returned(text: &str) -> Outcome {
    Outcome::Returned(Returned { value: json(text), encoding: None })
}

fn json(text: &str) -> Json {
    Json::parse(text.to_owned()).expect("JSON")
}

fn new_task(name: &str) -> NewTask {
    let meta =
        ArtifactMeta { language: Language::Js, form: Some(Form::Script), exports: Vec::new() };
    NewTask {
        function: None,
        digest: Digest([3; 32]),
        artifact: Some((Bytes::from_static(b"1 + 2"), meta)),
        language: Language::Js,
        form: Some(Form::Script),
        export: None,
        args: Arguments { values: json("[1]"), encoding: None },
        stdin: None,
        name: Some(name.to_owned()),
        limits: Limits::default(),
        surroundings: Surroundings::default(),
        retries: 0,
        priority: 0,
        run_at: None,
        labels: BTreeMap::new(),
    }
}

#[tokio::test]
async fn a_task_is_stored_before_it_is_sent_and_its_end_before_it_is_told() {
    let mut world = World::new(1).await;
    let id = world.submit("a").await;
    let run = world.worker.run().await;
    assert_eq!((run.task, run.attempt, run.args.values.text()), (id, Attempt(1), "[1]"));
    let task = world.get(id).await;
    assert_eq!((task.state, task.attempt), (TaskState::Running, Attempt(1)));
    assert_eq!(task.worker, Some(world.worker.id.to_string()));
    assert_eq!(task.trust, Some(Trust::Joined));
    let (meta, bytes) =
        world.store.artifact(run.artifact).await.expect("read").expect("came with the task");
    assert_eq!((meta.form, &bytes[..]), (Some(Form::Script), &b"1 + 2"[..]));

    world.worker.finish(&run, returned("3")).await;
    let task = world.ended(id).await;
    assert_eq!((task.state, task.outcome), (TaskState::Succeeded, Some(returned("3"))));
    assert_eq!(task.usage.and_then(|usage| usage.ran_on).as_deref(), Some("far away"));
}

#[tokio::test]
async fn what_a_run_says_is_stored_by_the_time_it_has_finished() {
    let mut world = World::new(1).await;
    let id = world.submit("a").await;
    let run = world.worker.run().await;
    let (task, attempt) = (run.task, run.attempt);
    let log = |seq, text: &str| {
        WorkerToServer::Log(frame::Log {
            task,
            attempt,
            seq,
            stream: Stream::Stdout,
            text: text.to_owned(),
        })
    };
    let progress =
        WorkerToServer::Progress(frame::Progress { task, attempt, fraction: 0.5, message: None });
    let frames =
        vec![WorkerToServer::Started(frame::Started { task, attempt }), log(0, "a"), progress];
    world.worker.say(frames).await;
    world.worker.say(vec![log(1, "b"), finished(&run, returned("null"))]).await;

    let task = world.ended(id).await;
    assert_eq!(task.progress.map(|progress| progress.fraction), Some(0.5));
    let logs = world.store.logs(id, None).await.expect("read").expect("there");
    let texts: Vec<_> = logs.items.iter().map(|line| line.text.as_str()).collect();
    assert_eq!(texts, ["a", "b"]);
    assert_eq!(world.engine.progress(id), None);
}

#[tokio::test]
async fn frames_of_nobodys_attempt_change_nothing() {
    let mut world = World::new(1).await;
    let id = world.submit("a").await;
    let run = world.worker.run().await;
    let late = Run { attempt: Attempt(7), ..run.clone() };
    let state = Checkpoint { state: json("1"), encoding: None };
    let checkpoint = WorkerToServer::Checkpoint(frame::Checkpoint::of((id, Attempt(7)), state));
    world.worker.say(vec![checkpoint, finished(&late, returned("\"late\""))]).await;
    world.worker.finish(&run, returned("\"right\"")).await;
    assert_eq!(world.ended(id).await.outcome, Some(returned("\"right\"")));
}

#[tokio::test]
async fn after_a_crash_a_task_goes_on_from_its_checkpoint() {
    let mut world = World::new(1).await;
    let id = world.submit("a").await;
    let second = world.submit("b").await;
    let run = world.worker.run().await;
    let checkpoint = Checkpoint { state: json("[41]"), encoding: None };
    let (task, attempt) = (run.task, run.attempt);
    let frame =
        WorkerToServer::Checkpoint(frame::Checkpoint::of((task, attempt), checkpoint.clone()));
    let log = WorkerToServer::Log(frame::Log {
        task,
        attempt,
        seq: 0,
        stream: Stream::Stderr,
        text: "x".to_owned(),
    });
    world.worker.say(vec![log, frame]).await;
    // Requests are decided in the order of their turn: this one is written after the frames.
    while world.store.logs(id, None).await.expect("read").is_none_or(|it| it.items.is_empty()) {
        tokio::task::yield_now().await;
    }

    let mut world = world.crash().await;
    let run = world.worker.run().await;
    assert_eq!((run.task, run.attempt, run.checkpoint.clone()), (id, Attempt(2), Some(checkpoint)));
    world.worker.finish(&run, returned("42")).await;
    let task = world.ended(id).await;
    assert_eq!((task.state, task.lost), (TaskState::Succeeded, 1));
    let next = world.worker.run().await;
    assert_eq!((next.task, next.attempt), (second, Attempt(1)));
}

#[tokio::test]
async fn after_a_crash_tasks_take_turns_by_the_value_of_the_label() {
    let fair = |slots| {
        let fair_label = Some("team".to_owned());
        EngineConfig { fair_label, ..EngineConfig::new("node".to_owned(), slots) }
    };
    let world = World::open(tempfile::tempdir().expect("a directory"), fair(0)).await;
    let mut ids = Vec::new();
    for team in ["a", "a", "a", "b"] {
        let labels = BTreeMap::from([("team".to_owned(), team.to_owned())]);
        let task = NewTask { labels, ..new_task(team) };
        ids.push(world.engine.submit(task, None).await.expect("accepted").id);
    }
    let mut world = world.crash_into(fair(1)).await;
    for expected in [ids[0], ids[3], ids[1], ids[2]] {
        let run = world.worker.run().await;
        assert_eq!(run.task, expected);
        world.worker.finish(&run, returned("1")).await;
    }
}

#[tokio::test]
async fn a_cancelled_task_ends_at_once_and_its_worker_is_told() {
    let mut world = World::new(1).await;
    let id = world.submit("a").await;
    let run = world.worker.run().await;
    let task = world.engine.cancel(id).await.expect("cancelled");
    assert_eq!((task.state, task.outcome), (TaskState::Cancelled, Some(Outcome::Cancelled)));
    let cancel = ServerToWorker::Cancel(frame::Cancel { task: id, attempt: run.attempt });
    assert_eq!(world.worker.frame().await, cancel);

    world.worker.finish(&run, returned("1")).await;
    let Err(CancelRefused::AlreadyFinished(task)) = world.engine.cancel(id).await else {
        panic!("it had ended");
    };
    assert_eq!(task.outcome, Some(Outcome::Cancelled));
    let nobody = TaskId(Uuid::now_v7());
    assert_eq!(world.engine.cancel(nobody).await, Err(CancelRefused::NotFound));
}

#[tokio::test]
async fn a_deleted_task_is_gone_and_whoever_waits_for_it_is_woken() {
    let world = World::new(0).await;
    let id = world.submit("a").await;
    let (deleted, ()) = tokio::join!(world.engine.delete(id), world.engine.wait(id));
    assert_eq!(deleted, Ok(()));
    assert_eq!(world.store.task(id).await, Ok(None));
    assert_eq!(world.engine.delete(id).await, Err(DeleteRefused::NotFound));
    timeout(LONG, world.engine.wait(id)).await.expect("nothing to wait for");
}

#[tokio::test]
async fn a_full_queue_refuses_and_keeps_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = EngineConfig { queue_tasks_max: 2, ..EngineConfig::new("node".to_owned(), 0) };
    let world = World::open(dir, config).await;
    world.submit("a").await;
    let two = vec![new_task("b"), new_task("c")];
    let refused = world.engine.submit_all(two, None).await;
    assert_eq!(refused.err(), Some(Refused::QueueFull { retry_after_s: 5 }));
    assert_eq!(world.engine.counts().queued, 1);
    assert_eq!(world.store.unfinished(None).await.expect("read").len(), 1);
}

#[tokio::test]
async fn many_tasks_at_once_all_end_once() {
    let mut world = World::new(8).await;
    let submitted = (0..500).map(|_| world.engine.submit(new_task("many"), None));
    let (accepted, ()) = tokio::join!(futures::future::join_all(submitted), async {
        for _ in 0..500 {
            let run = world.worker.run().await;
            world.worker.finish(&run, returned("0")).await;
        }
    });
    for task in accepted {
        let task = world.ended(task.expect("accepted").id).await;
        assert_eq!((task.state, task.attempt), (TaskState::Succeeded, Attempt(1)));
    }
    assert_eq!((world.engine.counts().queued, world.engine.counts().running), (0, 0));
}

#[tokio::test]
async fn a_graceful_stop_puts_back_what_runs_and_refuses_what_comes() {
    let mut world = World::new(1).await;
    let id = world.submit("a").await;
    let run = world.worker.run().await;
    let stop = tokio::spawn({
        let engine = world.engine.clone();
        async move { engine.stop().await }
    });
    let cancel = ServerToWorker::Cancel(frame::Cancel { task: id, attempt: run.attempt });
    assert_eq!(world.worker.frame().await, cancel);
    assert_eq!(world.engine.submit(new_task("b"), None).await.err(), Some(Refused::Stopping));
    world.worker.finish(&run, Outcome::Cancelled).await;
    timeout(LONG, stop).await.expect("stops").expect("stops well");
    timeout(LONG, world.task.join()).await.expect("has ended");

    let task = world.store.task(id).await.expect("read").expect("there");
    assert_eq!((task.state, task.lost, task.outcome), (TaskState::Queued, 0, None));
    assert_eq!(world.engine.submit(new_task("c"), None).await.err(), Some(Refused::Stopping));
}

#[tokio::test]
async fn a_worker_that_has_gone_loses_its_attempts() {
    let mut world = World::new(1).await;
    let id = world.submit("a").await;
    world.worker.run().await;
    // Nobody takes the `cancel`.
    world.worker.inbox.close();
    world.engine.cancel(id).await.expect("cancelled");
    world.submit("b").await;
    assert_eq!(world.engine.counts().slots, 0);
}

#[tokio::test]
async fn a_submission_that_cannot_be_stored_is_refused_and_never_runs() {
    let mut world = World::new(1).await;
    world.refuse("INSERT");
    let refused = world.engine.submit(new_task("a"), None).await;
    assert!(matches!(refused, Err(Refused::StorageFailed(_))), "{refused:?}");
    assert_eq!(world.engine.counts().queued, 0);

    world.refuse("");
    let id = world.submit("b").await;
    assert_eq!(world.worker.run().await.task, id, "the slot was free");
}

#[tokio::test]
async fn a_schedules_tasks_are_stored_with_what_they_settle_or_not_at_all() {
    let world = World::new(0).await;
    let settled_at = jiff::Timestamp::from_second(1_000).expect("a time");
    let due_at = jiff::Timestamp::from_second(2_000).expect("a time");
    let schedule: ScheduleName = "nightly".parse().expect("a name");
    let record = ScheduleRecord {
        name: schedule.clone(),
        cron: "@daily".to_owned(),
        time_zone: "UTC".to_owned(),
        missed: Missed::RunAll,
        paused: false,
        task: TaskRequest::default(),
        created_at: settled_at,
        updated_at: settled_at,
        settled_at,
        last_due_at: None,
        last_task: None,
        last_error: Some("it was refused".to_owned()),
    };
    world.store.put_schedule(record.clone()).await.expect("put");
    let firing = Firing { schedule: schedule.clone(), due_at };
    let tasks = || vec![new_task("a"), new_task("b")];

    world.refuse("INSERT");
    let refused = world.engine.fire(tasks(), firing.clone()).await;
    assert!(matches!(refused, Err(Refused::StorageFailed(_))), "{refused:?}");
    assert_eq!(world.store.schedule(&schedule).await, Ok(Some(record.clone())));
    assert_eq!(world.engine.counts().queued, 0);

    world.refuse("");
    world.engine.fire(tasks(), firing).await.expect("accepted");
    let unfinished = world.store.unfinished(None).await.expect("read");
    let last_task = unfinished.last().map(|task| task.id);
    assert_eq!(unfinished.len(), 2);
    let last_due_at = Some(due_at);
    let fired =
        ScheduleRecord { settled_at: due_at, last_due_at, last_task, last_error: None, ..record };
    assert_eq!(world.store.schedule(&schedule).await, Ok(Some(fired)));
}

#[tokio::test]
async fn an_end_that_cannot_be_stored_is_told_when_it_can() {
    let mut world = World::new(1).await;
    let id = world.submit("a").await;
    let run = world.worker.run().await;
    world.refuse("UPDATE");
    world.worker.finish(&run, returned("1")).await;
    // Taken in the same turn as the end or while that is tried again; refused in either case.
    let refused = world.engine.submit(new_task("b"), None).await;
    assert!(matches!(refused, Err(Refused::StorageFailed(_))), "{refused:?}");
    assert_eq!(world.get(id).await.state, TaskState::Running);

    world.refuse("");
    assert_eq!(world.ended(id).await.outcome, Some(returned("1")));
    let next = world.submit("c").await;
    assert_eq!(world.worker.run().await.task, next, "what was refused does not run");
}
