//! What the node counts, and the page that Prometheus reads. Handles are made once: a call only
//! touches atomics.

use std::sync::OnceLock;
use std::time::Duration;

use metrics::{
    Counter, Gauge, Histogram, Unit, describe_counter, describe_gauge, describe_histogram,
};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use runabout_protocol::{Outcome, Usage};

use crate::engine::Counts;

/// Seconds; from a warm Wasm call to a task that fills its limit.
const SECONDS: &[f64] =
    &[0.000_1, 0.000_3, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0];
/// Bytes; from a small module to the largest run.
const BYTES: &[f64] = &[1e5, 1e6, 4e6, 1.6e7, 6.4e7, 2.56e8, 1.024e9];
/// How often samples are gathered into buckets when nobody reads the page.
pub const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// One recorder for a process, however many nodes it runs: that is how the `metrics` crate works.
static RECORDER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// The node's counters.
pub struct Metrics {
    page: Option<PrometheusHandle>,
    calls: Outcomes,
    call_seconds: Histogram,
    run_seconds: Histogram,
    run_bytes: Histogram,
    queued: Gauge,
    running: Gauge,
    slots: Gauge,
    sandbox_bytes: Gauge,
}

struct Outcomes {
    returned: Counter,
    threw: Counter,
    timed_out: Counter,
    out_of_memory: Counter,
    cancelled: Counter,
    lost: Counter,
}

impl Outcomes {
    fn new(name: &'static str) -> Self {
        let counter = |outcome: &'static str| metrics::counter!(name, "outcome" => outcome);
        Self {
            returned: counter("returned"),
            threw: counter("threw"),
            timed_out: counter("timed_out"),
            out_of_memory: counter("out_of_memory"),
            cancelled: counter("cancelled"),
            lost: counter("lost"),
        }
    }

    fn of(&self, outcome: &Outcome) -> &Counter {
        match outcome {
            Outcome::Returned(_) => &self.returned,
            Outcome::Threw(_) => &self.threw,
            Outcome::TimedOut { .. } => &self.timed_out,
            Outcome::OutOfMemory { .. } => &self.out_of_memory,
            Outcome::Cancelled => &self.cancelled,
            Outcome::Lost { .. } => &self.lost,
        }
    }
}

impl Metrics {
    /// Installs the recorder, if none is, and makes the handles.
    pub fn new() -> Self {
        let page = RECORDER.get_or_init(install).clone();
        describe_counter!("runabout_calls_total", "Calls that ended, by outcome");
        describe_histogram!("runabout_call_seconds", Unit::Seconds, "Calls, from head to answer");
        describe_histogram!("runabout_run_seconds", Unit::Seconds, "Runs of calls, wall clock");
        describe_histogram!("runabout_run_memory_bytes", Unit::Bytes, "Peak memory of calls' runs");
        describe_gauge!("runabout_tasks_queued", "Tasks that wait");
        describe_gauge!("runabout_tasks_running", "Tasks with an attempt under way");
        describe_gauge!(
            "runabout_sandbox_memory_bytes",
            Unit::Bytes,
            "What all runs hold at this moment"
        );
        describe_gauge!("runabout_slots", "Slots of all workers");
        Self {
            page,
            calls: Outcomes::new("runabout_calls_total"),
            call_seconds: metrics::histogram!("runabout_call_seconds"),
            run_seconds: metrics::histogram!("runabout_run_seconds"),
            run_bytes: metrics::histogram!("runabout_run_memory_bytes"),
            queued: metrics::gauge!("runabout_tasks_queued"),
            running: metrics::gauge!("runabout_tasks_running"),
            slots: metrics::gauge!("runabout_slots"),
            sandbox_bytes: metrics::gauge!("runabout_sandbox_memory_bytes"),
        }
    }

    /// Counts a call that ended.
    pub fn call_ended(&self, outcome: &Outcome, usage: &Usage, total: Duration) {
        self.calls.of(outcome).increment(1);
        self.call_seconds.record(total);
        self.run_seconds.record(usage.wall_ms / 1000.0);
        if let Some(bytes) = usage.memory_peak_bytes {
            #[expect(clippy::cast_precision_loss, reason = "a histogram's buckets are coarse")]
            self.run_bytes.record(bytes as f64);
        }
    }

    /// The page that Prometheus reads.
    #[expect(clippy::cast_precision_loss, reason = "no node counts 2^53 of anything")]
    pub fn page(&self, counts: Counts, sandbox_bytes: u64) -> String {
        self.queued.set(counts.queued as f64);
        self.running.set(counts.running as f64);
        self.slots.set(counts.slots as f64);
        self.sandbox_bytes.set(sandbox_bytes as f64);
        self.page.as_ref().map(PrometheusHandle::render).unwrap_or_default()
    }

    /// Gathers samples; without it they pile up in memory until somebody reads the page.
    pub fn upkeep(&self) {
        if let Some(page) = &self.page {
            page.run_upkeep();
        }
    }
}

/// `None` if the process has a recorder of its own already; then that one shows our metrics.
fn install() -> Option<PrometheusHandle> {
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)
        .and_then(|builder| {
            builder.set_buckets_for_metric(Matcher::Suffix("_bytes".to_owned()), BYTES)
        });
    builder
        .and_then(PrometheusBuilder::install_recorder)
        .inspect_err(|error| tracing::warn!(%error, "failed to install the metrics recorder"))
        .ok()
}
