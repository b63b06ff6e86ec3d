//! What the node counts, and the page that Prometheus reads. One table says what there is; handles
//! are made once, so that counting only touches atomics.

use std::sync::OnceLock;
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use runabout_documents::Counted;
use runabout_protocol::{Outcome, Usage};
use runabout_scheduler::Write as Decision;

use crate::app::App;
use crate::codes::Code;
use crate::engine::{Counts, Farewell};
use crate::events::Load;
use crate::upstream::Reply;

/// Seconds; from a warm Wasm call to a task that fills its limit.
const SECONDS: &[f64] =
    &[0.000_1, 0.000_3, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0];
/// Bytes; from a small module to the largest run.
const BYTES: &[f64] = &[1e5, 1e6, 4e6, 1.6e7, 6.4e7, 2.56e8, 1.024e9];
/// Things done together.
const COUNTS: &[f64] = &[1.0, 4.0, 16.0, 64.0, 256.0, 1_024.0, 4_096.0];
/// How often samples are gathered into buckets when nobody reads the page.
pub const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// What a metric is to Prometheus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Histogram(Unit),
}

/// What a histogram's samples are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Seconds,
    Bytes,
    Count,
}

impl Unit {
    fn buckets(self) -> &'static [f64] {
        match self {
            Self::Seconds => SECONDS,
            Self::Bytes => BYTES,
            Self::Count => COUNTS,
        }
    }
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

/// A row of the table: one thing that is counted or measured.
#[derive(Clone, Copy, Debug)]
struct Metric {
    name: &'static str,
    kind: Kind,
    /// Its labels, with commas.
    labels: &'static str,
    help: &'static str,
}

// A macro and not a function: each name stands once, as a constant and in the table.
macro_rules! metrics {
    ($($constant:ident = $name:literal, $kind:expr, $labels:literal, $help:literal;)*) => {
        $(const $constant: &str = $name;)*

        /// Every metric, in the order of the documentation.
        const TABLE: &[Metric] = &[$(
            Metric { name: $constant, kind: $kind, labels: $labels, help: $help },
        )*];
    };
}

use Kind::{Counter as COUNTER, Gauge as GAUGE};
const IN_SECONDS: Kind = Kind::Histogram(Unit::Seconds);
const IN_BYTES: Kind = Kind::Histogram(Unit::Bytes);
const IN_COUNTS: Kind = Kind::Histogram(Unit::Count);

