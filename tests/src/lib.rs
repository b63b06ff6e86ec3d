//! Starts the real binary on a free port and talks to it, for the tests in `tests/`. Build it
//! first: `cargo build --release -p runabout-cli`; `cargo xtask check` does.

pub mod article;
pub mod crash;
pub mod hostile;
pub mod random;
pub mod seen;
pub mod worker;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use reqwest::{Certificate, Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::watch;

/// Where a node listens unless its flags say something else.
const ANY_PORT: [&str; 2] = ["--listen", "127.0.0.1:0"];

/// Every wait of a test ends by this time, as a failure.
const PATIENCE: Duration = Duration::from_secs(60);

/// The binary beside the test's own.
pub fn binary() -> PathBuf {
    let test = std::env::current_exe().expect("a running program has a path");
    let folder = test.ancestors().find(|folder| folder.join("runabout").is_file());
    folder.expect("build the binary first: cargo build --release -p runabout-cli").join("runabout")
}

/// The project's folder.
pub fn project() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// A guest as it is committed.
pub fn guest(name: &str) -> Vec<u8> {
    let path = project().join("guests/dist").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Where a node is, for those that outlive a borrow of it.
#[derive(Clone)]
pub struct Address {
    url: String,
    client: Client,
}

impl Address {
    /// The same, with connections that nobody else uses.
    pub fn apart(self) -> Self {
        let client = Client::builder().timeout(PATIENCE).build().expect("a client can be made");
        Self { client, ..self }
    }

    /// A request to a path of the node.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
    }
}

/// A running node. Dropping it kills it.
pub struct Node {
    /// Where it listens, `http://127.0.0.1:PORT`, or `https:` if it was set up so.
    pub url: String,
    /// Gives up after a minute.
    pub client: Client,
    child: Child,
    data_dir: PathBuf,
    /// The data directory, if it goes with the node.
    data: Option<TempDir>,
    log: watch::Receiver<Vec<String>>,
}

/// How a node is started, where that is unusual.
#[derive(Default)]
pub struct Setup<'a> {
    /// Flags of `serve`.
    pub flags: &'a [&'a str],
    /// Variables of its environment.
    pub env: &'a [(&'a str, &'a str)],
    /// Its data directory; `None` means one of its own.
    pub data: Option<&'a Path>,
    /// Where it listens; `None` means on a port that is free.
    pub listen: Option<&'a str>,
    /// A certificate in PEM that its client trusts, for a node that speaks HTTPS.
    pub trusts: Option<&'a str>,
}

/// A node that was started and may not be ready yet. Dropping it kills it.
pub struct Starting {
    child: Child,
    lines: Lines<BufReader<ChildStderr>>,
}

impl Starting {
    /// Starts a node on this data.
    pub fn spawn(data: &Path, setup: &Setup<'_>) -> Self {
        let listen = match setup.listen {
            Some(address) => vec!["--listen", address],
            None if setup.flags.contains(&"--listen") => Vec::new(),
            None => ANY_PORT.to_vec(),
        };
        let mut child = Command::new(binary())
            .args(["serve", "--data"])
            .arg(data)
            .args(setup.flags)
            .args(listen)
            .envs(setup.env.iter().copied())
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("the binary starts");
        let stderr = child.stderr.take().expect("stderr is piped");
        Self { child, lines: BufReader::new(stderr).lines() }
    }

    /// SIGKILL, wherever it is.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("the node can be killed");
    }
}

impl Node {
    /// Starts a node with a data directory of its own.
    pub async fn start(flags: &[&str]) -> Self {
        Self::start_on(TempDir::new().expect("a folder can be made"), flags).await
    }

    async fn start_on(data: TempDir, flags: &[&str]) -> Self {
        let setup = Setup { flags, ..Setup::default() };
        let mut node = Self::spawn(data.path(), &setup).await;
        node.data = Some(data);
        node
    }

    /// Starts a node on data that outlives it.
    pub async fn start_in(data: &Path, flags: &[&str]) -> Self {
        Self::spawn(data, &Setup { flags, ..Setup::default() }).await
    }

    /// Starts a node that is set up in its own way.
    pub async fn set_up(setup: Setup<'_>) -> Self {
        match setup.data {
            Some(path) => Self::spawn(path, &setup).await,
            None => {
                let data = TempDir::new().expect("a folder can be made");
                let mut node = Self::spawn(data.path(), &setup).await;
                node.data = Some(data);
                node
            }
        }
    }

