//! Calls, from the outside: results, headers, failures, fairness.

use std::time::{Duration, Instant};

use reqwest::Method;
use runabout_tests::{Node, guest, json_of, script};
use serde_json::{Value, json};

#[tokio::test]
async fn fib_as_wasm_is_called() {
    let node = Node::start(&[]).await;
    let deployed = node.deploy("fib", "application/wasm", guest("fib.wasm")).await;
    assert_eq!((&deployed["version"], &deployed["language"]), (&json!(1), &json!("wasm")));
    assert_eq!(deployed["exports"], json!(["fib"]));
    let response = node.call("fib", json!([34])).await;
    assert_eq!(response.status(), 200);
    for header in ["server-timing", "runabout-ran-on", "runabout-placement"] {
        assert!(response.headers().contains_key(header), "{header}");
    }
    assert_eq!(response.text().await.expect("is text"), "5702887");
    let digest = deployed["digest"].as_str().expect("has a digest");
    let by_digest = node.post(&format!("/v1/artifacts/{digest}/call"), &json!([10])).await;
    assert_eq!(by_digest.text().await.expect("is text"), "55");
}

#[tokio::test]
async fn deploying_again_makes_a_version_only_if_it_differs() {
    let node = Node::start(&[]).await;
    let put = async |code: &'static str| {
        let request =
            node.request(Method::PUT, "/v1/functions/f").header("content-type", "text/javascript");
        let response = request.body(code).send().await.expect("answers");
        (response.status().as_u16(), json_of(response).await["version"].clone())
    };
    assert_eq!(put("export default () => 1").await, (201, json!(1)));
    assert_eq!(put("export default () => 1").await, (200, json!(1)));
    assert_eq!(put("export default () => 2").await, (201, json!(2)));
    let deleted = node.request(Method::DELETE, "/v1/functions/f").send().await.expect("answers");
    assert_eq!(deleted.status(), 204);
    assert_eq!(node.call("f", json!([])).await.status(), 404);
    assert_eq!(put("export default () => 1").await, (201, json!(3)));
    let old = node.post("/v1/functions/f/call?version=1", &json!([])).await;
    assert_eq!(old.status(), 404);
}

#[tokio::test]
async fn a_named_export_and_bytes_are_called() {
    let node = Node::start(&[]).await;
    let code = "export const twice = (a) => a * 2; export default (b) => b instanceof Uint8Array ? b.map((x) => x + 1) : 'none';";
    node.deploy("f", "text/javascript", code).await;
    let named = node.post("/v1/functions/f/call?export=twice", &json!([4])).await;
    assert_eq!(named.text().await.expect("is text"), "8");
    let request = node.request(Method::POST, "/v1/functions/f/call");
    let response =
        request.header("content-type", "application/octet-stream").body(vec![1, 2]).send().await;
    let response = response.expect("answers");
    assert_eq!(response.headers()["content-type"], "application/octet-stream");
    assert_eq!(response.bytes().await.expect("is there").as_ref(), [2, 3]);

    node.deploy("echo", "application/wasm", guest("echo.wasm")).await;
    let echoed = node.call("echo", json!(["a", 1])).await;
    assert!(json_of(echoed).await.as_str().is_some_and(|text| text.contains("a 1")));
    let failed = node.call("echo", json!(["--exit", "3"])).await;
    assert_eq!(failed.status(), 422);
    let failed = json_of(failed).await;
    assert_eq!(failed["outcome"]["error"]["name"], "Exit", "{failed}");
}

#[tokio::test]
async fn failures_are_problems_with_their_outcome() {
    let node = Node::start(&[]).await;
    let code = "export const threw = () => { console.log('before'); throw new RangeError('far') }; export const loop = () => { for (;;); }; export const bomb = () => { const a = []; for (;;) a.push({}) };";
    let path = "/v1/functions/f";
    let manifest = json!({"limits": {"timeout_ms": 200}}).to_string();
    let form = reqwest::multipart::Form::new()
        .part("file", reqwest::multipart::Part::bytes(code.as_bytes()).file_name("f.js"))
        .text("manifest", manifest);
    let put = node.request(Method::PUT, path).multipart(form).send().await.expect("answers");
    assert_eq!(put.status(), 201);
    for (export, status, kind) in [("threw", 422, "threw"), ("loop", 504, "timed_out")] {
        let response = node.post(&format!("{path}/call?export={export}"), &json!([])).await;
        assert_eq!(response.status(), status);
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        let problem = json_of(response).await;
        assert_eq!(problem["outcome"]["kind"], kind, "{problem}");
        assert!(problem["code"].is_string());
        if export == "threw" {
            assert!(problem["output"].to_string().contains("before"), "{problem}");
        }
    }
}