metrics! {
    CALLS = "runabout_calls_total", COUNTER, "outcome", "Calls that ended, by outcome";
    CALL_SECONDS = "runabout_call_seconds", IN_SECONDS, "", "Calls, from head to answer";
    RUN_SECONDS = "runabout_run_seconds", IN_SECONDS, "", "Runs of calls, wall clock";
    RUN_BYTES = "runabout_run_memory_bytes", IN_BYTES, "", "Peak memory of calls' runs";
    CALLS_RUNNING = "runabout_calls_running", GAUGE, "", "Calls that run";
    CALLS_WAITING = "runabout_calls_waiting", GAUGE, "", "Calls that wait for their turn";
    PLACED = "runabout_placements_total", COUNTER, "place, reason",
        "Calls of a node with an upstream, by where they ran and why";
    RACES = "runabout_placement_races_total", COUNTER, "won",
        "Calls that ran here and upstream, by who was first";
    HANDED = "runabout_upstream_calls_total", COUNTER, "result",
        "Calls that were handed upstream, by what came of it";
    HANDED_SECONDS = "runabout_upstream_seconds", IN_SECONDS, "",
        "Calls that were answered upstream, from request to answer";
    ARTIFACTS_SENT = "runabout_artifacts_sent_total", COUNTER, "",
        "Artifacts that were sent upstream";
    LOOPS = "runabout_offload_loops_total", COUNTER, "",
        "Calls that were refused as they had been here before";
    REACHABLE = "runabout_upstream_reachable", GAUGE, "",
        "1 while the upstream can be reached, 0 while it cannot or there is none";
    SUBMITTED = "runabout_tasks_submitted_total", COUNTER, "", "Tasks that were submitted";
    TASKS = "runabout_task_outcomes_total", COUNTER, "outcome", "Tasks that ended, by outcome";
    ATTEMPTS = "runabout_attempts_total", COUNTER, "outcome", "Attempts that ended, by outcome";
    TASK_WAIT = "runabout_task_wait_seconds", IN_SECONDS, "",
        "From when a task could begin to when an attempt began";
    TASK_RUN = "runabout_task_run_seconds", IN_SECONDS, "", "Runs of attempts, wall clock";
    TASKS_QUEUED = "runabout_tasks_queued", GAUGE, "", "Tasks that wait";
    TASKS_RUNNING = "runabout_tasks_running", GAUGE, "", "Tasks with an attempt under way";
    SLOTS = "runabout_slots", GAUGE, "", "Slots of all workers";
    FRAMES_IGNORED = "runabout_frames_ignored_total", COUNTER, "why",
        "Frames of workers, or fields of them, that changed nothing";
    SESSIONS = "runabout_worker_sessions", GAUGE, "", "Workers beside the node itself";
    SESSIONS_BEGUN = "runabout_worker_sessions_total", COUNTER, "", "Sessions that began";
    SESSIONS_ENDED = "runabout_worker_sessions_ended_total", COUNTER, "why",
        "Sessions that ended, by whose doing";
    REDISPATCHED = "runabout_redispatched_total", COUNTER, "",
        "Attempts that did not end on their worker, and whose task went back to the queue";
    TURN_WRITES = "runabout_engine_turn_writes", IN_COUNTS, "",
        "Facts that the engine wrote together";
    COMMIT_SECONDS = "runabout_store_commit_seconds", IN_SECONDS, "",
        "Transactions of the store, fsync included";
    COMMIT_REQUESTS = "runabout_store_commit_requests", IN_COUNTS, "",
        "Requests that shared a transaction";
    STORE_WRITABLE = "runabout_store_writable", GAUGE, "",
        "1 while the store takes writes, 0 once writing has failed for good";
    CLEARED_UP = "runabout_cleared_up_total", COUNTER, "what",
        "Things that were removed because nothing needs them any more";
    SANDBOX_STARTS = "runabout_sandbox_starts_total", COUNTER, "",
        "Runs that were started in the node's own sandbox";
    SANDBOX_BYTES = "runabout_sandbox_memory_bytes", GAUGE, "",
        "What all runs hold at this moment";
    WAITS = "runabout_waits", GAUGE, "", "Requests that wait for a task's end";
    EVENT_STREAMS = "runabout_event_streams", GAUGE, "", "Streams of events that are open";
    EVENT_RESETS = "runabout_event_resets_total", COUNTER, "",
        "Streams of events that had to begin anew";
    EVENT_BYTES = "runabout_event_ring_bytes", GAUGE, "",
        "What is kept for streams of events to go on from, roughly";
    DOCUMENT_READS = "runabout_document_reads_total", COUNTER, "",
        "Times a document was read, those included that had not changed";
    DOCUMENT_REVISIONS = "runabout_document_revisions_total", COUNTER, "",
        "Revisions of documents that were accepted";
    DOCUMENT_MERGES = "runabout_document_merges_total", COUNTER, "",
        "Edits of documents that were merged with later ones";
    DOCUMENT_CONFLICTS = "runabout_document_conflicts_total", COUNTER, "",
        "Edits of documents that could not be";
    DOCUMENT_SYNCS = "runabout_document_syncs_total", COUNTER, "",
        "Files and folders synced to the disk for documents";
    DOCUMENTS = "runabout_documents", GAUGE, "", "Documents that there are";
    DOCUMENT_BYTES = "runabout_documents_memory_bytes", GAUGE, "",
        "What documents take in memory, compressed forms included";
    COMPUTE_WAITING = "runabout_compute_waiting", GAUGE, "",
        "Requests that wait for a shared computation";
    DOCUMENT_STREAMS = "runabout_document_event_streams", GAUGE, "",
        "Streams of documents' events that are open";
    BUILD = "runabout_build_info", GAUGE, "version", "Always 1; the label tells the version";
    RESIDENT_BYTES = "process_resident_memory_bytes", GAUGE, "",
        "Memory of the process that is in RAM (Linux)";
    OPEN_FDS = "process_open_fds", GAUGE, "", "File descriptors that are open (Linux)";
}