    async fn spawn(data: &Path, setup: &Setup<'_>) -> Self {
        let Starting { child, mut lines } = Starting::spawn(data, setup);
        let (told, log) = watch::channel(Vec::new());
        // The node must never block on a full pipe.
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                told.send_modify(|lines: &mut Vec<String>| lines.push(line));
            }
        });
        let mut client = Client::builder().timeout(PATIENCE);
        if let Some(pem) = setup.trusts {
            let certificate = Certificate::from_pem(pem.as_bytes()).expect("is a certificate");
            client = client.tls_certs_only([certificate]);
        }
        let client = client.build().expect("a client can be made");
        let data_dir = data.to_owned();
        let mut node = Self { url: String::new(), client, child, data_dir, data: None, log };
        let line = node.logged("listening on http").await;
        let address = line.split("listening on ").nth(1).unwrap_or_default();
        let end = address.find([',', ' ', '"']).unwrap_or(address.len());
        node.url = address[..end].to_owned();
        node.wait_until_ready().await;
        node
    }

    /// The first line of its log that holds `text`, once there is one.
    pub async fn logged(&self, text: &str) -> String {
        let has = |lines: &Vec<String>| lines.iter().any(|line| line.contains(text));
        let mut log = self.log.clone();
        let found = tokio::time::timeout(PATIENCE, log.wait_for(has)).await;
        let lines = match found {
            Ok(Ok(lines)) => lines.clone(),
            _ => panic!("no line of the log holds {text:?}: {:?}", *self.log.borrow()),
        };
        lines.into_iter().find(|line| line.contains(text)).expect("was found")
    }

    /// Its log so far, a line each.
    pub fn log(&self) -> Vec<String> {
        self.log.borrow().clone()
    }

    /// The address is told once the socket listens, so a request only has to be answered.
    async fn wait_until_ready(&self) {
        let response = self.get("/readyz").await;
        assert_eq!(response.status(), 200, "{}", self.url);
    }

    /// SIGKILL; when this returns, its data directory is free.
    pub async fn crash(&mut self) {
        self.child.kill().await.expect("the node can be killed");
    }

    /// SIGKILL, and a new node on the same data.
    pub async fn crash_and_restart(mut self, flags: &[&str]) -> Self {
        self.crash().await;
        let data = self.data.take().expect("a node has its data until now");
        drop(self);
        Self::start_on(data, flags).await
    }

    /// SIGTERM; how it ended.
    pub async fn terminate(&mut self) -> std::process::ExitStatus {
        self.signal();
        self.ended().await
    }

    /// SIGTERM, without waiting for the end.
    pub fn signal(&self) {
        let id = self.child.id().expect("the node runs");
        let id = rustix::process::Pid::from_raw(id as i32).expect("is a process");
        rustix::process::kill_process(id, rustix::process::Signal::TERM).expect("can be signalled");
    }

    /// How it ended.
    pub async fn ended(&mut self) -> std::process::ExitStatus {
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        ended.expect("the node ends in time").expect("the node ends")
    }

    /// Its memory that is resident, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let id = self.child.id().expect("the node runs");
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("Linux tells");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kib.expect("a process has a size") << 10
    }

    /// Its data directory.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// A request to a path of the node.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
    }

    /// Where it is.
    pub fn address(&self) -> Address {
        Address { url: self.url.clone(), client: self.client.clone() }
    }

    /// What a path answers.
    pub async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await.expect("the node answers")
    }

    /// Posts JSON.
    pub async fn post(&self, path: &str, body: &Value) -> Response {
        self.request(Method::POST, path).json(body).send().await.expect("the node answers")
    }

    /// Deploys code; the deploy's answer.
    pub async fn deploy(
        &self,
        name: &str,
        media_type: &str,
        code: impl Into<reqwest::Body>,
    ) -> Value {
        let path = format!("/v1/functions/{name}");
        let request = self.request(Method::PUT, &path).header("content-type", media_type);
        let response = request.body(code).send().await.expect("the node answers");
        assert!(response.status().is_success(), "{}", response.text().await.unwrap_or_default());
        json_of(response).await
    }

    /// Calls a function.
    pub async fn call(&self, name: &str, args: Value) -> Response {
        self.post(&format!("/v1/functions/{name}/call"), &args).await
    }

    /// Submits a task; its id.
    pub async fn submit(&self, request: &Value) -> String {
        let response = self.post("/v1/tasks", request).await;
        assert_eq!(response.status(), 202, "{}", response.text().await.unwrap_or_default());
        json_of(response).await["id"].as_str().expect("a task has an id").to_owned()
    }

    /// The task, once it has ended.
    pub async fn finished(&self, id: &str) -> Value {
        for _ in 0..6 {
            let task = json_of(self.get(&format!("/v1/tasks/{id}?wait=10")).await).await;
            if !matches!(task["state"].as_str(), Some("queued" | "running")) {
                return task;
            }
        }
        panic!("task {id} did not end")
    }

    /// The task's output, a line each, as `stream text`.
    pub async fn lines(&self, id: &str) -> Vec<String> {
        let logs = json_of(self.get(&format!("/v1/tasks/{id}/logs")).await).await;
        let items = logs["items"].as_array().expect("logs are a list").clone();
        let text = |item: &Value, field: &str| item[field].as_str().unwrap_or_default().to_owned();
        items
            .iter()
            .map(|item| format!("{} {}", text(item, "stream"), text(item, "text")))
            .collect()
    }
}

/// The body as JSON.
pub async fn json_of(response: Response) -> Value {
    let url = response.url().to_string();
    let text = response.text().await.expect("a body arrives");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{url}: {error}: {text}"))
}

/// A request for a task that runs this script.
pub fn script(source: &str) -> Value {
    json!({ "source": source })
}

/// Runs the command line; its exit code, stdout and stderr.
pub async fn runabout(arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(binary()).args(arguments).output().await.expect("the binary starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}
