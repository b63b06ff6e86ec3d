//! Documents, from outside: read, edited by many at once, killed under load, changed by hand.

use std::collections::HashSet;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use futures::future::join_all;
use reqwest::header::{ACCEPT_ENCODING, HeaderMap, RANGE};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use runabout_tests::{Address, Node, Setup, json_of};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{Instant, timeout};

const PAGE: &str = "/v1/documents/page";
/// Whatever takes longer will never come.
const LONG: Duration = Duration::from_secs(60);

async fn create(node: &Node, text: impl Into<String>) -> Value {
    let request = node.request(Method::PUT, PAGE).header("If-None-Match", "*");
    let response = html(request).body(text.into()).send().await.expect("the node answers");
    assert_eq!(response.status(), StatusCode::CREATED);
    json_of(response).await
}

fn html(request: RequestBuilder) -> RequestBuilder {
    request.header("Content-Type", "text/html")
}

async fn edit(node: &Node, base: u64, text: impl Into<String>) -> Response {
    send_edit(&node.address(), base, text.into(), "anonymous", None).await.expect("an answer")
}

async fn send_edit(
    node: &Address,
    base: u64,
    text: String,
    author: &str,
    key: Option<&str>,
) -> reqwest::Result<Response> {
    let request = node.request(Method::POST, &format!("{PAGE}?base={base}"));
    let request = html(request).header("Runabout-Author", author).body(text);
    match key {
        Some(key) => request.header("Idempotency-Key", key),
        None => request,
    }
    .send()
    .await
}

/// The document's text and revision, and the headers that came with it.
async fn page(node: &Node) -> (String, u64, HeaderMap) {
    let response = node.get(PAGE).await;
    assert_eq!(response.status(), 200);
    let headers = response.headers().clone();
    let etag = headers["etag"].to_str().expect("text").trim_matches('"').to_owned();
    (response.text().await.expect("text"), etag.parse().expect("a number"), headers)
}

async fn history(node: &Node) -> Vec<Value> {
    let mut items = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = json_of(node.get(&format!("{PAGE}/revisions?limit=500{cursor}")).await).await;
        items.extend(page["items"].as_array().expect("a list").clone());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return items,
        }
    }
}

async fn revision(node: &Node, number: u64) -> String {
    let response = node.get(&format!("{PAGE}/revisions/{number}")).await;
    assert_eq!(response.status(), 200, "revision {number}");
    response.text().await.expect("text")
}

fn file(node: &Node) -> PathBuf {
    node.data_dir().join("documents").join("page.html")
}

#[tokio::test]
async fn a_document_is_read_as_http_wants_it() {
    let node = Node::start(&[]).await;
    let text = "<p>the same line over and over</p>\n".repeat(300);
    create(&node, &text).await;
    let (read, number, headers) = page(&node).await;
    assert_eq!((read.as_str(), number), (text.as_str(), 1));
    assert_eq!(headers["content-type"], "text/html; charset=utf-8");
    assert_eq!(headers["content-security-policy"], "sandbox");
    assert_eq!(headers["x-content-type-options"], "nosniff");
    assert_eq!(std::fs::read_to_string(file(&node)).expect("is a file"), text);

    let known = node.request(Method::GET, PAGE).header("If-None-Match", "\"1\"").send().await;
    let known = known.expect("an answer");
    assert_eq!(
        (known.status().as_u16(), &known.headers()["etag"]),
        (304, &"\"1\"".parse().expect("a value"))
    );
    for (encoding, etag) in [("gzip", "\"1-gzip\""), ("zstd", "\"1-zstd\""), ("br", "\"1\"")] {
        let request = node.request(Method::GET, PAGE).header(ACCEPT_ENCODING, encoding);
        let response = request.send().await.expect("an answer");
        assert_eq!(response.headers()["etag"], etag);
        let told = response.headers().get("content-encoding").cloned();
        assert_eq!(told.is_some(), encoding != "br", "{told:?}");
        assert!(response.headers()["vary"].to_str().expect("text").contains("accept-encoding"));
        let bytes = response.bytes().await.expect("bytes");
        assert_eq!(bytes.len() < text.len() / 10, encoding != "br");
    }
    let part = async |range: &str| {
        let request = node.request(Method::GET, PAGE).header(RANGE, range);
        request.send().await.expect("an answer")
    };
    let found = part("bytes=3-10").await;
    assert_eq!(found.status(), 206);
    assert_eq!(found.headers()["content-range"], format!("bytes 3-10/{}", text.len()).as_str());
    assert_eq!(found.text().await.expect("text"), &text[3..=10]);
    let beyond = part("bytes=1000000-").await;
    assert_eq!(beyond.headers()["content-range"], format!("bytes */{}", text.len()).as_str());
    assert_eq!(beyond.status(), 416);
    let head = node.request(Method::HEAD, PAGE).send().await.expect("an answer");
    assert_eq!(head.headers()["content-length"], text.len().to_string().as_str());

    let listed = json_of(node.get("/v1/documents").await).await;
    assert_eq!(listed["items"][0]["name"], "page", "{listed}");
    assert_eq!(listed["items"][0]["revision"], 1);
    assert_eq!(listed["next_cursor"], Value::Null);
}

