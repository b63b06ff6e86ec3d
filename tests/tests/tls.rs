//! Nodes that speak HTTPS, and those who speak with them: browsers' kind of client, the command line,
//! workers, and nodes in front.

use std::path::PathBuf;
use std::process::Stdio;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use reqwest::{Client, Version};
use runabout_tests::{Node, Setup, binary, guest, json_of, runabout};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::process::Command;

/// A certificate for this machine, its key, and where both are.
struct Identity {
    _folder: TempDir,
    pem: String,
    cert: PathBuf,
    key: PathBuf,
}

impl Identity {
    fn new() -> Self {
        let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(names).expect("is made");
        let folder = TempDir::new().expect("a folder");
        let [at_cert, at_key] = ["cert.pem", "key.pem"].map(|name| folder.path().join(name));
        let pem = cert.pem();
        std::fs::write(&at_cert, &pem).expect("written");
        std::fs::write(&at_key, signing_key.serialize_pem()).expect("written");
        Self { _folder: folder, pem, cert: at_cert, key: at_key }
    }

    fn flags(&self) -> [&str; 4] {
        let [cert, key] = [&self.cert, &self.key].map(|path| path.to_str().expect("is text"));
        ["--tls-cert", cert, "--tls-key", key]
    }

    async fn node(&self, more: &[&str]) -> Node {
        let flags = [&self.flags()[..], more].concat();
        Node::set_up(Setup { flags: &flags, trusts: Some(&self.pem), ..Setup::default() }).await
    }

    /// What lets our programs trust it, as they trust what the system trusts.
    fn env(&self) -> (&str, &str) {
        ("SSL_CERT_FILE", self.cert.to_str().expect("is text"))
    }
}

#[tokio::test]
async fn a_node_speaks_https_and_nothing_else() {
    let identity = Identity::new();
    let node = identity.node(&[]).await;
    assert!(node.url.starts_with("https://127.0.0.1:"), "{}", node.url);
    node.deploy("fib", "application/wasm", guest("fib.wasm")).await;
    let answer = node.call("fib", json!([20])).await;
    assert_eq!((answer.status().as_u16(), answer.version()), (200, Version::HTTP_2));
    assert_eq!(answer.text().await.expect("is text"), "6765");
    let trusts_nobody = Client::builder().tls_certs_only([]).build().expect("a client");
    assert!(trusts_nobody.get(format!("{}/readyz", node.url)).send().await.is_err());
    // In the open it answers nobody, and goes on.
    let open = node.url.replace("https:", "http:");
    assert!(node.client.get(format!("{open}/readyz")).send().await.is_err());
    let address = node.url.trim_start_matches("https://").to_owned();
    let mut half = TcpStream::connect(&address).await.expect("is there");
    half.write_all(b"\x16\x03\x01").await.expect("is taken");
    assert_eq!(node.get("/readyz").await.status(), 200);
}

#[tokio::test]
async fn the_command_line_workers_and_nodes_in_front_speak_it_too() {
    let identity = Identity::new();
    let far = identity.node(&["--name", "far", "--slots", "0"]).await;
    let run = async |arguments: &[&str]| {
        let mut command = Command::new(binary());
        let output = command.args(arguments).envs([identity.env()]).output().await;
        output.expect("the binary starts").status.code()
    };
    assert_eq!(run(&["status", "--node", &far.url]).await, Some(0));
    let (code, _, stderr) = runabout(&["status", "--node", &far.url]).await;
    assert_ne!(code, 0, "a certificate that nobody vouches for");
    assert!(stderr.contains("certificate"), "{stderr}");

    far.deploy("fib", "application/wasm", guest("fib.wasm")).await;
    let _worker = Command::new(binary())
        .args(["join", &far.url, "--name", "helper", "--slots", "1"])
        .envs([identity.env()])
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("the binary starts");
    let id = far.submit(&json!({"function": "fib", "args": [20]})).await;
    let task = far.finished(&id).await;
    assert_eq!(
        (&task["outcome"]["value"], &task["usage"]["ran_on"]),
        (&json!(6765), &json!("helper"))
    );

    let flags = ["--name", "near", "--upstream", &far.url];
    let near =
        Node::set_up(Setup { flags: &flags, env: &[identity.env()], ..Setup::default() }).await;
    near.deploy("fib", "application/wasm", guest("fib.wasm")).await;
    let answer = near.post("/v1/functions/fib/call?offload=1", &json!([20])).await;
    assert_eq!(answer.headers()["runabout-ran-on"], "far");
    assert_eq!(json_of(answer).await, 6765);
}

#[tokio::test]
async fn what_is_wrong_with_the_files_is_said_before_anything_starts() {
    let (identity, other) = (Identity::new(), Identity::new());
    let text = |path: &PathBuf| path.to_str().expect("is text").to_owned();
    let data = TempDir::new().expect("a folder");
    let data = data.path().to_str().expect("is text");
    let (cert, key) = (text(&identity.cert), text(&identity.key));
    for (cert, key, code, why) in [
        (Some(&cert), None, 2, "only together"),
        (Some(&cert), Some(&text(&other.key)), 1, "cannot use"),
        (Some(&key), Some(&key), 1, "no certificate"),
        (Some(&cert), Some(&cert), 1, "cannot use"),
        (Some(&"/nowhere.pem".to_owned()), Some(&key), 1, "/nowhere.pem"),
    ] {
        let mut arguments = vec!["serve", "--listen", "127.0.0.1:0", "--data", data];
        for (flag, file) in [("--tls-cert", cert), ("--tls-key", key)] {
            arguments.extend(file.into_iter().flat_map(|file| [flag, file.as_str()]));
        }
        let (ended, _, stderr) = runabout(&arguments).await;
        assert_eq!(ended, code, "{stderr}");
        assert!(stderr.contains(why), "{stderr}");
    }
}
