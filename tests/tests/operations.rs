//! Running it for real: backups, retention, full and failing disks, the way to the end, what it
//! says of itself.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::{Client, Method, StatusCode};
use runabout_tests::{Node, Setup, json_of, runabout, script};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

/// Whatever takes longer will never come.
const LONG: Duration = Duration::from_secs(60);

/// The 20 seconds that docs/operations.md promises of a node that is told to stop, and half as much
/// again for a busy machine.
const STOPS_WITHIN: Duration = Duration::from_secs(30);

/// Asks again and again until the answer is as wanted.
async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + LONG;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what}: not in time");
    }
}

async fn state(node: &Node, id: &str) -> Value {
    json_of(node.get(&format!("/v1/tasks/{id}")).await).await["state"].clone()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("is text")
}

#[tokio::test]
async fn finished_tasks_are_kept_as_long_as_was_asked_for() {
    let node = Node::start(&["--keep", "1s"]).await;
    let later = json!({"source": "1", "run_at": "2099-01-01T00:00:00Z"});
    let waiting = node.submit(&later).await;
    let done = node.submit(&script("console.log('done')")).await;
    for path in ["", "/logs", "/attempts"] {
        let path = format!("/v1/tasks/{done}{path}");
        let gone = async || (node.get(&path).await.status() == 404).then_some(());
        until("it is forgotten", gone).await;
    }
    assert_eq!(state(&node, &waiting).await, "queued");

    let node = Node::start(&[]).await;
    let done = node.submit(&script("1")).await;
    assert_eq!(node.finished(&done).await["state"], "succeeded");
}

#[tokio::test]
async fn nonsense_about_keeping_is_refused() {
    for wrong in ["0", "soon"] {
        let (code, _, stderr) = runabout(&["serve", "--keep", wrong]).await;
        assert_eq!(code, 2, "{stderr}");
        assert!(stderr.contains("--keep"), "{stderr}");
    }
}

/// Submits until it is told to stop; what was accepted.
async fn submit_on(url: String, stop: Arc<AtomicBool>) -> Vec<String> {
    let client = Client::new();
    let mut accepted = Vec::new();
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let request = client.post(format!("{url}/v1/tasks")).json(&script(&format!("{n}")));
        let response = request.send().await.expect("the node answers");
        assert_eq!(response.status(), 202);
        accepted.push(json_of(response).await["id"].as_str().expect("has an id").to_owned());
    }
    accepted
}

#[tokio::test]
async fn a_backup_of_a_busy_node_is_a_node() {
    let node = Node::start(&["--slots", "2"]).await;
    node.deploy("add", "text/javascript", "export default (a, b) => a + b;").await;
    let large = format!("// {}\n'large'", "x".repeat(100_000));
    let mut before = vec![node.submit(&script(&large)).await];
    for n in 0..500 {
        before.push(node.submit(&script(&format!("{n} + 1"))).await);
    }
    let stop = Arc::new(AtomicBool::new(false));
    let load = tokio::spawn(submit_on(node.url.clone(), stop.clone()));

    let folder = TempDir::new().expect("a folder");
    let copy = folder.path().join("copy");
    let arguments = ["backup", text(&copy), "--data", text(node.data_dir()), "--json"];
    let (code, stdout, stderr) = runabout(&arguments).await;
    stop.store(true, Ordering::Relaxed);
    let during = load.await.expect("the load ends");
    assert_eq!(code, 0, "{stderr}");
    let copied: Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!(copied["artifacts"], 1, "{copied}");
    assert!(copied["database_bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{copied}");
    // The node has gone on, and goes on.
    for id in during.iter().take(20) {
        assert_eq!(node.finished(id).await["state"], "succeeded");
    }

    let db = rusqlite::Connection::open(copy.join("tasks.db")).expect("opens");
    let checked: String =
        db.pragma_query_value(None, "integrity_check", |row| row.get(0)).expect("checked");
    assert_eq!(checked, "ok");
    drop(db);
    let setup = Setup { data: Some(&copy), flags: &["--slots", "2"], ..Setup::default() };
    let restored = Node::set_up(setup).await;
    for id in &before {
        let task = restored.finished(id).await;
        assert_eq!(task["state"], "succeeded", "{task}");
        let artifact = format!("/v1/artifacts/{}", task["digest"].as_str().expect("has one"));
        assert_eq!(restored.get(&artifact).await.status(), 200, "{task}");
    }
    assert_eq!(json_of(restored.call("add", json!([2, 3])).await).await, 5);
    let id = async |node: &Node| json_of(node.get("/v1/node").await).await["id"].clone();
    assert_eq!(id(&restored).await, id(&node).await);
}

#[tokio::test]
async fn a_backup_says_why_it_cannot_be_made() {
    let folder = TempDir::new().expect("a folder");
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    let (code, _, stderr) = runabout(&["backup", text(&to), "--data", text(&from)]).await;
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("no node's data") && stderr.contains("--data"), "{stderr}");
    assert!(!to.exists());

    let node = Node::start(&[]).await;
    std::fs::create_dir(&to).expect("made");
    std::fs::write(to.join("mine"), "").expect("written");
    let (code, _, stderr) = runabout(&["backup", text(&to), "--data", text(node.data_dir())]).await;
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("not empty"), "{stderr}");
    assert_eq!(std::fs::read_dir(folder.path()).expect("there").count(), 1);
}

