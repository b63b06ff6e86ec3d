//! The tasks that could begin at once if there were a slot.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use runabout_protocol::{Language, TaskId};

use crate::capabilities::{LANGUAGES, PerLanguage};

/// A task's place: higher priority first, then the order of submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    priority: Reverse<i32>,
    order: u64,
}

impl Place {
    pub(crate) fn new(priority: i32, order: u64) -> Self {
        Self { priority: Reverse(priority), order }
    }
}

/// One line for each language, so that a task nobody can run holds up no other.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    lines: PerLanguage<BTreeMap<Place, TaskId>>,
}

impl Queue {
    pub(crate) fn insert(&mut self, language: Language, place: Place, task: TaskId) {
        self.lines.get_mut(language).insert(place, task);
    }

    pub(crate) fn remove(&mut self, language: Language, place: Place) {
        self.lines.get_mut(language).remove(&place);
    }

    /// The first task in line among the languages that `wanted` says can be run now.
    pub(crate) fn first(&self, wanted: impl Fn(Language) -> bool) -> Option<(Language, TaskId)> {
        LANGUAGES
            .into_iter()
            .filter(|language| wanted(*language))
            .filter_map(|language| {
                let (place, task) = self.lines.get(language).first_key_value()?;
                Some((*place, language, *task))
            })
            .min_by_key(|(place, ..)| *place)
            .map(|(_, language, task)| (language, task))
    }
}
