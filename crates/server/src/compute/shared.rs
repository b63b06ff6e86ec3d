//! Single flight: who asks waits for a computation that begins after he has asked, together with all
//! who ask until it begins. At most one of a kind runs, and at most one is next.

use std::collections::HashMap;
use std::hash::Hash;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::FutureExt;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

/// Requests that wait for a computation at once; more hear 503.
pub const WAITING_MAX: usize = 8_192;

/// How long the next computation waits at most until all have taken the result of the one before. They
/// do as soon as their threads get to it; longer waits would be for a thread that is stuck.
const TAKING_TIME_MAX: Duration = Duration::from_millis(50);

/// The next computation waits for those who are just coming, no longer than the last one took and no
/// longer than this.
const GATHERING_TIME_MAX: Duration = Duration::from_millis(30);
/// How often it looks whether more have come.
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// It waits on while of so many who wait at least one has come since the last look. Of those who come
/// evenly, all through a computation of more than twenty looks, fewer do: it waits a look for them at most.
const GATHERING_ONE_IN: usize = 20;

/// Computations under way, by kind. The one that is next, if somebody waits for it already.
type UnderWay<K, T> = HashMap<K, Option<Arc<Flight<T>>>>;

/// Computations that are shared, by what tells their kinds apart.
pub struct Shared<K, T> {
    /// A kind is here for as long as one of it runs.
    under_way: Arc<Mutex<UnderWay<K, T>>>,
    waiting: AtomicUsize,
    pace: Pace,
}

/// When the next computation begins after one has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// At once.
    Prompt,
    /// When those who are just coming have come: each costs as much as the last.
    Gathering,
}

/// Why there is no result.
#[derive(Debug, PartialEq, Eq)]
pub enum Without {
    /// As many wait as may.
    Full,
    /// The computation has panicked.
    Broken,
}

impl<K, T> Shared<K, T> {
    /// None under way.
    pub fn new(pace: Pace) -> Self {
        Self { under_way: Arc::default(), waiting: AtomicUsize::new(0), pace }
    }
}

impl<K: Clone + Eq + Hash + Send + Sync + 'static, T: Clone + Send + Sync + 'static> Shared<K, T> {
    /// Those who wait at this moment.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Waits for a computation that begins after this is called. `compute` begins one, and is kept
    /// for those that follow it. One that nobody waits for any more is dropped.
    ///
    /// # Errors
    /// Too many wait already, or it panicked.
    pub async fn join<C, F>(&self, key: K, compute: impl FnOnce() -> C) -> Result<T, Without>
    where
        C: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let _counted = Counted::begin(&self.waiting).ok_or(Without::Full)?;
        let seat = {
            let mut under_way = self.under_way.lock();
            match under_way.get_mut(&key) {
                Some(next) => Seat::take(next.get_or_insert_with(Arc::default)),
                None => {
                    under_way.insert(key.clone(), None);
                    let seat = Seat::take(&Arc::default());
                    let (first, all) = (Arc::clone(&seat.0), Arc::clone(&self.under_way));
                    // It ends by itself, when nobody waits any more.
                    tokio::spawn(fly(all, key, self.pace, first, compute()));
                    seat
                }
            }
        };
        seat.wait().await.ok_or(Without::Broken)
    }
}

/// One computation and all who wait for it.
struct Flight<T> {
    /// `None` in it if there will be none.
    result: OnceLock<Option<T>>,
    done: Notify,
    seats: AtomicUsize,
    /// Told when the last one has gone.
    left: Notify,
}

impl<T> Default for Flight<T> {
    fn default() -> Self {
        let (result, seats) = (OnceLock::new(), AtomicUsize::new(0));
        Self { result, done: Notify::new(), seats, left: Notify::new() }
    }
}

impl<T> Flight<T> {
    /// Waits until nobody waits any more. Once it runs nobody joins it, so that this is for good.
    async fn is_left(&self) {
        loop {
            let left = self.left.notified();
            tokio::pin!(left);
            left.as_mut().enable();
            if self.seats.load(Ordering::SeqCst) == 0 {
                return;
            }
            left.await;
        }
    }
}

