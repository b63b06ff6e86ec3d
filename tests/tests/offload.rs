//! Offloading, from the outside: real nodes behind one another.

use std::time::{Duration, Instant};

use reqwest::{Method, Response};
use runabout_tests::seen::{metric, reachable, until};
use runabout_tests::{Node, guest, json_of};
use serde_json::{Value, json};

const JS: &str = "text/javascript";
/// Runs for as many milliseconds as it is told, on the processor.
const SPIN: &str = "export default (ms) => { const end = Date.now() + ms; let n = 0; while (Date.now() < end) n++; return 'done' }";

async fn far() -> Node {
    Node::start(&["--name", "far"]).await
}

/// A node in front of another one.
async fn in_front_of(upstream: &Node, name: &str) -> Node {
    Node::start(&["--name", name, "--upstream", &upstream.url]).await
}

async fn call(node: &Node, path: &str, args: Value) -> Response {
    node.post(&format!("/v1/functions/{path}"), &args).await
}

fn header(response: &Response, name: &str) -> String {
    let value = response.headers().get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().to_owned()
}

fn ran_on(response: &Response) -> String {
    header(response, "runabout-ran-on")
}

fn placement(response: &Response) -> String {
    header(response, "runabout-placement")
}

async fn deploy_impure(node: &Node, name: &str, code: &str) {
    let form = reqwest::multipart::Form::new()
        .part("file", reqwest::multipart::Part::bytes(code.as_bytes().to_vec()).file_name("f.js"))
        .text("manifest", json!({"pure": false}).to_string());
    let path = format!("/v1/functions/{name}");
    let put = node.request(Method::PUT, &path).multipart(form).send().await.expect("answers");
    assert_eq!(put.status(), 201);
}

#[tokio::test]
async fn two_nodes_and_the_caller_says_where() {
    let far = far().await;
    let near = in_front_of(&far, "near").await;
    near.deploy("fib", "application/wasm", guest("fib.wasm")).await;
    assert_eq!(json_of(near.get("/v1/node").await).await["upstream"], far.url);
    let here = call(&near, "fib/call?offload=0", json!([20])).await;
    assert_eq!((ran_on(&here), placement(&here)), ("near".into(), "here; reason=asked".into()));
    let there = call(&near, "fib/call?offload=1", json!([20])).await;
    assert_eq!(
        (ran_on(&there), placement(&there)),
        ("far".into(), "upstream; reason=asked".into())
    );
    let timing = header(&there, "server-timing");
    for phase in ["upstream_run;dur=", "transfer;dur=", "total;dur="] {
        assert!(timing.contains(phase), "{timing}");
    }
    assert_eq!(there.headers()["content-type"], here.headers()["content-type"]);
    let texts = (here.text().await.expect("is text"), there.text().await.expect("is text"));
    assert_eq!(texts, ("6765".to_owned(), "6765".to_owned()));
    let auto = call(&near, "fib/call", json!([20])).await;
    assert_eq!(auto.text().await.expect("is text"), "6765");
}

#[tokio::test]
async fn an_artifact_is_sent_once_however_many_calls_want_it() {
    let far = far().await;
    let near = in_front_of(&far, "near").await;
    near.deploy("fib", "application/wasm", guest("fib.wasm")).await;
    let calls: Vec<_> =
        (0..20).map(|n| call(&near, "fib/call?offload=1", json!([n % 5]))).collect();
    let answers = futures::future::join_all(calls).await;
    assert!(answers.iter().all(|answer| answer.status() == 200 && ran_on(answer) == "far"));
    assert_eq!(metric(&near, "runabout_artifacts_sent_total", "").await, 1.0);
    // Somebody may clear up there: then it is sent again.
    let more = call(&near, "fib/call?offload=1", json!([7])).await;
    assert_eq!(more.text().await.expect("is text"), "13");
    assert_eq!(metric(&near, "runabout_artifacts_sent_total", "").await, 1.0);
}

#[tokio::test]
async fn three_nodes_in_a_chain() {
    let far = far().await;
    let middle = in_front_of(&far, "middle").await;
    let near = in_front_of(&middle, "near").await;
    near.deploy("fib", "application/wasm", guest("fib.wasm")).await;
    let answer = call(&near, "fib/call?offload=1", json!([25])).await;
    assert_eq!((answer.status().as_u16(), ran_on(&answer)), (200, "far".to_owned()));
    assert_eq!(placement(&answer), "upstream; reason=asked");
    assert_eq!(answer.text().await.expect("is text"), "75025");
}

