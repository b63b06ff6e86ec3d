//! Endpoints, from the outside: a node's file, requests as a browser or curl sends them.

use std::path::Path;
use std::time::Duration;

use reqwest::{Method, Response};
use runabout_tests::{Node, Setup, guest, json_of, runabout};
use serde_json::{Value, json};
use tempfile::TempDir;

/// What most tests here start with.
const FILE: &str = r#"
[[endpoint]]
path = "/getData"
function = "fib"
args = ["{n=20}"]
offload = "query"

[[endpoint]]
path = "/getBiggerData"
function = "fib"
args = ["{n}"]
offload = "n > 32"
methods = ["GET"]

[[endpoint]]
path = "/hello/{name}"
function = "describe"
args = ["{name}", "dear {name}", 34, { year = 2026 }, "{loud=false}"]

[[endpoint]]
path = "/bytes"
function = "bytes"

[[endpoint]]
path = "/throws"
function = "throws"

[[endpoint]]
path = "/later"
function = "later@1"
"#;

/// A node with that file, in a folder of its own.
struct Host {
    node: Node,
    folder: TempDir,
}

async fn host(file: &str) -> Host {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let path = folder.path().join("runabout.toml");
    std::fs::write(&path, file).expect("the file is written");
    let config = path.to_str().expect("is text");
    let node = Node::set_up(Setup { flags: &["--config", config], ..Setup::default() }).await;
    node.deploy("fib", "application/wasm", guest("fib.wasm")).await;
    for (name, code) in [
        ("describe", "export default (...args) => ({ args })"),
        ("bytes", "export default () => new Uint8Array([1, 2])"),
        ("throws", "export default () => { console.log('so far'); throw new TypeError('no') }"),
    ] {
        node.deploy(name, "text/javascript", code).await;
    }
    Host { node, folder }
}

async fn problem(response: Response, status: u16, code: &str) -> Value {
    assert_eq!(response.status(), status, "{}", response.url());
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let problem = json_of(response).await;
    assert_eq!(problem["code"], code, "{problem}");
    problem
}

#[tokio::test]
async fn a_request_to_an_endpoint_is_a_call() {
    let host = host(FILE).await;
    let response = host.node.get("/getData").await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/json");
    for header in ["server-timing", "runabout-ran-on", "runabout-placement"] {
        assert!(response.headers().contains_key(header), "{header}");
    }
    assert_eq!(response.text().await.expect("is text"), "6765");
    assert_eq!(host.node.get("/getData?n=10").await.text().await.expect("is text"), "55");
    let described = json_of(host.node.get("/hello/J%C3%B6rg%2FA?loud=true").await).await;
    let expected = json!(["Jörg/A", "dear Jörg/A", 34, {"year": 2026}, true]);
    assert_eq!(described["args"], expected);
    let response = host.node.get("/bytes").await;
    assert_eq!(response.headers()["content-type"], "application/octet-stream");
    assert_eq!(response.bytes().await.expect("is there").as_ref(), [1, 2]);
}

#[tokio::test]
async fn a_body_is_an_object_of_parameters_or_a_form() {
    let host = host(FILE).await;
    let by_json = host.node.post("/getData", &json!({"n": 10})).await;
    assert_eq!(by_json.text().await.expect("is text"), "55");
    let form = host.node.request(Method::POST, "/hello/x").body("loud=very");
    let form = form.header("content-type", "application/x-www-form-urlencoded");
    let form = json_of(form.send().await.expect("answers")).await;
    assert_eq!(form["args"][4], "very");
    let both = host.node.post("/getData?n=1", &json!({"n": 10})).await;
    assert_eq!(problem(both, 400, "invalid_field").await["field"], "n");
}