#[tokio::test]
async fn replacing_needs_to_know_what_is_replaced() {
    let node = Node::start(&[]).await;
    let put = async |header: Option<(&str, &str)>, text: &'static str| {
        let request = html(node.request(Method::PUT, PAGE)).body(text);
        let request = match header {
            Some((name, value)) => request.header(name, value),
            None => request,
        };
        let response = request.send().await.expect("an answer");
        let status = response.status().as_u16();
        let body = json_of(response).await;
        (status, body["code"].as_str().unwrap_or_default().to_owned(), body["revision"].clone())
    };
    let refused = |status, code: &str| (status, code.to_owned(), Value::Null);
    let taken = |status, revision: u64| (status, String::new(), Value::from(revision));
    assert_eq!(put(None, "a").await, refused(428, "condition_required"));
    assert_eq!(put(Some(("If-Match", "\"1\"")), "a").await, refused(412, "revision_changed"));
    assert_eq!(put(Some(("If-None-Match", "*")), "a").await, taken(201, 1));
    assert_eq!(put(Some(("If-None-Match", "*")), "b").await, refused(412, "revision_changed"));
    assert_eq!(put(Some(("If-Match", "\"1-gzip\"")), "b").await, taken(200, 2));
    assert_eq!(put(Some(("If-Match", "\"1\"")), "c").await, refused(412, "revision_changed"));
    let gone = node.request(Method::DELETE, PAGE).send().await.expect("an answer");
    assert_eq!(gone.status(), 204);
    assert_eq!(node.get(PAGE).await.status(), 404);
    assert!(!file(&node).exists());
    assert_eq!(put(Some(("If-None-Match", "*")), "d").await, taken(201, 4));
}

#[tokio::test]
async fn fifty_editors_of_different_paragraphs_are_all_merged() {
    let node = Node::start(&[]).await;
    let paragraphs: Vec<String> = (0..50).map(|n| format!("<p>Paragraph {n}.</p>\n")).collect();
    create(&node, paragraphs.concat()).await;
    let edits = (0..50).map(|n| {
        let mut changed = paragraphs.clone();
        changed[n] = format!("<p>Paragraph {n}, as editor {n} has it.</p>\n");
        let node = node.address();
        async move { send_edit(&node, 1, changed.concat(), &format!("editor {n}"), None).await }
    });
    let mut numbers = HashSet::new();
    for answer in join_all(edits).await {
        let answer = answer.expect("an answer");
        assert_eq!(answer.status(), 200);
        let taken = json_of(answer).await;
        assert_eq!(taken["merged"], taken["revision"] != 2, "{taken}");
        assert!(numbers.insert(taken["revision"].as_u64().expect("a number")));
    }
    let (text, number, _) = page(&node).await;
    assert_eq!((numbers.len(), number), (50, 51));
    for n in 0..50 {
        assert!(text.contains(&format!("Paragraph {n}, as editor {n} has it.")), "{n}: {text}");
    }
    let history = history(&node).await;
    let authors: HashSet<_> = history.iter().filter_map(|it| it["author"].as_str()).collect();
    assert_eq!((history.len(), authors.len()), (51, 51));
    assert_eq!(history[0]["verified"], false);
}

