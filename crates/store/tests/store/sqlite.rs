//! What a store in a file promises beside the contract.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use runabout_protocol::{
    Arguments, Attempt, Digest, FunctionName, Language, Manifest, Missed, Outcome, TaskId,
    TaskRequest, TaskState,
};
use runabout_store::{
    EndpointRecord, Error, Health, NewTask, NewVersion, Portion, ROW_BYTES_MAX, ScheduleRecord,
    Store, TaskFilter, Write,
};
use tempfile::TempDir;

use crate::fixtures::{
    artifact, at, attempt_ended, began, checkpoint, ended, id, json, log, new_task, returned,
};

struct World {
    dir: TempDir,
    store: Store,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let store = open(dir.path());
        Self { dir, store }
    }

    /// Closes the store and opens it again, as a node does that is started again.
    fn reopen(self) -> Self {
        drop(self.store);
        let store = open(self.dir.path());
        Self { dir: self.dir, store }
    }

    async fn commit(&self, writes: Vec<Write>) {
        self.store.commit(writes).await.expect("committed");
    }

    async fn accept(&self, tasks: impl IntoIterator<Item = NewTask>) {
        let accepted = |task| Write::TaskAccepted(Arc::new(task));
        self.commit(tasks.into_iter().map(accepted).collect()).await;
    }

    async fn list(&self, filter: TaskFilter) -> Vec<TaskId> {
        let filter = TaskFilter { limit: 100, ..filter };
        let page = self.store.tasks(&filter).await.expect("listed");
        page.items.iter().map(|task| task.id).collect()
    }
}

fn open(path: &Path) -> Store {
    Store::open(path).expect("opens")
}

fn version(name: &str, byte: u8) -> NewVersion {
    NewVersion {
        name: name.parse().expect("a name"),
        digest: Digest([byte; 32]),
        language: Language::Wasm,
        form: None,
        exports: vec!["fib".to_owned()],
        manifest: Manifest::default(),
        created_at: at(0),
    }
}

fn name(text: &str) -> FunctionName {
    text.parse().expect("a name")
}

#[tokio::test]
async fn a_failed_attempt_is_no_outcome_of_a_task_that_is_tried_again() {
    let world = World::new();
    world.accept([new_task(1)]).await;
    let threw = Outcome::threw("Error", "no");
    let queued = Write::TaskQueued { task: id(1), ready_at: at(9), failures: 1, lost: 0 };
    world.commit(vec![began(1, 1), attempt_ended(1, 1, threw.clone()), queued]).await;

    let task = world.store.task(id(1)).await.expect("read").expect("there");
    assert_eq!((task.state, task.outcome, task.usage), (TaskState::Queued, None, None));
    let attempts = world.store.attempts(id(1)).await.expect("read").expect("there");
    assert_eq!(attempts.len(), 1);
    assert_eq!(attempts[0].outcome, Some(threw));

    let cancelled = ended(1, TaskState::Cancelled, Some(Outcome::Cancelled));
    world.commit(vec![cancelled]).await;
    let task = world.store.task(id(1)).await.expect("read").expect("there");
    assert_eq!((task.outcome, task.usage), (Some(Outcome::Cancelled), None));
}

#[tokio::test]
async fn logs_come_in_order_and_by_attempt() {
    let world = World::new();
    world.accept([new_task(1)]).await;
    let lines = vec![began(1, 1), log(1, 1, 1, "b"), log(1, 1, 0, "a")];
    world.commit(lines).await;
    let lost = Outcome::Lost { attempts: 1 };
    world.commit(vec![attempt_ended(1, 1, lost), began(1, 2)]).await;
    let truncated = Write::OutputTruncated { task: id(1), attempt: Attempt(1) };
    world.commit(vec![log(1, 2, 0, "c"), truncated]).await;

    let logs = async |attempt| {
        let logs = world.store.logs(id(1), attempt).await.expect("read").expect("there");
        let texts: Vec<String> = logs.items.into_iter().map(|line| line.text).collect();
        (texts.concat(), logs.truncated)
    };
    assert_eq!(logs(None).await, ("abc".to_owned(), true));
    assert_eq!(logs(Some(Attempt(2))).await, ("c".to_owned(), false));
    assert_eq!(world.store.logs(id(9), None).await, Ok(None));
    assert_eq!(world.store.attempts(id(9)).await, Ok(None));
}

