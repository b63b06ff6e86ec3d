//! Walks the table: sends each guest to a node, and holds how it ended against its row.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use reqwest::{Method, Response, Url, header, multipart};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::table::{Code, Refusal, Row, Way};
use crate::Node;

/// Guests that are on the node at once: more than it has cores and slots.
pub const AT_ONCE: usize = 8;

/// What a run may have if its row is silent.
const MEMORY_BYTES_DEFAULT: u64 = 128 << 20;

/// How long a node may take to come to rest when nobody asks anything of it any more.
const REST_WITHIN: Duration = Duration::from_secs(30);

/// How long until it has given back what it can: longer than code stays that nobody asks for.
const GIVEN_BACK_WITHIN: Duration = Duration::from_secs(150);

/// How often the node's memory is looked at meanwhile, from outside.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// One sending of a guest.
#[derive(Debug)]
pub struct Visit {
    /// The row's name, and how it was sent.
    pub name: String,
    /// When it was sent.
    pub began: Instant,
    /// When its end was known.
    pub ended: Instant,
    /// How that was not what the row says; empty if it was.
    pub wrong: Vec<String>,
}

/// Members as they were written: results may nest deeper than a parser likes.
type Members = BTreeMap<String, Box<RawValue>>;

/// How it went.
enum End {
    Outcome(Members),
    Refused(Refusal),
}

