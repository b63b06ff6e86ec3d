//! Speaks to the upstream over HTTP/2, on connections that are kept. Knows requests and answers;
//! what they mean for a call is for others.

use std::net::IpAddr;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use bytes::{Bytes, BytesMut};
use reqwest::{Client, Method, RequestBuilder, Response, Url};
use runabout_protocol::{Digest, Language};

use super::Setup;
use super::room::{Place, Room, SMALL_BYTES_MAX, keeping};
use crate::Error;
use crate::source::media_type;

/// How long the upstream may take to accept a connection.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(2);
/// How often an upstream that works for us must show that it is still there, and how soon.
const PING_INTERVAL: Duration = Duration::from_secs(5);
/// How long an answer may take that needs no run.
const SHORT_TIME_MAX: Duration = Duration::from_secs(5);
/// How long the upstream may take to take in an artifact.
pub const ARTIFACT_TIME_MAX: Duration = Duration::from_secs(60);
/// The most bytes of an answer: a result of the largest size, written as JSON in a problem, and
/// its output. A larger one is no answer of a node.
const ANSWER_BYTES_MAX: usize = 32 << 20;

/// A client of one upstream; cheap to clone.
#[derive(Clone, Debug)]
pub struct Upstreamer {
    http: Client,
    base: Url,
    token: Option<HeaderValue>,
    room: Room,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum NoAnswer {
    /// Nobody heard the request.
    Unreachable(String),
    /// Somebody may have heard it.
    Lost(String),
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Heard {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// A call as it is sent.
#[derive(Clone, Debug)]
pub struct Sent {
    pub digest: Digest,
    pub query: Vec<(&'static str, String)>,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub time_max: Duration,
}

impl Upstreamer {
    /// Gets ready; sends nothing yet.
    ///
    /// # Errors
    /// The URL is none that a node can have, or the token cannot stand in a header.
    pub fn new(setup: &Setup) -> Result<Self, Error> {
        let base = parse(&setup.url)?;
        let mut client = Client::builder()
            .user_agent(concat!("runabout/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIME_MAX)
            .pool_idle_timeout(None)
            .http2_adaptive_window(true)
            .http2_keep_alive_interval(PING_INTERVAL)
            .http2_keep_alive_timeout(PING_INTERVAL);
        if base.scheme() == "http" {
            // Nodes speak HTTP/2 without being asked; with TLS it is agreed upon.
            client = client.http2_prior_knowledge();
        }
        if is_loopback(&base) {
            // A proxy meant for the outside world would look for the node on its own machine.
            client = client.no_proxy();
        }
        let invalid = |why: String| Error::InvalidUpstream(setup.url.clone(), why);
        let http = client.build().map_err(|error| invalid(cause(&error)))?;
        let token = setup.token.as_ref().map(|token| {
            let mut value = HeaderValue::try_from(format!("Bearer {}", token.trim()))
                .map_err(|_| invalid("its token cannot stand in a header".to_owned()))?;
            value.set_sensitive(true);
            Ok::<_, Error>(value)
        });
        Ok(Self { http, base, token: token.transpose()?, room: Room::default() })
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// Its host and port.
    pub fn authority(&self) -> &str {
        self.base.authority()
    }

    /// Hands over a call.
    ///
    /// # Errors
    /// There is no answer, or none within its time.
    pub async fn call(&self, sent: Sent) -> Result<Heard, NoAnswer> {
        let path = ["v1", "artifacts", &sent.digest.to_string(), "call"];
        let request = self.request(Method::POST, &path, &sent.query);
        let request = request.headers(sent.headers).body(sent.body).timeout(sent.time_max);
        self.heard(request).await
    }

    /// Hands over an attempt, whose answer goes on for as long as it runs.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn run(&self, sent: Sent) -> Result<Response, NoAnswer> {
        let path = ["v1", "artifacts", &sent.digest.to_string(), "call"];
        let request = self.request(Method::POST, &path, &sent.query);
        request.headers(sent.headers).body(sent.body).send().await.map_err(no_answer)
    }

    /// Hands over an artifact.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn put_artifact(
        &self,
        digest: Digest,
        language: Language,
        bytes: Bytes,
    ) -> Result<Heard, NoAnswer> {
        let path = ["v1", "artifacts", &digest.to_string()];
        let request = self.request(Method::PUT, &path, &[]);
        let request = request.header(header::CONTENT_TYPE, media_type(language));
        self.heard(request.body(bytes).timeout(ARTIFACT_TIME_MAX)).await
    }

    /// Asks whether it is there, and lets this node in.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn probe(&self) -> Result<Heard, NoAnswer> {
        self.heard(self.request(Method::GET, &["v1", "node"], &[]).timeout(SHORT_TIME_MAX)).await
    }

    /// Room for an answer of that size.
    pub async fn place(&self, bytes: usize) -> Option<Place> {
        self.room.place(bytes).await
    }

    /// Reads an answer to its end.
    ///
    /// # Errors
    /// It has none.
    pub async fn read(&self, response: Response) -> Result<Heard, NoAnswer> {
        let (status, headers) = (response.status(), response.headers().clone());
        let body = self.whole(response).await?;
        Ok(Heard { status, headers, body })
    }

    async fn heard(&self, request: RequestBuilder) -> Result<Heard, NoAnswer> {
        self.read(request.send().await.map_err(no_answer)?).await
    }

    async fn whole(&self, mut response: Response) -> Result<Bytes, NoAnswer> {
        let declared =
            response.content_length().map(|it| usize::try_from(it).unwrap_or(usize::MAX));
        let mut place = match declared {
            Some(bytes) if bytes > ANSWER_BYTES_MAX => return Err(too_large()),
            Some(bytes) if bytes > SMALL_BYTES_MAX => self.place(bytes).await,
            _ => None,
        };
        let mut body = BytesMut::new();
        let lost = |error: reqwest::Error| NoAnswer::Lost(cause(&error));
        while let Some(piece) = response.chunk().await.map_err(lost)? {
            let bytes = body.len() + piece.len();
            if bytes > ANSWER_BYTES_MAX {
                return Err(too_large());
            }
            if bytes > SMALL_BYTES_MAX && place.is_none() {
                // It may become as large as any.
                place = self.place(ANSWER_BYTES_MAX).await;
            }
            body.extend_from_slice(&piece);
        }
        Ok(keeping(body.freeze(), place))
    }

    fn request(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&'static str, String)],
    ) -> RequestBuilder {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let request = self.http.request(method, url);
        match &self.token {
            Some(token) => request.header(header::AUTHORIZATION, token.clone()),
            None => request,
        }
    }
}

fn no_answer(error: reqwest::Error) -> NoAnswer {
    let why = cause(&error);
    if error.is_connect() || error.is_builder() {
        NoAnswer::Unreachable(why)
    } else {
        NoAnswer::Lost(why)
    }
}

fn too_large() -> NoAnswer {
    NoAnswer::Lost("its answer is too large".to_owned())
}

fn parse(text: &str) -> Result<Url, Error> {
    let invalid = |why: &str| Error::InvalidUpstream(text.to_owned(), why.to_owned());
    let url: Url = text.parse().map_err(|_| invalid("it is no URL"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(invalid("it must begin with http:// or https://"));
    }
    let is_bare = url.query().is_none() && url.fragment().is_none();
    if !is_bare || !url.username().is_empty() || url.password().is_some() {
        return Err(invalid("it has a host, a port and perhaps a path, and nothing else"));
    }
    Ok(url)
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

/// The cause at the bottom, which says more than the layers above it.
pub fn cause(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "it did not answer in time".to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(below) = cause.source() {
        cause = below;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_is_a_plain_url() {
        for url in ["http://127.0.0.1:7878", "https://far.example/node/"] {
            assert!(parse(url).is_ok(), "{url}");
        }
        for url in ["127.0.0.1:7878", "ftp://a", "http://a?b=c", "http://me@a", "far", ""] {
            assert!(parse(url).is_err(), "{url}");
        }
    }
}
