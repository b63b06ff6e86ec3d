//! Why a call ran where it ran: the words of `Runabout-Placement` and of the metrics.

use axum::http::{HeaderMap, HeaderValue};
use runabout_protocol::Place;
use runabout_scheduler::placement::{Reason, Side};

use crate::upstream::{NotBegun, PLACEMENT};
use crate::wanted::{By, Wanted};

/// The word for a side.
pub fn place(side: Side) -> &'static str {
    match side {
        Side::Here => "here",
        Side::Upstream => "upstream",
    }
}

/// Why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The caller, the manifest or a rule says so.
    Asked,
    /// A rule says so.
    Rule,
    /// A rule could not be decided, and nothing leaves the node because of a mistake.
    RuleFailed,
    /// There is no node behind this one.
    NoUpstream,
    /// There is no tab.
    NoTab,
    /// As the placement decided.
    Decided(Reason),
    /// It outlived what was expected on the other side, and this one was first.
    Outlived,
    /// The upstream cannot be reached.
    UpstreamUnreachable,
    /// The upstream has more to do than it takes.
    UpstreamBusy,
    /// The upstream does not take the call.
    UpstreamRefused,
    /// The upstream grants less of a limit than the call has here.
    UpstreamLimits,
    /// The upstream was lost during the call, which may run twice.
    UpstreamLost,
    /// The upstream had no memory left for the call, which may run twice.
    UpstreamMemory,
    /// The call has passed the upstream before.
    OffloadLoop,
    /// The call has passed as many nodes as it may.
    TooFar,
}

impl Why {
    /// Why a call runs where somebody wants it to.
    pub fn wanted(wanted: Wanted) -> Self {
        match wanted.by {
            By::Word => Self::Asked,
            By::Rule => Self::Rule,
            By::BrokenRule => Self::RuleFailed,
        }
    }

    /// Why it runs here, where there is no other place.
    pub fn without_upstream(wanted: Wanted) -> Self {
        match wanted.place {
            Place::Here => Self::wanted(wanted),
            Place::Upstream | Place::Auto => Self::NoUpstream,
            Place::Tab => Self::NoTab,
        }
    }

    /// Why a call that has not begun upstream runs here.
    pub fn not_begun(why: &NotBegun) -> Self {
        match why {
            NotBegun::Unreachable(_) => Self::UpstreamUnreachable,
            NotBegun::Busy => Self::UpstreamBusy,
            NotBegun::Loop => Self::OffloadLoop,
            NotBegun::TooFar => Self::TooFar,
            NotBegun::LimitAboveMaximum(..) => Self::UpstreamLimits,
            NotBegun::Refused(_) | NotBegun::Unfit(_) => Self::UpstreamRefused,
        }
    }

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Rule => "rule",
            Self::RuleFailed => "rule_failed",
            Self::NoUpstream => "no_upstream",
            Self::NoTab => "no_tab",
            Self::Decided(reason) => reason.as_str(),
            Self::Outlived => "outlived",
            Self::UpstreamUnreachable => "upstream_unreachable",
            Self::UpstreamBusy => "upstream_busy",
            Self::UpstreamRefused => "upstream_refused",
            Self::UpstreamLimits => "upstream_limits",
            Self::UpstreamLost => "upstream_lost",
            Self::UpstreamMemory => "upstream_memory",
            Self::OffloadLoop => "offload_loop",
            Self::TooFar => "too_far",
        }
    }

    /// The header: where it ran as far as this node is concerned, and why.
    pub fn header(self, side: Side) -> HeaderValue {
        // The usual ones on a node that has no upstream, without making a text of them.
        match (side, self) {
            (Side::Here, Self::NoUpstream) => {
                return HeaderValue::from_static("here; reason=no_upstream");
            }
            (Side::Here, Self::Asked) => return HeaderValue::from_static("here; reason=asked"),
            _ => {}
        }
        let text = format!("{}; reason={}", place(side), self.as_str());
        HeaderValue::try_from(text).expect("words make a header")
    }

    /// The same, with what the upstream could not do in its turn.
    pub fn header_after(self, upstream: &HeaderMap) -> HeaderValue {
        let said = upstream.get(PLACEMENT).and_then(|value| value.to_str().ok());
        let notable = ["offload_loop", "upstream_unreachable", "upstream_lost"];
        let found = notable.into_iter().find(|word| said.is_some_and(|said| said.contains(word)));
        match found {
            None => self.header(Side::Upstream),
            Some(word) => {
                let reason = self.as_str();
                let text = format!("upstream; reason={reason}; upstream_reason={word}");
                HeaderValue::try_from(text).expect("words make a header")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_placement_names_the_side_and_the_reason() {
        let faster = Why::Decided(Reason::Faster);
        assert_eq!(faster.header(Side::Upstream), "upstream; reason=faster");
        let unreachable = Why::UpstreamUnreachable.header(Side::Here);
        assert_eq!(unreachable, "here; reason=upstream_unreachable");
    }

    #[test]
    fn a_loop_further_up_is_told() {
        let said = HeaderValue::from_static("here; reason=offload_loop");
        let upstream = HeaderMap::from_iter([(PLACEMENT, said)]);
        let expected = "upstream; reason=asked; upstream_reason=offload_loop";
        assert_eq!(Why::Asked.header_after(&upstream), expected);
        let said = HeaderValue::from_static("here; reason=no_upstream");
        let upstream = HeaderMap::from_iter([(PLACEMENT, said)]);
        assert_eq!(Why::Asked.header_after(&upstream), "upstream; reason=asked");
    }
}
