//! Two machines and what lies between them, in slices of time.

use std::time::Duration;

use runabout_scheduler::placement::{End, Exchange, Run, Side, Ticket};

use crate::caller::Caller;
use crate::machine::{Job, Machine, SLICE_MS};
use crate::workload::Call;

/// How often an upstream that can be reached is looked at.
const LOOKED_AT_EVERY_MS: f64 = 5_000.0;

/// What lies between the machines.
pub struct Network;

impl Network {
    /// One way, in milliseconds: half a round trip of a millisecond, and 100 MB/s.
    pub fn way_ms(bytes: u64) -> f64 {
        0.5 + bytes as f64 / 200_000.0
    }
}

/// How the upstream is, from when on. `None` is gone.
pub type Weather = [(f64, Option<f64>)];

pub struct Sides {
    pub here: Machine,
    pub upstream: Machine,
    pub is_reachable: bool,
}

/// One run of a call.
#[derive(Clone, Copy, Debug)]
struct Leg {
    ticket: Option<Ticket>,
    began_ms: f64,
    /// For one upstream: when it arrives there, and when it is back.
    arrives_ms: f64,
    back: Option<(f64, Answer)>,
}

/// What the upstream says of a run.
#[derive(Clone, Copy, Debug)]
struct Answer {
    wall_ms: f64,
    cpu_ms: f64,
}

#[derive(Clone, Debug, Default)]
struct Progress {
    here: Option<Leg>,
    upstream: Option<Leg>,
    join: Option<(f64, Side)>,
    end_ms: Option<f64>,
    is_lost: bool,
}

/// What became of a call.
#[derive(Clone, Copy, Debug)]
pub struct Fate {
    pub at_ms: f64,
    /// From the call to the answer; `None` if it was lost with the upstream.
    pub took_ms: Option<f64>,
}

pub struct World<'a> {
    calls: &'a [Call],
    weather: &'a Weather,
    caller: Caller,
    sides: Sides,
    progress: Vec<Progress>,
    open: Vec<usize>,
    now_ms: f64,
    next: usize,
    look_at_ms: f64,
}

impl<'a> World<'a> {
    pub fn new(calls: &'a [Call], weather: &'a Weather, caller: Caller) -> Self {
        let sides = Sides { here: Machine::new(2), upstream: Machine::new(4), is_reachable: true };
        let progress = vec![Progress::default(); calls.len()];
        Self {
            calls,
            weather,
            caller,
            sides,
            progress,
            open: Vec::new(),
            now_ms: 0.0,
            next: 0,
            look_at_ms: 0.0,
        }
    }

    /// Lets it all happen.
    pub fn run(mut self) -> Vec<Fate> {
        while self.next < self.calls.len() || !self.open.is_empty() {
            if self.open.is_empty() {
                // Nothing is under way until the next call.
                let slices = (self.calls[self.next].at_ms / SLICE_MS).floor();
                self.now_ms = self.now_ms.max(slices * SLICE_MS);
            }
            self.change_weather();
            self.probe();
            self.arrive();
            self.deliver();
            self.join();
            self.compute();
            self.now_ms += SLICE_MS;
        }
        self.calls
            .iter()
            .zip(&self.progress)
            .map(|(call, progress)| Fate {
                at_ms: call.at_ms,
                took_ms: progress
                    .end_ms
                    .filter(|_| !progress.is_lost)
                    .map(|end_ms| end_ms - call.at_ms),
            })
            .collect()
    }

    fn now(&self) -> Duration {
        Duration::from_secs_f64(self.now_ms / 1_000.0)
    }

    fn change_weather(&mut self) {
        let now_ms = self.now_ms;
        let current = self.weather.iter().rev().find(|(from_ms, _)| *from_ms <= now_ms);
        match current.and_then(|(_, speed)| *speed) {
            Some(speed) => {
                self.sides.is_reachable = true;
                self.sides.upstream.speed = speed;
            }
            None if self.sides.is_reachable => self.lose(),
            None => {}
        }
    }

    /// The upstream is killed, with everything that it was doing.
    fn lose(&mut self) {
        self.sides.is_reachable = false;
        self.sides.upstream.jobs.clear();
        let now = self.now();
        for call in self.open.clone() {
            if self.progress[call].upstream.is_none() {
                continue;
            }
            self.end_leg(call, Side::Upstream, End::Nothing);
            if let Some(placement) = self.caller.placement() {
                placement.unreachable(now);
            }
            if self.progress[call].here.is_some() {
                continue;
            }
            if self.calls[call].is_pure {
                self.begin(call, Side::Here);
            } else {
                self.progress[call].is_lost = true;
                self.finish(call, self.now_ms);
            }
        }
    }

    /// As a node does it: an upstream that can be reached is looked at now and then as well.
    fn probe(&mut self) {
        let (now, is_reachable) = (self.now(), self.sides.is_reachable);
        let is_time_to_look = self.now_ms >= self.look_at_ms;
        if is_time_to_look {
            self.look_at_ms = self.now_ms + LOOKED_AT_EVERY_MS;
        }
        let Some(placement) = self.caller.placement() else { return };
        let looks = placement.breaker().is_closed() && is_time_to_look;
        if looks || placement.probe(now) {
            if is_reachable {
                placement.reachable();
            } else {
                placement.unreachable(now);
            }
        }
    }

