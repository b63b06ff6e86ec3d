//! What the loop does once it is durable.

use std::collections::HashMap;

use runabout_protocol::{Attempt, Outcome, Run, ServerToWorker, TaskId, Usage, WorkerId, frame};
use runabout_scheduler::{Effect, Event, Lease};

use super::driver::Driver;
use super::sessions::Farewell;

impl Driver {
    /// Does what the scheduler said is to be done.
    pub(super) async fn perform(&mut self, effects: Vec<Effect>) {
        let mut runs = self.runs(&effects).await;
        for effect in effects {
            match effect {
                Effect::Run(lease @ Lease { worker, task, attempt }) => {
                    // What an earlier attempt said of its progress is not true of this one.
                    self.shared.forget_progress(task);
                    // One that could not be read is given up when its worker has not said within
                    // ten seconds that it started.
                    match runs.remove(&(task, attempt)) {
                        Some(run) => self.send(worker, ServerToWorker::Run(Box::new(run))),
                        // Deleted in the turn that gave it out: its worker never hears of it, and
                        // could never say that it has ended.
                        None if !self.scheduler.is_current(lease) => self.step(Event::Finished {
                            lease,
                            outcome: Outcome::Cancelled,
                            usage: Usage::default(),
                        }),
                        None => {}
                    }
                }
                Effect::Stop(Lease { worker, task, attempt }) => {
                    self.send(worker, ServerToWorker::Cancel(frame::Cancel { task, attempt }));
                }
                Effect::Close(worker) => self.close(worker, Farewell::Disobeyed),
                Effect::Ended(task) => self.task_ended(task),
                // Answered when it was decided.
                Effect::QueueFull => {}
            }
        }
    }

    fn task_ended(&mut self, task: TaskId) {
        self.inputs.forget(task);
        self.shared.forget_progress(task);
        self.waiters.wake(task);
    }

    pub(super) fn send(&mut self, worker: WorkerId, frame: ServerToWorker) {
        if self.sessions.send(worker, frame).is_err() {
            self.close(worker, Farewell::TooSlow);
        }
    }

    /// What the workers are sent: first attempts mostly from memory, later ones from the store.
    async fn runs(&mut self, effects: &[Effect]) -> HashMap<(TaskId, Attempt), Run> {
        let mut runs = HashMap::new();
        let mut missing = Vec::new();
        for effect in effects {
            let Effect::Run(Lease { task, attempt, .. }) = *effect else { continue };
            match self.inputs.take(task, attempt) {
                Some(run) => drop(runs.insert((task, attempt), run)),
                None => missing.push((task, attempt)),
            }
        }
        if missing.is_empty() {
            return runs;
        }
        match self.store.runs(missing).await {
            Ok(found) => runs.extend(found.into_iter().map(|run| ((run.task, run.attempt), run))),
            Err(error) => tracing::error!(%error, "tasks could not be read and do not run yet"),
        }
        runs
    }
}
