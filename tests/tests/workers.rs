//! Workers of a node, from the outside: made-up ones that say what they like.

use reqwest::Method;
use runabout_tests::worker::{Worker, about};
use runabout_tests::{Node, Setup, guest, json_of, script};
use serde_json::{Value, json};

/// A node that runs nothing itself.
async fn idle_node(flags: &[&str]) -> Node {
    Node::start(&[&["--slots", "0"], flags].concat()).await
}

async fn workers(node: &Node) -> Vec<Value> {
    let listed = json_of(node.get("/v1/workers").await).await;
    listed["items"].as_array().expect("a list").clone()
}

async fn task(node: &Node, id: &str) -> Value {
    json_of(node.get(&format!("/v1/tasks/{id}")).await).await
}

/// The value of a metric, all its labels together.
async fn metric(node: &Node, name: &str) -> f64 {
    let page = node.get("/metrics").await.text().await.expect("text");
    let rows = page.lines().filter(|line| line.starts_with(name) && !line.starts_with('#'));
    rows.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// Waits until a metric has reached a value: nothing else tells from outside that it has.
async fn reaches(node: &Node, name: &str, value: f64) {
    for _ in 0..1_000 {
        if metric(node, name).await >= value {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("{name} is {}, not {value}", metric(node, name).await);
}

#[tokio::test]
async fn a_worker_runs_what_the_node_does_not() {
    let node = idle_node(&[]).await;
    let mut worker = Worker::join(&node, 2).await;
    let id = node.submit(&json!({"source": "1 + 1", "args": [7]})).await;
    let run = worker.begin().await;
    assert_eq!((&run["task"], &run["attempt"], &run["args"]), (&json!(id), &json!(1), &json!([7])));
    assert_eq!((&run["language"], &run["form"]), (&json!("js"), &json!("script")));
    assert_eq!(run["limits"]["timeout_ms"], 30_000);
    let artifact = run["artifact"].as_str().expect("a digest");
    let bytes = node.get(&format!("/v1/artifacts/{artifact}")).await;
    assert_eq!(bytes.text().await.expect("text"), "1 + 1");

    worker.say(about(&run, json!({"type": "progress", "fraction": 7, "message": "half"}))).await;
    let log = json!({"type": "log", "seq": 0, "stream": "stdout", "text": "hello"});
    worker.say(about(&run, log)).await;
    worker.finish(&run, json!(2)).await;
    let task = node.finished(&id).await;
    assert_eq!((&task["state"], &task["outcome"]["value"]), (&json!("succeeded"), &json!(2)));
    assert_eq!((&task["worker"], &task["trust"]), (&json!(worker.id), &json!("joined")));
    assert_eq!(task["usage"]["ran_on"], "made up");
    assert_eq!(task["progress"]["fraction"], 1.0, "{task}");
    assert_eq!(node.lines(&id).await, ["stdout hello"]);

    let listed = workers(&node).await;
    assert_eq!(listed.len(), 1, "{listed:?}");
    let it = &listed[0];
    assert_eq!((&it["id"], &it["slots"], &it["busy"]), (&json!(worker.id), &json!(2), &json!(0)));
    assert_eq!((&it["completed"], &it["trust"]), (&json!(1), &json!("joined")));
    assert!(it["connected_at"].is_string() && it["running"] == json!([]), "{it}");
}

#[tokio::test]
async fn when_a_connection_is_lost_the_task_goes_on_elsewhere_from_its_checkpoint() {
    let node = idle_node(&[]).await;
    let mut first = Worker::join(&node, 1).await;
    let id = node.submit(&script("1")).await;
    let run = first.begin().await;
    first.say(about(&run, json!({"type": "checkpoint", "state": {"page": 41}}))).await;
    first.vanish().await;

    let mut second = Worker::join(&node, 1).await;
    let run = second.begin().await;
    assert_eq!((&run["task"], &run["attempt"]), (&json!(id), &json!(2)));
    assert_eq!(run["checkpoint"], json!({"page": 41}));
    second.finish(&run, json!("done")).await;
    let task = node.finished(&id).await;
    assert_eq!((&task["outcome"]["value"], &task["lost"]), (&json!("done"), &json!(1)));
    assert_eq!(task["worker"], json!(second.id));
    assert!(metric(&node, "runabout_redispatched_total").await >= 1.0);
}

#[tokio::test]
async fn ten_tasks_of_a_worker_that_dies_all_finish_elsewhere_once() {
    let node = idle_node(&[]).await;
    let mut dies = Worker::join(&node, 10).await;
    let mut ids = Vec::new();
    for n in 0..10 {
        ids.push(node.submit(&json!({"source": "1", "args": [n]})).await);
    }
    for _ in 0..10 {
        dies.begin().await;
    }
    let mut lives = Worker::join(&node, 4).await;
    dies.vanish().await;
    for _ in 0..10 {
        let run = lives.begin().await;
        assert_eq!(run["attempt"], 2);
        let value = run["args"][0].clone();
        lives.finish(&run, value).await;
    }
    for (n, id) in ids.iter().enumerate() {
        let task = node.finished(id).await;
        assert_eq!((&task["outcome"]["value"], &task["lost"]), (&json!(n), &json!(1)));
    }
}

#[tokio::test]
async fn frames_of_a_session_that_does_not_hold_the_attempt_change_nothing() {
    let node = idle_node(&[]).await;
    let mut owner = Worker::join(&node, 1).await;
    let id = node.submit(&script("1")).await;
    let run = owner.begin().await;
    let mut stranger = Worker::join(&node, 1).await;
    let frames = [
        json!({"type": "started"}),
        json!({"type": "progress", "fraction": 0.9}),
        json!({"type": "log", "seq": 0, "stream": "stdout", "text": "false"}),
        json!({"type": "checkpoint", "state": 666}),
    ];
    for frame in frames {
        stranger.say(about(&run, frame)).await;
    }
    stranger.finish(&run, json!("false")).await;
    // Its own attempt, and another number.
    let mut late = run.clone();
    late["attempt"] = json!(7);
    owner.finish(&late, json!("late")).await;
    reaches(&node, "runabout_frames_ignored_total", 6.0).await;
    let before = task(&node, &id).await;
    assert_eq!((&before["state"], &before["progress"]), (&json!("running"), &json!(null)));
    owner.finish(&run, json!("true")).await;
    let ended = node.finished(&id).await;
    assert_eq!(ended["outcome"]["value"], "true");
    assert_eq!(node.lines(&id).await, Vec::<String>::new());
    owner.finish(&run, json!("again")).await;
    reaches(&node, "runabout_frames_ignored_total", 7.0).await;
    assert_eq!(task(&node, &id).await["outcome"]["value"], "true");
}

#[tokio::test]
async fn what_is_malformed_ends_the_session_with_a_reason() {
    let node = idle_node(&[]).await;
    for (text, reason) in [
        ("{", "no frame"),
        ("[1]", "no frame"),
        (r#"{"n":1}"#, "missing field `type`"),
        (r#"{"type":"pong","n":"one"}"#, "a wrong pong frame"),
        (r#"{"type":"finished","task":"x","attempt":1}"#, "a wrong finished frame"),
        (r#"{"type":"slots","slots":-1}"#, "a wrong slots frame"),
    ] {
        let mut worker = Worker::join(&node, 1).await;
        worker.say_text(text).await;
        let (code, said) = worker.closed().await;
        assert!(code == 1008 && said.contains(reason), "{text}: {code} {said}");
    }
    let mut worker = Worker::join(&node, 1).await;
    worker.say_bytes(b"{}").await;
    assert_eq!(worker.closed().await.0, 1003);
}

#[tokio::test]
async fn what_is_not_known_is_ignored_and_counted() {
    let node = idle_node(&[]).await;
    let hello = json!({
        "type": "hello", "protocol": 1, "kind": "other", "slots": 1, "colour": "blue",
        "capabilities": ["js", "telepathy"],
    });
    let mut worker = Worker::join_as(&node, &[], hello).await;
    worker.say(json!({"type": "greeting", "n": 1})).await;
    let id = node.submit(&script("1")).await;
    let run = worker.begin().await;
    worker.finish(&run, json!(1)).await;
    assert_eq!(node.finished(&id).await["outcome"]["value"], 1);
    let page = node.get("/metrics").await.text().await.expect("text");
    for why in ["unknown_field", "unknown_type"] {
        let row = format!("runabout_frames_ignored_total{{why=\"{why}\"}} 1");
        assert!(page.contains(&row), "{row} is not there");
    }
    assert_eq!(workers(&node).await[0]["capabilities"], json!(["js", "quickjs"]));
}

#[tokio::test]
async fn a_session_begins_with_a_hello_that_fits() {
    let node = idle_node(&[]).await;
    for (frame, reason) in [
        (json!({"type": "pong", "n": 1}), "the first frame is hello"),
        (json!({"type": "hello", "protocol": 1}), "a wrong hello frame"),
        (
            json!({"type": "hello", "protocol": 9, "kind": "tab", "slots": 1, "capabilities": []}),
            "protocol 9 is not spoken here",
        ),
    ] {
        let mut worker = Worker::connect(&node, &[]).await.expect("let in");
        worker.say(frame).await;
        let (code, said) = worker.closed().await;
        assert!(code == 1008 && said.contains(reason), "{code} {said}");
    }
    let plain = node.get("/v1/work").await;
    assert_eq!(plain.status(), 426);
    assert_eq!(json_of(plain).await["code"], "upgrade_required");
}

#[tokio::test]
async fn a_page_is_a_tab_whatever_it_says() {
    let node = idle_node(&["--allow-origin", "http://app.example"]).await;
    let hello = json!({
        "type": "hello", "protocol": 1, "kind": "node", "slots": 1, "capabilities": ["js"],
        "name": node.url.clone(),
    });
    for origin in [node.url.as_str(), "http://app.example"] {
        let headers = [("Origin", origin)];
        let mut worker = Worker::join_as(&node, &headers, hello.clone()).await;
        let id = node.submit(&script("1")).await;
        let run = worker.begin().await;
        let outcome = json!({"kind": "returned", "value": 1});
        let usage = json!({"cpu_ms": 1, "wall_ms": 1, "memory_peak_bytes": 5, "ran_on": "you"});
        let frame = json!({"type": "finished", "outcome": outcome, "usage": usage});
        worker.say(about(&run, frame)).await;
        let task = node.finished(&id).await;
        assert_eq!((&task["trust"], &task["usage"]["ran_on"]), (&json!("tab"), &json!(worker.id)));
        assert_eq!(workers(&node).await[0]["kind"], "tab");
        worker.vanish().await;
        // Gone before the next one comes, which would be second in the list otherwise.
        reaches(&node, "runabout_worker_sessions_ended_total", 1.0).await;
    }
    for origin in ["http://evil.example", "null"] {
        let refused = Worker::connect(&node, &[("Origin", origin)]).await.err();
        assert_eq!(refused, Some(403), "{origin}");
    }
}

#[tokio::test]
async fn a_token_is_wanted_in_hello_where_the_node_has_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("token");
    std::fs::write(&path, "secret").expect("written");
    let path = path.to_str().expect("text");
    // Its probes need no token, and that is all these tests ask of it over HTTP.
    let node =
        Node::set_up(Setup { flags: &["--slots", "0", "--token-file", path], ..Setup::default() })
            .await;
    let hello = |token: Option<&str>| {
        let mut hello = json!({
            "type": "hello", "protocol": 1, "kind": "node", "slots": 1, "capabilities": ["js"],
        });
        if let Some(token) = token {
            hello["token"] = json!(token);
        }
        hello
    };
    for token in [None, Some(""), Some("wrong")] {
        let mut worker = Worker::connect(&node, &[]).await.expect("let in");
        worker.say(hello(token)).await;
        let (code, reason) = worker.closed().await;
        assert!(code == 1008 && reason.contains("token"), "{code} {reason}");
    }
    Worker::join_as(&node, &[], hello(Some("secret"))).await;
}

#[tokio::test]
async fn a_worker_that_answers_no_pings_is_given_up() {
    let node = idle_node(&["--ping-every", "300ms"]).await;
    let mut silent = Worker::join(&node, 1).await;
    let id = node.submit(&script("1")).await;
    silent.begin().await;
    let mut other = Worker::join(&node, 1).await;
    let run = other.next("run").await;
    assert_eq!((&run["task"], &run["attempt"]), (&json!(id), &json!(2)));
    let (code, reason) = silent.closed().await;
    assert!(code == 1008 && reason.contains("pings"), "{code} {reason}");
    let ping = other.any().await;
    other.say(json!({"type": "pong", "n": ping["n"]})).await;
    while workers(&node).await[0]["latency_ms"].is_null() {}
    assert_eq!(workers(&node).await.len(), 1);
}

#[tokio::test]
async fn a_worker_is_resized_by_anybody_and_loses_nothing() {
    let node = idle_node(&[]).await;
    let mut worker = Worker::join(&node, 4).await;
    let mut ids = Vec::new();
    for _ in 0..8 {
        ids.push(node.submit(&script("1")).await);
    }
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(worker.begin().await);
    }
    let path = format!("/v1/workers/{}", worker.id);
    let resized = node.request(Method::PATCH, &path).json(&json!({"slots": 1})).send().await;
    let resized = json_of(resized.expect("answers")).await;
    assert_eq!((&resized["slots"], &resized["busy"]), (&json!(1), &json!(4)));
    assert_eq!(worker.next("resize").await["slots"], 1);
    worker.say(json!({"type": "slots", "slots": 1})).await;
    // Three of four end and nothing comes for them; with the fourth there is room for one.
    for run in held.drain(..) {
        worker.finish(&run, json!(1)).await;
    }
    let next = worker.begin().await;
    assert_eq!(next["task"], json!(ids[4]));
    worker.say(json!({"type": "slots", "slots": 8})).await;
    let mut rest = vec![next];
    for _ in 0..3 {
        rest.push(worker.begin().await);
    }
    for run in rest {
        worker.finish(&run, json!(1)).await;
    }
    for id in &ids {
        let task = node.finished(id).await;
        assert_eq!((&task["state"], &task["attempt"]), (&json!("succeeded"), &json!(1)));
    }
    assert_eq!(workers(&node).await[0]["slots"], 8);

    let refused = |path: String, body: Value| {
        let request = node.request(Method::PATCH, &path).json(&body);
        async { json_of(request.send().await.expect("answers")).await["code"].clone() }
    };
    let nobody = format!("/v1/workers/{}", ids[0]);
    assert_eq!(refused(nobody, json!({"slots": 1})).await, "worker_not_found");
    assert_eq!(refused(path.clone(), json!({"slots": 9_999})).await, "limit_above_maximum");
    assert_eq!(refused(path, json!({"slot": 1})).await, "unknown_field");
}

#[tokio::test]
async fn the_nodes_own_slots_are_resized_too() {
    let node = Node::start(&["--slots", "1"]).await;
    let own = workers(&node).await[0].clone();
    assert_eq!((&own["kind"], &own["trust"]), (&json!("node"), &json!("node")));
    let path = format!("/v1/workers/{}", own["id"].as_str().expect("an id"));
    let none = node.request(Method::PATCH, &path).json(&json!({"slots": 0})).send().await;
    assert_eq!(json_of(none.expect("answers")).await["slots"], 0);
    let id = node.submit(&script("1")).await;
    assert_eq!(task(&node, &id).await["state"], "queued");
    let some = node.request(Method::PATCH, &path).json(&json!({"slots": 2})).send().await;
    assert_eq!(some.expect("answers").status(), 200);
    assert_eq!(node.finished(&id).await["state"], "succeeded");
}

#[tokio::test]
async fn a_worker_that_says_goodbye_finishes_or_hands_back_without_a_mark() {
    let node = idle_node(&[]).await;
    let mut leaves = Worker::join(&node, 3).await;
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(node.submit(&script("1")).await);
    }
    let mut runs = Vec::new();
    for _ in 0..3 {
        runs.push(leaves.begin().await);
    }
    leaves.say(json!({"type": "goodbye"})).await;
    leaves.finish(&runs[0], json!("finished")).await;
    assert_eq!(node.finished(&ids[0]).await["outcome"]["value"], "finished");
    assert_eq!(workers(&node).await[0]["leaving"], true);
    leaves.finish_with(&runs[1], json!({"kind": "cancelled"})).await;
    leaves.vanish().await;
    let mut comes = Worker::join(&node, 3).await;
    for _ in 0..3 {
        let run = comes.begin().await;
        comes.finish(&run, json!(1)).await;
    }
    for id in &ids {
        let task = node.finished(id).await;
        assert_eq!((&task["state"], &task["lost"]), (&json!("succeeded"), &json!(0)), "{task}");
    }
}

#[tokio::test]
async fn a_task_that_loses_every_worker_is_given_up() {
    let node = idle_node(&[]).await;
    let id = node.submit(&script("1")).await;
    for attempt in 1..=5 {
        let mut worker = Worker::join(&node, 1).await;
        assert_eq!(worker.begin().await["attempt"], attempt);
        worker.vanish().await;
    }
    let task = node.finished(&id).await;
    assert_eq!((&task["state"], &task["lost"]), (&json!("failed"), &json!(5)));
    assert_eq!(task["outcome"], json!({"kind": "lost", "attempts": 5}));
}

#[tokio::test]
async fn a_cancelled_attempt_is_stopped_and_its_slot_is_free_when_it_has_ended() {
    let node = idle_node(&[]).await;
    let mut worker = Worker::join(&node, 1).await;
    let id = node.submit(&script("1")).await;
    let next = node.submit(&script("2")).await;
    let run = worker.begin().await;
    let cancelled = node.post(&format!("/v1/tasks/{id}/cancel"), &json!(null)).await;
    assert_eq!(json_of(cancelled).await["state"], "cancelled");
    let cancel = worker.next("cancel").await;
    assert_eq!((&cancel["task"], &cancel["attempt"]), (&run["task"], &run["attempt"]));
    worker.finish_with(&run, json!({"kind": "cancelled"})).await;
    let run = worker.begin().await;
    assert_eq!(run["task"], json!(next));
    worker.finish(&run, json!(1)).await;
    node.finished(&next).await;
}

#[tokio::test]
async fn a_worker_that_does_not_begin_or_does_not_stop_is_dealt_with() {
    let node = idle_node(&[]).await;
    let mut deaf = Worker::join(&node, 1).await;
    let id = node.submit(&script("1")).await;
    let run = deaf.next("run").await;
    // It never says that it has begun: after ten seconds it is to stop.
    let cancel = deaf.next("cancel").await;
    assert_eq!(cancel["task"], run["task"]);
    let mut other = Worker::join(&node, 1).await;
    let run = other.begin().await;
    assert_eq!((&run["task"], &run["attempt"]), (&json!(id), &json!(2)));
    other.finish(&run, json!(1)).await;
    assert_eq!(node.finished(&id).await["lost"], 1);
    // Nor does it stop: after five more it is closed.
    let (code, reason) = deaf.closed().await;
    assert!(code == 1008 && reason.contains("did not end in time"), "{code} {reason}");
}

#[tokio::test]
async fn tasks_for_tabs_go_to_tabs_and_those_for_here_stay() {
    let node = Node::start(&["--slots", "1"]).await;
    let mut joined = Worker::join(&node, 1).await;
    let id = node.submit(&json!({"source": "1", "place": "tab"})).await;
    assert_eq!(task(&node, &id).await["state"], "queued");
    let mut tab = Worker::join_tab(&node, 1).await;
    let run = tab.begin().await;
    assert_eq!(run["task"], json!(id));
    tab.finish(&run, json!("in a tab")).await;
    let ended = node.finished(&id).await;
    assert_eq!((&ended["trust"], &ended["place"]), (&json!("tab"), &json!("tab")));
    for _ in 0..4 {
        let id = node.submit(&json!({"source": "1", "place": "here"})).await;
        assert_eq!(node.finished(&id).await["trust"], "node");
    }
    joined.say(json!({"type": "slots", "slots": 0})).await;
    let idle = idle_node(&[]).await;
    let refused = idle.post("/v1/tasks", &json!({"source": "1", "place": "here"})).await;
    assert_eq!(json_of(refused).await["code"], "place_unavailable");
}

#[tokio::test]
async fn exact_limits_are_kept_from_tabs_that_cannot_hold_them() {
    let node = idle_node(&[]).await;
    let mut tab = Worker::join_tab(&node, 4).await;
    let limits = json!({"memory_bytes": 64 << 20});
    let exact = node.submit(&json!({"source": "1", "limits": limits})).await;
    let wall = node.submit(&json!({"source": "1", "limits": {"timeout_ms": 500}})).await;
    node.deploy("fib", "application/wasm", guest("fib.wasm")).await;
    let wasm = json!({"function": "fib", "args": [10], "limits": limits});
    let wasm = node.submit(&wasm).await;
    for id in [&wall, &wasm] {
        let run = tab.begin().await;
        assert_eq!(run["task"], json!(id));
        tab.finish(&run, json!(1)).await;
    }
    assert_eq!(task(&node, &exact).await["state"], "queued");
    let hello = json!({
        "type": "hello", "protocol": 1, "kind": "tab", "slots": 1,
        "capabilities": ["js", "quickjs"],
    });
    let mut able = Worker::join_as(&node, &[("Origin", &node.url)], hello).await;
    let run = able.begin().await;
    assert_eq!((&run["task"], &run["engine"]), (&json!(exact), &json!("quickjs")));
    able.finish(&run, json!(1)).await;
    node.finished(&exact).await;
}

#[tokio::test]
async fn what_a_worker_claims_is_held_to_its_bounds() {
    let node = idle_node(&[]).await;
    let mut worker = Worker::join(&node, 1).await;
    let id = node.submit(&script("1")).await;
    let run = worker.begin().await;
    let half = "x".repeat(600 << 10);
    for seq in [5, 5] {
        let log = json!({"type": "log", "seq": seq, "stream": "stdout", "text": half});
        worker.say(about(&run, log)).await;
    }
    worker.finish(&run, json!("y".repeat(6 << 20))).await;
    let task = node.finished(&id).await;
    assert_eq!(task["outcome"]["error"]["name"], "ResultTooLarge");
    let logs = json_of(node.get(&format!("/v1/tasks/{id}/logs")).await).await;
    let items = logs["items"].as_array().expect("a list");
    let kept: usize = items.iter().map(|it| it["text"].as_str().map_or(0, str::len)).sum();
    assert!(items.len() == 2 && kept < 1 << 20 && logs["truncated"] == json!(true), "{kept}");
}

#[tokio::test]
async fn workers_come_and_go_in_the_stream_of_events() {
    let node = idle_node(&[]).await;
    let stream = node.get("/v1/events?only=worker").await;
    let mut stream = stream.bytes_stream();
    let mut worker = Worker::join(&node, 2).await;
    worker.say(json!({"type": "slots", "slots": 5})).await;
    let id = worker.id.clone();
    // Its answer to the slots is the list: only then it goes.
    while workers(&node).await[0]["slots"] != 5 {}
    worker.vanish().await;
    let mut text = String::new();
    while !text.contains("\"change\":\"left\"") {
        let piece = futures::StreamExt::next(&mut stream).await.expect("it goes on");
        text.push_str(&String::from_utf8_lossy(&piece.expect("text")));
    }
    let events: Vec<Value> = text
        .lines()
        .filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok())
        .collect();
    let changes: Vec<_> = events.iter().map(|event| event["change"].as_str()).collect();
    assert_eq!(changes, [Some("joined"), Some("changed"), Some("left")], "{text}");
    assert!(events.iter().all(|event| event["worker"]["id"] == json!(id)), "{text}");
    assert_eq!(events[1]["worker"]["slots"], 5);
}

#[tokio::test]
async fn a_node_that_stops_puts_back_what_its_workers_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut node = Node::start_in(folder.path(), &["--slots", "0"]).await;
    let mut worker = Worker::join(&node, 1).await;
    let id = node.submit(&script("1")).await;
    let run = worker.begin().await;
    node.signal();
    let cancel = worker.next("cancel").await;
    assert_eq!(cancel["task"], run["task"]);
    worker.finish_with(&run, json!({"kind": "cancelled"})).await;
    let (code, reason) = worker.closed().await;
    assert!(code == 1001 && reason.contains("stops"), "{code} {reason}");
    assert!(node.ended().await.success());
    let node = Node::start_in(folder.path(), &["--slots", "1"]).await;
    let task = node.finished(&id).await;
    assert_eq!((&task["state"], &task["lost"]), (&json!("succeeded"), &json!(0)));
}
