//! The pages for people: the landing page, the API's page, the error codes.

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use tower_http::set_header::SetResponseHeaderLayer;
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::app::App;
use crate::codes::{ErrorCode, TABLE};

const LANDING: &str = include_str!("landing.html");
const ERRORS: &str = include_str!("errors.html");

/// The landing page and the error codes need a style and nothing else.
const STATIC_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; \
                             base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// The API's page runs its own scripts, sets styles on elements, and asks this node.
const DOCS_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
                           img-src 'self' data:; font-src 'self'; connect-src 'self'; \
                           base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The pages; `openapi` is the API's document, rendered once.
pub fn pages(openapi: Bytes) -> Router<App> {
    let document = move || {
        let openapi = openapi.clone();
        async move { ([(header::CONTENT_TYPE, "application/json")], openapi) }
    };
    let own = Router::new()
        .route("/", get(landing))
        .route("/docs/errors", get(errors))
        .layer(policy(STATIC_POLICY));
    let config = Config::from("/openapi.json").use_base_layout().try_it_out_enabled(true);
    let docs = Router::from(SwaggerUi::new("/docs").config(config)).layer(policy(DOCS_POLICY));
    Router::new().route("/openapi.json", get(document)).merge(own).merge(docs)
}

fn policy(policy: &'static str) -> SetResponseHeaderLayer<HeaderValue> {
    let value = HeaderValue::from_static(policy);
    SetResponseHeaderLayer::overriding(header::CONTENT_SECURITY_POLICY, value)
}

async fn landing(State(app): State<App>, headers: HeaderMap) -> Response {
    // The guards know the host as ours, so that the examples work as they stand.
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let page = LANDING
        .replace("{{address}}", &escaped(host.unwrap_or(&app.node.name)))
        .replace("{{name}}", &escaped(&app.node.name))
        .replace("{{version}}", crate::VERSION);
    Html(page).into_response()
}

async fn errors() -> Html<String> {
    let rows: String = TABLE.iter().map(row).collect();
    Html(ERRORS.replace("{{rows}}", &rows))
}

fn row(row: &ErrorCode) -> String {
    let ErrorCode { code, status, meaning, what_to_do } = row;
    let what_to_do = code_spans(&escaped(what_to_do));
    format!(
        "<tr id=\"{code}\"><td><code>{code}</code></td><td>{status}</td>\
         <td>{}</td><td>{what_to_do}</td></tr>\n",
        escaped(meaning)
    )
}

/// Text between backticks becomes code; the table holds them in pairs.
fn code_spans(text: &str) -> String {
    let spans = text.split('`').enumerate();
    spans
        .map(|(n, span)| if n % 2 == 0 { span.to_owned() } else { format!("<code>{span}</code>") })
        .collect()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
