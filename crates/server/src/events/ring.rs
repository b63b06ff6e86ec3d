//! The ring: facts in the order in which they became known, the oldest dropped when there are too
//! many, and for each task that somebody listens to the numbers of its own.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use runabout_protocol::{Outcome, TaskId};
use runabout_store::Write;
use tokio::sync::Notify;

use super::{Facts, Place};

/// Facts kept; older ones are dropped, and a stream that has not read them begins anew.
const FACTS_MAX: usize = 262_144;
/// What they may take, roughly; the same happens.
const BYTES_MAX: usize = 64 << 20;
/// How long facts are kept on when nobody listens any more, for those who were cut off. Without
/// listeners nothing is kept at all.
const KEEP_FOR: Duration = Duration::from_secs(60);
/// Tasks whose facts are found for those who were cut off; those left longest ago go first.
const LEFT_TASKS_MAX: usize = 16_384;

/// A fact, found.
#[derive(Clone, Debug)]
pub struct Fact {
    /// Its number; every fact of this life of the node has its own.
    pub number: u64,
    /// What became known together with it.
    pub facts: Facts,
    /// Its place among them.
    pub index: usize,
}

impl Fact {
    /// Whether nothing more becomes known of its task, but perhaps that its record is gone.
    pub fn is_the_end(&self) -> bool {
        let Facts::Written(writes) = &self.facts else { return false };
        let write = writes.get(self.index);
        matches!(write, Some(Write::TaskEnded { .. } | Write::TaskDeleted(_)))
    }
}

/// What would be told next is not kept any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behind;

#[derive(Debug)]
pub(super) struct Ring {
    /// Their numbers have no gaps, from the first batch to `next`.
    batches: VecDeque<Batch>,
    /// The next fact's number.
    next: u64,
    /// Sums over `batches`.
    facts: usize,
    bytes: usize,
    by_task: HashMap<TaskId, Followed>,
    /// Tasks by when the last listener left. Some are listened to again, or left again.
    left: VecDeque<(Instant, TaskId)>,
    task_streams: usize,
    node_streams: usize,
    last_left: Option<Instant>,
    limits: RingLimits,
}

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct RingLimits {
    pub(super) facts: usize,
    pub(super) bytes: usize,
    pub(super) left_tasks: usize,
}

#[derive(Debug)]
struct Batch {
    first: u64,
    facts: Facts,
    bytes: usize,
}

/// A task that somebody listens to, or did a moment ago.
#[derive(Debug)]
struct Followed {
    /// All of its facts from this number on are in `numbers`.
    known_from: u64,
    /// Ascending; all of them are in the ring.
    numbers: VecDeque<u64>,
    streams: usize,
    left_at: Option<Instant>,
    wake: Arc<Notify>,
}

impl Default for Ring {
    fn default() -> Self {
        let limits = RingLimits { facts: FACTS_MAX, bytes: BYTES_MAX, left_tasks: LEFT_TASKS_MAX };
        Self::new(limits)
    }
}

impl Ring {
    pub(super) fn new(limits: RingLimits) -> Self {
        Self {
            batches: VecDeque::new(),
            next: 0,
            facts: 0,
            bytes: 0,
            by_task: HashMap::new(),
            left: VecDeque::new(),
            task_streams: 0,
            node_streams: 0,
            last_left: None,
            limits,
        }
    }

    /// Adds facts, and returns what wakes the listeners of their tasks.
    pub(super) fn push(&mut self, facts: Facts, now: Instant) -> Vec<Arc<Notify>> {
        let count = facts.len();
        let first = self.next;
        self.next += count as u64;
        if !self.is_wanted(now) {
            self.clear();
            return Vec::new();
        }
        self.forget_left(now);
        let woken = self.index(&facts, first);
        let bytes = bytes_of(&facts);
        self.batches.push_back(Batch { first, facts, bytes });
        self.facts += count;
        self.bytes += bytes;
        while self.facts > self.limits.facts || self.bytes > self.limits.bytes {
            self.drop_oldest();
        }
        woken
    }

    fn is_wanted(&self, now: Instant) -> bool {
        let is_recent = |left: Instant| now.saturating_duration_since(left) < KEEP_FOR;
        self.task_streams + self.node_streams > 0 || self.last_left.is_some_and(is_recent)
    }

