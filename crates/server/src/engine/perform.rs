//! What the loop does once it is durable.

use std::collections::HashMap;

use runabout_protocol::{Attempt, Run, ServerToWorker, TaskId, Trust, WorkerId};
use runabout_scheduler::{Capabilities, Effect, Event, Lease};
use uuid::Uuid;

use super::driver::Driver;
use super::own_worker::OwnWorker;
use super::sessions::Session;

impl Driver {
    /// Lets the node itself run tasks.
    pub(super) fn employ(&mut self, own_worker: OwnWorker) {
        self.own_worker = Some(own_worker);
        self.join_own_worker();
    }

    fn join_own_worker(&mut self) {
        let Some(own_worker) = &self.own_worker else { return };
        let worker = WorkerId(Uuid::now_v7());
        self.shared.set_own_worker(worker);
        let slots = own_worker.slots();
        let (inbox, task) = own_worker.start(worker);
        let ran_on = self.node_name.clone();
        let session = Session { trust: Trust::Node, ran_on, inbox, task: Some(task) };
        self.join(worker, session, slots, Capabilities::all());
    }

    /// Gives work to a worker from now on.
    pub(super) fn join(
        &mut self,
        worker: WorkerId,
        session: Session,
        slots: u32,
        capabilities: Capabilities,
    ) {
        self.sessions.add(worker, session);
        self.step(Event::WorkerJoined { worker, slots, capabilities });
    }

    /// Does what the scheduler said is to be done.
    pub(super) async fn perform(&mut self, effects: Vec<Effect>) {
        let mut runs = self.runs(&effects).await;
        for effect in effects {
            match effect {
                Effect::Run(Lease { worker, task, attempt }) => {
                    // What an earlier attempt said of its progress is not true of this one.
                    self.shared.forget_progress(task);
                    // One that could not be read is given up when its worker has not said within
                    // ten seconds that it started.
                    if let Some(run) = runs.remove(&(task, attempt)) {
                        self.send(worker, ServerToWorker::Run(Box::new(run)));
                    }
                }
                Effect::Stop(Lease { worker, task, attempt }) => {
                    self.send(worker, ServerToWorker::Cancel { task, attempt });
                }
                Effect::Close(worker) => self.close(worker),
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

    fn send(&mut self, worker: WorkerId, frame: ServerToWorker) {
        if self.sessions.send(worker, frame).is_err() {
            self.close(worker);
        }
    }

    /// Ends a worker's session, whoever noticed first that it does not obey.
    pub(super) fn close(&mut self, worker: WorkerId) {
        let Some(session) = self.sessions.remove(worker) else { return };
        tracing::warn!(%worker, ran_on = session.ran_on, "a worker did not obey and is closed");
        let was_own = session.trust == Trust::Node;
        drop(session);
        self.step(Event::WorkerLost(worker));
        if was_own && self.stopping.is_empty() {
            self.join_own_worker();
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