#[tokio::test]
async fn a_loop_of_two_ends_at_the_node_that_finds_it() {
    // Each needs the other's address before it starts, so one starts twice on the same data.
    let data = tempfile::TempDir::new().expect("a folder");
    let mut first = Node::start_in(data.path(), &["--name", "first"]).await;
    let address = first.url.trim_start_matches("http://").to_owned();
    let second = in_front_of(&first, "second").await;
    first.terminate().await;
    drop(first);
    let flags = ["--name", "first", "--upstream", &second.url, "--listen", &address];
    let first = Node::start_in(data.path(), &flags).await;
    reachable(&second, true).await;
    first.deploy("fib", "application/wasm", guest("fib.wasm")).await;
    let answer = call(&first, "fib/call?offload=1", json!([20])).await;
    assert_eq!((answer.status().as_u16(), ran_on(&answer)), (200, "second".to_owned()));
    let expected = "upstream; reason=asked; upstream_reason=offload_loop";
    assert_eq!(placement(&answer), expected);
    // Before and after it was given the artifact.
    assert!(metric(&first, "runabout_offload_loops_total", "").await >= 1.0);
    assert!(metric(&second, "runabout_placements_total", "offload_loop").await >= 1.0);

    // And what a node says that is asked in a circle.
    let id = json_of(first.get("/v1/node").await).await["id"].clone();
    let request = first.request(Method::POST, "/v1/functions/fib/call").json(&json!([1]));
    let request = request.header("Runabout-Via", id.as_str().expect("is text"));
    let refused = request.send().await.expect("answers");
    assert_eq!(refused.status(), 508);
    assert_eq!(json_of(refused).await["code"], "offload_loop");
}

#[tokio::test]
async fn an_upstream_that_is_not_there_costs_nothing() {
    let mut far = far().await;
    let near = in_front_of(&far, "near").await;
    near.deploy("fib", "application/wasm", guest("fib.wasm")).await;
    far.crash().await;
    for path in ["fib/call", "fib/call?offload=1"] {
        let answer = call(&near, path, json!([20])).await;
        assert_eq!((answer.status().as_u16(), ran_on(&answer)), (200, "near".to_owned()));
        if path.contains("offload") {
            // A connection that the kill has closed may still look open to whoever writes to it.
            let reasons =
                ["upstream_unreachable", "upstream_lost"].map(|it| format!("here; reason={it}"));
            assert!(reasons.contains(&placement(&answer)), "{}", placement(&answer));
        }
    }
    reachable(&near, false).await;
    let answer = call(&near, "fib/call?offload=1", json!([20])).await;
    assert_eq!(placement(&answer), "here; reason=upstream_unreachable");
    deploy_impure(&near, "once", "export default () => 1").await;
    let answer = call(&near, "once/call?offload=1", json!([])).await;
    assert_eq!((answer.status().as_u16(), ran_on(&answer)), (200, "near".to_owned()));
}

#[tokio::test]
async fn an_upstream_that_comes_back_is_used_again() {
    let data = tempfile::TempDir::new().expect("a folder");
    let mut far = Node::start_in(data.path(), &["--name", "far"]).await;
    let address = far.url.trim_start_matches("http://").to_owned();
    let near = in_front_of(&far, "near").await;
    near.deploy("fib", "application/wasm", guest("fib.wasm")).await;
    far.crash().await;
    let answer = call(&near, "fib/call?offload=1", json!([20])).await;
    assert_eq!((answer.status().as_u16(), ran_on(&answer)), (200, "near".to_owned()));
    reachable(&near, false).await;
    let flags = ["--name", "far", "--listen", &address];
    let _far = Node::start_in(data.path(), &flags).await;
    reachable(&near, true).await;
    let answer = call(&near, "fib/call?offload=1", json!([20])).await;
    assert_eq!(
        (ran_on(&answer), placement(&answer)),
        ("far".into(), "upstream; reason=asked".into())
    );
    let known = json_of(near.get("/v1/placement").await).await;
    assert_eq!(known["upstream"]["times_unreachable"], 1);
}

