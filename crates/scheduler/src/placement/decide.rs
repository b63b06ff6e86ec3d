//! The decision itself.

use std::time::Duration;

use super::class::Class;
use super::costs::{Basis, Forecast};
use super::{Key, Placement, Side};

/// The upstream must be expected to finish by this much sooner: what is nearly equal runs here.
const ADVANTAGE_MIN: f64 = 0.95;
/// Decisions for one side, after which the other is looked at again: a pure run costs nobody time
/// by that, for it runs on both and the first one counts.
const EXPLORED_EVERY: u32 = 8;
/// The same for functions whose runs may run only once, and then go where they are not expected to
/// be best; the rarer, the slower it is expected to be there.
const EXPLORED_EVERY_IMPURE: f64 = 32.0;
/// The same for a side whose pace does not change with a network: this one.
const EXPLORED_HERE_EVERY: u32 = 64;
/// Runs that take less than so many times the way there and back cannot be better off upstream.
const WORTHWHILE: f64 = 2.0;
/// By what a run must outlive what was expected before it is started on the other side too.
const OUTLIVED: f64 = 1.5;
/// The same, in spreads.
const OUTLIVED_SPREADS: f64 = 3.0;
/// No run is started on the other side sooner than this because of what was expected.
const OUTLIVED_MS_MIN: f64 = 1.0;

/// A call to be placed.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// What is called.
    pub key: &'a Key,
    /// With what.
    pub class: Class,
    /// Whether it may run twice.
    pub is_pure: bool,
    /// Bytes of the arguments.
    pub sent_bytes: u64,
    /// Bytes of the artifact, where the upstream is not known to have it; otherwise 0.
    pub artifact_bytes: u64,
}

/// What was decided.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// Where it starts.
    pub first: Side,
    /// After how long it starts on the other side too, and the first result counts.
    pub other_after: Option<Duration>,
    /// Why.
    pub reason: Reason,
}

/// Why a call is placed as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// That side is expected to finish first.
    Faster,
    /// Nothing is known of it yet.
    Learning,
    /// It was time to see how the other side does.
    Exploring,
    /// The upstream cannot be reached.
    UpstreamUnreachable,
}

impl Reason {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Faster => "faster",
            Self::Learning => "learning",
            Self::Exploring => "exploring",
            Self::UpstreamUnreachable => "upstream_unreachable",
        }
    }
}

impl Plan {
    fn only(first: Side, reason: Reason) -> Self {
        Self { first, other_after: None, reason }
    }
}

/// One call, seen from both sides.
struct Prospect {
    here: Forecast,
    upstream: Forecast,
    /// When it is expected to have finished, in milliseconds from now.
    here_ms: f64,
    upstream_ms: f64,
    /// The way there and back, with the artifact if that has to be sent first.
    transfer_ms: f64,
    /// The same once the upstream has it.
    later_ms: f64,
}

impl Placement {
    /// Where a call should run.
    pub fn decide(&mut self, now: Duration, question: &Question<'_>) -> Plan {
        if !self.breaker.is_closed() {
            return Plan::only(Side::Here, Reason::UpstreamUnreachable);
        }
        self.turns += 1;
        let (turns, node_pace, changes) = (self.turns, self.pace, self.changes);
        let function = self.function(question.key);
        let forecasts = function.forecasts(question.class, node_pace, changes);
        let reply_bytes =
            function.entry(question.class, turns).reply_bytes.mean().unwrap_or_default();
        #[expect(clippy::cast_precision_loss, reason = "no call has 2^53 bytes")]
        let bytes = question.sent_bytes as f64 + reply_bytes;
        let later_ms = self.network.transfer_ms(bytes);
        let transfer_ms = later_ms + self.network.artifact_ms(question.artifact_bytes);
        let plan = match forecasts {
            None => self.learn_first(now, question, transfer_ms),
            Some((here, upstream)) => {
                let prospect = Prospect {
                    here_ms: self.here.finish_ms(now, &here),
                    upstream_ms: self.upstream.finish_ms(now, &upstream) + transfer_ms,
                    here,
                    upstream,
                    transfer_ms,
                    later_ms,
                };
                self.compare(now, question, &prospect)
            }
        };
        self.count(question, &plan);
        plan
    }

    /// With no history it starts here. If it is still under way when the upstream could have had
    /// the arguments and answered, it is worth that way, and starts there too.
    fn learn_first(&self, now: Duration, question: &Question<'_>, transfer_ms: f64) -> Plan {
        let is_slower_there = self.pace.is_known() && self.pace.factor() >= 1.0;
        if !question.is_pure || (is_slower_there && self.here.has_room(now)) {
            return Plan::only(Side::Here, Reason::Learning);
        }
        let after_ms = transfer_ms.max(OUTLIVED_MS_MIN);
        Plan { first: Side::Here, other_after: Some(duration(after_ms)), reason: Reason::Learning }
    }

