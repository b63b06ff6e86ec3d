//! The routes, one file a noun, and what they have in common.

mod artifacts;
mod attempts;
pub mod calls;
mod console;
pub mod dispatch;
mod documents;
mod endpoints;
pub mod events;
mod functions;
mod node;
mod pages;
mod placement;
mod schedules;
pub mod tasks;
mod workers;

use axum::Router;
use axum::http::Method;
use axum::http::{HeaderMap, Uri};
use serde::Serialize;
use utoipa::openapi::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::{Modify, OpenApi as _, ToSchema};
use utoipa_axum::router::OpenApiRouter;

use crate::app::App;
use crate::codes::Code;
use crate::problem::Problem;
use crate::source;

/// The most items on a page of a list.
const LIMIT_MAX: u32 = 500;
/// Items on a page where the request does not say.
const LIMIT_DEFAULT: u32 = 50;

/// Every path of the node.
pub fn router(app: App) -> Router {
    let (routes, openapi) = documented().split_for_parts();
    let openapi = serde_json::to_vec(&openapi).expect("a document of strings has a JSON form");
    routes
        .merge(console::console())
        .merge(pages::pages(openapi.into()))
        .fallback(dispatch::to_endpoint)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(app)
}

/// The API's document.
pub fn openapi() -> OpenApi {
    documented().into_openapi()
}

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Runabout",
        description = "Runs a function anywhere: as a call, or as a durable task. Every error is \
                       application/problem+json with a stable `code`; see /docs/errors.",
        license(name = "MIT OR Apache-2.0")
    ),
    modifiers(&Bearer),
    tags(
        (name = "calls", description = "Run now; the answer is the result"),
        (name = "tasks", description = "Run durably, later; accepted means synced to disk"),
        (name = "schedules", description = "Tasks by the clock"),
        (name = "documents", description = "Plain files with revisions, edited by many at once"),
        (name = "functions", description = "Named, versioned code"),
        (name = "endpoints", description = "Paths of your own, bound to functions"),
        (name = "artifacts", description = "Immutable bytes by digest"),
        (name = "node", description = "The node itself"),
    )
)]
struct Document;

/// The token, which a node may want or not.
struct Bearer;

impl Modify for Bearer {
    fn modify(&self, openapi: &mut OpenApi) {
        let components = openapi.components.get_or_insert_default();
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        components.add_security_scheme("token", scheme);
        let token = SecurityRequirement::new("token", [""; 0]);
        openapi.security = Some(vec![SecurityRequirement::default(), token]);
    }
}

fn documented() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(Document::openapi())
        .merge(calls::routes())
        .merge(tasks::routes())
        .merge(attempts::routes())
        .merge(schedules::routes())
        .merge(documents::routes())
        .merge(endpoints::routes())
        .merge(events::routes())
        .merge(functions::routes())
        .merge(artifacts::routes())
        .merge(workers::routes())
        .merge(node::routes())
        .merge(placement::routes())
}

// axum adds the `Allow` header.
async fn method_not_allowed(method: Method, uri: Uri) -> Problem {
    Problem::new(Code::MethodNotAllowed, format!("{} does not take {method}", uri.path()))
}

/// A page of a list.
#[derive(Serialize, ToSchema)]
struct Listed<T> {
    /// The items.
    items: Vec<T>,
    /// Ask with this `cursor` for the next page; null on the last one.
    next_cursor: Option<String>,
}

fn limit_of(limit: Option<u32>) -> Result<u32, Problem> {
    let limit = limit.unwrap_or(LIMIT_DEFAULT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(Problem::invalid_field("limit", format!("limit is from 1 to {LIMIT_MAX}")));
    }
    Ok(limit)
}

/// Whether a body is meant as JSON: said so, not said at all, or said what `curl -d` says of
/// everything.
fn is_json(headers: &HeaderMap) -> bool {
    match headers.get(axum::http::header::CONTENT_TYPE).map(|value| value.as_bytes()) {
        None | Some(b"application/json") => true,
        Some(_) => source::essence(headers).is_some_and(|essence| {
            essence == "application/json"
                || essence.ends_with("+json")
                || essence == "application/x-www-form-urlencoded"
        }),
    }
}

fn require_json(headers: &HeaderMap) -> Result<(), Problem> {
    if is_json(headers) {
        return Ok(());
    }
    let found = source::essence(headers).unwrap_or_default();
    Err(source::unsupported(format!("send application/json, not {found}")))
}