#[tokio::test]
async fn lines_are_read_on_from_a_place() {
    let world = World::new();
    world.accept([new_task(1)]).await;
    world.commit(vec![began(1, 1), log(1, 1, 0, "a"), log(1, 1, 1, "b")]).await;
    let truncated = Write::OutputTruncated { task: id(1), attempt: Attempt(1) };
    world.commit(vec![truncated, attempt_ended(1, 1, returned("1")), began(1, 2)]).await;
    world.commit(vec![log(1, 2, 0, "c"), log(1, 3, 0, "d")]).await;

    let texts = async |after, lines_max| {
        let lines = world.store.log_lines(id(1), after, Attempt(2), (lines_max, 1 << 20)).await;
        let lines = lines.expect("read").expect("there");
        lines.items.into_iter().map(|line| line.text).collect::<String>()
    };
    assert_eq!(texts(None, 10).await, "abc");
    assert_eq!(texts(None, 2).await, "ab");
    assert_eq!(texts(Some((Attempt(1), 0)), 10).await, "bc");
    assert_eq!(texts(Some((Attempt(1), 1)), 10).await, "c");
    assert_eq!(texts(Some((Attempt(2), 0)), 10).await, "");
    let few = world.store.log_lines(id(1), None, Attempt(2), (10, 1)).await;
    let few = few.expect("read").expect("there");
    assert_eq!((few.items.len(), few.more), (1, true));
    let truncated = async |attempt| world.store.is_truncated(id(1), Attempt(attempt)).await;
    assert_eq!((truncated(1).await, truncated(2).await), (Ok(true), Ok(false)));
    assert_eq!(world.store.log_lines(id(9), None, Attempt(1), (1, 1)).await, Ok(None));
}

#[tokio::test]
async fn a_deleted_task_leaves_nothing_and_late_facts_about_it_write_nothing() {
    let world = World::new();
    let labels = BTreeMap::from([("k".to_owned(), "v".to_owned())]);
    world.accept([NewTask { labels, ..new_task(1) }]).await;
    let state = Write::Checkpoint { task: id(1), checkpoint: checkpoint("1") };
    world.commit(vec![began(1, 1), log(1, 1, 0, "x"), state.clone()]).await;
    world.commit(vec![Write::TaskDeleted(id(1))]).await;
    let late = vec![log(1, 1, 1, "y"), state, ended(1, TaskState::Failed, None), began(1, 2)];
    world.commit(late).await;

    assert_eq!(world.store.task(id(1)).await, Ok(None));
    let dir = world.dir;
    drop(world.store);
    let db = rusqlite::Connection::open(dir.path().join("tasks.db")).expect("opens");
    for table in ["tasks", "inputs", "labels", "attempts", "logs", "checkpoints"] {
        let sql = format!("SELECT count(*) FROM {table}");
        let rows: i64 = db.query_row(&sql, (), |row| row.get(0)).expect("counted");
        assert_eq!(rows, 0, "{table}");
    }
}

