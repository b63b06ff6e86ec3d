//! Measures a run and decides when it must stop: time, processor time, memory.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use runabout_protocol::{LimitKind, Limits, MemoryScope, Outcome, Usage};
use rustix::time::{ClockId, clock_gettime};
use tokio_util::sync::CancellationToken;
use wasmtime::{ResourceLimiterAsync, Result};

/// Bytes a table element takes.
const TABLE_ELEMENT_BYTES: u64 = 8;

/// A memory that is to be larger leads its run away from the thread of its caller first.
const VISITING_MEMORY_BYTES_MAX: usize = 4 << 20;

/// How old a reading of a thread's clock may be where it need not be exact.
const READING_AGE_MAX: Duration = Duration::from_millis(1);

/// Why a run was stopped from outside. It travels through the guest as a trap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    Cancelled,
    Abandoned,
    TimedOut(LimitKind),
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stopped: {self:?}")
    }
}

impl std::error::Error for Stop {}

impl Stop {
    /// What the caller is told.
    pub fn outcome(self, limits: &Limits) -> Outcome {
        match self {
            Self::Cancelled | Self::Abandoned => Outcome::Cancelled,
            Self::TimedOut(limit) => {
                let limit_ms = match limit {
                    LimitKind::Wall => limits.timeout_ms,
                    LimitKind::Cpu => limits.cpu_ms,
                };
                Outcome::TimedOut { limit, limit_ms }
            }
        }
    }
}

/// The memory of all runs together.
pub struct NodeMemory {
    used_bytes: AtomicU64,
    pub limit_bytes: u64,
}

impl NodeMemory {
    pub fn new(limit_bytes: u64) -> Self {
        Self { used_bytes: AtomicU64::new(0), limit_bytes }
    }

    pub fn used_bytes(&self) -> u64 {
        self.used_bytes.load(Relaxed)
    }

    fn take(&self, bytes: u64) -> bool {
        let before = self.used_bytes.fetch_add(bytes, Relaxed);
        if before.saturating_add(bytes) <= self.limit_bytes {
            return true;
        }
        self.used_bytes.fetch_sub(bytes, Relaxed);
        false
    }

    fn give_back(&self, bytes: u64) {
        self.used_bytes.fetch_sub(bytes, Relaxed);
    }
}

/// One run's measures. Shared between the run, the thread that drives it, and the caller.
pub struct Meter {
    limits: Limits,
    started: Instant,
    cancel: CancellationToken,
    /// The caller has gone; nobody will read the outcome.
    abandoned: AtomicBool,
    /// The run is on the thread of its caller, and leaves it at a tick.
    visiting: AtomicBool,
    cpu_ns: AtomicU64,
    /// When the slice under way began, by the thread's clock.
    slice_began_ns: AtomicU64,
    memory_bytes: AtomicU64,
    memory_peak_bytes: AtomicU64,
    denied: AtomicU8,
    node: Arc<NodeMemory>,
}

const DENIED_BY_RUN: u8 = 1;
const DENIED_BY_NODE: u8 = 2;

