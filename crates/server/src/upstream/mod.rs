//! The node behind this one: what is known of it, what is under way there, and how a call is handed
//! to it. Decides nothing about where a call runs: that is the scheduler's placement, held here
//! with the clock that it is told.

mod artifacts;
mod attempt;
mod client;
mod frames;
mod handing;
mod load;
mod member;
mod probe;
mod reply;
mod room;
mod timing;
mod via;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::HeaderName;
use parking_lot::Mutex;
use runabout_protocol::{Digest, Limits};
use runabout_scheduler::placement::{
    Class, End, Key, Learned, Placement, Plan, Question, Side, Ticket,
};
use tokio::sync::{Notify, Semaphore, watch};

pub use attempt::{Ended, Handover, Listener};
pub use frames::{FRAMES_TYPE, RUN_TYPE, lines};
pub use handing::{Handed, Handing};
pub use load::{LOAD, NodeLoad};
pub use member::keep_working;
pub use probe::keep_probing;
pub use reply::{Answer, NotBegun, Reply};
pub use timing::{SERVER_TIMING, phase, server_timing};
pub use via::Via;

use crate::Error;
use crate::app::App;
use artifacts::Artifacts;
use client::Upstreamer;

/// The node a call ran on.
pub const RAN_ON: HeaderName = HeaderName::from_static("runabout-ran-on");
/// Why it ran there.
pub const PLACEMENT: HeaderName = HeaderName::from_static("runabout-placement");
/// `0` from a node whose call may run only once.
pub const PURE: HeaderName = HeaderName::from_static("runabout-pure");
/// A request with `1` gets the call's last lines of output in [`LOGS`].
pub const WANT_LOGS: HeaderName = HeaderName::from_static("runabout-want-logs");
/// The last lines, a JSON array of `{stream, text}`, as base64.
pub const LOGS: HeaderName = HeaderName::from_static("runabout-logs");
/// `1` if there were lines before those in [`LOGS`].
pub const LOGS_CUT: HeaderName = HeaderName::from_static("runabout-logs-cut");

/// Calls under way upstream at once; further ones run here. Fewer than the 256 that a connection has
/// room for: probes and artifacts need some of it too.
const CALLS_MAX: usize = 240;

/// How the upstream is reached.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Where it is: `http://far.example:7878`.
    pub url: String,
    /// The token that it wants.
    pub token: Option<String>,
}

/// The node behind this one.
pub struct Upstream {
    client: Upstreamer,
    placement: Mutex<Placement>,
    /// What the placement's clock counts from.
    began: Instant,
    artifacts: Artifacts,
    /// What it grants, as far as it has said.
    maximum: Mutex<Limits>,
    turns: Arc<Semaphore>,
    /// Told when it cannot be reached.
    unreachable: Notify,
    /// Why it could not be reached last.
    trouble: Mutex<Option<String>>,
    /// What whoever hands it tasks goes by.
    standing: watch::Sender<Standing>,
}

/// What is known of the upstream as a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Standing {
    is_reachable: bool,
    /// Its processors; 0 until it has said.
    processors: u32,
    /// What it calls itself; its address until it has said.
    name: String,
}

/// What is known of the upstream at one moment.
pub struct Knowledge {
    /// What has been learned.
    pub learned: Learned,
    /// For how long it could not be reached; `None` if it can.
    pub unreachable_for: Option<Duration>,
    /// How often it became unreachable.
    pub times_unreachable: u64,
    /// Why, the last time.
    pub trouble: Option<String>,
}

impl Upstream {
    /// Gets ready; asks nothing yet.
    ///
    /// # Errors
    /// The URL or the token cannot be used.
    pub fn new(setup: &Setup, processors: u32) -> Result<Self, Error> {
        let client = Upstreamer::new(setup)?;
        let name = client.authority().to_owned();
        Ok(Self {
            standing: watch::Sender::new(Standing { is_reachable: true, processors: 0, name }),
            client,
            placement: Mutex::new(Placement::new(processors)),
            began: Instant::now(),
            artifacts: Artifacts::default(),
            maximum: Mutex::new(UNBOUNDED),
            turns: Arc::new(Semaphore::new(CALLS_MAX)),
            unreachable: Notify::new(),
            trouble: Mutex::new(None),
        })
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        self.client.url()
    }