    fn arrive(&mut self) {
        while let Some(call) = self.calls.get(self.next).filter(|it| it.at_ms <= self.now_ms) {
            let index = self.next;
            self.next += 1;
            self.open.push(index);
            let now = self.now();
            let plan = self.caller.plan(now, call, &self.sides);
            self.begin(index, plan.first);
            // Beginning upstream may have failed, and have begun here instead.
            if self.progress[index].here.is_some() && plan.first == Side::Upstream {
                continue;
            }
            self.progress[index].join = plan
                .other_after
                .map(|after| (self.now_ms + after.as_secs_f64() * 1_000.0, plan.first.other()));
        }
    }

    fn begin(&mut self, index: usize, side: Side) {
        let now = self.now();
        if side == Side::Upstream && !self.sides.is_reachable {
            if let Some(placement) = self.caller.placement() {
                placement.unreachable(now);
            }
            if self.progress[index].here.is_none() {
                self.begin(index, Side::Here);
            }
            return;
        }
        let call = &self.calls[index];
        let ticket = self.caller.placement().map(|it| it.begin(now, side, &call.key, call.class));
        let arrives_ms = self.now_ms + Network::way_ms(call.bytes);
        let leg = Some(Leg { ticket, began_ms: self.now_ms, arrives_ms, back: None });
        match side {
            Side::Here => {
                self.progress[index].here = leg;
                self.sides.here.begin(index, self.now_ms, call.work, call.idle_ms);
            }
            Side::Upstream => self.progress[index].upstream = leg,
        }
    }

    /// What is on its way arrives.
    fn deliver(&mut self) {
        for index in self.open.clone() {
            let Some(leg) = self.progress[index].upstream else { continue };
            let call = &self.calls[index];
            let has_arrived = leg.arrives_ms <= self.now_ms;
            let is_there = self.sides.upstream.jobs.iter().any(|job| job.call == index);
            match leg.back {
                Some((back_ms, answer)) if back_ms <= self.now_ms => {
                    self.answered(index, leg, back_ms, answer);
                }
                None if has_arrived && !is_there => {
                    self.sides.upstream.begin(index, self.now_ms, call.work, call.idle_ms);
                }
                _ => {}
            }
        }
    }

    fn answered(&mut self, index: usize, leg: Leg, back_ms: f64, answer: Answer) {
        let call = &self.calls[index];
        let exchange = Exchange {
            took_ms: back_ms - leg.began_ms,
            there_ms: Some(answer.wall_ms),
            run: Some(Run { wall_ms: answer.wall_ms, cpu_ms: Some(answer.cpu_ms) }),
            sent_bytes: call.bytes,
            reply_bytes: 10,
        };
        let (now, running) = (self.now(), self.sides.upstream.jobs.len() as u32);
        let processors = self.sides.upstream.processors as u32;
        self.end_leg(index, Side::Upstream, End::Answered(exchange));
        if let Some(placement) = self.caller.placement() {
            placement.hear(now, processors, running);
        }
        self.finish(index, back_ms);
    }

    fn join(&mut self) {
        for index in self.open.clone() {
            let Some((at_ms, side)) = self.progress[index].join else { continue };
            if at_ms > self.now_ms {
                continue;
            }
            let now = self.now();
            if self.caller.placement().is_some_and(|it| it.may_join(now, side)) {
                self.progress[index].join = None;
                self.begin(index, side);
            }
        }
    }

    fn compute(&mut self) {
        for (job, after_ms) in self.sides.here.step() {
            let end_ms = self.now_ms + after_ms;
            let run = Run { wall_ms: end_ms - job.began_ms, cpu_ms: Some(job.used) };
            self.end_leg(job.call, Side::Here, End::Ran(run));
            self.finish(job.call, end_ms);
        }
        let speed = self.sides.upstream.speed;
        for (job, after_ms) in self.sides.upstream.step() {
            let Job { call, began_ms, used, .. } = job;
            let end_ms = self.now_ms + after_ms;
            let answer = Answer { wall_ms: end_ms - began_ms, cpu_ms: used / speed };
            if let Some(leg) = &mut self.progress[call].upstream {
                leg.back = Some((end_ms + Network::way_ms(10), answer));
            }
        }
    }

    fn end_leg(&mut self, index: usize, side: Side, end: End) {
        let progress = &mut self.progress[index];
        let leg = match side {
            Side::Here => progress.here.take(),
            Side::Upstream => progress.upstream.take(),
        };
        let (now, call) = (self.now(), &self.calls[index]);
        if let (Some(ticket), Some(placement)) =
            (leg.and_then(|leg| leg.ticket), self.caller.placement())
        {
            placement.end(now, (side, ticket), (&call.key, call.class), end);
        }
    }

    fn finish(&mut self, index: usize, end_ms: f64) {
        self.sides.here.cancel(index);
        self.sides.upstream.cancel(index);
        self.end_leg(index, Side::Here, End::GivenUp);
        self.end_leg(index, Side::Upstream, End::GivenUp);
        self.progress[index].end_ms = Some(end_ms);
        self.open.retain(|open| *open != index);
    }
}
