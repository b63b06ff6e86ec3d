//! What the store forgets, what it never forgets, and what a copy of it holds.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use runabout_protocol::{
    Arguments, Attempt, Digest, Form, Json, Language, Limits, Manifest, Outcome, Returned, Stream,
    Surroundings, TaskId, TaskState, Trust,
};
use runabout_store::{
    ArtifactMeta, Collection, Error, NewArtifact, NewTask, NewVersion, ROW_BYTES_MAX, Store,
    SubmissionWalk, TaskWalk, Write, backup,
};
use tempfile::TempDir;
use uuid::Uuid;

struct World {
    dir: TempDir,
    store: Store,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Store::open(dir.path()).expect("opens");
        Self { dir, store }
    }

    async fn commit(&self, writes: Vec<Write>) {
        self.store.commit(writes).await.expect("committed");
    }

    async fn accept(&self, tasks: impl IntoIterator<Item = NewTask>) {
        let accepted = |task| Write::TaskAccepted(Arc::new(task));
        self.commit(tasks.into_iter().map(accepted).collect()).await;
    }

    /// Takes a walk to its end; how many tasks it removed.
    async fn forget_tasks(&self, walk: &mut TaskWalk, before: Timestamp) -> u64 {
        let mut removed = 0;
        loop {
            let mut told = 0;
            let gone = |tasks: Vec<TaskId>| told += tasks.len() as u64;
            let step = self.store.forget_tasks(walk, before, gone).await.expect("forgotten");
            assert_eq!(told, step.removed);
            removed += step.removed;
            if !step.more {
                return removed;
            }
        }
    }

    async fn collect(&self, before: Timestamp) -> u64 {
        let mut collection = Collection::new(before);
        let mut removed = 0;
        loop {
            let step = collection.step(&self.store).await.expect("collected");
            removed += step.removed;
            if !step.more {
                return removed;
            }
        }
    }

    async fn has(&self, artifact: &NewArtifact) -> bool {
        self.store.artifact(artifact.digest).await.expect("read").is_some()
    }

    fn file_of(&self, artifact: &NewArtifact) -> PathBuf {
        let hex = artifact.digest.hex();
        self.dir.path().join("artifacts/sha256").join(&hex[..2]).join(&hex[2..])
    }

    /// How many rows each table of a task's has.
    fn rows(&self) -> Vec<(&'static str, i64)> {
        let db = rusqlite::Connection::open(self.dir.path().join("tasks.db")).expect("opens");
        let count = |table: &'static str| {
            let sql = format!("SELECT count(*) FROM {table}");
            (table, db.query_row(&sql, (), |row| row.get(0)).expect("counted"))
        };
        ["tasks", "inputs", "labels", "attempts", "logs", "checkpoints"].map(count).to_vec()
    }
}

fn id(n: u128) -> TaskId {
    TaskId(Uuid::from_u128(n))
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).expect("a time")
}

/// A day and more from now: whatever was handed in during a test is old then.
fn much_later() -> Timestamp {
    Timestamp::now() + Duration::from_secs(100_000)
}

fn new_task(n: u128, created_at: Timestamp) -> NewTask {
    NewTask {
        id: id(n),
        name: None,
        function: None,
        digest: Digest([7; 32]),
        artifact: None,
        language: Language::Js,
        form: Some(Form::Script),
        export: None,
        args: Arguments {
            values: Json::parse(format!("[\"{}\"]", "x".repeat(600))).expect("JSON"),
            encoding: None,
        },
        stdin: None,
        limits: Limits::default(),
        surroundings: Surroundings::default(),
        max_attempts: 1,
        priority: 0,
        queue_bytes: 1,
        labels: BTreeMap::from([("k".to_owned(), "v".to_owned())]),
        created_at,
        run_at: None,
    }
}

fn ended(n: u128, at: Timestamp) -> Vec<Write> {
    let (task, attempt) = (id(n), Attempt(1));
    let value = Json::parse("1".to_owned()).expect("JSON");
    let outcome = Some(Outcome::Returned(Returned { value, encoding: None }));
    let text = "a line".to_owned();
    vec![
        Write::AttemptBegan { task, attempt, worker: "w".to_owned(), trust: Trust::Node, at },
        Write::Log { task, attempt, seq: 0, at, stream: Stream::Stdout, text },
        Write::AttemptEnded { task, attempt, at, outcome, usage: None },
        Write::TaskEnded { task, at, state: TaskState::Succeeded, outcome: None, lost: 0 },
    ]
}

fn artifact(byte: u8, len: usize) -> NewArtifact {
    let meta = ArtifactMeta { language: Language::Js, form: Some(Form::Script), exports: vec![] };
    NewArtifact { digest: Digest([byte; 32]), meta, bytes: vec![byte; len].into() }
}

