//! What waits to be used again.

use std::thread::{self, ThreadId};

use parking_lot::Mutex;

/// Things that are ready for whoever comes next, no more than a number of them.
pub struct Idle<T> {
    max: usize,
    /// The one that was used last at the end. Each with the thread that it was used on: the nearest caches
    /// of that processor have much of it.
    all: Mutex<Vec<(ThreadId, T)>>,
}

impl<T> Idle<T> {
    pub fn new(max: usize) -> Self {
        Self { max, all: Mutex::default() }
    }

    /// The one that was used last of those that fit, if possible on this thread.
    pub fn take(&self, fits: impl Fn(&T) -> bool) -> Option<T> {
        let here = thread::current().id();
        let mut all = self.all.lock();
        let best = all
            .iter()
            .rposition(|(thread, one)| *thread == here && fits(one))
            .or_else(|| all.iter().rposition(|(_, one)| fits(one)))?;
        Some(all.remove(best).1)
    }

    /// Has one wait; the one that has waited longest must go if they become too many.
    pub fn keep(&self, one: T) {
        let mut all = self.all.lock();
        all.push((thread::current().id(), one));
        let surplus = (all.len() > self.max).then(|| all.remove(0));
        // Taking it apart may take long.
        drop(all);
        drop(surplus);
    }

    /// Lets them all go, and gives them out. Empty if there are none.
    pub fn take_all(&self) -> Vec<T> {
        let all = std::mem::take(&mut *self.all.lock());
        all.into_iter().map(|(_, one)| one).collect()
    }

    #[cfg(test)]
    pub fn count(&self) -> usize {
        self.all.lock().len()
    }
}
