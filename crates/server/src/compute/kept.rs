//! Results that are kept for those who ask again. What is not there yet is computed once for all who
//! ask meanwhile. If that fails, they are not sent to try one after the other: those who wait share
//! the next try.

use std::hash::Hash;
use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::shared::{Pace, Shared, Without};

/// Results by what they answer.
pub struct Kept<K, T, W> {
    results: Arc<Cache<K, T, W>>,
    /// A try to fill a place. Who asks while one is under way waits for the next, and that one finds
    /// what was kept before it, at once, or tries again.
    tries: Shared<K, T>,
}

impl<K, T, W> Kept<K, T, W>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    T: Clone + Send + Sync + 'static,
    W: Weighter<K, T> + Clone + Send + Sync + 'static,
{
    /// Empty; `expected` results that weigh `weight_max` together.
    pub fn new(expected: usize, weight_max: u64, weighter: W) -> Self {
        let results = Arc::new(Cache::with_weighter(expected, weight_max, weighter));
        Self { results, tries: Shared::new(Pace::Prompt) }
    }

    /// Those who wait at this moment.
    pub fn waiting(&self) -> usize {
        self.tries.waiting()
    }

    /// What is kept, or what `compute` makes; what is an error is handed on to those who waited for
    /// it, and not kept.
    ///
    /// # Errors
    /// Too many wait already, or it panicked.
    pub async fn get<C, F>(&self, key: K, compute: impl FnOnce() -> C) -> Result<T, Without>
    where
        C: Fn() -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<T, T>> + Send + 'static,
    {
        if let Some(kept) = self.results.get(&key) {
            return Ok(kept);
        }
        let (results, place) = (Arc::clone(&self.results), key.clone());
        let fill = || {
            let compute = compute();
            move || {
                let (results, place, compute) = (results.clone(), place.clone(), compute.clone());
                async move {
                    if let Some(kept) = results.get(&place) {
                        return kept;
                    }
                    match compute().await {
                        Ok(made) => {
                            results.insert(place, made.clone());
                            made
                        }
                        Err(failed) => failed,
                    }
                }
            }
        };
        self.tries.join(key, fill).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use quick_cache::UnitWeighter;
    use tokio::sync::{Semaphore, mpsc};
    use tokio::task::JoinHandle;

    use super::*;

    type Asking = JoinHandle<Result<usize, Without>>;

    /// Tries that end when they are told to; those before number `good_from` fail.
    #[derive(Clone)]
    struct Bench {
        kept: Arc<Kept<&'static str, usize, UnitWeighter>>,
        begun: Arc<AtomicUsize>,
        good_from: usize,
        ends: Arc<Semaphore>,
        told: mpsc::UnboundedSender<usize>,
    }

    impl Bench {
        fn new(good_from: usize) -> (Self, mpsc::UnboundedReceiver<usize>) {
            let (told, begins) = mpsc::unbounded_channel();
            let kept = Arc::new(Kept::new(8, 8, UnitWeighter));
            let ends = Arc::new(Semaphore::new(0));
            (Self { kept, begun: Arc::default(), good_from, ends, told }, begins)
        }

        fn ask(&self) -> Asking {
            let bench = self.clone();
            tokio::spawn(async move {
                let computing = bench.clone();
                let compute = move || {
                    let bench = computing.clone();
                    async move {
                        let number = bench.begun.fetch_add(1, Ordering::SeqCst);
                        bench.told.send(number).expect("somebody looks");
                        bench.ends.acquire().await.expect("is open").forget();
                        if number < bench.good_from { Err(number) } else { Ok(number) }
                    }
                };
                bench.kept.get("fib", || compute).await
            })
        }

        async fn wait_for(&self, waiting: usize) {
            while self.kept.waiting() != waiting {
                tokio::task::yield_now().await;
            }
        }
    }

    async fn assert_all(asking: Vec<Asking>, answer: usize) {
        for asking in asking {
            assert_eq!(asking.await.expect("ends"), Ok(answer));
        }
    }

    #[tokio::test]
    async fn those_who_wait_behind_one_that_fails_share_the_next_try() {
        let (bench, mut begins) = Bench::new(1);
        let first = bench.ask();
        assert_eq!(begins.recv().await, Some(0));
        let others: Vec<_> = (0..50).map(|_| bench.ask()).collect();
        bench.wait_for(51).await;
        bench.ends.add_permits(1);
        assert_eq!(first.await.expect("ends"), Ok(0), "its own failure");
        assert_eq!(begins.recv().await, Some(1));
        bench.ends.add_permits(1);
        assert_all(others, 1).await;
        assert_eq!(bench.begun.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn if_the_next_try_fails_too_that_is_their_answer() {
        let (bench, mut begins) = Bench::new(usize::MAX);
        let first = bench.ask();
        assert_eq!(begins.recv().await, Some(0));
        let others: Vec<_> = (0..50).map(|_| bench.ask()).collect();
        bench.wait_for(51).await;
        bench.ends.add_permits(2);
        assert_eq!(first.await.expect("ends"), Ok(0));
        assert_all(others, 1).await;
        assert_eq!(bench.begun.load(Ordering::SeqCst), 2, "and not one try each");
    }

    #[tokio::test]
    async fn what_was_made_is_made_once() {
        let (bench, mut begins) = Bench::new(0);
        let first = bench.ask();
        assert_eq!(begins.recv().await, Some(0));
        let others: Vec<_> = (0..50).map(|_| bench.ask()).collect();
        bench.wait_for(51).await;
        bench.ends.add_permits(1);
        assert_eq!(first.await.expect("ends"), Ok(0));
        assert_all(others, 0).await;
        assert_eq!(bench.ask().await.expect("ends"), Ok(0));
        assert_eq!(bench.begun.load(Ordering::SeqCst), 1);
    }
}