#[tokio::test]
async fn tasks_are_found_by_each_filter_newest_first() {
    let world = World::new();
    let labels = BTreeMap::from([("team".to_owned(), "a".to_owned())]);
    world
        .accept([
            NewTask { name: Some("x".to_owned()), ..new_task(1) },
            NewTask { function: Some("fib@1".to_owned()), ..new_task(2) },
            NewTask { function: Some("fib@2".to_owned()), labels, ..new_task(3) },
            NewTask { name: Some("x".to_owned()), ..new_task(4) },
        ])
        .await;
    world.commit(vec![began(1, 1), ended(1, TaskState::Failed, None), began(2, 1)]).await;

    let all = TaskFilter::default;
    let label = |value: &str| Some(("team".to_owned(), value.to_owned()));
    let facts = [
        (all(), vec![4, 3, 2, 1]),
        (TaskFilter { name: Some("x".to_owned()), ..all() }, vec![4, 1]),
        (TaskFilter { function: Some("fib".to_owned()), ..all() }, vec![3, 2]),
        (TaskFilter { function: Some("fib@1".to_owned()), ..all() }, vec![2]),
        (TaskFilter { function: Some("fi".to_owned()), ..all() }, vec![]),
        (TaskFilter { label: label("a"), ..all() }, vec![3]),
        (TaskFilter { label: label("b"), ..all() }, vec![]),
        (TaskFilter { state: Some(TaskState::Queued), ..all() }, vec![4, 3]),
        (TaskFilter { state: Some(TaskState::Running), ..all() }, vec![2]),
        (TaskFilter { state: Some(TaskState::Failed), ..all() }, vec![1]),
        (TaskFilter { state: Some(TaskState::Succeeded), ..all() }, vec![]),
        (TaskFilter { state: Some(TaskState::Queued), label: label("a"), ..all() }, vec![3]),
    ];
    for (filter, expected) in facts {
        let expected: Vec<_> = expected.into_iter().map(id).collect();
        assert_eq!(world.list(filter.clone()).await, expected, "{filter:?}");
    }
}

#[tokio::test]
async fn pages_follow_each_other_even_if_the_cursor_was_deleted() {
    let world = World::new();
    world.accept((1..=5).map(new_task)).await;
    let page = |cursor| {
        let filter = TaskFilter { limit: 2, cursor, ..TaskFilter::default() };
        let store = world.store.clone();
        async move {
            let page = store.tasks(&filter).await.expect("listed");
            let ids: Vec<_> = page.items.iter().map(|task| task.id).collect();
            (ids, page.next_cursor)
        }
    };
    assert_eq!(page(None).await, (vec![id(5), id(4)], Some(id(4))));
    world.commit(vec![Write::TaskDeleted(id(4))]).await;
    assert_eq!(page(Some(id(4))).await, (vec![id(3), id(2)], Some(id(2))));
    assert_eq!(page(Some(id(2))).await, (vec![id(1)], None));
    assert_eq!(page(Some(id(1))).await, (vec![], None));
}

#[tokio::test]
async fn a_page_of_large_tasks_is_a_short_one() {
    let world = World::new();
    let large = |n| {
        let values = json(&format!("[\"{}\"]", "x".repeat(3 << 20)));
        NewTask { args: Arguments { values, encoding: None }, ..new_task(n) }
    };
    world.accept((1..=5).map(large)).await;
    let mut filter = TaskFilter { limit: 10, ..TaskFilter::default() };
    let mut pages = Vec::new();
    loop {
        let page = world.store.tasks(&filter).await.expect("listed");
        pages.push(page.items.len());
        filter.cursor = page.next_cursor;
        if filter.cursor.is_none() {
            break;
        }
    }
    assert_eq!(pages, [3, 2]);
}

#[tokio::test]
async fn artifacts_are_read_back_whether_small_or_large() {
    let world = World::new();
    for (byte, len, is_file) in [(1, ROW_BYTES_MAX, false), (2, ROW_BYTES_MAX + 1, true)] {
        let it = artifact(byte, len);
        assert_eq!(world.store.put_artifact(it.clone()).await, Ok(true));
        assert_eq!(world.store.put_artifact(it.clone()).await, Ok(false));
        let found = world.store.artifact(it.digest).await.expect("read");
        assert_eq!(found, Some((it.meta.clone(), it.bytes)));
        assert_eq!(world.store.artifact_meta(it.digest).await, Ok(Some(it.meta)));
        let hex = it.digest.hex();
        let path = world.dir.path().join("artifacts/sha256").join(&hex[..2]).join(&hex[2..]);
        assert_eq!(path.exists(), is_file);
    }
    assert_eq!(world.store.artifact(Digest([9; 32])).await, Ok(None));
}

