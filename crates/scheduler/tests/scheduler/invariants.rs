//! What stays true whatever happens, in whatever order.

use std::collections::{BTreeMap, BTreeSet};

use crate::world::{World, returned, submission, task, timed_out, worker};
use proptest::prelude::*;
use runabout_protocol::{Attempt, Language, Outcome, TaskId, WorkerId};
use runabout_scheduler::{
    Capabilities, Effect, Event, Lease, Moment, Rules, Step, Submission, Write,
};

/// Something that may happen. Numbers pick among what is there at that moment.
#[derive(Clone, Debug)]
enum Happening {
    Submit {
        priority: i32,
        language: u8,
        max_attempts: u32,
        later_ms: u64,
    },
    Retract,
    Cancel(u128),
    Delete(u128),
    Join {
        slots: u32,
        only_js: bool,
    },
    Leave(usize),
    Started(usize),
    Finished {
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
        6 => (-2..3i32, 0..3u8, 1..4u32, 0..3_000u64).prop_map(
            |(priority, language, max_attempts, later_ms)| Submit {
                priority, language, max_attempts, later_ms: later_ms.saturating_sub(2_000)
            }
        ),
        1 => Just(Retract),
        1 => (0..40u128).prop_map(Cancel),
        1 => (0..40u128).prop_map(Delete),
        2 => (0..4u32, any::<bool>()).prop_map(|(slots, only_js)| Join { slots, only_js }),
        1 => any::<usize>().prop_map(Leave),
        3 => any::<usize>().prop_map(Started),
        6 => (any::<usize>(), 0..5u8).prop_map(|(which, how)| Finished { which, how }),
        1 => (0..9u128, 0..40u128, 0..4u32).prop_map(
            |(worker, task, attempt)| Foreign { worker, task, attempt }
        ),
        3 => (0..20_000u64).prop_map(Wait),
    ]
}

/// What a careful onlooker knows, from writes and effects alone.
#[derive(Default)]
struct Onlooker {
    submitted: u128,
    joined: u128,
    /// Slots of each worker that is there.
    slots: BTreeMap<WorkerId, u32>,
    /// Sent, and neither finished nor closed.
    held: BTreeSet<Lease>,
    /// The attempt of each task that has begun and not ended.
    open: BTreeMap<TaskId, Attempt>,
    newest: BTreeMap<TaskId, Attempt>,
    ended: BTreeSet<TaskId>,
    gone: BTreeSet<TaskId>,
}

impl Onlooker {
    fn look(&mut self, step: &Step) {
        for write in &step.writes {
            self.look_at_write(write);
        }
        for effect in &step.effects {
            self.look_at_effect(*effect);
        }
    }

    fn look_at_write(&mut self, write: &Write) {
        match write {
            Write::AttemptBegan { lease, .. } => {
                let Lease { task, attempt, .. } = *lease;
                assert!(!self.ended.contains(&task) && !self.gone.contains(&task));
                assert_eq!(self.open.insert(task, attempt), None, "{task} runs twice");
                let before = self.newest.insert(task, attempt).unwrap_or_default();
                assert_eq!(attempt.0, before.0 + 1);
            }
            Write::AttemptEnded { task, attempt, .. } => {
                assert_eq!(self.open.remove(task), Some(*attempt));
            }
            Write::TaskQueued { task, .. } => assert!(!self.open.contains_key(task)),
            Write::TaskEnded { task, .. } => {
                assert!(self.ended.insert(*task), "{task} has two outcomes");
                assert!(!self.open.contains_key(task));
            }
            Write::TaskDeleted(task) => {
                self.open.remove(task);
                self.gone.insert(*task);
            }
        }
    }

    fn look_at_effect(&mut self, effect: Effect) {
        match effect {
            Effect::Run(lease) => {
                assert!(self.held.insert(lease));
                let busy = self.held.iter().filter(|it| it.worker == lease.worker).count();
                assert!(busy <= self.slots[&lease.worker] as usize, "more runs than slots");
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
            Happening::Submit { priority, language, max_attempts, later_ms } => {
                self.submitted += 1;
                let language =
                    [Language::Js, Language::Wasm, Language::Wasi][usize::from(language)];
                let ready_at = now.after_ms(later_ms);
                let plain = submission(self.submitted);
                let it = Submission { priority, language, max_attempts, ready_at, ..plain };
                Event::Submit(vec![it])
            }
            Happening::Retract => return None,
            Happening::Cancel(n) => Event::Cancel(task(n)),
            Happening::Delete(n) if n > self.submitted => return None,
            Happening::Delete(n) => Event::Delete(task(n)),
            Happening::Join { slots, only_js } => {
                self.joined += 1;
                let worker = worker(self.joined);
                self.slots.insert(worker, slots);
                let js = Capabilities::of(&[Language::Js]);
                let capabilities = if only_js { js } else { Capabilities::all() };
                Event::WorkerJoined { worker, slots, capabilities }
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
        let hidden = world.submit(self.submitted);
        let is_its = |effect: &Effect| matches!(effect, Effect::Run(it) if it.task == id);
        let others: Vec<_> = hidden.effects.into_iter().filter(|it| !is_its(it)).collect();
        let step = world.step(Event::Retract(id));
        let seen =
            |write: &Write| !matches!(write, Write::AttemptBegan { lease, .. } if lease.task == id);
        let mut writes = hidden.writes;
        writes.retain(seen);
        self.look(&Step { writes, effects: others });
        self.look(&step);
        self.gone.insert(id);
    }

    /// Good workers come, and every attempt succeeds.
    fn settle(&mut self, world: &mut World) {
        let event = self.event(Happening::Join { slots: 3, only_js: false }, world.now);
        self.look(&world.step(event.expect("a worker")));
        for _ in 0..10_000 {
            if let Some(lease) = self.held.pop_first() {
                self.look(&world.step(finished(lease, returned())));
            } else if let Some(at) = world.scheduler.next_alarm() {
                world.now = world.now.max(at);
                self.look(&world.step(Event::Tick));
            } else {
                return;
            }
        }
        panic!("it does not come to rest");
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
    fn every_task_ends_once_and_no_slot_is_used_twice(
        happenings in prop::collection::vec(happening(), 0..200)
    ) {
        let mut world = World::new(Rules::default());
        let mut onlooker = Onlooker::default();
        for happening in happenings {
            match happening {
                Happening::Wait(ms) => world.now = world.now.after_ms(ms),
                Happening::Retract => onlooker.retract(&mut world),
                _ => {}
            }
            if let Some(event) = onlooker.event(happening, world.now) {
                onlooker.look(&world.step(event));
            }
            prop_assert_eq!(world.scheduler.running(), onlooker.open.len() as u64);
        }
        onlooker.settle(&mut world);
        prop_assert_eq!((world.scheduler.queued(), world.scheduler.running()), (0, 0));
        for n in 1..=onlooker.submitted {
            let accounted = onlooker.ended.contains(&task(n)) || onlooker.gone.contains(&task(n));
            prop_assert!(accounted, "task {} has no end", n);
        }
    }
}