/// One recorder for a process, however many nodes it runs: that is how the `metrics` crate works.
static RECORDER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// Installs the recorder, if none is. Handles count only if they were made after it.
pub fn install() {
    RECORDER.get_or_init(|| {
        let installed = recorder().inspect_err(|error| {
            // The process has one of its own; then that one shows our metrics.
            tracing::warn!(%error, "failed to install the metrics recorder");
        });
        describe();
        installed.ok()
    });
}

fn recorder() -> Result<PrometheusHandle, BuildError> {
    let mut builder = PrometheusBuilder::new();
    for metric in TABLE {
        if let Kind::Histogram(unit) = metric.kind {
            let name = Matcher::Full(metric.name.to_owned());
            builder = builder.set_buckets_for_metric(name, unit.buckets())?;
        }
    }
    builder.install_recorder()
}

fn describe() {
    for Metric { name, kind, help, .. } in TABLE {
        match kind {
            Kind::Counter => metrics::describe_counter!(*name, *help),
            Kind::Gauge => metrics::describe_gauge!(*name, *help),
            Kind::Histogram(_) => metrics::describe_histogram!(*name, *help),
        }
    }
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

/// What the loop of tasks counts.
pub struct EngineMeasures {
    submitted: Counter,
    tasks: Outcomes,
    attempts: Outcomes,
    wait_seconds: Histogram,
    run_seconds: Histogram,
    frames_ignored: Counter,
    redispatched: Counter,
    left: Counter,
    disobeyed: Counter,
    too_slow: Counter,
    stopped: Counter,
    turn_writes: Histogram,
}

impl EngineMeasures {
    /// Makes the handles.
    pub fn new() -> Self {
        Self {
            submitted: metrics::counter!(SUBMITTED),
            tasks: Outcomes::new(TASKS),
            attempts: Outcomes::new(ATTEMPTS),
            wait_seconds: metrics::histogram!(TASK_WAIT),
            run_seconds: metrics::histogram!(TASK_RUN),
            frames_ignored: FramesIgnored::new().foreign,
            redispatched: metrics::counter!(REDISPATCHED),
            left: metrics::counter!(SESSIONS_ENDED, "why" => "left"),
            disobeyed: metrics::counter!(SESSIONS_ENDED, "why" => "disobeyed"),
            too_slow: metrics::counter!(SESSIONS_ENDED, "why" => "too_slow"),
            stopped: metrics::counter!(SESSIONS_ENDED, "why" => "stopping"),
            turn_writes: metrics::histogram!(TURN_WRITES),
        }
    }

    /// Counts tasks that were taken.
    pub fn submitted(&self, tasks: usize) {
        self.submitted.increment(tasks as u64);
    }

    /// Counts a frame that was not believed.
    pub fn frame_ignored(&self) {
        self.frames_ignored.increment(1);
    }

    /// Counts a session that is over.
    pub fn session_ended(&self, farewell: &Farewell) {
        match farewell {
            Farewell::Left(_) => &self.left,
            Farewell::Disobeyed => &self.disobeyed,
            Farewell::TooSlow => &self.too_slow,
            Farewell::Stopping => &self.stopped,
        }
        .increment(1);
    }

    /// Counts what is written in one turn.
    pub fn turn(&self, writes: usize) {
        self.turn_writes.record(float(writes as u64));
    }

    /// Counts what the scheduler has decided in one step.
    pub fn decided(&self, decisions: &[Decision]) {
        let mut latest = None;
        for decision in decisions {
            match decision {
                Decision::AttemptBegan { at, ready_at, .. } => {
                    self.wait_seconds
                        .record(Duration::from_millis(at.0.saturating_sub(ready_at.0)));
                }
                Decision::AttemptEnded { outcome, usage, .. } => {
                    latest = outcome.as_ref();
                    if let Some(outcome) = outcome {
                        self.attempts.of(outcome).increment(1);
                    }
                    if let Some(usage) = usage {
                        self.run_seconds.record(usage.wall_ms / 1000.0);
                    }
                }
                Decision::TaskEnded { outcome, .. } => {
                    if let Some(outcome) = outcome.as_ref().or(latest) {
                        self.tasks.of(outcome).increment(1);
                    }
                }
                Decision::TaskQueued { .. }
                    if matches!(latest, None | Some(Outcome::Lost { .. })) =>
                {
                    self.redispatched.increment(1);
                }
                Decision::TaskQueued { .. } | Decision::TaskDeleted(_) => {}
            }
        }
    }
}

/// What workers said and nobody heeded.
pub struct FramesIgnored {
    /// About an attempt that the session does not hold, or no answer to anything.
    pub foreign: Counter,
    /// About its attempt, and beyond all bounds.
    pub unfit: Counter,
    /// Of a type that is not known.
    pub unknown_type: Counter,
    /// With a field that is not known, and otherwise heeded.
    pub unknown_field: Counter,
}

impl FramesIgnored {
    /// Makes the handles.
    pub fn new() -> Self {
        let counter = |why: &'static str| metrics::counter!(FRAMES_IGNORED, "why" => why);
        Self {
            foreign: counter("foreign"),
            unfit: counter("unfit"),
            unknown_type: counter("unknown_type"),
            unknown_field: counter("unknown_field"),
        }
    }
}

/// Counts sessions of workers that began.
pub fn sessions_begun() -> Counter {
    metrics::counter!(SESSIONS_BEGUN)
}

/// Counts runs in the node's own sandbox.
pub fn sandbox_starts() -> Counter {
    metrics::counter!(SANDBOX_STARTS)
}

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
    counters: [(Counter, Count); 4],
    gauges: Vec<(Gauge, Reading)>,
}