/// Computes one after the other for as long as somebody waits.
async fn fly<K: Eq + Hash, T, C: Fn() -> F, F: Future<Output = T>>(
    under_way: Arc<Mutex<UnderWay<K, T>>>,
    key: K,
    pace: Pace,
    first: Arc<Flight<T>>,
    compute: C,
) {
    let mut flight = first;
    loop {
        // Whoever asks from here on is no longer among those who wait for this one.
        let began = Instant::now();
        let result = tokio::select! {
            result = AssertUnwindSafe(async { compute().await }).catch_unwind() => result.ok(),
            () = flight.is_left() => None,
        };
        let ran = began.elapsed();
        if flight.result.set(result).is_ok() {
            flight.done.notify_waiters();
        }
        if pace == Pace::Gathering {
            // Those who are answered ask again, and others come meanwhile: one computation that begins
            // a little later answers all of them, where two would each answer a half. In time or not,
            // the next one begins.
            let before = waiting_for_next(&under_way, &key);
            drop(timeout(TAKING_TIME_MAX, flight.is_left()).await);
            gather(&under_way, &key, before, ran.min(GATHERING_TIME_MAX)).await;
        }
        // Within one lock: whoever asks finds a next one to join, or none under way.
        let mut under_way = under_way.lock();
        match under_way.get_mut(&key).and_then(Option::take) {
            Some(next) => flight = next,
            None => {
                under_way.remove(&key);
                return;
            }
        }
    }
}

/// Waits, for `time_max` at most, while many more come who wait for the next computation than the
/// `before` who did when the last one ended.
async fn gather<K: Eq + Hash, T>(
    under_way: &Mutex<UnderWay<K, T>>,
    key: &K,
    mut before: usize,
    time_max: Duration,
) {
    let end = Instant::now() + time_max;
    while Instant::now() + LOOK_EVERY < end {
        let waiting = waiting_for_next(under_way, key);
        if waiting == 0 || waiting.saturating_sub(before) * GATHERING_ONE_IN < waiting {
            return;
        }
        before = waiting;
        sleep(LOOK_EVERY).await;
    }
}

fn waiting_for_next<K: Eq + Hash, T>(under_way: &Mutex<UnderWay<K, T>>, key: &K) -> usize {
    let next = under_way.lock().get(key).and_then(Option::clone);
    next.map_or(0, |next| next.seats.load(Ordering::SeqCst))
}

/// A place among those who wait; given up when this is dropped.
struct Seat<T>(Arc<Flight<T>>);

impl<T> Seat<T> {
    fn take(flight: &Arc<Flight<T>>) -> Self {
        flight.seats.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(flight))
    }
}

impl<T: Clone> Seat<T> {
    async fn wait(&self) -> Option<T> {
        loop {
            let done = self.0.done.notified();
            tokio::pin!(done);
            // Enabled before the look: a result that comes after the look wakes us.
            done.as_mut().enable();
            if let Some(result) = self.0.result.get() {
                return result.clone();
            }
            done.await;
        }
    }
}

impl<T> Drop for Seat<T> {
    fn drop(&mut self) {
        if self.0.seats.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.left.notify_waiters();
        }
    }
}