    /// Where a call should run.
    pub fn plan(&self, question: &Question<'_>) -> Plan {
        self.placement.lock().decide(self.now(), question)
    }

    /// Whether it is believed to grant these limits.
    pub fn grants(&self, limits: Limits) -> bool {
        let maximum = *self.maximum.lock();
        limits.timeout_ms <= maximum.timeout_ms
            && limits.cpu_ms <= maximum.cpu_ms
            && limits.memory_bytes <= maximum.memory_bytes
    }

    /// Whether a run on the other side should be started on this one too.
    pub fn may_join(&self, side: Side) -> bool {
        self.placement.lock().may_join(self.now(), side)
    }

    /// Whether it is known to have an artifact.
    pub fn has(&self, digest: Digest) -> bool {
        self.artifacts.is_known(digest)
    }

    /// How many bytes of an artifact have to be sent before a call of it can run there.
    pub async fn artifact_bytes(&self, app: &App, digest: Digest) -> u64 {
        self.artifacts.bytes_to_send(app, digest).await
    }

    /// A run begins on that side.
    pub fn begin<'a>(&'a self, side: Side, key: &'a Key, class: Class) -> Underway<'a> {
        let ticket = self.placement.lock().begin(self.now(), side, key, class);
        Underway { upstream: self, side, ticket, key, class, has_ended: false }
    }

    /// Whether calls are handed to it.
    pub fn is_reachable(&self) -> bool {
        self.placement.lock().breaker().is_closed()
    }

    /// What is known of it, and of the functions asked for last.
    pub fn knowledge(&self, functions_max: usize) -> Knowledge {
        let placement = self.placement.lock();
        let breaker = placement.breaker();
        let now = self.now();
        Knowledge {
            learned: placement.learned(functions_max),
            unreachable_for: breaker.open_since().map(|since| now.saturating_sub(since)),
            times_unreachable: breaker.opened(),
            trouble: self.trouble.lock().clone(),
        }
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn answered(&self, load: Option<NodeLoad>) {
        let mut placement = self.placement.lock();
        let is_back = placement.reachable();
        if let Some(load) = load {
            placement.hear(self.now(), load.processors, load.running);
        }
        drop(placement);
        self.stands(|standing| {
            standing.is_reachable = true;
            standing.processors = load.map_or(standing.processors, |load| load.processors);
        });
        if is_back {
            // It may have been started anew, with other maxima.
            *self.maximum.lock() = UNBOUNDED;
            tracing::info!(upstream = self.url(), "the upstream is back");
        }
    }

    fn stands(&self, change: impl FnOnce(&mut Standing)) {
        self.standing.send_if_modified(|standing| {
            let before = standing.clone();
            change(standing);
            *standing != before
        });
    }

    fn failed(&self, why: &str) {
        *self.trouble.lock() = Some(why.to_owned());
        self.stands(|standing| standing.is_reachable = false);
        if self.placement.lock().unreachable(self.now()) {
            tracing::warn!(upstream = self.url(), why, "the upstream is not asked for now");
            self.unreachable.notify_one();
        }
    }

    fn lower_maximum(&self, field: &str, most: u64) {
        let mut maximum = self.maximum.lock();
        match field {
            "timeout_ms" => maximum.timeout_ms = most,
            "cpu_ms" => maximum.cpu_ms = most,
            "memory_bytes" => maximum.memory_bytes = most,
            _ => {}
        }
    }
}

const UNBOUNDED: Limits = Limits { timeout_ms: u64::MAX, cpu_ms: u64::MAX, memory_bytes: u64::MAX };

/// A run under way on one side. Dropping it ends it without anything learned.
pub struct Underway<'a> {
    upstream: &'a Upstream,
    side: Side,
    ticket: Ticket,
    key: &'a Key,
    class: Class,
    has_ended: bool,
}

impl Underway<'_> {
    /// It has ended.
    pub fn end(mut self, end: End) {
        self.tell(end);
    }

    fn tell(&mut self, end: End) {
        self.has_ended = true;
        let now = self.upstream.now();
        let what = (self.key, self.class);
        self.upstream.placement.lock().end(now, (self.side, self.ticket), what, end);
    }
}

impl Drop for Underway<'_> {
    fn drop(&mut self) {
        if !self.has_ended {
            self.tell(End::Nothing);
        }
    }
}
