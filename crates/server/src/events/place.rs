//! Where a stream is, and the event ids that say so.

use runabout_protocol::Attempt;

/// A place between two events of the ring. A fact is told as one event, and the end of a task as
/// two, so that the places around fact `n` are `2n` (before it), `2n + 1` (within it) and `2n + 2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place(pub u64);

impl Place {
    /// Before all of a fact.
    pub fn before(fact: u64) -> Self {
        Self(fact * 2)
    }

    /// After the first event of a fact that has two.
    pub fn within(fact: u64) -> Self {
        Self(fact * 2 + 1)
    }

    /// After all of a fact.
    pub fn after(fact: u64) -> Self {
        Self::before(fact + 1)
    }

    /// The fact that is told next, or told on.
    pub fn fact(self) -> u64 {
        self.0 / 2
    }

    /// Whether the first event of that fact has been told.
    pub fn is_within(self) -> bool {
        self.0 % 2 == 1
    }
}

/// What an event's id says: where to go on after that event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastEventId {
    /// In the ring.
    Ring(Place),
    /// In what a task's stream tells at its beginning: after this line of output.
    Beginning(Option<(Attempt, u64)>),
    /// Nowhere: it was the last of a task.
    End,
    /// It is of another life of the node, or no id of ours.
    Foreign,
}

impl LastEventId {
    /// The id in words.
    pub fn text(self, life: &str) -> String {
        match self {
            Self::Ring(Place(place)) => format!("{life}-{place}"),
            Self::Beginning(None) => format!("{life}-begin"),
            Self::Beginning(Some((attempt, seq))) => format!("{life}-begin-{attempt}-{seq}"),
            Self::End | Self::Foreign => format!("{life}-end"),
        }
    }

    /// Reads an id. The end of a task is that in every life.
    pub fn parse(text: &str, life: &str) -> Self {
        let mut words = text.trim().split('-');
        let is_ours = words.next() == Some(life);
        let words: Vec<&str> = words.collect();
        match words.as_slice() {
            ["end"] => Self::End,
            _ if !is_ours => Self::Foreign,
            ["begin"] => Self::Beginning(None),
            ["begin", attempt, seq] => match (attempt.parse(), seq.parse()) {
                (Ok(attempt), Ok(seq)) => Self::Beginning(Some((Attempt(attempt), seq))),
                _ => Self::Foreign,
            },
            [place] => place.parse().map_or(Self::Foreign, |place| Self::Ring(Place(place))),
            _ => Self::Foreign,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_its_text() {
        for id in [
            LastEventId::Ring(Place(17)),
            LastEventId::Beginning(None),
            LastEventId::Beginning(Some((Attempt(2), 40))),
            LastEventId::End,
        ] {
            assert_eq!(LastEventId::parse(&id.text("a1"), "a1"), id);
        }
    }

    #[test]
    fn what_is_no_id_of_this_life_is_foreign() {
        for text in ["", "a1", "b2-17", "a1-x", "a1-begin-1", "a1-begin-x-1", "a1-1-2-3", "17"] {
            assert_eq!(LastEventId::parse(text, "a1"), LastEventId::Foreign, "{text}");
        }
    }

    #[test]
    fn an_end_stays_one_in_the_next_life() {
        assert_eq!(LastEventId::parse("b2-end", "a1"), LastEventId::End);
    }
}
