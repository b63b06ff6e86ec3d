//! Artifacts from a node, by digest. What was compiled is kept by the sandbox; here only those who
//! want the same bytes at the same time are made to wait for one answer.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use parking_lot::Mutex;
use reqwest::{Client, StatusCode};
use runabout_protocol::Digest;
use sha2::{Digest as _, Sha256};
use tokio::sync::OnceCell;

/// The largest artifact there is.
const ARTIFACT_BYTES_MAX: usize = 32 << 20;
/// How long an answer may take altogether. The node gives a run that has not begun up before.
const FETCH_TIME_MAX: Duration = Duration::from_secs(30);

/// Fetches from one node.
pub struct Fetcher {
    client: Client,
    /// `http://host:port`.
    url: String,
    token: Option<String>,
    /// What is being fetched; gone once it is there.
    under_way: Mutex<HashMap<Digest, Arc<OnceCell<Option<Bytes>>>>>,
}

impl Fetcher {
    /// Fetches from the node at `url`.
    ///
    /// # Errors
    /// There can be no HTTP client.
    pub fn new(url: String, token: Option<String>) -> Result<Self, reqwest::Error> {
        let client = Client::builder().timeout(FETCH_TIME_MAX).build()?;
        Ok(Self { client, url, token, under_way: Mutex::default() })
    }

    /// An artifact's bytes; `None` if the node does not have it.
    ///
    /// # Errors
    /// The node does not answer, or answers something else.
    pub async fn artifact(&self, digest: Digest) -> Result<Option<Bytes>, String> {
        let cell = Arc::clone(self.under_way.lock().entry(digest).or_default());
        let fetched = cell.get_or_try_init(|| self.fetch(digest)).await.cloned();
        // Those who still wait for it have the cell.
        self.under_way.lock().remove(&digest);
        fetched
    }

    async fn fetch(&self, digest: Digest) -> Result<Option<Bytes>, String> {
        let failed = |why: &dyn std::fmt::Display| format!("failed to fetch {digest}: {why}");
        let mut request = self.client.get(format!("{}/v1/artifacts/{digest}", self.url));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await.map_err(|error| failed(&error))?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            status => return Err(failed(&format_args!("the node answered {status}"))),
        }
        let mut bytes = BytesMut::new();
        let mut pieces = response.bytes_stream();
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|error| failed(&error))?;
            if bytes.len() + piece.len() > ARTIFACT_BYTES_MAX {
                return Err(failed(&"it is larger than 32 MiB"));
            }
            bytes.extend_from_slice(&piece);
        }
        // The name is a promise about the bytes, and costs little to hold somebody to.
        if Digest(Sha256::digest(&bytes).into()) != digest {
            return Err(failed(&"the bytes have another digest"));
        }
        Ok(Some(bytes.freeze()))
    }
}
