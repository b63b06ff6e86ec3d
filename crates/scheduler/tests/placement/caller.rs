//! Who decides for a caller where a call runs.

use std::time::Duration;

use runabout_scheduler::placement::{Placement, Plan, Question, Reason, Side};

use crate::workload::Call;
use crate::world::{Network, Sides};

/// A way to decide.
pub enum Caller {
    Here,
    Upstream,
    /// Knows what everything costs, and what is under way.
    Oracle,
    Auto(Box<Placement>),
}

impl Caller {
    pub fn plan(&mut self, now: Duration, call: &Call, sides: &Sides) -> Plan {
        let only = |first| Plan { first, other_after: None, reason: Reason::Faster };
        match self {
            Self::Here => only(Side::Here),
            Self::Upstream => only(Side::Upstream),
            Self::Oracle => only(best(call, sides)),
            Self::Auto(placement) => placement.decide(
                now,
                &Question {
                    key: &call.key,
                    class: call.class,
                    is_pure: call.is_pure,
                    sent_bytes: call.bytes,
                    artifact_bytes: 0,
                },
            ),
        }
    }

    pub fn placement(&mut self) -> Option<&mut Placement> {
        match self {
            Self::Auto(placement) => Some(placement),
            _ => None,
        }
    }
}

fn best(call: &Call, sides: &Sides) -> Side {
    let there_ms =
        sides.upstream.finish_ms(call.work, call.idle_ms) + Network::way_ms(call.bytes) * 2.0;
    if sides.is_reachable && there_ms < sides.here.finish_ms(call.work, call.idle_ms) {
        Side::Upstream
    } else {
        Side::Here
    }
}
