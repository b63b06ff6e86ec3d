//! Streams of events, from the outside: whole, in order, gone on with after a cut, and ended.

use std::collections::{HashMap, VecDeque};

use reqwest::{Method, Response};
use runabout_tests::{Node, json_of, runabout, script};
use serde_json::{Value, json};

/// An event as it was told.
#[derive(Clone, Debug, PartialEq)]
struct Event {
    name: String,
    /// Its own, or that of the event before.
    id: String,
    data: Value,
}

/// A stream that is being read.
struct Events {
    answer: Response,
    text: String,
    id: String,
    read: VecDeque<Event>,
}

impl Events {
    async fn open(node: &Node, path: &str, last: Option<&str>) -> Self {
        let mut request = node.request(Method::GET, path);
        if let Some(last) = last {
            request = request.header("Last-Event-ID", last);
        }
        let answer = request.send().await.expect("the node answers");
        assert_eq!(answer.status(), 200, "{path} after {last:?}");
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        assert_eq!(answer.headers()["cache-control"], "no-store");
        assert_eq!(answer.headers()["x-accel-buffering"], "no");
        let id = last.unwrap_or_default().to_owned();
        Self { answer, text: String::new(), id, read: VecDeque::new() }
    }

    /// The next event; `None` at the end.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.read.pop_front() {
                return Some(event);
            }
            let bytes = self.answer.chunk().await.expect("the stream is well-formed")?;
            self.text.push_str(std::str::from_utf8(&bytes).expect("is text"));
            while let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.take(&event);
                self.text = rest;
            }
        }
    }

    /// Takes an event, or what only says how or where to come back.
    fn take(&mut self, text: &str) {
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
        if let Some(id) = field("id: ") {
            id.clone_into(&mut self.id);
        }
        if let Some(data) = field("data: ") {
            let data = serde_json::from_str(data).expect("data is JSON");
            let name = field("event: ").expect("is named").to_owned();
            self.read.push_back(Event { name, id: self.id.clone(), data });
        }
    }

    /// Reads until an event of that name.
    async fn until(&mut self, name: &str) -> Event {
        loop {
            let event = self.next().await.expect("the stream goes on");
            if event.name == name {
                return event;
            }
        }
    }

    async fn rest(mut self) -> Vec<Event> {
        let mut rest = Vec::new();
        while let Some(event) = self.next().await {
            rest.push(event);
        }
        rest
    }
}

fn events_of(id: &str) -> String {
    format!("/v1/tasks/{id}/events")
}

fn names(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.name.as_str()).collect()
}

async fn status_after(node: &Node, path: &str, last: &str) -> u16 {
    let request = node.request(Method::GET, path).header("Last-Event-ID", last);
    request.send().await.expect("answers").status().as_u16()
}

/// A task that says one line a moment, so many, and returns their number.
fn talker(lines: u32) -> Value {
    script(&format!(
        "for (let i = 0; i < {lines}; i++) {{
             console.log(`line ${{i}}`);
             await new Promise((done) => setTimeout(done, 3));
         }}
         {lines}"
    ))
}

/// A task that runs until it is cancelled.
fn endless() -> Value {
    let source = "console.log('began'); await new Promise((done) => setTimeout(done, 600000))";
    json!({"source": source, "limits": {"timeout_ms": 600_000}})
}

async fn cancel(node: &Node, id: &str) {
    let cancelled = node.post(&format!("/v1/tasks/{id}/cancel"), &Value::Null).await;
    assert_eq!(cancelled.status(), 200);
}

