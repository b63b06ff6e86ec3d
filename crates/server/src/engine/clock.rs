//! The scheduler's time, and how it meets the clock on the wall.

use jiff::{SignedDuration, Timestamp};
use runabout_scheduler::Moment;
use tokio::time::{Duration, Instant};

/// A clock that only goes forward, evenly: a step of the wall clock makes no attempt overdue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    began: Instant,
    /// What the wall clock said then.
    began_ms: u64,
}

impl Clock {
    pub(super) fn start() -> Self {
        let began_ms = u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(0);
        Self { began: Instant::now(), began_ms }
    }

    pub(super) fn now(&self) -> Moment {
        let passed_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        Moment(self.began_ms).after_ms(passed_ms)
    }

    /// When a moment comes, for whoever sleeps until then.
    pub(super) fn instant(&self, moment: Moment) -> Instant {
        // Far beyond any wait, and not so far that the sum overflows.
        let longest = Duration::from_secs(365 * 24 * 3_600);
        let wait = Duration::from_millis(moment.0.saturating_sub(self.now().0));
        // Rounded up: a sleeper that wakes before the moment would find nothing to do.
        Instant::now() + wait.min(longest) + Duration::from_millis(1)
    }

    /// A moment that is now or to come, as the wall clock will show it, by what it shows now.
    pub(super) fn timestamp(&self, moment: Moment) -> Timestamp {
        // A moment that has just passed is still now: a task begins no earlier than it was made.
        let ahead_ms = moment.0.saturating_sub(self.now().0);
        let ahead = SignedDuration::from_millis(i64::try_from(ahead_ms).unwrap_or(i64::MAX));
        Timestamp::now().saturating_add(ahead).unwrap_or(Timestamp::MAX)
    }

    /// The moment at which the wall clock will show a time, by what it shows now.
    pub(super) fn moment(&self, at: Timestamp) -> Moment {
        // To the nanosecond, and rounded up: what is to begin at a time begins no earlier.
        let passed_ns = i128::try_from(self.began.elapsed().as_nanos()).unwrap_or(i128::MAX);
        let ahead_ns = at.as_nanosecond() - Timestamp::now().as_nanosecond();
        let ms = passed_ns.saturating_add(ahead_ns).div_euclid(1_000_000).saturating_add(1);
        let ms = i64::try_from(ms).unwrap_or(if ms < 0 { i64::MIN } else { i64::MAX });
        Moment(self.began_ms.saturating_add_signed(ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_survives_the_wall_clock() {
        let clock = Clock::start();
        let moment = clock.now().after_ms(60_000);
        let back = clock.moment(clock.timestamp(moment));
        assert!(moment.0.abs_diff(back.0) <= 5, "{moment:?} became {back:?}");
    }

    #[test]
    fn the_moment_of_a_time_does_not_come_before_it() {
        let clock = Clock::start();
        for _ in 0..200 {
            let at = Timestamp::now() + SignedDuration::from_micros(1_300);
            let moment = clock.moment(at);
            while clock.now() < moment {
                std::hint::spin_loop();
            }
            assert!(Timestamp::now() >= at);
        }
    }

    #[test]
    fn a_moment_beyond_all_time_is_no_error() {
        let clock = Clock::start();
        assert!(clock.instant(Moment(u64::MAX)) > Instant::now());
        assert!(clock.timestamp(Moment(u64::MAX)) > Timestamp::now());
    }
}
