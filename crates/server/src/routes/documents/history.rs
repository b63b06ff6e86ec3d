//! The revisions of a document: list, any old text, differences, and back to one.

use std::str::from_utf8;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use runabout_documents::{Condition, MediaType, Name, difference};
use runabout_protocol::{DocumentChange, DocumentRevision};
use serde::Deserialize;
use tokio::task::spawn_blocking;
use utoipa::IntoParams;

use super::change::answer;
use super::read::Paging;
use crate::app::App;
use crate::codes::Code;
use crate::documents::{ask, parse_name, serve, view};
use crate::extract::{NoQuery, Query, Segment, Segments};
use crate::problem::{Problem, ProblemJson};
use crate::routes::{Listed, limit_of};

/// List a document's revisions, newest first
#[utoipa::path(
    get, path = "/v1/documents/{name}/revisions", tag = "documents",
    params(("name" = String, Path, description = "The document's name"), Paging),
    responses(
        (status = 200, description = "A page of revisions", body = Listed<DocumentRevision>),
        (status = 404, description = "No such document", body = ProblemJson,
         content_type = "application/problem+json"),
    )
)]
pub(super) async fn list(
    State(app): State<App>,
    Segment(name): Segment,
    Query(paging): Query<Paging>,
) -> Result<Json<Listed<DocumentRevision>>, Problem> {
    let name = parse_name(&name)?;
    let limit = limit_of(paging.limit)? as usize;
    let before = paging.cursor.map(|cursor| cursor.parse::<u64>());
    let before = before.transpose().map_err(|_| {
        Problem::invalid_field("cursor", "cursor is the next_cursor of the page before")
    })?;
    let (documents, of) = (app.documents.clone(), name.clone());
    let found = spawn_blocking(move || documents.history(&of, before, limit + 1)).await;
    let mut found = found.map_err(Problem::internal)??;
    let more = found.len() > limit;
    found.truncate(limit);
    let next_cursor = found.last().filter(|_| more).map(|last| last.revision.to_string());
    let items = found.iter().map(|revision| view(name.as_str(), revision)).collect();
    Ok(Json(Listed { items, next_cursor }))
}

/// What to tell of a revision.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// Not the text, but what has changed in it since that revision, as a unified difference.
    diff: Option<u64>,
}

/// Read any revision of a document
///
/// Its text, or with `?diff=N` the difference that leads to it from the revision N.
#[utoipa::path(
    get, path = "/v1/documents/{name}/revisions/{revision}", tag = "documents",
    params(("name" = String, Path, description = "The document's name"),
           ("revision" = u64, Path, description = "The revision's number"), Wanted),
    responses(
        (status = 200, description = "The text, or the difference (text/x-diff)", body = Vec<u8>,
         content_type = "*/*"),
        (status = 404, description = "No such document or revision", body = ProblemJson,
         content_type = "application/problem+json"),
    )
)]
pub(super) async fn fetch(
    State(app): State<App>,
    Segments(name, number): Segments,
    Query(Wanted { diff }): Query<Wanted>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (name, number) = (parse_name(&name)?, parse_number(&number)?);
    match diff {
        None => {
            let (documents, of) = (app.documents.clone(), name);
            let found = spawn_blocking(move || documents.revision(&of, number)).await;
            let (revision, text) = found.map_err(Problem::internal)??;
            let media_type = MediaType::parse(&revision.media_type).unwrap_or(MediaType::BYTES);
            serve::older(&headers, (number, media_type, text))
        }
        Some(from) => {
            let told = spawn_blocking(move || told_difference(&app, &name, (from, number))).await;
            let told = told.map_err(Problem::internal)??;
            let content_type = HeaderValue::from_static("text/x-diff; charset=utf-8");
            Ok(([(header::CONTENT_TYPE, content_type)], told).into_response())
        }
    }
}

fn told_difference(app: &App, name: &Name, (from, to): (u64, u64)) -> Result<String, Problem> {
    let text = |number| app.documents.revision(name, number).map(|(_, text)| text);
    let (from, to) = (text(from)?, text(to)?);
    match (from_utf8(&from), from_utf8(&to)) {
        (Ok(from), Ok(to)) => Ok(difference(from, to)),
        _ => Err(Problem::new(Code::NotUtf8, "only texts have differences that can be told")),
    }
}

fn parse_number(text: &str) -> Result<u64, Problem> {
    let invalid =
        |_| Problem::invalid_field("revision", format!("{text:?} is no revision's number"));
    text.parse().map_err(invalid)
}

/// Go back to a revision
///
/// Its text becomes the newest, as a revision of its own: nothing is taken out of the history.
#[utoipa::path(
    post, path = "/v1/documents/{name}/revisions/{revision}/revert", tag = "documents",
    params(("name" = String, Path, description = "The document's name"),
           ("revision" = u64, Path, description = "The revision's number"),
           ("If-Match" = Option<String>, Header, description = "Only if that is the newest"),
           ("Idempotency-Key" = Option<String>, Header, description = "What is sent again is the same"),
           ("Runabout-Author" = Option<String>, Header, description = "Who does it"),
           ("Runabout-Summary" = Option<String>, Header, description = "Why")),
    responses(
        (status = 200, description = "The new revision", body = DocumentChange),
        (status = 404, description = "No such document or revision", body = ProblemJson,
         content_type = "application/problem+json"),
        (status = 412, description = "There is a newer one", body = ProblemJson,
         content_type = "application/problem+json"),
    )
)]
pub(super) async fn revert(
    State(app): State<App>,
    _: NoQuery,
    Segments(name, number): Segments,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (name, number) = (parse_name(&name)?, parse_number(&number)?);
    let condition = ask::condition(&headers)?.unwrap_or(Condition::Any);
    let by = ask::by(&headers, &format!("REVERT {name} {number}"), b"")?;
    let accepted = app.documents.revert(&name, number, condition, by).await?;
    Ok(answer(&name, &accepted))
}