#[tokio::test]
async fn the_log_of_a_stream_that_is_cut_again_and_again_is_whole_and_in_order() {
    const LINES: u32 = 500;
    let node = Node::start(&[]).await;
    let id = node.submit(&talker(LINES)).await;
    let mut told: Vec<Event> = Vec::new();
    let mut last: Option<String> = None;
    let mut cuts = 0;
    'following: loop {
        let mut events = Events::open(&node, &events_of(&id), last.as_deref()).await;
        // Each time cut off at another place.
        for _ in 0..(7 + cuts * 5) {
            let Some(event) = events.next().await else { break 'following };
            last = Some(event.id.clone());
            told.push(event);
        }
        drop(events);
        cuts += 1;
    }
    assert!(cuts > 5, "{cuts}");
    assert!(told.iter().all(|event| event.name != "reset"));
    let lines: Vec<&Event> = told.iter().filter(|event| event.name == "log").collect();
    let text = |event: &&Event| event.data["text"].as_str().expect("is text").to_owned();
    let texts: Vec<String> = lines.iter().map(text).collect();
    let expected: Vec<String> = (0..LINES).map(|line| format!("line {line}")).collect();
    assert_eq!(texts.join("\n"), expected.join("\n"));
    let seqs: Vec<u64> = lines.iter().filter_map(|event| event.data["seq"].as_u64()).collect();
    assert!(seqs.is_sorted_by(|a, b| a < b), "{seqs:?}");

    let outcome = told.last().expect("there are events");
    assert_eq!(
        (outcome.name.as_str(), &outcome.data["outcome"]["value"]),
        ("outcome", &json!(LINES))
    );
    assert_eq!(outcome.data["attempt"], 1);
    assert!(outcome.data["usage"]["wall_ms"].is_number(), "{outcome:?}");
    assert_eq!(status_after(&node, &events_of(&id), &outcome.id).await, 204);
}

#[tokio::test]
async fn a_finished_tasks_stream_tells_all_of_it_and_ends() {
    let node = Node::start(&[]).await;
    let id = node.submit(&script("console.log('one'); console.error('two'); [1]")).await;
    node.finished(&id).await;
    let told = Events::open(&node, &events_of(&id), None).await.rest().await;
    assert_eq!(names(&told), ["state", "log", "log", "outcome"]);
    let [state, one, two, outcome] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!((&state.data["task"], &state.data["state"]), (&json!(id), &json!("succeeded")));
    assert_eq!((&one.data["stream"], &one.data["text"]), (&json!("stdout"), &json!("one")));
    assert_eq!((&two.data["stream"], &two.data["seq"]), (&json!("stderr"), &json!(1)));
    assert_eq!(outcome.data["outcome"], json!({"kind": "returned", "value": [1]}));

    // Cut off within what was told so far, it goes on there.
    let rest = Events::open(&node, &events_of(&id), Some(&one.id)).await.rest().await;
    assert_eq!(names(&rest), ["state", "log", "outcome"]);
    assert_eq!(rest[1], *two);
    let short = Events::open(&node, &format!("{}?only=state", events_of(&id)), None).await;
    assert_eq!(names(&short.rest().await), ["state", "outcome"]);
    assert_eq!(status_after(&node, &events_of(&id), &outcome.id).await, 204);
}

#[tokio::test]
async fn states_progress_and_retries_are_told_as_they_happen() {
    let node = Node::start(&["--slots", "1"]).await;
    let gate = node.submit(&endless()).await;
    let source = "
        runabout.progress(0.5, 'half');
        if (runabout.task.attempt === 1) {
            await new Promise((done) => setTimeout(done, 100));
            throw new Error('once');
        }
        await new Promise((done) => setTimeout(done, 600000));";
    let limits = json!({"timeout_ms": 600_000});
    let task = json!({"source": source, "retries": 1, "name": "n", "limits": limits});
    let id = node.submit(&task).await;
    let mut events = Events::open(&node, &events_of(&id), None).await;
    let queued = events.next().await.expect("told");
    assert_eq!((&queued.data["state"], &queued.data["name"]), (&json!("queued"), &json!("n")));
    cancel(&node, &gate).await;

    let mut told = Vec::new();
    for _ in 0..5 {
        told.push(events.next().await.expect("told"));
    }
    assert_eq!(names(&told), ["state", "progress", "state", "state", "progress"], "{told:?}");
    let of = |index: usize, field: &str| told[index].data[field].clone();
    assert_eq!(
        (of(0, "state"), of(0, "attempt"), of(0, "trust")),
        (json!("running"), json!(1), json!("node"))
    );
    assert_eq!((of(1, "fraction"), of(1, "message")), (json!(0.5), json!("half")));
    assert_eq!((of(2, "state"), of(2, "previous")), (json!("queued"), json!("threw")));
    assert!(of(2, "ready_at").is_string());
    assert_eq!((of(3, "state"), of(3, "attempt")), (json!("running"), json!(2)));
    assert_eq!(of(4, "attempt"), 2);

    // One who comes later hears where it stands, its progress included.
    let mut later = Events::open(&node, &events_of(&id), None).await;
    assert_eq!(later.next().await.expect("told").data["state"], "running");
    assert_eq!(later.next().await.expect("told").data["message"], "half");
    cancel(&node, &id).await;
    for events in [events, later] {
        let rest = events.rest().await;
        assert_eq!(names(&rest), ["state", "outcome"]);
        assert_eq!(rest[1].data["outcome"]["kind"], "cancelled");
    }
}