    fn clear(&mut self) {
        if self.batches.is_empty() && self.by_task.is_empty() {
            return;
        }
        self.batches = VecDeque::new();
        self.by_task = HashMap::new();
        self.left = VecDeque::new();
        (self.facts, self.bytes) = (0, 0);
    }

    fn index(&mut self, facts: &Facts, first: u64) -> Vec<Arc<Notify>> {
        let mut woken: Vec<Arc<Notify>> = Vec::new();
        if self.by_task.is_empty() {
            return woken;
        }
        for index in 0..facts.len() {
            let followed = facts.task(index).and_then(|task| self.by_task.get_mut(&task));
            let Some(followed) = followed else { continue };
            followed.numbers.push_back(first + index as u64);
            // Most often a task's facts stand together.
            let is_last = woken.last().is_some_and(|last| Arc::ptr_eq(last, &followed.wake));
            if followed.streams > 0 && !is_last {
                woken.push(Arc::clone(&followed.wake));
            }
        }
        woken
    }

    fn drop_oldest(&mut self) {
        let Some(Batch { first, facts, bytes }) = self.batches.pop_front() else { return };
        self.facts -= facts.len();
        self.bytes -= bytes;
        if self.by_task.is_empty() {
            return;
        }
        for index in 0..facts.len() {
            let number = first + index as u64;
            let followed = facts.task(index).and_then(|task| self.by_task.get_mut(&task));
            let Some(followed) = followed else { continue };
            if followed.numbers.front() == Some(&number) {
                followed.numbers.pop_front();
                followed.known_from = number + 1;
            }
        }
    }

    pub(super) fn follow(&mut self, task: TaskId) -> Arc<Notify> {
        self.task_streams += 1;
        let next = self.next;
        let followed = self.by_task.entry(task).or_insert_with(|| Followed {
            known_from: next,
            numbers: VecDeque::new(),
            streams: 0,
            left_at: None,
            wake: Arc::default(),
        });
        followed.streams += 1;
        followed.left_at = None;
        Arc::clone(&followed.wake)
    }

    pub(super) fn unfollow(&mut self, task: TaskId, now: Instant) {
        self.task_streams -= 1;
        self.last_left = Some(now);
        let Some(followed) = self.by_task.get_mut(&task) else { return };
        followed.streams -= 1;
        if followed.streams == 0 {
            followed.left_at = Some(now);
            self.left.push_back((now, task));
        }
        while self.left.len() > self.limits.left_tasks {
            self.forget_oldest_left();
        }
    }

    /// Stops finding the facts of tasks that were left long ago.
    fn forget_left(&mut self, now: Instant) {
        while let Some((left_at, _)) = self.left.front()
            && now.saturating_duration_since(*left_at) >= KEEP_FOR
        {
            self.forget_oldest_left();
        }
    }

    fn forget_oldest_left(&mut self) {
        let Some((left_at, task)) = self.left.pop_front() else { return };
        // Unless somebody has come back, or come back and left again.
        if self.by_task.get(&task).is_some_and(|it| it.left_at == Some(left_at)) {
            self.by_task.remove(&task);
        }
    }

    pub(super) fn listen(&mut self) {
        self.node_streams += 1;
    }

    pub(super) fn leave(&mut self, now: Instant) {
        self.node_streams -= 1;
        self.last_left = Some(now);
    }

    /// Before all that will become known.
    pub(super) fn now(&self) -> Place {
        Place::before(self.next)
    }

    pub(super) fn task_streams(&self) -> usize {
        self.task_streams
    }

