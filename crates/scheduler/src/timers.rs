//! What is to happen later.

use std::collections::BTreeSet;

use runabout_protocol::TaskId;

use crate::{Lease, Moment};

/// What a moment is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Alarm {
    /// A task may begin.
    Ready(TaskId),
    /// An attempt has been too slow in whatever it was to do next.
    Overdue(Lease),
}

/// All alarms that are set.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    /// Earliest first.
    alarms: BTreeSet<(Moment, Alarm)>,
}

impl Timers {
    pub(crate) fn set(&mut self, at: Moment, alarm: Alarm) {
        self.alarms.insert((at, alarm));
    }

    pub(crate) fn unset(&mut self, at: Moment, alarm: Alarm) {
        self.alarms.remove(&(at, alarm));
    }

    pub(crate) fn next(&self) -> Option<Moment> {
        self.alarms.first().map(|(at, _)| *at)
    }

    /// Takes one alarm whose moment has come.
    pub(crate) fn take_due(&mut self, now: Moment) -> Option<Alarm> {
        let (at, alarm) = *self.alarms.first()?;
        if at > now {
            return None;
        }
        self.alarms.remove(&(at, alarm));
        Some(alarm)
    }
}
