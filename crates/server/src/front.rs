//! The outermost service: the guards, a net under panics, and the headers that every response
//! carries. One service and not a stack of layers, because every call passes through it.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use tower::Service;

use crate::guards::{Guards, Verdict, allow, preflight};
use crate::problem::Problem;
use crate::request_log::{Answer, Told};

/// The router with its guards in front.
#[derive(Clone)]
pub struct Front {
    guards: Arc<Guards>,
    router: Router,
}

impl Front {
    /// Puts `guards` in front of `router`.
    pub fn new(guards: Guards, router: Router) -> Self {
        Self { guards: Arc::new(guards), router }
    }
}

impl Service<Request<Body>> for Front {
    type Response = Response;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // A router is always ready.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match Told::begin(&request) {
            None => self.answer(request),
            Some(told) => told.tell(self.answer(request)),
        }
    }
}

impl Front {
    fn answer(&mut self, request: Request<Body>) -> Answer {
        let vary = self.guards.vary_by_origin();
        match self.guards.judge(&request) {
            Ok(Verdict::Pass(origin)) => {
                let answer = AssertUnwindSafe(self.router.call(request)).catch_unwind();
                Box::pin(async move {
                    let response = match answer.await {
                        Ok(Ok(response)) => response,
                        Err(panic) => Problem::internal(message_of(&*panic)).into_response(),
                    };
                    Ok(finish(response, origin, vary))
                })
            }
            Ok(Verdict::Preflight(origin)) => {
                let headers = preflight(request.headers(), origin);
                let response = (StatusCode::NO_CONTENT, headers).into_response();
                Box::pin(async move { Ok(finish(response, None, vary)) })
            }
            Err(problem) => {
                let response = problem.into_response();
                Box::pin(async move { Ok(finish(response, None, vary)) })
            }
        }
    }
}

fn finish(mut response: Response, origin: Option<HeaderValue>, vary: bool) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if vary {
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
    }
    if let Some(origin) = origin {
        allow(headers, origin);
    }
    response
}

fn message_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    format!("a handler panicked: {}", text.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tower::ServiceExt;

    use super::*;

    fn front() -> Front {
        let origins = ["https://app.example".to_owned()];
        let listen = "127.0.0.1:7878".parse().expect("an address");
        let guards = Guards::new(listen, &origins, None).expect("valid");
        let router =
            Router::new().route("/", get(|| async { "hello" })).route("/panic", get(panics));
        Front::new(guards, router)
    }

    async fn panics() -> &'static str {
        panic!("a secret")
    }

    async fn answer(request: axum::http::request::Builder) -> Response {
        let request = request.body(Body::empty()).expect("a request");
        front().oneshot(request).await.expect("infallible")
    }

    #[tokio::test]
    async fn a_panic_is_an_answer_without_details() {
        let response = answer(Request::get("/panic")).await;
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
        let body = axum::body::to_bytes(response.into_body(), 10_000).await.expect("reads");
        assert!(!String::from_utf8_lossy(&body).contains("secret"));
    }

    #[tokio::test]
    async fn an_allowed_origin_is_named_in_the_response() {
        let response = answer(Request::get("/").header("Origin", "https://app.example")).await;
        assert_eq!(response.status(), StatusCode::OK);
        let headers = response.headers();
        assert_eq!(headers[header::ACCESS_CONTROL_ALLOW_ORIGIN], "https://app.example");
        assert_eq!(headers[header::VARY], "Origin");
    }

    #[tokio::test]
    async fn a_preflight_names_methods_and_headers() {
        let request = Request::options("/v1/tasks")
            .header("Origin", "https://app.example")
            .header("Access-Control-Request-Method", "PUT")
            .header("Access-Control-Request-Headers", "authorization");
        let response = answer(request).await;
        assert_eq!(response.status(), StatusCode::NO_CONTENT);
        assert_eq!(response.headers()[header::ACCESS_CONTROL_ALLOW_HEADERS], "authorization");
    }

    #[tokio::test]
    async fn a_foreign_page_is_refused_and_not_named() {
        let response = answer(Request::get("/").header("Origin", "https://evil.example")).await;
        assert_eq!(response.status(), StatusCode::FORBIDDEN);
        assert!(!response.headers().contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN));
    }
}
