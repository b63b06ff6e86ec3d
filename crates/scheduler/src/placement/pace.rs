//! How much longer, or shorter, the same work takes upstream than here.

/// The weight of the latest comparison once there were many.
const WEIGHT_MIN: f64 = 0.2;
/// One comparison never says more than this factor.
const FACTOR_MAX: f64 = 64.0;
/// Shorter runs than this say nothing of a processor's pace.
const BUSY_MS_MIN: f64 = 0.2;

/// The mean logarithm of time upstream over time here.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    log: f64,
    samples: u32,
    /// How often the upstream had changed when this was last learned.
    changes: u32,
}

impl Pace {
    pub(super) fn is_known(self) -> bool {
        self.samples > 0
    }

    pub(super) fn or(self, other: Self) -> Self {
        if self.is_known() { self } else { other }
    }

    /// By what to multiply a time here to get the time upstream.
    pub(super) fn factor(self) -> f64 {
        self.log.exp()
    }

    /// Learns from the same work on both sides. What was learned before the upstream changed counts
    /// no more.
    pub(super) fn see(&mut self, here_ms: f64, upstream_ms: f64, changes: u32) {
        if here_ms < BUSY_MS_MIN || upstream_ms <= 0.0 {
            return;
        }
        let log = (upstream_ms / here_ms).clamp(1.0 / FACTOR_MAX, FACTOR_MAX).ln();
        if self.changes != changes {
            *self = Self { changes, ..Self::default() };
        }
        self.samples = self.samples.saturating_add(1);
        self.log += (1.0 / f64::from(self.samples)).max(WEIGHT_MIN) * (log - self.log);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_even_until_both_sides_were_seen() {
        let mut pace = Pace::default();
        assert!(!pace.is_known() && pace.factor() == 1.0);
        pace.see(0.01, 5.0, 0);
        assert!(!pace.is_known(), "too short to say anything");
        pace.see(100.0, 25.0, 0);
        assert!((pace.factor() - 0.25).abs() < 1e-9);
        pace.see(100.0, 400.0, 1);
        assert!((pace.factor() - 4.0).abs() < 1e-9, "the upstream has changed");
    }
}