#[tokio::test]
async fn two_who_change_one_sentence_are_told_of_each_other() {
    let node = Node::start(&[]).await;
    let sentence = |by: &str| format!("<h1>Crash</h1>\n<p>The cause is {by}.</p>\n<p>End</p>\n");
    create(&node, sentence("unknown")).await;
    let (one, two) =
        tokio::join!(edit(&node, 1, sentence("ice")), edit(&node, 1, sentence("fuel")));
    let (taken, refused) = if one.status() == 200 { (one, two) } else { (two, one) };
    assert_eq!((taken.status().as_u16(), refused.status().as_u16()), (200, 409));
    let problem = json_of(refused).await;
    assert_eq!(problem["code"], "edit_conflict");
    assert_eq!(problem["base"]["revision"], 1);
    assert_eq!(problem["base"]["text"], sentence("unknown"));
    assert_eq!(problem["current"]["revision"], 2);
    let texts = [&problem["current"]["text"], &problem["yours"]["text"]];
    for by in ["ice", "fuel"] {
        assert!(texts.iter().any(|text| **text == sentence(by)), "{problem}");
    }
    assert_eq!(problem["conflicts"][0]["base"]["line"], 2, "{problem}");
}

#[tokio::test]
async fn every_acknowledged_edit_survives_a_kill() {
    let mut node = Node::start(&[]).await;
    let lines: Vec<String> = (0..40).map(|n| format!("<p>line {n}: 0</p>\n")).collect();
    create(&node, lines.concat()).await;
    // Each has a line of its own, as people have paragraphs.
    let editor = |node: Address, own: usize| async move {
        let mut acknowledged = Vec::new();
        for n in 1..=25 {
            let Ok(read) = node.request(Method::GET, PAGE).send().await else { break };
            let etag = read.headers()["etag"].to_str().expect("text").trim_matches('"').to_owned();
            let Ok(text) = read.text().await else { break };
            let changed: String = text
                .split_inclusive('\n')
                .map(|line| match line.starts_with(&format!("<p>line {own}: ")) {
                    true => format!("<p>line {own}: {n}</p>\n"),
                    false => line.to_owned(),
                })
                .collect();
            let base = etag.parse().expect("a number");
            let Ok(answer) = send_edit(&node, base, changed, "editor", None).await else { break };
            assert_eq!(answer.status(), 200);
            let Ok(taken) = answer.json::<Value>().await else { break };
            acknowledged.push((taken["revision"].as_u64().expect("a number"), own, n));
        }
        acknowledged
    };
    let editors: Vec<_> = (0..40).map(|own| tokio::spawn(editor(node.address(), own))).collect();
    // In the midst of the 1,000.
    let mut seen = 0;
    while seen < 400 {
        seen = page(&node).await.1;
    }
    node.crash().await;
    let mut acknowledged = Vec::new();
    for editor in editors {
        acknowledged.extend(editor.await.expect("ends"));
    }
    // Each editor may have one on its way whose answer the kill has cut off.
    assert!(acknowledged.len() >= 399 - 40, "{}", acknowledged.len());
    assert!(acknowledged.len() < 1_000, "it was killed too late");
    let node = node.crash_and_restart(&[]).await;
    let (text, number, _) = page(&node).await;
    assert!(acknowledged.iter().all(|(revision, ..)| *revision <= number));
    assert_eq!(text.lines().count(), 40, "the file is whole: {text}");
    assert_eq!(std::fs::read_to_string(file(&node)).expect("is a file"), text);
    let history = history(&node).await;
    assert_eq!(history.len() as u64, number);
    assert!(history.iter().all(|it| it["author"] != "file"), "nobody changed it by hand");
    for (revision_number, own, n) in &acknowledged {
        let line = format!("<p>line {own}: {n}</p>\n");
        if revision_number % 10 == 0 {
            assert!(revision(&node, *revision_number).await.contains(&line), "{line}");
        }
    }
    for own in 0..40 {
        let last = acknowledged.iter().filter(|it| it.1 == own).map(|it| it.2).max().unwrap_or(0);
        // One more may be on the disk whose answer got lost.
        let has = |n: i32| text.contains(&format!("<p>line {own}: {n}</p>\n"));
        assert!(has(last) || has(last + 1), "line {own}: {last}");
    }
}

