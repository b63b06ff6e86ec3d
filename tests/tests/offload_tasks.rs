//! Tasks that a node hands to the one behind it, from the outside: real nodes, real kills.

use reqwest::Method;
use runabout_tests::seen::{metric, reachable, until};
use runabout_tests::{Node, guest, json_of};
use serde_json::{Value, json};

/// Runs for as many milliseconds as it is told, on the processor.
const SPIN: &str = "export default (ms) => { const end = Date.now() + ms; let n = 0; while (Date.now() < end) n++; return 'done' }";

async fn far() -> Node {
    Node::start(&["--name", "far"]).await
}

/// A node in front of another one, once it hands tasks to it.
async fn in_front_of(upstream: &Node, slots: &str) -> Node {
    let near =
        Node::start(&["--name", "near", "--upstream", &upstream.url, "--slots", slots]).await;
    takes_tasks(&near, "far").await;
    near
}

/// Waits until a worker of that name has slots.
async fn takes_tasks(node: &Node, name: &str) {
    until("an upstream with slots", async || {
        let workers = json_of(node.get("/v1/workers").await).await;
        let items = workers["items"].as_array().cloned().unwrap_or_default();
        items.iter().any(|it| it["name"] == name && it["slots"].as_u64() > Some(0))
    })
    .await;
}

fn spin(ms: u64) -> Value {
    json!({"source": SPIN, "args": [ms]})
}

fn at(place: &str, mut request: Value) -> Value {
    request["place"] = place.into();
    request
}

async fn runs(node: &Node, tasks: f64) {
    until("the runs", async || metric(node, "runabout_calls_running", "").await == tasks).await;
}

async fn attempts(node: &Node, id: &str) -> Vec<Value> {
    let attempts = json_of(node.get(&format!("/v1/tasks/{id}/attempts")).await).await;
    attempts["items"].as_array().expect("a list").clone()
}