#[tokio::test]
async fn after_a_restart_a_stream_is_reset_and_begins_anew() {
    let node = Node::start(&["--slots", "1"]).await;
    let id = node.submit(&talker(20)).await;
    let told = Events::open(&node, &events_of(&id), None).await.until("log").await;
    let mut all = Events::open(&node, "/v1/events", None).await;
    let other = node.submit(&script("2")).await;
    let of_all = all.until("state").await;
    let node = node.crash_and_restart(&["--slots", "1"]).await;

    let mut again = Events::open(&node, &events_of(&id), Some(&told.id)).await;
    let reset = again.next().await.expect("told");
    assert_eq!((reset.name.as_str(), &reset.data["reason"]), ("reset", &json!("restarted")));
    assert_eq!(again.next().await.expect("told").name, "state");
    let rest = again.rest().await;
    let outcome = rest.last().expect("told");
    assert_eq!(
        (&outcome.data["outcome"]["value"], &outcome.data["attempt"]),
        (&json!(20), &json!(2))
    );
    let lines = rest.iter().filter(|event| event.data["attempt"] == 2 && event.name == "log");
    assert_eq!(lines.count(), 20);
    assert_eq!(status_after(&node, &events_of(&id), &outcome.id).await, 204);

    let mut all = Events::open(&node, "/v1/events", Some(&of_all.id)).await;
    assert_eq!(all.next().await.expect("told").name, "reset");
    node.finished(&other).await;
}

#[tokio::test]
async fn stopping_the_node_ends_every_stream() {
    let mut node = Node::start(&[]).await;
    let id = node.submit(&endless()).await;
    let mut one = Events::open(&node, &events_of(&id), None).await;
    one.until("log").await;
    let mut all = Events::open(&node, "/v1/events", None).await;
    let (ended, (), ()) =
        tokio::join!(node.terminate(), async { while one.next().await.is_some() {} }, async {
            while all.next().await.is_some() {}
        },);
    assert!(ended.success());
}

#[tokio::test]
async fn the_stream_of_all_tasks_tells_every_task_of_a_burst_once() {
    const BATCHES: usize = 4;
    let node = Node::start(&[]).await;
    let mut all = Events::open(&node, "/v1/events?only=state,outcome", None).await;
    let tasks: Vec<Value> = (0..1000).map(|n| script(&n.to_string())).collect();
    let mut ids: Vec<String> = Vec::new();
    for _ in 0..BATCHES {
        let batch = json_of(node.post("/v1/tasks/batch", &json!(tasks)).await).await;
        let accepted = batch["ids"].as_array().expect("ids").iter();
        ids.extend(accepted.filter_map(Value::as_str).map(ToOwned::to_owned));
    }
    // For each task, what was told of it.
    let mut told: HashMap<String, Vec<String>> = HashMap::new();
    let mut outcomes = 0;
    while outcomes < ids.len() {
        let Event { name, id, data } = all.next().await.expect("goes on");
        // Gone on with half-way, on another connection.
        if outcomes == ids.len() / 2 && name == "outcome" {
            all = Events::open(&node, "/v1/events?only=state,outcome", Some(&id)).await;
        }
        outcomes += usize::from(name == "outcome");
        let what =
            if name == "outcome" { "outcome" } else { data["state"].as_str().expect("a state") };
        let task = data["task"].as_str().expect("a task").to_owned();
        told.entry(task).or_default().push(what.to_owned());
    }
    assert_eq!(told.len(), ids.len());
    for id in &ids {
        assert_eq!(told[id], ["queued", "running", "succeeded", "outcome"], "{id}");
    }
}

