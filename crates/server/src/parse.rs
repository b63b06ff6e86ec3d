//! The parsers of what strangers send, each by itself and without a node: fuzzing calls them here.
//! None may panic, nor take time or memory out of proportion, whatever it is given.

use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::IntoResponse;
use bytes::Bytes;
use jiff::Timestamp;
use runabout_protocol::Json;
use runabout_protocol::WorkerToServer;
use runabout_protocol::wire::{Frame, Heard};
use serde::de::DeserializeOwned;

use crate::endpoints::{Definition, Parameters, Target};
use crate::problem::Problem;
use crate::rules::Rule;
use crate::schedules::{self, Cron};
use crate::{multipart as form, read, routes, source, submission, workers};

/// How many times of a schedule are looked at.
const TIMES: usize = 20;

/// The body of a task request, as far as it is read before its code is.
pub fn task_request(body: &[u8]) {
    answered(read::object(body).and_then(submission::examine));
}

/// The body of a schedule.
pub fn schedule(body: &[u8]) {
    answered(schedules::read(body, Timestamp::UNIX_EPOCH));
}

/// The query of a list of tasks.
pub fn query(text: &str) {
    answered(routes::tasks::filter(text));
}

/// The first times after `after` that the expression names, if it is one.
pub fn cron(zone: &str, after: &str, expression: &str) -> Vec<Timestamp> {
    let (Some(zone), Ok(after)) = (schedules::zone(zone), after.parse::<Timestamp>()) else {
        return Vec::new();
    };
    let Ok(cron) = Cron::parse(expression, zone) else { return Vec::new() };
    std::iter::successors(cron.next(after), |last| cron.next(*last)).take(TIMES).collect()
}

/// The body of an endpoint, and the query of a request to it: the arguments of the call.
pub fn endpoint(body: &[u8], query: &[u8]) -> Option<Json> {
    let endpoint = answered(read::object(body))?;
    let definition = answered(Definition::new(endpoint).map_err(Problem::from))?;
    let mut parameters = Parameters::default();
    answered(parameters.add_pairs(query, &definition.expected()))?;
    definition.add_defaults(&mut parameters);
    let Target::Function(binding) = &definition.target else { return None };
    answered(binding.wanted(&parameters).map_err(Problem::from))?;
    Some(answered(binding.arguments(&parameters).map_err(Problem::from))?.values)
}

/// A rule over `n`, decided where it is one; `n` is JSON, or null.
pub fn rule(rule: &str, n: &[u8]) {
    if let Ok(rule) = Rule::parse(rule, &["n"]) {
        let n = serde_json::from_slice(n).unwrap_or_default();
        // That it can be decided is not said.
        drop(rule.decide(vec![("n", n)]));
    }
}

/// A multipart task, its parts and what its file is taken for.
pub fn multipart(content_type: &[u8], body: Bytes) {
    let Ok(content_type) = HeaderValue::from_bytes(content_type) else { return };
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, content_type);
    // The body is there as a whole, so that nothing is waited for.
    let Some(form) = answered(futures::executor::block_on(form::parse(&headers, body))) else {
        return;
    };
    answered(form.file.as_ref().map(source::of_file).transpose());
    answered(submission::request_of(form.texts).and_then(submission::examine));
}

/// A frame of a worker that was sent one attempt, and what becomes of it.
pub fn worker_frame(text: &str) {
    let Ok(Heard { frame: Some(frame), .. }) = WorkerToServer::read(text) else { return };
    workers::examine(frame);
}

/// Any JSON object of the protocol.
pub fn json<T: DeserializeOwned>(body: &[u8]) -> Option<T> {
    answered(read::object(body))
}

/// A refusal is made into the answer that a client would get.
fn answered<T>(parsed: Result<T, Problem>) -> Option<T> {
    parsed.map_err(|problem| drop(problem.into_response())).ok()
}