#[tokio::test]
async fn short_calls_go_on_beside_endless_ones() {
    let node = Node::start(&["--slots", "2"]).await;
    node.deploy("add", "text/javascript", "export default (a, b) => a + b").await;
    let endless = json!({"source": "while (true) {}", "limits": {"timeout_ms": 3000}});
    let mut tasks = Vec::new();
    for _ in 0..4 {
        tasks.push(node.submit(&endless).await);
    }
    let mut times = Vec::new();
    for index in 0..50 {
        let started = Instant::now();
        let sum = node.call("add", json!([index, 1])).await.text().await.expect("is text");
        times.push(started.elapsed());
        assert_eq!(sum, (index + 1).to_string());
    }
    times.sort();
    // Not a measurement: a call that waited for the loops would take seconds.
    assert!(times[25] < Duration::from_secs(1), "{times:?}");
    for id in tasks {
        assert_eq!(node.finished(&id).await["outcome"]["kind"], "timed_out");
    }
}

#[tokio::test]
async fn two_hundred_large_runs_do_not_exhaust_the_machine() {
    let node = Node::start(&[]).await;
    let code = "export default () => { const a = []; for (let i = 0; i < 100; i++) a.push(new Uint8Array(1 << 20).fill(1)); return a.length }";
    node.deploy("large", "text/javascript", code).await;
    let calls: Vec<_> = (0..200).map(|_| node.call("large", json!([]))).collect();
    let mut handles = Vec::new();
    for call in calls {
        handles.push(call);
    }
    let answers = futures_join(handles).await;
    for status in &answers {
        assert!(matches!(status, 200 | 422 | 503 | 504), "{status}");
    }
    assert!(answers.contains(&200), "{answers:?}");
    assert_eq!(node.get("/healthz").await.status(), 200);
}

async fn futures_join(calls: Vec<impl Future<Output = reqwest::Response>>) -> Vec<u16> {
    let mut calls: Vec<_> = calls.into_iter().map(Box::pin).collect();
    let mut answers = vec![0; calls.len()];
    std::future::poll_fn(|context| {
        let mut is_pending = false;
        for (call, answer) in calls.iter_mut().zip(&mut answers) {
            if *answer == 0 {
                match call.as_mut().poll(context) {
                    std::task::Poll::Ready(response) => *answer = response.status().as_u16(),
                    std::task::Poll::Pending => is_pending = true,
                }
            }
        }
        if is_pending { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
    })
    .await;
    answers
}

#[tokio::test]
async fn functions_and_artifacts_survive_a_kill() {
    let node = Node::start(&[]).await;
    let deployed = node.deploy("fib", "application/wasm", guest("fib.wasm")).await;
    let node = node.crash_and_restart(&[]).await;
    assert_eq!(node.call("fib", json!([20])).await.text().await.expect("is text"), "6765");
    let digest = deployed["digest"].as_str().expect("has a digest");
    let artifact = node.get(&format!("/v1/artifacts/{digest}")).await;
    assert!(
        artifact.headers()["cache-control"].to_str().is_ok_and(|value| value.contains("immutable"))
    );
    assert_eq!(artifact.bytes().await.expect("is there").to_vec(), guest("fib.wasm"));
    let listed = json_of(node.get("/v1/functions").await).await;
    assert_eq!(listed["items"][0]["name"], "fib");
    assert_eq!(listed["next_cursor"], Value::Null);
}

#[tokio::test]
async fn a_caller_who_hangs_up_cancels_the_call() {
    let node = Node::start(&[]).await;
    node.deploy("loop", "text/javascript", "export default () => { for (;;); }").await;
    for _ in 0..4 {
        let call = node.request(Method::POST, "/v1/functions/loop/call").json(&json!([]));
        let hung_up = call.timeout(Duration::from_millis(200)).send().await;
        assert!(hung_up.is_err());
    }
    // With the loops gone, the node's compute threads are free for a task at once.
    let id = node.submit(&script("let n = 0; for (let i = 0; i < 1e6; i++) n += i; n")).await;
    let task = node.finished(&id).await;
    assert_eq!(task["state"], "succeeded", "{task}");
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let metrics = node.get("/metrics").await.text().await.expect("is text");
        let running =
            metrics.lines().find(|line| line.starts_with("runabout_sandbox_memory_bytes"));
        if running.is_some_and(|line| line.ends_with(" 0")) {
            break;
        }
        assert!(Instant::now() < deadline, "{running:?}");
    }
}
