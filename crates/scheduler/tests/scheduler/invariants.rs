//! What stays true whatever happens, in whatever order.

use std::collections::{BTreeMap, BTreeSet};

use crate::world::{World, everything, returned, submission, task, timed_out, upstream, worker};
use proptest::prelude::*;
use runabout_protocol::{Attempt, Capability, Language, Outcome, TaskId, Trust, WorkerId};
use runabout_scheduler::placement::Side;
use runabout_scheduler::{
    Capabilities, Decline, Effect, Event, Lease, Moment, Needs, Offer, Restored, Rules, Share,
    Sides, Step, Submission, Write,
};

/// Something that may happen. Numbers pick among what is there at that moment.
#[derive(Clone, Debug)]
pub enum Happening {
    Submit {
        priority: i32,
        share: u64,
        needs: u8,
        max_attempts: u32,
        later_ms: u64,
    },
    Retract,
    Cancel(u128),
    Delete(u128),
    Join {
        slots: u32,
        kind: u8,
    },
    Resize {
        which: usize,
        slots: u32,
    },
    Goodbye(usize),
    Leave(usize),
    Started(usize),
    Finished {
        which: usize,
        how: u8,
    },
    Declined {
        which: usize,
        how: u8,
    },
    /// A frame that fits nothing.
    Foreign {
        worker: u128,
        task: u128,
        attempt: u32,
    },
    Wait(u64),
}

fn happening() -> impl Strategy<Value = Happening> {
    use Happening::*;
    prop_oneof![
        6 => (-1..2i32, 0..3u64, 0..7u8, 1..4u32, 0..3_000u64).prop_map(
            |(priority, share, needs, max_attempts, later_ms)| Submit {
                priority, share, needs, max_attempts, later_ms: later_ms.saturating_sub(2_000)
            }
        ),
        1 => Just(Retract),
        1 => (0..40u128).prop_map(Cancel),
        1 => (0..40u128).prop_map(Delete),
        2 => (0..4u32, 0..4u8).prop_map(|(slots, kind)| Join { slots, kind }),
        1 => (any::<usize>(), 0..4u32).prop_map(|(which, slots)| Resize { which, slots }),
        1 => any::<usize>().prop_map(Goodbye),
        1 => any::<usize>().prop_map(Leave),
        3 => any::<usize>().prop_map(Started),
        6 => (any::<usize>(), 0..5u8).prop_map(|(which, how)| Finished { which, how }),
        2 => (any::<usize>(), 0..3u8).prop_map(|(which, how)| Declined { which, how }),
        1 => (0..9u128, 0..40u128, 0..4u32).prop_map(
            |(worker, task, attempt)| Foreign { worker, task, attempt }
        ),
        3 => (0..20_000u64).prop_map(Wait),
    ]
}

/// What a careful onlooker knows, from events, writes and effects alone.
#[derive(Default)]
pub struct Onlooker {
    submitted: u128,
    joined: u128,
    /// Slots of each worker that is there, and what it offers.
    slots: BTreeMap<WorkerId, (u32, Offer)>,
    /// Those that have said goodbye.
    leaving: BTreeSet<WorkerId>,
    /// Sent, and neither finished nor closed.
    held: BTreeSet<Lease>,
    /// The attempt of each task that has begun and not ended.
    open: BTreeMap<TaskId, Attempt>,
    newest: BTreeMap<TaskId, Attempt>,
    /// What was submitted of each task that has not ended; `ready_at` is the latest.
    unfinished: BTreeMap<TaskId, Submission>,
    /// Failed and lost attempts of those that were queued again.
    again: BTreeMap<TaskId, (u32, u32)>,
    /// Of the unfinished ones, those that could begin at once.
    ready: BTreeSet<TaskId>,
    ended: BTreeSet<TaskId>,
    gone: BTreeSet<TaskId>,
}

