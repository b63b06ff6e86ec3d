//! Endpoints with documents, and computation on the way.

use std::path::Path;
use std::time::Duration;

use futures::future::join_all;
use reqwest::{Method, Response};
use runabout_tests::article::{Plan, run};
use runabout_tests::{Node, Setup, guest, json_of, project};
use tempfile::TempDir;
use tokio::time::Instant;

const NAME: &str = "Latest_plane_crash";

/// The node of the example, with its article.
async fn example(folder: &TempDir) -> Node {
    let data = folder.path().join("data");
    let config = project().join("examples/article/runabout.toml");
    let config = config.to_str().expect("text");
    let setup = Setup { data: Some(&data), flags: &["--config", config], ..Setup::default() };
    let node = Node::set_up(setup).await;
    node.deploy("fib", "application/wasm", guest("fib.wasm")).await;
    let words = read(&project().join("examples/article/words.js"));
    node.deploy("words", "text/javascript", words).await;
    let request = node.request(Method::PUT, &format!("/v1/documents/{NAME}"));
    let request = request.header("If-None-Match", "*").header("Content-Type", "text/html");
    let made = request.body(article()).send().await.expect("an answer");
    assert_eq!(made.status(), 201);
    node
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn article() -> String {
    read(&project().join(format!("examples/article/{NAME}.html")))
}

async fn edit(node: &Node, base: u64, text: String) -> u64 {
    let request = node.request(Method::POST, &format!("/v1/documents/{NAME}?base={base}"));
    let answer = request.body(text).send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    json_of(answer).await["revision"].as_u64().expect("a number")
}

/// How the computation was made, and how long it ran.
fn compute(answer: &Response) -> (String, f64) {
    let told = answer.headers()["runabout-compute"].to_str().expect("text");
    let (mode, ran) = told.split_once("; ran=").expect("MODE; ran=MS");
    (mode.to_owned(), ran.trim_end_matches("ms").parse().expect("a number"))
}

#[tokio::test]
async fn a_document_is_served_with_a_computation_on_the_way() {
    let folder = TempDir::new().expect("a folder");
    let node = example(&folder).await;
    for (path, mode) in [("wiki", "shared"), ("each", "each"), ("cached", "cached")] {
        let answer = node.get(&format!("/{path}/{NAME}")).await;
        assert_eq!(answer.status(), 200);
        let (told, ran) = compute(&answer);
        assert_eq!(told, mode);
        assert!(ran > 1.0, "fib(34) in {ran} ms");
        assert_eq!(answer.headers()["etag"], "\"1\"");
        assert_eq!(answer.headers()["content-security-policy"], "sandbox");
        assert!(answer.headers().contains_key("runabout-ran-on"));
        assert_eq!(answer.text().await.expect("text"), article());
    }
    let plain = node.get(&format!("/plain/{NAME}")).await;
    assert!(!plain.headers().contains_key("runabout-compute"));
    assert_eq!(plain.text().await.expect("text"), article());
    assert_eq!(node.get("/wiki/none").await.status(), 404);
    let known =
        node.request(Method::GET, &format!("/wiki/{NAME}")).header("If-None-Match", "\"1\"");
    assert_eq!(known.send().await.expect("an answer").status(), 304);
}

#[tokio::test]
async fn what_is_cached_is_computed_once_for_a_revision() {
    let folder = TempDir::new().expect("a folder");
    let node = example(&folder).await;
    let path = format!("/cached/{NAME}");
    let starts = async || {
        let page = node.get("/metrics").await.text().await.expect("text");
        let line = page.lines().find_map(|it| it.strip_prefix("runabout_sandbox_starts_total "));
        line.expect("is counted").parse::<u64>().expect("a number")
    };
    let before = starts().await;
    let answers = join_all((0..50).map(|_| node.get(&path))).await;
    assert!(answers.iter().all(|answer| answer.status() == 200));
    assert_eq!(starts().await, before + 1);
    edit(&node, 1, article().replace("</body>", "<p>new</p>\n</body>")).await;
    let answer = node.get(&path).await;
    assert!(answer.text().await.expect("text").contains("<p>new</p>"));
    assert_eq!(starts().await, before + 2);
}

#[tokio::test]
async fn one_result_is_sent_by_each_endpoint_as_it_wants_it() {
    let folder = TempDir::new().expect("a folder");
    let node = example(&folder).await;
    for (path, respond) in [("beside", false), ("instead", true)] {
        let compute = serde_json::json!({
            "function": "words", "args": ["{document}"], "mode": "cached", "respond": respond,
        });
        let path = format!("/{path}/{{name}}");
        let endpoint = serde_json::json!({"path": path, "document": "{name}", "compute": compute});
        let request = node.request(Method::PUT, "/v1/endpoints").json(&endpoint);
        assert!(request.send().await.expect("an answer").status().is_success());
    }
    let beside = node.get(&format!("/beside/{NAME}")).await.text().await.expect("text");
    assert_eq!(beside, article());
    let instead = node.get(&format!("/instead/{NAME}")).await;
    assert_eq!(instead.headers()["content-type"], "text/html; charset=utf-8");
    assert!(instead.text().await.expect("text").starts_with("<!doctype html>"));
}

#[tokio::test]
async fn a_renderer_makes_the_response() {
    let folder = TempDir::new().expect("a folder");
    let node = example(&folder).await;
    let path = format!("/words/{NAME}");
    let answer = node.get(&path).await;
    assert_eq!(answer.headers()["content-type"], "text/html; charset=utf-8");
    assert_eq!(answer.headers()["content-security-policy"], "sandbox");
    let text = answer.text().await.expect("text");
    assert!(text.starts_with("<!doctype html>") && text.contains(" words</small>"), "{text}");
    node.deploy("words", "text/javascript", "export default () => { throw new Error('no'); }")
        .await;
    let failed = node.get(&path).await;
    assert_eq!(
        (failed.status().as_u16(), json_of(failed).await["code"].clone()),
        (422, "function_threw".into())
    );
    node.request(Method::DELETE, "/v1/functions/words").send().await.expect("an answer");
    let missing = node.get(&path).await;
    assert_eq!(
        (missing.status().as_u16(), json_of(missing).await["code"].clone()),
        (503, "function_missing".into())
    );
}

#[tokio::test]
async fn shared_answers_rest_on_computations_that_began_after_the_question() {
    let folder = TempDir::new().expect("a folder");
    let node = example(&folder).await;
    let path = format!("/wiki/{NAME}");
    let mut asked = Vec::new();
    let begun = Instant::now();
    for round in 0..20_u64 {
        for _ in 0..20 {
            let request = node.request(Method::GET, &path);
            asked.push(tokio::spawn(async move {
                let begun = Instant::now();
                let answer = request.send().await.expect("an answer");
                assert_eq!(answer.status(), 200);
                let (_, ran) = compute(&answer);
                // It cannot have begun before the question and have ended within it otherwise.
                let took = begun.elapsed().as_secs_f64() * 1_000.0;
                assert!(took >= ran, "an answer after {took} ms rests on a run of {ran} ms");
            }));
        }
        tokio::time::sleep(Duration::from_millis(round % 7)).await;
    }
    for asked in asked {
        asked.await.expect("holds");
    }
    // Four hundred requests, and far fewer computations.
    let page = node.get("/metrics").await.text().await.expect("text");
    let line = page.lines().find_map(|it| it.strip_prefix("runabout_sandbox_starts_total "));
    let starts: u64 = line.expect("is counted").parse().expect("a number");
    assert!(starts < 300, "{starts} computations in {:?}", begun.elapsed());
}

#[tokio::test]
async fn readers_and_editors_agree_on_what_they_saw() {
    let folder = TempDir::new().expect("a folder");
    let node = example(&folder).await;
    let plan = Plan {
        node: node.url.trim_start_matches("http://").to_owned(),
        path: format!("/wiki/{NAME}"),
        document: NAME.to_owned(),
        readers: 32,
        rate: 0,
        editors: 10,
        edits: 20.0,
        seconds: 3.0,
        json: false,
        unchecked: false,
    };
    let account = run(&plan).await;
    assert!(account.is_well(), "{}", account.text());
}
