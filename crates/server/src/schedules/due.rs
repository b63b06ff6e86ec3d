//! What is due: from what was settled, the time it is now, and what is to become of missed times.
//! Reads no clock.

use jiff::{SignedDuration, Timestamp};
use runabout_protocol::Missed;

use super::cron::Cron;

/// The most missed times that `run_all` makes up for at once; older ones are dropped.
pub const MADE_UP_MAX: usize = 1_000;

/// How far back due times are looked for first; ever further while there are not enough.
const LOOK_BACK: SignedDuration = SignedDuration::from_hours(1);

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub struct Due {
    /// Times that get a task each, in order.
    pub times: Vec<Timestamp>,
    /// The latest time that is dealt with by that.
    pub until: Timestamp,
    /// Whether there were more times than `run_all` makes up for.
    pub dropped: bool,
}

/// When something is due.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// The time it is.
    pub now: Timestamp,
    /// Times before this passed while nobody was looking: they were missed.
    pub watched_since: Timestamp,
}

/// A difference between the clocks that is more than their ordinary drift.
const JUMP_MIN: SignedDuration = SignedDuration::from_secs(5);

impl Clock {
    /// A further look at the clock on the wall, after so much time by a clock that nobody sets. If
    /// it jumped ahead, or the machine slept, what it jumped over was not watched.
    pub fn look_again(self, now: Timestamp, passed: SignedDuration) -> Self {
        let expected = self.now.saturating_add(passed.saturating_add(JUMP_MIN));
        if expected.is_ok_and(|expected| now > expected) {
            return Self { now, watched_since: now.saturating_sub(passed).unwrap_or(now) };
        }
        // It may have been put back to before we began.
        Self { now, watched_since: self.watched_since.min(now) }
    }
}

impl Due {
    /// The part of it that is dealt with at once: at most so many tasks.
    pub fn first(mut self, tasks_max: usize) -> Self {
        if self.times.len() > tasks_max {
            self.times.truncate(tasks_max);
            self.until = self.times.last().copied().unwrap_or(self.until);
        }
        self
    }
}

/// What is due after `settled`; `None` if nothing is.
pub fn due(cron: &Cron, missed: Missed, settled: Timestamp, clock: Clock) -> Option<Due> {
    let wanted = if missed == Missed::RunAll { MADE_UP_MAX } else { 1 };
    let mut times = latest(cron, settled, clock.now, wanted + 1);
    let until = *times.last()?;
    let older = times.len().saturating_sub(wanted);
    times.drain(..older);
    if missed == Missed::Skip && until < clock.watched_since {
        times.clear();
    }
    Some(Due { times, until, dropped: missed == Missed::RunAll && older > 0 })
}