impl Onlooker {
    /// Lets something happen, and looks at what comes of it.
    fn step(&mut self, world: &mut World, event: Event) {
        if let Event::Tick = event {
            let is_due = |(_, it): &(&TaskId, &Submission)| it.ready_at <= world.now;
            let due = self.unfinished.iter().filter(is_due).map(|(task, _)| *task);
            self.ready.extend(due.filter(|task| !self.open.contains_key(task)));
        }
        if let Event::Submit(submissions) = &event {
            for submission in submissions {
                self.unfinished.insert(submission.task, *submission);
                self.waits(submission.task, world.now);
            }
        }
        let step = world.step(event);
        self.look(&step, world.now);
    }

    /// The node crashes, and the next one takes up what was written.
    pub fn crash(&mut self, world: &mut World) {
        *world = World { now: world.now, ..World::new(Rules::default()) };
        self.slots.clear();
        self.leaving.clear();
        self.held.clear();
        self.ready.clear();
        // Ids are in the order of submission.
        for (task, submission) in self.unfinished.clone() {
            let (failures, lost) = self.again.get(&task).copied().unwrap_or_default();
            let attempt = self.newest.get(&task).copied().unwrap_or_default();
            let running = self.open.contains_key(&task);
            if !running {
                self.waits(task, world.now);
            }
            let restored = Restored { submission, attempt, failures, lost, running };
            self.step(world, Event::Restore(restored));
        }
    }

    fn waits(&mut self, task: TaskId, now: Moment) {
        if self.unfinished[&task].ready_at <= now {
            self.ready.insert(task);
        }
    }

    fn look(&mut self, step: &Step, now: Moment) {
        for write in &step.writes {
            self.look_at_write(write, now);
        }
        for effect in &step.effects {
            self.look_at_effect(*effect);
        }
    }

    fn look_at_write(&mut self, write: &Write, now: Moment) {
        match write {
            Write::AttemptBegan { lease, .. } => {
                let Lease { task, attempt, .. } = *lease;
                self.look_at_choice(*lease);
                assert!(self.ready.remove(&task), "{task} begins before its time");
                assert_eq!(self.open.insert(task, attempt), None, "{task} runs twice");
                let before = self.newest.insert(task, attempt).unwrap_or_default();
                assert_eq!(attempt.0, before.0 + 1);
            }
            Write::AttemptEnded { task, attempt, .. } => {
                assert_eq!(self.open.remove(task), Some(*attempt));
            }
            Write::TaskQueued { task, ready_at, failures, lost } => {
                assert!(!self.open.contains_key(task));
                self.again.insert(*task, (*failures, *lost));
                self.unfinished.get_mut(task).expect("unfinished").ready_at = *ready_at;
                self.waits(*task, now);
            }
            Write::TaskEnded { task, .. } => {
                assert!(self.ended.insert(*task), "{task} has two outcomes");
                assert!(!self.open.contains_key(task));
                self.forget_task(*task);
            }
            Write::TaskDeleted(task) => {
                self.gone.insert(*task);
                self.forget_task(*task);
            }
        }
    }

    fn forget_task(&mut self, task: TaskId) {
        self.open.remove(&task);
        self.ready.remove(&task);
        self.unfinished.remove(&task);
    }

    /// Whoever begins goes before all others that the same worker could have run.
    fn look_at_choice(&self, lease: Lease) {
        let first = &self.unfinished[&lease.task];
        let (_, offer) = self.slots[&lease.worker];
        assert!(!self.leaving.contains(&lease.worker), "{} begins too late", lease.task);
        assert!(offer.meets(first.needs), "{} cannot run there", lease.task);
        let others = self.ready.iter().filter(|task| **task != lease.task);
        for other in others.map(|task| &self.unfinished[task]) {
            if !self.could_run(offer, other.needs) || other.priority < first.priority {
                continue;
            }
            assert_eq!(other.priority, first.priority, "{} has priority", other.task);
            if other.share == first.share {
                assert!(first.task < other.task, "{} was submitted earlier", other.task);
            } else {
                let (taken, others) = (self.slots_of(first), self.slots_of(other));
                assert!(taken <= others, "{} holds fewer slots", other.task);
            }
        }
    }

