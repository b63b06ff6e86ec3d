//! Durable tasks, from the outside.

use reqwest::{Method, multipart};
use runabout_tests::{Node, guest, json_of, script};
use serde_json::{Value, json};

#[tokio::test]
async fn a_task_made_from_source_runs_and_is_deleted() {
    let node = Node::start(&[]).await;
    let request = json!({"name": "task1", "source": "const x=1; const y=2; console.log(x+y);"});
    let response = node.post("/v1/tasks", &request).await;
    assert_eq!(response.status(), 202);
    let location = response.headers()["location"].to_str().expect("is text").to_owned();
    let accepted = json_of(response).await;
    let id = accepted["id"].as_str().expect("has an id");
    assert_eq!(location, format!("/v1/tasks/{id}"));
    assert_eq!(accepted["name"], "task1");

    let task = node.finished(id).await;
    assert_eq!(task["state"], "succeeded");
    assert_eq!(task["outcome"], json!({"kind": "returned", "value": null}));
    assert_eq!(node.lines(id).await, ["stdout 3"]);
    assert_eq!(task["trust"], "node");
    assert!(task["usage"]["cpu_ms"].is_number() && task["usage"]["ran_on"].is_string(), "{task}");

    let path = format!("/v1/tasks/{id}");
    let deleted = node.request(Method::DELETE, &path).send().await.expect("answers");
    assert_eq!(deleted.status(), 204);
    assert_eq!(node.get(&path).await.status(), 404);
    assert_eq!(node.get(&format!("{path}/logs")).await.status(), 404);
}

#[tokio::test]
async fn a_task_made_from_a_file_runs() {
    let node = Node::start(&[]).await;
    let files: [(&str, Vec<u8>, Option<&str>, Value); 3] = [
        ("task.js", b"const x=1; const y=2; console.log(x+y); x + y".to_vec(), None, json!(3)),
        (
            "task.ts",
            b"export default (n: number): number => n * 2".to_vec(),
            Some("[21]"),
            json!(42),
        ),
        ("fib.wasm", guest("fib.wasm"), Some("[20]"), json!(6765)),
    ];
    for (name, code, args, expected) in files {
        let file = multipart::Part::bytes(code).file_name(name);
        let mut form = multipart::Form::new().part("file", file).text("name", "task1");
        if let Some(args) = args {
            form = form.text("args", args);
        }
        let response = node.request(Method::PUT, "/v1/tasks").multipart(form).send().await;
        let response = response.expect("answers");
        assert_eq!(response.status(), 202, "{name}");
        let id = json_of(response).await["id"].as_str().expect("has an id").to_owned();
        let task = node.finished(&id).await;
        assert_eq!(task["outcome"]["value"], expected, "{task}");
    }
    let zip = multipart::Part::bytes(b"PK".to_vec()).file_name("project.zip");
    let form = multipart::Form::new().part("file", zip);
    let response = node.request(Method::PUT, "/v1/tasks").multipart(form).send().await;
    assert_eq!(response.expect("answers").status(), 415);
}

#[tokio::test]
async fn a_task_of_a_function_is_bound_to_its_version() {
    let node = Node::start(&[]).await;
    node.deploy(
        "f",
        "text/javascript",
        "export default () => new Promise(r => setTimeout(() => r(1), 300))",
    )
    .await;
    let id = node.submit(&json!({"function": "f"})).await;
    node.deploy("f", "text/javascript", "export default () => 2").await;
    assert_eq!(node.finished(&id).await["outcome"]["value"], 1);
    let id = node.submit(&json!({"function": "f"})).await;
    let task = node.finished(&id).await;
    assert_eq!((&task["outcome"]["value"], &task["function"]), (&json!(2), &json!("f@2")));
    let id = node.submit(&json!({"function": "f@1"})).await;
    assert_eq!(node.finished(&id).await["outcome"]["value"], 1);
}

#[tokio::test]
async fn failures_are_outcomes() {
    let node = Node::start(&[]).await;
    for (request, kind) in [
        (script("throw new TypeError('no')"), "threw"),
        (json!({"source": "while (true) {}", "limits": {"timeout_ms": 100}}), "timed_out"),
        (script("const a = []; for (;;) a.push({ a })"), "out_of_memory"),
    ] {
        let id = node.submit(&request).await;
        let task = node.finished(&id).await;
        assert_eq!(
            (&task["state"], &task["outcome"]["kind"]),
            (&json!("failed"), &json!(kind)),
            "{task}"
        );
    }
}

#[tokio::test]
async fn a_running_task_is_cancelled_at_once() {
    let node = Node::start(&["--slots", "1"]).await;
    let running = node.submit(&script("console.log('began'); while (true) {}")).await;
    let queued = node.submit(&script("1")).await;
    for id in [&queued, &running] {
        let response = node.post(&format!("/v1/tasks/{id}/cancel"), &json!(null)).await;
        assert_eq!(response.status(), 200);
        let task = json_of(response).await;
        assert_eq!(
            (&task["state"], &task["outcome"]["kind"]),
            (&json!("cancelled"), &json!("cancelled"))
        );
        let again = node.post(&format!("/v1/tasks/{id}/cancel"), &json!(null)).await;
        assert_eq!(again.status(), 409);
    }
    let after = node.submit(&script("2")).await;
    assert_eq!(node.finished(&after).await["outcome"]["value"], 2);
}

#[tokio::test]
async fn retries_are_counted() {
    let node = Node::start(&[]).await;
    let source = "if (runabout.task.attempt < 3) throw new Error('not yet'); runabout.task.attempt";
    let id = node.submit(&json!({"source": source, "retries": 4})).await;
    let task = node.finished(&id).await;
    assert_eq!(task["outcome"]["value"], 3, "{task}");
    assert_eq!((&task["attempt"], &task["max_attempts"]), (&json!(3), &json!(5)));
    let attempts = json_of(node.get(&format!("/v1/tasks/{id}/attempts")).await).await;
    let kinds: Vec<&str> = attempts["items"]
        .as_array()
        .expect("is a list")
        .iter()
        .filter_map(|attempt| attempt["outcome"]["kind"].as_str())
        .collect();
    assert_eq!(kinds, ["threw", "threw", "returned"]);
}

#[tokio::test]
async fn tasks_are_listed_page_by_page() {
    let node = Node::start(&[]).await;
    let mut submitted = Vec::new();
    for index in 0..5 {
        let request =
            json!({"source": "1", "name": format!("n{index}"), "labels": {"kind": "demo"}});
        submitted.push(node.submit(&request).await);
    }
    for id in &submitted {
        node.finished(id).await;
    }
    let mut listed = Vec::new();
    let mut path = "/v1/tasks?limit=2&state=succeeded".to_owned();
    loop {
        let page = json_of(node.get(&path).await).await;
        for task in page["items"].as_array().expect("is a list") {
            listed.push(task["id"].as_str().expect("has an id").to_owned());
        }
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/v1/tasks?limit=2&state=succeeded&cursor={cursor}");
    }
    submitted.reverse();
    assert_eq!(listed, submitted);
    let named = json_of(node.get("/v1/tasks?name=n3").await).await;
    assert_eq!(named["items"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn logs_come_as_text_too() {
    let node = Node::start(&[]).await;
    let id = node.submit(&script("console.log('one'); console.error('two')")).await;
    node.finished(&id).await;
    let request = node.request(Method::GET, &format!("/v1/tasks/{id}/logs"));
    let response = request.header("accept", "text/plain").send().await.expect("answers");
    assert_eq!(response.text().await.expect("is text"), "one\ntwo\n");
}
