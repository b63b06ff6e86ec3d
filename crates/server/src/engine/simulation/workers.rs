//! Workers of every temper.

use std::collections::BTreeMap;

use fastrand::Rng;
use runabout_protocol::{
    Attempt, Checkpoint, Json, LimitKind, MemoryScope, Outcome, Returned, ServerToWorker, Stream,
    TaskId, Usage, WorkerId, WorkerToServer, frame,
};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TryRecvError;

use super::oracle::Oracle;
use crate::engine::sessions::Report;

/// One session.
pub(super) struct Worker {
    pub(super) id: WorkerId,
    /// The most that it has offered, or was told to offer: what it is given never exceeds that.
    slots: u32,
    inbox: mpsc::Receiver<ServerToWorker>,
    /// Does not look at what it is sent.
    pub(super) sleeps: bool,
    /// What it was sent and has not said to have finished.
    held: BTreeMap<(TaskId, Attempt), Held>,
}

struct Held {
    temper: Temper,
    has_started: bool,
    is_cancelled: bool,
}

/// How a worker treats an attempt.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Temper {
    Good,
    NeverStarts,
    NeverFinishes,
    /// Not even when it is told to stop.
    NeverStops,
}

/// What stands in everything that an attempt says, so that nobody's words are taken for another's.
pub(super) fn mark(worker: &str, task: TaskId, attempt: Attempt) -> String {
    format!("{task}/{attempt} at {worker}")
}

impl Worker {
    pub(super) fn new(id: WorkerId, slots: u32, inbox: mpsc::Receiver<ServerToWorker>) -> Self {
        Self { id, slots, inbox, sleeps: false, held: BTreeMap::new() }
    }

    /// Notes that it is about to offer so many slots.
    pub(super) fn offers(&mut self, slots: u32) {
        self.slots = self.slots.max(slots);
    }

    /// Takes what it was sent; `false` once its session has ended.
    pub(super) fn receive(&mut self, random: &mut Rng, oracle: &Oracle) -> bool {
        loop {
            match self.inbox.try_recv() {
                Ok(ServerToWorker::Run(run)) => {
                    oracle.sent(self.id, &run);
                    assert!(self.held.len() < self.slots as usize, "more attempts than slots");
                    let temper = match random.u32(0..20) {
                        0 => Temper::NeverStarts,
                        1 => Temper::NeverFinishes,
                        2 => Temper::NeverStops,
                        _ => Temper::Good,
                    };
                    let held = Held { temper, has_started: false, is_cancelled: false };
                    let twice = self.held.insert((run.task, run.attempt), held);
                    assert!(twice.is_none(), "an attempt is sent twice");
                }
                Ok(ServerToWorker::Cancel(frame::Cancel { task, attempt })) => {
                    if let Some(held) = self.held.get_mut(&(task, attempt)) {
                        held.is_cancelled = true;
                    }
                }
                Ok(ServerToWorker::Resize(frame::Resize { slots })) => self.offers(slots),
                Ok(other) => panic!("the loop does not say {other:?}"),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    /// Goes on with one of its attempts, as its temper is.
    pub(super) fn act(&mut self, random: &mut Rng) -> Option<Report> {
        let which = random.usize(..self.held.len().max(1));
        let (&(task, attempt), held) = self.held.iter_mut().nth(which)?;
        let mark = mark(&self.id.to_string(), task, attempt);
        let mut frames = Vec::new();
        if held.is_cancelled && held.temper != Temper::NeverStops {
            // It may have been quicker than the order to stop.
            let quick = random.u32(0..4) == 0;
            let outcome = if quick { returned(&mark) } else { Outcome::Cancelled };
            frames.push(finished(task, attempt, outcome));
        } else if held.temper == Temper::NeverStarts {
            return None;
        } else if !held.has_started {
            held.has_started = true;
            frames.push(WorkerToServer::Started(frame::Started { task, attempt }));
        } else {
            let may_finish = held.temper == Temper::Good;
            frames.push(said(random, (task, attempt), &mark, may_finish));
        }
        Some(self.report(frames))
    }

    /// Finishes all it holds, whatever its temper was.
    pub(super) fn finish_all(&mut self) -> Vec<Report> {
        let keys: Vec<_> = self.held.keys().copied().collect();
        let frames = |(task, attempt)| {
            let mark = mark(&self.id.to_string(), task, attempt);
            let started = WorkerToServer::Started(frame::Started { task, attempt });
            vec![started, finished(task, attempt, returned(&mark))]
        };
        let frames: Vec<_> = keys.into_iter().map(frames).collect();
        frames.into_iter().map(|frames| self.report(frames)).collect()
    }

    /// What it has said it has finished, it holds no more, whether or not that is heard.
    fn report(&mut self, frames: Vec<WorkerToServer>) -> Report {
        for frame in &frames {
            if let WorkerToServer::Finished(frame::Finished { task, attempt, .. }) = frame {
                self.held.remove(&(*task, *attempt));
            }
        }
        Report::of(self.id, frames)
    }
}

fn said(
    random: &mut Rng,
    (task, attempt): (TaskId, Attempt),
    mark: &str,
    may_finish: bool,
) -> WorkerToServer {
    match random.u32(0..if may_finish { 12 } else { 3 }) {
        0 => WorkerToServer::Progress(frame::Progress {
            task,
            attempt,
            fraction: 0.5,
            message: None,
        }),
        1 => {
            let (seq, stream, text) = (random.u64(0..9), Stream::Stdout, mark.to_owned());
            WorkerToServer::Log(frame::Log { task, attempt, seq, stream, text })
        }
        2 => {
            let checkpoint = Checkpoint { state: Json::string(mark), encoding: None };
            WorkerToServer::Checkpoint(frame::Checkpoint::of((task, attempt), checkpoint))
        }
        3 => finished(task, attempt, Outcome::TimedOut { limit: LimitKind::Cpu, limit_ms: 9 }),
        4 => {
            let (limit_bytes, scope) = (9, MemoryScope::Run);
            finished(task, attempt, Outcome::OutOfMemory { limit_bytes, scope })
        }
        5 => finished(task, attempt, Outcome::Cancelled),
        6 => finished(task, attempt, Outcome::Lost { attempts: 77 }),
        7 | 8 => finished(task, attempt, Outcome::threw("Error", mark)),
        _ => finished(task, attempt, returned(mark)),
    }
}

fn returned(mark: &str) -> Outcome {
    Outcome::Returned(Returned { value: Json::string(mark), encoding: None })
}

fn finished(task: TaskId, attempt: Attempt, outcome: Outcome) -> WorkerToServer {
    let usage = Usage::default();
    WorkerToServer::Finished(frame::Finished {
        task,
        attempt,
        outcome,
        usage,
        output_truncated: false,
    })
}
