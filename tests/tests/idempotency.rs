//! A submission with an `Idempotency-Key` is done once, however often it is sent.

use futures::future::join_all;
use reqwest::{Method, Response};
use runabout_tests::{Node, json_of, script};
use serde_json::{Value, json};

async fn submit(node: &Node, path: &str, key: &str, body: &Value) -> Response {
    let request = node.request(Method::POST, path).header("idempotency-key", key).json(body);
    request.send().await.expect("the node answers")
}

async fn id_of(response: Response) -> String {
    assert!(response.status().is_success(), "{}", response.status());
    json_of(response).await["id"].as_str().expect("a task has an id").to_owned()
}

async fn count(node: &Node) -> usize {
    let list = json_of(node.get("/v1/tasks?limit=500").await).await;
    list["items"].as_array().expect("a list").len()
}

#[tokio::test]
async fn the_same_key_and_body_are_the_same_task_even_after_a_crash() {
    let node = Node::start(&[]).await;
    let body = script("1 + 1");
    let first = submit(&node, "/v1/tasks", "key-1", &body).await;
    assert!(first.headers().get("idempotent-replayed").is_none());
    let id = id_of(first).await;
    let again = submit(&node, "/v1/tasks?wait=10", "key-1", &body).await;
    assert_eq!(again.headers()["idempotent-replayed"], "true");
    assert_eq!(again.headers()["location"], format!("/v1/tasks/{id}").as_str());
    let task = json_of(again).await;
    assert_eq!((&task["id"], &task["outcome"]["value"]), (&json!(id), &json!(2)), "{task}");

    let node = node.crash_and_restart(&[]).await;
    assert_eq!(id_of(submit(&node, "/v1/tasks", "key-1", &body).await).await, id);
    assert_ne!(id_of(submit(&node, "/v1/tasks", "key-2", &body).await).await, id);
    assert_eq!(count(&node).await, 2);
}

#[tokio::test]
async fn of_many_that_come_at_once_one_is_done() {
    let node = Node::start(&[]).await;
    let body = script("1");
    let requests = (0..64).map(|index| {
        let key = if index % 2 == 0 { "even" } else { "odd" };
        let (node, body) = (&node, &body);
        async move { (key, id_of(submit(node, "/v1/tasks", key, body).await).await) }
    });
    let mut answers = join_all(requests).await;
    answers.sort();
    answers.dedup();
    assert_eq!(answers.len(), 2, "{answers:?}");
    assert_eq!(count(&node).await, 2);
}

#[tokio::test]
async fn the_same_key_with_another_body_is_refused() {
    let node = Node::start(&[]).await;
    id_of(submit(&node, "/v1/tasks", "key", &script("1")).await).await;
    let other = submit(&node, "/v1/tasks", "key", &script("2")).await;
    assert_eq!(other.status(), 422);
    assert_eq!(json_of(other).await["code"], "idempotency_key_reused");
    let as_batch = submit(&node, "/v1/tasks/batch", "key", &json!([script("1")])).await;
    assert_eq!(as_batch.status(), 422, "a key stands for one submission, whatever its kind");
    let empty = submit(&node, "/v1/tasks", " ", &script("1")).await;
    assert_eq!(json_of(empty).await["code"], "invalid_idempotency_key");
    assert_eq!(count(&node).await, 1);
}

#[tokio::test]
async fn a_batch_and_a_file_are_done_once_too() {
    let node = Node::start(&[]).await;
    let batch = json!([script("1"), script("2"), script("3")]);
    let ids = json_of(submit(&node, "/v1/tasks/batch", "batch", &batch).await).await;
    assert_eq!(ids["ids"].as_array().map(Vec::len), Some(3));
    assert_eq!(json_of(submit(&node, "/v1/tasks/batch", "batch", &batch).await).await, ids);

    let file = async || {
        let part = reqwest::multipart::Part::bytes(b"40 + 2".to_vec()).file_name("task.js");
        // A boundary of its own each time.
        let form = reqwest::multipart::Form::new().part("file", part).text("name", "answer");
        let request = node.request(Method::PUT, "/v1/tasks").header("idempotency-key", "file");
        id_of(request.multipart(form).send().await.expect("the node answers")).await
    };
    assert_eq!(file().await, file().await);
    assert_eq!(count(&node).await, 4);
}

#[tokio::test]
async fn what_was_deleted_is_not_done_again() {
    let node = Node::start(&[]).await;
    let id = id_of(submit(&node, "/v1/tasks?wait=10", "key", &script("1")).await).await;
    let path = format!("/v1/tasks/{id}");
    let deleted = node.request(Method::DELETE, &path).send().await.expect("the node answers");
    assert_eq!(deleted.status(), 204);
    let again = submit(&node, "/v1/tasks", "key", &script("1")).await;
    assert_eq!(again.status(), 410);
    assert_eq!(json_of(again).await["code"], "submission_deleted");
}
