//! Talks HTTP to a node: where it is, the token, and what its answers mean.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use reqwest::{Client, Method, RequestBuilder, Response, Url};
use serde::de::DeserializeOwned;

use crate::exit::{Exit, Failure};
use crate::problem::Problem;

/// How long a node may take to accept a connection before it counts as unreachable.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);

/// Which node to talk to, and how to show what it says.
#[derive(Clone, Debug, Args)]
pub struct Target {
    /// The node to talk to
    #[arg(
        long,
        value_name = "URL",
        env = "RUNABOUT_NODE",
        default_value = "http://127.0.0.1:7878"
    )]
    node: Url,
    /// A file that holds the node's token; the variable RUNABOUT_TOKEN may hold the token itself
    #[arg(long, value_name = "FILE", env = "RUNABOUT_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// Print JSON, for machines
    #[arg(long)]
    pub json: bool,
}

impl Target {
    /// Gets ready to talk; sends nothing yet.
    pub fn connect(&self) -> anyhow::Result<Node> {
        if !matches!(self.node.scheme(), "http" | "https") {
            let message = format!("--node must begin with http:// or https://: {}", self.node);
            return Err(Failure::new(Exit::Usage, message).into());
        }
        let mut client = Client::builder()
            .user_agent(concat!("runabout/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIME_MAX);
        if is_loopback(&self.node) {
            // A proxy meant for the outside world would look for the node on its own machine.
            client = client.no_proxy();
        }
        let http = client.build().context("failed to prepare the HTTP client")?;
        Ok(Node { http, base: self.node.clone(), token: read_token(self.token_file.as_deref())? })
    }
}

/// The token in a file, or in the variable RUNABOUT_TOKEN.
pub fn read_token(path: Option<&Path>) -> anyhow::Result<Option<String>> {
    if let Some(path) = path {
        return token(path).map(Some);
    }
    Ok(std::env::var("RUNABOUT_TOKEN").ok().filter(|token| !token.is_empty()))
}

/// The token in a file.
pub fn token(path: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("failed to read the token from {}", path.display()))?;
    let token = text.trim();
    if token.is_empty() {
        return Err(Failure::ours(format!("there is no token in {}", path.display())).into());
    }
    Ok(token.to_owned())
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

/// A node.
pub struct Node {
    http: Client,
    base: Url,
    token: Option<String>,
}

impl Node {
    /// Begins a request. Each of `segments` is one part of the path, escaped as needed.
    pub fn request(&self, method: Method, segments: &[&str]) -> RequestBuilder {
        self.request_with(method, segments, &[])
    }

    /// Begins a request with query parameters; those without a value are left out.
    pub fn request_with(
        &self,
        method: Method,
        segments: &[&str],
        query: &[(&str, Option<String>)],
    ) -> RequestBuilder {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        for (name, value) in query {
            if let Some(value) = value {
                url.query_pairs_mut().append_pair(name, value);
            }
        }
        let request = self.http.request(method, url);
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Sends a request and takes whatever the node answers.
    ///
    /// # Errors
    /// No node answers.
    pub async fn send(&self, request: RequestBuilder) -> anyhow::Result<Response> {
        let unreachable = |error: reqwest::Error| {
            let message = format!("no node answers at {}: {}", self.base, root_cause(&error));
            let hint = "start one with `runabout serve`, or say where it is with --node URL";
            anyhow::Error::new(Failure::new(Exit::Unreachable, message).hint(hint))
        };
        request.send().await.map_err(unreachable)
    }

    /// Sends a request that must succeed.
    ///
    /// # Errors
    /// No node answers, or it refuses.
    pub async fn ask(&self, request: RequestBuilder) -> anyhow::Result<Response> {
        let response = self.send(request).await?;
        self.accept(response).await
    }

    /// Takes an answer that must be a success.
    ///
    /// # Errors
    /// The node refuses.
    pub async fn accept(&self, response: Response) -> anyhow::Result<Response> {
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status().as_u16();
        let body = self.body(response).await?;
        Err(Problem::read(status, &body).failure().into())
    }

    /// Sends a request that must succeed, and gives the answer's body.
    ///
    /// # Errors
    /// No node answers, it refuses, or hangs up half-way.
    pub async fn ask_body(&self, request: RequestBuilder) -> anyhow::Result<Vec<u8>> {
        let response = self.ask(request).await?;
        self.body(response).await
    }

    /// The body of an answer.
    ///
    /// # Errors
    /// The node hung up half-way.
    pub async fn body(&self, response: Response) -> anyhow::Result<Vec<u8>> {
        let cut_off = |error: reqwest::Error| {
            let message = format!("{} hung up: {}", self.base, root_cause(&error));
            anyhow::Error::new(Failure::new(Exit::Unreachable, message))
        };
        Ok(response.bytes().await.map_err(cut_off)?.to_vec())
    }
}

/// Reads an answer's body.
///
/// # Errors
/// It is not what this version of the command line expects.
pub fn read<T: DeserializeOwned>(body: &[u8]) -> anyhow::Result<T> {
    serde_json::from_slice(body)
        .context("the node's answer cannot be read; is it a runabout node of this version?")
}

fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_trimmed_and_never_empty() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("token");
        std::fs::write(&path, "secret\n").expect("written");
        assert_eq!(token(&path).ok().as_deref(), Some("secret"));
        std::fs::write(&path, "\n").expect("written");
        assert!(token(&path).is_err());
    }

    fn node(base: &str) -> Node {
        let base = Url::parse(base).expect("a URL");
        Node { http: Client::new(), base, token: None }
    }

    fn path(base: &str, segments: &[&str]) -> String {
        let request = node(base).request(Method::GET, segments).build().expect("a request");
        request.url().to_string()
    }

    #[test]
    fn parameters_without_a_value_are_left_out() {
        let query = [("export", None), ("label", Some("a=b&c".to_owned()))];
        let request = node("http://a").request_with(Method::GET, &["x"], &query).build();
        assert_eq!(request.expect("a request").url().as_str(), "http://a/x?label=a%3Db%26c");
    }

    #[test]
    fn a_path_is_put_behind_the_nodes_own() {
        assert_eq!(path("http://a:1", &["v1", "node"]), "http://a:1/v1/node");
        assert_eq!(path("http://a/x/", &["v1", "node"]), "http://a/x/v1/node");
    }

    #[test]
    fn names_cannot_leave_their_place_in_the_path() {
        let escaped = path("http://a", &["v1", "functions", "a/b?c#d"]);
        assert_eq!(escaped, "http://a/v1/functions/a%2Fb%3Fc%23d");
    }

    #[test]
    fn loopback_is_known_by_name_and_by_address() {
        let loopback = |url: &str| is_loopback(&Url::parse(url).expect("a URL"));
        assert!(loopback("http://localhost:7878") && loopback("http://127.0.0.2"));
        assert!(loopback("http://[::1]:7878"));
        assert!(!loopback("http://example.org") && !loopback("http://10.0.0.1"));
    }
}
