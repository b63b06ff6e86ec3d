//! What the node counts, and the page that Prometheus reads. One table says what there is; handles
//! are made once, so that counting only touches atomics.

mod engine;
mod outcomes;
mod requests;
mod standing;
mod table;

use std::sync::OnceLock;
use std::time::Duration;

use metrics::Counter;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

pub use engine::{EngineMeasures, FramesIgnored, sessions_begun};
pub use requests::Metrics;
pub use standing::{Moment, resident_bytes};
use table::{CLEARED_UP, Kind, Metric, SANDBOX_STARTS, TABLE};

/// How often samples are gathered into buckets when nobody reads the page.
pub const UPKEEP_EVERY: Duration = Duration::from_secs(5);

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

/// Counts runs in the node's own sandbox.
pub fn sandbox_starts() -> Counter {
    metrics::counter!(SANDBOX_STARTS)
}

/// Counts what the janitor removes of one kind.
pub fn cleared_up(what: &'static str) -> Counter {
    metrics::counter!(CLEARED_UP, "what" => what)
}

fn handle() -> Option<&'static PrometheusHandle> {
    RECORDER.get().and_then(Option::as_ref)
}

#[expect(clippy::cast_precision_loss, reason = "no node counts 2^53 of anything")]
fn float(count: u64) -> f64 {
    count as f64
}

/// The table as the page `docs/metrics.md`.
pub fn markdown() -> String {
    let mut page = String::from(
        "<!-- Generated from crates/server/src/metrics/table.rs by `cargo xtask generate`; do not edit. -->\n\
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
    use super::table::Unit;
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
