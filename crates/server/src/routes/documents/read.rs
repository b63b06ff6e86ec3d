//! What documents there are, and their newest texts, from memory.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use runabout_protocol::Document;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::app::App;
use crate::documents::{find, item, serve};
use crate::extract::{Query, Segment};
use crate::problem::{Problem, ProblemJson};
use crate::routes::{Listed, limit_of};

/// Which page to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Paging {
    /// How many, from 1 to 500; 50 if left out.
    pub limit: Option<u32>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}

/// List documents, by name
#[utoipa::path(
    get, path = "/v1/documents", tag = "documents", params(Paging),
    responses((status = 200, description = "A page of documents", body = Listed<Document>))
)]
pub(super) async fn list(
    State(app): State<App>,
    Query(paging): Query<Paging>,
) -> Result<Json<Listed<Document>>, Problem> {
    let limit = limit_of(paging.limit)? as usize;
    let after = paging.cursor.unwrap_or_default();
    let mut found = app.documents.list(&after, limit + 1);
    let more = found.len() > limit;
    found.truncate(limit);
    let next_cursor = found.last().filter(|_| more).map(|(name, _)| name.to_string());
    let read_only = |name: &str| app.documents.read_only(name).is_some();
    let items = found
        .into_iter()
        .map(|(name, current)| item(&name, &current, read_only(name.as_str())))
        .collect();
    Ok(Json(Listed { items, next_cursor }))
}

/// Read a document
///
/// The file's bytes. The ETag is its revision in quotes, `"7"`, or `"7-gzip"` and `"7-zstd"` when
/// compressed. One range of it may be asked for. In a browser it is sandboxed: its scripts do not run.
#[utoipa::path(
    method(get, head), path = "/v1/documents/{name}", tag = "documents",
    params(("name" = String, Path, description = "The document's name"),
           ("If-None-Match" = Option<String>, Header, description = "An ETag that is known already"),
           ("Range" = Option<String>, Header, description = "bytes=FIRST-LAST"),
           ("Accept-Encoding" = Option<String>, Header, description = "gzip, zstd")),
    responses(
        (status = 200, description = "The text", body = Vec<u8>, content_type = "*/*"),
        (status = 206, description = "A range of it", body = Vec<u8>, content_type = "*/*"),
        (status = 304, description = "It has not changed"),
        (status = 404, description = "No such document", body = ProblemJson,
         content_type = "application/problem+json"),
        (status = 416, description = "The range lies beyond the end", body = ProblemJson,
         content_type = "application/problem+json"),
    )
)]
pub(super) async fn fetch(
    State(app): State<App>,
    Segment(name): Segment,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let current = find(&app.documents, &name)?;
    app.metrics.document_read();
    serve::newest(&headers, &current)
}
