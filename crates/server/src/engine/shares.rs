//! Whose a task is: what the scheduler takes turns by.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};

use runabout_scheduler::Share;

/// Turns the values of one label into shares.
#[derive(Debug)]
pub(super) struct Shares {
    label: Option<String>,
    /// Drawn anew at each start, so that nobody can choose a value that shares another's turns.
    hasher: RandomState,
}

impl Shares {
    pub(super) fn by(label: Option<String>) -> Self {
        Self { label, hasher: RandomState::new() }
    }

    /// The label, if tasks are told apart at all.
    pub(super) fn label(&self) -> Option<&str> {
        self.label.as_deref()
    }

    /// The share of a task with these labels. Tasks without the label are one share of their own.
    pub(super) fn of(&self, labels: &BTreeMap<String, String>) -> Share {
        let value = self.label.as_ref().and_then(|label| labels.get(label));
        self.of_value(value.map(String::as_str))
    }

    /// The share of a task with this value of the label. 64 bits of a keyed hash stand for the
    /// value: should two ever be equal, two submitters take turns as one.
    pub(super) fn of_value(&self, value: Option<&str>) -> Share {
        value.map(|value| Share(self.hasher.hash_one(value))).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(team: &str) -> BTreeMap<String, String> {
        BTreeMap::from([("team".to_owned(), team.to_owned())])
    }

    #[test]
    fn a_share_is_a_value_of_the_label_or_its_absence() {
        let shares = Shares::by(Some("team".to_owned()));
        let (a, b, none) = (labels("a"), labels("b"), BTreeMap::new());
        assert_eq!(shares.of(&a), shares.of_value(Some("a")));
        assert_ne!(shares.of(&a), shares.of(&b));
        assert_ne!(shares.of(&a), shares.of(&none));
        assert_eq!(shares.of(&none), shares.of_value(None));
        assert_ne!(shares.of_value(Some("")), shares.of_value(None));
    }

    #[test]
    fn without_a_label_all_tasks_are_one_share() {
        let shares = Shares::by(None);
        assert_eq!(shares.of(&labels("a")), shares.of(&labels("b")));
    }
}
