//! Knows, from what was asked and what became durable alone, what must be true.

use std::collections::BTreeMap;

use runabout_protocol::{
    Attempt, Checkpoint, Outcome, Place, Run, Task, TaskId, TaskState, Trust, WorkerId,
};
use runabout_store::{NewTask, Write};

use super::workers::mark;
use crate::engine::Refused;

/// Attempts that may be lost; the scheduler's default.
const LOST_MAX: u32 = 5;

/// Every task that anybody asked for.
#[derive(Default)]
pub(super) struct Oracle {
    tasks: BTreeMap<TaskId, Known>,
    /// Every worker that ever came, by its id as text.
    workers: BTreeMap<String, Met>,
    /// What was submitted under each key, once that is durable.
    keys: BTreeMap<String, Vec<TaskId>>,
    /// A graceful stop was asked for, in this life of the node.
    pub(super) stopping: bool,
    /// And it was taken: nothing begins any more.
    pub(super) has_stopped: bool,
}

/// What is known of a worker.
struct Met {
    trust: Trust,
    /// What it has may be handed back.
    says_goodbye: bool,
}

/// What is known of a task.
#[derive(Default)]
struct Known {
    /// It was submitted for tabs alone.
    only_tabs: bool,
    said: Said,
    max_attempts: u32,
    cancel_asked: bool,
    delete_asked: bool,
    /// It was durable, and its deletion is.
    is_gone: bool,
    durable: Option<Durable>,
}

/// What its submitter was told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Said {
    /// Nothing, or nothing certain.
    #[default]
    Nothing,
    Accepted,
    /// And nothing of it is kept.
    Refused,
}

/// What is on the disk of it.
#[derive(Default)]
struct Durable {
    /// The worker of each attempt.
    workers: BTreeMap<Attempt, String>,
    /// The latest attempt, while it is under way.
    open: Option<Attempt>,
    failures: u32,
    lost: u32,
    checkpoint: Option<Checkpoint>,
    /// How the latest attempt ended.
    latest: Option<Outcome>,
    ended: Option<TaskState>,
}

impl Oracle {
    pub(super) fn met(&mut self, worker: WorkerId, trust: Trust) {
        self.workers.insert(worker.to_string(), Met { trust, says_goodbye: false });
    }

    pub(super) fn says_goodbye(&mut self, worker: WorkerId) {
        if let Some(met) = self.workers.get_mut(&worker.to_string()) {
            met.says_goodbye = true;
        }
    }

    pub(super) fn submitted(&mut self, task: &NewTask) {
        let only_tabs = task.surroundings.place == Place::Tab;
        let known = Known { only_tabs, max_attempts: task.max_attempts, ..Known::default() };
        self.tasks.insert(task.id, known);
    }

    pub(super) fn cancel_asked(&mut self, task: TaskId) {
        self.tasks.entry(task).or_default().cancel_asked = true;
    }

    pub(super) fn delete_asked(&mut self, task: TaskId) {
        self.tasks.entry(task).or_default().delete_asked = true;
    }

    /// Some task that anybody knows of.
    pub(super) fn any(&self, random: &mut fastrand::Rng) -> Option<TaskId> {
        let which = random.usize(..self.tasks.len().max(1));
        self.tasks.keys().nth(which).copied()
    }

    /// Whether it was ever accepted.
    pub(super) fn has_been_there(&self, task: TaskId) -> bool {
        self.tasks.get(&task).is_some_and(|known| known.durable.is_some() || known.is_gone)
    }

    pub(super) fn is_unfinished(&self, task: TaskId) -> bool {
        self.durable(task).is_some_and(|it| it.ended.is_none())
    }

    /// Tasks that wait and tasks that run, as the disk has them.
    pub(super) fn counts(&self) -> (u64, u64) {
        let unfinished = self
            .tasks
            .values()
            .filter_map(|it| it.durable.as_ref())
            .filter(|it| it.ended.is_none());
        let (running, queued): (Vec<_>, Vec<_>) = unfinished.partition(|it| it.open.is_some());
        (queued.len() as u64, running.len() as u64)
    }

    pub(super) fn all_ended(&self) -> bool {
        self.counts() == (0, 0)
    }

    fn durable(&self, task: TaskId) -> Option<&Durable> {
        self.tasks.get(&task)?.durable.as_ref()
    }
}

