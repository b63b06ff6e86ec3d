//! The pages for people beside the console: the API's page, the error codes.

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use tower_http::set_header::SetResponseHeaderLayer;
use utoipa_swagger_ui::{Config, SwaggerUi};

use super::dispatch::unknown_path;
use crate::app::App;
use crate::codes::{ErrorCode, TABLE};

const ERRORS: &str = include_str!("errors.html");

/// The error codes need a style and nothing else.
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
    let own = Router::new().route("/docs/errors", get(errors)).layer(policy(STATIC_POLICY));
    let config = Config::from("/openapi.json").use_base_layout().try_it_out_enabled(true);
    let docs = Router::from(SwaggerUi::new("/docs").config(config))
        .layer(policy(DOCS_POLICY))
        .layer(from_fn(or_unknown));
    Router::new().route("/openapi.json", get(document)).merge(own).merge(docs)
}

fn policy(policy: &'static str) -> SetResponseHeaderLayer<HeaderValue> {
    let value = HeaderValue::from_static(policy);
    SetResponseHeaderLayer::overriding(header::CONTENT_SECURITY_POLICY, value)
}

/// The API's page answers with nothing where there is nothing.
async fn or_unknown(request: Request, next: Next) -> Response {
    let uri = request.uri().clone();
    let response = next.run(request).await;
    match response.status() {
        StatusCode::NOT_FOUND => unknown_path(&uri).into_response(),
        _ => response,
    }
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
