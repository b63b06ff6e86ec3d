//! Whether a worker is still there: pings, and how many of them were left unanswered.

use std::time::{Duration, Instant};

/// Pings that may go unanswered; with the next one due, the worker is taken for gone.
const UNANSWERED_MAX: u64 = 3;

/// A session's pings.
#[derive(Debug, Default)]
pub struct Pulse {
    /// The number of the latest ping; 0 before the first.
    last: u64,
    sent_at: Option<Instant>,
    /// The number of the latest ping that was answered.
    answered: u64,
    /// We do not read what it says at this moment: an answer may be among it.
    pub is_held_up: bool,
}

/// What is to be done when a ping is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beat {
    /// Send the ping of that number.
    Ping(u64),
    /// Nothing: it is for us to read first.
    Wait,
    /// Give it up.
    Gone,
}

impl Pulse {
    /// A ping is due.
    pub fn beat(&mut self, now: Instant) -> Beat {
        if self.is_held_up {
            return Beat::Wait;
        }
        if self.last - self.answered >= UNANSWERED_MAX {
            return Beat::Gone;
        }
        self.last += 1;
        self.sent_at = Some(now);
        Beat::Ping(self.last)
    }

    /// A ping was answered; says how long the latest took if it was that one, and nothing of a
    /// number that was never sent.
    ///
    /// # Errors
    /// There was no such ping.
    pub fn pong(&mut self, number: u64, now: Instant) -> Result<Option<Duration>, NoSuchPing> {
        if number == 0 || number > self.last {
            return Err(NoSuchPing);
        }
        self.answered = self.answered.max(number);
        let is_latest = number == self.last;
        Ok(self.sent_at.filter(|_| is_latest).map(|sent_at| now.duration_since(sent_at)))
    }
}

/// There was no ping of that number.
#[derive(Debug, PartialEq, Eq)]
pub struct NoSuchPing;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_leaves_three_pings_unanswered_is_gone() {
        let (mut pulse, now) = (Pulse::default(), Instant::now());
        let beats: Vec<_> = (0..4).map(|_| pulse.beat(now)).collect();
        assert_eq!(beats, [Beat::Ping(1), Beat::Ping(2), Beat::Ping(3), Beat::Gone]);
    }

    #[test]
    fn a_late_answer_is_a_sign_of_life() {
        let (mut pulse, now) = (Pulse::default(), Instant::now());
        for _ in 0..3 {
            pulse.beat(now);
        }
        assert_eq!(pulse.pong(1, now), Ok(None));
        assert_eq!(pulse.beat(now), Beat::Ping(4));
        assert_eq!(pulse.beat(now), Beat::Gone);
        let later = now + Duration::from_millis(7);
        assert_eq!(pulse.pong(4, later), Ok(Some(Duration::from_millis(7))));
    }

    #[test]
    fn an_answer_to_no_ping_is_none() {
        let (mut pulse, now) = (Pulse::default(), Instant::now());
        assert_eq!(pulse.pong(1, now), Err(NoSuchPing));
        pulse.beat(now);
        assert_eq!(pulse.pong(0, now), Err(NoSuchPing));
        assert_eq!(pulse.pong(u64::MAX, now), Err(NoSuchPing));
    }

    #[test]
    fn while_we_do_not_read_nothing_is_unanswered() {
        let (mut pulse, now) = (Pulse::default(), Instant::now());
        for _ in 0..3 {
            pulse.beat(now);
        }
        pulse.is_held_up = true;
        assert_eq!(pulse.beat(now), Beat::Wait);
    }
}
