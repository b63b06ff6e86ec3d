//! Who waits for which task to end.

use std::collections::HashMap;

use runabout_protocol::TaskId;
use tokio::sync::oneshot;

/// Below this many, waiters that have gone are left until their task ends.
const SWEEP_FROM: usize = 1_024;

/// Waiters, by task. One that has gone away is dropped when its task ends, or by a sweep that
/// comes each time their number has doubled: those who poll for ever take no memory for ever.
#[derive(Debug)]
pub(super) struct Waiters {
    by_task: HashMap<TaskId, Vec<oneshot::Sender<()>>>,
    count: usize,
    sweep_at: usize,
}

impl Default for Waiters {
    fn default() -> Self {
        Self { by_task: HashMap::new(), count: 0, sweep_at: SWEEP_FROM }
    }
}

impl Waiters {
    pub(super) fn add(&mut self, task: TaskId, waiter: oneshot::Sender<()>) {
        if self.count >= self.sweep_at {
            self.sweep();
        }
        self.by_task.entry(task).or_default().push(waiter);
        self.count += 1;
    }

    /// Wakes all who wait for the task.
    pub(super) fn wake(&mut self, task: TaskId) {
        let waiters = self.by_task.remove(&task).unwrap_or_default();
        self.count -= waiters.len();
        for waiter in waiters {
            // An error means that whoever waited has gone.
            let _ = waiter.send(());
        }
    }

    fn sweep(&mut self) {
        self.by_task.retain(|_, waiters| {
            waiters.retain(|waiter| !waiter.is_closed());
            !waiters.is_empty()
        });
        self.count = self.by_task.values().map(Vec::len).sum();
        self.sweep_at = SWEEP_FROM.max(self.count * 2);
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn task(n: usize) -> TaskId {
        TaskId(Uuid::from_u128(n as u128))
    }

    #[test]
    fn everyone_who_waits_for_a_task_is_woken() {
        let mut waiters = Waiters::default();
        let (first, mut first_woken) = oneshot::channel();
        let (second, mut second_woken) = oneshot::channel();
        let (other, mut other_woken) = oneshot::channel();
        waiters.add(task(1), first);
        waiters.add(task(1), second);
        waiters.add(task(2), other);
        waiters.wake(task(1));
        assert_eq!((first_woken.try_recv(), second_woken.try_recv()), (Ok(()), Ok(())));
        assert!(other_woken.try_recv().is_err());
        assert_eq!(waiters.count, 1);
    }

    #[test]
    fn waiters_that_have_gone_do_not_pile_up() {
        let mut waiters = Waiters::default();
        let (stays, mut woken) = oneshot::channel();
        waiters.add(task(0), stays);
        for n in 0..100_000 {
            waiters.add(task(n % 7_000), oneshot::channel().0);
            assert!(waiters.count <= SWEEP_FROM + 1);
        }
        waiters.wake(task(0));
        assert_eq!(woken.try_recv(), Ok(()));
    }
}
