//! `examples/offload` as `make offload` starts it: two nodes, one of them held back, and four URLs.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use reqwest::Client;
use runabout_tests::{binary, project};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// How often `auto` is asked until it has been on the side that is the faster one.
const ROUNDS_MAX: usize = 100;
/// How long starting and stopping may take.
const PATIENCE: Duration = Duration::from_secs(60);

struct Example {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    near: String,
    client: Client,
}

impl Example {
    async fn start() -> Self {
        let port = free_port_before_a_free_one();
        let script: PathBuf = project().join("examples/offload/start.mjs");
        let mut child = Command::new("node")
            .arg(script)
            .arg("--binary")
            .arg(binary())
            .args(["--port", &port.to_string()])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("Node.js starts");
        let stdout = child.stdout.take().expect("stdout is piped");
        let client = Client::builder().timeout(PATIENCE).build().expect("a client can be made");
        let near = format!("http://127.0.0.1:{port}");
        let mut example = Self { child, lines: BufReader::new(stdout).lines(), near, client };
        example.says("Ctrl-C ends both nodes.").await;
        example
    }

    async fn says(&mut self, text: &str) {
        let said = async {
            while let Some(line) = self.lines.next_line().await.expect("can be read") {
                if line.contains(text) {
                    return;
                }
            }
            panic!("it ended before it said {text:?}");
        };
        tokio::time::timeout(PATIENCE, said).await.expect("it starts in time");
    }

    /// The result, where it ran and why.
    async fn ask(&self, path: &str) -> (String, String, String) {
        let url = format!("{}{path}", self.near);
        let answer = self.client.get(&url).send().await.expect("answers");
        assert_eq!(answer.status(), 200, "{path}");
        let head = |name| {
            let value = answer.headers().get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        let (ran_on, placement) = (head("runabout-ran-on"), head("runabout-placement"));
        (answer.text().await.expect("is text"), ran_on, placement)
    }

    /// Asks again until it ran there.
    async fn comes_to(&self, path: &str, result: &str, node: &str) {
        let mut seen = Vec::new();
        for _ in 0..ROUNDS_MAX {
            let (value, ran_on, placement) = self.ask(path).await;
            assert_eq!(value, result, "{path}");
            if ran_on == node {
                return;
            }
            seen.push(format!("{ran_on} {placement}"));
        }
        panic!("{path} never ran on {node}: {seen:?}");
    }

    async fn stop(mut self) {
        let id = self.child.id().expect("it runs");
        let id = rustix::process::Pid::from_raw(id as i32).expect("is a process");
        rustix::process::kill_process(id, rustix::process::Signal::TERM).expect("can be signalled");
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        assert!(ended.expect("it ends in time").expect("it ends").success());
        assert!(self.client.get(&self.near).send().await.is_err(), "its nodes have ended too");
    }
}

/// The page has the port after the near node's.
fn free_port_before_a_free_one() -> u16 {
    for _ in 0..100 {
        let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = taken.local_addr().expect("it has one").port();
        if port < u16::MAX && TcpListener::bind(("127.0.0.1", port + 1)).is_ok() {
            return port;
        }
    }
    panic!("no two ports in a row are free");
}

#[tokio::test]
async fn its_urls_run_where_its_page_says() {
    let example = Example::start().await;
    for (path, result, node, reason) in [
        ("/getData?offload=0", "5702887", "near", "here; reason=asked"),
        ("/getData?offload=1", "5702887", "far", "upstream; reason=asked"),
        ("/ruled/getBiggerData?n=30", "832040", "near", "here; reason=rule"),
        ("/ruled/getBiggerData?n=34", "5702887", "far", "upstream; reason=rule"),
    ] {
        let expected = (result.to_owned(), node.to_owned(), reason.to_owned());
        assert_eq!(example.ask(path).await, expected, "{path}");
    }
    example.comes_to("/getBiggerData?n=30", "832040", "near").await;
    example.comes_to("/getBiggerData?n=34", "5702887", "far").await;
    example.stop().await;
}
