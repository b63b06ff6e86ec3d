//! Thousands of requests that wait for tasks: all are answered when their task has ended. They share
//! connections over HTTP/2, as a node takes more requests than connections.

use std::collections::HashMap;

use runabout_tests::{Node, json_of, script};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const WAITERS: usize = 5_000;
/// Requests on a connection; a node takes 256.
const SHARING: usize = 250;

/// HTTP/2, as much of it as GET requests need (RFC 9113).
mod frames {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const SETTINGS: u8 = 4;
    pub const PING: u8 = 6;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const END_STREAM: u8 = 1;
    pub const ACK: u8 = 1;
    pub const END_HEADERS: u8 = 4;

    pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).expect("is short").to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }

    /// A GET, its names from the static table and its values as they are (RFC 7541).
    pub fn get(host: &str, path: &str) -> Vec<u8> {
        let text = |index: u8, text: &str| {
            let length = u8::try_from(text.len()).ok().filter(|it| *it < 127).expect("is short");
            [&[index, length], text.as_bytes()].concat()
        };
        [vec![0x82, 0x86], text(0x04, path), text(0x01, host)].concat()
    }
}

/// Asks for all of these paths at once on one connection, and gives the answers' bodies in order.
async fn ask_together(address: String, paths: Vec<String>) -> Vec<Value> {
    let mut connection = TcpStream::connect(&address).await.expect("connects");
    let mut request = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    request.extend(frames::frame(frames::SETTINGS, 0, 0, &[]));
    let window = (1_u32 << 30).to_be_bytes();
    request.extend(frames::frame(frames::WINDOW_UPDATE, 0, 0, &window));
    for (stream, path) in (1..).step_by(2).zip(&paths) {
        let flags = frames::END_STREAM | frames::END_HEADERS;
        let headers = frames::get(&address, path);
        request.extend(frames::frame(frames::HEADERS, flags, stream, &headers));
    }
    connection.write_all(&request).await.expect("writes");
    let mut bodies: HashMap<u32, Vec<u8>> = HashMap::new();
    let mut ended = 0;
    while ended < paths.len() {
        let mut head = [0; 9];
        connection.read_exact(&mut head).await.expect("goes on");
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let mut payload = vec![0; length];
        connection.read_exact(&mut payload).await.expect("goes on");
        match head[3] {
            frames::DATA => bodies.entry(stream).or_default().extend(payload),
            frames::PING if head[4] & frames::ACK == 0 => {
                let pong = frames::frame(frames::PING, frames::ACK, 0, &payload);
                connection.write_all(&pong).await.expect("writes");
            }
            _ => {}
        }
        let is_answer = matches!(head[3], frames::DATA | frames::HEADERS);
        ended += usize::from(is_answer && head[4] & frames::END_STREAM != 0);
    }
    let body = |stream: u32| serde_json::from_slice(&bodies[&stream]).expect("is JSON");
    (1..).step_by(2).take(paths.len()).map(body).collect()
}

/// Waiters for these tasks, as many on a connection as may be.
fn wait_for(node: &Node, ids: &[String]) -> JoinSet<Vec<Value>> {
    let address = node.url.trim_start_matches("http://").to_owned();
    let path = |id: &String| format!("/v1/tasks/{id}?wait=60");
    let together = |ids: &[String]| ask_together(address.clone(), ids.iter().map(path).collect());
    ids.chunks(SHARING).map(together).collect()
}

async fn metric(node: &Node, name: &str) -> f64 {
    let page = node.get("/metrics").await.text().await.expect("is text");
    let value = page.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    value.unwrap_or_else(|| panic!("no {name} in {page}"))
}

async fn until_they_wait(node: &Node, waiters: usize) {
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(50);
    loop {
        let waiting = metric(node, "runabout_waits ").await;
        if waiting == waiters as f64 {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{waiting} wait");
    }
}

/// A task that holds the only slot until it is cancelled.
async fn gate(node: &Node) -> String {
    let source = "await new Promise((done) => setTimeout(done, 600000))";
    node.submit(&json!({"source": source, "limits": {"timeout_ms": 600_000}})).await
}

async fn cancel(node: &Node, id: &str) {
    let cancelled = node.post(&format!("/v1/tasks/{id}/cancel"), &Value::Null).await;
    assert_eq!(cancelled.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_who_wait_for_one_task_are_all_answered() {
    let node = Node::start(&["--slots", "1"]).await;
    let id = gate(&node).await;
    let before = metric(&node, "process_resident_memory_bytes ").await;
    let waiters = wait_for(&node, &vec![id.clone(); WAITERS]);
    until_they_wait(&node, WAITERS).await;
    // Some 20 KiB each; what a waiter must never hold is a thread, or a copy of something large.
    let taken = metric(&node, "process_resident_memory_bytes ").await - before;
    assert!(taken < (256 << 20) as f64, "{taken} bytes for {WAITERS}");
    cancel(&node, &id).await;
    let answers = waiters.join_all().await.concat();
    assert_eq!(answers.len(), WAITERS);
    assert!(answers.iter().all(|task| task["id"] == id && task["state"] == "cancelled"));
    assert_eq!(metric(&node, "runabout_waits ").await, 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_who_wait_for_as_many_tasks_are_all_answered() {
    let node = Node::start(&["--slots", "1"]).await;
    let gate = gate(&node).await;
    let mut ids = Vec::new();
    let tasks: Vec<Value> = (0..1000).map(|n| script(&n.to_string())).collect();
    while ids.len() < WAITERS {
        let batch = json_of(node.post("/v1/tasks/batch", &json!(tasks)).await).await;
        let accepted = batch["ids"].as_array().expect("ids").iter();
        ids.extend(accepted.filter_map(Value::as_str).map(ToOwned::to_owned));
    }
    let waiters = wait_for(&node, &ids);
    until_they_wait(&node, WAITERS).await;
    cancel(&node, &gate).await;
    let answers = waiters.join_all().await.concat();
    let ended: HashMap<&str, &Value> =
        answers.iter().filter_map(|task| Some((task["id"].as_str()?, task))).collect();
    for (index, id) in ids.iter().enumerate() {
        let task = ended[id.as_str()];
        assert_eq!(
            (&task["state"], &task["outcome"]["value"]),
            (&json!("succeeded"), &json!(index % 1000)),
            "{task}"
        );
    }
}