impl Meter {
    pub fn new(limits: Limits, cancel: CancellationToken, node: Arc<NodeMemory>) -> Self {
        Self {
            limits,
            started: Instant::now(),
            cancel,
            abandoned: AtomicBool::new(false),
            visiting: AtomicBool::new(true),
            cpu_ns: AtomicU64::new(0),
            slice_began_ns: AtomicU64::new(0),
            memory_bytes: AtomicU64::new(0),
            memory_peak_bytes: AtomicU64::new(0),
            denied: AtomicU8::new(0),
            node,
        }
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    pub fn cancel(&self) -> &CancellationToken {
        &self.cancel
    }

    /// When the run was asked for.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// When the wall-clock limit is reached.
    pub fn deadline(&self) -> Instant {
        self.started + Duration::from_millis(self.limits.timeout_ms)
    }

    pub fn abandon(&self) {
        self.abandoned.store(true, Relaxed);
    }

    pub fn is_visiting(&self) -> bool {
        self.visiting.load(Relaxed)
    }

    pub fn move_in(&self) {
        self.visiting.store(false, Relaxed);
    }

    /// Called on the thread of the caller, where a short run begins and ends.
    pub fn begin_visit(&self) {
        self.slice_began_ns.store(recent_thread_cpu_ns(), Relaxed);
    }

    /// Called on the thread that is about to drive the run.
    pub fn begin_slice(&self) {
        self.slice_began_ns.store(thread_cpu_ns(), Relaxed);
    }

    /// Called on the same thread, when the run yields or ends.
    pub fn end_slice(&self) {
        let slice_ns = thread_cpu_ns().saturating_sub(self.slice_began_ns.load(Relaxed));
        self.cpu_ns.fetch_add(slice_ns, Relaxed);
    }

    /// Processor time of the slices that have ended.
    pub fn cpu_ns(&self) -> u64 {
        self.cpu_ns.load(Relaxed)
    }

    /// Whether the run has nothing left to do but to be stopped.
    pub fn is_to_stop(&self, now: Instant) -> bool {
        self.abandoned.load(Relaxed) || self.cancel.is_cancelled() || now >= self.deadline()
    }

    /// Processor time with that of the slice under way. Called on the thread that drives it.
    fn cpu_now_ns(&self) -> u64 {
        let slice_ns = thread_cpu_ns().saturating_sub(self.slice_began_ns.load(Relaxed));
        self.cpu_ns() + slice_ns
    }

    /// Whether the run must stop now. Called on the thread that drives it, at every tick.
    pub fn stop(&self) -> Option<Stop> {
        if self.abandoned.load(Relaxed) {
            return Some(Stop::Abandoned);
        }
        if self.cancel.is_cancelled() {
            return Some(Stop::Cancelled);
        }
        let wall_ms = self.started.elapsed().as_millis() as u64;
        if wall_ms >= self.limits.timeout_ms {
            return Some(Stop::TimedOut(LimitKind::Wall));
        }
        // A run has one thread and so never meets an equal limit first, but the two clocks go a
        // little unevenly: the wall is the one it knows.
        let is_tighter = self.limits.cpu_ms < self.limits.timeout_ms;
        let is_used_up = is_tighter && self.cpu_now_ns() / 1_000_000 >= self.limits.cpu_ms;
        is_used_up.then_some(Stop::TimedOut(LimitKind::Cpu))
    }

    /// Counts memory that the run is about to have; false if it may not.
    pub fn take_memory(&self, bytes: u64) -> bool {
        let held = self.memory_bytes.load(Relaxed).saturating_add(bytes);
        if held > self.limits.memory_bytes {
            self.denied.store(DENIED_BY_RUN, Relaxed);
            return false;
        }
        if !self.node.take(bytes) {
            self.denied.store(DENIED_BY_NODE, Relaxed);
            return false;
        }
        self.memory_bytes.store(held, Relaxed);
        self.memory_peak_bytes.fetch_max(held, Relaxed);
        true
    }

    /// The run's memory is there no more, and counts no more.
    pub fn give_memory_back(&self) {
        self.node.give_back(self.memory_bytes.swap(0, Relaxed));
    }

    /// The memory that is counted at this moment.
    pub fn memory_bytes(&self) -> u64 {
        self.memory_bytes.load(Relaxed)
    }

    /// The outcome of a failure to get memory, if the run was ever refused any.
    pub fn out_of_memory(&self) -> Option<Outcome> {
        let (scope, limit_bytes) = match self.denied.load(Relaxed) {
            0 => return None,
            DENIED_BY_NODE => (MemoryScope::Node, self.node.limit_bytes),
            _ => (MemoryScope::Run, self.limits.memory_bytes),
        };
        Some(Outcome::OutOfMemory { limit_bytes, scope })
    }

    /// The outcome of a run for which the node has no room.
    pub fn node_out_of_memory(&self) -> Outcome {
        Outcome::OutOfMemory { limit_bytes: self.node.limit_bytes, scope: MemoryScope::Node }
    }

    /// What was used until now. Called on the thread that drives the run.
    pub fn usage(&self) -> Usage {
        let wall_ns = self.started.elapsed().as_nanos() as u64;
        // A run that ends where it began hardly ever lost its thread to others.
        let cpu_ns = if self.is_visiting() { wall_ns } else { self.cpu_now_ns() };
        Usage {
            cpu_ms: Some(rounded_ms(cpu_ns)),
            wall_ms: rounded_ms(wall_ns),
            memory_peak_bytes: Some(self.memory_peak_bytes.load(Relaxed)),
            ran_on: None,
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.give_memory_back();
    }
}

/// To the microsecond.
fn rounded_ms(ns: u64) -> f64 {
    (ns / 1_000) as f64 / 1_000.0
}

thread_local! {
    /// A reading of the thread's clock, and when it was taken.
    static LAST_READING: Cell<Option<(Instant, u64)>> = const { Cell::new(None) };
}

/// Processor time of this thread, from a reading of the last millisecond: reading the clock takes as
/// long as a tenth of a short run. The thread is taken to have run ever since, so that a run is never
/// charged for what it did not use, and is let off a millisecond at the most.
fn recent_thread_cpu_ns() -> u64 {
    let now = Instant::now();
    if let Some((then, cpu_ns)) = LAST_READING.get() {
        let since = now.saturating_duration_since(then);
        if since < READING_AGE_MAX {
            return cpu_ns + since.as_nanos() as u64;
        }
    }
    let cpu_ns = thread_cpu_ns();
    LAST_READING.set(Some((now, cpu_ns)));
    cpu_ns
}

fn thread_cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Holds a store's memories and tables to the run's limits.
pub struct Limiter(pub Arc<Meter>);

#[wasmtime_wasi::async_trait]
impl ResourceLimiterAsync for Limiter {
    async fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> Result<bool> {
        // What works on a large memory may take long between two looks. On the thread of the caller
        // others would wait for it.
        if self.0.is_visiting() && desired > VISITING_MEMORY_BYTES_MAX {
            tokio::task::yield_now().await;
        }
        Ok(self.0.take_memory(desired.saturating_sub(current) as u64))
    }

    async fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> Result<bool> {
        let elements = desired.saturating_sub(current) as u64;
        Ok(self.0.take_memory(elements.saturating_mul(TABLE_ELEMENT_BYTES)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meter(limits: Limits, node: &Arc<NodeMemory>) -> Meter {
        Meter::new(limits, CancellationToken::new(), node.clone())
    }

    #[test]
    fn memory_is_given_back_when_the_run_is_gone() {
        let node = Arc::new(NodeMemory::new(1000));
        let run = meter(Limits::default(), &node);
        assert!(run.take_memory(600));
        assert!(!meter(Limits::default(), &node).take_memory(600));
        drop(run);
        assert!(meter(Limits::default(), &node).take_memory(600));
    }

    #[test]
    fn a_refusal_says_whose_limit_it_was() {
        let node = Arc::new(NodeMemory::new(1000));
        let run = meter(Limits { memory_bytes: 100, ..Limits::default() }, &node);
        assert_eq!(run.out_of_memory(), None);
        assert!(!run.take_memory(101));
        let own = Outcome::OutOfMemory { limit_bytes: 100, scope: MemoryScope::Run };
        assert_eq!(run.out_of_memory(), Some(own));

        let run = meter(Limits::default(), &node);
        assert!(!run.take_memory(1001));
        let node = Outcome::OutOfMemory { limit_bytes: 1000, scope: MemoryScope::Node };
        assert_eq!(run.out_of_memory(), Some(node));
    }

    #[test]
    fn a_cancelled_run_must_stop() {
        let node = Arc::new(NodeMemory::new(1000));
        let run = meter(Limits::default(), &node);
        assert_eq!(run.stop(), None);
        run.cancel().cancel();
        assert_eq!(run.stop(), Some(Stop::Cancelled));
    }
}
