//! The scheduler's time, and how it meets the clock on the wall.

use std::pin::Pin;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use runabout_scheduler::Moment;
use tokio::time::{Duration, Instant, sleep_until};

/// A wait for a moment.
pub(super) type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Where time comes from: the machine, or a simulation.
pub(super) trait Time: Send + Sync {
    /// Goes forward only, and evenly, whatever the wall clock does.
    fn now(&self) -> Moment;
    /// What the clock on the wall shows. It may be set, forward or back.
    fn wall(&self) -> Timestamp;
    /// Resolves when the moment has come.
    fn sleep_until(&self, moment: Moment) -> Sleep;
}

/// A clock that only goes forward, evenly: a step of the wall clock makes no attempt overdue.
#[derive(Clone)]
pub(super) struct Clock {
    time: Arc<dyn Time>,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self::of(Arc::new(MachineTime::start()))
    }

    pub(super) fn of(time: Arc<dyn Time>) -> Self {
        Self { time }
    }

    pub(super) fn now(&self) -> Moment {
        self.time.now()
    }

    pub(super) fn wall(&self) -> Timestamp {
        self.time.wall()
    }

    pub(super) fn sleep_until(&self, moment: Moment) -> Sleep {
        self.time.sleep_until(moment)
    }

    /// A moment that is now or to come, as the wall clock will show it, by what it shows now.
    pub(super) fn timestamp(&self, moment: Moment) -> Timestamp {
        // A moment that has just passed is still now: a task begins no earlier than it was made.
        let ahead_ms = moment.0.saturating_sub(self.now().0);
        let ahead = SignedDuration::from_millis(i64::try_from(ahead_ms).unwrap_or(i64::MAX));
        self.wall().saturating_add(ahead).unwrap_or(Timestamp::MAX)
    }

    /// The moment at which the wall clock will show a time, by what it shows now.
    pub(super) fn moment(&self, at: Timestamp) -> Moment {
        let ahead_ns = at.as_nanosecond() - self.wall().as_nanosecond();
        let ahead_ms = i64::try_from(ahead_ns.div_euclid(1_000_000)).unwrap_or(i64::MAX);
        // Whole milliseconds have passed on this clock, and some of the next: what is to begin at
        // a time begins no earlier.
        let ahead_ms = if ahead_ns > 0 { ahead_ms.saturating_add(2) } else { ahead_ms };
        Moment(self.now().0.saturating_add_signed(ahead_ms))
    }
}

/// The clocks of this machine.
#[derive(Clone, Copy, Debug)]
struct MachineTime {
    began: Instant,
    /// What the wall clock said then.
    began_ms: u64,
}

impl MachineTime {
    fn start() -> Self {
        let began_ms = u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(0);
        Self { began: Instant::now(), began_ms }
    }

    /// When a moment comes, for whoever sleeps until then.
    fn instant(&self, moment: Moment) -> Instant {
        // Far beyond any wait, and not so far that the sum overflows.
        let longest = Duration::from_secs(365 * 24 * 3_600);
        let wait = Duration::from_millis(moment.0.saturating_sub(self.now().0));
        // Rounded up: a sleeper that wakes before the moment would find nothing to do.
        Instant::now() + wait.min(longest) + Duration::from_millis(1)
    }
}

impl Time for MachineTime {
    fn now(&self) -> Moment {
        let passed_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        Moment(self.began_ms).after_ms(passed_ms)
    }

    fn wall(&self) -> Timestamp {
        Timestamp::now()
    }

    fn sleep_until(&self, moment: Moment) -> Sleep {
        Box::pin(sleep_until(self.instant(moment)))
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
        assert!(MachineTime::start().instant(Moment(u64::MAX)) > Instant::now());
        assert!(clock.timestamp(Moment(u64::MAX)) > Timestamp::now());
    }
}
