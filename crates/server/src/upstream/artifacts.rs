//! Which artifacts the upstream has been given, so that each is sent once.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use runabout_protocol::Digest;
use tokio::sync::{Mutex as AsyncMutex, Semaphore};
use tokio::time::timeout;

use super::client::{ARTIFACT_TIME_MAX, Heard, NoAnswer, Upstreamer};
use crate::app::App;
use crate::problem::Problem;

/// Artifacts that are remembered; when there are more, all are forgotten, and asked for anew.
const REMEMBERED_MAX: usize = 4_096;

/// Artifacts that are sent or wait for their turn; a call that needs another one runs here.
const SENDINGS_MAX: usize = 64;

/// The artifacts that the upstream is known to have.
pub struct Artifacts {
    known: Mutex<HashMap<Digest, Sending>>,
    /// How large those are that were asked about before they were known.
    sizes: Mutex<HashMap<Digest, u64>>,
    /// One is sent at a time: those that wait for the same one then find it sent.
    sending: AsyncMutex<()>,
    /// Bounds those that are sent or wait for that.
    places: Arc<Semaphore>,
}

/// How often an artifact was sent: the upstream may have forgotten it since.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sending(u32);

impl Default for Artifacts {
    fn default() -> Self {
        Self {
            known: Mutex::default(),
            sizes: Mutex::default(),
            sending: AsyncMutex::default(),
            places: Arc::new(Semaphore::new(SENDINGS_MAX)),
        }
    }
}

impl Artifacts {
    /// The last time that it was sent.
    pub fn last(&self, digest: Digest) -> Sending {
        self.known.lock().get(&digest).copied().unwrap_or_default()
    }

    /// Whether the upstream has had it.
    pub fn is_known(&self, digest: Digest) -> bool {
        self.known.lock().contains_key(&digest)
    }

    /// How many bytes are to be sent before the upstream can run it; 0 if it has had it, or if that
    /// cannot be found out.
    pub async fn bytes_to_send(&self, app: &App, digest: Digest) -> u64 {
        if self.is_known(digest) {
            return 0;
        }
        let size = self.sizes.lock().get(&digest).copied();
        if let Some(size) = size {
            return size;
        }
        let Ok(Some(size)) = app.store.artifact_bytes(digest).await else { return 0 };
        let mut sizes = self.sizes.lock();
        if sizes.len() >= REMEMBERED_MAX {
            sizes.clear();
        }
        sizes.insert(digest, size);
        size
    }

    /// The upstream has it.
    pub fn learn(&self, digest: Digest) {
        self.keep(digest, self.last(digest));
    }

    fn keep(&self, digest: Digest, sending: Sending) {
        let mut known = self.known.lock();
        if known.len() >= REMEMBERED_MAX && !known.contains_key(&digest) {
            known.clear();
        }
        known.insert(digest, sending);
    }

    /// Sends an artifact, unless somebody has since `last`, and to its end even if nobody waits for
    /// it any more: a call that runs on both sides gives this one up when it has its answer, and
    /// the next one would only begin anew. `None` if there is no room or no time for it.
    ///
    /// # Errors
    /// This node does not have it either, or the upstream does not answer. What it answers, if it
    /// was asked and does not take it, is the inner value.
    pub async fn deliver(
        app: &App,
        digest: Digest,
        last: Sending,
    ) -> Option<Result<Result<(), Heard>, NotSent>> {
        let upstream = Arc::clone(app.upstream.as_ref()?);
        let place = Arc::clone(&upstream.artifacts.places).try_acquire_owned().ok()?;
        let app = app.clone();
        // Ends by itself, in that time.
        let sending = tokio::spawn(async move {
            let _place = place;
            let sending = upstream.artifacts.send(&app, &upstream.client, digest, last);
            timeout(ARTIFACT_TIME_MAX, sending).await.ok()
        });
        sending.await.ok().flatten()
    }

    async fn send(
        &self,
        app: &App,
        client: &Upstreamer,
        digest: Digest,
        last: Sending,
    ) -> Result<Result<(), Heard>, NotSent> {
        let _turn = self.sending.lock().await;
        if self.last(digest) != last {
            return Ok(Ok(()));
        }
        let stored =
            app.store.artifact(digest).await.map_err(|error| NotSent::Ours(error.into()))?;
        let missing = || NotSent::Ours(crate::app::artifact_missing(digest));
        let (meta, bytes) = stored.ok_or_else(missing)?;
        let put = client.put_artifact(digest, meta.language, bytes).await;
        let heard = put.map_err(NotSent::NoAnswer)?;
        if !heard.status.is_success() {
            return Ok(Err(heard));
        }
        app.metrics.artifact_sent();
        self.keep(digest, Sending(last.0.wrapping_add(1)));
        Ok(Ok(()))
    }
}

/// Why an artifact was not sent.
pub enum NotSent {
    /// It is not to be had here.
    Ours(Problem),
    /// The upstream does not answer.
    NoAnswer(NoAnswer),
}
