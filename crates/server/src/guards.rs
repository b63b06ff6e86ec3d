//! Decides who may speak to the node at all, before any route is looked at: foreign hosts and
//! origins, tokens, CORS. Says nothing about what a caller may do after that.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::codes::Code;
use crate::endpoints::is_reserved;
use crate::problem::Problem;

/// The node's rules.
pub struct Guards {
    listen: SocketAddr,
    /// Exactly as browsers write them: `https://example.com`, no slash at the end.
    origins: Vec<HeaderValue>,
    /// Host names from `origins`: a page that may call us may also be served from in front of us.
    hosts: Vec<String>,
    token: Option<Token>,
}

/// The token that callers must show.
#[derive(Clone)]
pub struct Token {
    /// Only the hash is kept, so that comparing takes the same time for every length.
    hash: [u8; 32],
}

impl Token {
    /// That token.
    pub fn of(token: &str) -> Self {
        Self { hash: hash(token) }
    }

    /// Whether this is it.
    pub fn is(&self, shown: &str) -> bool {
        hash(shown.trim()).ct_eq(&self.hash).into()
    }

    /// Whether a request's head shows it.
    pub fn is_shown_in(&self, headers: &HeaderMap) -> bool {
        headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once(' '))
            .is_some_and(|(scheme, token)| scheme.eq_ignore_ascii_case("bearer") && self.is(token))
    }
}

/// An origin that cannot be one.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no origin: write it as https://example.com or http://localhost:5173")]
pub struct InvalidOrigin(String);

/// What the guards say of a request.
#[derive(Debug)]
pub enum Verdict {
    /// It may pass; an allowed foreign origin must be named in the response.
    Pass(Option<HeaderValue>),
    /// It is a browser's question whether it may ask, and it may.
    Preflight(HeaderValue),
}

const PRIVATE_NETWORK: HeaderName =
    HeaderName::from_static("access-control-request-private-network");
const EXPOSED: &str = "Content-Range, ETag, Idempotent-Replayed, Location, Retry-After, \
                       Server-Timing, WWW-Authenticate, Runabout-Compute, Runabout-Logs, \
                       Runabout-Logs-Cut, Runabout-Placement, Runabout-Ran-On, Runabout-Revision";

impl Guards {
    /// Rules for a node that listens there.
    ///
    /// # Errors
    /// One of `origins` is no origin.
    pub fn new(
        listen: SocketAddr,
        origins: &[String],
        token: Option<Token>,
    ) -> Result<Self, InvalidOrigin> {
        let parsed: Vec<_> =
            origins.iter().map(|origin| parse_origin(origin)).collect::<Result<_, _>>()?;
        let (origins, hosts) = parsed.into_iter().unzip();
        Ok(Self { listen, origins, hosts, token })
    }

    /// Whether answers depend on the request's origin, so that caches must tell them apart.
    pub fn vary_by_origin(&self) -> bool {
        !self.origins.is_empty()
    }

    /// Judges a request by its head.
    ///
    /// # Errors
    /// `foreign_host`, `foreign_origin` or `unauthorized`.
    pub fn judge<B>(&self, request: &Request<B>) -> Result<Verdict, Problem> {
        let headers = request.headers();
        let host = host(headers, request.uri());
        // A page that makes a name of its own lead here has no token: who shows it may use any name.
        let is_known = self.token.as_ref().is_some_and(|token| token.is_shown_in(headers));
        if !is_known && host.is_some_and(|host| !self.is_own_host(host)) {
            return Err(Problem::new(Code::ForeignHost, "the Host header names another host"));
        }
        let allowed = self.judge_origin(request, host)?;
        if let (Some(origin), &Method::OPTIONS) = (&allowed, request.method())
            && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
        {
            return Ok(Verdict::Preflight(origin.clone()));
        }
        self.judge_token(headers, request.uri().path())?;
        Ok(Verdict::Pass(allowed))
    }

    /// The origin, if it is a foreign one that is allowed.
    fn judge_origin<B>(
        &self,
        request: &Request<B>,
        host: Option<&str>,
    ) -> Result<Option<HeaderValue>, Problem> {
        let headers = request.headers();
        if let Some(origin) = headers.get(header::ORIGIN) {
            if self.origins.contains(origin) {
                return Ok(Some(origin.clone()));
            }
            if !is_same_origin(origin, host) {
                return Err(foreign_origin());
            }
        }
        let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
        let foreign = matches!(site, Some(b"cross-site" | b"same-site"));
        if foreign && !is_open_navigation(request) {
            return Err(foreign_origin());
        }
        Ok(None)
    }

