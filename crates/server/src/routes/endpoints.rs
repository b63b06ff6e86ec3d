//! Endpoints: put, list, delete. Requests to them are in `dispatch.rs`.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use runabout_protocol::{Endpoint, EndpointRequest};
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Listed, limit_of, require_json};
use crate::app::App;
use crate::body::ENDPOINTS_BODY_BYTES_MAX;
use crate::codes::Code;
use crate::endpoints::view;
use crate::extract::{NoQuery, Query};
use crate::problem::{Problem, ProblemJson};
use crate::read;

/// The routes of this file.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list, put, delete))
}

/// One endpoint, or all of them.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(
    dead_code,
    reason = "only its schema is used; which of both it is shows in the first byte"
)]
enum Put {
    One(Box<EndpointRequest>),
    All(Vec<EndpointRequest>),
}

/// Set an endpoint, or all of them
///
/// One endpoint takes the place of the one of the same path. An array takes the place of all that
/// were set like this. Those of the node's file stay as they are.
#[utoipa::path(
    put, path = "/v1/endpoints", tag = "endpoints", request_body = Put,
    responses(
        (status = 200, description = "Changed; or all of them, if they were sent as an array",
         body = Endpoint),
        (status = 201, description = "New", body = Endpoint),
        (status = "4XX", description = "Refused; of an array, `index` says which one is wrong",
         body = ProblemJson, content_type = "application/problem+json"),
    )
)]
async fn put(State(app): State<App>, _: NoQuery, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    require_json(&parts.headers)?;
    let body = app.intake.read(&parts.headers, body, ENDPOINTS_BODY_BYTES_MAX).await?;
    if body.bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[') {
        app.endpoints.replace(all(&body.bytes)?).await?;
        return Ok(Json(page(&app, &Paging::default()).await?).into_response());
    }
    let (entry, is_new) = app.endpoints.put(read::object(&body.bytes)?).await?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(view(&entry, &app.functions).await)).into_response())
}

fn all(body: &[u8]) -> Result<Vec<EndpointRequest>, Problem> {
    let items: Vec<&RawValue> =
        serde_json::from_slice(body).map_err(|error| read::malformed(&error))?;
    let read = |(index, item): (usize, &RawValue)| {
        read::object(item.get().as_bytes()).map_err(|problem| problem.with("index", index))
    };
    items.into_iter().enumerate().map(read).collect()
}

/// Which page of endpoints to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Paging {
    /// How many, from 1 to 500; 50 if left out.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// List endpoints, by path
///
/// Those of the node's file and those that were set, as far as they serve.
#[utoipa::path(
    get, path = "/v1/endpoints", tag = "endpoints", params(Paging),
    responses((status = 200, description = "A page of endpoints", body = Listed<Endpoint>))
)]
async fn list(
    State(app): State<App>,
    Query(paging): Query<Paging>,
) -> Result<Json<Listed<Endpoint>>, Problem> {
    Ok(Json(page(&app, &paging).await?))
}

async fn page(app: &App, paging: &Paging) -> Result<Listed<Endpoint>, Problem> {
    let limit = limit_of(paging.limit)? as usize;
    let after = paging.cursor.as_deref().unwrap_or_default();
    let table = app.endpoints.table();
    let mut entries: Vec<_> = table.entries().iter().filter(|entry| entry.path() > after).collect();
    entries.sort_by_key(|entry| entry.path());
    let more = entries.len() > limit;
    entries.truncate(limit);
    let next_cursor = entries.last().filter(|_| more).map(|entry| entry.path().to_owned());
    let mut items = Vec::with_capacity(entries.len());
    for entry in entries {
        items.push(view(entry, &app.functions).await);
    }
    Ok(Listed { items, next_cursor })
}

/// Which endpoint to remove.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Which {
    /// Its path, as it was written: `/report/{year}`.
    #[param(required = true)]
    path: Option<String>,
}

/// Remove an endpoint
///
/// Those of the node's file are removed there.
#[utoipa::path(
    delete, path = "/v1/endpoints", tag = "endpoints", params(Which),
    responses(
        (status = 204, description = "It is gone"),
        (status = 404, description = "No such endpoint", body = ProblemJson,
         content_type = "application/problem+json"),
        (status = 409, description = "It stands in the node's file", body = ProblemJson,
         content_type = "application/problem+json"),
    )
)]
async fn delete(State(app): State<App>, Query(which): Query<Which>) -> Result<StatusCode, Problem> {
    let Some(path) = which.path else {
        let detail = "say which endpoint: ?path=/report/{year}";
        return Err(Problem::new(Code::MissingField, detail).with("field", "path"));
    };
    app.endpoints.delete(&path).await?;
    Ok(StatusCode::NO_CONTENT)
}