/// The latest times after `settled` and not after `now`, in order, at most so many. Looks from the
/// end: a schedule that has slept for years costs no more than one that has not.
fn latest(cron: &Cron, settled: Timestamp, now: Timestamp, count_max: usize) -> Vec<Timestamp> {
    let mut span = LOOK_BACK;
    loop {
        let start = now.saturating_sub(span).unwrap_or(Timestamp::MIN).max(settled);
        let next = |last: &Timestamp| cron.next(*last).filter(|time| *time <= now);
        let mut times: Vec<_> = std::iter::successors(next(&start), next).collect();
        if times.len() >= count_max || start == settled {
            let older = times.len().saturating_sub(count_max);
            times.drain(..older);
            return times;
        }
        span = span.saturating_mul(4);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedules::cron;

    fn at(text: &str) -> Timestamp {
        format!("2026-03-{text}Z").parse().expect("a time")
    }

    fn cron(text: &str) -> Cron {
        Cron::parse(text, cron::zone("UTC").expect("a zone")).expect("reads")
    }

    /// The times due by `0 * * * *` after the settled one, as their hours; `none` if nothing is.
    fn check(missed: Missed, settled: &str, watched_since: &str, now: &str, expected: &str) {
        let clock = Clock { now: at(now), watched_since: at(watched_since) };
        let found = match due(&cron("0 * * * *"), missed, at(settled), clock) {
            None => "none".to_owned(),
            Some(due) => {
                let hour = |time: &Timestamp| time.strftime("%d %H").to_string();
                let times: Vec<_> = due.times.iter().map(hour).collect();
                format!("[{}] until {}", times.join(", "), hour(&due.until))
            }
        };
        assert_eq!(found, expected, "{missed:?} {settled} {watched_since} {now}");
    }

    #[test]
    fn before_the_next_time_nothing_is_due() {
        for missed in [Missed::Skip, Missed::RunOnce, Missed::RunAll] {
            check(missed, "01T10:00:00", "01T00:00:00", "01T10:59:59", "none");
        }
    }

    #[test]
    fn a_time_that_comes_is_due_once_whatever_the_policy() {
        for missed in [Missed::Skip, Missed::RunOnce, Missed::RunAll] {
            check(missed, "01T10:30:00", "01T00:00:00", "01T11:00:00", "[01 11] until 01 11");
            check(missed, "01T11:00:00", "01T00:00:00", "01T11:00:00", "none");
        }
    }

    #[test]
    fn times_missed_by_a_node_that_was_down_follow_the_policy() {
        let after_a_pause = ("01T10:00:00", "01T13:30:00", "01T13:30:00");
        let (settled, started, now) = after_a_pause;
        check(Missed::Skip, settled, started, now, "[] until 01 13");
        check(Missed::RunOnce, settled, started, now, "[01 13] until 01 13");
        check(Missed::RunAll, settled, started, now, "[01 11, 01 12, 01 13] until 01 13");
    }

    #[test]
    fn a_time_that_could_not_be_taken_until_the_next_came_is_missed() {
        check(Missed::Skip, "01T10:00:00", "01T00:00:00", "01T12:00:00", "[01 12] until 01 12");
        check(Missed::RunOnce, "01T10:00:00", "01T00:00:00", "01T12:00:00", "[01 12] until 01 12");
        check(
            Missed::RunAll,
            "01T10:00:00",
            "01T00:00:00",
            "01T12:00:00",
            "[01 11, 01 12] until 01 12",
        );
    }

    #[test]
    fn a_clock_that_was_put_back_repeats_nothing() {
        for missed in [Missed::Skip, Missed::RunOnce, Missed::RunAll] {
            check(missed, "01T10:00:00", "01T00:00:00", "01T08:00:00", "none");
            check(missed, "01T10:00:00", "01T08:00:00", "01T10:00:00", "none");
            check(missed, "01T10:00:00", "01T08:00:00", "01T11:00:00", "[01 11] until 01 11");
        }
    }

    #[test]
    fn what_the_clock_jumps_over_is_missed_and_what_it_repeats_is_not() {
        let began = Clock { now: at("01T10:00:00"), watched_since: at("01T10:00:00") };
        let passed = SignedDuration::from_secs(30);
        let since = |now: &str| began.look_again(at(now), passed).watched_since;
        assert_eq!(since("01T10:00:30"), at("01T10:00:00"), "nothing happened");
        assert_eq!(since("01T10:00:34"), at("01T10:00:00"), "it drifted");
        assert_eq!(since("01T12:00:00"), at("01T11:59:30"), "it was set forward");
        assert_eq!(since("01T09:00:00"), at("01T09:00:00"), "it was set back");
    }

    #[test]
    fn many_times_are_dealt_with_in_parts() {
        let clock = Clock { now: at("01T10:00:00"), watched_since: at("01T10:00:00") };
        let settled = at("01T05:00:00");
        let all = due(&cron("0 * * * *"), Missed::RunAll, settled, clock).expect("due");
        let first = all.first(2);
        assert_eq!(first.times, [at("01T06:00:00"), at("01T07:00:00")]);
        assert_eq!(first.until, at("01T07:00:00"));
    }

    #[test]
    fn of_very_many_missed_times_the_latest_are_made_up() {
        let clock = Clock { now: at("01T00:00:30"), watched_since: at("01T00:00:30") };
        let settled = "1970-01-01T00:00:00Z".parse().expect("a time");
        let found = due(&cron("* * * * *"), Missed::RunAll, settled, clock).expect("due");
        assert_eq!((found.times.len(), found.dropped), (MADE_UP_MAX, true));
        assert_eq!(
            (found.times.last(), found.until),
            (Some(&at("01T00:00:00")), at("01T00:00:00"))
        );
        assert!(found.times.is_sorted());
        let once = due(&cron("0 0 29 2 *"), Missed::RunOnce, settled, clock).expect("due");
        assert_eq!(once.times, ["2024-02-29T00:00:00Z".parse().expect("a time")]);
        assert!(!once.dropped);
    }
}
