//! How the node stands when the page is read: gauges, and counters that count elsewhere.

use metrics::{Counter, Gauge};
use runabout_documents::Counted;

use super::float;
use super::table::{
    CALLS_RUNNING, CALLS_WAITING, COMPUTE_WAITING, DOCUMENT_BYTES, DOCUMENT_CONFLICTS,
    DOCUMENT_MERGES, DOCUMENT_REVISIONS, DOCUMENT_STREAMS, DOCUMENT_SYNCS, DOCUMENTS, EVENT_BYTES,
    EVENT_STREAMS, OPEN_FDS, REACHABLE, RESIDENT_BYTES, SANDBOX_BYTES, SESSIONS, SLOTS,
    STORE_WRITABLE, TASKS_QUEUED, TASKS_RUNNING, WAITS,
};
use crate::app::App;
use crate::engine::Counts;
use crate::events::Load;

/// What is looked at when the page is read.
pub struct Moment {
    counts: Counts,
    calls: (usize, usize),
    sandbox_bytes: u64,
    waits: usize,
    events: Load,
    is_writable: bool,
    documents: (usize, usize),
    document_streams: usize,
    compute_waiting: usize,
    counted: Counted,
    is_upstream_reachable: bool,
}

impl Moment {
    /// How it stands now.
    pub fn of(app: &App) -> Self {
        Self {
            counts: app.engine.counts(),
            calls: app.gate.load(),
            sandbox_bytes: app.sandbox.memory_used_bytes(),
            waits: app.waiting(),
            events: app.engine.events().load(),
            is_upstream_reachable: app.upstream.as_ref().is_some_and(|it| it.is_reachable()),
            is_writable: app.is_writable(),
            documents: app.documents.load(),
            document_streams: app.document_streams(),
            compute_waiting: app.computes.waiting(),
            counted: app.documents.counted(),
        }
    }
}

/// What a counter shows that counts elsewhere.
type Count = fn(&Counted) -> u64;

/// What a gauge shows, if it is known.
type Reading = fn(&Moment) -> Option<u64>;

/// What is read off a [`Moment`].
pub(super) struct Standing {
    counters: [(Counter, Count); 4],
    gauges: Vec<(Gauge, Reading)>,
}

impl Standing {
    /// Makes the handles.
    pub(super) fn new() -> Self {
        let gauges: [(_, Reading); 18] = [
            (CALLS_RUNNING, |it| Some(it.calls.0 as u64)),
            (CALLS_WAITING, |it| Some(it.calls.1 as u64)),
            (REACHABLE, |it| Some(it.is_upstream_reachable.into())),
            (TASKS_QUEUED, |it| Some(it.counts.queued)),
            (TASKS_RUNNING, |it| Some(it.counts.running)),
            (SLOTS, |it| Some(it.counts.slots)),
            (SESSIONS, |it| Some(it.counts.sessions)),
            (STORE_WRITABLE, |it| Some(it.is_writable.into())),
            (SANDBOX_BYTES, |it| Some(it.sandbox_bytes)),
            (WAITS, |it| Some(it.waits as u64)),
            (EVENT_STREAMS, |it| Some(it.events.streams as u64)),
            (EVENT_BYTES, |it| Some(it.events.bytes as u64)),
            (DOCUMENTS, |it| Some(it.documents.0 as u64)),
            (DOCUMENT_BYTES, |it| Some(it.documents.1 as u64)),
            (COMPUTE_WAITING, |it| Some(it.compute_waiting as u64)),
            (DOCUMENT_STREAMS, |it| Some(it.document_streams as u64)),
            (RESIDENT_BYTES, |_| resident_bytes()),
            (OPEN_FDS, |_| open_fds()),
        ];
        let counters: [(_, Count); 4] = [
            (DOCUMENT_REVISIONS, |it| it.revisions),
            (DOCUMENT_MERGES, |it| it.merges),
            (DOCUMENT_CONFLICTS, |it| it.conflicts),
            (DOCUMENT_SYNCS, |it| it.syncs),
        ];
        Self {
            counters: counters.map(|(name, count)| (metrics::counter!(name), count)),
            gauges: gauges.map(|(name, value)| (metrics::gauge!(name), value)).into(),
        }
    }

    /// Has the page show a moment.
    pub(super) fn show(&self, moment: &Moment) {
        for (gauge, value) in &self.gauges {
            if let Some(value) = value(moment) {
                gauge.set(float(value));
            }
        }
        for (counter, count) in &self.counters {
            counter.absolute(count(&moment.counted));
        }
    }
}

/// The process's memory that is resident, where the system tells; in kilobytes, says Linux.
pub fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

fn open_fds() -> Option<u64> {
    Some(std::fs::read_dir("/proc/self/fd").ok()?.count() as u64)
}