#[tokio::test]
async fn a_change_by_hand_becomes_a_revision() {
    let node = Node::start(&[]).await;
    create(&node, "<p>one</p>\n<p>two</p>\n").await;
    std::fs::write(file(&node), "<p>one</p>\n<p>by hand</p>\n").expect("written");
    // Not even waiting until it is noticed.
    let answer = edit(&node, 1, "<p>1</p>\n<p>two</p>\n").await;
    assert_eq!(answer.status(), 200);
    assert_eq!(page(&node).await.0, "<p>1</p>\n<p>by hand</p>\n");
    std::fs::write(file(&node), "<p>again</p>\n").expect("written");
    let deadline = Instant::now() + LONG;
    while page(&node).await.0 != "<p>again</p>\n" {
        assert!(Instant::now() < deadline, "it is not noticed");
    }
    let history = history(&node).await;
    let kinds: Vec<_> = history.iter().map(|it| it["kind"].as_str().unwrap_or_default()).collect();
    assert_eq!(kinds, ["file", "edit", "file", "create"]);
    assert_eq!(history[0]["author"], "file");
}

#[tokio::test]
async fn an_edit_that_is_sent_again_is_the_same_edit() {
    let node = Node::start(&[]).await;
    create(&node, "a\nb\nc\n").await;
    let send = async |node: &Node, text: &str| {
        let address = node.address();
        send_edit(&address, 1, text.to_owned(), "me", Some("key-1")).await.expect("an answer")
    };
    let first = json_of(send(&node, "A\nb\nc\n").await).await;
    edit(&node, 1, "a\nb\nC\n").await;
    let again = send(&node, "A\nb\nc\n").await;
    assert_eq!(again.headers()["idempotent-replayed"], "true");
    assert_eq!(json_of(again).await, first);
    let other = send(&node, "x").await;
    assert_eq!(other.status(), 422);
    assert_eq!(json_of(other).await["code"], "idempotency_key_reused");
    let node = node.crash_and_restart(&[]).await;
    assert_eq!(json_of(send(&node, "A\nb\nc\n").await).await, first);
    assert_eq!(page(&node).await.0, "A\nb\nC\n");
    assert_eq!(history(&node).await.len(), 3);
}

#[tokio::test]
async fn old_texts_differences_and_the_way_back() {
    let node = Node::start(&[]).await;
    create(&node, "a\nb\n").await;
    edit(&node, 1, "a\nB\n").await;
    assert_eq!(revision(&node, 1).await, "a\nb\n");
    let told = node.get(&format!("{PAGE}/revisions/2?diff=1")).await;
    assert_eq!(told.text().await.expect("text"), "@@ -1,2 +1,2 @@\n a\n-b\n+B\n");
    let back = node.request(Method::POST, &format!("{PAGE}/revisions/1/revert")).send().await;
    let back = json_of(back.expect("an answer")).await;
    assert_eq!(
        (&back["revision"], &back["kind"], &back["base"]),
        (&3.into(), &"revert".into(), &1.into())
    );
    assert_eq!(page(&node).await.0, "a\nb\n");
    let none = node.get(&format!("{PAGE}/revisions/9")).await;
    assert_eq!(
        (none.status().as_u16(), json_of(none).await["code"].clone()),
        (404, "revision_not_found".into())
    );
}

#[tokio::test]
async fn what_cannot_be_a_document_is_refused() {
    let node = Node::start(&[]).await;
    create(&node, "a").await;
    let large = "x".repeat((4 << 20) + 1);
    for (method, path, content_type, body, status, code) in [
        ("GET", "/v1/documents/none", "", "", 404, "document_not_found"),
        ("GET", "/v1/documents/a.b", "", "", 400, "invalid_name"),
        ("GET", "/v1/documents/..%2Ftasks", "", "", 400, "invalid_name"),
        ("PUT", "/v1/documents/a%2Fb", "text/html", "x", 400, "invalid_name"),
        (
            "PUT",
            "/v1/documents/new",
            "text/html; charset=latin1",
            "x",
            415,
            "unsupported_media_type",
        ),
        ("PUT", "/v1/documents/new", "video/mp4", "x", 415, "unsupported_media_type"),
        ("PUT", "/v1/documents/new", "text/html", &large, 413, "body_too_large"),
        ("POST", PAGE, "text/html", "x", 400, "missing_field"),
        ("POST", "/v1/documents/page?base=9", "text/html", "x", 404, "revision_not_found"),
        (
            "POST",
            "/v1/documents/page?base=1",
            "application/json",
            "x",
            415,
            "unsupported_media_type",
        ),
        ("POST", "/v1/documents/page?from=1", "text/html", "x", 400, "unknown_field"),
    ] {
        let method = method.parse().expect("a method");
        let request = node.request(method, path).header("If-None-Match", "*");
        let request = request.header("Content-Type", content_type).body(body.to_owned());
        let response = request.send().await.expect("an answer");
        assert_eq!(response.status(), status, "{path}");
        assert_eq!(json_of(response).await["code"], code, "{path}");
    }
    let request = html(node.request(Method::POST, "/v1/documents/page?base=1"));
    let wrong = request.body(vec![b'a', 0xff]).send().await.expect("an answer");
    assert_eq!(
        (wrong.status().as_u16(), json_of(wrong).await["code"].clone()),
        (415, "not_utf8".into())
    );
}

