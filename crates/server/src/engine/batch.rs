//! What one turn of the loop has gathered: facts to write in one transaction, and what is to be
//! done and answered after it.

use std::collections::BTreeSet;

use runabout_protocol::{TaskId, Trust};
use runabout_scheduler::{Effect, Lease, Write as Decision};
use runabout_store::Write;

use super::Refused;
use super::clock::Clock;
use super::driver::Reply;

/// One turn's work.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) writes: Vec<Write>,
    pub(super) effects: Vec<Effect>,
    pub(super) answers: Vec<Answer>,
}

/// An answer that waits for the writes.
pub(super) struct Answer {
    pub(super) reply: Reply,
    /// What to answer when they are durable.
    pub(super) value: Result<bool, Refused>,
    /// The tasks that this request submitted: they are taken back if they cannot be written.
    pub(super) submitted: Vec<TaskId>,
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.effects.is_empty() && self.answers.is_empty()
    }

    pub(super) fn answer_all(&mut self) {
        for Answer { reply, value, .. } in self.answers.drain(..) {
            // An error means that whoever asked has gone; what they asked for stands.
            drop(reply.send(value));
        }
    }

    /// Refuses every request, and returns the tasks that were submitted with them.
    pub(super) fn refuse_all(&mut self, refused: &Refused) -> BTreeSet<TaskId> {
        let refuse = |Answer { reply, submitted, .. }| {
            drop(reply.send(Err(refused.clone())));
            submitted
        };
        self.answers.drain(..).flat_map(refuse).collect()
    }

    /// Drops what was to be written and done about these tasks, of which nobody has heard yet.
    pub(super) fn forget(&mut self, tasks: &BTreeSet<TaskId>) {
        self.writes.retain(|write| !tasks.contains(&write.task()));
        self.effects.retain(|effect| !about(effect).is_some_and(|task| tasks.contains(&task)));
    }

    pub(super) fn append(&mut self, mut later: Self) {
        self.writes.append(&mut later.writes);
        self.effects.append(&mut later.effects);
        self.answers.append(&mut later.answers);
    }
}

fn about(effect: &Effect) -> Option<TaskId> {
    match effect {
        Effect::Run(lease) | Effect::Stop(lease) => Some(lease.task),
        Effect::Ended(task) => Some(*task),
        Effect::Close(_) | Effect::QueueFull => None,
    }
}

/// A decision of the scheduler as a fact for the store.
pub(super) fn fact(decision: Decision, clock: &Clock, trust: impl Fn(Lease) -> Trust) -> Write {
    match decision {
        Decision::AttemptBegan { lease, at, .. } => Write::AttemptBegan {
            task: lease.task,
            attempt: lease.attempt,
            worker: lease.worker.to_string(),
            trust: trust(lease),
            at: clock.timestamp(at),
        },
        Decision::AttemptEnded { task, attempt, at, outcome, usage } => {
            Write::AttemptEnded { task, attempt, at: clock.timestamp(at), outcome, usage }
        }
        Decision::TaskQueued { task, ready_at, failures, lost } => {
            Write::TaskQueued { task, ready_at: clock.timestamp(ready_at), failures, lost }
        }
        Decision::TaskEnded { task, at, state, outcome, lost } => {
            Write::TaskEnded { task, at: clock.timestamp(at), state, outcome, lost }
        }
        Decision::TaskDeleted(task) => Write::TaskDeleted(task),
    }
}