    pub(super) fn node_streams(&self) -> usize {
        self.node_streams
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What became known from that place on.
    pub(super) fn read(&self, place: Place, facts_max: usize) -> Result<Vec<Fact>, Behind> {
        let first = self.batches.front().map_or(self.next, |batch| batch.first);
        if place.fact() < first || place > self.now() {
            return Err(Behind);
        }
        let after = self.batches.partition_point(|batch| batch.first <= place.fact());
        let batches = self.batches.range(after.saturating_sub(1)..);
        let facts = batches.flat_map(|batch| {
            let told = usize::try_from(place.fact().saturating_sub(batch.first));
            let fact = move |index| Fact {
                number: batch.first + index as u64,
                facts: batch.facts.clone(),
                index,
            };
            (told.unwrap_or(usize::MAX)..batch.facts.len()).map(fact)
        });
        Ok(facts.take(facts_max).collect())
    }

    /// The same of one task, to which somebody listens.
    pub(super) fn read_task(
        &self,
        task: TaskId,
        place: Place,
        facts_max: usize,
    ) -> Result<Vec<Fact>, Behind> {
        let followed = self.by_task.get(&task).ok_or(Behind)?;
        if place.fact() < followed.known_from || place > self.now() {
            return Err(Behind);
        }
        let begin = followed.numbers.partition_point(|number| *number < place.fact());
        let numbers = followed.numbers.range(begin..).take(facts_max);
        Ok(numbers.filter_map(|number| self.fact(*number)).collect())
    }

    fn fact(&self, number: u64) -> Option<Fact> {
        let after = self.batches.partition_point(|batch| batch.first <= number);
        let batch = self.batches.get(after.checked_sub(1)?)?;
        let index = usize::try_from(number - batch.first).ok()?;
        Some(Fact { number, facts: batch.facts.clone(), index })
    }
}

/// What facts take, roughly.
fn bytes_of(facts: &Facts) -> usize {
    match facts {
        Facts::Written(writes) => writes.iter().map(written_bytes).sum(),
        Facts::Said(said) => said
            .iter()
            .map(|it| size_of_val(it) + it.progress.message.as_ref().map_or(0, String::len))
            .sum(),
        Facts::Workers(workers) => workers
            .iter()
            .map(|it| size_of_val(it) + it.worker.name.len() + size_of_val(&*it.worker.running))
            .sum(),
        Facts::Revised(revision) => size_of_val(&**revision) + revision.summary.len(),
    }
}

fn written_bytes(write: &Write) -> usize {
    let more = match write {
        Write::TaskAccepted(new) => {
            size_of_val(&**new) + usize::try_from(new.queue_bytes).unwrap_or(usize::MAX / 2)
        }
        Write::Log { text, .. } => text.len(),
        Write::AttemptBegan { worker, .. } => worker.len(),
        Write::AttemptEnded { outcome, .. } | Write::TaskEnded { outcome, .. } => {
            outcome.as_ref().map_or(0, outcome_bytes)
        }
        Write::Checkpoint { checkpoint, .. } => checkpoint.state.text().len(),
        _ => 0,
    };
    size_of::<Write>() + more
}

fn outcome_bytes(outcome: &Outcome) -> usize {
    match outcome {
        Outcome::Returned(returned) => returned.value.text().len(),
        Outcome::Threw(error) => {
            error.name.len() + error.message.len() + error.stack.as_ref().map_or(0, String::len)
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use runabout_protocol::{Attempt, Progress};
    use uuid::Uuid;

    use super::super::Said;
    use super::*;

    const SMALL: RingLimits = RingLimits { facts: 10, bytes: 1 << 20, left_tasks: 2 };

    fn task(n: u128) -> TaskId {
        TaskId(Uuid::from_u128(n))
    }

    /// Something that these tasks said, together.
    fn said(tasks: &[u128]) -> Facts {
        let progress = Progress { fraction: 0.5, message: None };
        let said =
            |n: &u128| Said { task: task(*n), attempt: Attempt(1), progress: progress.clone() };
        Facts::Said(Arc::new(tasks.iter().map(said).collect()))
    }

    fn numbers(read: Result<Vec<Fact>, Behind>) -> Result<Vec<u64>, Behind> {
        read.map(|facts| facts.iter().map(|fact| fact.number).collect())
    }

    #[test]
    fn without_listeners_facts_are_counted_and_not_kept() {
        let mut ring = Ring::new(SMALL);
        ring.push(said(&[1, 2]), Instant::now());
        assert_eq!((ring.now(), ring.bytes()), (Place::before(2), 0));
        assert_eq!(numbers(ring.read(Place::before(0), 10)), Err(Behind));
        assert_eq!(numbers(ring.read(Place::before(2), 10)), Ok(vec![]));
    }

    #[test]
    fn everyone_reads_at_their_own_pace() {
        let mut ring = Ring::new(SMALL);
        ring.listen();
        ring.push(said(&[1, 2]), Instant::now());
        ring.push(said(&[3]), Instant::now());
        assert_eq!(numbers(ring.read(Place::before(0), 2)), Ok(vec![0, 1]));
        assert_eq!(numbers(ring.read(Place::after(1), 2)), Ok(vec![2]));
        assert_eq!(numbers(ring.read(Place::within(1), 9)), Ok(vec![1, 2]));
        let last = ring.read(Place::before(2), 1).expect("kept").pop().expect("there");
        assert_eq!(last.facts.task(last.index), Some(task(3)));
    }

    #[test]
    fn what_overflows_is_dropped_and_whoever_has_not_read_it_is_behind() {
        let mut ring = Ring::new(SMALL);
        ring.listen();
        for n in 0..7 {
            ring.push(said(&[n, n]), Instant::now());
        }
        // Ten are kept: those from 4 to 13.
        assert_eq!(numbers(ring.read(Place::before(3), 20)), Err(Behind));
        assert_eq!(numbers(ring.read(Place::before(4), 20)), Ok((4..14).collect()));
        let bytes = RingLimits { bytes: 1, ..SMALL };
        let mut ring = Ring::new(bytes);
        ring.listen();
        ring.push(said(&[1]), Instant::now());
        assert_eq!((ring.bytes(), numbers(ring.read(Place::before(0), 1))), (0, Err(Behind)));
    }

    #[test]
    fn a_place_that_has_never_been_is_behind() {
        let mut ring = Ring::new(SMALL);
        ring.listen();
        ring.follow(task(1));
        assert_eq!(numbers(ring.read(Place::after(0), 1)), Err(Behind));
        assert_eq!(numbers(ring.read_task(task(1), Place(u64::MAX), 1)), Err(Behind));
    }

    #[test]
    fn a_follower_reads_its_task_alone() {
        let mut ring = Ring::new(SMALL);
        ring.push(said(&[1]), Instant::now());
        ring.follow(task(1));
        let woken = ring.push(said(&[1, 1, 2, 1]), Instant::now());
        assert_eq!(woken.len(), 1, "it is woken once, and not for each fact");
        assert_eq!(numbers(ring.read_task(task(1), Place::before(1), 9)), Ok(vec![1, 2, 4]));
        assert_eq!(numbers(ring.read_task(task(1), Place::after(2), 9)), Ok(vec![4]));
        assert_eq!(numbers(ring.read_task(task(1), Place::before(0), 9)), Err(Behind));
        assert_eq!(numbers(ring.read_task(task(2), Place::before(1), 9)), Err(Behind));
    }

    #[test]
    fn a_follower_is_behind_only_if_its_own_facts_are_dropped() {
        let mut ring = Ring::new(SMALL);
        ring.follow(task(1));
        ring.follow(task(2));
        ring.push(said(&[1]), Instant::now());
        for _ in 0..30 {
            ring.push(said(&[2]), Instant::now());
        }
        assert_eq!(numbers(ring.read_task(task(1), Place::after(0), 9)), Ok(vec![]));
        assert_eq!(numbers(ring.read_task(task(1), Place::before(0), 9)), Err(Behind));
        assert_eq!(numbers(ring.read_task(task(2), Place::after(0), 9)), Err(Behind));
        assert_eq!(ring.by_task[&task(2)].numbers.len(), 10);
    }

    #[test]
    fn whoever_was_cut_off_finds_what_came_meanwhile_for_a_minute() {
        let mut ring = Ring::new(SMALL);
        let now = Instant::now();
        ring.follow(task(1));
        ring.unfollow(task(1), now);
        ring.push(said(&[1]), now + KEEP_FOR / 2);
        ring.follow(task(1));
        assert_eq!(numbers(ring.read_task(task(1), Place::before(0), 9)), Ok(vec![0]));
        ring.unfollow(task(1), now + KEEP_FOR / 2);
        ring.push(said(&[1]), now + KEEP_FOR);
        assert_eq!(ring.by_task.len(), 1, "left a second time, and not long ago");
        ring.push(said(&[1]), now + KEEP_FOR * 2);
        assert_eq!((ring.by_task.len(), ring.batches.len(), ring.bytes()), (0, 0, 0));
    }

    #[test]
    fn of_tasks_that_were_left_a_bounded_number_is_found() {
        let mut ring = Ring::new(SMALL);
        let now = Instant::now();
        for n in 0..100 {
            ring.follow(task(n));
            ring.unfollow(task(n), now);
        }
        assert_eq!((ring.by_task.len(), ring.left.len()), (2, 2));
        assert!(ring.by_task.contains_key(&task(99)));
    }
}
