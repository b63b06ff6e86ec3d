//! What the scheduler is told, and what it says is to be done.

use runabout_protocol::{Attempt, Outcome, TaskId, TaskState, Usage, WorkerId};

use crate::{Moment, Needs, Offer};

/// Whose a task is, as far as fairness goes: within one priority, shares take turns. Tasks with
/// equal keys are one share; what a key stands for is known to whoever drives the scheduler.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Share(pub u64);

/// What the scheduler needs to know of a new task.
#[derive(Clone, Copy, Debug)]
pub struct Submission {
    /// Its id, never used before.
    pub task: TaskId,
    /// What it asks of a worker.
    pub needs: Needs,
    /// Higher goes first, whosever it is.
    pub priority: i32,
    /// Whom it belongs to.
    pub share: Share,
    /// What it holds while it waits.
    pub bytes: u64,
    /// The wall-clock limit of each attempt.
    pub timeout_ms: u64,
    /// How many attempts may throw, time out or run out of memory.
    pub max_attempts: u32,
    /// Not before this moment.
    pub ready_at: Moment,
}

/// An unfinished task as the store remembers it.
#[derive(Clone, Copy, Debug)]
pub struct Restored {
    /// What was submitted; `ready_at` may have moved since, by a retry.
    pub submission: Submission,
    /// The latest attempt.
    pub attempt: Attempt,
    /// How many attempts threw, timed out or ran out of memory.
    pub failures: u32,
    /// How many attempts were lost.
    pub lost: u32,
    /// Whether the latest attempt was under way when the node ended.
    pub running: bool,
}

/// Who runs what: the attempt's number and its worker fence every late or foreign frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lease {
    /// The worker.
    pub worker: WorkerId,
    /// The task.
    pub task: TaskId,
    /// The attempt.
    pub attempt: Attempt,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// Tasks are submitted: all are taken, or none.
    Submit(Vec<Submission>),
    /// A task of an earlier life of the node is taken up again.
    Restore(Restored),
    /// Submissions could not be stored. None of their effects was performed, so slots they were
    /// given are free at once, for others.
    Retract(Vec<TaskId>),
    /// Somebody asks for a task to end.
    Cancel(TaskId),
    /// Somebody asks for a task to be forgotten, finished or not.
    Delete(TaskId),
    /// A worker offers slots.
    WorkerJoined {
        /// The worker.
        worker: WorkerId,
        /// How many attempts it takes at once.
        slots: u32,
        /// What it can run, and how far it is trusted.
        offer: Offer,
    },
    /// A worker takes another number of attempts at once from now on. If it has more, it finishes
    /// those and is given no others.
    WorkerResized {
        /// The worker.
        worker: WorkerId,
        /// How many.
        slots: u32,
    },
    /// A worker says that it is about to go: it finishes what it has, or hands it back.
    WorkerLeaves(WorkerId),
    /// A worker's session has ended.
    WorkerLost(WorkerId),
    /// A worker says that an attempt has begun.
    Started(Lease),
    /// A worker says that an attempt has ended.
    Finished {
        /// Which.
        lease: Lease,
        /// How.
        outcome: Outcome,
        /// What it used.
        usage: Usage,
    },
    /// A worker gives an attempt back that came to no end there.
    Declined {
        /// Which.
        lease: Lease,
        /// Why.
        why: Decline,
    },
    /// The node stops: nothing more is begun, what runs is put back.
    Stop,
    /// Time has passed.
    Tick,
}

/// Why a worker gives an attempt back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decline {
    /// It has not begun, and may be given to the same worker later.
    NotNow,
    /// It has not begun, and the upstream would never take it.
    Unfit,
    /// It had begun, and the worker ended it for reasons of its own.
    Interrupted,
}

/// A fact to make durable, before any effect of the same step is performed.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// An attempt was given to a worker.
    AttemptBegan {
        /// To whom, and which.
        lease: Lease,
        /// When.
        at: Moment,
        /// Since when it could have been.
        ready_at: Moment,
    },
    /// An attempt ended.
    AttemptEnded {
        /// The task.
        task: TaskId,
        /// The attempt.
        attempt: Attempt,
        /// When.
        at: Moment,
        /// How; `None` if it was put back by a graceful stop.
        outcome: Option<Outcome>,
        /// What it used, if that is known.
        usage: Option<Usage>,
    },
    /// A task is back in the queue.
    TaskQueued {
        /// The task.
        task: TaskId,
        /// Not before this moment.
        ready_at: Moment,
        /// How many attempts threw, timed out or ran out of memory.
        failures: u32,
        /// How many attempts were lost.
        lost: u32,
    },
    /// A task has reached its end.
    TaskEnded {
        /// The task.
        task: TaskId,
        /// When.
        at: Moment,
        /// Its final state.
        state: TaskState,
        /// How it ended, where that is not the outcome of its latest attempt.
        outcome: Option<Outcome>,
        /// How many attempts were lost.
        lost: u32,
    },
    /// A task is to be forgotten.
    TaskDeleted(TaskId),
}

/// Something to do, once the step's writes are durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send the attempt to its worker.
    Run(Lease),
    /// Tell the worker to end the attempt; it is still expected to say that it finished.
    Stop(Lease),
    /// End the worker's session: it did not obey. The scheduler has forgotten it already.
    Close(WorkerId),
    /// Wake those who wait for the task: it has ended or is gone.
    Ended(TaskId),
    /// Refuse the submission: as many tasks or bytes wait as may.
    QueueFull,
}

/// What one event led to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    /// To be made durable first, in this order.
    pub writes: Vec<Write>,
    /// To be performed after that, in this order.
    pub effects: Vec<Effect>,
}
