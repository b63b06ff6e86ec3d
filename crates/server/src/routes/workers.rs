//! Workers: who runs attempts for the node, how much, and the door through which they come.

use axum::Json;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use runabout_protocol::wire::FRAME_BYTES_MAX;
use runabout_protocol::{Worker, WorkerChanges, WorkerId};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::Listed;
use crate::app::App;
use crate::codes::Code;
use crate::engine::SLOTS_MAX;
use crate::extract::{NoQuery, Segment};
use crate::problem::{Problem, ProblemJson, stopping};
use crate::{read, workers};

/// The most bytes of a body that asks for changes.
const CHANGES_BYTES_MAX: usize = 4 << 10;
/// What a connection reads at once; a frame is put together of as many pieces as it takes.
const READ_BUFFER_BYTES: usize = 16 << 10;

/// The routes of this file.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(change)).routes(routes!(work))
}

/// List workers
///
/// The node itself, unless it has no slots, and everyone who has a session with it, in the order in
/// which they came. `event: worker` of `GET /v1/events` tells when that changes.
#[utoipa::path(
    get, path = "/v1/workers", tag = "node",
    responses(
        (status = 200, description = "The workers", body = Listed<Worker>),
        (status = 400, description = "A parameter is not known", body = ProblemJson,
         content_type = "application/problem+json"),
    )
)]
async fn list(State(app): State<App>, _: NoQuery) -> Result<Json<Listed<Worker>>, Problem> {
    Ok(Json(Listed { items: app.engine.workers().await?, next_cursor: None }))
}

/// Change a worker's slots
///
/// From now on it is given as many attempts at once. What it has above that it finishes.
#[utoipa::path(
    patch, path = "/v1/workers/{id}", tag = "node",
    params(("id" = String, Path, description = "The worker's id")),
    request_body = WorkerChanges,
    responses(
        (status = 200, description = "The worker", body = Worker),
        (status = 404, description = "No such worker", body = ProblemJson,
         content_type = "application/problem+json"),
        (status = "4XX", description = "Refused", body = ProblemJson,
         content_type = "application/problem+json"),
    )
)]
async fn change(
    State(app): State<App>,
    _: NoQuery,
    Segment(id): Segment,
    request: Request,
) -> Result<Json<Worker>, Problem> {
    let unknown = || Problem::new(Code::WorkerNotFound, format!("there is no worker {id}"));
    let worker: WorkerId = id.parse().map_err(|_| unknown())?;
    let (parts, body) = request.into_parts();
    super::require_json(&parts.headers)?;
    let body = app.intake.read(&parts.headers, body, CHANGES_BYTES_MAX).await?;
    let WorkerChanges { slots } = read::object(&body.bytes)?;
    if slots > SLOTS_MAX {
        let detail = format!("a worker has at most {SLOTS_MAX} slots");
        return Err(Problem::new(Code::LimitAboveMaximum, detail)
            .with("field", "slots")
            .with("maximum", SLOTS_MAX));
    }
    app.engine.resize(worker, slots).await?.map(Json).ok_or_else(unknown)
}

/// Work for the node
///
/// A WebSocket of JSON frames: the worker says `hello` with what it can run and, where the node has
/// a token, that token; then it is given attempts. docs/workers.md has every frame. A session that
/// is opened by a page is a tab, whatever it says it is.
#[utoipa::path(
    get, path = "/v1/work", tag = "node",
    responses(
        (status = 101, description = "The session begins"),
        (status = 426, description = "That is no WebSocket", body = ProblemJson,
         content_type = "application/problem+json"),
        (status = 503, description = "Too many sessions already", body = ProblemJson,
         content_type = "application/problem+json"),
    )
)]
async fn work(
    State(app): State<App>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let upgrade = upgrade.map_err(|rejection| {
        Problem::new(Code::UpgradeRequired, rejection.body_text())
            .header(header::UPGRADE, HeaderValue::from_static("websocket"))
    })?;
    if app.stopping.is_cancelled() {
        return Err(stopping());
    }
    let place = app.workers.place();
    let place = place.ok_or_else(|| Problem::overloaded("as many workers as may are here"))?;
    let caller = workers::Caller {
        is_page: ["origin", "sec-fetch-site"].iter().any(|name| headers.contains_key(*name)),
        has_shown_token: app.workers.has_shown_token(&headers),
    };
    let upgrade = upgrade
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(READ_BUFFER_BYTES)
        .max_write_buffer_size(2 * FRAME_BYTES_MAX)
        .max_message_size(FRAME_BYTES_MAX)
        .max_frame_size(FRAME_BYTES_MAX);
    Ok(upgrade.on_upgrade(move |socket| {
        let session = workers::serve(socket, app.clone(), caller);
        app.workers.track(async move {
            session.await;
            drop(place);
        })
    }))
}
