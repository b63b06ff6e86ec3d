//! Stores of older versions. `fixtures/format-1.db` was written by the last version of the program
//! that knew format 1 alone, killed while a task ran; `fixtures/format-1.json` is what that version
//! then answered about its tasks. `format-2.db` and `format-2.json` are the same of format 2, with its
//! functions and schedules. All stay as they are.

use std::path::{Path, PathBuf};

use runabout_protocol::TaskId;
use runabout_store::{Error, Store, TaskFilter};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A data directory with a copy of the oldest fixture.
fn old_store() -> (TempDir, PathBuf) {
    store_of("format-1.db")
}

/// A data directory with a copy of a fixture.
fn store_of(name: &str) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("tasks.db");
    std::fs::copy(fixture(name), &path).expect("copied");
    (dir, path)
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// What the old version answered of each task: the task, its attempts, its logs.
fn answers() -> Vec<Value> {
    let text = std::fs::read_to_string(fixture("format-1.json")).expect("read");
    serde_json::from_str(&text).expect("JSON")
}

fn id_of(answer: &Value) -> TaskId {
    answer["task"]["id"].as_str().expect("has an id").parse().expect("an id")
}

fn format_of(path: &Path) -> i64 {
    let db = rusqlite::Connection::open(path).expect("opens");
    db.pragma_query_value(None, "user_version", |row| row.get(0)).expect("read")
}

async fn answer_of(store: &Store, id: TaskId) -> Value {
    let task = store.task(id).await.expect("read").expect("there");
    let attempts = store.attempts(id).await.expect("read").expect("there");
    let logs = store.logs(id, None).await.expect("read").expect("there");
    json!({
        "task": task,
        "attempts": attempts,
        "logs": {"items": logs.items, "truncated": logs.truncated},
    })
}

/// Fields that a newer version adds may stand beside those of the old answer.
fn check(old: &Value, new: &Value, place: &str) {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            for (name, old) in old {
                check(old, new.get(name).unwrap_or(&Value::Null), &format!("{place}.{name}"));
            }
        }
        (Value::Array(old), Value::Array(new)) => {
            assert_eq!(old.len(), new.len(), "{place}");
            for (index, (old, new)) in old.iter().zip(new).enumerate() {
                check(old, new, &format!("{place}[{index}]"));
            }
        }
        (old, new) => assert_eq!(old, new, "{place}"),
    }
}

#[tokio::test]
async fn every_record_of_an_old_store_reads_as_before() {
    let (dir, path) = old_store();
    assert_eq!(format_of(&path), 1);
    let store = Store::open(dir.path()).expect("opens");
    let answers = answers();
    assert_eq!(answers.len(), 8);
    for old in &answers {
        let new = answer_of(&store, id_of(old)).await;
        check(old, &new, old["task"]["state"].as_str().expect("has a state"));
    }
    let filter = TaskFilter { limit: 100, ..TaskFilter::default() };
    let listed = store.tasks(&filter).await.expect("listed").items;
    let newest_first: Vec<_> = answers.iter().rev().map(id_of).collect();
    assert_eq!(listed.iter().map(|task| task.id).collect::<Vec<_>>(), newest_first);
    let add = "add".parse().expect("a name");
    assert_eq!(store.versions(&add).await.expect("read").len(), 2);
    assert!(format_of(&path) > 1);
}

#[tokio::test]
async fn a_store_of_format_2_reads_as_before() {
    let (dir, path) = store_of("format-2.db");
    assert_eq!(format_of(&path), 2);
    let store = Store::open(dir.path()).expect("opens");
    let text = std::fs::read_to_string(fixture("format-2.json")).expect("read");
    let answers: Value = serde_json::from_str(&text).expect("JSON");
    let tasks = answers["tasks"].as_array().expect("a list");
    assert_eq!(tasks.len(), 8);
    for old in tasks {
        let new = answer_of(&store, id_of(old)).await;
        check(old, &new, old["task"]["name"].as_str().expect("has a name"));
    }
    let functions = store.functions().await.expect("read");
    check(&answers["functions"], &json!(functions), "functions");
    let schedules = store.schedules("", 10).await.expect("read").items;
    for (old, new) in answers["schedules"].as_array().expect("a list").iter().zip(&schedules) {
        let kept = json!({"name": new.name, "cron": new.cron, "time_zone": new.time_zone,
            "task": new.task, "missed": new.missed, "paused": new.paused});
        check(&kept, old, new.name.as_str());
    }
    assert_eq!(schedules.len(), 2);
    assert!(store.endpoints().await.expect("read").is_empty());
    assert!(format_of(&path) > 2);
}

