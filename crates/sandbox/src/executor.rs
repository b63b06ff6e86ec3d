//! The compute threads. A run is a future that yields at every tick; the run that has used least
//! processor time goes first, so a long run never holds up a short one. "Least" is measured in
//! bands, each four times as wide as the one below, and within a band the first come runs first:
//! were it exact, many equal runs would take turns and all end at the end, or at their limit. Some
//! turns are kept for those that waited longest, so that short runs never starve a long one.
//!
//! A run may be slow to yield: while a gibibyte that it held is given back, or the engine fills an array
//! for it. If that keeps every compute thread, others help out.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Instant;

use async_task::{Builder, FallibleTask, Runnable};
use parking_lot::{Condvar, Mutex};
use tokio::runtime::Handle;

use crate::meter::Meter;

/// How much less the system favours compute threads than those that answer requests.
const NICENESS: i32 = 5;

/// One turn in so many is for the run that has waited longest.
const FAIR_TURN: u64 = 4;

/// Threads that help out. All that were slow to yield share the processors with those that wait.
const SPARE_THREADS: usize = 8;

/// How many ticks pass without anybody's turn until one helps out.
const STALLED_TICKS: u64 = 10;

type Slice = Runnable<Arc<Meter>>;

/// The compute threads and the runs that wait for one.
pub struct Executor {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    queue: Mutex<Queue>,
    ready: Condvar,
    /// Wakes a thread that helps out.
    stalled: Condvar,
    /// The length of the queue, to be read without its lock.
    waiting: AtomicUsize,
    /// The turns taken, to be read without the queue's lock.
    turns: AtomicU64,
    /// The ticks that have passed.
    ticks: AtomicU64,
    closed: AtomicBool,
}

/// The runs that wait. Bounded by the number of instances that the pool has room for, some
/// hundreds, so that looking at all of them is cheaper than keeping them in order.
#[derive(Default)]
struct Queue {
    runs: Vec<Waiting>,
    turns: u64,
    arrivals: u64,
}

struct Waiting {
    band: u32,
    started: Instant,
    /// Counts arrivals in the queue.
    arrival: u64,
    slice: Slice,
}

impl Executor {
    /// Starts `threads` compute threads. Guests' timers are those of `runtime`.
    pub fn start(threads: usize, runtime: &Handle) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            ready: Condvar::new(),
            stalled: Condvar::new(),
            waiting: AtomicUsize::new(0),
            turns: AtomicU64::new(0),
            ticks: AtomicU64::new(0),
            closed: AtomicBool::new(false),
        });
        let start = |name: String, duty| {
            let (shared, runtime) = (shared.clone(), runtime.clone());
            let thread = std::thread::Builder::new().name(name);
            thread.spawn(move || compute(&shared, duty, &runtime))
        };
        let computing =
            (0..threads.max(1)).map(|index| start(format!("compute-{index}"), Duty::Always));
        let helping =
            (0..SPARE_THREADS).map(|index| start(format!("spare-{index}"), Duty::Stalled));
        let threads = computing.chain(helping).collect::<std::io::Result<_>>()?;
        Ok(Self { shared, threads })
    }

    /// What is to be called at every tick: counts it, and sees whether runs wait and none gets its turn.
    pub fn watch(&self) -> impl FnMut() + Send + 'static {
        let shared = self.shared.clone();
        let (mut turns, mut stalled_ticks) = (0, 0);
        move || {
            shared.ticks.fetch_add(1, Relaxed);
            let turns_now = shared.turns.load(Relaxed);
            if shared.waiting.load(Relaxed) == 0 || turns_now != turns {
                (turns, stalled_ticks) = (turns_now, 0);
                return;
            }
            stalled_ticks += 1;
            if stalled_ticks % STALLED_TICKS == 0 {
                shared.stalled.notify_one();
            }
        }
    }

    /// The ticks that have passed, while there were runs.
    pub fn ticks(&self) -> u64 {
        self.shared.ticks.load(Relaxed)
    }

    /// Whether a run waits for a thread; one that runs should then make room.
    pub fn has_waiting(&self) -> bool {
        self.shared.waiting.load(Relaxed) > 0
    }

    /// Runs a future to its end on the compute threads. Dropping the answer ends it.
    pub fn spawn<F>(&self, future: F, meter: Arc<Meter>) -> FallibleTask<F::Output, Arc<Meter>>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let shared = self.shared.clone();
        let schedule = move |slice: Slice| shared.push(slice);
        let (slice, task) = Builder::new().metadata(meter).spawn(|_| future, schedule);
        slice.schedule();
        task.fallible()
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        self.shared.closed.store(true, Relaxed);
        {
            let _queue = self.shared.queue.lock();
            self.shared.ready.notify_all();
            self.shared.stalled.notify_all();
        }
        let this_thread = std::thread::current().id();
        for thread in self.threads.drain(..) {
            // The last run may hold the last reference to us, and then this is its own thread.
            if thread.thread().id() != this_thread {
                // A compute thread catches its runs' panics and has nothing else to tell.
                let _ = thread.join();
            }
        }
    }
}

