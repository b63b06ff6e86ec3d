//! What requests count: calls, where they ran, and documents that are read; and the page that shows
//! it with all else.

use std::time::Duration;

use metrics::{Counter, Histogram};
use metrics_exporter_prometheus::PrometheusHandle;
use runabout_protocol::{Outcome, Usage};

use super::outcomes::Outcomes;
use super::standing::{Moment, Standing};
use super::table::{
    ARTIFACTS_SENT, ATTEMPTS_HANDED, BUILD, CALL_SECONDS, CALLS, DOCUMENT_READS, HANDED,
    HANDED_SECONDS, LOOPS, PLACED, RACES, RUN_BYTES, RUN_SECONDS,
};
use super::{cleared_up, float, handle, sandbox_starts};
use crate::codes::Code;
use crate::upstream::Reply;

/// What requests count, and the page.
pub struct Metrics {
    calls: Outcomes,
    call_seconds: Histogram,
    run_seconds: Histogram,
    run_bytes: Histogram,
    handed_seconds: Histogram,
    loops: Counter,
    artifacts_sent: Counter,
    sandbox_starts: Counter,
    document_reads: Counter,
    /// What is looked at when the page is read.
    standing: Standing,
}

impl Metrics {
    /// Makes the handles.
    pub fn new() -> Self {
        metrics::gauge!(BUILD, "version" => crate::VERSION).set(1.0);
        metrics::counter!(PLACED, "place" => "here", "reason" => "faster").increment(0);
        for won in ["here", "upstream"] {
            metrics::counter!(RACES, "won" => won).increment(0);
        }
        metrics::counter!(HANDED, "result" => "answered").increment(0);
        metrics::counter!(ATTEMPTS_HANDED, "result" => "ended").increment(0);
        for what in crate::janitor::REMOVES {
            cleared_up(what).increment(0);
        }
        Self {
            document_reads: metrics::counter!(DOCUMENT_READS),
            calls: Outcomes::new(CALLS),
            call_seconds: metrics::histogram!(CALL_SECONDS),
            run_seconds: metrics::histogram!(RUN_SECONDS),
            run_bytes: metrics::histogram!(RUN_BYTES),
            handed_seconds: metrics::histogram!(HANDED_SECONDS),
            loops: metrics::counter!(LOOPS),
            artifacts_sent: metrics::counter!(ARTIFACTS_SENT),
            sandbox_starts: sandbox_starts(),
            standing: Standing::new(),
        }
    }

    /// Counts a document that is read.
    pub fn document_read(&self) {
        self.document_reads.increment(1);
    }

    /// Counts a call that is about to run.
    pub fn call_starts(&self) {
        self.sandbox_starts.increment(1);
    }

    /// Counts a call that ended.
    pub fn call_ended(&self, outcome: &Outcome, usage: &Usage, total: Duration) {
        self.calls.of(outcome).increment(1);
        self.call_seconds.record(total);
        self.run_seconds.record(usage.wall_ms / 1000.0);
        if let Some(bytes) = usage.memory_peak_bytes {
            self.run_bytes.record(float(bytes));
        }
    }

    /// Counts a call by where it ran and why.
    pub fn placed(&self, place: &'static str, reason: &'static str) {
        metrics::counter!(PLACED, "place" => place, "reason" => reason).increment(1);
    }

    /// Counts a call that ran on both sides.
    pub fn raced(&self, won: &'static str) {
        metrics::counter!(RACES, "won" => won).increment(1);
    }

    /// Counts what came of a call that was handed upstream.
    pub fn handed(&self, reply: &Reply, took: Duration) {
        let result = match reply {
            Reply::Answered(_) => "answered",
            Reply::NotBegun(why) => why.word(),
            Reply::Lost(_) => "lost",
            Reply::Exhausted(_) => "out_of_memory",
        };
        metrics::counter!(HANDED, "result" => result).increment(1);
        if let Reply::Answered(_) = reply {
            self.handed_seconds.record(took);
        }
    }

    /// Counts what came of an attempt of a task that was handed upstream.
    pub fn attempt_handed(&self, result: &'static str) {
        metrics::counter!(ATTEMPTS_HANDED, "result" => result).increment(1);
    }

    /// Counts a call that the upstream has answered.
    pub fn call_answered(&self, code: Option<Code>, total: Duration) {
        let counter = match code {
            None => &self.calls.returned,
            Some(Code::FunctionThrew) => &self.calls.threw,
            Some(Code::TimedOut) => &self.calls.timed_out,
            Some(Code::OutOfMemory) => &self.calls.out_of_memory,
            // It was not run.
            Some(_) => return,
        };
        counter.increment(1);
        self.call_seconds.record(total);
    }

    /// Counts an artifact that was sent upstream.
    pub fn artifact_sent(&self) {
        self.artifacts_sent.increment(1);
    }

    /// Counts a call that was refused because it had been here before.
    pub fn looped(&self) {
        self.loops.increment(1);
    }

    /// The page that Prometheus reads.
    pub fn page(&self, moment: &Moment) -> String {
        self.standing.show(moment);
        handle().map(PrometheusHandle::render).unwrap_or_default()
    }

    /// Gathers samples; without it they pile up in memory until somebody reads the page.
    pub fn upkeep(&self) {
        if let Some(page) = handle() {
            page.run_upkeep();
        }
    }
}
