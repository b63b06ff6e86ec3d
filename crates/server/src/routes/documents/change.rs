//! Changes of documents: replace, edit, delete. Answered when they are durable.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use runabout_documents::{Accepted, Change, Condition, Name};
use runabout_protocol::DocumentChange;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::app::App;
use crate::body::DOCUMENT_BYTES_MAX;
use crate::codes::Code;
use crate::documents::{ask, find, parse_name, serve, view};
use crate::extract::{NoQuery, Query, Segment};
use crate::idempotency;
use crate::problem::{Problem, ProblemJson};

/// Replace a document, or make one
///
/// `If-Match` says which revision is replaced, `If-None-Match: *` that the document is new. A document
/// keeps the media type it was made with.
#[utoipa::path(
    put, path = "/v1/documents/{name}", tag = "documents",
    params(("name" = String, Path, description = "1 to 128 letters, digits, dashes, underscores"),
           ("If-Match" = Option<String>, Header, description = "The ETag of the revision to replace"),
           ("If-None-Match" = Option<String>, Header, description = "*: only if there is none"),
           ("Idempotency-Key" = Option<String>, Header, description = "What is sent again is the same"),
           ("Runabout-Author" = Option<String>, Header, description = "Who does it"),
           ("Runabout-Summary" = Option<String>, Header, description = "Why")),
    request_body(content = Vec<u8>, content_type = "text/html"),
    responses(
        (status = 200, description = "Replaced", body = DocumentChange),
        (status = 201, description = "New", body = DocumentChange),
        (status = 412, description = "It is not at that revision", body = ProblemJson,
         content_type = "application/problem+json"),
        (status = 428, description = "There is no condition", body = ProblemJson,
         content_type = "application/problem+json"),
        (status = "4XX", description = "Refused", body = ProblemJson,
         content_type = "application/problem+json"),
    )
)]
pub(super) async fn put(
    State(app): State<App>,
    _: NoQuery,
    Segment(name): Segment,
    request: Request,
) -> Result<Response, Problem> {
    let name = parse_name(&name)?;
    let (parts, body) = request.into_parts();
    let known = app.documents.get(name.as_str()).map(|current| current.media_type);
    let media_type = ask::media_type(&parts.headers, known)?;
    let condition = ask::condition(&parts.headers)?.ok_or_else(condition_required)?;
    let body = app.intake.read(&parts.headers, body, DOCUMENT_BYTES_MAX).await?;
    let by = ask::by(&parts.headers, &format!("PUT {name} {condition:?}"), &body.bytes)?;
    let accepted = app.documents.put(&name, body.bytes, media_type, condition, by).await?;
    Ok(answer(&name, &accepted))
}

fn condition_required() -> Problem {
    let detail = "say which revision is replaced with If-Match, or that it is new with \
                  If-None-Match: *";
    Problem::new(Code::ConditionRequired, detail)
}

/// What an edit was made from.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Base {
    /// The revision that the text was made from.
    base: Option<u64>,
}

/// Edit a document
///
/// The body is the whole edited text, made from the revision `base`. If the document has moved on it
/// is merged three ways: changes of different lines both stand, and changes of different words of a
/// line. What cannot be merged is refused with all three texts.
#[utoipa::path(
    post, path = "/v1/documents/{name}", tag = "documents",
    params(("name" = String, Path, description = "The document's name"), Base,
           ("Idempotency-Key" = Option<String>, Header, description = "What is sent again is the same"),
           ("Runabout-Author" = Option<String>, Header, description = "Who edits"),
           ("Runabout-Summary" = Option<String>, Header, description = "Why")),
    request_body(content = Vec<u8>, content_type = "text/html"),
    responses(
        (status = 200, description = "Taken, merged if need be", body = DocumentChange),
        (status = 404, description = "No such document or revision", body = ProblemJson,
         content_type = "application/problem+json"),
        (status = 409, description = "It collides: `base`, `current` and `yours` are \
         `{revision, text}`, and `conflicts` the places", body = ProblemJson,
         content_type = "application/problem+json"),
        (status = "4XX", description = "Refused", body = ProblemJson,
         content_type = "application/problem+json"),
    )
)]
pub(super) async fn edit(
    State(app): State<App>,
    Segment(name): Segment,
    Query(Base { base }): Query<Base>,
    request: Request,
) -> Result<Response, Problem> {
    let known = find(&app.documents, &name)?.media_type;
    let name = parse_name(&name)?;
    let base = base.ok_or_else(|| {
        let detail = "say with ?base= which revision the text was made from";
        Problem::new(Code::MissingField, detail).with("field", "base")
    })?;
    let (parts, body) = request.into_parts();
    ask::media_type(&parts.headers, Some(known))?;
    let body = app.intake.read(&parts.headers, body, DOCUMENT_BYTES_MAX).await?;
    let by = ask::by(&parts.headers, &format!("POST {name} {base}"), &body.bytes)?;
    let accepted = app.documents.edit(&name, base, body.bytes, by).await?;
    Ok(answer(&name, &accepted))
}

/// Delete a document and its history
#[utoipa::path(
    delete, path = "/v1/documents/{name}", tag = "documents",
    params(("name" = String, Path, description = "The document's name"),
           ("If-Match" = Option<String>, Header, description = "Only at that revision")),
    responses(
        (status = 204, description = "It is gone"),
        (status = 404, description = "No such document", body = ProblemJson,
         content_type = "application/problem+json"),
        (status = 412, description = "It is not at that revision", body = ProblemJson,
         content_type = "application/problem+json"),
    )
)]
pub(super) async fn delete(
    State(app): State<App>,
    _: NoQuery,
    Segment(name): Segment,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let name = parse_name(&name)?;
    let condition = ask::condition(&headers)?.unwrap_or(Condition::Any);
    let by = ask::by(&headers, &format!("DELETE {name} {condition:?}"), b"")?;
    app.documents.delete(&name, condition, by).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What became of a change.
pub(super) fn answer(name: &Name, accepted: &Accepted) -> Response {
    let Accepted { revision, change } = accepted;
    let number = revision.revision;
    // A document that was deleted and made again goes on with its numbers, and has no parent.
    let is_new = *change != Change::Unchanged && revision.parent.is_none();
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    let changed = *change != Change::Unchanged;
    let body = DocumentChange { revision: view(name.as_str(), revision), changed };
    let mut response = (status, Json(body)).into_response();
    let headers = response.headers_mut();
    headers.insert(serve::REVISION, number.into());
    if let Ok(etag) = HeaderValue::try_from(format!("\"{number}\"")) {
        headers.insert(header::ETAG, etag);
    }
    if *change == Change::Replayed {
        headers.insert(idempotency::REPLAYED, HeaderValue::from_static("true"));
    }
    response
}
