//! `Runabout-Via`: the ids of the nodes that a call has passed, so that it never goes in circles.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use runabout_protocol::NodeId;

use crate::codes::Code;
use crate::problem::Problem;

/// The header.
pub const VIA: HeaderName = HeaderName::from_static("runabout-via");
/// Nodes that a call may have passed; where there are more, it goes no further.
const NODES_MAX: usize = 64;

/// The nodes that a call has passed before this one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Via(Option<HeaderValue>);

impl Via {
    /// Reads the header of a request that came to `here`.
    ///
    /// # Errors
    /// `offload_loop` if the call has been here before, `invalid_field` if it is no list of ids.
    pub fn of(headers: &HeaderMap, here: NodeId) -> Result<Self, Problem> {
        if !headers.contains_key(VIA) {
            return Ok(Self(None));
        }
        let invalid = || Problem::invalid_field("Runabout-Via", "it is a list of nodes' ids");
        // A proxy may have made several lines of one.
        let lines = headers.get_all(VIA).iter().map(|line| line.to_str().map_err(|_| invalid()));
        let text = lines.collect::<Result<Vec<_>, _>>()?.join(", ");
        for id in text.split(',').map(str::trim) {
            let id: uuid::Uuid = id.parse().map_err(|_| invalid())?;
            if NodeId(id) == here {
                let detail = "this call has passed this node before";
                return Err(Problem::new(Code::OffloadLoop, detail));
            }
        }
        HeaderValue::try_from(text).map(|value| Self(Some(value))).map_err(|_| invalid())
    }

    /// Whether a node asks, and not somebody else.
    pub fn is_from_a_node(&self) -> bool {
        self.0.is_some()
    }

    /// The header for the next node; `None` if it may go no further.
    pub fn and(&self, here: NodeId) -> Option<HeaderValue> {
        let text = match &self.0 {
            None => here.to_string(),
            Some(passed) => {
                let passed = passed.to_str().ok()?;
                if passed.split(',').count() >= NODES_MAX {
                    return None;
                }
                format!("{passed}, {here}")
            }
        };
        HeaderValue::try_from(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn id(n: u128) -> NodeId {
        NodeId(Uuid::from_u128(n))
    }

    fn headers(value: HeaderValue) -> HeaderMap {
        HeaderMap::from_iter([(VIA, value)])
    }

    #[test]
    fn a_node_that_finds_itself_refuses() {
        let first = Via::default().and(id(1)).expect("goes on");
        let second = Via::of(&headers(first), id(2)).expect("not here before");
        assert!(second.is_from_a_node());
        let third = headers(second.and(id(2)).expect("goes on"));
        assert!(Via::of(&third, id(3)).is_ok());
        for passed in [1, 2] {
            let refused = Via::of(&third, id(passed)).map_err(|problem| problem.code());
            assert_eq!(refused, Err(Code::OffloadLoop));
        }
    }

    #[test]
    fn what_is_no_list_of_ids_is_refused() {
        for text in ["", "x", "127.0.0.1", ","] {
            let refused = Via::of(&headers(HeaderValue::from_static(text)), id(1));
            assert_eq!(refused.map_err(|problem| problem.code()), Err(Code::InvalidField));
        }
    }

    #[test]
    fn no_call_passes_more_nodes_than_it_may() {
        let mut via = Via::default();
        let mut passed = 0;
        while let Some(next) = via.and(id(passed)) {
            via = Via::of(&headers(next), id(1_000)).expect("not here before");
            passed += 1;
        }
        assert_eq!(passed, NODES_MAX as u128);
    }
}
