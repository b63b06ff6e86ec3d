//! The workers, their slots, and what each of them is running.

use std::collections::{BTreeMap, BTreeSet};

use runabout_protocol::{Attempt, TaskId, WorkerId};

use crate::placement::Side;
use crate::{Lease, Moment, Needs, Offer, Sides};

/// How far a run has come, as far as its worker has said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// `run` was sent.
    Sent,
    /// The worker said `started`.
    Started,
    /// `cancel` was sent; the slot is free when the worker says `finished`.
    Stopping,
}

/// A slot in use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) phase: Phase,
    /// When its alarm rings; each run has exactly one set.
    pub(crate) overdue_at: Moment,
}

#[derive(Debug)]
struct Worker {
    slots: u32,
    offer: Offer,
    /// It is given nothing more.
    is_leaving: bool,
    /// Never more than `slots` were when the latest of them began.
    runs: BTreeMap<(TaskId, Attempt), Run>,
    /// When it was last given work, as a count of all work given.
    turn: u64,
}

impl Worker {
    fn has_room(&self) -> bool {
        !self.is_leaving && self.runs.len() < self.slots as usize
    }

    /// Whether it is an upstream to wait for, be it busy.
    fn is_upstream(&self) -> bool {
        !self.is_leaving && self.offer.side == Side::Upstream
    }
}

/// Fewest busy slots first, then the one whose last turn is longest ago.
type Rank = (usize, u64, WorkerId);

/// All workers.
#[derive(Debug, Default)]
pub(crate) struct Fleet {
    workers: BTreeMap<WorkerId, Worker>,
    /// The workers with a free slot, by what they offer. Few offers differ, so going through them
    /// costs little.
    free: BTreeMap<Offer, BTreeSet<Rank>>,
    /// Of the workers, those that are an upstream to wait for.
    upstreams: usize,
    turns: u64,
}

impl Fleet {
    pub(crate) fn join(&mut self, id: WorkerId, slots: u32, offer: Offer) {
        let worker = Worker { slots, offer, is_leaving: false, runs: BTreeMap::new(), turn: 0 };
        self.upstreams += usize::from(worker.is_upstream());
        self.workers.insert(id, worker);
        self.list(id);
    }

    pub(crate) fn resize(&mut self, id: WorkerId, slots: u32) {
        self.change(id, |worker| worker.slots = slots);
    }

    /// Gives a worker nothing more.
    pub(crate) fn retire(&mut self, id: WorkerId) {
        let was_upstream = self.change(id, |worker| {
            let was_upstream = worker.is_upstream();
            worker.is_leaving = true;
            was_upstream
        });
        self.upstreams -= usize::from(was_upstream == Some(true));
    }

    pub(crate) fn is_leaving(&self, id: WorkerId) -> bool {
        self.workers.get(&id).is_some_and(|worker| worker.is_leaving)
    }

    /// Forgets a worker and returns what it was running.
    pub(crate) fn leave(&mut self, id: WorkerId) -> Vec<(Lease, Run)> {
        self.unlist(id);
        let Some(worker) = self.workers.remove(&id) else { return Vec::new() };
        self.upstreams -= usize::from(worker.is_upstream());
        let lease = |(task, attempt)| Lease { worker: id, task, attempt };
        worker.runs.into_iter().map(|(key, run)| (lease(key), run)).collect()
    }

    /// The worker to give the next run with these needs to: the upstream only if nobody here has a
    /// free slot, unless it is asked for.
    pub(crate) fn choose(&self, needs: Needs) -> Option<WorkerId> {
        let is_for_upstream = needs.sides == Sides::Upstream && self.upstreams > 0;
        let suits =
            |offer: &Offer| offer.meets(needs) && !(is_for_upstream && offer.side == Side::Here);
        let free = self.free.iter().filter(|(offer, _)| suits(offer));
        let first = free.filter_map(|(offer, ranks)| Some((offer.side, ranks.first()?))).min();
        first.map(|(_, (.., id))| *id)
    }

    pub(crate) fn side_of(&self, id: WorkerId) -> Side {
        self.workers.get(&id).map(|worker| worker.offer.side).unwrap_or_default()
    }

    pub(crate) fn begin(&mut self, lease: Lease, run: Run) {
        self.turns += 1;
        let turn = self.turns;
        self.change(lease.worker, |worker| {
            worker.turn = turn;
            worker.runs.insert((lease.task, lease.attempt), run);
        });
    }

    /// Frees the slot.
    pub(crate) fn end(&mut self, lease: Lease) -> Option<Run> {
        self.change(lease.worker, |worker| worker.runs.remove(&(lease.task, lease.attempt)))?
    }

    pub(crate) fn run(&self, lease: Lease) -> Option<&Run> {
        self.workers.get(&lease.worker)?.runs.get(&(lease.task, lease.attempt))
    }

    pub(crate) fn run_mut(&mut self, lease: Lease) -> Option<&mut Run> {
        self.workers.get_mut(&lease.worker)?.runs.get_mut(&(lease.task, lease.attempt))
    }

    pub(crate) fn leases(&self) -> Vec<Lease> {
        let of = |(worker, it): (&WorkerId, &Worker)| -> Vec<Lease> {
            let lease = |(task, attempt): &(TaskId, Attempt)| Lease {
                worker: *worker,
                task: *task,
                attempt: *attempt,
            };
            it.runs.keys().map(lease).collect()
        };
        self.workers.iter().flat_map(of).collect()
    }

    pub(crate) fn slots(&self) -> u64 {
        let staying = self.workers.values().filter(|worker| !worker.is_leaving);
        staying.map(|worker| u64::from(worker.slots)).sum()
    }

    /// The tasks whose attempts a worker has.
    pub(crate) fn held_by(&self, id: WorkerId) -> Vec<TaskId> {
        let runs = self.workers.get(&id).map(|worker| worker.runs.keys());
        runs.into_iter().flatten().map(|(task, _)| *task).collect()
    }

    pub(crate) fn slots_of(&self, id: WorkerId) -> u32 {
        self.workers.get(&id).map_or(0, |worker| worker.slots)
    }

    fn change<T>(&mut self, id: WorkerId, change: impl FnOnce(&mut Worker) -> T) -> Option<T> {
        self.unlist(id);
        let changed = self.workers.get_mut(&id).map(change);
        self.list(id);
        changed
    }

    fn list(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get(&id).filter(|worker| worker.has_room()) else {
            return;
        };
        let rank = (worker.runs.len(), worker.turn, id);
        self.free.entry(worker.offer).or_default().insert(rank);
    }

    fn unlist(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get(&id) else { return };
        let rank = (worker.runs.len(), worker.turn, id);
        if let Some(ranks) = self.free.get_mut(&worker.offer) {
            ranks.remove(&rank);
        }
    }
}