/// What clients are told.
impl Oracle {
    pub(super) fn submission_answered(&mut self, tasks: &[TaskId], answer: &Result<bool, Refused>) {
        if let Err(Refused::SubmittedBefore(before)) = answer {
            assert!(self.keys.values().any(|it| it == before), "{before:?} is not durable");
        }
        for task in tasks {
            let known = self.tasks.get_mut(task).expect("it was submitted");
            let is_durable = known.durable.is_some() || known.is_gone;
            match answer {
                Ok(_) => {
                    assert!(is_durable, "{task} was acknowledged before it was durable");
                    known.said = Said::Accepted;
                }
                // Then nobody knows what is on the disk.
                Err(Refused::StorageFailed(_)) => {}
                Err(Refused::SubmittedBefore(before)) => {
                    assert!(!is_durable, "{task} is a second time of {before:?}, and kept");
                    known.said = Said::Refused;
                }
                Err(refused) => {
                    assert!(!is_durable, "{task} was refused ({refused}) and kept");
                    known.said = Said::Refused;
                }
            }
        }
    }

    /// Whoever cancelled, deleted or waited was told that it is done.
    pub(super) fn told_of_its_end(&self, task: TaskId) {
        assert!(!self.is_unfinished(task), "the end of {task} was told before it was durable");
    }

    pub(super) fn told_of_its_deletion(&self, task: TaskId) {
        assert!(self.durable(task).is_none(), "{task} is still there after its deletion");
    }
}

/// What workers are sent.
impl Oracle {
    pub(super) fn sent(&self, worker: WorkerId, run: &Run) {
        let (task, attempt) = (run.task, run.attempt);
        // A task may be deleted in the turn in which it begins.
        let Some(known) = self.tasks.get(&task).filter(|it| !it.is_gone) else { return };
        let durable = known.durable.as_ref().unwrap_or_else(|| panic!("{task} runs unaccepted"));
        let begun = durable.workers.get(&attempt);
        assert_eq!(begun, Some(&worker.to_string()), "{task}/{attempt} runs before it has begun");
        if durable.open == Some(attempt) {
            assert_eq!(
                run.checkpoint, durable.checkpoint,
                "{task}/{attempt} goes on from elsewhere"
            );
        }
    }
}

/// What becomes durable.
impl Oracle {
    pub(super) fn written(&mut self, writes: &[Write]) {
        for write in writes {
            self.write(write);
        }
    }

    fn write(&mut self, write: &Write) {
        if let Write::Submitted(it) = write {
            let before = self.keys.insert(it.key.clone(), it.tasks.clone());
            assert_eq!(before, None, "the key {} is used twice", it.key);
            let is_there = |task: &TaskId| self.has_been_there(*task);
            assert!(it.tasks.iter().all(is_there), "{it:?} without its tasks");
            return;
        }
        let (stopping, workers) = (self.stopping, &self.workers);
        let begins = matches!(write, Write::AttemptBegan { .. });
        assert!(!(begins && self.has_stopped), "after the stop, {write:?}");
        let id = write.task();
        let known = self.tasks.entry(id).or_default();
        match write {
            Write::TaskAccepted(_) => {
                assert!(known.durable.is_none() && !known.is_gone, "{id} is accepted twice");
                assert_ne!(known.said, Said::Refused, "{id} was refused");
                known.durable = Some(Durable::default());
            }
            Write::TaskDeleted(_) => {
                assert!(known.delete_asked, "{id} is deleted unasked");
                known.is_gone |= known.durable.take().is_some();
            }
            write => match (&mut known.durable, write) {
                (Some(durable), Write::TaskEnded { .. }) if known.cancel_asked => {
                    durable.end(write, known.max_attempts, true);
                }
                (Some(durable), Write::TaskEnded { .. }) => {
                    durable.end(write, known.max_attempts, false);
                }
                (Some(durable), write) => {
                    if let Write::AttemptBegan { worker, .. } = write {
                        let is_tab = workers[worker].trust == Trust::Tab;
                        assert!(is_tab || !known.only_tabs, "{id} runs where it may not");
                    }
                    durable.change(write, known.max_attempts, stopping, workers);
                }
                // What an attempt said, written after somebody had deleted its task.
                (None, Write::Log { .. } | Write::Progress { .. } | Write::Checkpoint { .. })
                    if known.is_gone => {}
                (None, write) => panic!("a fact about {id}, which is not there: {write:?}"),
            },
        }
    }
}

