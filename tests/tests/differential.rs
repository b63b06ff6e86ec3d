//! The corpus of `tests/differential`: the same functions with the same arguments, here and
//! upstream, must have the same results and outcomes, byte for byte.

use std::collections::HashMap;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::StreamExt;
use reqwest::{Method, Response};
use runabout_tests::{Address, Node, project};
use serde::Deserialize;
use serde_json::Value;

/// Cases under way at once.
const AT_ONCE: usize = 8;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    function: String,
    export: String,
    /// JSON text, or `base64:` and bytes.
    args: String,
    #[serde(default)]
    limits: HashMap<String, u64>,
    /// What may differ in a tab; between nodes nothing may.
    #[serde(default, rename = "inherent")]
    _inherent: Vec<String>,
}

/// What is compared of an answer.
#[derive(Debug, PartialEq)]
struct Seen {
    status: u16,
    content_type: String,
    logs: String,
    body: Vec<u8>,
}

fn folder() -> PathBuf {
    project().join("tests/differential")
}

fn corpus() -> Vec<Case> {
    let text = std::fs::read_to_string(folder().join("corpus.json")).expect("is there");
    serde_json::from_str(&text).expect("is a corpus")
}

/// The name of a file's function on a node.
fn name_of(file: &str) -> String {
    file.replace('.', "_")
}

async fn deploy_all(node: &Node) {
    for entry in std::fs::read_dir(folder().join("functions")).expect("is there") {
        let path = entry.expect("is there").path();
        let file = path.file_name().and_then(|name| name.to_str()).expect("is text").to_owned();
        let code = std::fs::read(&path).expect("can be read");
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("js") => node.deploy(&name_of(&file), "text/javascript", code).await,
            Some("wasm") => node.deploy(&name_of(&file), "application/wasm", code).await,
            _ => continue,
        };
    }
}

async fn ask(node: &Address, case: &Case, offload: &str) -> (String, Seen) {
    let mut path = format!("/v1/functions/{}/call?offload={offload}", name_of(&case.function));
    if case.export != "default" {
        path.push_str(&format!("&export={}", case.export));
    }
    for (name, limit) in &case.limits {
        path.push_str(&format!("&{name}={limit}"));
    }
    let request = node.request(Method::POST, &path);
    let request = match case.args.strip_prefix("base64:") {
        Some(bytes) => request
            .header("content-type", "application/octet-stream")
            .body(STANDARD.decode(bytes).expect("is base64")),
        None => request.header("content-type", "application/json").body(case.args.clone()),
    };
    let response = request.header("Runabout-Want-Logs", "1").send().await.expect("answers");
    let ran_on = header(&response, "runabout-ran-on");
    let seen = Seen {
        status: response.status().as_u16(),
        content_type: header(&response, "content-type"),
        logs: header(&response, "runabout-logs"),
        body: response.bytes().await.expect("is there").to_vec(),
    };
    (ran_on, seen)
}

fn header(response: &Response, name: &str) -> String {
    let value = response.headers().get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().to_owned()
}

/// What is different, if anything is.
async fn compare(node: &Address, case: &Case) -> Result<u16, String> {
    let (ran_here, here) = ask(node, case, "0").await;
    let (ran_there, there) = ask(node, case, "1").await;
    let begun =
        matches!(here.status, 200 | 504) || here.body.windows(9).any(|it| it == b"\"outcome\"");
    let places = (ran_here.as_str(), ran_there.as_str());
    if begun && places != ("near", "far") {
        return Err(format!("it ran on {places:?}"));
    }
    let text =
        |seen: &Seen| String::from_utf8_lossy(&seen.body).chars().take(400).collect::<String>();
    if here != there {
        return Err(format!(
            "here {} {} {}\n  there {} {} {}",
            here.status,
            here.content_type,
            text(&here),
            there.status,
            there.content_type,
            text(&there)
        ));
    }
    Ok(here.status)
}

#[tokio::test]
async fn here_and_upstream_are_the_same() {
    let far = Node::start(&["--name", "far"]).await;
    let near = Node::start(&["--name", "near", "--upstream", &far.url]).await;
    deploy_all(&near).await;
    let (address, corpus) = (near.address(), corpus());
    let compared: Vec<_> = futures::stream::iter(&corpus)
        .map(async |case| (case, compare(&address, case).await))
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let mut statuses: HashMap<u16, usize> = HashMap::new();
    let mut failures = Vec::new();
    for (case, compared) in compared {
        match compared {
            Ok(status) => *statuses.entry(status).or_default() += 1,
            Err(why) => {
                let args: String = case.args.chars().take(80).collect();
                failures.push(format!("{} {} {args}: {why}", case.function, case.export));
            }
        }
    }
    eprintln!("{} cases, by status: {statuses:?}", corpus.len());
    assert!(failures.is_empty(), "{} differ:\n{}", failures.len(), failures.join("\n"));
    // The corpus would prove nothing if everything in it were refused.
    for status in [200, 422, 504] {
        assert!(statuses.get(&status).is_some_and(|count| *count >= 2), "{statuses:?}");
    }
    assert!(statuses[&200] * 2 > corpus.len(), "{statuses:?}");
}

#[test]
fn the_corpus_names_what_is_there() {
    for case in corpus() {
        let path = folder().join("functions").join(&case.function);
        assert!(path.is_file(), "{}", path.display());
        if !case.args.starts_with("base64:") {
            // `1e400` is JSON, but no number that this reader knows.
            let read: Result<Value, _> = serde_json::from_str(&case.args);
            assert!(read.is_ok() || case.args.contains("1e400"), "{}", case.args);
        }
    }
}

#[test]
fn the_module_of_numbers_is_made_from_its_text() {
    let text = wat::parse_file(folder().join("functions/numbers.wat")).expect("is a module");
    let path = folder().join("functions/numbers.wasm");
    if std::env::var_os("RUNABOUT_BLESS").is_some() {
        std::fs::write(&path, &text).expect("can be written");
    }
    let kept = std::fs::read(&path).unwrap_or_default();
    assert!(kept == text, "numbers.wasm is old: RUNABOUT_BLESS=1 writes it anew");
}