    /// What is to go upstream waits for the upstream while it is there.
    fn could_run(&self, offer: Offer, needs: Needs) -> bool {
        let waits_for = |(worker, (_, offer)): (&WorkerId, &(u32, Offer))| {
            offer.side == Side::Upstream && !self.leaving.contains(worker)
        };
        let is_elsewhere = needs.sides == Sides::Upstream
            && offer.side == Side::Here
            && self.slots.iter().any(waits_for);
        offer.meets(needs) && !is_elsewhere
    }

    /// How many of the same priority and share are under way.
    fn slots_of(&self, submission: &Submission) -> usize {
        let open = self.open.keys().map(|task| &self.unfinished[task]);
        let claim = |it: &Submission| (it.priority, it.share);
        open.filter(|it| claim(it) == claim(submission)).count()
    }

    fn look_at_effect(&mut self, effect: Effect) {
        match effect {
            Effect::Run(lease) => {
                assert!(self.held.insert(lease));
                let busy = self.held.iter().filter(|it| it.worker == lease.worker).count();
                assert!(busy <= self.slots[&lease.worker].0 as usize, "more runs than slots");
            }
            Effect::Stop(lease) => assert!(self.held.contains(&lease)),
            Effect::Close(worker) => self.forget(worker),
            Effect::Ended(_) | Effect::QueueFull => {}
        }
    }

    fn forget(&mut self, worker: WorkerId) {
        assert!(self.slots.remove(&worker).is_some());
        self.held.retain(|lease| lease.worker != worker);
    }

    /// Turns a happening into an event, as the world stands now.
    fn event(&mut self, happening: Happening, now: Moment) -> Option<Event> {
        Some(match happening {
            Happening::Submit { priority, share, needs, max_attempts, later_ms } => {
                self.submitted += 1;
                let needs = needs_of(needs);
                let ready_at = now.after_ms(later_ms);
                let plain = submission(self.submitted);
                let share = Share(share);
                let it = Submission { priority, share, needs, max_attempts, ready_at, ..plain };
                Event::Submit(vec![it])
            }
            Happening::Retract => return None,
            Happening::Cancel(n) => Event::Cancel(task(n)),
            Happening::Delete(n) if n > self.submitted => return None,
            Happening::Delete(n) => Event::Delete(task(n)),
            Happening::Join { slots, kind } => {
                self.joined += 1;
                let worker = worker(self.joined);
                let offer = offer_of(kind);
                self.slots.insert(worker, (slots, offer));
                Event::WorkerJoined { worker, slots, offer }
            }
            Happening::Resize { which, slots } => {
                let worker = *pick(self.slots.keys(), which)?;
                self.slots.entry(worker).and_modify(|it| it.0 = slots);
                Event::WorkerResized { worker, slots }
            }
            Happening::Goodbye(which) => {
                let worker = *pick(self.slots.keys(), which)?;
                self.leaving.insert(worker);
                Event::WorkerLeaves(worker)
            }
            Happening::Leave(which) => {
                let worker = *pick(self.slots.keys(), which)?;
                self.forget(worker);
                Event::WorkerLost(worker)
            }
            Happening::Started(which) => Event::Started(*pick(self.held.iter(), which)?),
            Happening::Finished { which, how } => {
                let lease = *pick(self.held.iter(), which)?;
                self.held.remove(&lease);
                let cancelled = Outcome::Cancelled;
                let threw = Outcome::threw("Error", "no");
                let outcome = [returned(), threw, timed_out(), cancelled, returned()];
                finished(lease, outcome[usize::from(how)].clone())
            }
            Happening::Declined { which, how } => {
                let lease = *pick(self.held.iter(), which)?;
                self.held.remove(&lease);
                let why = [Decline::NotNow, Decline::Unfit, Decline::Interrupted];
                let why = why[usize::from(how)];
                let is_current = self.open.get(&lease.task) == Some(&lease.attempt);
                if why == Decline::Unfit && is_current {
                    let task = self.unfinished.get_mut(&lease.task).expect("unfinished");
                    task.needs.sides = Sides::Here;
                }
                Event::Declined { lease, why }
            }
            Happening::Foreign { worker: w, task: t, attempt } => {
                let lease = Lease { worker: worker(w), task: task(t), attempt: Attempt(attempt) };
                if self.held.contains(&lease) {
                    return None;
                }
                finished(lease, returned())
            }
            Happening::Wait(_) => Event::Tick,
        })
    }

