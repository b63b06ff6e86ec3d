//! What a node does every few seconds beside its work: it tells its metrics where it stands, and gives back
//! memory that it does not need.

use std::time::{Duration, Instant};

use runabout_store::Store;
use rustix::time::{ClockId, clock_gettime};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::app::App;
use crate::metrics;

/// A node that nobody has asked to run anything for that long forgets the code it has in memory.
const FORGET_AFTER: Duration = Duration::from_secs(60);

/// A node is at rest if it has used less than one part in so many of a core's time since it looked last.
const REST_SHARE: u32 = 50;

/// How much a node at rest may grow before it looks for memory that it can give back.
const GROWTH_AT_REST_BYTES: u64 = 4 << 20;

/// It looks once more after it has given so much back.
const GAIN_BYTES_MIN: u64 = 1 << 20;

/// How much it may grow while it works.
const GROWTH_AT_WORK_BYTES: u64 = 128 << 20;

/// Goes on until it is aborted.
pub async fn go_on(app: App) {
    let mut ticks = tokio::time::interval(metrics::UPKEEP_EVERY);
    let (mut use_of_cores, mut held) = (Use::until_now(), Held::default());
    let mut forgotten = Instant::now();
    loop {
        ticks.tick().await;
        app.metrics.upkeep();
        if forgotten.elapsed() >= FORGET_AFTER {
            held.may_shrink |= app.sandbox.forget_idle_programs();
            forgotten = Instant::now();
        }
        let (calls, _) = app.gate.load();
        let is_idle = calls == 0 && app.engine.counts().running == 0;
        held.give_back(&app.store, is_idle && use_of_cores.is_little()).await;
        use_of_cores = Use::until_now();
    }
}

/// How much processor time the process had used at some moment.
struct Use {
    at: Instant,
    cpu: Duration,
}

impl Use {
    fn until_now() -> Self {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        Self { at: Instant::now(), cpu: Duration::new(cpu.tv_sec as u64, cpu.tv_nsec as u32) }
    }

    /// Whether it has used next to nothing since.
    fn is_little(&self) -> bool {
        let now = Self::until_now();
        now.cpu.saturating_sub(self.cpu) < now.at.saturating_duration_since(self.at) / REST_SHARE
    }
}

/// What the process held when memory was last given back, in bytes.
#[derive(Default)]
struct Held {
    /// At rest.
    at_rest: u64,
    /// At any time.
    at_last: u64,
    /// There is more to give back without having grown: the last time was of use, or something was
    /// forgotten since.
    may_shrink: bool,
}

impl Held {
    /// Gives memory back that the allocator has kept, if the process has grown: by little at rest,
    /// when it disturbs nobody, by much while it works.
    async fn give_back(&mut self, store: &Store, is_at_rest: bool) {
        let Some(bytes) = metrics::resident_bytes() else { return };
        let (before, growth) = if is_at_rest {
            (self.at_rest, GROWTH_AT_REST_BYTES)
        } else {
            (self.at_last, GROWTH_AT_WORK_BYTES)
        };
        if bytes < before.saturating_add(growth) && !(is_at_rest && self.may_shrink) {
            return;
        }
        // A disk that does not answer holds up no more than this once.
        if is_at_rest && timeout(metrics::UPKEEP_EVERY, store.release_memory()).await != Ok(Ok(()))
        {
            tracing::debug!("the store keeps its memory");
        }
        // An error says that the node stops.
        drop(spawn_blocking(runabout_sandbox::give_back_freed_memory).await);
        self.at_last = metrics::resident_bytes().unwrap_or(bytes);
        if is_at_rest {
            self.at_rest = self.at_last;
            self.may_shrink = bytes >= self.at_last.saturating_add(GAIN_BYTES_MIN);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_works_is_not_at_rest() {
        let used = Use::until_now();
        while used.at.elapsed() < Duration::from_millis(20) {
            std::hint::spin_loop();
        }
        assert!(!used.is_little());
        let long_ago = Use { at: used.at - Duration::from_secs(100), cpu: used.cpu };
        assert!(long_ago.is_little());
    }
}
