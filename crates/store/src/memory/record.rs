//! What a store in memory keeps of one task.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use runabout_protocol::{
    Attempt, Checkpoint, Outcome, Progress, Run, Task, TaskState, Trust, Usage, WorkerLabel,
};

use crate::columns::{millis, time_text};
use crate::{NewTask, UnfinishedTask, Write};

/// A task, and all that belongs to it.
#[derive(Clone)]
pub(super) struct Record {
    /// Its place in the order of submission.
    pub(super) number: u64,
    new: Arc<NewTask>,
    state: TaskState,
    attempt: Attempt,
    failures: u32,
    lost: u32,
    ready_at: Timestamp,
    progress: Option<Progress>,
    checkpoint: Option<Checkpoint>,
    finished_at: Option<Timestamp>,
    /// How it ended, where that is not the outcome of its latest attempt.
    outcome: Option<Outcome>,
    attempts: BTreeMap<Attempt, MemoryAttempt>,
}

/// An attempt, as it was written.
#[derive(Clone, Debug, PartialEq)]
pub struct MemoryAttempt {
    /// Its number.
    pub attempt: Attempt,
    /// The worker.
    pub worker: WorkerLabel,
    /// How far its word is to be believed.
    pub trust: Trust,
    /// When it began.
    pub started_at: Timestamp,
    /// How and when it ended, if it has.
    pub ending: Option<Ending>,
    /// Its lines of output, by their place.
    pub lines: BTreeMap<u64, String>,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Ending {
    /// When.
    pub at: Timestamp,
    /// How; `None` if a graceful stop put it back.
    pub outcome: Option<Outcome>,
    /// What it used, if that is known.
    pub usage: Option<Usage>,
}

impl Record {
    pub(super) fn new(number: u64, new: Arc<NewTask>) -> Self {
        Self {
            number,
            state: TaskState::Queued,
            attempt: Attempt(0),
            failures: 0,
            lost: 0,
            ready_at: whole_ms(new.run_at.unwrap_or(new.created_at)),
            progress: None,
            checkpoint: None,
            finished_at: None,
            outcome: None,
            attempts: BTreeMap::new(),
            new,
        }
    }

    pub(super) fn apply(&mut self, write: &Write) {
        match write {
            Write::AttemptBegan { attempt, worker, trust, at, .. } => {
                self.state = TaskState::Running;
                self.attempt = *attempt;
                self.progress = None;
                let begun = MemoryAttempt {
                    attempt: *attempt,
                    worker: worker.clone(),
                    trust: *trust,
                    started_at: *at,
                    ending: None,
                    lines: BTreeMap::new(),
                };
                self.attempts.insert(*attempt, begun);
            }
            Write::AttemptEnded { attempt, at, outcome, usage, .. } => {
                if let Some(it) = self.attempts.get_mut(attempt) {
                    let (outcome, usage) = (outcome.clone(), usage.clone());
                    it.ending = Some(Ending { at: *at, outcome, usage });
                }
            }
            Write::TaskQueued { ready_at, failures, lost, .. } => {
                self.state = TaskState::Queued;
                self.ready_at = whole_ms(*ready_at);
                (self.failures, self.lost) = (*failures, *lost);
            }
            Write::TaskEnded { at, state, outcome, lost, .. } => {
                (self.state, self.lost) = (*state, *lost);
                (self.finished_at, self.outcome) = (Some(*at), outcome.clone());
                self.checkpoint = None;
            }
            Write::Progress { progress, .. } => self.progress = Some(progress.clone()),
            Write::Log { attempt, seq, text, .. } => {
                if let Some(it) = self.attempts.get_mut(attempt) {
                    it.lines.insert(*seq, text.clone());
                }
            }
            Write::Checkpoint { checkpoint, .. } => self.checkpoint = Some(checkpoint.clone()),
            // Nobody reads it here; and the others are no matter of a record that is there.
            Write::OutputTruncated { .. }
            | Write::TaskAccepted(_)
            | Write::Submitted(_)
            | Write::ScheduleFired { .. }
            | Write::TaskDeleted(_) => {}
        }
    }

    pub(super) fn attempts(&self) -> Vec<MemoryAttempt> {
        self.attempts.values().cloned().collect()
    }

    pub(super) fn task(&self) -> Task {
        let new = &self.new;
        let attempt = self.attempts.get(&self.attempt);
        let has_ended = self.finished_at.is_some();
        let ending = attempt.and_then(|it| it.ending.as_ref()).filter(|_| has_ended);
        Task {
            id: new.id,
            name: new.name.clone(),
            state: self.state,
            function: new.function.clone(),
            digest: new.digest,
            language: new.language,
            export: new.export.clone(),
            args: new.args.values.clone(),
            args_encoding: new.args.encoding,
            attempt: self.attempt,
            max_attempts: new.max_attempts,
            lost: self.lost,
            priority: new.priority,
            place: new.surroundings.place,
            labels: new.labels.clone(),
            created_at: time_text(new.created_at),
            run_at: new.run_at.map(time_text),
            started_at: attempt.map(|it| time_text(it.started_at)),
            finished_at: self.finished_at.map(time_text),
            worker: attempt.map(|it| it.worker.clone()),
            trust: attempt.map(|it| it.trust),
            progress: self.progress.clone(),
            outcome: self.outcome.clone().or_else(|| ending.and_then(|it| it.outcome.clone())),
            usage: ending.filter(|_| self.outcome.is_none()).and_then(|it| it.usage.clone()),
        }
    }

    pub(super) fn unfinished(&self, label: Option<&str>) -> Option<UnfinishedTask> {
        let new = &self.new;
        (!self.state.is_final()).then(|| UnfinishedTask {
            id: new.id,
            language: new.language,
            surroundings: new.surroundings,
            priority: new.priority,
            queue_bytes: new.queue_bytes,
            timeout_ms: new.limits.timeout_ms,
            max_attempts: new.max_attempts,
            attempt: self.attempt,
            failures: self.failures,
            lost: self.lost,
            ready_at: self.ready_at,
            running: self.state == TaskState::Running,
            label: label.and_then(|label| new.labels.get(label)).cloned(),
        })
    }

    pub(super) fn run(&self, attempt: Attempt) -> Run {
        let new = &self.new;
        Run {
            task: new.id,
            attempt,
            artifact: new.digest,
            language: new.language,
            form: new.form,
            export: new.export.clone(),
            args: new.args.clone(),
            stdin: new.stdin.clone(),
            limits: new.limits,
            checkpoint: self.checkpoint.clone(),
            surroundings: new.surroundings,
        }
    }
}

/// Times are kept to the millisecond.
fn whole_ms(at: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(millis(at)).unwrap_or(at)
}
