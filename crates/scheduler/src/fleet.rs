//! The workers, their slots, and what each of them is running.

use std::collections::{BTreeMap, BTreeSet};

use runabout_protocol::{Attempt, Language, TaskId, WorkerId};

use crate::capabilities::{LANGUAGES, PerLanguage};
use crate::{Capabilities, Lease, Moment};

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
    capabilities: Capabilities,
    /// Never more than `slots`.
    runs: BTreeMap<(TaskId, Attempt), Run>,
    /// When it was last given work, as a count of all work given.
    turn: u64,
}

impl Worker {
    fn has_room(&self) -> bool {
        self.runs.len() < self.slots as usize
    }
}

/// Fewest busy slots first, then the one whose last turn is longest ago.
type Rank = (usize, u64, WorkerId);

/// All workers.
#[derive(Debug, Default)]
pub(crate) struct Fleet {
    workers: BTreeMap<WorkerId, Worker>,
    /// The workers with a free slot, for each language they can run.
    free: PerLanguage<BTreeSet<Rank>>,
    turns: u64,
}

impl Fleet {
    pub(crate) fn join(&mut self, id: WorkerId, slots: u32, capabilities: Capabilities) {
        let worker = Worker { slots, capabilities, runs: BTreeMap::new(), turn: 0 };
        self.workers.insert(id, worker);
        self.list(id);
    }

    /// Forgets a worker and returns what it was running.
    pub(crate) fn leave(&mut self, id: WorkerId) -> Vec<(Lease, Run)> {
        self.unlist(id);
        let runs = self.workers.remove(&id).map(|worker| worker.runs).unwrap_or_default();
        runs.into_iter()
            .map(|((task, attempt), run)| (Lease { worker: id, task, attempt }, run))
            .collect()
    }

    /// The worker to give the next run in `language` to.
    pub(crate) fn choose(&self, language: Language) -> Option<WorkerId> {
        self.free.get(language).first().map(|(.., id)| *id)
    }

    pub(crate) fn begin(&mut self, lease: Lease, run: Run) {
        self.unlist(lease.worker);
        self.turns += 1;
        if let Some(worker) = self.workers.get_mut(&lease.worker) {
            worker.turn = self.turns;
            worker.runs.insert((lease.task, lease.attempt), run);
        }
        self.list(lease.worker);
    }

    /// Frees the slot.
    pub(crate) fn end(&mut self, lease: Lease) -> Option<Run> {
        self.unlist(lease.worker);
        let worker = self.workers.get_mut(&lease.worker);
        let run = worker.and_then(|worker| worker.runs.remove(&(lease.task, lease.attempt)));
        self.list(lease.worker);
        run
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
        self.workers.values().map(|worker| u64::from(worker.slots)).sum()
    }

    fn list(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get(&id).filter(|worker| worker.has_room()) else {
            return;
        };
        let rank = (worker.runs.len(), worker.turn, id);
        for language in LANGUAGES.into_iter().filter(|it| worker.capabilities.contains(*it)) {
            self.free.get_mut(language).insert(rank);
        }
    }

    fn unlist(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get(&id) else { return };
        let rank = (worker.runs.len(), worker.turn, id);
        for language in LANGUAGES {
            self.free.get_mut(language).remove(&rank);
        }
    }
}