    fn judge_token(&self, headers: &HeaderMap, path: &str) -> Result<(), Problem> {
        let Some(token) = &self.token else { return Ok(()) };
        // A browser brings no token when a person opens a page: the console asks for it, and shows
        // it to the API. What describes the API is the same on every node, and errors link to it. Nor
        // can a page send a header with a WebSocket: workers show the token in their first frame.
        let is_open =
            matches!(path, "/healthz" | "/readyz" | "/" | "/docs" | "/openapi.json" | "/v1/work")
                || path.starts_with("/assets/")
                || path.starts_with("/docs/");
        if is_open || token.is_shown_in(headers) {
            return Ok(());
        }
        let detail = "this node wants a bearer token";
        Err(Problem::new(Code::Unauthorized, detail).header(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static("Bearer realm=\"runabout\""),
        ))
    }

    /// Names that a page on another site cannot make resolve to us.
    fn is_own_host(&self, host: &str) -> bool {
        let name = without_port(host);
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        match bare.parse::<IpAddr>() {
            // An attacker's page can rebind a name, never an address; on all interfaces we do
            // not know which of our addresses was meant.
            Ok(ip) => {
                let listen = self.listen.ip();
                ip.is_loopback() || ip == listen || listen.is_unspecified()
            }
            Err(_) => {
                name.eq_ignore_ascii_case("localhost")
                    || self.hosts.iter().any(|known| name.eq_ignore_ascii_case(known))
            }
        }
    }
}

/// Adds what a browser wants to see before it shows the response to a page of `origin`.
pub fn allow(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
}

/// The headers that answer a preflight.
pub fn preflight(request: &HeaderMap, origin: HeaderValue) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE"),
    );
    if let Some(asked) = request.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
    }
    if request.contains_key(PRIVATE_NETWORK) {
        headers.insert(
            HeaderName::from_static("access-control-allow-private-network"),
            HeaderValue::from_static("true"),
        );
    }
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    headers
}

fn foreign_origin() -> Problem {
    Problem::new(Code::ForeignOrigin, "a page of another origin may not use this node")
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

fn parse_origin(origin: &str) -> Result<(HeaderValue, String), InvalidOrigin> {
    let invalid = || InvalidOrigin(origin.to_owned());
    let uri: Uri = origin.trim_end_matches('/').parse().map_err(|_| invalid())?;
    let web = matches!(uri.scheme_str(), Some("http" | "https"));
    let bare = matches!(uri.path(), "" | "/") && uri.query().is_none();
    let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'));
    let (Some(authority), Some(scheme), true) = (authority, uri.scheme_str(), web && bare) else {
        return Err(invalid());
    };
    let text = format!("{scheme}://{authority}").to_ascii_lowercase();
    let value = HeaderValue::from_str(&text).map_err(|_| invalid())?;
    Ok((value, authority.host().to_ascii_lowercase()))
}

/// The host that the client means: HTTP/1 says it in a header, HTTP/2 in the address.
fn host<'a>(headers: &'a HeaderMap, uri: &'a Uri) -> Option<&'a str> {
    match headers.get(header::HOST) {
        // Bytes that are no text name no host of ours.
        Some(value) => Some(value.to_str().unwrap_or("?")),
        None => uri.authority().map(|authority| authority.as_str()),
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            // `::1` without brackets has colons of its own.
            if name.contains(':') && !name.ends_with(']') { host } else { name }
        }
        _ => host,
    }
}

/// Whether the page was served by us, under the name that this request uses for us.
fn is_same_origin(origin: &HeaderValue, host: Option<&str>) -> bool {
    let authority = origin
        .to_str()
        .ok()
        .and_then(|origin| origin.strip_prefix("http://").or(origin.strip_prefix("https://")));
    matches!((authority, host), (Some(a), Some(b)) if a.eq_ignore_ascii_case(b))
}

/// Somebody followed a link to a page that is there to be linked to. A navigation shows the page
/// to the person, not to the site that linked to it.
fn is_open_navigation<B>(request: &Request<B>) -> bool {
    let is = |name: &str, expected: &[u8]| {
        request.headers().get(name).is_some_and(|value| value.as_bytes() == expected)
    };
    let path = request.uri().path();
    matches!(*request.method(), Method::GET | Method::HEAD)
        && is("sec-fetch-mode", b"navigate")
        && is("sec-fetch-dest", b"document")
        && (path == "/"
            || path == "/docs"
            || path.starts_with("/docs/")
            || is_document(path)
            || !is_reserved(path))
}

