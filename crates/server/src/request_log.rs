//! What is told of each request: a span around it, for traces, and a line at its end, both at the
//! level `debug`. Where nobody listens to either, a request costs one look at an atomic. Headers,
//! queries and bodies are never told: they may hold what is nobody's business.

use std::convert::Infallible;
use std::pin::Pin;
use std::time::Instant;

use axum::http::{HeaderName, HeaderValue, Method, Request, StatusCode};
use axum::response::Response;
use tracing::{Instrument, Level, Span};
use uuid::Uuid;

/// An answer in the making.
pub type Answer = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

/// By which a request is found in the log. One that the client sends is taken over.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The most bytes of a request's id, if it is the client's.
const ID_BYTES_MAX: usize = 128;

/// A request that is told of.
pub struct Told {
    id: HeaderValue,
    method: Method,
    path: String,
    began: Instant,
    span: Span,
    /// `None` until it is answered; whoever hangs up before is told of without.
    status: Option<StatusCode>,
}

impl Told {
    /// Begins to tell of a request, if anybody listens.
    pub fn begin<B>(request: &Request<B>) -> Option<Self> {
        if !tracing::enabled!(Level::DEBUG) {
            return None;
        }
        let id = request.headers().get(&REQUEST_ID).filter(|id| is_plain(id)).cloned();
        let id = id.or_else(|| HeaderValue::try_from(Uuid::now_v7().to_string()).ok())?;
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let span = tracing::debug_span!(
            parent: None,
            "request",
            id = id.to_str().unwrap_or_default(),
            otel.name = format!("{method} request"),
            otel.kind = "server",
            http.request.method = method.as_str(),
            url.path = path,
            http.response.status_code = tracing::field::Empty,
        );
        Some(Self { id, method, path, began: Instant::now(), span, status: None })
    }

    /// Waits for the answer, within the request's span.
    pub fn tell(mut self, answer: Answer) -> Answer {
        Box::pin(async move {
            let mut response = answer.instrument(self.span.clone()).await?;
            self.status = Some(response.status());
            response.headers_mut().insert(REQUEST_ID, self.id.clone());
            Ok(response)
        })
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        let _entered = self.span.enter();
        let (method, path) = (self.method.as_str(), &self.path);
        let request = self.id.to_str().unwrap_or_default();
        let duration_ms = self.began.elapsed().as_secs_f64() * 1_000.0;
        match self.status.map(|status| status.as_u16()) {
            Some(status) => {
                self.span.record("http.response.status_code", status);
                tracing::debug!(method, path, status, duration_ms, request, "answered");
            }
            None => tracing::debug!(method, path, duration_ms, request, "the caller hung up"),
        }
    }
}

fn is_plain(id: &HeaderValue) -> bool {
    let bytes = id.as_bytes();
    (1..=ID_BYTES_MAX).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_ids_of_clients_are_taken_over() {
        let plain = |text: &str| is_plain(&HeaderValue::from_str(text).expect("a value"));
        assert!(plain("req-1"));
        assert!(!plain("") && !plain("a b") && !plain(&"x".repeat(129)));
    }

    #[test]
    fn nothing_is_told_where_nobody_listens() {
        let request = Request::get("/").body(()).expect("a request");
        assert!(Told::begin(&request).is_none());
    }
}
