//! Counters by outcome.

use metrics::Counter;
use runabout_protocol::Outcome;

/// One counter for each outcome.
pub(super) struct Outcomes {
    pub(super) returned: Counter,
    pub(super) threw: Counter,
    pub(super) timed_out: Counter,
    pub(super) out_of_memory: Counter,
    pub(super) cancelled: Counter,
    pub(super) lost: Counter,
}

impl Outcomes {
    pub(super) fn new(name: &'static str) -> Self {
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

    pub(super) fn of(&self, outcome: &Outcome) -> &Counter {
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