/// A document itself, which can do nothing in the browser, and not what is told of it.
fn is_document(path: &str) -> bool {
    path.strip_prefix("/v1/documents/").is_some_and(|name| !name.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guards(listen: &str, token: Option<&str>) -> Guards {
        let listen = listen.parse().expect("an address");
        let token = token.map(Token::of);
        Guards::new(listen, &["https://app.example".to_owned()], token).expect("valid")
    }

    /// What becomes of `head`, written as `METHOD PATH` and headers, one a line: the code of the
    /// problem, `pass`, `pass as ORIGIN` or `preflight`.
    fn verdict(guards: &Guards, head: &str) -> String {
        let mut lines = head.lines().map(str::trim);
        let (method, path) = lines.next().and_then(|line| line.split_once(' ')).expect("a head");
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
            request = request.header(name, value);
        }
        match guards.judge(&request.body(()).expect("a request")) {
            Ok(Verdict::Pass(None)) => "pass".to_owned(),
            Ok(Verdict::Pass(Some(origin))) => {
                format!("pass as {}", origin.to_str().expect("text"))
            }
            Ok(Verdict::Preflight(_)) => "preflight".to_owned(),
            Err(problem) => problem.code().row().code.to_owned(),
        }
    }

    fn check(head: &str, expected: &str) {
        assert_eq!(verdict(&guards("127.0.0.1:7878", None), head), expected, "{head}");
    }

    #[test]
    fn hosts_are_ours_or_foreign() {
        for host in [
            "127.0.0.1:7878",
            "localhost:7878",
            "LOCALHOST",
            "localhost:9000",
            "[::1]:7878",
            "127.0.0.1",
            "app.example",
        ] {
            check(&format!("GET /v1/node\nHost: {host}"), "pass");
        }
        for host in
            ["evil.example", "evil.example:7878", "10.0.0.1:7878", "localhost.evil.example", "?"]
        {
            check(&format!("GET /v1/node\nHost: {host}"), "foreign_host");
        }
        check("GET /v1/node", "pass");
    }

    #[test]
    fn on_all_interfaces_any_address_is_ours_but_no_name() {
        let guards = guards("0.0.0.0:7878", None);
        assert_eq!(verdict(&guards, "GET /\nHost: 10.0.0.1:7878"), "pass");
        assert_eq!(verdict(&guards, "GET /\nHost: evil.example"), "foreign_host");
    }

    #[test]
    fn pages_of_other_origins_are_refused() {
        check("POST /v1/tasks\nHost: localhost:7878\nOrigin: http://localhost:7878", "pass");
        for origin in
            ["null", "http://evil.example", "http://localhost:3000", "https://app.example.evil"]
        {
            check(
                &format!("POST /v1/tasks\nHost: localhost:7878\nOrigin: {origin}"),
                "foreign_origin",
            );
        }
        check("GET /v1/tasks\nSec-Fetch-Site: cross-site", "foreign_origin");
        check("GET /v1/tasks\nSec-Fetch-Site: same-site", "foreign_origin");
        check("GET /v1/tasks\nSec-Fetch-Site: same-origin", "pass");
        check("GET /v1/tasks\nSec-Fetch-Site: none", "pass");
    }

    #[test]
    fn links_to_pages_may_be_followed() {
        let navigation =
            "Sec-Fetch-Site: cross-site\nSec-Fetch-Mode: navigate\nSec-Fetch-Dest: document";
        check(&format!("GET /\n{navigation}"), "pass");
        check(&format!("GET /report/2026\n{navigation}"), "pass");
        check(&format!("GET /v1/tasks\n{navigation}"), "foreign_origin");
        check(&format!("POST /\n{navigation}"), "foreign_origin");
        let frame = navigation.replace("document", "iframe");
        check(&format!("GET /\n{frame}"), "foreign_origin");
    }

    #[test]
    fn allowed_origins_are_answered_with_cors() {
        let origin = "Origin: https://app.example\nSec-Fetch-Site: cross-site";
        check(&format!("POST /v1/tasks\n{origin}"), "pass as https://app.example");
        let ask = "Access-Control-Request-Method: POST";
        check(&format!("OPTIONS /v1/tasks\n{origin}\n{ask}"), "preflight");
        check(&format!("OPTIONS /v1/tasks\nOrigin: http://evil.example\n{ask}"), "foreign_origin");
    }

    #[test]
    fn a_token_is_wanted_everywhere_but_at_the_probes_and_for_pages() {
        let guards = guards("0.0.0.0:7878", Some("secret"));
        for (head, expected) in [
            ("GET /healthz", "pass"),
            ("GET /readyz", "pass"),
            ("GET /", "pass"),
            ("GET /assets/index-1.js", "pass"),
            ("GET /docs", "pass"),
            ("GET /docs/errors", "pass"),
            ("GET /docsx", "unauthorized"),
            ("GET /openapi.json", "pass"),
            ("GET /assets", "unauthorized"),
            ("GET /v1/work", "pass"),
            ("GET /v1/node", "unauthorized"),
            ("GET /v1/node\nAuthorization: Bearer secre", "unauthorized"),
            ("GET /v1/node\nAuthorization: Basic secret", "unauthorized"),
            ("GET /v1/node\nAuthorization: Bearer secret", "pass"),
            ("GET /v1/node\nAuthorization: bearer secret", "pass"),
        ] {
            assert_eq!(verdict(&guards, head), expected, "{head}");
        }
    }

    #[test]
    fn what_is_no_origin_is_refused_at_start() {
        let listen = "127.0.0.1:1".parse().expect("an address");
        for origin in ["null", "*", "example.com", "https://a/b", "ftp://a", "https://u@a", ""] {
            assert!(Guards::new(listen, &[origin.to_owned()], None).is_err(), "{origin}");
        }
    }
}
