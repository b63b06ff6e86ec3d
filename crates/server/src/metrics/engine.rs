//! What the loop of tasks counts, and what it hears of workers.

use std::time::Duration;

use metrics::{Counter, Histogram};
use runabout_protocol::Outcome;
use runabout_scheduler::Write as Decision;

use super::float;
use super::outcomes::Outcomes;
use super::table::{
    ATTEMPTS, FRAMES_IGNORED, REDISPATCHED, SESSIONS_BEGUN, SESSIONS_ENDED, SUBMITTED, TASK_RUN,
    TASK_WAIT, TASKS, TURN_WRITES,
};
use crate::engine::Farewell;

/// What the loop of tasks counts.
pub struct EngineMeasures {
    submitted: Counter,
    tasks: Outcomes,
    attempts: Outcomes,
    wait_seconds: Histogram,
    run_seconds: Histogram,
    frames_ignored: Counter,
    redispatched: Counter,
    left: Counter,
    disobeyed: Counter,
    too_slow: Counter,
    stopped: Counter,
    turn_writes: Histogram,
}

impl EngineMeasures {
    /// Makes the handles.
    pub fn new() -> Self {
        Self {
            submitted: metrics::counter!(SUBMITTED),
            tasks: Outcomes::new(TASKS),
            attempts: Outcomes::new(ATTEMPTS),
            wait_seconds: metrics::histogram!(TASK_WAIT),
            run_seconds: metrics::histogram!(TASK_RUN),
            frames_ignored: FramesIgnored::new().foreign,
            redispatched: metrics::counter!(REDISPATCHED),
            left: metrics::counter!(SESSIONS_ENDED, "why" => "left"),
            disobeyed: metrics::counter!(SESSIONS_ENDED, "why" => "disobeyed"),
            too_slow: metrics::counter!(SESSIONS_ENDED, "why" => "too_slow"),
            stopped: metrics::counter!(SESSIONS_ENDED, "why" => "stopping"),
            turn_writes: metrics::histogram!(TURN_WRITES),
        }
    }

    /// Counts tasks that were taken.
    pub fn submitted(&self, tasks: usize) {
        self.submitted.increment(tasks as u64);
    }

    /// Counts a frame that was not believed.
    pub fn frame_ignored(&self) {
        self.frames_ignored.increment(1);
    }

    /// Counts a session that is over.
    pub fn session_ended(&self, farewell: &Farewell) {
        match farewell {
            Farewell::Left(_) => &self.left,
            Farewell::Disobeyed => &self.disobeyed,
            Farewell::TooSlow => &self.too_slow,
            Farewell::Stopping => &self.stopped,
        }
        .increment(1);
    }

    /// Counts what is written in one turn.
    pub fn turn(&self, writes: usize) {
        self.turn_writes.record(float(writes as u64));
    }

    /// Counts what the scheduler has decided in one step.
    pub fn decided(&self, decisions: &[Decision]) {
        let mut latest = None;
        for decision in decisions {
            match decision {
                Decision::AttemptBegan { at, ready_at, .. } => {
                    self.wait_seconds
                        .record(Duration::from_millis(at.0.saturating_sub(ready_at.0)));
                }
                Decision::AttemptEnded { outcome, usage, .. } => {
                    latest = outcome.as_ref();
                    if let Some(outcome) = outcome {
                        self.attempts.of(outcome).increment(1);
                    }
                    if let Some(usage) = usage {
                        self.run_seconds.record(usage.wall_ms / 1000.0);
                    }
                }
                Decision::TaskEnded { outcome, .. } => {
                    if let Some(outcome) = outcome.as_ref().or(latest) {
                        self.tasks.of(outcome).increment(1);
                    }
                }
                Decision::TaskQueued { .. }
                    if matches!(latest, None | Some(Outcome::Lost { .. })) =>
                {
                    self.redispatched.increment(1);
                }
                Decision::TaskQueued { .. } | Decision::TaskDeleted(_) => {}
            }
        }
    }
}

/// What workers said and nobody heeded.
pub struct FramesIgnored {
    /// About an attempt that the session does not hold, or no answer to anything.
    pub foreign: Counter,
    /// About its attempt, and beyond all bounds.
    pub unfit: Counter,
    /// Of a type that is not known.
    pub unknown_type: Counter,
    /// With a field that is not known, and otherwise heeded.
    pub unknown_field: Counter,
}

impl FramesIgnored {
    /// Makes the handles.
    pub fn new() -> Self {
        let counter = |why: &'static str| metrics::counter!(FRAMES_IGNORED, "why" => why);
        Self {
            foreign: counter("foreign"),
            unfit: counter("unfit"),
            unknown_type: counter("unknown_type"),
            unknown_field: counter("unknown_field"),
        }
    }
}

/// Counts sessions of workers that began.
pub fn sessions_begun() -> Counter {
    metrics::counter!(SESSIONS_BEGUN)
}
