//! The console: a page and its assets, built from `web/console` and embedded in the binary. They
//! hold no secrets, so a token is not asked for; what they show is, by the API.

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use runabout_protocol::Digest;
use sha2::{Digest as _, Sha256};
use tower_http::set_header::SetResponseHeaderLayer;

use super::dispatch::unknown_path;
use crate::app::App;
use crate::problem::Problem;

/// The built console, sorted by path; empty where it was not built before the binary.
static FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/console_files.rs"));

const NOT_BUILT: &str = include_str!("console-not-built.html");

/// The page runs its own scripts, asks this node, and frames what this node serves. Style attributes
/// are allowed because Chromium writes some itself when a person deletes text in an editor.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
                      style-src-attr 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; frame-src 'self'; \
                      worker-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";
/// The frame that runs guest code in a tab says itself what it may do; this holds it to an origin of
/// its own even when somebody opens it as a page, and lets no other site use it.
const FRAME_POLICY: &str = "sandbox allow-scripts; frame-ancestors 'self'";
/// The page that stands in for it has a style and nothing else.
const NOT_BUILT_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; \
                                base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Asked about each time, so that a new binary shows its own console.
const CHECKED: HeaderValue = HeaderValue::from_static("no-cache");
/// Its name changes whenever its content does.
const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

/// What keeps the console for when the node is away. Its address stays while its content changes, and
/// it answers for the page, which is not below it.
const SERVICE_WORKER: &str = "assets/service-worker.js";
const SERVICE_WORKER_ALLOWED: HeaderName = HeaderName::from_static("service-worker-allowed");

const CROSS_ORIGIN_OPENER_POLICY: HeaderName =
    HeaderName::from_static("cross-origin-opener-policy");

/// The page at `/`, and what it loads.
pub fn console() -> Router<App> {
    let no_referrer = HeaderValue::from_static("no-referrer");
    let own_group = HeaderValue::from_static("same-origin");
    Router::new()
        .route("/", get(page))
        .route("/assets/{*path}", get(asset))
        .layer(SetResponseHeaderLayer::overriding(header::REFERRER_POLICY, no_referrer))
        .layer(SetResponseHeaderLayer::overriding(CROSS_ORIGIN_OPENER_POLICY, own_group))
}

async fn page(request: HeaderMap) -> Response {
    let Some(bytes) = file("index.html") else {
        let headers = [
            (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(NOT_BUILT_POLICY)),
            (header::CACHE_CONTROL, CHECKED),
        ];
        return (headers, Html(NOT_BUILT)).into_response();
    };
    let etag = format!("\"{}\"", Digest(Sha256::digest(bytes).into()));
    let etag = HeaderValue::try_from(etag).expect("hexadecimal digits stand in a header");
    let mut headers = headers(POLICY, CHECKED);
    let known = request.get(header::IF_NONE_MATCH).is_some_and(|known| *known == etag);
    headers.insert(header::ETAG, etag);
    if known {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type("index.html")));
    (headers, bytes).into_response()
}

async fn asset(
    Path(path): Path<String>,
    uri: Uri,
    request: HeaderMap,
) -> Result<Response, Problem> {
    let path = format!("assets/{path}");
    let bytes = file(&path).ok_or_else(|| unknown_path(&uri))?;
    let policy = if path.ends_with(".html") { FRAME_POLICY } else { POLICY };
    let is_service_worker = path == SERVICE_WORKER;
    let mut headers = headers(policy, if is_service_worker { CHECKED } else { IMMUTABLE });
    if is_service_worker {
        headers.insert(SERVICE_WORKER_ALLOWED, HeaderValue::from_static("/"));
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type(&path)));
    let compressed = accepts_gzip(&request).then(|| file(&format!("{path}.gz"))).flatten();
    if compressed.is_some() {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Ok((headers, compressed.unwrap_or(bytes)).into_response())
}

fn file(path: &str) -> Option<&'static [u8]> {
    let at = FILES.binary_search_by_key(&path, |(path, _)| path).ok()?;
    Some(FILES[at].1)
}

fn headers(policy: &'static str, keep: HeaderValue) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    headers.insert(header::CACHE_CONTROL, keep);
    headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    headers
}

/// What a build of the console consists of.
fn media_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("wasm") => "application/wasm",
        Some("json") => "application/json",
        _ => "application/octet-stream",
    }
}

fn accepts_gzip(request: &HeaderMap) -> bool {
    let accepted = request.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
    accepted.is_some_and(|list| {
        list.split(',').any(|one| {
            let (coding, weight) = one.split_once(';').unwrap_or((one, ""));
            coding.trim().eq_ignore_ascii_case("gzip")
                && !matches!(weight.trim(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000")
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_can_be_found_by_path() {
        assert!(FILES.is_sorted_by_key(|(path, _)| path));
        assert!(FILES.iter().all(|(path, bytes)| file(path) == Some(*bytes)));
    }

    #[test]
    fn gzip_is_taken_where_it_is_accepted() {
        let accepts = |list: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::try_from(list).expect("text"));
            accepts_gzip(&headers)
        };
        assert!(accepts("gzip"));
        assert!(accepts("br, GZIP;q=0.5"));
        assert!(!accepts("br"));
        assert!(!accepts("gzip;q=0, br"));
        assert!(!accepts_gzip(&HeaderMap::new()));
    }
}