#[tokio::test]
async fn a_backup_finds_the_data_as_the_node_does() {
    let node = Node::start(&[]).await;
    let folder = TempDir::new().expect("a folder");
    let (config, copy) = (folder.path().join("node.toml"), folder.path().join("copy"));
    std::fs::write(&config, format!("data = {:?}\n", text(node.data_dir()))).expect("written");
    let arguments = ["backup", text(&copy), "--config", text(&config)];
    let (code, _, stderr) = runabout(&arguments).await;
    assert_eq!(code, 0, "{stderr}");
    assert!(copy.join("tasks.db").is_file());
    std::fs::write(&config, "dat = 'x'\n").expect("written");
    let (code, _, stderr) = runabout(&arguments).await;
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("the nearest is \"data\""), "{stderr}");
}

#[tokio::test]
async fn who_takes_nothing_of_an_answer_is_cut_off_and_a_quiet_stream_is_not() {
    let node = Node::start(&["--stalled-after", "500ms"]).await;
    let page = "/v1/documents/page";
    let put = async |text: String| {
        let request = node.request(Method::PUT, page).header("content-type", "text/plain");
        let answer = request.header("if-match", "*").body(text.clone()).send().await;
        match answer.expect("an answer").status().as_u16() {
            412 => {
                let request = node.request(Method::PUT, page).header("content-type", "text/plain");
                let made = request.header("if-none-match", "*").body(text).send().await;
                assert_eq!(made.expect("an answer").status(), 201);
            }
            status => assert_eq!(status, 200),
        }
    };
    put("x".repeat(4 << 20)).await;
    let mut events = node.get("/v1/events?only=revision").await;
    assert!(events.chunk().await.expect("goes on").is_some());
    let address = node.url.trim_start_matches("http://");
    let mut silent = TcpStream::connect(address).await.expect("connects");
    // Far more than the sockets of both ends hold.
    let requests = format!("GET {page} HTTP/1.1\r\nhost: localhost\r\n\r\n").repeat(20);
    silent.write_all(requests.as_bytes()).await.expect("sent");
    let reset = silent.ready(tokio::io::Interest::ERROR);
    timeout(Duration::from_secs(30), reset).await.expect("it is cut off").expect("is told");
    put("a".to_owned()).await;
    let told = events.chunk().await.expect("goes on").expect("is told");
    assert!(String::from_utf8_lossy(&told).contains("event: revision"), "{told:?}");
}

/// A small disk in memory.
struct SmallDisk {
    folder: TempDir,
}

impl SmallDisk {
    /// `None`, and why on stderr, where mounting is not allowed.
    fn mount(size: &str) -> Option<Self> {
        let folder = TempDir::new().expect("a folder");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(folder.path())
            .output();
        match mounted {
            Ok(Output { status, .. }) if status.success() => Some(Self { folder }),
            Ok(Output { stderr, .. }) => {
                eprintln!("skipped: cannot mount: {}", String::from_utf8_lossy(&stderr));
                None
            }
            Err(error) => {
                eprintln!("skipped: cannot mount: {error}");
                None
            }
        }
    }

    fn ballast(&self) -> PathBuf {
        self.folder.path().join("ballast")
    }

    /// Leaves not a byte.
    fn fill(&self) {
        let mut file = std::fs::File::create(self.ballast()).expect("made");
        for piece in [1 << 20, 4096, 1] {
            let zeros = vec![0; piece];
            while file.write_all(&zeros).is_ok() {}
        }
    }

