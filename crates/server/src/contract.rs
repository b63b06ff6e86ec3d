//! The public contract, held at the router: a node in a temporary directory, and requests through
//! one check function. Whether the parts behind it do their work is for the whole product's tests.

use std::net::SocketAddr;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use runabout_protocol::Digest;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tower::ServiceExt;

use crate::{Settings, Started, start};

/// A node, and the directory that it lives in.
struct TestNode {
    node: Started,
    _data: TempDir,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.body))
    }
}

impl TestNode {
    async fn start() -> Self {
        let data = tempfile::tempdir().expect("a directory");
        let listen = SocketAddr::from(([127, 0, 0, 1], 7878));
        let node = start(Settings::new(data.path()), listen).await.expect("starts");
        Self { node, _data: data }
    }

    async fn stop(self) {
        self.node.schedules_task.end().await;
        self.node.app.engine.stop().await;
        self.node.engine_task.join().await;
        self.node.upkeep.abort();
    }

    /// Sends a request whose head is `METHOD PATH`, and a content type if it has a body.
    async fn ask(&self, head: &str, content_type: &str, body: impl Into<Body>) -> Answer {
        let (method, path) = head.split_once(' ').expect("METHOD PATH");
        let mut request = Request::builder().method(method).uri(path);
        if !content_type.is_empty() {
            request = request.header("Content-Type", content_type);
        }
        let request = request.body(body.into()).expect("a request");
        let response = self.node.front.clone().oneshot(request).await.expect("infallible");
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, 64 << 20).await.expect("reads");
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: String::from_utf8_lossy(&bytes).into_owned(),
        }
    }

    async fn json(&self, head: &str, body: &str) -> Answer {
        self.ask(head, "application/json", body.to_owned()).await
    }

    /// Sends JSON and expects a problem; `members` are `name=value`, checked as text.
    async fn check(&self, head: &str, body: &str, expected: &str) {
        let answer = self.json(head, body).await;
        refused(&format!("{head} {body}"), &answer, expected);
    }
}

/// Holds an answer to `STATUS CODE NAME=VALUE...`.
fn refused(what: &str, answer: &Answer, expected: &str) {
    let mut words = expected.split(' ');
    let mut word = || words.next().unwrap_or_default();
    let (status, code) = (word(), word());
    assert_eq!(answer.status.as_str(), status, "{what}: {}", answer.body);
    let content_type = answer.headers.get("content-type").expect("a type");
    assert_eq!(content_type, "application/problem+json", "{what}");
    let problem = answer.json();
    assert_eq!(problem["code"], code, "{what}: {problem}");
    assert_eq!(problem["status"], answer.status.as_u16(), "{what}: {problem}");
    for member in ["type", "title", "detail"] {
        assert!(problem[member].as_str().is_some_and(|text| !text.is_empty()), "{what}: {problem}");
    }
    for (name, value) in words.filter_map(|pair| pair.split_once('=')) {
        let found = problem[name].to_string();
        assert_eq!(found.trim_matches('"'), value, "{what}: {problem}");
    }
}