impl Shared {
    fn push(&self, slice: Slice) {
        let (band, started) = (band(slice.metadata().cpu_ns()), slice.metadata().started());
        let mut queue = self.queue.lock();
        queue.arrivals += 1;
        let arrival = queue.arrivals;
        queue.runs.push(Waiting { band, started, arrival, slice });
        self.waiting.store(queue.runs.len(), Relaxed);
        self.ready.notify_one();
    }

    /// The next slice to run; `None` when the threads are to end.
    fn pop(&self, duty: Duty) -> Option<Slice> {
        let mut queue = self.queue.lock();
        if duty == Duty::Stalled && !self.closed.load(Relaxed) {
            self.stalled.wait(&mut queue);
        }
        loop {
            if self.closed.load(Relaxed) {
                return None;
            }
            if let Some(next) = queue.next() {
                self.waiting.store(queue.runs.len(), Relaxed);
                self.turns.store(queue.turns, Relaxed);
                return Some(next);
            }
            match duty {
                Duty::Always => self.ready.wait(&mut queue),
                Duty::Stalled => self.stalled.wait(&mut queue),
            }
        }
    }
}

/// When a thread takes its turn.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Duty {
    /// Whenever there is something to run.
    Always,
    /// Once, each time that no other thread has taken one for a while.
    Stalled,
}

impl Queue {
    /// A run that is to stop goes before all others, so that it stops now. Every fourth turn is
    /// for the run that has waited longest, so that none waits for ever. The other turns are for
    /// the youngest band, and in it for the run that was asked for first.
    fn next(&mut self) -> Option<Slice> {
        let now = Instant::now();
        self.turns += 1;
        let is_for_the_longest_wait = self.turns.is_multiple_of(FAIR_TURN);
        let rank = |waiting: &Waiting| {
            let is_ending = waiting.slice.metadata().is_to_stop(now);
            let band = if is_for_the_longest_wait { 0 } else { waiting.band };
            let order = if is_for_the_longest_wait { None } else { Some(waiting.started) };
            (!is_ending, band, order, waiting.arrival)
        };
        let best = (0..self.runs.len()).min_by_key(|index| rank(&self.runs[*index]))?;
        Some(self.runs.swap_remove(best).slice)
    }
}

fn compute(shared: &Shared, duty: Duty, runtime: &Handle) {
    let _timers = runtime.enter();
    // Not being allowed to be nice is no reason not to run.
    let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICENESS);
    while let Some(slice) = shared.pop(duty) {
        let meter = slice.metadata().clone();
        meter.begin_slice();
        // A panic here is a fault of ours: that run ends as one, and the thread goes on.
        if catch_unwind(AssertUnwindSafe(|| slice.run())).is_err() {
            tracing::error!("a run panicked inside the sandbox");
        }
        meter.end_slice();
    }
}

/// Below 3 ms, below 15 ms, below 63 ms and so on.
fn band(used_ns: u64) -> u32 {
    (used_ns / 1_000_000 + 1).ilog2() / 2
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use runabout_protocol::Limits;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::meter::NodeMemory;

    fn meter() -> Arc<Meter> {
        let node = Arc::new(NodeMemory::new(0));
        Arc::new(Meter::new(Limits::default(), CancellationToken::new(), node))
    }

    #[tokio::test]
    async fn runs_that_do_not_yield_hold_up_nobody() {
        let executor = Executor::start(1, &Handle::current()).expect("threads start");
        let mut watch = executor.watch();
        let mut stuck = Vec::new();
        for _ in 0..SPARE_THREADS {
            let (release, released) = mpsc::channel::<()>();
            let (begin, begun) = mpsc::channel::<()>();
            let run = executor.spawn(
                async move {
                    begin.send(()).expect("is waited for");
                    released.recv().is_err()
                },
                meter(),
            );
            while begun.try_recv().is_err() {
                watch();
            }
            stuck.push((release, run));
        }
        let other = executor.spawn(async { 7 }, meter());
        while !other.is_finished() {
            watch();
        }
        assert_eq!(other.await, Some(7));
        for (release, run) in stuck {
            drop(release);
            assert_eq!(run.await, Some(true));
        }
    }

    #[tokio::test]
    async fn nobody_helps_out_while_turns_are_taken() {
        let executor = Executor::start(1, &Handle::current()).expect("threads start");
        let mut watch = executor.watch();
        for _ in 0..100 {
            let name =
                executor.spawn(async { std::thread::current().name().map(str::to_owned) }, meter());
            watch();
            assert_eq!(name.await, Some(Some("compute-0".to_owned())));
        }
    }

    #[test]
    fn bands_grow_fourfold() {
        let bands = [0, 2, 3, 14, 15, 62, 63, 30_000].map(|ms| band(ms * 1_000_000));
        assert_eq!(bands, [0, 0, 1, 1, 2, 2, 3, 7]);
    }
}