    fn free(&self) {
        std::fs::remove_file(self.ballast()).expect("removed");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let lazily = Command::new("umount").arg("-l").arg(self.folder.path()).status();
        assert!(lazily.is_ok_and(|status| status.success()), "the disk can be unmounted");
    }
}

#[tokio::test]
async fn a_full_disk_refuses_what_is_new_and_loses_nothing() {
    let Some(disk) = SmallDisk::mount("64m") else { return };
    let data = disk.folder.path().join("data");
    let setup = Setup { data: Some(&data), flags: &["--slots", "2"], ..Setup::default() };
    let mut node = Node::set_up(setup).await;
    let mut accepted = vec![node.submit(&script("'first'")).await];
    assert_eq!(node.finished(&accepted[0]).await["state"], "succeeded");
    // It ends while there is no room for its end.
    let slow = "new Promise((done) => setTimeout(() => done('kept'), 4000))";
    let running = node.submit(&script(slow)).await;
    until("it runs", async || (state(&node, &running).await == "running").then_some(())).await;

    disk.fill();
    let large = json!({"source": "1", "args": ["x".repeat(200_000)]});
    let refused = until("the disk is full", async || {
        let response = node.post("/v1/tasks", &large).await;
        if response.status() != 202 {
            return Some(response);
        }
        accepted.push(json_of(response).await["id"].as_str().expect("has an id").to_owned());
        None
    });
    let refused = refused.await;
    assert_eq!(refused.status(), StatusCode::INSUFFICIENT_STORAGE);
    assert_eq!(json_of(refused).await["code"], "storage_full");
    // Reads go on, and the node says that it is well: it may have room again.
    assert_eq!(node.get("/v1/tasks").await.status(), 200);
    assert_eq!(state(&node, &accepted[0]).await, "succeeded");
    assert_eq!(node.get("/readyz").await.status(), 200);
    let waited = json_of(node.get(&format!("/v1/tasks/{running}?wait=4")).await).await;
    assert!(matches!(waited["state"].as_str(), Some("running" | "succeeded")), "{waited}");
    assert_eq!(node.post("/v1/tasks", &large).await.status(), StatusCode::INSUFFICIENT_STORAGE);

    disk.free();
    let again = until("it takes writes again", async || {
        let response = node.post("/v1/tasks", &large).await;
        (response.status() == 202).then_some(response)
    });
    accepted.push(json_of(again.await).await["id"].as_str().expect("has an id").to_owned());
    assert_eq!(node.finished(&running).await["outcome"]["value"], "kept");
    for id in &accepted {
        assert_eq!(node.finished(id).await["state"], "succeeded");
    }
    node.crash().await;
    let setup = Setup { data: Some(&data), ..Setup::default() };
    let node = Node::set_up(setup).await;
    for id in accepted.iter().chain([&running]) {
        assert_eq!(state(&node, id).await, "succeeded");
    }
}

/// Makes one fsync fail, once the file named by BREAK_FSYNC is there; the next ones succeed again,
/// as they do after a disk has dropped what it could not write.
const BREAKS_FSYNC: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static int breaks(void) {
    const char *trigger = getenv("BREAK_FSYNC");
    return trigger && unlink(trigger) == 0;
}

static int sync_with(const char *name, int file) {
    if (breaks()) { errno = EIO; return -1; }
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    return real(file);
}

int fsync(int file) { return sync_with("fsync", file); }
int fdatasync(int file) { return sync_with("fdatasync", file); }
"#;

/// `None`, and why on stderr, where there is no compiler.
fn breaking_fsync(folder: &Path) -> Option<PathBuf> {
    let (source, library) = (folder.join("fsync.c"), folder.join("fsync.so"));
    std::fs::write(&source, BREAKS_FSYNC).expect("written");
    let mut compiler = Command::new("gcc");
    compiler.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).arg("-ldl");
    match compiler.output() {
        Ok(output) if output.status.success() => Some(library),
        Ok(output) => panic!("{}", String::from_utf8_lossy(&output.stderr)),
        Err(error) => {
            eprintln!("skipped: no gcc: {error}");
            None
        }
    }
}