const FIB: &[u8] = include_bytes!("../../../guests/dist/fib.wasm");
const NO_TASK: &str = "0198c0de-0000-7000-8000-000000000000";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_said() {
    let node = TestNode::start().await;
    let digest = format!("sha256:{}", "0".repeat(64));
    for (head, body, expected) in [
        ("GET /nothing", "", "404 unknown_path"),
        ("GET /v1/tasks/", "", "404 unknown_path"),
        ("GET /docs/nothing", "", "404 unknown_path"),
        ("GET /v1/node?x=1", "", "400 unknown_field field=x"),
        ("PATCH /v1/tasks", "", "405 method_not_allowed"),
        ("GET /v1/functions/fib/call", "", "405 method_not_allowed"),
        ("POST /v1/tasks", "", "400 malformed_json line=1"),
        ("POST /v1/tasks", "{\n  \"source\": }", "400 malformed_json line=2 column=13"),
        ("POST /v1/tasks", "[]", "400 body_not_object"),
        ("POST /v1/tasks", "{}", "400 missing_field field=source"),
        ("POST /v1/tasks", r#"{"soruce":"1"}"#, "400 unknown_field field=soruce suggestion=source"),
        (
            "POST /v1/tasks",
            r#"{"source":"1","limits":{"timout_ms":1}}"#,
            "400 unknown_field field=limits.timout_ms suggestion=limits.timeout_ms",
        ),
        ("POST /v1/tasks", r#"{"source":1}"#, "400 invalid_field field=source"),
        ("POST /v1/tasks", r#"{"source":"1","function":"f"}"#, "400 conflicting_fields"),
        ("POST /v1/tasks", r#"{"source":"1","args":1}"#, "400 arguments_not_array field=args"),
        ("POST /v1/tasks", r#"{"source":"1","run_at":"noon"}"#, "400 invalid_field field=run_at"),
        ("POST /v1/tasks", r#"{"source":"1","language":"py"}"#, "400 invalid_field field=language"),
        ("POST /v1/tasks", r#"{"source":"1","place":"moon"}"#, "400 invalid_field field=place"),
        (
            "POST /v1/tasks",
            r#"{"source":"1","limits":{"timeout_ms":99999999999}}"#,
            "422 limit_above_maximum field=limits.timeout_ms",
        ),
        (
            "POST /v1/tasks",
            r#"{"source":"1","limits":{"memory_bytes":0}}"#,
            "400 invalid_field field=limits.memory_bytes",
        ),
        ("POST /v1/tasks", r#"{"source":"let x = 1;\nlet = ;"}"#, "422 syntax_error line=2"),
        ("POST /v1/tasks", r#"{"function":"none"}"#, "404 function_not_found"),
        ("POST /v1/tasks", r#"{"function":"a/b"}"#, "400 invalid_name"),
        ("POST /v1/tasks", r#"{"function":"fib@x"}"#, "400 invalid_field field=function"),
        ("POST /v1/tasks?wait=61", r#"{"source":"1"}"#, "400 invalid_field field=wait"),
        (
            "POST /v1/tasks?wiat=1",
            r#"{"source":"1"}"#,
            "400 unknown_field field=wiat suggestion=wait",
        ),
        ("POST /v1/tasks/batch", r#"[{"source":"1"},{"sorce":"1"}]"#, "400 unknown_field index=1"),
        ("GET /v1/work", "", "426 upgrade_required"),
        ("PATCH /v1/workers/nobody", r#"{"slots":1}"#, "404 worker_not_found"),
        ("GET /v1/tasks/not-a-uuid", "", "404 task_not_found"),
        ("GET /v1/tasks/%ff", "", "404 task_not_found"),
        (&format!("GET /v1/tasks/{NO_TASK}"), "", "404 task_not_found"),
        (&format!("GET /v1/tasks/{NO_TASK}/logs"), "", "404 task_not_found"),
        (&format!("GET /v1/tasks/{NO_TASK}/attempts"), "", "404 task_not_found"),
        (&format!("GET /v1/tasks/{NO_TASK}/events"), "", "404 task_not_found"),
        ("GET /v1/events?only=state,sate", "", "400 invalid_field field=only"),
        ("GET /v1/events?ony=state", "", "400 unknown_field field=ony suggestion=only"),
        (&format!("POST /v1/tasks/{NO_TASK}/cancel"), "", "404 task_not_found"),
        (&format!("DELETE /v1/tasks/{NO_TASK}"), "", "404 task_not_found"),
        ("GET /v1/tasks?state=asleep", "", "400 invalid_field field=state"),
        ("GET /v1/tasks?limit=0", "", "400 invalid_field field=limit"),
        ("GET /v1/tasks?limit=501", "", "400 invalid_field field=limit"),
        ("GET /v1/tasks?cursor=x", "", "400 invalid_field field=cursor"),
        ("GET /v1/tasks?label=x", "", "400 invalid_field field=label"),
        ("GET /v1/functions/none", "", "404 function_not_found"),
        ("GET /v1/functions/none?version=3", "", "404 function_not_found"),
        ("GET /v1/functions/a%2Fb", "", "400 invalid_name"),
        ("DELETE /v1/functions/none", "", "404 function_not_found"),
        ("PUT /v1/functions/.hidden", "1", "400 invalid_name"),
        ("PUT /v1/functions/f", "1", "415 unsupported_media_type"),
        ("POST /v1/functions/none/call", "[]", "404 function_not_found"),
        ("GET /v1/schedules/none", "", "404 schedule_not_found"),
        ("GET /v1/schedules?limit=0", "", "400 invalid_field field=limit"),
        ("DELETE /v1/schedules/none", "", "404 schedule_not_found"),
        ("POST /v1/schedules/none/pause", "", "404 schedule_not_found"),
        ("POST /v1/schedules/none/resume", "", "404 schedule_not_found"),
        ("PUT /v1/schedules/a%2Fb", "{}", "400 invalid_name"),
        ("PUT /v1/schedules/s", r#"{"task":{"source":"1"}}"#, "400 missing_field field=cron"),
        ("PUT /v1/schedules/s", r#"{"cron":"@daily"}"#, "400 missing_field field=task"),
        ("DELETE /v1/functions/none?version=1", "", "400 unknown_field field=version"),
        ("POST /v1/tasks/batch?wait=5", "[]", "400 unknown_field field=wait"),
        ("PUT /v1/functions/f?export=fib", "1", "400 unknown_field field=export"),
        (
            "PUT /v1/schedules/s",
            r#"{"cron":"@daily","task":{"source":"1"},"timezone":"UTC"}"#,
            "400 unknown_field field=timezone suggestion=time_zone",
        ),
        (
            "PUT /v1/schedules/s",
            r#"{"cron":"61 * * * *","task":{"source":"1"}}"#,
            "422 invalid_cron field=cron",
        ),
        (
            "PUT /v1/schedules/s",
            r#"{"cron":"@daily","time_zone":"Mars","task":{"source":"1"}}"#,
            "422 unknown_time_zone field=time_zone",
        ),
        (
            "PUT /v1/schedules/s",
            r#"{"cron":"@daily","task":{"function":"none"}}"#,
            "404 function_not_found field=task",
        ),
        (
            "PUT /v1/schedules/s",
            r#"{"cron":"@daily","task":{"source":"1","limits":{"timeout_ms":99999999999}}}"#,
            "422 limit_above_maximum field=task.limits.timeout_ms",
        ),
        ("GET /v1/documents/none", "", "404 document_not_found"),
        ("GET /v1/documents/a.b", "", "400 invalid_name"),
        ("GET /v1/documents?limit=0", "", "400 invalid_field field=limit"),
        ("GET /v1/documents/none/revisions", "", "404 document_not_found"),
        ("GET /v1/documents/none/revisions/x", "", "400 invalid_field field=revision"),
        ("GET /v1/documents/none/events", "", "404 document_not_found"),
        ("DELETE /v1/documents/none", "", "404 document_not_found"),
        ("POST /v1/documents/none?base=1", "", "404 document_not_found"),
        ("PUT /v1/documents/none", "{}", "428 condition_required"),
        ("GET /v1/artifacts/x", "", "400 invalid_digest"),
        (&format!("GET /v1/artifacts/{digest}"), "", "404 artifact_missing"),
        (&format!("POST /v1/artifacts/{digest}/call"), "[]", "404 artifact_missing"),
        (&format!("PUT /v1/artifacts/{digest}"), "1", "422 digest_mismatch"),
    ] {
        node.check(head, body, expected).await;
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_method_names_the_right_ones() {
    let node = TestNode::start().await;
    let answer = node.json("DELETE /v1/tasks", "").await;
    let allow = answer.headers.get("allow").and_then(|value| value.to_str().ok()).expect("Allow");
    for method in ["GET", "POST", "PUT"] {
        assert!(allow.contains(method), "{allow}");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_artifact_needs_no_type() {
    let node = TestNode::start().await;
    let digest = |bytes: &[u8]| Digest(Sha256::digest(bytes).into());
    let source = b"export default () => 1";
    for content_type in ["", "application/octet-stream", "application/x-www-form-urlencoded"] {
        for (bytes, language) in [(&source[..], "js"), (FIB, "wasm")] {
            let head = format!("PUT /v1/artifacts/{}", digest(bytes));
            let answer = node.ask(&head, content_type, bytes).await;
            assert!(answer.status.is_success(), "{content_type}: {}", answer.body);
            assert_eq!(answer.json()["language"], language, "{content_type}");
        }
        let archive = b"PK\x03\x04";
        let head = format!("PUT /v1/artifacts/{}", digest(archive));
        let answer = node.ask(&head, content_type, &archive[..]).await;
        refused(content_type, &answer, "415 unsupported_media_type");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_the_wrong_type_or_size_are_refused() {
    let node = TestNode::start().await;
    let js = "text/javascript";
    for (head, content_type, body, expected) in [
        ("POST /v1/tasks", "text/plain", "1", "415 unsupported_media_type"),
        ("PUT /v1/tasks", "application/json", "{}", "415 unsupported_media_type"),
        ("PUT /v1/tasks", "multipart/form-data", "", "400 invalid_multipart"),
        ("PUT /v1/functions/f", "application/zip", "PK\x03\x04", "415 unsupported_media_type"),
        ("PUT /v1/functions/f", "application/wasm", "no module", "422 invalid_wasm"),
        ("PUT /v1/functions/f", js, "let = ;", "422 syntax_error line=1"),
        ("PUT /v1/functions/f", js, "import 'left-pad'", "422 unresolved_import"),
    ] {
        let answer = node.ask(head, content_type, body).await;
        refused(&format!("{head} {content_type} {body}"), &answer, expected);
    }
    let large = "a".repeat(33 << 20);
    let answer = node.ask("PUT /v1/functions/f", js, large.clone()).await;
    refused("a large function", &answer, "413 body_too_large");
    let answer = node.json("POST /v1/tasks", &format!("{{\"source\":\"{large}\"}}")).await;
    refused("a large source", &answer, "413 body_too_large");
    let args = &large[..7 << 20];
    let answer =
        node.json("POST /v1/tasks", &format!("{{\"source\":\"1\",\"args\":[\"{args}\"]}}")).await;
    refused("large arguments", &answer, "413 body_too_large field=args");
    let answer = node.json("POST /v1/functions/f/call", args).await;
    refused("a call of nothing", &answer, "404 function_not_found");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_is_deployed_called_and_removed() {
    let node = TestNode::start().await;
    let wasm = "application/wasm";
    let answer = node.ask("PUT /v1/functions/fib", wasm, FIB).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
    let version = answer.json();
    assert_eq!((&version["name"], &version["version"]), (&"fib".into(), &1.into()));
    assert_eq!(version["language"], "wasm");
    assert_eq!(version["exports"], serde_json::json!(["fib"]));
    assert!(version["manifest"].is_object());
    let answer = node.ask("PUT /v1/functions/fib", wasm, FIB).await;
    assert_eq!(answer.status, StatusCode::OK);

    let answer = node.json("POST /v1/functions/fib/call", "[34]").await;
    assert_eq!((answer.status, answer.body.as_str()), (StatusCode::OK, "5702887"));
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(answer.headers["runabout-ran-on"], "127.0.0.1:7878");
    assert_eq!(answer.headers["runabout-placement"], "here; reason=no_upstream");
    assert!(answer.headers["server-timing"].to_str().expect("text").contains("total;dur="));

    for (path, body, expected) in [
        ("fib/call", "34", "400 arguments_not_array"),
        ("fib/call", "[34", "400 malformed_json"),
        ("fib/call", "[]", "422 invalid_arguments"),
        ("fib/call", "[\"x\"]", "422 invalid_arguments"),
        ("fib/call", "[-1]", "422 function_threw"),
        ("fib/call?export=nope", "[1]", "422 unknown_export"),
        ("fib/call?version=2", "[1]", "404 function_not_found"),
        ("fib/call?offload=2", "[1]", "400 invalid_field field=offload"),
        ("fib/call?timeout_ms=99999999999", "[1]", "422 limit_above_maximum field=timeout_ms"),
    ] {
        node.check(&format!("POST /v1/functions/{path}"), body, expected).await;
    }
    let answer = node.json("POST /v1/tasks", r#"{"function":"fib","args":["x"]}"#).await;
    refused("a task with wrong arguments", &answer, "422 invalid_arguments");

    let digest = version["digest"].as_str().expect("text").to_owned();
    let answer = node.json(&format!("POST /v1/artifacts/{digest}/call?export=fib"), "[10]").await;
    assert_eq!(answer.body, "55");
    let answer = node.ask(&format!("HEAD /v1/artifacts/{digest}"), "", "").await;
    assert_eq!(answer.headers["etag"], format!("\"{digest}\"").as_str());
    assert_eq!(answer.headers["x-content-type-options"], "nosniff");

    assert_eq!(node.ask("DELETE /v1/functions/fib", "", "").await.status, StatusCode::NO_CONTENT);
    node.check("POST /v1/functions/fib/call", "[34]", "404 function_not_found").await;
    let answer = node.ask("PUT /v1/functions/fib", wasm, FIB).await;
    assert_eq!(answer.json()["version"], 2);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_accepted_waited_for_and_deleted() {
    let node = TestNode::start().await;
    let answer =
        node.json("POST /v1/tasks", r#"{"name":"task1","source":"console.log(1+2)"}"#).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.body);
    let task = answer.json();
    let path = answer.headers["location"].to_str().expect("text").to_owned();
    assert_eq!(path, format!("/v1/tasks/{}", task["id"].as_str().expect("text")));

    let ended = node.json(&format!("GET {path}?wait=20"), "").await.json();
    assert_eq!(ended["state"], "succeeded", "{ended}");
    assert_eq!(ended["outcome"]["kind"], "returned");
    let logs = node.json(&format!("GET {path}/logs"), "").await.json();
    assert_eq!(logs["items"][0]["text"], "3", "{logs}");
    assert_eq!(logs["truncated"], false);
    let attempts = node.json(&format!("GET {path}/attempts"), "").await.json();
    assert_eq!(attempts["items"][0]["attempt"], 1);
    let workers = node.json("GET /v1/workers", "").await.json();
    assert_eq!(workers["items"][0]["id"], ended["worker"], "{workers}");
    node.check(&format!("POST {path}/cancel"), "", "409 task_finished state=succeeded").await;
    let page = node.json("GET /v1/tasks?name=task1&state=succeeded", "").await.json();
    assert_eq!(page["items"][0]["id"], task["id"]);

    assert_eq!(node.json(&format!("DELETE {path}"), "").await.status, StatusCode::NO_CONTENT);
    node.check(&format!("GET {path}"), "", "404 task_not_found").await;
    node.check(&format!("DELETE {path}"), "", "404 task_not_found").await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_is_shown_and_documented() {
    let node = TestNode::start().await;
    let page = node.ask("GET /metrics", "", "").await.body;
    crate::metrics::is_held_to_the_table(&page);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_accepted_in_order() {
    let node = TestNode::start().await;
    let answer = node.json("POST /v1/tasks/batch", r#"[{"source":"1"},{"source":"2"}]"#).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.body);
    for (index, value) in [(0, 1), (1, 2)] {
        let id = answer.json()["ids"][index].as_str().expect("an id").to_owned();
        let task = node.json(&format!("GET /v1/tasks/{id}?wait=20"), "").await.json();
        assert_eq!(task["outcome"]["value"], value, "{task}");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_and_probes_answer() {
    let node = TestNode::start().await;
    for (path, content_type) in [
        ("/", "text/html"),
        ("/docs/", "text/html"),
        ("/docs/swagger-ui-bundle.js", "text/javascript"),
        ("/docs/errors", "text/html"),
        ("/openapi.json", "application/json"),
        ("/healthz", "application/json"),
        ("/readyz", "application/json"),
        ("/metrics", "text/plain"),
        ("/v1/node", "application/json"),
        ("/v1/workers", "application/json"),
        ("/v1/functions", "application/json"),
        ("/v1/schedules", "application/json"),
        ("/v1/documents", "application/json"),
    ] {
        let answer = node.ask(&format!("GET {path}"), "", "").await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.body);
        let found = answer.headers["content-type"].to_str().expect("text");
        assert!(found.starts_with(content_type), "{path}: {found}");
    }
    node.stop().await;
}