#[tokio::test]
async fn what_an_old_store_had_not_finished_is_taken_up() {
    let (dir, _) = old_store();
    let store = Store::open(dir.path()).expect("opens");
    let unfinished = store.unfinished(None).await.expect("read");
    let states: Vec<_> = answers()
        .iter()
        .filter(|old| old["task"]["finished_at"].is_null())
        .map(|old| (id_of(old), old["task"]["state"] == "running"))
        .collect();
    assert_eq!(unfinished.iter().map(|it| (it.id, it.running)).collect::<Vec<_>>(), states);
    let running = unfinished.iter().find(|it| it.running).expect("one ran");
    let runs = store.runs(vec![(running.id, running.attempt)]).await.expect("read");
    let checkpoint = runs[0].checkpoint.as_ref().expect("it left one");
    assert_eq!(checkpoint.state.text(), r#"{"step":7}"#);
    for run in
        store.runs(unfinished.iter().map(|it| (it.id, it.attempt)).collect()).await.expect("read")
    {
        assert!(store.artifact(run.artifact).await.expect("read").is_some(), "{}", run.task);
    }
}

#[tokio::test]
async fn an_interrupted_migration_leaves_the_old_format() {
    let (dir, path) = old_store();
    // In the way of the migration's later half.
    let db = rusqlite::Connection::open(&path).expect("opens");
    db.execute_batch("CREATE TABLE schedules (in_the_way)").expect("created");
    let before = dump(&db);
    drop(db);
    let refused = Store::open(dir.path()).err().expect("refused").to_string();
    assert!(refused.contains("migrate"), "{refused}");

    assert_eq!(format_of(&path), 1);
    let db = rusqlite::Connection::open(&path).expect("opens");
    assert_eq!(dump(&db), before);
    db.execute_batch("DROP TABLE schedules").expect("dropped");
    drop(db);
    let store = Store::open(dir.path()).expect("opens now");
    for old in answers() {
        let new = answer_of(&store, id_of(&old)).await;
        check(&old, &new, "task");
    }
}

/// Everything in a database: its schema, and how many rows each table has.
fn dump(db: &rusqlite::Connection) -> Vec<(String, i64)> {
    let sql = "SELECT name, coalesce(sql, '') FROM sqlite_schema ORDER BY name";
    let mut statement = db.prepare(sql).expect("prepared");
    let rows = statement.query_map((), |row| Ok((row.get(0)?, row.get(1)?))).expect("read");
    let schema: Vec<(String, String)> = rows.collect::<Result<_, _>>().expect("read");
    let rows_of = |(name, sql): (String, String)| {
        let count = format!("SELECT count(*) FROM \"{name}\"");
        let rows = if sql.starts_with("CREATE TABLE") {
            db.query_row(&count, (), |row| row.get(0)).expect("counted")
        } else {
            -1
        };
        (sql, rows)
    };
    schema.into_iter().map(rows_of).collect()
}

#[tokio::test]
async fn what_is_no_store_is_refused_and_left_as_it_is() {
    let (dir, path) = old_store();
    let whole = std::fs::read(&path).expect("read");
    let of_others = {
        let other = dir.path().join("other.db");
        let db = rusqlite::Connection::open(&other).expect("opens");
        db.execute_batch("CREATE TABLE songs (title)").expect("created");
        drop(db);
        std::fs::read(&other).expect("read")
    };
    let mut damaged = whole.clone();
    damaged[..100].fill(0x5a);
    for (bytes, word) in [
        (b"not a database, and long enough to look at".repeat(50), "damaged"),
        (damaged, "damaged"),
        (whole[..whole.len() / 2].to_vec(), "damaged"),
        (of_others, "another program"),
    ] {
        std::fs::write(&path, &bytes).expect("written");
        let refused = Store::open(dir.path()).err().expect("refused");
        assert!(matches!(refused, Error::Other { .. }), "{refused:?}");
        let told = refused.to_string();
        assert!(told.contains("tasks.db") && told.contains(word), "{told}");
        assert_eq!(std::fs::read(&path).expect("read"), bytes, "{told}");
    }
}