#[tokio::test]
async fn after_a_failed_fsync_nothing_more_is_taken_and_readyz_says_so() {
    let folder = TempDir::new().expect("a folder");
    let Some(library) = breaking_fsync(folder.path()) else { return };
    let (data, trigger) = (folder.path().join("data"), folder.path().join("trigger"));
    let env = [("LD_PRELOAD", text(&library)), ("BREAK_FSYNC", text(&trigger))];
    let mut node = Node::set_up(Setup { data: Some(&data), env: &env, ..Setup::default() }).await;
    let accepted = node.submit(&script("'before'")).await;
    assert_eq!(node.finished(&accepted).await["state"], "succeeded");

    std::fs::write(&trigger, "").expect("written");
    let refused = until("a submission is refused", async || {
        let response = node.post("/v1/tasks", &script("1")).await;
        (response.status() != 202).then_some(response)
    });
    assert_eq!(json_of(refused.await).await["code"], "storage_failed");
    assert!(!trigger.exists(), "one fsync has failed, and the next ones would not");
    let again = node.post("/v1/tasks", &script("1")).await;
    assert_eq!(json_of(again).await["code"], "storage_failed");
    let ready = node.get("/readyz").await;
    assert_eq!(ready.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(json_of(ready).await["code"], "storage_failed");
    assert_eq!(node.get("/healthz").await.status(), 200);
    assert_eq!(state(&node, &accepted).await, "succeeded");

    node.crash().await;
    let node = Node::set_up(Setup { data: Some(&data), ..Setup::default() }).await;
    assert_eq!(state(&node, &accepted).await, "succeeded");
    let after = node.submit(&script("'after'")).await;
    assert_eq!(node.finished(&after).await["state"], "succeeded");
}

#[tokio::test]
async fn a_second_node_is_told_who_has_the_directory() {
    let node = Node::start(&[]).await;
    let data = text(node.data_dir());
    let (code, _, stderr) = runabout(&["serve", "--listen", "127.0.0.1:0", "--data", data]).await;
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("in use by another node") && stderr.contains(data), "{stderr}");
}

/// A client that begins a request and never ends it.
async fn half_a_request(node: &Node) -> TcpStream {
    let address = node.url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await.expect("connects");
    let head = "POST /v1/tasks HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
                content-length: 100\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.expect("sent");
    stream
}

#[tokio::test]
async fn nothing_holds_a_stop_up() {
    let mut node = Node::start(&["--slots", "1"]).await;
    node.deploy("spin", "text/javascript", "export default () => { while (true); };").await;
    let forever = json!({"function": "spin", "limits": {"timeout_ms": 600_000}});
    let running = node.submit(&forever).await;
    until("it runs", async || (state(&node, &running).await == "running").then_some(())).await;
    let _slow = half_a_request(&node).await;
    let wait = node.request(Method::GET, &format!("/v1/tasks/{running}?wait=60")).send();
    let wait = tokio::spawn(wait);
    let call = node.request(Method::POST, "/v1/functions/spin/call").body("[]").send();
    let call = tokio::spawn(call);
    until("the call runs", async || {
        let page = node.get("/metrics").await.text().await.expect("text");
        let held =
            page.lines().find_map(|line| line.strip_prefix("runabout_sandbox_memory_bytes "));
        // Two runs hold memory: the task and the call.
        held.and_then(|bytes| bytes.parse::<f64>().ok()).filter(|bytes| *bytes > 2e6)
    })
    .await;

    node.signal();
    let ended = timeout(STOPS_WITHIN, node.ended()).await.expect("it ends within the bound");
    assert!(ended.success(), "{ended}");
    let waited = wait.await.expect("ends").expect("is answered");
    assert_eq!(json_of(waited).await["state"], "running");
    assert!(call.await.expect("ends").is_err(), "its run was cut off");

    let node = node.crash_and_restart(&["--slots", "0"]).await;
    let task = json_of(node.get(&format!("/v1/tasks/{running}")).await).await;
    assert_eq!((&task["state"], &task["lost"]), (&json!("queued"), &json!(0)), "{task}");
}

#[tokio::test]
async fn a_second_signal_ends_the_node_at_once() {
    let mut node = Node::start(&[]).await;
    // It would be waited for.
    let _slow = half_a_request(&node).await;
    node.signal();
    node.logged("stopping").await;
    node.signal();
    let ended = timeout(LONG, node.ended()).await.expect("it ends");
    assert_eq!(ended.code(), Some(1), "{ended}");
}

