//! Sessions of workers: whoever connects to `/v1/work`, says what it can run and is given attempts.
//! Holds them to their bounds and to the protocol; what they are given, and what becomes of what
//! they say, is for the engine.

pub mod claims;
mod hello;
mod pulse;
mod session;

pub use session::{Caller, serve};

use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use metrics::Counter;
use runabout_protocol::{Limits, WorkerToServer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use crate::guards::Token;
use crate::metrics::FramesIgnored;

/// What becomes of a frame, without a session: as hello, and as a claim about an attempt that was
/// sent.
pub fn examine(frame: WorkerToServer) {
    if let WorkerToServer::Hello(hello) = frame {
        let caller = Caller { is_page: false, has_shown_token: false };
        // Whether it may join is not the question.
        drop(hello::admit(hello, caller, None));
        return;
    }
    let now = std::time::Instant::now();
    let mut claims = claims::Claims::default();
    if let Some(attempt) = frame.attempt() {
        claims.holds(attempt, Limits::default(), now);
    }
    claims.said(frame, now);
}

/// Sessions at once; more are refused.
const SESSIONS_MAX: usize = 512;

/// Sessions whose hello is being read at once: anybody may say it, in a message of the largest size.
/// Further ones wait unread.
const HELLOS_MAX: usize = 32;

/// What all sessions together may have said and the engine not heard, in KiB; whoever says more
/// waits to say it. Several frames of the largest size.
const UNHEARD_KIB_MAX: usize = 64 << 10;

/// How long sessions may take to say goodbye when the node stops.
const FAREWELLS_TIME_MAX: Duration = Duration::from_secs(2);

/// How often a worker is asked whether it is there, unless the settings say otherwise.
pub const PING_EVERY: Duration = Duration::from_secs(5);

/// What all sessions have in common.
pub struct Workers {
    ping_every: Duration,
    token: Option<Token>,
    places: Arc<Semaphore>,
    door: Semaphore,
    unheard: Arc<Semaphore>,
    running: TaskTracker,
    ignored: FramesIgnored,
    begun: Counter,
}

impl Workers {
    /// No session yet.
    pub fn new(ping_every: Duration, token: Option<Token>) -> Self {
        Self {
            ping_every,
            token,
            places: Arc::new(Semaphore::new(SESSIONS_MAX)),
            door: Semaphore::new(HELLOS_MAX),
            unheard: Arc::new(Semaphore::new(UNHEARD_KIB_MAX)),
            running: TaskTracker::new(),
            ignored: FramesIgnored::new(),
            begun: crate::metrics::sessions_begun(),
        }
    }

    /// Whether a request's head shows the token already, as that of a program can.
    pub fn has_shown_token(&self, headers: &HeaderMap) -> bool {
        self.token.as_ref().is_some_and(|token| token.is_shown_in(headers))
    }

    /// A place for a session, if there is one left.
    pub fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    /// Makes a session one that the node waits for when it stops.
    pub fn track<F: Future>(&self, session: F) -> impl Future<Output = F::Output> + use<F> {
        self.running.track_future(session)
    }

    /// Waits until all sessions are over. The engine has told them to end.
    pub async fn end(&self) {
        self.running.close();
        if timeout(FAREWELLS_TIME_MAX, self.running.wait()).await.is_err() {
            tracing::warn!("workers did not take the node's goodbye in time");
        }
    }

    /// Waits until there is room for a frame of that size.
    pub async fn room(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let kib = (bytes >> 10).saturating_add(1).min(UNHEARD_KIB_MAX);
        let kib = u32::try_from(kib).unwrap_or(u32::MAX);
        // It is never closed.
        Arc::clone(&self.unheard).acquire_many_owned(kib).await.ok()
    }
}
