//! A scheduler with a clock to turn and short ways to say what happens.

use runabout_protocol::{
    Attempt, Json, Language, LimitKind, Outcome, Returned, TaskId, TaskState, Trust, Usage,
    WorkerId,
};
use runabout_scheduler::placement::Side;
use runabout_scheduler::{
    Capabilities, Effect, Event, Lease, Moment, Needs, Offer, Rules, Scheduler, Share, Step,
    Submission, Write,
};
use uuid::Uuid;

pub const TIMEOUT_MS: u64 = 30_000;

pub struct World {
    pub scheduler: Scheduler,
    pub now: Moment,
}

pub fn task(n: u128) -> TaskId {
    TaskId(Uuid::from_u128(n))
}

pub fn worker(n: u128) -> WorkerId {
    WorkerId(Uuid::from_u128(n))
}

pub fn lease(worker_n: u128, task_n: u128, attempt: u32) -> Lease {
    Lease { worker: worker(worker_n), task: task(task_n), attempt: Attempt(attempt) }
}

pub fn submission(n: u128) -> Submission {
    Submission {
        task: task(n),
        needs: Needs::of(Language::Js),
        priority: 0,
        share: Share::default(),
        bytes: 100,
        timeout_ms: TIMEOUT_MS,
        max_attempts: 1,
        ready_at: Moment(0),
    }
}

/// The offer of a worker that can run everything.
pub fn everything(trust: Trust) -> Offer {
    Offer { capabilities: Capabilities::all(), trust, side: Side::Here }
}

/// The offer of the node behind this one.
pub fn upstream() -> Offer {
    Offer { side: Side::Upstream, ..everything(Trust::Joined) }
}

pub fn returned() -> Outcome {
    Outcome::Returned(Returned { value: Json::null(), encoding: None })
}

pub fn timed_out() -> Outcome {
    Outcome::TimedOut { limit: LimitKind::Wall, limit_ms: TIMEOUT_MS }
}

impl World {
    pub fn new(rules: Rules) -> Self {
        Self { scheduler: Scheduler::new(rules), now: Moment(1_000_000) }
    }

    /// A world with worker 1, which has `slots` slots.
    pub fn with_slots(slots: u32) -> Self {
        let mut world = Self::new(Rules::default());
        world.join(1, slots);
        world
    }

    pub fn step(&mut self, event: Event) -> Step {
        self.scheduler.step(self.now, event)
    }

    pub fn join(&mut self, n: u128, slots: u32) -> Step {
        self.step(Event::WorkerJoined { worker: worker(n), slots, offer: everything(Trust::Node) })
    }

    pub fn submit(&mut self, n: u128) -> Step {
        self.step(Event::Submit(vec![submission(n)]))
    }

    /// Submits a task of somebody's.
    pub fn submit_of(&mut self, share: u64, n: u128) -> Step {
        self.step(Event::Submit(vec![Submission { share: Share(share), ..submission(n) }]))
    }

    pub fn finish(&mut self, lease: Lease, outcome: Outcome) -> Step {
        self.step(Event::Finished { lease, outcome, usage: Usage::default() })
    }

    pub fn wait_ms(&mut self, ms: u64) -> Step {
        self.now = self.now.after_ms(ms);
        self.step(Event::Tick)
    }
}

/// The attempts a step sends out.
pub fn runs(step: &Step) -> Vec<Lease> {
    let run = |effect: &Effect| match effect {
        Effect::Run(lease) => Some(*lease),
        _ => None,
    };
    step.effects.iter().filter_map(run).collect()
}

/// The tasks a step ends, and how.
pub fn ends(step: &Step) -> Vec<(TaskId, TaskState)> {
    let end = |write: &Write| match write {
        Write::TaskEnded { task, state, .. } => Some((*task, *state)),
        _ => None,
    };
    step.writes.iter().filter_map(end).collect()
}