impl Durable {
    fn change(
        &mut self,
        write: &Write,
        max_attempts: u32,
        stopping: bool,
        workers: &BTreeMap<String, Met>,
    ) {
        match write {
            Write::AttemptBegan { task, attempt, worker, trust, .. } => {
                assert_eq!((self.ended, self.open), (None, None), "{task} begins amiss");
                let before = self.workers.keys().next_back().copied().unwrap_or_default();
                assert_eq!(attempt.0, before.0 + 1, "attempts of {task} are numbered on");
                assert_eq!(*trust, workers[worker].trust);
                self.workers.insert(*attempt, worker.clone());
                self.open = Some(*attempt);
            }
            Write::AttemptEnded { task, attempt, outcome, .. } => {
                assert_eq!(self.open.take(), Some(*attempt), "{task} ends an attempt twice");
                let may_go_back = stopping || workers[&self.workers[attempt]].says_goodbye;
                self.attempt_ended(*task, *attempt, outcome.as_ref(), may_go_back);
            }
            Write::TaskQueued { task, failures, lost, .. } => {
                assert_eq!((self.ended, self.open), (None, None), "{task} is queued amiss");
                assert_eq!((*failures, *lost), (self.failures, self.lost), "{task} is miscounted");
                assert!(*failures < max_attempts && *lost < LOST_MAX, "{task} had its chances");
            }
            Write::Log { task, attempt, text, .. } => {
                assert_eq!(*text, self.mark(*task, *attempt), "output of another attempt");
            }
            Write::Checkpoint { task, checkpoint } => {
                let attempt = self.open.unwrap_or_else(|| panic!("{task} is not under way"));
                let expected = format!("{:?}", self.mark(*task, attempt));
                assert_eq!(checkpoint.state.text(), expected, "another attempt's checkpoint");
                self.checkpoint = Some(checkpoint.clone());
            }
            Write::Progress { .. } | Write::OutputTruncated { .. } => {}
            Write::ScheduleFired { .. } => panic!("no schedule is simulated"),
            Write::Submitted(_)
            | Write::TaskAccepted(_)
            | Write::TaskDeleted(_)
            | Write::TaskEnded { .. } => {
                unreachable!("taken before")
            }
        }
    }

    fn attempt_ended(
        &mut self,
        task: TaskId,
        attempt: Attempt,
        outcome: Option<&Outcome>,
        may_go_back: bool,
    ) {
        self.latest = outcome.cloned();
        match outcome {
            None => assert!(may_go_back, "{task} was put back and nobody stops or leaves"),
            Some(Outcome::Returned(returned)) => {
                let expected = format!("{:?}", self.mark(task, attempt));
                assert_eq!(returned.value.text(), expected, "the value of another attempt");
            }
            Some(Outcome::Threw(error)) => {
                assert_eq!(error.message, self.mark(task, attempt), "another attempt's error");
                self.failures += 1;
            }
            Some(Outcome::TimedOut { .. } | Outcome::OutOfMemory { .. }) => self.failures += 1,
            Some(Outcome::Lost { attempts }) => {
                self.lost += 1;
                assert_eq!(*attempts, self.lost, "{task} is miscounted");
            }
            Some(Outcome::Cancelled) => {}
        }
    }

    fn end(&mut self, write: &Write, max_attempts: u32, cancel_asked: bool) {
        let Write::TaskEnded { task, state, lost, outcome, .. } = write else { return };
        assert_eq!(self.ended, None, "{task} ends twice");
        assert_eq!(self.open, None, "{task} ends while an attempt is under way");
        assert_eq!(*lost, self.lost, "{task} is miscounted");
        let is_due = match state {
            TaskState::Succeeded => matches!(self.latest, Some(Outcome::Returned(_))),
            TaskState::Failed => self.failures == max_attempts || self.lost == LOST_MAX,
            TaskState::Cancelled => cancel_asked && *outcome == Some(Outcome::Cancelled),
            TaskState::Queued | TaskState::Running => false,
        };
        assert!(is_due, "{task} ends as {state:?} after {:?}", self.latest);
        self.ended = Some(*state);
        self.checkpoint = None;
    }

    fn mark(&self, task: TaskId, attempt: Attempt) -> String {
        let worker = self.workers.get(&attempt).expect("it has begun");
        mark(worker, task, attempt)
    }
}

/// When all has come to rest.
impl Oracle {
    pub(super) fn tasks(&self) -> impl Iterator<Item = TaskId> {
        self.tasks.keys().copied()
    }

    /// Compares a task with what is there after all.
    pub(super) fn settled(&self, id: TaskId, found: Option<&Task>) {
        let known = &self.tasks[&id];
        let Some(durable) = &known.durable else {
            assert_eq!(found, None, "{id} is there and should not be");
            assert!(known.said != Said::Accepted || known.is_gone, "{id} is lost");
            return;
        };
        let task = found.unwrap_or_else(|| panic!("{id} is gone"));
        assert_ne!(known.said, Said::Refused, "{id} was refused");
        assert_eq!(Some(task.state), durable.ended);
        assert_eq!(task.lost, durable.lost);
        assert!(task.outcome.is_some(), "{id} has ended without an outcome");
        assert_eq!(task.attempt.0 as usize, durable.workers.len());
    }
}
