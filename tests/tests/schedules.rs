//! Schedules, from the outside. No test waits for a minute to pass: while the node is stopped, its
//! store is told that the schedule has seen to nothing for a long time.

use std::collections::BTreeMap;

use jiff::{Timestamp, ToSpan, tz::TimeZone};
use reqwest::{Method, Response};
use runabout_tests::{Node, json_of, runabout};
use serde_json::{Value, json};

/// Once a year, so that no time comes while a test runs.
const YEARLY: &str = "0 0 1 1 *";

async fn put(node: &Node, name: &str, schedule: &Value) -> Response {
    let path = format!("/v1/schedules/{name}");
    node.request(Method::PUT, &path).json(schedule).send().await.expect("the node answers")
}

async fn show(node: &Node, name: &str) -> Value {
    json_of(node.get(&format!("/v1/schedules/{name}")).await).await
}

fn store(node: &Node) -> rusqlite::Connection {
    let db = rusqlite::Connection::open(node.data_dir().join("tasks.db")).expect("opens");
    db.busy_timeout(std::time::Duration::from_secs(30)).expect("set");
    db
}

/// Makes every schedule of a stopped node one that has seen to nothing since then.
fn settle_at(node: &Node, at: Timestamp) {
    let db = store(node);
    db.execute("UPDATE schedules SET settled_ms = ?1", [at.as_millisecond()]).expect("written");
}

/// The middle of the year before last: since then, two New Years have passed.
fn two_years_missed() -> (Timestamp, [String; 2]) {
    let year = Timestamp::now().to_zoned(TimeZone::UTC).year();
    let since = format!("{}-06-01T00:00:00Z", year - 2).parse().expect("a time");
    (since, [year - 1, year].map(|year| format!("{year}-01-01T00:00:00.000Z")))
}

