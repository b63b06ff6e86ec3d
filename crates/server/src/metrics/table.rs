//! The one table of metrics: what there is, of what kind, and what it says.

/// Seconds; from a warm Wasm call to a task that fills its limit.
const SECONDS: &[f64] =
    &[0.000_1, 0.000_3, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0];
/// Bytes; from a small module to the largest run.
const BYTES: &[f64] = &[1e5, 1e6, 4e6, 1.6e7, 6.4e7, 2.56e8, 1.024e9];
/// Things done together.
const COUNTS: &[f64] = &[1.0, 4.0, 16.0, 64.0, 256.0, 1_024.0, 4_096.0];

/// What a metric is to Prometheus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram(Unit),
}

/// What a histogram's samples are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Seconds,
    Bytes,
    Count,
}

impl Unit {
    pub(super) fn buckets(self) -> &'static [f64] {
        match self {
            Self::Seconds => SECONDS,
            Self::Bytes => BYTES,
            Self::Count => COUNTS,
        }
    }
}

impl Kind {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

/// A row of the table: one thing that is counted or measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Metric {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// Its labels, with commas.
    pub(super) labels: &'static str,
    pub(super) help: &'static str,
}

// A macro and not a function: each name stands once, as a constant and in the table.
macro_rules! metrics {
    ($($constant:ident = $name:literal, $kind:expr, $labels:literal, $help:literal;)*) => {
        $(pub(super) const $constant: &str = $name;)*

        /// Every metric, in the order of the documentation.
        pub(super) const TABLE: &[Metric] = &[$(
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
    ATTEMPTS_HANDED = "runabout_upstream_attempts_total", COUNTER, "result",
        "Attempts of tasks that were handed upstream, by what came of it";
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
        "Requests that wait for a shared or cached computation";
    DOCUMENT_STREAMS = "runabout_document_event_streams", GAUGE, "",
        "Streams of documents' events that are open";
    BUILD = "runabout_build_info", GAUGE, "version", "Always 1; the label tells the version";
    RESIDENT_BYTES = "process_resident_memory_bytes", GAUGE, "",
        "Memory of the process that is in RAM (Linux)";
    OPEN_FDS = "process_open_fds", GAUGE, "", "File descriptors that are open (Linux)";
}
