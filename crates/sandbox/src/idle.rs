//! What waits to be used again.

use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// One that has waited less than this stays where it is: if more are used in turn than may wait, some of
/// them are found here each time, and not each pushed out just before it is asked for.
const WAIT_MIN: Duration = Duration::from_millis(100);

/// Things that are ready for whoever comes next, no more than a number of them.
pub struct Idle<T> {
    max: usize,
    /// The one that was used last at the end.
    all: Mutex<Vec<Waiting<T>>>,
}

struct Waiting<T> {
    one: T,
    since: Instant,
    /// Where it was used: the nearest caches of that processor have much of it.
    thread: ThreadId,
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
            .rposition(|waiting| waiting.thread == here && fits(&waiting.one))
            .or_else(|| all.iter().rposition(|waiting| fits(&waiting.one)))?;
        Some(all.remove(best).one)
    }

    /// Whether one more would be kept now.
    pub fn has_room(&self) -> bool {
        let all = self.all.lock();
        all.len() < self.max || all.first().is_some_and(Waiting::is_long)
    }

    /// Has one wait, if there is room. It is the one that has waited longest that makes room.
    pub fn keep(&self, one: T) {
        let thread = thread::current().id();
        let waiting = Waiting { one, since: Instant::now(), thread };
        let mut all = self.all.lock();
        all.push(waiting);
        let surplus = (all.len() > self.max).then(|| {
            let is_first = all[0].is_long();
            all.remove(if is_first { 0 } else { self.max })
        });
        // Taking it apart may take long.
        drop(all);
        drop(surplus);
    }

    /// Lets them all go, and gives them out. Empty if there are none.
    pub fn take_all(&self) -> Vec<T> {
        let all = std::mem::take(&mut *self.all.lock());
        all.into_iter().map(|waiting| waiting.one).collect()
    }

    #[cfg(test)]
    pub fn count(&self) -> usize {
        self.all.lock().len()
    }
}

impl<T> Waiting<T> {
    fn is_long(&self) -> bool {
        self.since.elapsed() >= WAIT_MIN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_just_come_is_not_pushed_out() {
        let idle = Idle::new(2);
        for number in 0..5 {
            assert_eq!(idle.has_room(), number < 2);
            idle.keep(number);
        }
        assert_eq!(idle.take_all(), [0, 1]);
        idle.keep(5);
        idle.keep(6);
        idle.all.lock()[0].since -= WAIT_MIN;
        assert!(idle.has_room());
        idle.keep(7);
        assert_eq!(idle.take_all(), [6, 7]);
    }

    #[test]
    fn who_was_here_last_is_taken_first() {
        let idle = Idle::new(4);
        (0..4).for_each(|number| idle.keep(number));
        thread::scope(|scope| {
            scope.spawn(|| idle.take(|number| *number == 3).map(|number| idle.keep(number)));
        });
        assert_eq!(idle.take(|number| *number > 0), Some(2));
        assert_eq!(idle.take(|number| *number > 1), Some(3));
        assert_eq!(idle.take(|number| *number > 1), None);
    }
}
