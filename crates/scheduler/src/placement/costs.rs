//! What runs of one function with arguments of one class have cost on one side.

use super::estimate::{Estimate, Seen};

/// What was given up after some time is expected to take so many times as long: the other side had
/// won by then, and by how much is not known.
const UNSEEN: f64 = 1.5;

/// A run as it was seen.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// From its beginning to its end, in milliseconds.
    pub wall_ms: f64,
    /// Of the processor, in milliseconds; `None` where it was not measured.
    pub cpu_ms: Option<f64>,
}

/// What is known of runs on one side. Time on the processor and time spent waiting are kept apart:
/// only the first grows with the number of runs that compete for it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Costs {
    busy: Estimate,
    idle: Estimate,
}

/// What a run is expected to take when it has a processor for itself, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Forecast {
    pub(super) busy_ms: f64,
    pub(super) idle_ms: f64,
    pub(super) spread_ms: f64,
    pub(super) basis: Basis,
}

/// Where a forecast comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Basis {
    /// Runs of this class, there.
    Measured,
    /// Runs of other classes, or elsewhere.
    Likened,
}

impl Forecast {
    pub(super) fn run_ms(&self) -> f64 {
        self.busy_ms + self.idle_ms
    }

    /// The same at another pace of the processor.
    pub(super) fn paced(self, pace: f64) -> Self {
        Self {
            busy_ms: self.busy_ms * pace,
            spread_ms: self.spread_ms * pace,
            basis: Basis::Likened,
            ..self
        }
    }
}

impl Costs {
    pub(super) fn forecast(&self) -> Option<Forecast> {
        let busy_ms = self.busy.mean()?;
        let (unseen, basis) =
            if self.busy.is_bound() { (UNSEEN, Basis::Likened) } else { (1.0, Basis::Measured) };
        Some(Forecast {
            busy_ms: busy_ms * unseen,
            idle_ms: self.idle.mean().unwrap_or(0.0),
            spread_ms: self.busy.spread() + self.idle.spread(),
            basis,
        })
    }

    pub(super) fn samples(&self) -> u32 {
        self.busy.samples()
    }

    /// Learns from a run. `alone` says that it did not have to share a processor.
    pub(super) fn see(&mut self, run: Run, alone: bool) -> Seen {
        let cpu_ms = run.cpu_ms.unwrap_or(run.wall_ms).min(run.wall_ms);
        let waited_ms = run.wall_ms - cpu_ms;
        // Among others, a run also waits for its turn, which is no property of the function.
        let idle_ms =
            if alone { waited_ms } else { self.idle.mean().unwrap_or(0.0).min(waited_ms) };
        self.idle.see(idle_ms);
        self.busy.see(cpu_ms)
    }

    /// Learns from a run that was given up after this long.
    pub(super) fn see_at_least(&mut self, busy_ms: f64) -> Seen {
        let idle_ms = self.idle.mean().unwrap_or(0.0);
        self.busy.see_at_least((busy_ms - idle_ms).max(0.0))
    }
}
