//! How workers come, change and go, as the loop sees it.

use std::sync::Arc;

use runabout_protocol::{
    ServerToWorker, Trust, Worker, WorkerChange, WorkerEvent, WorkerId, WorkerKind, frame,
};
use runabout_scheduler::placement::Side;
use runabout_scheduler::{Capabilities, Event};
use uuid::Uuid;

use super::driver::Driver;
use super::own_worker::OwnWorker;
use super::sessions::{Farewell, Newcomer, Session};
use crate::events::Facts;

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
        let newcomer = Newcomer {
            name: self.node_name.clone(),
            kind: WorkerKind::Node,
            trust: Trust::Node,
            slots: own_worker.slots(),
            capabilities: Capabilities::all(),
            side: Side::Here,
        };
        let (inbox, task) = own_worker.start(worker);
        let session = Session::new(newcomer, inbox, Some(task), self.clock.wall());
        self.join(worker, session);
    }

    /// Gives work to a worker from now on.
    pub(super) fn join(&mut self, worker: WorkerId, session: Session) {
        let Newcomer { name, kind, trust, slots, .. } = session.newcomer.clone();
        tracing::info!(%worker, name, ?kind, ?trust, slots, "a worker has come");
        let offer = session.offer();
        self.sessions.add(worker, session);
        self.step(Event::WorkerJoined { worker, slots, offer });
        self.tell_of(worker, WorkerChange::Joined);
    }

    /// Gives a worker as much work from now on as so many slots take.
    pub(super) fn resize(&mut self, worker: WorkerId, slots: u32) {
        if let Some(own_worker) = &mut self.own_worker
            && self.shared.own_worker() == Some(worker)
        {
            // If its session has to begin anew, it has as many.
            own_worker.set_slots(slots);
        }
        self.step(Event::WorkerResized { worker, slots });
        self.tell_of(worker, WorkerChange::Changed);
    }

    /// The same, because somebody asked for it: the worker is told too.
    pub(super) fn order_resize(&mut self, worker: WorkerId, slots: u32) -> Option<Worker> {
        self.sessions.get(worker)?;
        // Before what it is given by it: frames arrive in order.
        self.send(worker, ServerToWorker::Resize(frame::Resize { slots }));
        self.resize(worker, slots);
        self.worker(worker)
    }

    /// Calls a worker by another name from now on.
    pub(super) fn rename(&mut self, worker: WorkerId, name: String) {
        let Some(session) = self.sessions.get_mut(worker) else { return };
        session.newcomer.name = name;
        self.tell_of(worker, WorkerChange::Changed);
    }

    /// Gives a worker nothing more.
    pub(super) fn retire(&mut self, worker: WorkerId) {
        let Some(session) = self.sessions.get_mut(worker) else { return };
        session.is_leaving = true;
        self.step(Event::WorkerLeaves(worker));
        self.tell_of(worker, WorkerChange::Changed);
    }

    /// Ends a worker's session, whoever noticed first that it is over.
    pub(super) fn close(&mut self, worker: WorkerId, farewell: Farewell) {
        let record = self.worker(worker);
        let Some(session) = self.sessions.remove(worker) else { return };
        let name = &session.newcomer.name;
        tracing::info!(%worker, name, reason = %farewell, "a worker is gone");
        self.measures.session_ended(&farewell);
        let (was_own, reason) = (session.newcomer.trust == Trust::Node, farewell.to_string());
        session.part(farewell);
        drop(session);
        self.step(Event::WorkerLost(worker));
        if let Some(worker) = record {
            self.publish(WorkerEvent { change: WorkerChange::Left, worker, reason: Some(reason) });
        }
        if was_own && self.stopping.is_empty() {
            self.join_own_worker();
        }
    }

    /// Every worker, in the order in which they came.
    pub(super) fn workers(&self) -> Vec<Worker> {
        self.sessions.ids().into_iter().filter_map(|id| self.worker(id)).collect()
    }

    fn worker(&self, id: WorkerId) -> Option<Worker> {
        let session = self.sessions.get(id)?;
        Some(session.record(id, self.scheduler.slots_of(id), self.scheduler.held_by(id)))
    }

    fn tell_of(&self, worker: WorkerId, change: WorkerChange) {
        if let Some(worker) = self.worker(worker) {
            self.publish(WorkerEvent { change, worker, reason: None });
        }
    }

    fn publish(&self, event: WorkerEvent) {
        self.events.publish(Facts::Workers(Arc::new(vec![event])));
    }
}
