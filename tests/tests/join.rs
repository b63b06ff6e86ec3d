//! Nodes that work for others, and what the command line says of workers and functions.

use std::process::Stdio;

use runabout_tests::{Node, Setup, binary, guest, json_of, runabout, script};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// A process that works for a node. Dropping it kills it.
struct Joined(Child);

impl Joined {
    /// Starts one, and waits until the node lists it.
    async fn start(node: &Node, name: &str, flags: &[&str]) -> Self {
        let mut child = Command::new(binary())
            .args(["join", &node.url, "--name", name])
            .args(flags)
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("the binary starts");
        let stderr = child.stderr.take().expect("is piped");
        let mut lines = BufReader::new(stderr).lines();
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let joined = Self(child);
        while !listed(node).await.iter().any(|worker| worker["name"] == json!(name)) {
            tokio::task::yield_now().await;
        }
        joined
    }

    fn signal(&self) {
        let id = self.0.id().expect("it runs");
        let id = rustix::process::Pid::from_raw(id as i32).expect("is a process");
        rustix::process::kill_process(id, rustix::process::Signal::TERM).expect("can be signalled");
    }
}

async fn listed(node: &Node) -> Vec<Value> {
    let listed = json_of(node.get("/v1/workers").await).await;
    listed["items"].as_array().expect("a list").clone()
}

#[tokio::test]
async fn a_joined_node_runs_javascript_and_wasm_for_another() {
    let node = Node::start(&["--slots", "0"]).await;
    let _joined = Joined::start(&node, "helper", &["--slots", "2"]).await;
    node.deploy("fib", "application/wasm", guest("fib.wasm")).await;
    node.deploy(
        "hi",
        "text/typescript",
        "export default (n: string) => { console.log(n); return n }",
    )
    .await;
    for (request, value) in [
        (json!({"function": "fib", "args": [20]}), json!(6765)),
        (json!({"function": "hi", "args": ["x"]}), json!("x")),
        (json!({"source": "1 + 1", "limits": {"memory_bytes": 64 << 20}}), json!(2)),
    ] {
        let id = node.submit(&request).await;
        let task = node.finished(&id).await;
        assert_eq!(task["outcome"]["value"], value, "{task}");
        assert_eq!(
            (&task["trust"], &task["usage"]["ran_on"]),
            (&json!("joined"), &json!("helper"))
        );
        assert!(task["usage"]["cpu_ms"].is_number(), "{task}");
    }
    let id = node.submit(&script("const a = []; for (;;) a.push({ a })")).await;
    assert_eq!(node.finished(&id).await["outcome"]["kind"], "out_of_memory");
    let id = node.submit(&json!({"source": "for(;;){}", "limits": {"timeout_ms": 100}})).await;
    assert_eq!(node.finished(&id).await["outcome"]["kind"], "timed_out");
}

#[tokio::test]
async fn the_tasks_of_a_joined_node_that_is_killed_finish_elsewhere_from_their_checkpoints() {
    let node = Node::start(&["--slots", "0"]).await;
    let mut first = Joined::start(&node, "first", &["--slots", "4"]).await;
    let source = "
        const from = runabout.task.checkpoint ?? 0;
        if (from === 0) { runabout.checkpoint(41); console.log('kept'); while (true) {} }
        from + 1";
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(node.submit(&script(source)).await);
    }
    for id in &ids {
        // A line and the checkpoint before it arrive together.
        while node.lines(id).await.is_empty() {
            tokio::task::yield_now().await;
        }
    }
    let _second = Joined::start(&node, "second", &["--slots", "2"]).await;
    first.0.kill().await.expect("killed");
    for id in &ids {
        let task = node.finished(id).await;
        assert_eq!((&task["outcome"]["value"], &task["lost"]), (&json!(42), &json!(1)), "{task}");
        assert_eq!(task["usage"]["ran_on"], "second");
    }
}

#[tokio::test]
async fn a_joined_node_that_is_told_to_stop_finishes_what_it_runs() {
    let node = Node::start(&["--slots", "0"]).await;
    let mut joined = Joined::start(&node, "leaver", &["--slots", "1"]).await;
    let source = "console.log('began'); \
                  await new Promise((done) => setTimeout(done, 500)); 'finished'";
    let source = format!(
        "export default async () => {{ {} }}",
        source.replace("'finished'", "return 'finished'")
    );
    let id = node.submit(&script(&source)).await;
    while node.lines(&id).await.is_empty() {
        tokio::task::yield_now().await;
    }
    joined.signal();
    assert!(joined.0.wait().await.expect("it ends").success());
    let task = node.finished(&id).await;
    assert_eq!((&task["outcome"]["value"], &task["lost"]), (&json!("finished"), &json!(0)));
    while !listed(&node).await.is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_joined_node_hands_back_what_takes_too_long_and_comes_back_after_a_crash() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut node = Node::start_in(folder.path(), &["--slots", "0"]).await;
    let mut joined = Joined::start(&node, "leaver", &["--slots", "1", "--grace", "100ms"]).await;
    let id = node
        .submit(&script("if (runabout.task.attempt < 2) { console.log(1); while (true) {} } 2"))
        .await;
    while node.lines(&id).await.is_empty() {
        tokio::task::yield_now().await;
    }
    joined.signal();
    assert!(joined.0.wait().await.expect("it ends").success());
    let _again = Joined::start(&node, "again", &["--slots", "1"]).await;
    let task = node.finished(&id).await;
    assert_eq!((&task["outcome"]["value"], &task["lost"]), (&json!(2), &json!(0)), "{task}");

    // The same address, so that it is found again.
    let address = node.url.trim_start_matches("http://").to_owned();
    node.crash().await;
    drop(node);
    let node = Node::set_up(Setup {
        flags: &["--slots", "0"],
        data: Some(folder.path()),
        listen: Some(&address),
        ..Setup::default()
    })
    .await;
    let id = node.submit(&script("3")).await;
    assert_eq!(node.finished(&id).await["usage"]["ran_on"], "again");
}

#[tokio::test]
async fn joining_says_what_is_wrong_in_one_line() {
    let (code, _, stderr) = runabout(&["join", "ftp://127.0.0.1:1"]).await;
    assert!(stderr.contains("is no address of a node"), "{stderr}");
    assert_eq!(code, 2, "{stderr}");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("token");
    std::fs::write(&path, "secret").expect("written");
    let node = Node::start(&["--token-file", path.to_str().expect("text")]).await;
    let (code, _, stderr) = runabout(&["join", &node.url]).await;
    assert!(stderr.contains("this node wants its token"), "{stderr}");
    assert_eq!(code, 8, "{stderr}");
}

#[tokio::test]
async fn what_is_deployed_is_written_as_types() {
    let node = Node::start(&[]).await;
    node.deploy("fib", "application/wasm", guest("fib.wasm")).await;
    node.deploy("hi", "text/javascript", "export const a = () => 1; export default () => 2").await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("functions.d.ts");
    let out = path.to_str().expect("text");
    let (code, _, stderr) = runabout(&["types", "--node", &node.url, "--out", out]).await;
    assert_eq!(code, 0, "{stderr}");
    let text = std::fs::read_to_string(&path).expect("written");
    assert!(text.contains("\"fib\": (p1: number"), "{text}");
    assert!(text.contains("\"a\": (...args: Json[]) => Json"), "{text}");
}
