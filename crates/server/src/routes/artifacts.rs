//! Artifacts: immutable bytes by digest.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use runabout_protocol::{Digest, Form, Language};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::app::{App, artifact_missing};
use crate::body::ARTIFACT_BYTES_MAX;
use crate::codes::Code;
use crate::extract::{NoQuery, Segment};
use crate::problem::{Problem, ProblemJson};
use crate::source;

/// The routes of this file.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(fetch, put))
}

/// Fetch an artifact
#[utoipa::path(
    method(get, head), path = "/v1/artifacts/{digest}", tag = "artifacts",
    params(("digest" = String, Path, description = "sha256:HEX")),
    responses(
        (status = 200, description = "The bytes; they never change", body = Vec<u8>,
         content_type = "application/octet-stream"),
        (status = 304, description = "The caller has them already"),
        (status = 404, description = "The node does not have it", body = ProblemJson,
         content_type = "application/problem+json"),
    )
)]
async fn fetch(
    State(app): State<App>,
    _: NoQuery,
    Segment(digest): Segment,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let digest = parse_digest(&digest)?;
    let etag = format!("\"{digest}\"");
    if knows(&headers, &etag) && app.store.artifact_meta(digest).await?.is_some() {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response());
    }
    let stored = app.store.artifact(digest).await?;
    let (meta, bytes) = stored.ok_or_else(|| artifact_missing(digest))?;
    let disposition =
        format!("attachment; filename=\"{}.{}\"", digest.hex(), extension(meta.language));
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(source::media_type(meta.language))),
        (header::ETAG, HeaderValue::try_from(etag).map_err(Problem::internal)?),
        (header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable")),
        (
            header::CONTENT_DISPOSITION,
            HeaderValue::try_from(disposition).map_err(Problem::internal)?,
        ),
    ];
    Ok((headers, bytes).into_response())
}

/// What the node has under a digest.
#[derive(Serialize, ToSchema)]
struct Stored {
    /// The digest of its bytes.
    digest: Digest,
    /// What it is written in.
    language: Language,
    /// Script or module, for JavaScript.
    #[serde(skip_serializing_if = "Option::is_none")]
    form: Option<Form>,
    /// What can be called.
    exports: Vec<String>,
}

/// Put an artifact
///
/// WebAssembly, or plain JavaScript with its types stripped. It is kept while a
/// version or a task names it, and for a day after it was last put.
#[utoipa::path(
    put, path = "/v1/artifacts/{digest}", tag = "artifacts",
    params(("digest" = String, Path, description = "sha256:HEX")),
    request_body(content((String = "text/javascript"), (Vec<u8> = "application/wasm"),
        (Vec<u8> = "application/octet-stream"))),
    responses(
        (status = 200, description = "The node had it already", body = Stored),
        (status = 201, description = "It is stored", body = Stored),
        (status = "4XX", description = "Refused", body = ProblemJson,
         content_type = "application/problem+json"),
    )
)]
async fn put(
    State(app): State<App>,
    _: NoQuery,
    Segment(digest): Segment,
    request: Request,
) -> Result<Response, Problem> {
    let digest = parse_digest(&digest)?;
    let (parts, body) = request.into_parts();
    let body = app.intake.read(&parts.headers, body, ARTIFACT_BYTES_MAX).await?;
    is_digest_of(digest, Digest(Sha256::digest(&body.bytes).into()))?;
    let language = source::of_artifact(&parts.headers, &body.bytes)?;
    let accepted = app.examiner.accept(body.bytes.clone(), language).await?;
    // TypeScript loses its types when it is accepted, and with them its digest.
    is_digest_of(digest, accepted.digest)?;
    let created = app.store.put_artifact(source::artifact(&accepted)).await?;
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    let (language, form, exports) = (accepted.language, accepted.form, accepted.exports);
    Ok((status, Json(Stored { digest, language, form, exports })).into_response())
}

fn is_digest_of(expected: Digest, actual: Digest) -> Result<(), Problem> {
    if expected == actual {
        return Ok(());
    }
    let detail = format!("the bytes have the digest {actual}");
    Err(Problem::new(Code::DigestMismatch, detail).with("actual", actual.to_string()))
}

/// Reads a digest.
///
/// # Errors
/// `invalid_digest`.
pub fn parse_digest(text: &str) -> Result<Digest, Problem> {
    text.parse().map_err(|why: runabout_protocol::InvalidDigest| {
        Problem::new(Code::InvalidDigest, format!("{text:?} is no digest: {why}"))
    })
}

fn knows(headers: &HeaderMap, etag: &str) -> bool {
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    known.is_some_and(|known| {
        known.split(',').any(|one| {
            matches!(one.trim().trim_start_matches("W/"), "*")
                || one.trim().trim_start_matches("W/") == etag
        })
    })
}

fn extension(language: Language) -> &'static str {
    match language {
        Language::Js => "js",
        Language::Wasm | Language::Wasi => "wasm",
    }
}