#[tokio::test]
async fn version_numbers_are_never_used_again() {
    let world = World::new();
    let put = async |new| {
        let (version, created) = world.store.put_function(new).await.expect("put");
        (version.version, created)
    };
    assert_eq!(put(version("fib", 1)).await, (1, true));
    assert_eq!(put(version("fib", 1)).await, (1, false), "equal to the latest");
    assert_eq!(put(version("fib", 2)).await, (2, true));
    assert_eq!(put(version("fib", 1)).await, (3, true), "equal to an older one only");
    assert_eq!(world.store.delete_function(&name("fib")).await, Ok(true));
    assert_eq!(world.store.delete_function(&name("fib")).await, Ok(false));
    assert_eq!(put(version("fib", 1)).await, (4, true));
    let retries = Manifest { retries: Some(1), ..Manifest::default() };
    assert_eq!(put(NewVersion { manifest: retries, ..version("fib", 1) }).await, (5, true));
}

#[tokio::test]
async fn functions_are_found_by_name_and_version() {
    let world = World::new();
    for new in [version("b", 1), version("a", 1), version("a", 2)] {
        world.store.put_function(new).await.expect("put");
    }
    let latest = world.store.functions().await.expect("read");
    let latest: Vec<_> = latest.iter().map(|it| (it.name.as_str(), it.version)).collect();
    assert_eq!(latest, [("a", 2), ("b", 1)]);
    let find = async |text, version| {
        let found = world.store.function(&name(text), version).await.expect("read");
        found.map(|it| it.digest.0[0])
    };
    assert_eq!(find("a", None).await, Some(2));
    assert_eq!(find("a", Some(1)).await, Some(1));
    assert_eq!(find("a", Some(3)).await, None);
    assert_eq!(find("c", None).await, None);
    assert_eq!(world.store.versions(&name("a")).await.expect("read").len(), 2);
}

#[tokio::test]
async fn a_commit_that_cannot_be_applied_takes_no_other_with_it() {
    let world = World::new();
    world.accept([new_task(1)]).await;
    let twice = vec![
        Write::TaskAccepted(Arc::new(new_task(2))),
        Write::TaskAccepted(Arc::new(new_task(1))),
    ];
    let others = (3..20).map(|n| vec![Write::TaskAccepted(Arc::new(new_task(n)))]);
    let commits = others.chain([twice]).map(|writes| world.store.commit(writes));
    let mut results = futures::future::join_all(commits).await;
    assert!(matches!(results.pop(), Some(Err(Error::Other { .. }))));
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!(world.store.task(id(2)).await, Ok(None), "all or none");
    assert_eq!(world.list(TaskFilter::default()).await.len(), 18);
    assert_eq!(world.store.health(), Health::Working);
}

#[tokio::test]
async fn a_store_that_was_closed_leaves_one_file() {
    let World { dir, store } = World::new();
    store.task(id(1)).await.expect("read");
    drop(store);
    assert!(dir.path().join("tasks.db").exists());
    assert!(!dir.path().join("tasks.db-wal").exists());
}

#[tokio::test]
async fn a_second_node_cannot_open_the_same_directory() {
    let world = World::new();
    let second = Store::open(world.dir.path()).err();
    assert_eq!(second, Some(Error::InUse(world.dir.path().to_owned())));
    world.reopen();
}

#[tokio::test]
async fn a_store_of_a_newer_version_is_refused() {
    let World { dir, store } = World::new();
    drop(store);
    let db = rusqlite::Connection::open(dir.path().join("tasks.db")).expect("opens");
    db.pragma_update(None, "user_version", 99).expect("set");
    drop(db);
    let refused = Store::open(dir.path()).err();
    assert_eq!(refused, Some(Error::NewerVersion { found: 99, known: 4 }));
}

#[cfg(unix)]
#[tokio::test]
async fn nobody_else_may_look_into_the_data_directory() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("a/b");
    let store = open(&path);
    let mode = std::fs::metadata(&path).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    drop(store);
}