#[tokio::test]
async fn a_pure_call_survives_an_upstream_that_is_killed() {
    let mut far = far().await;
    let near = in_front_of(&far, "near").await;
    near.deploy("spin", JS, SPIN).await;
    let address = near.address();
    let answer = tokio::spawn(async move {
        let request = address.request(Method::POST, "/v1/functions/spin/call?offload=1");
        request.json(&json!([1500])).send().await.expect("answers")
    });
    // Not only asked for: its artifact may still have to come.
    until("the run upstream", async || {
        metric(&far, "runabout_sandbox_starts_total", "").await == 1.0
    })
    .await;
    far.crash().await;
    let answer = answer.await.expect("ends");
    assert_eq!((answer.status().as_u16(), ran_on(&answer)), (200, "near".to_owned()));
    assert_eq!(placement(&answer), "here; reason=upstream_lost");
    assert_eq!(answer.text().await.expect("is text"), "\"done\"");
}

#[tokio::test]
async fn a_call_that_may_run_only_once_is_not_repeated() {
    let mut far = far().await;
    let near = in_front_of(&far, "near").await;
    deploy_impure(&near, "spin", SPIN).await;
    let address = near.address();
    let answer = tokio::spawn(async move {
        let request = address.request(Method::POST, "/v1/functions/spin/call?offload=1");
        request.json(&json!([20_000])).send().await.expect("answers")
    });
    // Not only asked for: its artifact may still have to come.
    until("the run upstream", async || {
        metric(&far, "runabout_sandbox_starts_total", "").await == 1.0
    })
    .await;
    far.crash().await;
    let answer = answer.await.expect("ends");
    assert_eq!(answer.status(), 502);
    assert_eq!(placement(&answer), "upstream; reason=upstream_lost");
    assert_eq!(json_of(answer).await["code"], "upstream_lost");
    assert_eq!(metric(&near, "runabout_sandbox_starts_total", "").await, 0.0);
}

#[tokio::test]
async fn whoever_hangs_up_frees_the_far_end_of_the_chain() {
    let far = far().await;
    let middle = in_front_of(&far, "middle").await;
    let near = in_front_of(&middle, "near").await;
    near.deploy("spin", JS, SPIN).await;
    let address = near.address().apart();
    let request = address.request(Method::POST, "/v1/functions/spin/call?offload=1");
    let caller = tokio::spawn(request.json(&json!([25_000])).send());
    until("the run", async || metric(&far, "runabout_calls_running", "").await == 1.0).await;
    let began = Instant::now();
    caller.abort();
    until("its end", async || metric(&far, "runabout_calls_running", "").await == 0.0).await;
    assert!(began.elapsed() < Duration::from_secs(10), "it ran on for {:?}", began.elapsed());
}

#[tokio::test]
async fn limits_are_the_upstreams_own_above_its_maximum() {
    let far = Node::start(&["--name", "far", "--timeout-max", "500ms"]).await;
    let near = in_front_of(&far, "near").await;
    near.deploy("spin", JS, SPIN).await;
    // Asked for by name, and more than there is.
    let answer = call(&near, "spin/call?offload=1&timeout_ms=2000", json!([1])).await;
    assert_eq!(answer.status(), 422);
    let problem = json_of(answer).await;
    assert_eq!(
        (&problem["code"], &problem["maximum"]),
        (&"limit_above_maximum".into(), &500.into())
    );
    // Not asked for: what is usual there.
    let answer = call(&near, "spin/call?offload=1", json!([5_000])).await;
    assert_eq!((answer.status().as_u16(), ran_on(&answer)), (504, "far".to_owned()));
    assert_eq!(json_of(answer).await["outcome"]["limit_ms"], 500);
    // Where the node chooses, it chooses no place that grants less.
    let answer = call(&near, "spin/call", json!([700])).await;
    assert_eq!((answer.status().as_u16(), ran_on(&answer)), (200, "near".to_owned()));
    let answer = call(&near, "spin/call?timeout_ms=2000", json!([700])).await;
    assert_eq!(placement(&answer), "here; reason=upstream_limits");
}