#[derive(Deserialize)]
struct Task {
    id: String,
    state: String,
    outcome: Option<Members>,
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Usage {
    memory_peak_bytes: Option<u64>,
}

#[derive(Deserialize)]
struct Logs {
    items: Vec<HashMap<String, Value>>,
    truncated: bool,
}

/// Sends every guest, some at once, in every way its row names.
pub async fn walk(node: &Node, rows: &[Row], at_once: usize) -> Vec<Visit> {
    let mut left: Vec<(Row, Way)> =
        rows.iter().rev().flat_map(|row| row.sent.iter().map(|way| (row.clone(), *way))).collect();
    let mut under_way = JoinSet::new();
    let mut visits = Vec::with_capacity(left.len());
    loop {
        while under_way.len() < at_once {
            let Some((row, way)) = left.pop() else { break };
            let address = node.address();
            under_way.spawn(async move { visit(&address, &row, way).await });
        }
        let Some(visit) = under_way.join_next().await else { return visits };
        visits.push(visit.expect("a visit does not panic"));
    }
}

/// The node's resident memory once it rests: no task under way, and no run with any memory.
pub async fn memory_returned(node: &Node) -> u64 {
    let is_over = Instant::now() + REST_WITHIN;
    loop {
        let page = node.get("/metrics").await.text().await.expect("is text");
        let is_zero = |name: &str| {
            let value = page.lines().find_map(|line| line.strip_prefix(name));
            value.is_some_and(|value| value.trim() == "0")
        };
        let at_rest = ["runabout_tasks_running ", "runabout_sandbox_memory_bytes "];
        if at_rest.iter().all(|name| is_zero(name)) {
            return node.resident_bytes();
        }
        assert!(Instant::now() < is_over, "the node does not come to rest:\n{page}");
    }
}

/// The node's resident memory once it is no more than this: what was freed is given back to the
/// system some seconds later, if nobody asks anything of the node meanwhile.
pub async fn memory_given_back(node: &Node, bytes_max: u64) -> u64 {
    let is_over = Instant::now() + GIVEN_BACK_WITHIN;
    memory_returned(node).await;
    loop {
        let bytes = node.resident_bytes();
        if bytes <= bytes_max {
            return bytes;
        }
        assert!(Instant::now() < is_over, "{bytes} bytes stay resident");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn visit(node: &crate::Address, row: &Row, way: Way) -> Visit {
    let began = Instant::now();
    let wrong = match way {
        Way::Call => call(node, row).await,
        Way::Task => task(node, row).await,
    };
    let name = format!("{} ({way:?})", row.name).to_lowercase();
    Visit { name, began, ended: Instant::now(), wrong }
}

async fn call(node: &crate::Address, row: &Row) -> Vec<String> {
    let (media_type, code) = match row.code() {
        Code::JavaScript(source) => ("text/javascript", source),
        Code::Wasm(module) => ("application/wasm", module),
    };
    let path = format!("/v1/functions/{}", row.name);
    let request = node.request(Method::PUT, &path).header(header::CONTENT_TYPE, media_type);
    let deployed = request.body(code).send().await.expect("the node answers");
    if !deployed.status().is_success() {
        return compare(row, problem(deployed).await);
    }
    let mut query = row.limits.query();
    query.extend(row.export.clone().map(|export| ("export", export)));
    let url = Url::parse_with_params("http://any/", query).expect("is a URL");
    let path = format!("{path}/call?{}", url.query().unwrap_or_default());
    let request = node.request(Method::POST, &path);
    let request = request.header(header::CONTENT_TYPE, "application/json");
    let answer = request.body(row.args()).send().await.expect("the node answers");
    let end = match answer.status().is_success() {
        true => result(answer).await,
        false => problem(answer).await,
    };
    compare(row, end)
}

async fn result(answer: Response) -> End {
    let is_json = answer.headers()[header::CONTENT_TYPE] == "application/json";
    let mut outcome = Members::from([("kind".to_owned(), raw("returned"))]);
    if is_json {
        outcome.insert("value".to_owned(), read(answer).await);
    } else {
        outcome.insert("value_encoding".to_owned(), raw("base64"));
    }
    End::Outcome(outcome)
}

async fn problem(answer: Response) -> End {
    let status = answer.status().as_u16();
    let mut members: Members = read(answer).await;
    if let Some(outcome) = members.remove("outcome") {
        return End::Outcome(serde_json::from_str(outcome.get()).expect("an outcome is an object"));
    }
    let code = members.remove("code").expect("a problem has a code");
    End::Refused(Refusal { status, code: code.get().trim_matches('"').to_owned() })
}

async fn task(node: &crate::Address, row: &Row) -> Vec<String> {
    let accepted = submit(node, row).await;
    if !accepted.status().is_success() {
        return compare(row, problem(accepted).await);
    }
    let task: Task = read(accepted).await;
    let id = task.id;
    let task = loop {
        let asked = node.request(Method::GET, &format!("/v1/tasks/{id}?wait=30")).send().await;
        let task: Task = read(asked.expect("the node answers")).await;
        if !matches!(task.state.as_str(), "queued" | "running") {
            break task;
        }
    };
    let mut wrong = compare(row, End::Outcome(task.outcome.unwrap_or_default()));
    let granted = row.limits.memory_bytes.unwrap_or(MEMORY_BYTES_DEFAULT);
    let peak = task.usage.and_then(|usage| usage.memory_peak_bytes).unwrap_or(0);
    if peak > granted {
        wrong.push(format!("held {peak} bytes, and may hold {granted}"));
    }
    if row.lines.is_some() || row.truncated.is_some() {
        let asked = node.request(Method::GET, &format!("/v1/tasks/{id}/logs")).send().await;
        wrong.extend(compare_logs(row, read(asked.expect("the node answers")).await));
    }
    // What the table leaves behind must not be what the next walk is measured by.
    let removed = node.request(Method::DELETE, &format!("/v1/tasks/{id}")).send().await;
    assert_eq!(removed.expect("the node answers").status(), 204);
    wrong
}

async fn submit(node: &crate::Address, row: &Row) -> Response {
    let sent = match row.code() {
        Code::JavaScript(source) => {
            let source = String::from_utf8(source).expect("source is UTF-8");
            let args: Box<RawValue> = RawValue::from_string(row.args()).expect("is JSON");
            let export = row.export.as_deref();
            let limits = row.limits.json();
            // Written by hand, for the sake of arguments that nest deep.
            let mut body = json!({ "source": source, "limits": limits });
            if let Some(export) = export {
                body["export"] = export.into();
            }
            let mut text = body.to_string();
            text.truncate(text.len() - 1);
            let text = format!("{text},\"args\":{}}}", args.get());
            let request = node.request(Method::POST, "/v1/tasks");
            request.header(header::CONTENT_TYPE, "application/json").body(text).send().await
        }
        Code::Wasm(module) => {
            let file = multipart::Part::bytes(module).file_name("guest.wasm");
            let mut form = multipart::Form::new()
                .part("file", file)
                .text("args", row.args())
                .text("limits", row.limits.json().to_string());
            if let Some(export) = &row.export {
                form = form.text("export", export.clone());
            }
            node.request(Method::PUT, "/v1/tasks").multipart(form).send().await
        }
    };
    sent.expect("the node answers")
}

fn compare(row: &Row, end: End) -> Vec<String> {
    match (end, &row.outcome, &row.refused) {
        (End::Refused(refusal), _, Some(expected)) if refusal == *expected => Vec::new(),
        (End::Refused(refusal), _, _) => vec![format!("was refused: {refusal:?}")],
        (End::Outcome(outcome), Some(Value::Object(expected)), _) => {
            let differs = expected.iter().filter(|(name, expected)| {
                let found = outcome.get(*name).map(|found| found.get());
                let found = found.and_then(|found| serde_json::from_str::<Value>(found).ok());
                !found.is_some_and(|found| holds(expected, &found))
            });
            let tell = |name: &String| format!("{name} is wrong in {}", shown(&outcome));
            differs.map(|(name, _)| tell(name)).collect()
        }
        (End::Outcome(outcome), _, _) => vec![format!("ran: {}", shown(&outcome))],
    }
}

/// Whether everything that is expected is there.
fn holds(expected: &Value, found: &Value) -> bool {
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => expected
            .iter()
            .all(|(name, expected)| found.get(name).is_some_and(|found| holds(expected, found))),
        (Value::String(expected), Value::String(found)) => match expected.strip_suffix("...") {
            Some(beginning) => found.starts_with(beginning),
            None => expected == found,
        },
        _ => expected == found,
    }
}

fn compare_logs(row: &Row, logs: Logs) -> Vec<String> {
    let mut wrong = Vec::new();
    if row.truncated.is_some_and(|truncated| truncated != logs.truncated) {
        wrong.push(format!("its output has truncated = {}", logs.truncated));
    }
    let word = |line: &HashMap<String, Value>, name| line[name].as_str().map(str::to_owned);
    let lines: Option<Vec<String>> = logs
        .items
        .iter()
        .map(|line| Some(format!("{} {}", word(line, "stream")?, word(line, "text")?)))
        .collect();
    if row.lines.is_some() && row.lines != lines {
        wrong.push(format!("it wrote {lines:?}"));
    }
    wrong
}

fn shown(outcome: &Members) -> String {
    let text = serde_json::to_string(outcome).expect("was JSON");
    text.chars().take(300).collect()
}

fn raw(word: &str) -> Box<RawValue> {
    serde_json::value::to_raw_value(word).expect("a word is JSON")
}

async fn read<T: DeserializeOwned>(response: Response) -> T {
    let url = response.url().to_string();
    let text = response.text().await.expect("a body arrives");
    let start: String = text.chars().take(300).collect();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{url}: {error}: {start}"))
}
