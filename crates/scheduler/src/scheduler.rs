//! The state machine: one event in, what is to be written and done out.

use std::collections::HashMap;

use runabout_protocol::{Attempt, Outcome, TaskId, TaskState, Usage, WorkerId};

use crate::backoff;
use crate::fleet::{Fleet, Phase, Run};
use crate::placement::Side;
use crate::queue::{Place, Queue};
use crate::timers::{Alarm, Timers};
use crate::{
    Decline, Effect, Event, Lease, Moment, Needs, Restored, Rules, Sides, Step, Submission, Write,
};

/// Every unfinished task and every worker. Each step costs at most the logarithm of their number.
#[derive(Debug)]
pub struct Scheduler {
    rules: Rules,
    /// Unfinished tasks only; looked up, never walked through.
    tasks: HashMap<TaskId, Entry>,
    /// Exactly the tasks whose stage is `Ready`; it is told which of them run.
    queue: Queue,
    fleet: Fleet,
    /// One alarm for each task whose stage is `Waiting`, and one for each run.
    timers: Timers,
    /// Tasks whose stage is `Running`.
    running: u64,
    /// What all other tasks hold.
    queued_bytes: u64,
    /// The next place in the order of submission.
    next_order: u64,
    /// Set for good by [`Event::Stop`].
    stopping: bool,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    needs: Needs,
    place: Place,
    bytes: u64,
    timeout_ms: u64,
    max_attempts: u32,
    attempt: Attempt,
    failures: u32,
    lost: u32,
    /// How often a worker that left has handed it back; not remembered beyond the node's life.
    handed_back: u32,
    /// Since when, or from when on, it may begin; of a running task, the attempt that runs.
    ready_at: Moment,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// In the queue.
    Ready,
    /// For its time to come.
    Waiting(Moment),
    /// There, with the latest attempt.
    Running(WorkerId),
}