    fn compare(&mut self, now: Duration, question: &Question<'_>, prospect: &Prospect) -> Plan {
        let first = if prospect.upstream_ms < prospect.here_ms * ADVANTAGE_MIN {
            Side::Upstream
        } else {
            Side::Here
        };
        if self.is_curious(question, prospect, first) && self.may_join(now, first.other()) {
            self.explored(question, first.other());
            return explore(first, question.is_pure);
        }
        let other_after = question.is_pure.then(|| duration(prospect.outlived_ms(first)));
        Plan { first, other_after, reason: Reason::Faster }
    }

    /// Whether it is time to look how the side does that is not the first choice.
    fn is_curious(&mut self, question: &Question<'_>, prospect: &Prospect, first: Side) -> bool {
        let (turns, changes, is_paced) = (self.turns, self.changes, self.pace.is_known());
        let function = self.function(question.key);
        function.unseen_upstream = function.unseen_upstream.saturating_add(1);
        let unseen_function = f64::from(function.unseen_upstream);
        let is_tried = function.changes_tried == changes && (is_paced || function.pace.is_known());
        let entry = function.entry(question.class, turns);
        entry.unseen_here = entry.unseen_here.saturating_add(1);
        entry.unseen_upstream = entry.unseen_upstream.saturating_add(1);
        // The artifact is sent once, and nobody waits for that where the call runs here as well.
        let way_ms = if question.is_pure { prospect.later_ms } else { prospect.transfer_ms };
        let is_worthwhile = prospect.here.run_ms() >= way_ms * WORTHWHILE;
        if !is_worthwhile || prospect.here.basis != Basis::Measured {
            return false;
        }
        match first {
            Side::Here if question.is_pure => {
                let is_in_doubt = !entry.is_tried || entry.changes_seen != changes;
                is_in_doubt || entry.unseen_upstream >= EXPLORED_EVERY
            }
            Side::Here => {
                let loss = (prospect.upstream_ms / prospect.here_ms).max(1.0);
                !is_tried || unseen_function >= EXPLORED_EVERY_IMPURE * loss
            }
            Side::Upstream => question.is_pure && entry.unseen_here >= EXPLORED_HERE_EVERY,
        }
    }

    fn explored(&mut self, question: &Question<'_>, side: Side) {
        let (turns, changes) = (self.turns, self.changes);
        let function = self.function(question.key);
        if side == Side::Upstream {
            function.unseen_upstream = 0;
            function.changes_tried = changes;
        }
        let entry = function.entry(question.class, turns);
        match side {
            Side::Here => entry.unseen_here = 0,
            Side::Upstream => {
                entry.unseen_upstream = 0;
                entry.changes_seen = changes;
                entry.is_tried = true;
            }
        }
    }

    fn count(&mut self, question: &Question<'_>, plan: &Plan) {
        let turns = self.turns;
        let entry = self.function(question.key).entry(question.class, turns);
        entry.last = Some(*plan);
        let counts = &mut entry.counts;
        match (plan.first, plan.other_after) {
            (_, Some(Duration::ZERO)) => counts.both += 1,
            (Side::Here, _) => counts.here += 1,
            (Side::Upstream, _) => counts.upstream += 1,
        }
    }
}

fn explore(first: Side, is_pure: bool) -> Plan {
    if is_pure {
        let other_after = Some(Duration::ZERO);
        return Plan { first, other_after, reason: Reason::Exploring };
    }
    Plan::only(first.other(), Reason::Exploring)
}

impl Prospect {
    /// How long after its beginning a run is no longer what was expected.
    fn outlived_ms(&self, first: Side) -> f64 {
        let (own_ms, forecast, other_ms) = match first {
            Side::Here => (self.here_ms, &self.here, self.upstream_ms),
            Side::Upstream => (self.upstream_ms, &self.upstream, 0.0),
        };
        let unexpected_ms = (own_ms * OUTLIVED).max(own_ms + forecast.spread_ms * OUTLIVED_SPREADS);
        let after_ms = match (first, forecast.basis) {
            // It was only likened to others: it has outlived what the upstream would have taken.
            (Side::Here, Basis::Likened) => other_ms,
            _ => unexpected_ms.max(other_ms),
        };
        after_ms.max(OUTLIVED_MS_MIN)
    }
}

fn duration(ms: f64) -> Duration {
    Duration::try_from_secs_f64(ms / 1_000.0).unwrap_or(Duration::MAX)
}