fn version(name: &str, artifact: &NewArtifact) -> NewVersion {
    NewVersion {
        name: name.parse().expect("a name"),
        digest: artifact.digest,
        language: Language::Js,
        form: Some(Form::Script),
        exports: vec![],
        manifest: Manifest::default(),
        created_at: at(0),
    }
}

const SMALL: usize = 10;
const LARGE: usize = ROW_BYTES_MAX + 1;

#[tokio::test]
async fn what_ended_long_ago_is_forgotten_with_all_that_belongs_to_it() {
    let world = World::new();
    world.accept((1..=1_200).map(|n| new_task(n, at(0)))).await;
    for n in 1..=1_200 {
        world.commit(ended(n, at(5))).await;
    }
    assert_eq!(world.forget_tasks(&mut TaskWalk::default(), at(6)).await, 1_200);
    assert_eq!(world.store.task(id(1)).await, Ok(None));
    for (table, rows) in world.rows() {
        assert_eq!(rows, 0, "{table}");
    }
}

#[tokio::test]
async fn what_ended_lately_or_not_at_all_is_kept() {
    let world = World::new();
    world.accept((1..=4).map(|n| new_task(n, at(0)))).await;
    world.accept([new_task(5, at(90))]).await;
    world.commit(ended(1, at(5))).await;
    world.commit(ended(2, at(60))).await;
    world.commit(ended(5, at(91))).await;
    world.commit(ended(3, at(7)).into_iter().take(1).collect()).await;

    let mut walk = TaskWalk::default();
    assert_eq!(world.forget_tasks(&mut walk, at(60)).await, 1);
    for (n, there) in [(1, false), (2, true), (3, true), (4, true), (5, true)] {
        assert_eq!(world.store.task(id(n)).await.expect("read").is_some(), there, "{n}");
    }
    // Those whose time comes later are removed by the same walk, also if others came before.
    assert_eq!(world.forget_tasks(&mut walk, at(100)).await, 2);
    for (n, there) in [(2, false), (3, true), (4, true), (5, false)] {
        assert_eq!(world.store.task(id(n)).await.expect("read").is_some(), there, "{n}");
    }
    // One that ran for long, and was passed while it did, is removed by a walk from the start.
    world.commit(ended(3, at(101)).into_iter().skip(3).collect()).await;
    assert_eq!(world.forget_tasks(&mut walk, at(200)).await, 0);
    assert_eq!(world.forget_tasks(&mut TaskWalk::default(), at(200)).await, 1);
    assert!(world.store.task(id(3)).await.expect("read").is_none());
}

#[tokio::test]
async fn a_clock_that_was_wrong_for_a_while_stops_no_walk() {
    let world = World::new();
    world.accept([new_task(1, at(1_000_000)), new_task(2, at(0))]).await;
    world.commit(ended(2, at(5))).await;
    assert_eq!(world.forget_tasks(&mut TaskWalk::default(), at(6)).await, 1);
    assert!(world.store.task(id(1)).await.expect("read").is_some());
}

#[tokio::test]
async fn facts_about_a_forgotten_task_write_nothing() {
    let world = World::new();
    world.accept([new_task(1, at(0))]).await;
    world.commit(ended(1, at(5))).await;
    assert_eq!(world.forget_tasks(&mut TaskWalk::default(), at(6)).await, 1);
    world.accept([new_task(2, at(0))]).await;
    world.commit(ended(1, at(9))).await;
    assert_eq!(world.store.task(id(1)).await, Ok(None));
    let other = world.store.task(id(2)).await.expect("read").expect("there");
    assert_eq!((other.state, other.attempt), (TaskState::Queued, Attempt(0)), "{other:?}");
}

#[tokio::test]
async fn the_record_of_a_submission_goes_after_its_last_task() {
    let world = World::new();
    world.accept([new_task(1, at(0)), new_task(2, at(0))]).await;
    let db = rusqlite::Connection::open(world.dir.path().join("tasks.db")).expect("opens");
    let record = |key: &str, second: i64, tasks: &[u128]| {
        let tasks: Vec<u8> = tasks.iter().flat_map(|n| n.to_be_bytes()).collect();
        let sql = "INSERT INTO submissions (key, fingerprint, tasks, created_ms)
             VALUES (?1, x'00', ?2, ?3)";
        let ms = at(second).as_millisecond();
        db.execute(sql, rusqlite::params![key, tasks, ms]).expect("written");
    };
    record("gone", 1, &[8, 9]);
    record("one is there", 1, &[9, 1]);
    record("young", 50, &[8]);
    record("also gone", 2, &[7]);
    let mut walk = SubmissionWalk::default();
    let mut removed = 0;
    loop {
        let step = world.store.forget_submissions(&mut walk, at(10)).await.expect("forgotten");
        removed += step.removed;
        if !step.more {
            break;
        }
    }
    assert_eq!(removed, 2);
    let sql = "SELECT group_concat(key, ',') FROM (SELECT key FROM submissions ORDER BY key)";
    let left: String = db.query_row(sql, (), |row| row.get(0)).expect("read");
    assert_eq!(left, "one is there,young");
}