impl Scheduler {
    /// A scheduler with neither tasks nor workers.
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            tasks: HashMap::new(),
            queue: Queue::default(),
            fleet: Fleet::default(),
            timers: Timers::default(),
            running: 0,
            queued_bytes: 0,
            next_order: 0,
            stopping: false,
        }
    }

    /// Takes in what happened, and says what is to be written and then done.
    pub fn step(&mut self, now: Moment, event: Event) -> Step {
        let mut turn = Turn { now, step: Step::default() };
        // Only a tick rings: what has happened is taken in before it is called overdue.
        let is_tick = matches!(event, Event::Tick);
        self.take_in(event, &mut turn);
        if is_tick {
            self.ring(&mut turn);
        }
        self.assign(&mut turn);
        turn.step
    }

    /// When to send the next [`Event::Tick`], if nothing else happens.
    pub fn next_alarm(&self) -> Option<Moment> {
        self.timers.next()
    }

    /// Whether the task is known and has not ended.
    pub fn is_unfinished(&self, task: TaskId) -> bool {
        self.tasks.contains_key(&task)
    }

    /// Whether the worker has been given the attempt and has not said that it finished.
    pub fn is_held(&self, lease: Lease) -> bool {
        self.fleet.run(lease).is_some()
    }

    /// Whether, besides, that attempt still speaks for its task.
    pub fn is_current(&self, lease: Lease) -> bool {
        self.is_held(lease)
            && self.tasks.get(&lease.task).is_some_and(|entry| {
                entry.stage == Stage::Running(lease.worker) && entry.attempt == lease.attempt
            })
    }

    /// Tasks that wait.
    pub fn queued(&self) -> u64 {
        self.tasks.len() as u64 - self.running
    }

    /// Tasks with an attempt under way.
    pub fn running(&self) -> u64 {
        self.running
    }

    /// Slots of all workers.
    pub fn slots(&self) -> u64 {
        self.fleet.slots()
    }

    /// Slots of a worker; 0 if it is not there.
    pub fn slots_of(&self, worker: WorkerId) -> u32 {
        self.fleet.slots_of(worker)
    }

    /// The tasks whose attempts a worker has under way, cancelled ones too.
    pub fn held_by(&self, worker: WorkerId) -> Vec<TaskId> {
        self.fleet.held_by(worker)
    }

    fn take_in(&mut self, event: Event, turn: &mut Turn) {
        match event {
            Event::Submit(submissions) => self.submit(&submissions, turn),
            Event::Restore(restored) => self.restore(restored, turn),
            Event::Retract(tasks) => tasks.into_iter().for_each(|task| self.retract(task)),
            Event::Cancel(task) => self.cancel(task, turn),
            Event::Delete(task) => self.delete(task, turn),
            Event::WorkerJoined { worker, slots, offer } => self.fleet.join(worker, slots, offer),
            Event::WorkerResized { worker, slots } => self.fleet.resize(worker, slots),
            Event::WorkerLeaves(worker) => self.fleet.retire(worker),
            Event::WorkerLost(worker) => self.lose_worker(worker, turn),
            Event::Started(lease) => self.started(lease, turn),
            Event::Finished { lease, outcome, usage } => {
                self.finished(lease, outcome, usage, turn);
            }
            Event::Declined { lease, why } => self.declined(lease, why, turn),
            Event::Stop => self.stop(turn),
            Event::Tick => {}
        }
    }

    fn submit(&mut self, submissions: &[Submission], turn: &mut Turn) {
        let bytes = submissions.iter().fold(0, |sum: u64, it| sum.saturating_add(it.bytes));
        let tasks_after = self.queued() + submissions.len() as u64;
        let bytes_after = self.queued_bytes.saturating_add(bytes);
        if tasks_after > self.rules.queue_tasks_max || bytes_after > self.rules.queue_bytes_max {
            turn.step.effects.push(Effect::QueueFull);
            return;
        }
        for submission in submissions {
            let entry = self.entry(submission);
            self.enqueue(submission.task, entry, submission.ready_at, turn.now);
        }
    }

    fn restore(&mut self, restored: Restored, turn: &mut Turn) {
        let task = restored.submission.task;
        let mut entry = self.entry(&restored.submission);
        entry.attempt = restored.attempt;
        entry.failures = restored.failures;
        entry.lost = restored.lost;
        if restored.running {
            self.attempt_lost(task, entry, turn);
        } else {
            self.enqueue(task, entry, restored.submission.ready_at, turn.now);
        }
    }

    fn entry(&mut self, submission: &Submission) -> Entry {
        self.next_order += 1;
        Entry {
            needs: submission.needs,
            place: Place::new(submission.priority, submission.share, self.next_order),
            bytes: submission.bytes,
            timeout_ms: submission.timeout_ms,
            max_attempts: submission.max_attempts,
            attempt: Attempt(0),
            failures: 0,
            lost: 0,
            handed_back: 0,
            ready_at: submission.ready_at,
            stage: Stage::Ready,
        }
    }

    fn retract(&mut self, task: TaskId) {
        let Some(entry) = self.remove(task) else { return };
        if let Stage::Running(worker) = entry.stage {
            self.end_run(Lease { worker, task, attempt: entry.attempt });
        }
    }

    fn cancel(&mut self, task: TaskId, turn: &mut Turn) {
        let Some(entry) = self.remove(task) else { return };
        if let Stage::Running(worker) = entry.stage {
            let lease = Lease { worker, task, attempt: entry.attempt };
            self.stop_run(lease, turn);
            turn.end_attempt(lease.task, lease.attempt, Some(Outcome::Cancelled), None);
        }
        let outcome = Some(Outcome::Cancelled);
        turn.end_task(task, TaskState::Cancelled, entry.lost, outcome);
    }

    fn delete(&mut self, task: TaskId, turn: &mut Turn) {
        if let Some(entry) = self.remove(task) {
            if let Stage::Running(worker) = entry.stage {
                self.stop_run(Lease { worker, task, attempt: entry.attempt }, turn);
            }
            turn.step.effects.push(Effect::Ended(task));
        }
        turn.step.writes.push(Write::TaskDeleted(task));
    }

    fn started(&mut self, lease: Lease, turn: &Turn) {
        let Some(timeout_ms) = self.tasks.get(&lease.task).map(|entry| entry.timeout_ms) else {
            return;
        };
        if self.fleet.run(lease).is_some_and(|run| run.phase == Phase::Sent) {
            let allowed_ms = timeout_ms.saturating_add(self.rules.deadline_grace_ms);
            self.advance_run(lease, Phase::Started, turn.now.after_ms(allowed_ms));
        }
    }

    fn finished(&mut self, lease: Lease, outcome: Outcome, usage: Usage, turn: &mut Turn) {
        let (current, is_leaving) = (self.is_current(lease), self.fleet.is_leaving(lease.worker));
        self.end_run(lease);
        // What was cancelled, deleted or given up has its end already; only the slot was awaited.
        let Some(entry) = current.then(|| self.remove(lease.task)).flatten() else { return };
        match outcome {
            Outcome::Cancelled if self.stopping => self.put_back(lease, entry, turn),
            Outcome::Cancelled if is_leaving => self.hand_back(lease, entry, turn),
            // Nobody asked for it: the worker gave up, whatever its reasons.
            Outcome::Cancelled | Outcome::Lost { .. } => {
                self.attempt_lost(lease.task, entry, turn);
            }
            Outcome::Returned(_) => {
                turn.end_attempt(lease.task, lease.attempt, Some(outcome), Some(usage));
                turn.end_task(lease.task, TaskState::Succeeded, entry.lost, None);
            }
            Outcome::Threw(_) | Outcome::TimedOut { .. } | Outcome::OutOfMemory { .. } => {
                turn.end_attempt(lease.task, lease.attempt, Some(outcome), Some(usage));
                self.attempt_failed(lease.task, entry, turn);
            }
        }
    }

    /// What has not begun is no mark against the task, however often that happens.
    fn declined(&mut self, lease: Lease, why: Decline, turn: &mut Turn) {
        let current = self.is_current(lease);
        self.end_run(lease);
        let Some(mut entry) = current.then(|| self.remove(lease.task)).flatten() else { return };
        match why {
            Decline::NotNow => self.put_back(lease, entry, turn),
            Decline::Unfit => {
                entry.needs.sides = Sides::Here;
                self.put_back(lease, entry, turn);
            }
            Decline::Interrupted if self.stopping => self.put_back(lease, entry, turn),
            Decline::Interrupted => self.hand_back(lease, entry, turn),
        }
    }

    fn attempt_failed(&mut self, task: TaskId, mut entry: Entry, turn: &mut Turn) {
        entry.failures += 1;
        if entry.failures >= entry.max_attempts {
            return turn.end_task(task, TaskState::Failed, entry.lost, None);
        }
        let wait_ms = backoff::wait_ms(&self.rules, task, entry.failures);
        self.requeue(task, entry, turn.now.after_ms(wait_ms), turn);
    }

    fn attempt_lost(&mut self, task: TaskId, mut entry: Entry, turn: &mut Turn) {
        entry.lost += 1;
        let outcome = Some(Outcome::Lost { attempts: entry.lost });
        turn.end_attempt(task, entry.attempt, outcome.clone(), None);
        if entry.lost >= self.rules.lost_max {
            return turn.end_task(task, TaskState::Failed, entry.lost, outcome);
        }
        self.requeue(task, entry, turn.now, turn);
    }

    /// Back to the queue, as its worker does not stay; within bounds it is no mark against the task.
    fn hand_back(&mut self, lease: Lease, mut entry: Entry, turn: &mut Turn) {
        entry.handed_back += 1;
        if entry.handed_back > self.rules.hand_backs_max {
            return self.attempt_lost(lease.task, entry, turn);
        }
        self.put_back(lease, entry, turn);
    }

    /// Back to the queue without a mark against it: we stopped it, and it did nothing wrong.
    fn put_back(&mut self, lease: Lease, entry: Entry, turn: &mut Turn) {
        turn.end_attempt(lease.task, lease.attempt, None, None);
        self.requeue(lease.task, entry, turn.now, turn);
    }

    fn lose_worker(&mut self, worker: WorkerId, turn: &mut Turn) {
        let is_leaving = self.fleet.is_leaving(worker);
        for (lease, run) in self.fleet.leave(worker) {
            self.timers.unset(run.overdue_at, Alarm::Overdue(lease));
            let Some(entry) = self.tasks.get(&lease.task).copied() else { continue };
            if entry.stage != Stage::Running(worker) || entry.attempt != lease.attempt {
                continue;
            }
            self.remove(lease.task);
            if self.stopping {
                self.put_back(lease, entry, turn);
            } else if is_leaving {
                self.hand_back(lease, entry, turn);
            } else {
                self.attempt_lost(lease.task, entry, turn);
            }
        }
    }

    fn stop(&mut self, turn: &mut Turn) {
        self.stopping = true;
        for lease in self.fleet.leases() {
            if self.is_current(lease) {
                self.stop_run(lease, turn);
            }
        }
    }

    /// Handles every alarm whose moment has come.
    fn ring(&mut self, turn: &mut Turn) {
        while let Some(alarm) = self.timers.take_due(turn.now) {
            match alarm {
                Alarm::Ready(task) => self.ready(task),
                Alarm::Overdue(lease) => self.overdue(lease, turn),
            }
        }
    }

    fn ready(&mut self, task: TaskId) {
        if let Some(entry) = self.tasks.get_mut(&task) {
            entry.stage = Stage::Ready;
            self.queue.insert(entry.needs, entry.place, task);
        }
    }

    fn overdue(&mut self, lease: Lease, turn: &mut Turn) {
        let Some(run) = self.fleet.run(lease) else { return };
        if run.phase == Phase::Stopping {
            turn.step.effects.push(Effect::Close(lease.worker));
            return self.lose_worker(lease.worker, turn);
        }
        self.stop_run(lease, turn);
        if let Some(entry) = self.remove(lease.task) {
            self.attempt_lost(lease.task, entry, turn);
        }
    }

    /// Gives out free slots while there is a task for them.
    fn assign(&mut self, turn: &mut Turn) {
        if self.stopping {
            return;
        }
        while let Some((worker, task)) = self.next_match() {
            self.begin(worker, task, turn);
        }
    }

    fn next_match(&self) -> Option<(WorkerId, TaskId)> {
        let can_run = |needs| self.fleet.choose(needs).is_some();
        let (needs, task) = self.queue.first(can_run)?;
        Some((self.fleet.choose(needs)?, task))
    }

    fn begin(&mut self, worker: WorkerId, task: TaskId, turn: &mut Turn) {
        let Some(entry) = self.tasks.get_mut(&task) else { return };
        self.queue.begin(entry.needs, entry.place);
        entry.stage = Stage::Running(worker);
        entry.attempt.0 += 1;
        self.running += 1;
        self.queued_bytes -= entry.bytes;

        let lease = Lease { worker, task, attempt: entry.attempt };
        let within_ms = match self.fleet.side_of(worker) {
            Side::Here => self.rules.start_within_ms,
            Side::Upstream => self.rules.start_upstream_within_ms,
        };
        let overdue_at = turn.now.after_ms(within_ms);
        self.fleet.begin(lease, Run { phase: Phase::Sent, overdue_at });
        self.timers.set(overdue_at, Alarm::Overdue(lease));
        let ready_at = entry.ready_at;
        turn.step.writes.push(Write::AttemptBegan { lease, at: turn.now, ready_at });
        turn.step.effects.push(Effect::Run(lease));
    }

    fn requeue(&mut self, task: TaskId, entry: Entry, ready_at: Moment, turn: &mut Turn) {
        let Entry { failures, lost, .. } = entry;
        turn.step.writes.push(Write::TaskQueued { task, ready_at, failures, lost });
        self.enqueue(task, entry, ready_at, turn.now);
    }

    fn enqueue(&mut self, task: TaskId, mut entry: Entry, ready_at: Moment, now: Moment) {
        entry.ready_at = ready_at.max(now);
        if ready_at > now {
            entry.stage = Stage::Waiting(ready_at);
            self.timers.set(ready_at, Alarm::Ready(task));
        } else {
            entry.stage = Stage::Ready;
            self.queue.insert(entry.needs, entry.place, task);
        }
        self.queued_bytes += entry.bytes;
        let before = self.tasks.insert(task, entry);
        assert!(before.is_none(), "task {task} is in two places");
    }

    /// Takes a task out of wherever it waits; a run of it keeps its slot.
    fn remove(&mut self, task: TaskId) -> Option<Entry> {
        let entry = self.tasks.remove(&task)?;
        match entry.stage {
            Stage::Ready => self.queue.remove(entry.needs, entry.place),
            Stage::Waiting(until) => self.timers.unset(until, Alarm::Ready(task)),
            Stage::Running(_) => {
                self.running -= 1;
                self.queue.end(entry.place);
                return Some(entry);
            }
        }
        self.queued_bytes -= entry.bytes;
        Some(entry)
    }

    fn stop_run(&mut self, lease: Lease, turn: &mut Turn) {
        self.advance_run(lease, Phase::Stopping, turn.now.after_ms(self.rules.stop_within_ms));
        turn.step.effects.push(Effect::Stop(lease));
    }

    fn advance_run(&mut self, lease: Lease, phase: Phase, overdue_at: Moment) {
        let Some(run) = self.fleet.run_mut(lease) else { return };
        self.timers.unset(run.overdue_at, Alarm::Overdue(lease));
        self.timers.set(overdue_at, Alarm::Overdue(lease));
        *run = Run { phase, overdue_at };
    }

    fn end_run(&mut self, lease: Lease) {
        if let Some(run) = self.fleet.end(lease) {
            self.timers.unset(run.overdue_at, Alarm::Overdue(lease));
        }
    }
}

/// One step in the making.
struct Turn {
    now: Moment,
    step: Step,
}

impl Turn {
    fn end_attempt(
        &mut self,
        task: TaskId,
        attempt: Attempt,
        outcome: Option<Outcome>,
        usage: Option<Usage>,
    ) {
        let at = self.now;
        self.step.writes.push(Write::AttemptEnded { task, attempt, at, outcome, usage });
    }

    fn end_task(&mut self, task: TaskId, state: TaskState, lost: u32, outcome: Option<Outcome>) {
        let at = self.now;
        self.step.writes.push(Write::TaskEnded { task, at, state, outcome, lost });
        self.step.effects.push(Effect::Ended(task));
    }
}