#[tokio::test]
async fn pages_of_other_sites_may_show_a_document_and_not_edit_it() {
    let node = Node::start(&[]).await;
    create(&node, "a").await;
    let ask = async |method: Method, path: &str, mode: &str, site: &str| {
        let request = html(node.request(method, path));
        let request = request.header("Sec-Fetch-Mode", mode).header("Sec-Fetch-Dest", "document");
        let request = request.header("Sec-Fetch-Site", site).body("b");
        request.send().await.expect("an answer").status().as_u16()
    };
    assert_eq!(ask(Method::GET, PAGE, "navigate", "cross-site").await, 200);
    assert_eq!(ask(Method::GET, PAGE, "no-cors", "cross-site").await, 403);
    let edit = format!("{PAGE}?base=1");
    assert_eq!(ask(Method::POST, &edit, "navigate", "cross-site").await, 403);
    assert_eq!(ask(Method::POST, &edit, "cors", "same-origin").await, 200);
    // A document's own scripts would have no origin.
    let null = node.request(Method::POST, &edit).header("Origin", "null").body("c").send().await;
    assert_eq!(null.expect("an answer").status(), 403);
}

/// The events of a stream as `event id data`, one by one.
struct Stream {
    response: Response,
    text: String,
}

impl Stream {
    async fn open(node: &Node, path: &str, last: Option<&str>) -> Self {
        let request = node.request(Method::GET, path);
        let request = match last {
            Some(last) => request.header("Last-Event-ID", last),
            None => request,
        };
        let response = request.send().await.expect("an answer");
        assert_eq!(response.status(), 200);
        Self { response, text: String::new() }
    }

    /// The next event: its kind, its id and its data.
    async fn next(&mut self) -> (String, String, Value) {
        loop {
            while let Some((event, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    let line = event.lines().find_map(|line| line.strip_prefix(name));
                    line.unwrap_or_default().trim_start_matches(':').trim().to_owned()
                };
                let found = (field("event"), field("id"), field("data"));
                self.text = rest.to_owned();
                if !found.0.is_empty() {
                    return (found.0, found.1, serde_json::from_str(&found.2).expect("JSON"));
                }
            }
            let piece = timeout(LONG, self.response.chunk()).await.expect("in time");
            let piece = piece.expect("goes on").expect("has not ended");
            self.text.push_str(std::str::from_utf8(&piece).expect("UTF-8"));
        }
    }
}

#[tokio::test]
async fn revisions_are_told_to_those_who_listen() {
    let node = Node::start(&[]).await;
    create(&node, "a\n").await;
    let mut own = Stream::open(&node, &format!("{PAGE}/events"), None).await;
    let mut all = Stream::open(&node, "/v1/events?only=revision", None).await;
    let (kind, id, data) = own.next().await;
    assert_eq!((kind.as_str(), id.as_str(), &data["kind"]), ("revision", "1", &"create".into()));
    edit(&node, 1, "b\n").await;
    for stream in [&mut own, &mut all] {
        let (kind, _, data) = stream.next().await;
        assert_eq!(
            (kind.as_str(), &data["document"], &data["revision"]),
            ("revision", &"page".into(), &2.into())
        );
    }
    for n in 2..70 {
        edit(&node, n, format!("{n}\n")).await;
    }
    let node = node.crash_and_restart(&[]).await;
    let mut again = Stream::open(&node, &format!("{PAGE}/events"), Some("2")).await;
    for n in 3..=70 {
        let (kind, id, _) = again.next().await;
        assert_eq!((kind.as_str(), id), ("revision", n.to_string()));
    }
    node.request(Method::DELETE, PAGE).send().await.expect("an answer");
    assert_eq!(again.next().await.0, "deleted");
}

