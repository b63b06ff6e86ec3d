//! The threads that connections live on: one a core, each with a runtime and a set of sockets of its
//! own. A request is read, run for its first slice and answered on one thread; threads that shared
//! their sockets would wake each other for every one of them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// The threads. Dropping this ends them, and with them what still runs there.
pub struct Threads {
    threads: Vec<Thread>,
    /// Counts what was given out.
    turn: AtomicUsize,
}

struct Thread {
    runtime: Handle,
    /// Dropped to end the thread.
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Threads {
    /// Starts as many threads as there are cores.
    ///
    /// # Errors
    /// The system refuses a thread or its set of sockets.
    pub fn start() -> std::io::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let threads = (0..cores).map(Thread::start).collect::<std::io::Result<_>>()?;
        Ok(Self { threads, turn: AtomicUsize::new(0) })
    }

    /// Runs `work` on the next thread, in turn. Whoever cares for its end sees to it that it ends.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let thread = &self.threads[turn % self.threads.len()];
        drop(thread.runtime.spawn(work));
    }
}

impl Thread {
    fn start(index: usize) -> std::io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (end, ended) = oneshot::channel::<()>();
        let thread =
            std::thread::Builder::new().name(format!("http-{index}")).spawn(move || {
                // An error means that the other end is gone, which is how this thread ends.
                drop(runtime.block_on(ended));
                runtime.shutdown_background();
            })?;
        Ok(Self { runtime: handle, end: Some(end), thread: Some(thread) })
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.end = None;
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so already.
            drop(thread.join());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn work_takes_turns_among_the_threads() {
        let threads = Threads::start().expect("threads start");
        let cores = threads.threads.len();
        let (tx, mut rx) = mpsc::channel(2 * cores);
        for _ in 0..2 * cores {
            let tx = tx.clone();
            threads.spawn(async move {
                let name = std::thread::current().name().map(str::to_owned);
                drop(tx.send(name).await);
            });
        }
        drop(tx);
        let mut seen = Vec::new();
        while let Some(name) = rx.recv().await {
            seen.push(name.expect("has a name"));
        }
        assert_eq!(seen.len(), 2 * cores);
        assert_eq!(seen.iter().collect::<HashSet<_>>().len(), cores);
    }

    #[tokio::test]
    async fn what_still_runs_ends_with_the_threads() {
        let threads = Threads::start().expect("threads start");
        let (tx, rx) = oneshot::channel::<()>();
        threads.spawn(async move {
            std::future::pending::<()>().await;
            drop(tx);
        });
        drop(threads);
        assert!(rx.await.is_err(), "dropped with its thread");
    }
}
