//! What lies between here and upstream: the time of a round trip, and of each byte.

use super::estimate::Estimate;

/// Exchanges of less than this tell of the round trip, larger ones of the bytes.
const SMALL_BYTES_MAX: f64 = 32.0 * 1024.0;
/// A round trip of which nothing is known yet.
const ROUND_TRIP_MS: f64 = 1.0;
/// Exchanges that an artifact takes beside the call itself: the call that finds it missing, and its
/// own.
const ARTIFACT_EXCHANGES: f64 = 2.0;
/// A byte of which nothing is known yet: 100 MB/s.
const BYTE_MS: f64 = 1.0 / 100_000.0;

/// What transfers cost.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Network {
    round_trip: Estimate,
    byte: Estimate,
}

impl Network {
    pub(super) fn round_trip_ms(&self) -> f64 {
        self.round_trip.mean().unwrap_or(ROUND_TRIP_MS)
    }

    pub(super) fn byte_ms(&self) -> f64 {
        self.byte.mean().unwrap_or(BYTE_MS)
    }

    /// What it takes to hand over and take back so many bytes.
    pub(super) fn transfer_ms(&self, bytes: f64) -> f64 {
        self.round_trip_ms() + bytes * self.byte_ms()
    }

    /// What it takes to send an artifact first: asking for it is an exchange of its own.
    #[expect(clippy::cast_precision_loss, reason = "no artifact has 2^53 bytes")]
    pub(super) fn artifact_ms(&self, bytes: u64) -> f64 {
        if bytes == 0 {
            return 0.0;
        }
        self.round_trip_ms() * ARTIFACT_EXCHANGES + bytes as f64 * self.byte_ms()
    }

    /// Learns from an exchange of so many bytes that took this long beside the work itself.
    pub(super) fn see(&mut self, bytes: f64, took_ms: f64) {
        if bytes < SMALL_BYTES_MAX {
            self.round_trip.see(took_ms.max(0.0));
        } else {
            let for_bytes_ms = (took_ms - self.round_trip_ms()).max(0.0);
            self.byte.see(for_bytes_ms / bytes);
        }
    }
}
