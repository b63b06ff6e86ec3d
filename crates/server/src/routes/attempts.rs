//! What is known of a task's attempts: how each went, and what it wrote.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use runabout_protocol::{Attempt, AttemptRecord, LogLine};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::Listed;
use super::tasks::{not_found, parse_id};
use crate::app::App;
use crate::extract::{NoQuery, Query, Segment};
use crate::problem::{Problem, ProblemJson};

/// The routes of this file.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(attempts)).routes(routes!(logs))
}

/// List a task's attempts
#[utoipa::path(
    get, path = "/v1/tasks/{id}/attempts", tag = "tasks",
    params(("id" = String, Path, description = "The task's id")),
    responses(
        (status = 200, description = "Its attempts, the first one first",
         body = Listed<AttemptRecord>),
        (status = 404, description = "No such task", body = ProblemJson,
         content_type = "application/problem+json"),
    )
)]
async fn attempts(
    State(app): State<App>,
    _: NoQuery,
    Segment(id): Segment,
) -> Result<Json<Listed<AttemptRecord>>, Problem> {
    let items = app.store.attempts(parse_id(&id)?).await?.ok_or_else(|| not_found(&id))?;
    Ok(Json(Listed { items, next_cursor: None }))
}

/// Which logs to show.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct LogFilter {
    /// Only those of this attempt.
    attempt: Option<u32>,
}

/// A task's output.
#[derive(Serialize, ToSchema)]
struct Logs {
    /// Lines in the order they were written.
    items: Vec<LogLine>,
    /// Whether there was more than is kept, or, of many attempts, than is told at once (32 MiB).
    truncated: bool,
}

/// Read what a task wrote
///
/// As plain text for `Accept: text/plain`.
#[utoipa::path(
    get, path = "/v1/tasks/{id}/logs", tag = "tasks",
    params(("id" = String, Path, description = "The task's id"), LogFilter),
    responses(
        (status = 200, description = "Its lines, in order", content(
            (Logs = "application/json"), (String = "text/plain"))),
        (status = 404, description = "No such task", body = ProblemJson,
         content_type = "application/problem+json"),
    )
)]
async fn logs(
    State(app): State<App>,
    Segment(id): Segment,
    Query(filter): Query<LogFilter>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let attempt = filter.attempt.map(Attempt);
    let logs = app.store.logs(parse_id(&id)?, attempt).await?.ok_or_else(|| not_found(&id))?;
    if wants_text(&headers) {
        return Ok(text(&logs.items, logs.truncated).into_response());
    }
    Ok(Json(Logs { items: logs.items, truncated: logs.truncated }).into_response())
}

fn wants_text(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.trim_start().starts_with("text/plain"))
}

fn text(lines: &[LogLine], truncated: bool) -> String {
    let mut text = String::new();
    for line in lines {
        text.push_str(&line.text);
        text.push('\n');
    }
    if truncated {
        text.push_str("[there was more output than is kept]\n");
    }
    text
}