    /// A submission that could not be stored, as the engine takes it back.
    fn retract(&mut self, world: &mut World) {
        self.submitted += 1;
        let id = task(self.submitted);
        self.step(world, Event::Submit(vec![submission(self.submitted)]));
        // Nobody has heard of it.
        self.forget_task(id);
        self.held.retain(|lease| lease.task != id);
        self.gone.insert(id);
        self.step(world, Event::Retract(vec![id]));
    }

    /// Lets one thing happen.
    pub fn happen(&mut self, world: &mut World, happening: Happening) {
        match happening {
            Happening::Wait(ms) => world.now = world.now.after_ms(ms),
            Happening::Retract => self.retract(world),
            _ => {}
        }
        if let Some(event) = self.event(happening, world.now) {
            self.step(world, event);
        }
        assert_eq!(world.scheduler.running(), self.open.len() as u64);
        let queued = self.unfinished.len() - self.open.len();
        assert_eq!(world.scheduler.queued(), queued as u64);
    }

    /// Good workers come, every attempt succeeds, and every task has its end.
    pub fn settle(&mut self, world: &mut World) {
        for kind in [0, 2, 3] {
            let event = self.event(Happening::Join { slots: 3, kind }, world.now);
            self.step(world, event.expect("a worker"));
        }
        for _ in 0..10_000 {
            if let Some(lease) = self.held.pop_first() {
                self.step(world, finished(lease, returned()));
            } else if let Some(at) = world.scheduler.next_alarm() {
                world.now = world.now.max(at);
                self.step(world, Event::Tick);
            } else {
                return self.look_back(world);
            }
        }
        panic!("it does not come to rest");
    }

    fn look_back(&self, world: &World) {
        assert_eq!((world.scheduler.queued(), world.scheduler.running()), (0, 0));
        for n in 1..=self.submitted {
            let accounted = self.ended.contains(&task(n)) || self.gone.contains(&task(n));
            assert!(accounted, "task {n} has no end");
        }
    }
}

fn needs_of(which: u8) -> Needs {
    let languages = [Language::Js, Language::Wasm, Language::Wasi];
    match which {
        3 => Needs { capability: Capability::Quickjs, ..Needs::of(Language::Js) },
        4 => Needs { only: Some(Trust::Tab), ..Needs::of(Language::Js) },
        5 => Needs { sides: Sides::Here, ..Needs::of(Language::Js) },
        6 => Needs { sides: Sides::Upstream, ..Needs::of(Language::Js) },
        which => Needs::of(languages[usize::from(which)]),
    }
}

fn offer_of(kind: u8) -> Offer {
    match kind {
        0 => everything(Trust::Node),
        1 => {
            Offer { capabilities: Capabilities::of(&[Capability::Js]), ..everything(Trust::Joined) }
        }
        2 => upstream(),
        _ => {
            let tab = [Capability::Js, Capability::Wasm, Capability::Wasi];
            Offer { capabilities: Capabilities::of(&tab), ..everything(Trust::Tab) }
        }
    }
}

fn finished(lease: Lease, outcome: Outcome) -> Event {
    Event::Finished { lease, outcome, usage: Default::default() }
}

fn pick<T>(mut among: impl ExactSizeIterator<Item = T>, which: usize) -> Option<T> {
    let count = among.len();
    if count == 0 { None } else { among.nth(which % count) }
}

proptest! {
    #[test]
    fn every_task_ends_once_no_slot_is_used_twice_and_nobody_is_passed_over(
        happenings in prop::collection::vec(happening(), 0..200)
    ) {
        let mut world = World::new(Rules::default());
        let mut onlooker = Onlooker::default();
        for happening in happenings {
            onlooker.happen(&mut world, happening);
        }
        onlooker.settle(&mut world);
    }
}