#[tokio::test]
async fn artifacts_that_nothing_names_go_with_their_files() {
    let world = World::new();
    let (small, large) = (artifact(1, SMALL), artifact(2, LARGE));
    let (of_version, of_task) = (artifact(3, LARGE), artifact(4, LARGE));
    for it in [&small, &large, &of_version, &of_task] {
        world.store.put_artifact(it.clone()).await.expect("stored");
    }
    world.store.put_function(version("f", &of_version)).await.expect("deployed");
    world.accept([NewTask { digest: of_task.digest, ..new_task(1, at(0)) }]).await;

    let yesterday = Timestamp::now() - Duration::from_secs(100_000);
    assert_eq!(world.collect(yesterday).await, 0, "they were handed in a moment ago");
    assert_eq!(world.collect(much_later()).await, 2);
    for (it, there) in [(&small, false), (&large, false), (&of_version, true), (&of_task, true)] {
        assert_eq!(world.has(it).await, there, "{}", it.digest);
    }
    assert!(!world.file_of(&large).exists() && world.file_of(&of_task).exists());
}

#[tokio::test]
async fn an_artifact_outlives_the_function_that_named_it_for_a_while() {
    let world = World::new();
    let it = artifact(1, LARGE);
    world.store.put_artifact(it.clone()).await.expect("stored");
    world.store.put_function(version("f", &it)).await.expect("deployed");
    let db = rusqlite::Connection::open(world.dir.path().join("tasks.db")).expect("opens");
    db.execute("UPDATE artifacts SET stored_ms = 0", ()).expect("made old");
    world.store.delete_function(&"f".parse().expect("a name")).await.expect("deleted");
    // A task that is being bound to the version at this moment finds its artifact.
    let yesterday = Timestamp::now() - Duration::from_secs(100_000);
    assert_eq!(world.collect(yesterday).await, 0);
    assert!(world.has(&it).await);
    assert_eq!(world.collect(much_later()).await, 1);
}

#[tokio::test]
async fn an_artifact_handed_in_again_during_a_collection_is_kept() {
    let world = World::new();
    let it = artifact(1, LARGE);
    world.store.put_artifact(it.clone()).await.expect("stored");
    let db = rusqlite::Connection::open(world.dir.path().join("tasks.db")).expect("opens");
    db.execute("UPDATE artifacts SET stored_ms = 0", ()).expect("made old");

    let mut collection = Collection::new(Timestamp::now() - Duration::from_secs(100_000));
    // Far enough that it is about to be removed: it has been looked for among the tasks.
    for _ in 0..3 {
        collection.step(&world.store).await.expect("stepped");
    }
    world.store.put_artifact(it.clone()).await.expect("stored again");
    while collection.step(&world.store).await.expect("stepped").more {}
    assert!(world.has(&it).await);
}

#[tokio::test]
async fn uploads_and_collections_at_once_never_leave_a_row_without_its_file() {
    let world = World::new();
    let it = artifact(1, LARGE);
    for _ in 0..50 {
        let upload = world.store.put_artifact(it.clone());
        let (stored, _) = tokio::join!(upload, world.collect(much_later()));
        stored.expect("stored");
        // Whichever came first: what has a row can be read.
        if world.store.artifact_meta(it.digest).await.expect("read").is_some() {
            assert!(world.has(&it).await);
        }
    }
    world.store.put_artifact(it.clone()).await.expect("stored");
    assert!(world.has(&it).await);
}

#[tokio::test]
async fn files_without_a_row_are_found_after_a_day() {
    let world = World::new();
    let it = artifact(1, LARGE);
    world.store.put_artifact(it.clone()).await.expect("stored");
    let db = rusqlite::Connection::open(world.dir.path().join("tasks.db")).expect("opens");
    db.execute("DELETE FROM artifacts", ()).expect("deleted");
    let file = world.file_of(&it);
    let half = file.with_file_name(".tmpHalf");
    std::fs::write(&half, "ha").expect("written");

    let day_ago = Timestamp::now() - Duration::from_secs(86_400);
    assert_eq!(world.collect(day_ago).await, 0, "an upload may be under way");
    for path in [&file, &half] {
        let old = SystemTime::now() - Duration::from_secs(100_000);
        let opened = std::fs::File::options().append(true).open(path).expect("opens");
        opened.set_modified(old).expect("made old");
    }
    assert_eq!(world.collect(day_ago).await, 2);
    assert!(!file.exists() && !half.exists());
    world.store.put_artifact(it.clone()).await.expect("stored");
    assert!(world.has(&it).await);
}

