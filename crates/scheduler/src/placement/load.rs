//! What is under way on one side, and how long something new has to wait beside it.

use std::time::Duration;

use super::costs::Forecast;
use super::milliseconds;

/// Runs of ours that are counted; further ones are not.
const COUNTED_MAX: usize = 1024;
/// What is said of the load there counts this long.
const HEARD_MS_MAX: f64 = 1_000.0;

/// A number by which [`Load::end`] finds a run again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(u64);

/// The load of one side.
#[derive(Clone, Debug)]
pub(super) struct Load {
    runs: Vec<Underway>,
    tickets: u64,
    processors: f64,
    /// Runs there that are not ours, and when that was heard.
    others: f64,
    others_heard_ms: f64,
}

#[derive(Clone, Copy, Debug)]
struct Underway {
    ticket: Ticket,
    began_ms: f64,
    busy_ms: Option<f64>,
}

impl Load {
    pub(super) fn new(processors: f64) -> Self {
        Self { runs: Vec::new(), tickets: 0, processors, others: 0.0, others_heard_ms: 0.0 }
    }

    pub(super) fn processors(&self) -> f64 {
        self.processors
    }

    pub(super) fn ours(&self) -> usize {
        self.runs.len()
    }

    /// How many processors there are, and how many runs there are not ours.
    pub(super) fn hear(&mut self, now: Duration, processors: u32, others: u32) {
        self.processors = f64::from(processors.max(1));
        self.others = f64::from(others);
        self.others_heard_ms = milliseconds(now);
    }

    pub(super) fn begin(&mut self, now: Duration, forecast: Option<Forecast>) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        if self.runs.len() < COUNTED_MAX {
            let busy_ms = forecast.map(|forecast| forecast.busy_ms);
            self.runs.push(Underway { ticket, began_ms: milliseconds(now), busy_ms });
        }
        ticket
    }

    /// Whether the run had a processor for itself at its end; how long it was under way, if that
    /// was counted.
    pub(super) fn end(&mut self, now: Duration, ticket: Ticket) -> (bool, Option<f64>) {
        let alone = self.active(milliseconds(now)) <= self.processors;
        let found = self.runs.iter().position(|run| run.ticket == ticket);
        let took_ms = found.map(|at| milliseconds(now) - self.runs.swap_remove(at).began_ms);
        (alone, took_ms)
    }

    /// Whether something new would find a processor that is free.
    pub(super) fn has_room(&self, now: Duration) -> bool {
        self.active(milliseconds(now)) < self.processors
    }

    /// How long a new run of that forecast takes from its beginning to its end. Runs take turns,
    /// those that have used little before those that have used much: what is under way holds a new
    /// run up for as long as it has used less than the new one will.
    pub(super) fn finish_ms(&self, now: Duration, forecast: &Forecast) -> f64 {
        let now_ms = milliseconds(now);
        let active = self.active(now_ms);
        let own_ms = forecast.busy_ms;
        if active + 1.0 <= self.processors {
            return own_ms + forecast.idle_ms;
        }
        let share = (self.processors / active).min(1.0);
        let ours: f64 = self.runs.iter().map(|run| run.before(now_ms, share, own_ms)).sum();
        let others = self.others(now_ms) * own_ms / 2.0;
        own_ms.max((own_ms + ours + others) / self.processors) + forecast.idle_ms
    }

    fn active(&self, now_ms: f64) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "at most COUNTED_MAX")]
        let ours = self.runs.len() as f64;
        ours + self.others(now_ms)
    }

    fn others(&self, now_ms: f64) -> f64 {
        if now_ms - self.others_heard_ms < HEARD_MS_MAX { self.others } else { 0.0 }
    }
}

impl Underway {
    /// How much of this run comes before the end of a new one that needs `own_ms`.
    fn before(&self, now_ms: f64, share: f64, own_ms: f64) -> f64 {
        let used_ms = (now_ms - self.began_ms) * share;
        let left_ms = match self.busy_ms {
            Some(busy_ms) if busy_ms > used_ms => busy_ms - used_ms,
            // Who has outlived what was expected is expected to need as long again.
            Some(_) => used_ms,
            None => used_ms.max(own_ms),
        };
        left_ms.min((own_ms - used_ms).max(0.0))
    }
}