#[tokio::test]
async fn the_log_tells_of_each_request_and_never_of_the_token() {
    let folder = TempDir::new().expect("a folder");
    let token = folder.path().join("token");
    std::fs::write(&token, "very-secret-indeed").expect("written");
    let flags = ["--log-format", "json", "--token-file", text(&token)];
    let env = [("RUNABOUT_LOG", "debug")];
    let setup = Setup { flags: &flags, env: &env, ..Setup::default() };
    let mut node = Node::set_up(setup).await;
    let request =
        node.request(Method::GET, "/v1/tasks?label=nothing=1").bearer_auth("very-secret-indeed");
    let response = request.header("x-request-id", "mine-1").send().await.expect("answers");
    assert_eq!(response.headers()["x-request-id"], "mine-1");

    let line: Value = serde_json::from_str(&node.logged("mine-1").await).expect("JSON");
    let fields = &line["fields"];
    let told = (&fields["method"], &fields["path"], &fields["request"], &line["level"]);
    assert_eq!(told, (&json!("GET"), &json!("/v1/tasks"), &json!("mine-1"), &json!("DEBUG")));
    assert_eq!(fields["status"], response.status().as_u16());
    assert!(fields["duration_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{line}");
    assert!(node.terminate().await.success());
    node.logged("stopped").await;
    for line in node.log() {
        assert!(!line.contains("very-secret") && !line.contains("nothing=1"), "{line}");
        serde_json::from_str::<Value>(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
}

struct Exported {
    head: String,
    body: Vec<u8>,
}

/// Takes what is posted to it, and answers that all is well.
async fn collector() -> (String, mpsc::UnboundedReceiver<Exported>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let url = format!("http://{}", listener.local_addr().expect("has an address"));
    let (sender, exported) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(take_posts(stream, sender.clone()));
        }
    });
    (url, exported)
}

async fn take_posts(mut stream: TcpStream, sender: mpsc::UnboundedSender<Exported>) {
    let mut bytes = Vec::new();
    loop {
        while let Some(end) = bytes.windows(4).position(|it| it == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.and_then(|it| it.parse().ok()).expect("has a length");
            let all = end + 4 + length;
            if bytes.len() < all {
                break;
            }
            let rest = bytes.split_off(all);
            let body = bytes.split_off(end + 4);
            bytes = rest;
            // The test may have seen enough.
            drop(sender.send(Exported { head, body }));
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
            if stream.write_all(answer).await.is_err() {
                return;
            }
        }
        if stream.read_buf(&mut bytes).await.is_ok_and(|read| read > 0) {
            continue;
        }
        return;
    }
}

#[tokio::test]
async fn traces_are_sent_to_a_collector() {
    let (url, mut exported) = collector().await;
    let flags = ["--otlp-endpoint", &url];
    let env = [("OTEL_BSP_SCHEDULE_DELAY", "100")];
    let node = Node::set_up(Setup { flags: &flags, env: &env, ..Setup::default() }).await;
    node.deploy("add", "text/javascript", "export default (a, b) => a + b;").await;
    let id = node.submit(&json!({"function": "add", "args": [1, 2]})).await;
    node.finished(&id).await;
    assert_eq!(node.call("add", json!([1, 2])).await.status(), 200);

    let mut missing =
        vec!["runabout", "POST request", "/v1/tasks", "attempt", "commit", "call", "returned", &id];
    while !missing.is_empty() {
        let post = timeout(LONG, exported.recv()).await;
        let post = post.unwrap_or_else(|_| panic!("missing: {missing:?}")).expect("goes on");
        assert!(post.head.starts_with("post /v1/traces "), "{}", post.head);
        assert!(post.head.contains("content-type: application/x-protobuf"), "{}", post.head);
        missing.retain(|text| !post.body.windows(text.len()).any(|it| it == text.as_bytes()));
    }
}

#[tokio::test]
async fn a_collector_that_is_not_there_holds_nothing_up() {
    let unused = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let url = format!("http://{}", unused.local_addr().expect("has an address"));
    drop(unused);
    let mut node = Node::start(&["--otlp-endpoint", &url]).await;
    let id = node.submit(&script("1")).await;
    assert_eq!(node.finished(&id).await["state"], "succeeded");
    node.signal();
    let ended = timeout(STOPS_WITHIN, node.ended()).await.expect("it ends within the bound");
    assert!(ended.success(), "{ended}");
}
