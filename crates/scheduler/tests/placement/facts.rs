//! Single decisions.

use std::time::Duration;

use runabout_protocol::Digest;
use runabout_scheduler::placement::{
    Class, End, Exchange, Key, Placement, Plan, Question, Reason, Run, Side,
};

fn key(n: u8) -> Key {
    Key { digest: Digest([n; 32]), export: None }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A placement and a clock.
struct Desk {
    placement: Placement,
    now: Duration,
    class: Class,
}

impl Desk {
    fn new() -> Self {
        let class = Class::of("[34]");
        Self { placement: Placement::new(2), now: Duration::ZERO, class }
    }

    fn ask(&mut self, is_pure: bool) -> Plan {
        self.ask_with(is_pure, 0)
    }

    /// Asks where the upstream needs an artifact of that size first.
    fn ask_with(&mut self, is_pure: bool, artifact_bytes: u64) -> Plan {
        let (key, class) = (key(1), self.class);
        let question = Question { key: &key, class, is_pure, sent_bytes: 4, artifact_bytes };
        self.placement.decide(self.now, &question)
    }

    fn here(&mut self, run_ms: u64) {
        let ticket = self.placement.begin(self.now, Side::Here, &key(1), self.class);
        self.now += ms(run_ms);
        let run = Run { wall_ms: run_ms as f64, cpu_ms: Some(run_ms as f64) };
        let what = (&key(1), self.class);
        self.placement.end(self.now, (Side::Here, ticket), what, End::Ran(run));
    }

    fn upstream(&mut self, run_ms: u64) {
        let ticket = self.placement.begin(self.now, Side::Upstream, &key(1), self.class);
        self.now += ms(run_ms + 1);
        let run = Run { wall_ms: run_ms as f64, cpu_ms: Some(run_ms as f64) };
        let exchange = Exchange {
            took_ms: run_ms as f64 + 1.0,
            there_ms: Some(run_ms as f64),
            run: Some(run),
            sent_bytes: 4,
            reply_bytes: 4,
        };
        let what = (&key(1), self.class);
        self.placement.end(self.now, (Side::Upstream, ticket), what, End::Answered(exchange));
    }
}

#[test]
fn with_no_history_it_starts_here_and_follows_upstream_only_if_it_is_pure() {
    let mut desk = Desk::new();
    let plan = desk.ask(true);
    assert_eq!((plan.first, plan.reason), (Side::Here, Reason::Learning));
    assert!(plan.other_after.is_some_and(|after| after >= ms(1) && after < ms(100)), "{plan:?}");
    assert_eq!(desk.ask(false).other_after, None);
}

#[test]
fn the_side_that_is_expected_to_finish_first_is_chosen() {
    let mut desk = Desk::new();
    for _ in 0..3 {
        desk.ask(true);
        desk.here(80);
        desk.upstream(20);
    }
    let plan = desk.ask(true);
    assert_eq!((plan.first, plan.reason), (Side::Upstream, Reason::Faster));
    for _ in 0..5 {
        desk.upstream(400);
    }
    let plan = desk.ask(true);
    assert_eq!((plan.first, plan.reason), (Side::Here, Reason::Faster));
}

#[test]
fn an_artifact_that_has_to_be_sent_first_counts_for_the_way() {
    const LARGE: u64 = 32 << 20;
    let mut desk = Desk::new();
    let alone = desk.ask_with(true, 0).other_after;
    // 100 MB/s until better is known.
    let after = desk.ask_with(true, LARGE).other_after;
    assert!(after > alone && after > Some(ms(300)), "{alone:?}, {after:?}");
    for _ in 0..3 {
        desk.ask(false);
        desk.here(80);
        desk.upstream(20);
    }
    assert_eq!(desk.ask_with(false, 0).first, Side::Upstream);
    assert_eq!(desk.ask_with(false, 1 << 10).first, Side::Upstream);
    assert_eq!(desk.ask_with(false, LARGE).first, Side::Here);
}

#[test]
fn a_queue_here_sends_work_upstream_that_would_be_faster_here() {
    let mut desk = Desk::new();
    for _ in 0..3 {
        desk.ask(false);
        desk.here(20);
        desk.upstream(40);
    }
    assert_eq!(desk.ask(false).first, Side::Here);
    let tickets: Vec<_> =
        (0..8).map(|_| desk.placement.begin(desk.now, Side::Here, &key(1), desk.class)).collect();
    assert_eq!(desk.ask(false).first, Side::Upstream);
    for ticket in tickets {
        let what = (&key(1), desk.class);
        desk.placement.end(desk.now, (Side::Here, ticket), what, End::Nothing);
    }
    assert_eq!(desk.ask(false).first, Side::Here);
}

#[test]
fn what_may_run_only_once_is_never_started_on_both_sides() {
    let mut desk = Desk::new();
    for round in 0..300_u64 {
        let plan = desk.ask(false);
        assert_eq!(plan.other_after, None, "round {round}");
        match plan.first {
            Side::Here => desk.here(30 + round % 7),
            Side::Upstream => desk.upstream(25 + round % 11),
        }
    }
}

#[test]
fn an_upstream_that_cannot_be_reached_is_not_asked_until_it_answers() {
    let mut desk = Desk::new();
    desk.placement.unreachable(desk.now);
    let plan = desk.ask(true);
    assert_eq!(plan.reason, Reason::UpstreamUnreachable);
    assert_eq!((plan.first, plan.other_after), (Side::Here, None));
    desk.now += ms(250);
    assert!(desk.placement.probe(desk.now) && desk.placement.reachable());
    assert_ne!(desk.ask(true).reason, Reason::UpstreamUnreachable);
}

#[test]
fn what_was_decided_last_is_told_with_its_reason() {
    let mut desk = Desk::new();
    for _ in 0..3 {
        let plan = desk.ask(true);
        let learned = desk.placement.learned(1);
        assert_eq!(learned.functions[0].classes[0].last, Some(plan));
        desk.here(30);
    }
}

#[test]
fn memory_is_bounded_however_many_functions_are_called() {
    let mut desk = Desk::new();
    for n in 0..2_000_u32 {
        let mut digest = [0; 32];
        digest[..4].copy_from_slice(&n.to_le_bytes());
        let key = Key { digest: Digest(digest), export: None };
        let class = desk.class;
        let question =
            Question { key: &key, class, is_pure: true, sent_bytes: 4, artifact_bytes: 0 };
        desk.placement.decide(desk.now, &question);
    }
    assert_eq!(desk.placement.learned(usize::MAX).functions.len(), 256);
}
