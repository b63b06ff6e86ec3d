//! The targets: each takes any bytes, hands them to one kind of parser, and panics only if that
//! does, or if what it found cannot be.
//!
//! `cargo xtask fuzz` searches for such bytes with libFuzzer; the test in `tests/` tries the
//! committed examples and small changes of them, with every other test.

use std::fmt::Debug;

use bytes::Bytes;
use runabout_documents::Merged;
use runabout_protocol::wire::{Frame, Heard};
use runabout_protocol::{
    Checkpoint, Digest, FunctionName, FunctionVersion, Json, Limits, LimitsRequest, Manifest,
    Outcome, ScheduleName, ServerToWorker, Task, TaskId, Usage, WorkerToServer,
};
use runabout_sandbox::SourceLanguage;
use runabout_server::parse;

/// A parser, and the name of its folder of examples in `corpus/`.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name.
    pub name: &'static str,
    /// Feeds it.
    pub run: fn(&[u8]),
}

/// Every target.
pub const TARGETS: &[Target] = &[
    Target { name: "cron", run: cron },
    Target { name: "endpoint", run: endpoint },
    Target { name: "frames", run: frames },
    Target { name: "merge", run: merge },
    Target { name: "multipart", run: multipart },
    Target { name: "query", run: query },
    Target { name: "rule", run: rule },
    Target { name: "schedule", run: schedule },
    Target { name: "source", run: source },
    Target { name: "task_request", run: task_request },
    Target { name: "values", run: values },
];

/// The target of that name.
pub fn target(name: &str) -> Option<Target> {
    TARGETS.iter().find(|target| target.name == name).copied()
}

/// The body of `POST /v1/tasks`.
fn task_request(input: &[u8]) {
    parse::task_request(input);
}

/// The body of `PUT /v1/schedules/{name}`.
fn schedule(input: &[u8]) {
    parse::schedule(input);
}

/// A line with the query of a request, then the endpoint it goes to.
fn endpoint(input: &[u8]) {
    let (query, body) = first_line(input);
    if let Some(args) = parse::endpoint(body, query) {
        args.read::<Vec<Json>>().expect("arguments are an array");
    }
}

/// A line with a rule, then the JSON of its parameter.
fn rule(input: &[u8]) {
    let (rule, value) = first_line(input);
    let Ok(rule) = std::str::from_utf8(rule) else { return };
    parse::rule(rule, value);
}

fn first_line(input: &[u8]) -> (&[u8], &[u8]) {
    let end = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let (first, rest) = input.split_at(end);
    (first, rest.get(1..).unwrap_or_default())
}

/// A query string of `GET /v1/tasks`.
fn query(input: &[u8]) {
    if let Ok(text) = std::str::from_utf8(input) {
        parse::query(text);
    }
}

/// Lines: the time zone, the time, the expression.
fn cron(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let mut lines = text.splitn(3, '\n');
    let mut line = || lines.next().unwrap_or_default();
    let (zone, after, expression) = (line(), line(), line());
    let times = parse::cron(zone, after, expression);
    assert!(times.is_sorted_by(|a, b| a < b), "{zone} {after} {expression}: {times:?}");
}

/// A message of the worker protocol, in either direction.
fn frames(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    parse::worker_frame(text);
    frame_survives::<WorkerToServer>(text);
    frame_survives::<ServerToWorker>(text);
}

/// What was read can be written, and is read again as the same.
fn frame_survives<F: Frame + PartialEq + Debug>(text: &str) {
    let Ok(Heard { frame: Some(frame), .. }) = F::read(text) else { return };
    let again = F::read(&frame.text()).expect("what was written can be read");
    assert_eq!(again.frame, Some(frame));
}

/// Three texts with a NUL between them: a base, and what two have made of it.
fn merge(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let mut texts = text.splitn(3, '\0');
    let mut text = || texts.next().unwrap_or_default();
    let (base, current, yours) = (text(), text(), text());
    let merged = runabout_documents::merge(base, current, yours);
    match (&merged, runabout_documents::merge(base, yours, current)) {
        (Merged::Clean(one), Merged::Clean(other)) => assert_eq!(*one, other),
        (Merged::Conflicts(one), Merged::Conflicts(other)) => assert_eq!(one.len(), other.len()),
        (one, other) => panic!("it depends on who was first: {one:?}, {other:?}"),
    }
    if current == base {
        assert_eq!(merged, Merged::Clean(yours.to_owned()));
    }
    // Whatever it says, it is about lines that are there.
    if let Merged::Conflicts(places) = merged {
        for place in places {
            assert!(base.contains(&place.base.text) && yours.contains(&place.yours.text));
        }
    }
    drop(runabout_documents::difference(base, yours));
}

/// A line with the content type, then the body.
fn multipart(input: &[u8]) {
    let (head, body) = first_line(input);
    parse::multipart(head, Bytes::copy_from_slice(body));
}

/// What other nodes, workers and the store's rows consist of: JSON, and the texts of ids and names.
fn values(input: &[u8]) {
    parse::json::<Outcome>(input);
    parse::json::<Usage>(input);
    parse::json::<Checkpoint>(input);
    parse::json::<Manifest>(input);
    parse::json::<FunctionVersion>(input);
    parse::json::<Task>(input);
    if let Some(wished) = parse::json::<LimitsRequest>(input)
        && let Ok(limits) = wished.resolve(Limits::default())
    {
        let most = Limits::default();
        assert!(limits.timeout_ms <= most.timeout_ms && limits.memory_bytes <= most.memory_bytes);
    }
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(digest) = text.parse::<Digest>() {
        assert_eq!(digest.to_string(), text);
    }
    if let Ok(name) = text.parse::<FunctionName>() {
        assert_eq!(name.as_str(), text);
    }
    if let Ok(name) = text.parse::<ScheduleName>() {
        assert_eq!(name.as_str(), text);
    }
    // A UUID has several texts.
    if let Ok(id) = text.parse::<TaskId>() {
        assert_eq!(id.to_string().parse(), Ok(id));
    }
}

/// A byte for the language, then code.
fn source(input: &[u8]) {
    let Some((language, code)) = input.split_first() else { return };
    let language = match language {
        b'j' => SourceLanguage::JavaScript,
        b't' => SourceLanguage::TypeScript,
        b'w' => SourceLanguage::Wasm,
        _ => return,
    };
    // Whether it is good code is not the question.
    let _ = runabout_sandbox::accept(Bytes::copy_from_slice(code), language);
}