#[tokio::test]
async fn an_upstream_without_memory_to_spare_does_not_answer_for_a_pure_call() {
    let far = Node::start(&["--name", "far", "--memory-total", "64MiB"]).await;
    let near = in_front_of(&far, "near").await;
    let code = "export default (mib) => { const kept = []; \
                for (let n = 0; n < mib; n++) kept.push(new Uint8Array(1 << 20).fill(1)); \
                return kept.length }";
    near.deploy("large", JS, code).await;
    deploy_impure(&near, "once", code).await;
    // What is too much for its own limit is its answer, wherever it runs.
    let answer = call(&near, "large/call?offload=1&memory_bytes=16777216", json!([90])).await;
    assert_eq!((answer.status().as_u16(), ran_on(&answer)), (422, "far".to_owned()));
    let answer = call(&near, "large/call?offload=1", json!([90])).await;
    assert_eq!((answer.status().as_u16(), ran_on(&answer)), (200, "near".to_owned()));
    assert_eq!(placement(&answer), "here; reason=upstream_memory");
    assert_eq!(answer.text().await.expect("is text"), "90");
    // It has run there, and may not run again.
    let answer = call(&near, "once/call?offload=1", json!([90])).await;
    assert_eq!((answer.status().as_u16(), ran_on(&answer)), (422, "far".to_owned()));
    let problem = json_of(answer).await;
    assert_eq!(problem["outcome"]["scope"], "node", "{problem}");
}

#[tokio::test]
async fn a_token_is_shown_to_the_upstream() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.to_str().expect("is text").to_owned()
    };
    let (right, wrong) = (file("right", "secret\n"), file("wrong", "other\n"));
    let far = Node::start(&["--name", "far", "--token-file", &right]).await;
    for (token, place) in [(&right, "far"), (&wrong, "near")] {
        let flags =
            ["--name", "near", "--upstream", &far.url, "--upstream-token-file", token.as_str()];
        let near = Node::start(&flags).await;
        near.deploy("fib", "application/wasm", guest("fib.wasm")).await;
        let answer = call(&near, "fib/call?offload=1", json!([20])).await;
        assert_eq!((answer.status().as_u16(), ran_on(&answer).as_str()), (200, place));
    }
}

#[tokio::test]
async fn what_is_slow_here_goes_upstream_by_itself_and_is_told() {
    let far = far().await;
    let near = in_front_of(&far, "near").await;
    near.deploy("fib", "application/wasm", guest("fib.wasm")).await;
    for round in 0..10 {
        let n = 20 + round % 4;
        let answer = call(&near, "fib/call", json!([n])).await;
        assert_eq!(answer.status(), 200);
    }
    let known = json_of(near.get("/v1/placement").await).await;
    let function = &known["functions"][0];
    assert_eq!(function["names"], json!(["fib"]), "{known}");
    assert_eq!(function["classes"].as_array().map(Vec::len), Some(4), "{known}");
    assert!(function["classes"][0]["here"]["run_ms"].is_number(), "{known}");
    let last = &function["classes"][0]["last"];
    assert!(last["first"].is_string() && last["reason"].is_string(), "{known}");
    assert!(metric(&near, "runabout_placements_total", "").await >= 10.0);
}

#[tokio::test]
async fn results_are_the_same_bytes() {
    let far = far().await;
    let near = in_front_of(&far, "near").await;
    let code = "export const bytes = (b) => b.map((x) => x ^ 255); \
                export const shout = () => { for (let i = 0; i < 1e3; i++) console.log('line', i) }; \
                export const talk = () => { console.log('one'); console.error('two'); return -0 }; \
                export const fail = () => { console.log('before'); throw new RangeError('ü') };";
    near.deploy("f", JS, code).await;
    let ask = async |query: &str, media_type: &'static str, body: Vec<u8>| {
        let path = format!("/v1/functions/f/call?{query}");
        let request = near.request(Method::POST, &path).header("content-type", media_type);
        let request = request.header("Runabout-Want-Logs", "1").body(body);
        let response = request.send().await.expect("answers");
        let heads = ["content-type", "runabout-logs", "runabout-logs-cut"]
            .map(|name| header(&response, name));
        (response.status(), heads, response.bytes().await.expect("is there"))
    };
    for (export, media_type, body) in [
        ("bytes", "application/octet-stream", vec![0_u8, 1, 255]),
        ("talk", "application/json", b"[]".to_vec()),
        ("shout", "application/json", b"[]".to_vec()),
        ("fail", "application/json", b"[]".to_vec()),
        ("nope", "application/json", b"[]".to_vec()),
    ] {
        let here = ask(&format!("export={export}&offload=0"), media_type, body.clone()).await;
        let there = ask(&format!("export={export}&offload=1"), media_type, body).await;
        assert_eq!(here, there, "{export}");
        let (_, [_, _, is_cut], _) = here;
        assert_eq!(is_cut, if export == "shout" { "1" } else { "" }, "{export}");
    }
}