#[tokio::test]
async fn the_place_is_said_by_the_caller_or_by_a_rule() {
    let host = host(FILE).await;
    for (path, placement) in [
        ("/getData?offload=0", "here; reason=asked"),
        ("/getData?offload=1", "here; reason=no_upstream"),
        ("/getData", "here; reason=no_upstream"),
        ("/getBiggerData?n=33", "here; reason=no_upstream"),
        ("/getBiggerData?n=30", "here; reason=rule"),
    ] {
        let response = host.node.get(path).await;
        assert_eq!(response.status(), 200, "{path}");
        assert_eq!(response.headers()["runabout-placement"], placement, "{path}");
    }
    let wrong = host.node.get("/getData?offload=2").await;
    assert_eq!(problem(wrong, 400, "invalid_field").await["field"], "offload");
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_said() {
    let host = host(FILE).await;
    let node = &host.node;
    let missing = problem(node.get("/getBiggerData").await, 400, "missing_field").await;
    assert_eq!(missing["field"], "n");
    let unknown = problem(node.get("/hello/x?luod=1").await, 400, "unknown_field").await;
    assert_eq!((&unknown["field"], &unknown["suggestion"]), (&json!("luod"), &json!("loud")));
    problem(node.get("/getData?n=1&n=2").await, 400, "invalid_field").await;
    problem(node.get("/hello/%ff").await, 400, "invalid_field").await;
    problem(node.get("/getData?n=many").await, 422, "invalid_arguments").await;
    problem(node.get("/hello/a/b").await, 404, "unknown_path").await;
    problem(node.get("/getData/").await, 404, "unknown_path").await;
    let threw = problem(node.get("/throws").await, 422, "function_threw").await;
    assert_eq!(
        (&threw["outcome"]["kind"], &threw["output"]),
        (&json!("threw"), &json!("so far\n"))
    );
    let response = node.post("/getBiggerData", &json!({"n": 1})).await;
    assert_eq!(response.headers()["allow"], "GET, HEAD");
    problem(response, 405, "method_not_allowed").await;
    let head = node.request(Method::HEAD, "/getData").send().await.expect("answers");
    assert_eq!(head.status(), 200);
    assert!(head.headers().contains_key("runabout-ran-on"));
    assert!(head.bytes().await.expect("ends").is_empty());
}

#[tokio::test]
async fn a_missing_function_is_told_and_may_come_later() {
    let host = host(FILE).await;
    let line = host.node.logged("function is not deployed").await;
    assert!(line.contains("fib") || line.contains("later"), "{line}");
    let missing = problem(host.node.get("/later").await, 503, "function_missing").await;
    assert_eq!(missing["function"], "later@1");
    host.node.deploy("later", "text/javascript", "export default () => 'here'").await;
    assert_eq!(json_of(host.node.get("/later").await).await, "here");
    host.node.deploy("later", "text/javascript", "export default () => 'there'").await;
    assert_eq!(json_of(host.node.get("/later").await).await, "here");
}

#[tokio::test]
async fn whoever_hangs_up_ends_the_call() {
    let file = "[[endpoint]]\npath = \"/forever\"\nfunction = \"forever\"\n";
    let host = host(file).await;
    host.node.deploy("forever", "text/javascript", "export default () => { for (;;); }").await;
    let request = tokio::spawn(host.node.request(Method::GET, "/forever").send());
    running(&host.node, 1).await;
    request.abort();
    running(&host.node, 0).await;
}

/// Waits until as many calls run.
async fn running(node: &Node, calls: u32) {
    let line = format!("runabout_calls_running {calls}");
    let shown = async {
        loop {
            let page = node.get("/metrics").await.text().await.expect("is text");
            if page.lines().any(|found| found == line) {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), shown).await.expect("they run");
}

#[tokio::test]
async fn a_node_with_a_wrong_endpoint_does_not_start() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    for (file, why) in [
        ("[[endpoint]]\npath = \"/v1/x\"\nfunction = \"f\"\n", ":2: path: /v1/x belongs to"),
        (
            "[[endpoint]]\npath = \"/f\"\nfuncton = \"f\"\n",
            ":3: an endpoint has no key \"functon\"",
        ),
        (
            "[[endpoint]]\npath = \"/f\"\nfunction = \"f\"\noffload = \"n > 32\"\n",
            ":4: offload: there is no parameter \"n\"",
        ),
    ] {
        let path = folder.path().join("wrong.toml");
        std::fs::write(&path, file).expect("the file is written");
        let data = folder.path().join("data");
        let (code, _, stderr) = serve(&path, &data).await;
        assert_ne!(code, 0, "{file}");
        assert!(stderr.contains(why) && stderr.trim().lines().count() == 1, "{file}: {stderr}");
    }
}

async fn serve(config: &Path, data: &Path) -> (i32, String, String) {
    let text = |path: &Path| path.to_str().expect("is text").to_owned();
    let (config, data) = (text(config), text(data));
    runabout(&["serve", "--listen", "127.0.0.1:0", "--config", &config, "--data", &data]).await
}

#[tokio::test]
async fn a_manifest_may_carry_the_rule() {
    let node = Node::start(&[]).await;
    let deploy = async |manifest: Value| {
        let file = reqwest::multipart::Part::bytes(guest("fib.wasm")).file_name("fib.wasm");
        let form = reqwest::multipart::Form::new().part("file", file);
        let form = form.text("manifest", manifest.to_string());
        let request = node.request(Method::PUT, "/v1/functions/fib").multipart(form);
        request.send().await.expect("answers")
    };
    let manifest = json!({"offload": "args[0] > 32", "pure": true, "reuse": false});
    let deployed = deploy(manifest.clone()).await;
    assert_eq!(deployed.status(), 201);
    assert_eq!(json_of(deployed).await["manifest"], manifest);
    let shown = json_of(node.get("/v1/functions/fib").await).await;
    assert_eq!(shown["manifest"], manifest);
    for (path, n, placement) in [
        ("/v1/functions/fib/call", 30, "here; reason=rule"),
        ("/v1/functions/fib/call", 33, "here; reason=no_upstream"),
        ("/v1/functions/fib/call?offload=0", 33, "here; reason=asked"),
    ] {
        let response = node.post(path, &json!([n])).await;
        assert_eq!(response.headers()["runabout-placement"], placement, "{path} {n}");
    }
    for (manifest, code, field) in [
        (json!({"offload": "n > 32"}), "invalid_field", "manifest.offload"),
        (json!({"offload": "args[0] +"}), "invalid_field", "manifest.offload"),
        (json!({"offload": "1", "place": "here"}), "conflicting_fields", "manifest.offload"),
        (json!({"offlaod": "1"}), "unknown_field", "manifest.offlaod"),
    ] {
        let refused = problem(deploy(manifest).await, 400, code).await;
        assert_eq!(refused["field"], field, "{refused}");
    }
}

#[tokio::test]
async fn endpoints_are_set_by_the_api_and_survive_a_crash() {
    let mut host = host(FILE).await;
    let put = async |node: &Node, body: Value| {
        let request = node.request(Method::PUT, "/v1/endpoints").json(&body);
        request.send().await.expect("answers")
    };
    let endpoint = json!({"path": "/sum/{a}", "function": "describe", "args": ["{a}", "{b=1}"]});
    let answer = put(&host.node, endpoint.clone()).await;
    assert_eq!(answer.status(), 201);
    let answer = json_of(answer).await;
    assert_eq!((&answer["source"], &answer["function_missing"]), (&json!("api"), &json!(false)));
    assert_eq!(answer["methods"], json!(["GET", "HEAD", "POST"]));
    assert_eq!(json_of(host.node.get("/sum/7").await).await["args"], json!([7, 1]));
    let changed = json!({"path": "/sum/{a}", "function": "describe", "args": ["{a}"]});
    assert_eq!(put(&host.node, changed).await.status(), 200);
    assert_eq!(json_of(host.node.get("/sum/7").await).await["args"], json!([7]));

    let config = host.folder.path().join("runabout.toml");
    let config = config.to_str().expect("is text").to_owned();
    host.node = host.node.crash_and_restart(&["--config", &config]).await;
    let node = &host.node;
    assert_eq!(json_of(node.get("/sum/7").await).await["args"], json!([7]));
    let listed = json_of(node.get("/v1/endpoints?limit=2").await).await;
    let paths = |page: &Value| -> Vec<String> {
        let items = page["items"].as_array().expect("a list").iter();
        items.map(|item| item["path"].as_str().expect("text").to_owned()).collect()
    };
    assert_eq!(paths(&listed), ["/bytes", "/getBiggerData"]);
    assert_eq!(listed["next_cursor"], "/getBiggerData");
    let rest = json_of(node.get("/v1/endpoints?cursor=/hello/%7Bname%7D").await).await;
    assert_eq!(paths(&rest), ["/later", "/sum/{a}", "/throws"]);
    assert_eq!(rest["items"][0]["source"], "file");
    assert_eq!(rest["items"][0]["function_missing"], true);
    assert!(rest["next_cursor"].is_null());

    let all = json!([{"path": "/one", "function": "bytes"}, {"path": "/two", "function": "bytes"}]);
    assert_eq!(put(node, all).await.status(), 200);
    problem(node.get("/sum/7").await, 404, "unknown_path").await;
    assert_eq!(node.get("/two").await.status(), 200);
    let delete = async |path: &str| {
        let path = format!("/v1/endpoints?path={path}");
        node.request(Method::DELETE, &path).send().await.expect("answers")
    };
    assert_eq!(delete("/two").await.status(), 204);
    problem(node.get("/two").await, 404, "unknown_path").await;
    problem(delete("/two").await, 404, "endpoint_not_found").await;
    problem(delete("/getData").await, 409, "endpoint_of_file").await;
    let of_file = json!({"path": "/getData", "function": "bytes"});
    problem(put(node, of_file).await, 409, "endpoint_of_file").await;
}

#[tokio::test]
async fn what_is_wrong_with_an_endpoint_is_said() {
    let node = Node::start(&[]).await;
    let first = json!({"path": "/a/{x}", "function": "f"});
    for (body, status, code, field) in [
        (json!({"path": "/a", "functon": "f"}), 400, "unknown_field", "functon"),
        (json!({"path": "/v1/a", "function": "f"}), 400, "invalid_field", "path"),
        (json!({"path": "/a", "function": "f", "args": ["{"]}), 400, "invalid_field", "args[0]"),
        (
            json!({"path": "/a", "function": "f", "offload": "n > 3"}),
            400,
            "invalid_field",
            "offload",
        ),
        (json!([first, {"path": "/a/{y}", "function": "f"}]), 400, "invalid_field", "path"),
        (json!([first, {"path": "/b", "fnction": "f"}]), 400, "unknown_field", "fnction"),
    ] {
        let request = node.request(Method::PUT, "/v1/endpoints").json(&body);
        let problem = problem(request.send().await.expect("answers"), status, code).await;
        assert_eq!(problem["field"], field, "{body}: {problem}");
        assert_eq!(
            problem["index"],
            if body.is_array() { json!(1) } else { Value::Null },
            "{body}"
        );
    }
    assert_eq!(json_of(node.get("/v1/endpoints").await).await["items"], json!([]));
    let delete = node.request(Method::DELETE, "/v1/endpoints").send().await.expect("answers");
    assert_eq!(problem(delete, 400, "missing_field").await["field"], "path");
}

#[tokio::test]
async fn the_command_line_sets_lists_and_deletes() {
    let node = Node::start(&[]).await;
    node.deploy("fib", "application/wasm", guest("fib.wasm")).await;
    let run = async |words: &[&str]| {
        runabout(&[&["endpoint"], words, &["--node", &node.url]].concat()).await
    };
    let put = ["put", "/getData", "{n=20}", "--function", "fib", "--offload", "query"];
    let (code, stdout, stderr) = run(&put).await;
    assert_eq!((code, stdout.as_str()), (0, "/getData calls fib({n=20})\n"), "{stderr}");
    let (_, stdout, _) = run(&["list"]).await;
    let expected = "\
PATH      METHODS        CALLS        OFFLOAD  SOURCE
/getData  GET,HEAD,POST  fib({n=20})  query    api\n";
    assert_eq!(stdout, expected);
    assert_eq!(node.get("/getData").await.text().await.expect("is text"), "6765");
    let (code, _, stderr) = run(&["put", "/x", "--function", "later@2"]).await;
    assert_eq!(code, 0);
    assert!(stderr.contains("later@2 is not deployed yet"), "{stderr}");
    let (code, _, stderr) = run(&["delete", "/getData"]).await;
    assert_eq!((code, stderr.trim()), (0, "deleted /getData"));
    problem(node.get("/getData").await, 404, "unknown_path").await;
}