#[tokio::test]
async fn a_copy_is_a_data_directory() {
    let world = World::new();
    let (small, large) = (artifact(1, SMALL), artifact(2, LARGE));
    let orphan = artifact(3, LARGE);
    for it in [&small, &large, &orphan] {
        world.store.put_artifact(it.clone()).await.expect("stored");
    }
    let db = rusqlite::Connection::open(world.dir.path().join("tasks.db")).expect("opens");
    db.execute("DELETE FROM artifacts WHERE digest = ?1", [orphan.digest.0]).expect("deleted");
    world.accept((1..=50).map(|n| new_task(n, at(0)))).await;
    std::fs::write(world.dir.path().join("node.id"), "id").expect("written");

    let to = world.dir.path().join("copies/first");
    let more = |copy: &Path| std::fs::write(copy.join("more"), "x").map_err(|_| Error::Full);
    let files = ["node.id", "absent"];
    let (copied, ()) = backup(world.dir.path(), &to, &files, more, |_| ()).expect("copied");
    assert!(to.join("more").is_file());
    assert_eq!((copied.artifacts, copied.artifact_bytes), (1, LARGE as u64));
    assert!(copied.database_bytes > 0);
    // What came later is not in it.
    world.accept([new_task(99, at(0))]).await;

    let copy =
        World { store: Store::open(&to).expect("opens"), dir: tempfile::tempdir().expect("d") };
    assert!(copy.has(&small).await && copy.has(&large).await && !copy.has(&orphan).await);
    assert!(copy.store.task(id(50)).await.expect("read").is_some());
    assert!(copy.store.task(id(99)).await.expect("read").is_none());
    assert_eq!(std::fs::read_to_string(to.join("node.id")).expect("there"), "id");
    let beside = std::fs::read_dir(world.dir.path().join("copies")).expect("there").count();
    assert_eq!(beside, 1, "nothing unfinished stays");
}

#[tokio::test]
async fn nothing_is_removed_while_somebody_copies() {
    let world = World::new();
    world.store.put_artifact(artifact(1, LARGE)).await.expect("stored");
    let lock = std::fs::File::open(world.dir.path().join("copying.lock")).expect("opens");
    lock.lock_shared().expect("locked");
    assert_eq!(world.collect(much_later()).await, 0);
    drop(lock);
    assert_eq!(world.collect(much_later()).await, 1);
}

/// Nothing to be added to a copy.
#[expect(clippy::unnecessary_wraps, reason = "what adds something may fail")]
fn nothing(_: &Path) -> Result<(), Error> {
    Ok(())
}

#[tokio::test]
async fn a_copy_to_which_something_cannot_be_added_is_none() {
    let world = World::new();
    let folder = tempfile::tempdir().expect("a folder");
    let to = folder.path().join("copy");
    let more = |copy: &Path| {
        std::fs::write(copy.join("half"), "x").expect("written");
        Err::<(), _>(Error::Full)
    };
    let refused = backup(world.dir.path(), &to, &[], more, |_| ());
    assert_eq!(refused, Err(Error::Full));
    assert_eq!(std::fs::read_dir(folder.path()).expect("there").count(), 0);
}

#[tokio::test]
async fn a_copy_never_replaces_anything() {
    let world = World::new();
    let refusal = |from: &Path, to: &Path| {
        backup(from, to, &[], nothing, |_| ()).expect_err("refused").to_string()
    };
    let to = tempfile::tempdir().expect("a directory");
    let empty = to.path().join("empty");
    std::fs::create_dir(&empty).expect("made");
    backup(world.dir.path(), &empty, &[], nothing, |_| ()).expect("an empty folder may become one");
    assert!(refusal(world.dir.path(), &empty).contains("not empty"));
    assert!(refusal(to.path(), &to.path().join("x")).contains("no tasks.db"));
    let file = to.path().join("file");
    std::fs::write(&file, "").expect("written");
    assert!(refusal(world.dir.path(), &file).contains("copy to"));
    assert!(matches!(
        backup(world.dir.path(), &file, &[], nothing, |_| ()).expect_err("refused"),
        Error::Other { .. }
    ));
}
