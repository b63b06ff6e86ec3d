//! Time that passes when it is told to.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::task::Poll;

use jiff::Timestamp;
use runabout_scheduler::Moment;

use crate::engine::clock::{Sleep, Time};

/// A clock that stands still between two tellings.
#[derive(Clone)]
pub(super) struct SimulatedTime {
    now_ms: Arc<AtomicU64>,
    wall_ms: Arc<AtomicI64>,
}

impl SimulatedTime {
    pub(super) fn new() -> Self {
        Self {
            now_ms: Arc::new(AtomicU64::new(1_000_000)),
            wall_ms: Arc::new(AtomicI64::new(1_700_000_000_000)),
        }
    }

    pub(super) fn pass_ms(&self, ms: u32) {
        self.now_ms.fetch_add(ms.into(), Ordering::Relaxed);
        self.wall_ms.fetch_add(ms.into(), Ordering::Relaxed);
    }

    /// Somebody sets the clock on the wall.
    pub(super) fn set_wall_by_ms(&self, ms: i64) {
        self.wall_ms.fetch_add(ms, Ordering::Relaxed);
    }
}

impl Time for SimulatedTime {
    fn now(&self) -> Moment {
        Moment(self.now_ms.load(Ordering::Relaxed))
    }

    fn wall(&self) -> Timestamp {
        let ms = self.wall_ms.load(Ordering::Relaxed);
        Timestamp::from_millisecond(ms).expect("within a few years")
    }

    fn sleep_until(&self, moment: Moment) -> Sleep {
        let time = self.clone();
        // Nobody is woken: the simulation looks again after each thing that happens.
        Box::pin(poll_fn(
            move |_| {
                if time.now() < moment { Poll::Pending } else { Poll::Ready(()) }
            },
        ))
    }
}