/// Counts one who waits, until it is dropped.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn begin(count: &'a AtomicUsize) -> Option<Self> {
        if count.fetch_add(1, Ordering::Relaxed) < WAITING_MAX {
            return Some(Self(count));
        }
        count.fetch_sub(1, Ordering::Relaxed);
        None
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::{Semaphore, mpsc};
    use tokio::task::JoinHandle;

    use super::*;

    /// Computations that begin when they are asked for and end when they are told to. What one comes
    /// to is its number, from 0.
    #[derive(Clone)]
    struct Bench {
        shared: Arc<Shared<&'static str, usize>>,
        begun: Arc<AtomicUsize>,
        /// A computation takes one to end.
        ends: Arc<Semaphore>,
        told: mpsc::UnboundedSender<usize>,
    }

    impl Bench {
        fn new() -> (Self, mpsc::UnboundedReceiver<usize>) {
            let (told, begins) = mpsc::unbounded_channel();
            let (begun, ends) = (Arc::default(), Arc::new(Semaphore::new(0)));
            (Self { shared: Arc::new(Shared::new(Pace::Gathering)), begun, ends, told }, begins)
        }

        fn ask(&self) -> JoinHandle<Result<usize, Without>> {
            let bench = self.clone();
            tokio::spawn(async move {
                let computing = bench.clone();
                let compute = move || {
                    let bench = computing.clone();
                    async move {
                        let number = bench.begun.fetch_add(1, Ordering::SeqCst);
                        bench.told.send(number).expect("somebody looks");
                        bench.ends.acquire().await.expect("is open").forget();
                        assert_ne!(number, 77, "the one that breaks");
                        number
                    }
                };
                bench.shared.join("fib", || compute).await
            })
        }

        /// Lets tasks go on that are ready to.
        async fn settle(&self, waiting: usize) {
            while self.shared.waiting() != waiting {
                tokio::task::yield_now().await;
            }
        }
    }

    #[tokio::test]
    async fn an_answer_rests_on_a_computation_that_began_after_the_question() {
        let (bench, mut begins) = Bench::new();
        let first = bench.ask();
        assert_eq!(begins.recv().await, Some(0));
        // The first one runs: these three have come too late for it, and share the next.
        let late: Vec<_> = (0..3).map(|_| bench.ask()).collect();
        bench.settle(4).await;
        bench.ends.add_permits(1);
        assert_eq!(first.await.expect("ends"), Ok(0));
        assert_eq!(begins.recv().await, Some(1));
        let later = bench.ask();
        bench.settle(4).await;
        bench.ends.add_permits(2);
        for late in late {
            assert_eq!(late.await.expect("ends"), Ok(1));
        }
        assert_eq!(later.await.expect("ends"), Ok(2));
        assert_eq!(bench.begun.load(Ordering::SeqCst), 3);
        assert!(bench.shared.under_way.lock().is_empty());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn no_answer_is_older_than_its_question_whoever_asks_when() {
        let shared: Arc<Shared<(), usize>> = Arc::new(Shared::new(Pace::Gathering));
        let begun = Arc::new(AtomicUsize::new(0));
        let ask = |shared: Arc<Shared<(), usize>>, begun: Arc<AtomicUsize>| async move {
            for _ in 0..500 {
                let before = begun.load(Ordering::SeqCst);
                let counter = begun.clone();
                let compute = move || {
                    let counter = counter.clone();
                    async move {
                        let number = counter.fetch_add(1, Ordering::SeqCst) + 1;
                        tokio::task::yield_now().await;
                        number
                    }
                };
                let answer = shared.join((), || compute).await.expect("there is room");
                assert!(answer > before, "{answer} began before the question, at {before}");
            }
        };
        let asking: Vec<_> =
            (0..16).map(|_| tokio::spawn(ask(shared.clone(), begun.clone()))).collect();
        for asking in asking {
            asking.await.expect("holds");
        }
        assert!(begun.load(Ordering::SeqCst) <= 16 * 500);
    }

    #[tokio::test]
    async fn all_who_ask_again_at_once_share_one_computation() {
        let shared: Arc<Shared<(), ()>> = Arc::new(Shared::new(Pace::Gathering));
        let begun = Arc::new(AtomicUsize::new(0));
        let asking: Vec<_> = (0..50)
            .map(|_| {
                let (shared, begun) = (Arc::clone(&shared), Arc::clone(&begun));
                tokio::spawn(async move {
                    for _ in 0..20 {
                        let begun = Arc::clone(&begun);
                        let compute = move || {
                            begun.fetch_add(1, Ordering::SeqCst);
                            tokio::task::yield_now()
                        };
                        shared.join((), || compute).await.expect("there is room");
                    }
                })
            })
            .collect();
        for asking in asking {
            asking.await.expect("holds");
        }
        // The first one was begun for whoever asked first. Two halves in turn would need twice as many.
        assert_eq!(begun.load(Ordering::SeqCst), 21);
    }

    #[tokio::test]
    async fn who_hangs_up_takes_nobody_with_him() {
        let (bench, mut begins) = Bench::new();
        let leader = bench.ask();
        assert_eq!(begins.recv().await, Some(0));
        let other = bench.ask();
        bench.settle(2).await;
        leader.abort();
        // What nobody waits for is dropped, and the next begins at once.
        assert_eq!(begins.recv().await, Some(1));
        bench.ends.add_permits(1);
        assert_eq!(other.await.expect("ends"), Ok(1));
    }

    #[tokio::test]
    async fn one_that_breaks_is_an_error_for_those_who_waited_for_it_alone() {
        let (bench, mut begins) = Bench::new();
        bench.begun.store(77, Ordering::SeqCst);
        let broken = bench.ask();
        assert_eq!(begins.recv().await, Some(77));
        let next = bench.ask();
        bench.settle(2).await;
        bench.ends.add_permits(2);
        assert_eq!(broken.await.expect("ends"), Err(Without::Broken));
        assert_eq!(next.await.expect("ends"), Ok(78));
    }

    #[tokio::test]
    async fn beyond_those_who_may_wait_it_is_refused() {
        let (bench, _begins) = Bench::new();
        bench.shared.waiting.store(WAITING_MAX, Ordering::SeqCst);
        let refused = tokio::time::timeout(Duration::from_secs(10), bench.ask()).await;
        assert_eq!(refused.expect("at once").expect("ends"), Err(Without::Full));
    }
}