fn ran_on(task: &Value) -> &str {
    task["usage"]["ran_on"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn a_node_without_slots_hands_tasks_upstream_and_keeps_their_record() {
    let far = far().await;
    let near = in_front_of(&far, "0").await;
    let source = "export default (name) => { console.log('one'); console.error('two'); \
                  runabout.progress(0.5, 'half'); console.log(name); return {hello: name} }";
    let id = near.submit(&json!({"source": source, "args": ["ü"]})).await;
    let task = near.finished(&id).await;
    assert_eq!(task["state"], "succeeded", "{task}");
    assert_eq!(task["outcome"], json!({"kind": "returned", "value": {"hello": "ü"}}));
    assert_eq!((ran_on(&task), &task["trust"]), ("far", &"joined".into()));
    assert_eq!((&task["attempt"], &task["lost"]), (&1.into(), &0.into()));
    assert_eq!(task["progress"], json!({"fraction": 0.5, "message": "half"}));
    assert_eq!(near.lines(&id).await, ["stdout one", "stderr two", "stdout ü"]);
    let workers = json_of(near.get("/v1/workers").await).await;
    let worker = &workers["items"][0];
    assert_eq!((&worker["name"], &worker["kind"]), (&"far".into(), &"node".into()));
    assert_eq!((&worker["id"], &worker["completed"]), (&task["worker"], &1.into()));
    let there = json_of(far.get("/v1/tasks").await).await;
    assert_eq!(there["items"], json!([]), "the record is kept in one place");
}

#[tokio::test]
async fn every_kind_of_code_and_outcome_comes_back_as_it_is() {
    let far = far().await;
    let near = in_front_of(&far, "0").await;
    near.deploy("fib", "application/wasm", guest("fib.wasm")).await;
    let ends = async |request: Value| near.finished(&near.submit(&request).await).await;
    let wasm = ends(json!({"function": "fib", "args": [20]})).await;
    assert_eq!(wasm["outcome"], json!({"kind": "returned", "value": 6765}));
    let threw = ends(json!({"source": "console.log('x'); throw new RangeError('no')"})).await;
    assert_eq!((&threw["state"], &threw["outcome"]["kind"]), (&"failed".into(), &"threw".into()));
    assert_eq!(threw["outcome"]["error"]["name"], "RangeError");
    let slow = json!({"source": SPIN, "args": [20_000], "limits": {"timeout_ms": 200}});
    let slow = ends(slow).await;
    let expected = json!({"kind": "timed_out", "limit": "wall", "limit_ms": 200});
    assert_eq!((&slow["outcome"], ran_on(&slow)), (&expected, "far"));
    let again = json!({"source": "throw new Error('always')", "retries": 1});
    let again = ends(again).await;
    assert_eq!((&again["attempt"], &again["state"]), (&2.into(), &"failed".into()));
}

#[tokio::test]
async fn own_slots_are_taken_first_and_what_is_to_stay_stays() {
    let far = far().await;
    let near = in_front_of(&far, "1").await;
    let first = near.submit(&at("here", spin(1_500))).await;
    let stays = near.submit(&at("here", spin(1))).await;
    let goes = near.submit(&spin(1)).await;
    let goes = near.finished(&goes).await;
    assert_eq!(ran_on(&goes), "far");
    for id in [first, stays] {
        assert_eq!(ran_on(&near.finished(&id).await), "near");
    }
    let free = near.submit(&spin(1)).await;
    assert_eq!(ran_on(&near.finished(&free).await), "near", "a slot is free here");
    let asked = near.submit(&at("upstream", spin(1))).await;
    assert_eq!(ran_on(&near.finished(&asked).await), "far", "it was to go there");
}

#[tokio::test]
async fn a_rule_in_the_manifest_holds_for_tasks_that_say_no_place() {
    let far = far().await;
    let near = in_front_of(&far, "2").await;
    let form = reqwest::multipart::Form::new()
        .part("file", reqwest::multipart::Part::bytes(guest("fib.wasm")).file_name("fib.wasm"))
        .text("manifest", json!({"offload": "args[0] > 15"}).to_string());
    let put = near.request(Method::PUT, "/v1/functions/fib").multipart(form);
    assert_eq!(put.send().await.expect("answers").status(), 201);
    for (n, place, node) in [
        (10, None, "near"),
        (20, None, "far"),
        (20, Some("here"), "near"),
        (10, Some("upstream"), "far"),
    ] {
        let request = json!({"function": "fib", "args": [n], "place": place});
        let task = near.finished(&near.submit(&request).await).await;
        assert_eq!(ran_on(&task), node, "{n} {place:?}: {task}");
    }
}

#[tokio::test]
async fn many_tasks_share_the_upstreams_slots_and_one_artifact() {
    let far = far().await;
    let near = in_front_of(&far, "0").await;
    let requests: Vec<_> = (0..40).map(|_| spin(5)).collect();
    let accepted = json_of(near.post("/v1/tasks/batch", &json!(requests)).await).await;
    for id in accepted["ids"].as_array().expect("ids") {
        let task = near.finished(id.as_str().expect("an id")).await;
        assert_eq!((&task["state"], ran_on(&task)), (&"succeeded".into(), "far"), "{task}");
        assert_eq!((&task["attempt"], &task["lost"]), (&1.into(), &0.into()));
    }
    assert_eq!(metric(&near, "runabout_artifacts_sent_total", "").await, 1.0);
}

#[tokio::test]
async fn a_task_goes_as_far_up_as_it_is_asked_to() {
    let far = far().await;
    let flags = ["--name", "middle", "--upstream", &far.url, "--slots", "0"];
    let middle = Node::start(&flags).await;
    let flags = ["--name", "near", "--upstream", &middle.url, "--slots", "0"];
    let near = Node::start(&flags).await;
    takes_tasks(&near, "middle").await;
    reachable(&middle, true).await;
    let asked = near.submit(&at("upstream", spin(1))).await;
    let task = near.finished(&asked).await;
    assert_eq!((&task["state"], ran_on(&task)), (&"succeeded".into(), "far"), "{task}");
    let free = near.submit(&spin(1)).await;
    assert_eq!(ran_on(&near.finished(&free).await), "middle", "it has room itself");
}

#[tokio::test]
async fn a_task_in_a_loop_of_two_runs_once() {
    let data = tempfile::TempDir::new().expect("a folder");
    let mut first = Node::start_in(data.path(), &["--name", "first"]).await;
    let address = first.url.trim_start_matches("http://").to_owned();
    let flags = ["--name", "second", "--upstream", &first.url, "--slots", "0"];
    let second = Node::start(&flags).await;
    first.terminate().await;
    drop(first);
    let upstream = ["--name", "first", "--upstream", &second.url, "--slots", "0"];
    let flags = [&upstream[..], &["--listen", &address]].concat();
    let first = Node::start_in(data.path(), &flags).await;
    takes_tasks(&first, "second").await;
    reachable(&second, true).await;
    for place in ["auto", "upstream"] {
        let id = first.submit(&at(place, spin(1))).await;
        let task = first.finished(&id).await;
        assert_eq!((&task["state"], ran_on(&task)), (&"succeeded".into(), "second"), "{task}");
        assert_eq!((&task["attempt"], &task["lost"]), (&1.into(), &0.into()), "{place}");
    }
}

#[tokio::test]
async fn a_task_survives_an_upstream_that_is_killed_and_counts_it_as_lost() {
    let mut far = far().await;
    let near = in_front_of(&far, "1").await;
    let form = reqwest::multipart::Form::new()
        .part("file", reqwest::multipart::Part::bytes(SPIN.as_bytes().to_vec()).file_name("f.js"))
        .text("manifest", json!({"pure": false}).to_string());
    let put = near.request(Method::PUT, "/v1/functions/impure").multipart(form);
    assert_eq!(put.send().await.expect("answers").status(), 201);
    let pure = near.submit(&at("upstream", spin(1_500))).await;
    let impure = at("upstream", json!({"function": "impure", "args": [1_500]}));
    let impure = near.submit(&impure).await;
    runs(&far, 2.0).await;
    far.crash().await;
    for id in [pure, impure] {
        let task = near.finished(&id).await;
        assert_eq!((&task["state"], ran_on(&task)), (&"succeeded".into(), "near"), "{task}");
        assert_eq!((&task["attempt"], &task["lost"]), (&2.into(), &1.into()));
        let attempts = attempts(&near, &id).await;
        let kinds: Vec<_> = attempts.iter().map(|it| &it["outcome"]["kind"]).collect();
        assert_eq!(kinds, ["lost", "returned"], "each began twice and no more");
    }
}

#[tokio::test]
async fn a_task_waits_for_an_upstream_that_comes_back_and_goes_on_from_its_checkpoint() {
    let data = tempfile::TempDir::new().expect("a folder");
    let mut far = Node::start_in(data.path(), &["--name", "far"]).await;
    let address = far.url.trim_start_matches("http://").to_owned();
    let near = in_front_of(&far, "0").await;
    let source = "export default async () => { const from = runabout.task.checkpoint; \
                  if (from) return from; runabout.checkpoint({half: 'way'}); \
                  runabout.progress(0.5); for (;;); }";
    let id = near.submit(&json!({"source": source})).await;
    until("half of it", async || {
        json_of(near.get(&format!("/v1/tasks/{id}")).await).await["progress"]["fraction"] == 0.5
    })
    .await;
    far.crash().await;
    reachable(&near, false).await;
    let waits = near.submit(&spin(1)).await;
    assert_eq!(json_of(near.get(&format!("/v1/tasks/{waits}")).await).await["state"], "queued");
    let flags = ["--name", "far", "--listen", &address];
    let _far = Node::start_in(data.path(), &flags).await;
    let task = near.finished(&id).await;
    assert_eq!(task["outcome"]["value"], json!({"half": "way"}), "{task}");
    assert_eq!((&task["lost"], ran_on(&task)), (&1.into(), "far"));
    let waited = near.finished(&waits).await;
    assert_eq!((&waited["state"], &waited["lost"]), (&"succeeded".into(), &0.into()));
}

#[tokio::test]
async fn an_upstream_that_stops_hands_back_what_it_runs_without_a_mark() {
    let mut far = far().await;
    let near = in_front_of(&far, "1").await;
    let id = near.submit(&at("upstream", spin(1_500))).await;
    runs(&far, 1.0).await;
    assert!(far.terminate().await.success());
    let task = near.finished(&id).await;
    assert_eq!((&task["state"], ran_on(&task)), (&"succeeded".into(), "near"), "{task}");
    assert_eq!(task["lost"], 0, "{task}");
}

#[tokio::test]
async fn a_task_that_is_cancelled_frees_the_far_end() {
    let far = far().await;
    let near = in_front_of(&far, "0").await;
    let id = near.submit(&spin(25_000)).await;
    runs(&far, 1.0).await;
    let cancelled = near.post(&format!("/v1/tasks/{id}/cancel"), &json!({})).await;
    assert_eq!(json_of(cancelled).await["state"], "cancelled");
    runs(&far, 0.0).await;
    // And so does a node that stops: its task is put back.
    let data = tempfile::TempDir::new().expect("a folder");
    let flags = ["--name", "near", "--upstream", &far.url, "--slots", "0"];
    let mut near = Node::start_in(data.path(), &flags).await;
    let id = near.submit(&spin(3_000)).await;
    runs(&far, 1.0).await;
    assert!(near.terminate().await.success());
    drop(near);
    runs(&far, 0.0).await;
    let near = Node::start_in(data.path(), &flags).await;
    let task = near.finished(&id).await;
    assert_eq!((&task["state"], &task["lost"]), (&"succeeded".into(), &0.into()), "{task}");
}

#[tokio::test]
async fn limits_are_the_upstreams_own_unless_they_were_asked_for() {
    let far = Node::start(&["--name", "far", "--timeout-max", "500ms"]).await;
    let near = in_front_of(&far, "1").await;
    let usual = near.submit(&at("upstream", spin(20_000))).await;
    let usual = near.finished(&usual).await;
    let expected = json!({"kind": "timed_out", "limit": "wall", "limit_ms": 500});
    assert_eq!((&usual["outcome"], ran_on(&usual)), (&expected, "far"), "{usual}");
    let mut asked = at("upstream", spin(700));
    asked["limits"] = json!({"timeout_ms": 20_000});
    let asked = near.finished(&near.submit(&asked).await).await;
    assert_eq!((&asked["state"], ran_on(&asked)), (&"succeeded".into(), "near"), "{asked}");
}
