//! What is expected of a quantity that was seen a few times: its mean and how far it strays, both
//! leaning towards what was seen last.

/// The weight of what is seen once much was seen before.
const WEIGHT_MIN: f64 = 0.2;
/// By which factor something must differ from what is expected to be a surprise.
const SURPRISE_FACTOR: f64 = 2.0;
/// And by how many times what it usually strays.
const SURPRISE_SPREADS: f64 = 4.0;
/// Surprises in a row, after which what was seen before counts no more.
const SURPRISES_MAX: u8 = 2;

/// An estimate of a quantity that is not negative.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Estimate {
    mean: f64,
    /// The mean distance from the mean.
    spread: f64,
    samples: u32,
    surprises: u8,
    /// The mean is no more than a bound: nothing was seen whole since it was raised.
    is_bound: bool,
}

/// Whether something seen was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    AsExpected,
    Surprise,
}

impl Estimate {
    pub(super) fn mean(&self) -> Option<f64> {
        (self.samples > 0).then_some(self.mean)
    }

    pub(super) fn spread(&self) -> f64 {
        self.spread
    }

    pub(super) fn samples(&self) -> u32 {
        self.samples
    }

    /// Whether no more is known than that it is at least the mean.
    pub(super) fn is_bound(&self) -> bool {
        self.is_bound
    }

    pub(super) fn see(&mut self, value: f64) -> Seen {
        let is_surprise = self.is_surprise(value);
        self.surprises = if is_surprise { self.surprises + 1 } else { 0 };
        if self.surprises >= SURPRISES_MAX || self.is_bound {
            *self = Self::default();
        }
        self.samples = self.samples.saturating_add(1);
        let weight = (1.0 / f64::from(self.samples)).max(WEIGHT_MIN);
        if self.samples == 1 {
            self.mean = value;
            // Nothing is known of it yet; half is what runs of one class commonly stray at most.
            self.spread = value / 2.0;
        } else {
            if !is_surprise {
                self.spread += weight * ((value - self.mean).abs() - self.spread);
            }
            self.mean += weight * (value - self.mean);
        }
        if is_surprise { Seen::Surprise } else { Seen::AsExpected }
    }

    /// Something ended before it could be seen whole: it would have been at least this.
    pub(super) fn see_at_least(&mut self, value: f64) -> Seen {
        if self.samples > 0 && value <= self.mean {
            return Seen::AsExpected;
        }
        let is_surprise = self.is_surprise(value);
        self.mean = value;
        self.spread = self.spread.max(value / 4.0);
        self.samples = self.samples.max(1);
        self.is_bound = true;
        if is_surprise { Seen::Surprise } else { Seen::AsExpected }
    }

    fn is_surprise(&self, value: f64) -> bool {
        let differs = value > self.mean * SURPRISE_FACTOR || value < self.mean / SURPRISE_FACTOR;
        let strays = (value - self.mean).abs() > self.spread * SURPRISE_SPREADS;
        // What takes no time to speak of varies by any factor and surprises nobody.
        self.samples >= 3 && differs && strays && value.max(self.mean) > 0.1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(values: &[f64]) -> Estimate {
        let mut estimate = Estimate::default();
        for value in values {
            estimate.see(*value);
        }
        estimate
    }

    #[test]
    fn the_first_value_is_believed_and_later_ones_are_weighed() {
        assert_eq!(Estimate::default().mean(), None);
        assert_eq!(after(&[10.0]).mean(), Some(10.0));
        assert_eq!(after(&[10.0, 20.0]).mean(), Some(15.0));
        let long = after(&[10.0; 50]);
        assert!(long.mean() == Some(10.0) && long.spread() < 0.01);
    }

    #[test]
    fn a_change_that_stays_replaces_what_was_before() {
        let mut estimate = after(&[10.0; 20]);
        assert_eq!(estimate.see(100.0), Seen::Surprise);
        assert!(estimate.mean().is_some_and(|mean| mean < 30.0));
        assert_eq!(estimate.see(100.0), Seen::Surprise);
        assert_eq!(estimate.mean(), Some(100.0));
    }

    #[test]
    fn what_was_cut_short_only_ever_raises_it() {
        let mut estimate = after(&[10.0; 5]);
        estimate.see_at_least(4.0);
        assert_eq!(estimate.mean(), Some(10.0));
        estimate.see_at_least(40.0);
        assert_eq!(estimate.mean(), Some(40.0));
        estimate.see(12.0);
        assert_eq!(estimate.mean(), Some(12.0), "what was seen whole replaces a bound");
    }
}