/// What a counter shows that counts elsewhere.
type Count = fn(&Counted) -> u64;

/// What a gauge shows, if it is known.
type Reading = fn(&Moment) -> Option<u64>;

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

impl Metrics {
    /// Makes the handles.
    pub fn new() -> Self {
        metrics::gauge!(BUILD, "version" => crate::VERSION).set(1.0);
        metrics::counter!(PLACED, "place" => "here", "reason" => "faster").increment(0);
        for won in ["here", "upstream"] {
            metrics::counter!(RACES, "won" => won).increment(0);
        }
        metrics::counter!(HANDED, "result" => "answered").increment(0);
        for what in crate::janitor::REMOVES {
            cleared_up(what).increment(0);
        }
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
            document_reads: metrics::counter!(DOCUMENT_READS),
            counters: counters.map(|(name, count)| (metrics::counter!(name), count)),
            calls: Outcomes::new(CALLS),
            call_seconds: metrics::histogram!(CALL_SECONDS),
            run_seconds: metrics::histogram!(RUN_SECONDS),
            run_bytes: metrics::histogram!(RUN_BYTES),
            handed_seconds: metrics::histogram!(HANDED_SECONDS),
            loops: metrics::counter!(LOOPS),
            artifacts_sent: metrics::counter!(ARTIFACTS_SENT),
            sandbox_starts: sandbox_starts(),
            gauges: gauges.map(|(name, value)| (metrics::gauge!(name), value)).into(),
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
        };
        metrics::counter!(HANDED, "result" => result).increment(1);
        if let Reply::Answered(_) = reply {
            self.handed_seconds.record(took);
        }
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
        for (gauge, value) in &self.gauges {
            if let Some(value) = value(moment) {
                gauge.set(float(value));
            }
        }
        for (counter, count) in &self.counters {
            counter.absolute(count(&moment.counted));
        }
        handle().map(PrometheusHandle::render).unwrap_or_default()
    }

    /// Gathers samples; without it they pile up in memory until somebody reads the page.
    pub fn upkeep(&self) {
        if let Some(page) = handle() {
            page.run_upkeep();
        }
    }
}