#[tokio::test]
async fn a_backup_holds_the_documents() {
    let node = Node::start(&[]).await;
    create(&node, "a\n").await;
    edit(&node, 1, "b\n").await;
    let folder = TempDir::new().expect("a folder");
    let copy = folder.path().join("copy");
    let text = |path: &std::path::Path| path.to_str().expect("text").to_owned();
    let data = text(node.data_dir());
    let (code, stdout, stderr) =
        runabout_tests::runabout(&["backup", &text(&copy), "--data", &data, "--json"]).await;
    assert_eq!(code, 0, "{stderr}");
    let copied: Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!(copied["documents"], 1, "{copied}");
    let restored = Node::set_up(Setup { data: Some(&copy), ..Setup::default() }).await;
    let (text, number, _) = page(&restored).await;
    assert_eq!((text.as_str(), number), ("b\n", 2));
    assert_eq!(revision(&restored, 1).await, "a\n");
}

#[tokio::test]
async fn a_backup_without_all_documents_is_none() {
    let node = Node::start(&[]).await;
    create(&node, "a\n").await;
    edit(&node, 1, "b\n").await;
    let history = node.data_dir().join("documents/.revisions/page");
    let log = std::fs::read_dir(&history).expect("there").next().expect("a file").expect("read");
    let mut bytes = std::fs::read(log.path()).expect("read");
    bytes[20] ^= 1;
    std::fs::write(log.path(), bytes).expect("damaged");
    let folder = TempDir::new().expect("a folder");
    let copy = folder.path().join("copy");
    let [copy, data] = [&copy, node.data_dir()].map(|path| path.to_str().expect("text"));
    let (code, _, stderr) = runabout_tests::runabout(&["backup", copy, "--data", data]).await;
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("document page") && stderr.contains("left behind"), "{stderr}");
    assert_eq!(std::fs::read_dir(folder.path()).expect("there").count(), 0);
}

/// Makes every fsync of a document's file fail, once the file named by BREAK_FSYNC is there.
const BREAKS_FSYNC: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int fsync(int file) {
    const char *trigger = getenv("BREAK_FSYNC");
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    path[length > 0 ? length : 0] = 0;
    if (trigger && strstr(path, "documents/.page.new") && access(trigger, F_OK) == 0) {
        errno = EIO;
        return -1;
    }
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    return real(file);
}
"#;

#[tokio::test]
async fn after_a_failed_fsync_a_document_is_only_read() {
    let folder = TempDir::new().expect("a folder");
    let (source, library) = (folder.path().join("fsync.c"), folder.path().join("fsync.so"));
    std::fs::write(&source, BREAKS_FSYNC).expect("written");
    let mut compiler = Command::new("gcc");
    compiler.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).arg("-ldl");
    match compiler.output() {
        Ok(output) => assert!(output.status.success(), "{output:?}"),
        Err(error) => return eprintln!("skipped: no gcc: {error}"),
    }
    let (data, trigger) = (folder.path().join("data"), folder.path().join("trigger"));
    let text = |path: &std::path::Path| path.to_str().expect("text").to_owned();
    let (library, trigger_text) = (text(&library), text(&trigger));
    let env = [("LD_PRELOAD", library.as_str()), ("BREAK_FSYNC", trigger_text.as_str())];
    let mut node = Node::set_up(Setup { data: Some(&data), env: &env, ..Setup::default() }).await;
    create(&node, "a\n").await;
    std::fs::write(&trigger, "").expect("written");
    let refused = edit(&node, 1, "b\n").await;
    assert_eq!(refused.status(), 503);
    assert_eq!(json_of(refused).await["code"], "storage_failed");
    std::fs::remove_file(&trigger).expect("removed");
    // The next sync would succeed, and say nothing of what was lost.
    assert_eq!(edit(&node, 1, "c\n").await.status(), 503);
    assert_eq!(page(&node).await.0, "a\n");
    assert_eq!(json_of(node.get("/v1/documents").await).await["items"][0]["read_only"], true);
    let ready = node.get("/readyz").await;
    assert_eq!(
        (ready.status().as_u16(), json_of(ready).await["document"].clone()),
        (503, "page".into())
    );
    node.crash().await;
    let node = Node::set_up(Setup { data: Some(&data), ..Setup::default() }).await;
    let (text, number, _) = page(&node).await;
    assert!(matches!((text.as_str(), number), ("a\n", 1) | ("b\n", 2)), "{text}");
    assert_eq!(edit(&node, number, "d\n").await.status(), 200);
}
