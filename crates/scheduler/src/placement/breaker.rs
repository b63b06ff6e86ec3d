//! Whether the upstream is to be asked at all. A call that meets it unreachable opens the breaker;
//! while it is open, calls run here without trying, and probes find out when it is back.

use std::time::Duration;

/// The first pause between two probes.
const PAUSE_MIN: Duration = Duration::from_millis(200);
/// The longest.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Decides when the upstream counts as reachable.
#[derive(Clone, Copy, Debug, Default)]
pub struct Breaker {
    state: State,
    /// How often it has opened.
    opened: u64,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    Closed,
    Open {
        /// Since when.
        since: Duration,
        /// When to probe next.
        probe_at: Duration,
        pause: Duration,
    },
    /// A probe is under way.
    Probing { since: Duration, pause: Duration },
}

impl Breaker {
    /// Whether calls may go upstream.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// Since when calls may not go upstream.
    #[must_use]
    pub fn open_since(&self) -> Option<Duration> {
        match self.state {
            State::Closed => None,
            State::Open { since, .. } | State::Probing { since, .. } => Some(since),
        }
    }

    /// How often calls have been kept from going upstream.
    #[must_use]
    pub fn opened(&self) -> u64 {
        self.opened
    }

    /// When to probe next; `None` while it is closed or a probe is under way.
    #[must_use]
    pub fn probe_at(&self) -> Option<Duration> {
        match self.state {
            State::Open { probe_at, .. } => Some(probe_at),
            State::Closed | State::Probing { .. } => None,
        }
    }

    /// Whether it is time for a probe; then one counts as under way.
    pub fn probe(&mut self, now: Duration) -> bool {
        match self.state {
            State::Open { since, probe_at, pause } if now >= probe_at => {
                self.state = State::Probing { since, pause };
                true
            }
            _ => false,
        }
    }

    /// The upstream answered. Whether that closed the breaker.
    pub fn answered(&mut self) -> bool {
        let was_closed = self.is_closed();
        self.state = State::Closed;
        !was_closed
    }

    /// The upstream could not be reached. Whether that opened the breaker.
    pub fn unreachable(&mut self, now: Duration) -> bool {
        match self.state {
            State::Closed => {
                self.state =
                    State::Open { since: now, probe_at: now + PAUSE_MIN, pause: PAUSE_MIN };
                self.opened += 1;
                true
            }
            State::Probing { since, pause } => {
                let pause = (pause * 2).min(PAUSE_MAX);
                self.state = State::Open { since, probe_at: now + pause, pause };
                false
            }
            // A call that had begun before it opened: nothing new.
            State::Open { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn it_opens_at_once_and_closes_with_the_first_answer() {
        let mut breaker = Breaker::default();
        assert!(breaker.is_closed() && !breaker.probe(ms(0)));
        assert!(breaker.unreachable(ms(10)));
        assert!(!breaker.unreachable(ms(11)), "calls that were under way say nothing new");
        assert!(!breaker.is_closed() && breaker.open_since() == Some(ms(10)));
        assert!(!breaker.probe(ms(209)) && breaker.probe(ms(210)));
        assert!(!breaker.probe(ms(211)), "one probe at a time");
        assert!(breaker.answered() && breaker.is_closed() && !breaker.answered());
        assert_eq!(breaker.opened(), 1);
    }

    #[test]
    fn probes_become_rarer_up_to_a_bound() {
        let mut breaker = Breaker::default();
        breaker.unreachable(ms(0));
        let mut pauses = Vec::new();
        let mut now = ms(0);
        for _ in 0..7 {
            let at = breaker.probe_at().expect("is open");
            pauses.push((at - now).as_millis());
            now = at;
            assert!(breaker.probe(now));
            breaker.unreachable(now);
        }
        assert_eq!(pauses, [200, 400, 800, 1600, 2000, 2000, 2000]);
        assert_eq!(breaker.open_since(), Some(ms(0)));
    }
}