fn handle() -> Option<&'static PrometheusHandle> {
    RECORDER.get().and_then(Option::as_ref)
}

#[expect(clippy::cast_precision_loss, reason = "no node counts 2^53 of anything")]
fn float(count: u64) -> f64 {
    count as f64
}

/// Linux tells the sum of a process's mappings in kilobytes.
/// Counts what the janitor removes of one kind.
pub fn cleared_up(what: &'static str) -> Counter {
    metrics::counter!(CLEARED_UP, "what" => what)
}

/// The process's memory that is resident, where the system tells.
pub fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

fn open_fds() -> Option<u64> {
    Some(std::fs::read_dir("/proc/self/fd").ok()?.count() as u64)
}

/// The table as the page `docs/metrics.md`.
pub fn markdown() -> String {
    let mut page = String::from(
        "<!-- Generated from crates/server/src/metrics.rs by `cargo xtask generate`; do not edit. -->\n\
         # Metrics\n\n\
         `GET /metrics` is in Prometheus' text format. Histograms have `_bucket`, `_sum` and `_count`.\n\
         `outcome` is `returned`, `threw`, `timed_out`, `out_of_memory`, `cancelled` or `lost`.\n\n\
         | metric | type | labels | is |\n| --- | --- | --- | --- |\n",
    );
    for Metric { name, kind, labels, help } in TABLE {
        let labels = if labels.is_empty() { String::new() } else { format!("`{labels}`") };
        page.push_str(&format!("| `{name}` | {} | {labels} | {help} |\n", kind.word()));
    }
    page
}

#[cfg(test)]
pub use tests::is_held_to_the_table;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_conventions() {
        for Metric { name, kind, .. } in TABLE {
            assert_eq!(*kind == Kind::Counter, name.ends_with("_total"), "{name}");
            let unit = match kind {
                Kind::Histogram(Unit::Seconds) => "_seconds",
                Kind::Histogram(Unit::Bytes) => "_bytes",
                _ => "",
            };
            assert!(name.ends_with(unit), "{name}");
        }
        let names: std::collections::HashSet<_> = TABLE.iter().map(|it| it.name).collect();
        assert_eq!(names.len(), TABLE.len());
    }

    #[test]
    fn the_committed_page_is_up_to_date() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md");
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(committed == markdown(), "docs/metrics.md is old: run `cargo xtask generate`");
    }

    /// Every metric that a node shows is in the table, with what it says of it, and the other way
    /// round. The node is one of the contract's tests.
    pub fn is_held_to_the_table(page: &str) {
        let mut shown = Vec::new();
        for line in page.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
            let (name, kind) = line.split_once(' ').expect("NAME TYPE");
            let row = TABLE.iter().find(|row| row.name == name);
            let row = row.unwrap_or_else(|| panic!("{name} is not in the table"));
            assert_eq!(kind, row.kind.word(), "{name}");
            let help = format!("# HELP {name} {}", row.help);
            assert!(page.lines().any(|line| line == help), "{help}");
            shown.push(name);
        }
        for row in TABLE {
            assert!(shown.contains(&row.name), "{} is not shown", row.name);
        }
    }
}
