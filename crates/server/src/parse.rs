//! The parsers of what strangers send, each by itself and without a node: fuzzing calls them here.
//! None may panic, nor take time or memory out of proportion, whatever it is given.

use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::IntoResponse;
use bytes::Bytes;
use jiff::Timestamp;
use serde::de::DeserializeOwned;

use crate::problem::Problem;
use crate::schedules::{self, Cron};
use crate::{multipart as form, read, routes, source, submission};

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

/// Any JSON object of the protocol.
pub fn json<T: DeserializeOwned>(body: &[u8]) -> Option<T> {
    answered(read::object(body))
}

/// A refusal is made into the answer that a client would get.
fn answered<T>(parsed: Result<T, Problem>) -> Option<T> {
    parsed.map_err(|problem| drop(problem.into_response())).ok()
}