/// Resolves when a schedule has dealt with what it had missed.
async fn settled(node: &Node, name: &str, since: Timestamp) {
    let db = store(node);
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(30);
    loop {
        let sql = "SELECT settled_ms FROM schedules WHERE name = ?1";
        let ms: i64 = db.query_row(sql, [name], |row| row.get(0)).expect("is there");
        if ms > since.as_millisecond() {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{name} did nothing");
        tokio::task::yield_now().await;
    }
}

/// The times that a schedule's tasks stand for, and how often.
async fn dues(node: &Node, name: &str) -> BTreeMap<String, usize> {
    let mut dues = BTreeMap::new();
    let first = format!("/v1/tasks?limit=500&label=schedule:{name}");
    let mut path = first.clone();
    loop {
        let page = json_of(node.get(&path).await).await;
        for task in page["items"].as_array().expect("is a list") {
            let due = task["labels"]["due"].as_str().expect("has its time").to_owned();
            *dues.entry(due).or_default() += 1;
        }
        let Some(cursor) = page["next_cursor"].as_str() else { return dues };
        path = format!("{first}&cursor={cursor}");
    }
}

#[tokio::test]
async fn a_schedule_is_put_paused_resumed_and_deleted() {
    let node = Node::start(&[]).await;
    let schedule = json!({
        "cron": "30 4 * * MON-FRI", "time_zone": "Europe/Berlin", "missed": "skip",
        "task": {"source": "1 + 2", "labels": {"team": "a"}}});
    let response = put(&node, "nightly", &schedule).await;
    assert_eq!(response.status(), 201);
    let made = json_of(response).await;
    for (member, value) in schedule.as_object().expect("an object") {
        assert_eq!(&made[member], value, "{made}");
    }
    assert_eq!((&made["name"], &made["paused"]), (&json!("nightly"), &json!(false)));
    let upcoming = made["upcoming"].as_array().expect("is a list");
    assert_eq!((upcoming.len(), &upcoming[0]), (5, &made["next_at"]));
    assert_eq!(made["last_task"], Value::Null);
    assert_eq!(show(&node, "nightly").await, made);

    let mut paused = schedule.clone();
    paused["paused"] = json!(true);
    let response = put(&node, "nightly", &paused).await;
    assert_eq!(response.status(), 200);
    let changed = json_of(response).await;
    assert_eq!((&changed["next_at"], &changed["upcoming"]), (&Value::Null, &json!([])));
    assert_eq!(changed["created_at"], made["created_at"]);
    let resumed = json_of(node.post("/v1/schedules/nightly/resume", &json!({})).await).await;
    assert_eq!((&resumed["paused"], &resumed["next_at"]), (&json!(false), &made["next_at"]));
    let paused = json_of(node.post("/v1/schedules/nightly/pause", &json!({})).await).await;
    assert_eq!(paused["paused"], true);

    put(&node, "another", &schedule).await;
    let page = json_of(node.get("/v1/schedules?limit=1").await).await;
    assert_eq!(
        (&page["items"][0]["name"], &page["next_cursor"]),
        (&json!("another"), &json!("another"))
    );
    let page = json_of(node.get("/v1/schedules?limit=1&cursor=another").await).await;
    assert_eq!((&page["items"][0], &page["next_cursor"]), (&paused, &Value::Null));

    for expected in [204, 404] {
        let path = "/v1/schedules/nightly";
        let deleted = node.request(Method::DELETE, path).send().await.expect("answers");
        assert_eq!(deleted.status(), expected);
    }
}

#[tokio::test]
async fn missed_times_follow_the_policy() {
    let mut node = Node::start(&[]).await;
    for policy in ["skip", "run_once", "run_all"] {
        let schedule =
            json!({"cron": YEARLY, "missed": policy, "task": {"source": "runabout.task.id"}});
        assert_eq!(put(&node, policy, &schedule).await.status(), 201);
    }
    let schedule =
        json!({"cron": YEARLY, "missed": "run_all", "paused": true, "task": {"source": "1"}});
    assert_eq!(put(&node, "paused", &schedule).await.status(), 201);
    assert!(node.terminate().await.success());
    let (since, [last_year, this_year]) = two_years_missed();
    settle_at(&node, since);

    let node = node.crash_and_restart(&[]).await;
    for policy in ["skip", "run_once", "run_all"] {
        settled(&node, policy, since).await;
    }
    assert_eq!(dues(&node, "skip").await, BTreeMap::new());
    assert_eq!(dues(&node, "run_once").await, BTreeMap::from([(this_year.clone(), 1)]));
    let both = BTreeMap::from([(last_year, 1), (this_year.clone(), 1)]);
    assert_eq!(dues(&node, "run_all").await, both);
    let shown = show(&node, "run_once").await;
    assert_eq!((&shown["last_due_at"], &shown["last_error"]), (&json!(this_year), &Value::Null));
    let task = node.finished(shown["last_task"].as_str().expect("has a task")).await;
    assert_eq!(
        (&task["outcome"]["value"], &task["labels"]["schedule"]),
        (&task["id"], &json!("run_once"))
    );

    // What passed while it rested is gone for good.
    let resumed = node.post("/v1/schedules/paused/resume", &json!({})).await;
    assert_eq!(resumed.status(), 200);
    let node = node.crash_and_restart(&[]).await;
    assert_eq!(dues(&node, "paused").await, BTreeMap::new());
    assert_eq!(dues(&node, "run_all").await, both, "nothing runs again");
}

#[tokio::test]
async fn a_function_that_is_gone_is_told_of_and_its_return_is_noticed() {
    let mut node = Node::start(&[]).await;
    let code = "export default () => 7";
    node.deploy("seven", "text/javascript", code).await;
    let schedule = json!({"cron": YEARLY, "task": {"function": "seven"}});
    assert_eq!(put(&node, "s", &schedule).await.status(), 201);
    let removed = node.request(Method::DELETE, "/v1/functions/seven").send().await;
    assert_eq!(removed.expect("answers").status(), 204);
    assert!(node.terminate().await.success());
    let (since, _) = two_years_missed();
    settle_at(&node, since);

    let mut node = node.crash_and_restart(&[]).await;
    settled(&node, "s", since).await;
    let shown = show(&node, "s").await;
    let error = shown["last_error"].as_str().expect("there is one");
    assert!(error.contains("seven"), "{error}");
    assert_eq!(dues(&node, "s").await, BTreeMap::new());
    node.deploy("seven", "text/javascript", code).await;
    assert!(node.terminate().await.success());
    settle_at(&node, since);

    let node = node.crash_and_restart(&[]).await;
    settled(&node, "s", since).await;
    let shown = show(&node, "s").await;
    assert_eq!(shown["last_error"], Value::Null);
    let task = node.finished(shown["last_task"].as_str().expect("has a task")).await;
    assert_eq!(task["outcome"]["value"], 7);
}

#[tokio::test]
async fn what_the_node_has_no_room_for_is_tried_again() {
    let mut node = Node::start(&[]).await;
    let schedule = json!({"cron": YEARLY, "task": {"source": "1"}});
    assert_eq!(put(&node, "s", &schedule).await.status(), 201);
    assert!(node.terminate().await.success());
    let (since, [_, this_year]) = two_years_missed();
    settle_at(&node, since);
    let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON tasks
         BEGIN SELECT RAISE (ABORT, 'no room'); END";
    store(&node).execute_batch(refuse).expect("created");

    let node = node.crash_and_restart(&[]).await;
    let refused = node.post("/v1/tasks", &json!({"source": "1"})).await;
    assert_eq!(refused.status(), 503);
    assert_eq!(show(&node, "s").await["last_task"], Value::Null);
    store(&node).execute_batch("DROP TRIGGER refuse").expect("dropped");
    settled(&node, "s", since).await;
    assert_eq!(dues(&node, "s").await, BTreeMap::from([(this_year, 1)]));
}

#[tokio::test]
async fn a_node_that_is_killed_while_it_fires_runs_each_time_once() {
    const MISSED: i64 = 900;
    let mut node = Node::start(&["--slots", "0"]).await;
    let schedule = json!({"cron": "* * * * *", "missed": "run_all", "task": {"source": "1"}});
    assert_eq!(put(&node, "s", &schedule).await.status(), 201);
    assert!(node.terminate().await.success());
    let since = Timestamp::now().checked_sub(MISSED.minutes()).expect("a time");
    settle_at(&node, since);
    // Ever a little later: while it starts, while it fires, when it has fired.
    for looks in 0..12 {
        node = node.crash_and_restart(&["--slots", "0"]).await;
        for _ in 0..looks {
            assert_eq!(node.get("/v1/schedules/s").await.status(), 200);
        }
    }
    let node = node.crash_and_restart(&["--slots", "0"]).await;
    // All of it but perhaps the minute that has just begun.
    let nearly_now = Timestamp::now().checked_sub(2.minutes()).expect("a time");
    settled(&node, "s", nearly_now).await;

    let dues = dues(&node, "s").await;
    let twice: Vec<_> = dues.iter().filter(|(_, count)| **count != 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
    let times: Vec<Timestamp> = dues.keys().map(|due| due.parse().expect("a time")).collect();
    let first = times.first().expect("there are some");
    assert!(first.duration_since(since).as_secs() < 60, "{first} {since}");
    for pair in times.windows(2) {
        assert_eq!(pair[1].duration_since(pair[0]).as_secs(), 60, "{pair:?}");
    }
    assert!(times.len() as i64 >= MISSED - 2, "{}", times.len());
}

#[tokio::test]
async fn the_command_line_looks_after_schedules() {
    let node = Node::start(&[]).await;
    let file = node.data_dir().join("answer.ts");
    std::fs::write(&file, "export default (n: number) => n").expect("written");
    let file = file.to_str().expect("is text");
    let ask = async |words: &[&str]| {
        let (code, stdout, stderr) = runabout(&[words, &["--node", &node.url]].concat()).await;
        assert_eq!(code, 0, "{words:?}: {stderr}");
        stdout
    };
    let told = ask(&["schedule", "put", "s", "--cron", "0 3 * * *", file, "42"]).await;
    assert!(told.contains("cron       0 3 * * * (UTC)"), "{told}");
    assert!(ask(&["schedule", "list"]).await.contains("0 3 * * *"));
    assert!(ask(&["schedule", "pause", "s"]).await.contains("paused"));
    assert!(ask(&["schedule", "resume", "s"]).await.contains("active"));
    let shown: Value =
        serde_json::from_str(&ask(&["schedule", "show", "s", "--json"]).await).expect("is JSON");
    assert_eq!(shown["task"]["args"], json!([42]));
    ask(&["schedule", "delete", "s"]).await;
    let (code, _, stderr) = runabout(&["schedule", "show", "s", "--node", &node.url]).await;
    assert!(code != 0 && stderr.contains("schedule"), "{code} {stderr}");
    let wrong = ["schedule", "put", "s", "--cron", "0 25 * * *", file, "--node", &node.url];
    let (code, _, stderr) = runabout(&wrong).await;
    assert!(code != 0 && stderr.contains("in the hour"), "{code} {stderr}");
}