fn schedule(name: &str) -> ScheduleRecord {
    ScheduleRecord {
        name: name.parse().expect("a name"),
        cron: "30 4 * * *".to_owned(),
        time_zone: "Europe/Berlin".to_owned(),
        missed: Missed::RunAll,
        paused: false,
        task: TaskRequest {
            source: Some("1".to_owned()),
            args: Some(json("[1.0]")),
            ..Default::default()
        },
        created_at: at(1),
        updated_at: at(2),
        settled_at: at(3),
        last_due_at: None,
        last_task: None,
        last_error: None,
    }
}

#[tokio::test]
async fn schedules_are_kept_listed_by_name_and_removed() {
    let world = World::new();
    for name in ["c", "a", "b"] {
        world.store.put_schedule(schedule(name)).await.expect("put");
    }
    let changed = ScheduleRecord { paused: true, last_task: Some(id(7)), ..schedule("b") };
    world.store.put_schedule(changed.clone()).await.expect("put again");
    let world = world.reopen();
    let names = |page: Portion<ScheduleRecord>| {
        page.items.iter().map(|schedule| schedule.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(world.store.schedules("", 2).await.expect("listed")), ["a", "b"]);
    assert_eq!(names(world.store.schedules("b", 2).await.expect("listed")), ["c"]);
    assert_eq!(world.store.schedule(&changed.name).await, Ok(Some(changed.clone())));
    assert_eq!(world.store.delete_schedule(&changed.name).await, Ok(true));
    assert_eq!(world.store.delete_schedule(&changed.name).await, Ok(false));
    assert_eq!(world.store.schedule(&changed.name).await, Ok(None));
}

#[tokio::test]
async fn endpoints_are_kept_listed_by_path_and_removed() {
    let world = World::new();
    let endpoint = |path: &str, updated| EndpointRecord {
        endpoint: serde_json::from_value(serde_json::json!({
            "path": path, "function": "fib@3", "args": ["{n=30}", 1.0, {"a": null}],
        }))
        .expect("an endpoint"),
        created_at: at(1),
        updated_at: at(updated),
    };
    let both = vec![endpoint("/b", 1), endpoint("/a/{n}", 1)];
    world.store.put_endpoints(both).await.expect("put");
    world.store.put_endpoints(vec![endpoint("/b", 2)]).await.expect("put again");
    let world = world.reopen();
    let expected = vec![endpoint("/a/{n}", 1), endpoint("/b", 2)];
    assert_eq!(world.store.endpoints().await, Ok(expected));
    assert_eq!(world.store.delete_endpoint("/b").await, Ok(true));
    assert_eq!(world.store.delete_endpoint("/b").await, Ok(false));
    world.store.replace_endpoints(vec![endpoint("/c", 3)]).await.expect("replaced");
    assert_eq!(world.store.endpoints().await, Ok(vec![endpoint("/c", 3)]));
}

#[tokio::test]
async fn what_a_schedule_has_settled_never_goes_back() {
    let world = World::new();
    let name = schedule("a").name;
    world.store.put_schedule(schedule("a")).await.expect("put");
    let why = Some("no such function".to_owned());
    world.store.settle_schedule(&name, at(9), why.clone()).await.expect("settled");
    let found = world.store.schedule(&name).await.expect("read").expect("there");
    assert_eq!((found.settled_at, found.last_error), (at(9), why));

    let fired = Write::ScheduleFired { schedule: name.clone(), task: id(1), due_at: at(5) };
    world.commit(vec![fired]).await;
    world.store.settle_schedule(&name, at(4), None).await.expect("settled");
    let found = world.store.schedule(&name).await.expect("read").expect("there");
    assert_eq!((found.settled_at, found.last_error), (at(9), None));
    assert_eq!((found.last_due_at, found.last_task), (Some(at(5)), Some(id(1))));
}

#[tokio::test]
async fn a_firing_of_a_schedule_that_is_gone_writes_nothing() {
    let world = World::new();
    let name = schedule("a").name;
    let fired = Write::ScheduleFired { schedule: name.clone(), task: id(1), due_at: at(5) };
    world.commit(vec![fired]).await;
    assert_eq!(world.store.schedule(&name).await, Ok(None));
}
