//! Nothing acknowledged is ever lost: the node is killed with SIGKILL in the middle of its work.

use std::collections::HashMap;

use runabout_tests::crash::{self, Plan};
use runabout_tests::{Node, guest, json_of, script};
use serde_json::{Value, json};

#[tokio::test]
async fn every_accepted_task_survives_a_kill() {
    let node = Node::start(&["--slots", "2"]).await;
    let slow = "const until = Date.now() + 20; while (Date.now() < until);";
    let mut ids = Vec::new();
    for index in 0..1000 {
        let source = if index % 50 == 0 { format!("{slow} {index}") } else { format!("{index}") };
        ids.push(node.submit(&script(&source)).await);
    }
    let before = states(&node).await;
    let node = node.crash_and_restart(&["--slots", "2"]).await;
    for (index, id) in ids.iter().enumerate() {
        let task = node.finished(id).await;
        assert_eq!(task["state"], "succeeded", "{task}");
        assert_eq!(task["outcome"]["value"], index, "{task}");
        // What had ended before the kill was not run again.
        if before.get(id).is_some_and(|task| task["state"] == "succeeded") {
            assert_eq!(task["finished_at"], before[id]["finished_at"]);
        }
    }
}

async fn states(node: &Node) -> HashMap<String, Value> {
    let mut states = HashMap::new();
    let mut path = "/v1/tasks?limit=500".to_owned();
    loop {
        let page = json_of(node.get(&path).await).await;
        for task in page["items"].as_array().expect("is a list") {
            states.insert(task["id"].as_str().expect("has an id").to_owned(), task.clone());
        }
        let Some(cursor) = page["next_cursor"].as_str() else { return states };
        path = format!("/v1/tasks?limit=500&cursor={cursor}");
    }
}

/// The output of a task that runs, once it has a line that begins like this.
async fn wait_for_line(node: &Node, id: &str, start: &str) -> Vec<String> {
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(30);
    loop {
        let lines = node.lines(id).await;
        if lines.iter().any(|line| line.starts_with(start)) {
            return lines;
        }
        assert!(tokio::time::Instant::now() < deadline, "no line {start:?} in {lines:?}");
    }
}

#[tokio::test]
async fn a_long_task_goes_on_from_its_checkpoint() {
    let node = Node::start(&["--slots", "1"]).await;
    let source = "
        export default async () => {
            let step = runabout.task.checkpoint?.step ?? 0;
            console.log(`from ${step}`);
            for (; step < 30; step++) {
                await new Promise((done) => setTimeout(done, 30));
                runabout.checkpoint({ step: step + 1 });
                console.log(`did ${step}`);
                // The first attempt gets no further, however late the kill comes.
                if (runabout.task.attempt === 1 && step === 15) await new Promise((done) => setTimeout(done, 1e9));
            }
            return step;
        }";
    let id = node.submit(&json!({"source": source})).await;
    wait_for_line(&node, &id, "stdout did 10").await;
    let node = node.crash_and_restart(&["--slots", "1"]).await;
    let task = node.finished(&id).await;
    assert_eq!((&task["outcome"]["value"], &task["lost"]), (&json!(30), &json!(1)), "{task}");
    assert_eq!(task["attempt"], 2);
    let second = json_of(node.get(&format!("/v1/tasks/{id}/logs?attempt=2")).await).await;
    let first_line = second["items"][0]["text"].as_str().expect("is text").to_owned();
    let from: u32 = first_line
        .strip_prefix("from ")
        .and_then(|step| step.parse().ok())
        .expect("says where from");
    assert!((10..=16).contains(&from), "{first_line}");
}

#[tokio::test]
async fn a_wasm_task_goes_on_from_its_checkpoint() {
    let node = Node::start(&["--slots", "1"]).await;
    node.deploy("counter", "application/wasm", guest("counter.wasm")).await;
    let id = node.submit(&json!({"function": "counter", "args": [300]})).await;
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(30);
    loop {
        let task = json_of(node.get(&format!("/v1/tasks/{id}")).await).await;
        if task["progress"]["fraction"].as_f64().is_some_and(|fraction| fraction > 0.1) {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "{task}");
    }
    let node = node.crash_and_restart(&["--slots", "1"]).await;
    let task = node.finished(&id).await;
    assert_eq!((&task["outcome"]["value"], &task["attempt"]), (&json!(300), &json!(2)), "{task}");
    let wall_ms = task["usage"]["wall_ms"].as_f64().expect("is measured");
    assert!(wall_ms > 0.0, "{task}");
}

#[tokio::test]
async fn a_graceful_stop_loses_nothing_and_counts_against_nothing() {
    let mut node = Node::start(&["--slots", "1"]).await;
    let id = node.submit(&json!({"source": "console.log('began'); runabout.task.attempt > 1 ? 'again' : new Promise(r => setTimeout(r, 20000))"})).await;
    wait_for_line(&node, &id, "stdout began").await;
    assert!(node.terminate().await.success());
    let node = node.crash_and_restart(&["--slots", "1"]).await;
    let task = node.finished(&id).await;
    assert_eq!((&task["outcome"]["value"], &task["lost"]), (&json!("again"), &json!(0)), "{task}");
}

#[tokio::test]
async fn a_second_node_on_the_same_data_is_refused() {
    let node = Node::start(&[]).await;
    let data = node.data_dir().to_str().expect("is text");
    let (code, _, stderr) =
        runabout_tests::runabout(&["serve", "--listen", "127.0.0.1:0", "--data", data]).await;
    assert_eq!(code, 1, "{stderr}");
    assert_eq!(stderr.trim().lines().count(), 1, "{stderr}");
}

/// A few kills of the many that `cargo xtask crash` does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_was_acknowledged_survives_kills_at_random_moments() {
    let plan = Plan { seed: crash::seed().unwrap_or(1), kills: 10 };
    let account = crash::run(&plan, |line| println!("{line}")).await;
    println!("RUNABOUT_SEED={}", plan.seed);
    assert!(account.broken.is_empty(), "{account}");
    assert!(account.tally.acknowledged > 0 && account.tally.audited > 0, "{account}");
}
