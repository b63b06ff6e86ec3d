//! The node itself: who it is, whether it is well, what it counts.

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use runabout_protocol::{NodeId, PROTOCOL_VERSION};
use runabout_store::Health;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::app::App;
use crate::extract::NoQuery;
use crate::metrics::Moment;
use crate::problem::{Problem, ProblemJson, document_read_only, stopping, storage_failed};
use crate::upstream::LOAD;

/// The routes of this file.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(node))
        .routes(routes!(healthz))
        .routes(routes!(readyz))
        .routes(routes!(metrics))
}

/// A running node.
#[derive(Serialize, ToSchema)]
struct NodeReport {
    /// Its id, kept in its data directory.
    id: NodeId,
    /// Its name.
    name: String,
    /// The version of the program.
    version: &'static str,
    /// The version of the worker protocol.
    protocol: u32,
    /// Room for attempts at once.
    slots: u64,
    /// Tasks that wait.
    queued: u64,
    /// Tasks with an attempt under way.
    running: u64,
    /// The node it may hand work to.
    upstream: Option<String>,
}

/// Who this node is and how busy
#[utoipa::path(
    get, path = "/v1/node", tag = "node",
    responses(
        (status = 200, description = "The node", body = NodeReport),
        (status = 400, description = "A parameter is not known", body = ProblemJson,
         content_type = "application/problem+json"),
    )
)]
async fn node(State(app): State<App>, _: NoQuery) -> Response {
    let counts = app.engine.counts();
    let report = Json(NodeReport {
        id: app.node.id,
        name: app.node.name.clone(),
        version: crate::VERSION,
        protocol: PROTOCOL_VERSION,
        slots: counts.slots,
        queued: counts.queued,
        running: counts.running,
        upstream: app.upstream.as_ref().map(|upstream| upstream.url().to_owned()),
    });
    // A node that asks whether this one is there wants to know how busy it is.
    let load = app.load().header().map(|load| [(LOAD, load)]);
    (load, report).into_response()
}

/// A probe's answer.
#[derive(Serialize, ToSchema)]
struct Probe {
    /// `ok`.
    status: &'static str,
}

/// Whether the process answers
#[utoipa::path(
    get, path = "/healthz", tag = "node",
    responses((status = 200, description = "It does", body = Probe))
)]
async fn healthz() -> Json<Probe> {
    Json(Probe { status: "ok" })
}

/// Whether the node takes work
#[utoipa::path(
    get, path = "/readyz", tag = "node",
    responses(
        (status = 200, description = "It does", body = Probe),
        (status = 503, description = "It is stopping, or cannot write to its disk",
         body = ProblemJson, content_type = "application/problem+json"),
    )
)]
async fn readyz(State(app): State<App>) -> Result<Json<Probe>, Problem> {
    if app.stopping.is_cancelled() {
        return Err(stopping());
    }
    if let Health::Failed(cause) = app.store.health() {
        return Err(storage_failed(&cause));
    }
    match app.documents.failed() {
        None => Ok(Json(Probe { status: "ok" })),
        Some((name, cause)) => Err(document_read_only(&cause).with("document", name.as_str())),
    }
}

/// What the node counts, for Prometheus
#[utoipa::path(
    get, path = "/metrics", tag = "node",
    responses((status = 200, description = "Prometheus text format", body = String,
               content_type = "text/plain"))
)]
async fn metrics(State(app): State<App>) -> Response {
    let page = app.metrics.page(&Moment::of(&app));
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page).into_response()
}
