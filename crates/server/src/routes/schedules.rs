//! Schedules: put, list, show, pause, resume, delete.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use runabout_protocol::{Schedule, ScheduleRequest};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Listed, limit_of, require_json};
use crate::app::App;
use crate::body::SCHEDULE_BODY_BYTES_MAX;
use crate::extract::{NoQuery, Query, Segment};
use crate::problem::{Problem, ProblemJson};
use crate::schedules::{self, not_found, parse_name, view};

/// The routes of this file.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(put, show, delete))
        .routes(routes!(pause))
        .routes(routes!(resume))
}

/// Make a schedule, or change it
///
/// Its task is handed in each time the clock shows a time that the cron expression names, exactly
/// once. The task gets the labels `schedule` and `due`.
#[utoipa::path(
    put, path = "/v1/schedules/{name}", tag = "schedules",
    params(("name" = String, Path, description = "1 to 64 letters, digits, dots, dashes, underscores")),
    request_body = ScheduleRequest,
    responses(
        (status = 200, description = "Changed", body = Schedule),
        (status = 201, description = "New", body = Schedule),
        (status = "4XX", description = "Refused", body = ProblemJson,
         content_type = "application/problem+json"),
    )
)]
async fn put(
    State(app): State<App>,
    _: NoQuery,
    Segment(name): Segment,
    request: Request,
) -> Result<Response, Problem> {
    let name = parse_name(&name)?;
    let (parts, body) = request.into_parts();
    require_json(&parts.headers)?;
    let body = app.intake.read(&parts.headers, body, SCHEDULE_BODY_BYTES_MAX).await?;
    let checked = schedules::read(&body.bytes, Timestamp::now())?;
    checked.try_task(&app).await?;
    let (record, is_new) = app.schedules.put(name, checked).await?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(view(record, Timestamp::now()))).into_response())
}

/// Which page of schedules to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Paging {
    /// How many, from 1 to 500; 50 if left out.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// List schedules, by name
#[utoipa::path(
    get, path = "/v1/schedules", tag = "schedules", params(Paging),
    responses((status = 200, description = "A page of schedules", body = Listed<Schedule>))
)]
async fn list(
    State(app): State<App>,
    Query(paging): Query<Paging>,
) -> Result<Json<Listed<Schedule>>, Problem> {
    let limit = limit_of(paging.limit)?;
    let after = paging.cursor.unwrap_or_default();
    let page = app.store.schedules(&after, limit).await?;
    let next_cursor = page.items.last().filter(|_| page.more).map(|record| record.name.to_string());
    let now = Timestamp::now();
    let items = page.items.into_iter().map(|record| view(record, now)).collect();
    Ok(Json(Listed { items, next_cursor }))
}

/// Look at a schedule
#[utoipa::path(
    get, path = "/v1/schedules/{name}", tag = "schedules",
    params(("name" = String, Path, description = "The schedule's name")),
    responses(
        (status = 200, description = "The schedule", body = Schedule),
        (status = 404, description = "No such schedule", body = ProblemJson,
         content_type = "application/problem+json"),
    )
)]
async fn show(
    State(app): State<App>,
    _: NoQuery,
    Segment(name): Segment,
) -> Result<Json<Schedule>, Problem> {
    let found = app.store.schedule(&parse_name(&name)?).await?;
    let record = found.ok_or_else(|| not_found(&name))?;
    Ok(Json(view(record, Timestamp::now())))
}

/// Delete a schedule
///
/// Tasks that it has handed in go on.
#[utoipa::path(
    delete, path = "/v1/schedules/{name}", tag = "schedules",
    params(("name" = String, Path, description = "The schedule's name")),
    responses(
        (status = 204, description = "It is gone"),
        (status = 404, description = "No such schedule", body = ProblemJson,
         content_type = "application/problem+json"),
    )
)]
async fn delete(
    State(app): State<App>,
    _: NoQuery,
    Segment(name): Segment,
) -> Result<StatusCode, Problem> {
    app.schedules.delete(parse_name(&name)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Let a schedule rest
///
/// Times that pass while it rests are never made up for.
#[utoipa::path(
    post, path = "/v1/schedules/{name}/pause", tag = "schedules",
    params(("name" = String, Path, description = "The schedule's name")),
    responses(
        (status = 200, description = "The schedule", body = Schedule),
        (status = 404, description = "No such schedule", body = ProblemJson,
         content_type = "application/problem+json"),
    )
)]
async fn pause(
    State(app): State<App>,
    _: NoQuery,
    Segment(name): Segment,
) -> Result<Json<Schedule>, Problem> {
    let record = app.schedules.pause(parse_name(&name)?, true).await?;
    Ok(Json(view(record, Timestamp::now())))
}

/// Let a schedule go on
#[utoipa::path(
    post, path = "/v1/schedules/{name}/resume", tag = "schedules",
    params(("name" = String, Path, description = "The schedule's name")),
    responses(
        (status = 200, description = "The schedule", body = Schedule),
        (status = 404, description = "No such schedule", body = ProblemJson,
         content_type = "application/problem+json"),
    )
)]
async fn resume(
    State(app): State<App>,
    _: NoQuery,
    Segment(name): Segment,
) -> Result<Json<Schedule>, Problem> {
    let record = app.schedules.pause(parse_name(&name)?, false).await?;
    Ok(Json(view(record, Timestamp::now())))
}