#[tokio::test]
async fn a_deleted_tasks_stream_ends() {
    let node = Node::start(&["--slots", "0"]).await;
    let id = node.submit(&script("1")).await;
    let mut events = Events::open(&node, &events_of(&id), None).await;
    events.until("state").await;
    let deleted = node.request(Method::DELETE, &format!("/v1/tasks/{id}")).send().await;
    assert_eq!(deleted.expect("answers").status(), 204);
    assert_eq!(names(&events.rest().await), ["deleted"]);
    let gone = node.get(&events_of(&id)).await;
    assert_eq!(
        (gone.status().as_u16(), json_of(gone).await["code"].clone()),
        (404, json!("task_not_found"))
    );
}

#[tokio::test]
async fn an_event_of_all_tasks_that_was_the_last_of_one_leads_to_its_end() {
    let node = Node::start(&[]).await;
    let mut all = Events::open(&node, "/v1/events", None).await;
    let id = node.submit(&script("7")).await;
    let last = all.until("outcome").await;
    assert_eq!(last.data["task"], id.as_str());
    let told = Events::open(&node, &events_of(&id), Some(&last.id)).await.rest().await;
    assert_eq!(names(&told), ["reset", "state", "outcome"]);
    // Also while its facts are kept for one who left a moment ago; and an earlier one is gone on with.
    let told = Events::open(&node, &events_of(&id), Some(&last.id)).await.rest().await;
    assert_eq!(names(&told), ["reset", "state", "outcome"]);
    assert_eq!(status_after(&node, &events_of(&id), &told[2].id).await, 204);
}

#[tokio::test]
async fn tasks_that_are_kept_no_longer_are_told_of() {
    let node = Node::start(&["--keep", "1s"]).await;
    let mut all = Events::open(&node, "/v1/events", None).await;
    let mut ids = vec![node.submit(&script("1")).await, node.submit(&script("2")).await];
    let mut gone = Vec::new();
    while gone.len() < 2 {
        gone.push(all.until("deleted").await.data["task"].as_str().expect("an id").to_owned());
    }
    gone.sort();
    ids.sort();
    assert_eq!(gone, ids);
}

#[tokio::test]
async fn the_command_line_follows_a_task() {
    let node = Node::start(&[]).await;
    let id = node.submit(&talker(30)).await;
    let follow = ["task", "logs", &id, "--follow", "--node", &node.url];
    let (code, stdout, stderr) = runabout(&follow).await;
    let expected: String = (0..30).map(|line| format!("line {line}\n")).collect();
    assert_eq!((code, stdout.as_str()), (0, expected.as_str()), "{stderr}");
    let (_, stdout, _) = runabout(&[&follow[..], &["--json"]].concat()).await;
    let last: Value = serde_json::from_str(stdout.lines().last().expect("lines")).expect("JSON");
    assert_eq!((&last["text"], stdout.lines().count()), (&json!("line 29"), 30));

    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("task.js");
    std::fs::write(&file, "console.log('hello'); 6 * 7").expect("written");
    let submit = ["task", "submit", file.to_str().expect("text"), "--follow", "--node", &node.url];
    let (code, stdout, stderr) = runabout(&submit).await;
    assert_eq!((code, stdout.as_str()), (0, "42\n"), "{stderr}");
    assert!(stderr.contains("hello"), "{stderr}");
}
