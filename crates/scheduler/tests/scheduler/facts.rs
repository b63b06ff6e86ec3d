//! What the scheduler promises, one promise a test.

use crate::world::{
    TIMEOUT_MS, World, ends, everything, lease, returned, runs, submission, task, timed_out,
    upstream, worker,
};
use runabout_protocol::{Attempt, Capability, Language, Outcome, TaskState, Trust};
use runabout_scheduler::{
    Capabilities, Decline, Effect, Event, Moment, Needs, Offer, Restored, Rules, Share, Sides,
    Step, Submission, Write,
};

#[test]
fn a_task_runs_at_once_if_a_slot_is_free() {
    let mut world = World::with_slots(1);
    let step = world.submit(1);
    assert_eq!(step.effects, [Effect::Run(lease(1, 1, 1))]);
    let began = Write::AttemptBegan { lease: lease(1, 1, 1), at: world.now, ready_at: world.now };
    assert_eq!(step.writes, [began]);
}

#[test]
fn a_task_waits_until_a_slot_is_free() {
    let mut world = World::with_slots(1);
    world.submit(1);
    assert_eq!(world.submit(2), Step::default());
    assert_eq!((world.scheduler.queued(), world.scheduler.running()), (1, 1));

    let step = world.finish(lease(1, 1, 1), returned());
    assert_eq!(ends(&step), [(task(1), TaskState::Succeeded)]);
    assert_eq!(runs(&step), [lease(1, 2, 1)]);
}

#[test]
fn higher_priority_goes_first_then_the_order_of_submission() {
    let mut world = World::new(Rules::default());
    let priorities = [(1, 0), (2, 5), (3, -1), (4, 5), (5, i32::MIN), (6, i32::MAX)];
    for (n, priority) in priorities {
        world.step(Event::Submit(vec![Submission { priority, ..submission(n) }]));
    }
    let order: Vec<_> = runs(&world.join(1, 6)).iter().map(|lease| lease.task).collect();
    assert_eq!(order, [6, 2, 4, 1, 3, 5].map(task));
}

/// Ends every attempt in the order in which they began, and says which tasks that were.
fn one_after_the_other(world: &mut World, begun: Step) -> Vec<u128> {
    let mut order = Vec::new();
    let mut under_way = runs(&begun);
    while !under_way.is_empty() {
        let lease = under_way.remove(0);
        order.push(lease.task.0.as_u128());
        under_way.extend(runs(&world.finish(lease, returned())));
    }
    order
}

#[test]
fn many_tasks_of_one_share_hold_up_no_other_share() {
    let mut world = World::new(Rules::default());
    for n in 1..=1_000 {
        world.submit_of(7, n);
    }
    world.submit_of(8, 1_001);
    let begun = world.join(1, 1);
    assert_eq!(one_after_the_other(&mut world, begun)[..4], [1, 1_001, 2, 3]);
}

#[test]
fn shares_take_turns_and_within_one_the_order_of_submission_holds() {
    let mut world = World::new(Rules::default());
    for (share, n) in [(7, 1), (7, 2), (7, 3), (8, 4), (8, 5), (9, 6), (7, 7)] {
        world.submit_of(share, n);
    }
    let begun = world.join(1, 1);
    assert_eq!(one_after_the_other(&mut world, begun), [1, 4, 6, 2, 5, 3, 7]);
}

#[test]
fn the_share_that_holds_the_fewest_slots_goes_first() {
    let mut world = World::new(Rules::default());
    for n in 1..=9 {
        world.submit_of(7, n);
    }
    assert_eq!(runs(&world.join(1, 4)).len(), 4, "nobody else wants them");
    for n in 11..=15 {
        world.submit_of(8, n);
    }
    // Those of the first share take long; the other's short ones get every slot that is free
    // until both hold two, and then whoever has just given one up.
    assert_eq!(runs(&world.finish(lease(1, 1, 1), returned())), [lease(1, 11, 1)]);
    assert_eq!(runs(&world.finish(lease(1, 2, 1), returned())), [lease(1, 12, 1)]);
    assert_eq!(runs(&world.finish(lease(1, 11, 1), returned())), [lease(1, 13, 1)]);
    assert_eq!(runs(&world.finish(lease(1, 3, 1), returned())), [lease(1, 5, 1)]);
}

#[test]
fn a_share_that_was_away_has_saved_nothing_up() {
    let mut world = World::with_slots(1);
    for n in 1..=20 {
        world.submit_of(7, n);
    }
    for n in 1..10 {
        world.finish(lease(1, n, 1), returned());
    }
    for n in 21..=24 {
        world.submit_of(8, n);
    }
    let begun = world.finish(lease(1, 10, 1), returned());
    let order = one_after_the_other(&mut world, begun);
    assert_eq!(order[..8], [11, 21, 12, 22, 13, 23, 14, 24], "one each, and no more");
}

#[test]
fn a_share_that_comes_back_for_each_task_gains_nothing_by_it() {
    let mut world = World::with_slots(1);
    for n in 1..=9 {
        world.submit_of(7, n);
    }
    let (mut order, mut next, mut lease) = (vec![1], 100, lease(1, 1, 1));
    world.submit_of(8, next);
    for _ in 0..5 {
        let begun = runs(&world.finish(lease, returned()));
        lease = begun[0];
        order.push(lease.task.0.as_u128());
        if lease.task == task(next) {
            next += 1;
            world.submit_of(8, next);
        }
    }
    assert_eq!(order, [1, 2, 100, 3, 101, 4]);
}

#[test]
fn priority_goes_before_fairness_and_turns_are_taken_within_it() {
    let mut world = World::new(Rules::default());
    for (share, priority, n) in [(7, 0, 1), (8, 0, 2), (7, 1, 3), (7, 1, 4), (8, 1, 5)] {
        let plain = submission(n);
        let submission = Submission { share: Share(share), priority, ..plain };
        world.step(Event::Submit(vec![submission]));
    }
    let begun = world.join(1, 1);
    assert_eq!(one_after_the_other(&mut world, begun), [3, 5, 4, 1, 2]);
}

#[test]
fn a_share_has_one_turn_whatever_languages_it_uses() {
    let mut world = World::new(Rules::default());
    let languages = [Language::Js, Language::Wasm, Language::Wasi];
    for (n, language) in (1..).zip(languages) {
        let plain = submission(n);
        let submission = Submission { share: Share(7), needs: Needs::of(language), ..plain };
        world.step(Event::Submit(vec![submission]));
    }
    world.submit_of(8, 4);
    let begun = world.join(1, 1);
    assert_eq!(one_after_the_other(&mut world, begun), [1, 4, 2, 3]);
}

#[test]
fn the_least_busy_worker_gets_the_task_and_equals_take_turns() {
    let mut world = World::new(Rules::default());
    world.join(1, 2);
    world.join(2, 2);
    let order: Vec<_> = (1..=4).flat_map(|n| runs(&world.submit(n))).map(|it| it.worker).collect();
    assert_eq!(order, [1, 2, 1, 2].map(worker));

    world.finish(lease(2, 4, 1), returned());
    world.finish(lease(1, 1, 1), returned());
    assert_eq!(runs(&world.submit(5)), [lease(1, 5, 1)], "its last turn is longest ago");
}

#[test]
fn a_task_nobody_can_run_holds_up_no_other() {
    let mut world = World::new(Rules::default());
    let capabilities = Capabilities::of(&[Capability::Wasm]);
    let offer = Offer { capabilities, ..everything(Trust::Joined) };
    world.step(Event::WorkerJoined { worker: worker(1), slots: 1, offer });
    assert_eq!(runs(&world.submit(1)), []);
    let wasm = Submission { needs: Needs::of(Language::Wasm), ..submission(2) };
    assert_eq!(runs(&world.step(Event::Submit(vec![wasm]))), [lease(1, 2, 1)]);
}

#[test]
fn a_task_goes_only_where_it_may() {
    let mut world = World::new(Rules::default());
    for (n, trust) in [(1, Trust::Node), (2, Trust::Joined), (3, Trust::Tab)] {
        let offer = everything(trust);
        world.step(Event::WorkerJoined { worker: worker(n), slots: 1, offer });
    }
    let only = |trust| Needs { only: Some(trust), ..Needs::of(Language::Js) };
    for (n, trust, on) in [(1, Trust::Tab, 3), (2, Trust::Node, 1)] {
        let it = Submission { needs: only(trust), ..submission(n) };
        assert_eq!(runs(&world.step(Event::Submit(vec![it]))), [lease(on, n, 1)]);
    }
    let waits = Submission { needs: only(Trust::Tab), ..submission(3) };
    assert_eq!(runs(&world.step(Event::Submit(vec![waits]))), [], "another worker is free");
    assert_eq!(runs(&world.submit(4)), [lease(2, 4, 1)], "and takes what may go anywhere");
}

fn sides(n: u128, sides: Sides) -> Event {
    let needs = Needs { sides, ..Needs::of(Language::Js) };
    Event::Submit(vec![Submission { needs, ..submission(n) }])
}

#[test]
fn the_upstream_is_given_what_no_slot_here_is_free_for() {
    let mut world = World::new(Rules::default());
    world.step(Event::WorkerJoined { worker: worker(1), slots: 2, offer: upstream() });
    world.join(2, 1);
    let order: Vec<_> = (1..=4).flat_map(|n| runs(&world.submit(n))).collect();
    assert_eq!(order, [lease(2, 1, 1), lease(1, 2, 1), lease(1, 3, 1)]);
    assert_eq!(runs(&world.finish(lease(2, 1, 1), returned())), [lease(2, 4, 1)]);
    assert_eq!(runs(&world.step(sides(5, Sides::Here))), []);
    assert_eq!(runs(&world.finish(lease(1, 2, 1), returned())), [], "it is not to leave");
}

#[test]
fn what_is_asked_to_go_upstream_waits_for_it_and_runs_here_when_it_is_gone() {
    let mut world = World::new(Rules::default());
    world.join(1, 2);
    world.step(Event::WorkerJoined { worker: worker(2), slots: 1, offer: upstream() });
    assert_eq!(runs(&world.step(sides(1, Sides::Upstream))), [lease(2, 1, 1)]);
    assert_eq!(runs(&world.step(sides(2, Sides::Upstream))), [], "it is busy");
    assert_eq!(runs(&world.step(Event::WorkerLeaves(worker(2)))), [lease(1, 2, 1)]);
    assert_eq!(runs(&world.step(sides(3, Sides::Upstream))), [lease(1, 3, 1)]);
    world.step(Event::WorkerLost(worker(2)));
    assert_eq!(runs(&world.finish(lease(1, 2, 1), returned())), [lease(1, 1, 2)]);
}

#[test]
fn what_the_upstream_does_not_take_goes_back_without_a_mark() {
    let mut world = World::new(Rules::default());
    let joins = |n, slots| Event::WorkerJoined { worker: worker(n), slots, offer: upstream() };
    world.step(joins(1, 1));
    world.step(sides(1, Sides::Upstream));
    let declines = |attempt, why| Event::Declined { lease: lease(1, 1, attempt), why };
    for attempt in 1..100 {
        let step = world.step(declines(attempt, Decline::NotNow));
        assert_eq!(runs(&step), [lease(1, 1, attempt + 1)]);
        let is_marked = |write: &Write| matches!(write, Write::TaskQueued { lost, failures, .. } if lost + failures > 0);
        assert!(!step.writes.iter().any(is_marked));
    }
    assert_eq!(runs(&world.step(declines(100, Decline::Unfit))), [], "never there again");
    assert_eq!(runs(&world.join(2, 1)), [lease(2, 1, 101)]);
}

#[test]
fn a_task_that_the_upstream_keeps_interrupting_is_given_up() {
    let mut world = World::new(Rules::default());
    world.step(Event::WorkerJoined { worker: worker(1), slots: 1, offer: upstream() });
    world.submit(1);
    let rules = Rules::default();
    let bound = rules.hand_backs_max + rules.lost_max;
    let mut ended = Vec::new();
    for attempt in 1..=bound {
        let why = Decline::Interrupted;
        ended = ends(&world.step(Event::Declined { lease: lease(1, 1, attempt), why }));
        assert_eq!(ended.is_empty(), attempt < bound, "{attempt}");
    }
    assert_eq!(ended, [(task(1), TaskState::Failed)]);
}

#[test]
fn an_attempt_upstream_has_longer_to_begin() {
    let mut world = World::new(Rules::default());
    world.step(Event::WorkerJoined { worker: worker(1), slots: 1, offer: upstream() });
    world.submit(1);
    assert_eq!(world.wait_ms(89_999), Step::default());
    assert_eq!(world.wait_ms(1).effects.first(), Some(&Effect::Stop(lease(1, 1, 1))));
}

#[test]
fn javascript_under_exact_limits_goes_only_where_they_can_be_kept() {
    let mut world = World::new(Rules::default());
    let capabilities = Capabilities::of(&[Capability::Js, Capability::Wasm]);
    let offer = Offer { capabilities, ..everything(Trust::Tab) };
    world.step(Event::WorkerJoined { worker: worker(1), slots: 2, offer });
    let exact = Needs { capability: Capability::Quickjs, ..Needs::of(Language::Js) };
    let exact = Submission { needs: exact, ..submission(1) };
    assert_eq!(runs(&world.step(Event::Submit(vec![exact]))), []);
    assert_eq!(runs(&world.submit(2)), [lease(1, 2, 1)]);
    assert_eq!(runs(&world.join(2, 1)), [lease(2, 1, 1)]);
}

#[test]
fn a_worker_made_smaller_finishes_what_it_has_and_gets_no_more_than_fits() {
    let mut world = World::with_slots(3);
    for n in 1..=5 {
        world.submit(n);
    }
    let resize = |slots| Event::WorkerResized { worker: worker(1), slots };
    assert_eq!(world.step(resize(1)), Step::default(), "nothing is taken from it");
    assert_eq!(world.scheduler.slots(), 1);
    assert_eq!(runs(&world.finish(lease(1, 1, 1), returned())), []);
    assert_eq!(runs(&world.finish(lease(1, 2, 1), returned())), []);
    assert_eq!(runs(&world.finish(lease(1, 3, 1), returned())), [lease(1, 4, 1)]);
    assert_eq!(runs(&world.step(resize(8))), [lease(1, 5, 1)]);
    assert_eq!(world.scheduler.held_by(worker(1)), [task(4), task(5)]);
}

#[test]
fn a_worker_that_leaves_finishes_or_hands_back_and_no_task_is_marked_for_it() {
    let mut world = World::with_slots(3);
    for n in 1..=4 {
        world.submit(n);
    }
    assert_eq!(world.step(Event::WorkerLeaves(worker(1))), Step::default());
    assert_eq!(world.scheduler.slots(), 0);
    let step = world.finish(lease(1, 1, 1), returned());
    assert_eq!((ends(&step), runs(&step)), (vec![(task(1), TaskState::Succeeded)], vec![]));
    let unmarked = |n, at| Write::TaskQueued { task: task(n), ready_at: at, failures: 0, lost: 0 };
    let step = world.finish(lease(1, 2, 1), Outcome::Cancelled);
    assert_eq!(step.writes.last(), Some(&unmarked(2, world.now)));
    let step = world.step(Event::WorkerLost(worker(1)));
    assert_eq!(step.writes.last(), Some(&unmarked(3, world.now)));
    let again = runs(&world.join(2, 9));
    assert_eq!(again, [lease(2, 2, 2), lease(2, 3, 2), lease(2, 4, 1)]);
}

#[test]
fn a_task_does_not_wait_for_ever_for_workers_that_only_come_and_go() {
    let mut world = World::new(Rules { hand_backs_max: 2, ..Rules::default() });
    world.submit(1);
    let lost: Vec<_> = (1..=7)
        .map_while(|n| {
            world.join(n, 1);
            world.step(Event::WorkerLeaves(worker(n)));
            let step = world.step(Event::WorkerLost(worker(n)));
            step.writes.iter().find_map(|write| match write {
                Write::TaskQueued { lost, .. } | Write::TaskEnded { lost, .. } => Some(*lost),
                _ => None,
            })
        })
        .collect();
    assert_eq!(lost, [0, 0, 1, 2, 3, 4, 5]);
    assert!(!world.scheduler.is_unfinished(task(1)));
}

#[test]
fn a_task_for_later_begins_when_its_time_has_come() {
    let mut world = World::with_slots(1);
    let ready_at = world.now.after_ms(500);
    let step = world.step(Event::Submit(vec![Submission { ready_at, ..submission(1) }]));
    assert_eq!(runs(&step), []);
    assert_eq!(world.scheduler.next_alarm(), Some(ready_at));
    assert_eq!(runs(&world.wait_ms(499)), []);
    assert_eq!(runs(&world.wait_ms(1)), [lease(1, 1, 1)]);
}

#[test]
fn a_full_queue_refuses_all_of_a_submission() {
    let limits = [
        Rules { queue_tasks_max: 2, ..Rules::default() },
        Rules { queue_bytes_max: 299, ..Rules::default() },
    ];
    for rules in limits {
        let mut world = World::new(rules);
        world.submit(1);
        let two = vec![submission(2), submission(3)];
        assert_eq!(world.step(Event::Submit(two)).effects, [Effect::QueueFull]);
        assert_eq!(world.scheduler.queued(), 1);
        assert_eq!(world.submit(2).effects, [], "one more fits");
    }
}

#[test]
fn a_running_task_takes_no_room_in_the_queue() {
    let mut world = World::new(Rules { queue_tasks_max: 1, ..Rules::default() });
    world.join(1, 1);
    world.submit(1);
    assert_eq!(world.submit(2).effects, []);
    assert_eq!(world.submit(3).effects, [Effect::QueueFull]);
}

#[test]
fn failures_are_tried_again_as_often_as_asked_for_and_later_each_time() {
    let mut world = World::with_slots(1);
    world.step(Event::Submit(vec![Submission { max_attempts: 3, ..submission(1) }]));

    for (attempt, longest_ms) in [(1, 1_000), (2, 2_000)] {
        let step = world.finish(lease(1, 1, attempt), timed_out());
        assert_eq!((ends(&step), runs(&step)), (vec![], vec![]));
        let waits_ms = world.scheduler.next_alarm().expect("a retry").0 - world.now.0;
        assert!((longest_ms / 2..=longest_ms).contains(&waits_ms), "{waits_ms} ms");
        assert_eq!(runs(&world.wait_ms(waits_ms)), [lease(1, 1, attempt + 1)]);
    }
    let step = world.finish(lease(1, 1, 3), Outcome::threw("Error", "again"));
    assert_eq!(ends(&step), [(task(1), TaskState::Failed)]);
}

#[test]
fn a_late_result_from_an_old_attempt_is_ignored() {
    let mut world = World::with_slots(1);
    world.submit(1);
    world.step(Event::WorkerLost(worker(1)));
    assert_eq!(runs(&world.join(2, 1)), [lease(2, 1, 2)]);

    for late in [lease(1, 1, 1), lease(1, 1, 2), lease(2, 1, 1), lease(2, 2, 2)] {
        assert!(!world.scheduler.is_held(late));
        assert_eq!(world.finish(late, returned()), Step::default(), "{late:?}");
    }
    let step = world.finish(lease(2, 1, 2), returned());
    assert_eq!(ends(&step), [(task(1), TaskState::Succeeded)]);
    assert_eq!(world.finish(lease(2, 1, 2), timed_out()), Step::default(), "said twice");
}

#[test]
fn a_task_that_loses_every_worker_is_given_up() {
    let mut world = World::with_slots(1);
    world.submit(1);
    for n in 1..5 {
        assert_eq!(ends(&world.step(Event::WorkerLost(worker(n)))), []);
        assert_eq!(runs(&world.join(n + 1, 1)).len(), 1);
    }
    let step = world.step(Event::WorkerLost(worker(5)));
    let outcome = Some(Outcome::Lost { attempts: 5 });
    let state = TaskState::Failed;
    let end = Write::TaskEnded { task: task(1), at: world.now, state, outcome, lost: 5 };
    assert!(step.writes.contains(&end), "{:?}", step.writes);
    assert_eq!(step.effects, [Effect::Ended(task(1))]);
}

#[test]
fn a_lost_attempt_goes_back_to_its_old_place() {
    let mut world = World::with_slots(1);
    world.submit(1);
    world.submit(2);
    world.step(Event::WorkerLost(worker(1)));
    assert_eq!(runs(&world.join(2, 1)), [lease(2, 1, 2)]);
}

#[test]
fn a_worker_that_does_not_start_is_told_to_stop_and_the_task_runs_elsewhere() {
    let mut world = World::with_slots(1);
    world.submit(1);
    world.join(2, 1);
    let step = world.wait_ms(10_000);
    assert_eq!(step.effects, [Effect::Stop(lease(1, 1, 1)), Effect::Run(lease(2, 1, 2))]);
    assert!(world.scheduler.is_held(lease(1, 1, 1)), "its slot is not free yet");
    assert!(!world.scheduler.is_current(lease(1, 1, 1)));
}

#[test]
fn an_attempt_that_outlives_its_timeout_counts_as_lost() {
    let mut world = World::with_slots(2);
    world.submit(1);
    world.step(Event::Started(lease(1, 1, 1)));
    assert_eq!(world.wait_ms(TIMEOUT_MS + 4_999), Step::default());
    let step = world.wait_ms(1);
    assert_eq!(step.effects, [Effect::Stop(lease(1, 1, 1)), Effect::Run(lease(1, 1, 2))]);
}

#[test]
fn saying_started_twice_buys_no_time() {
    let mut world = World::with_slots(1);
    world.submit(1);
    world.step(Event::Started(lease(1, 1, 1)));
    let deadline = world.scheduler.next_alarm();
    world.wait_ms(100);
    world.step(Event::Started(lease(1, 1, 1)));
    assert_eq!(world.scheduler.next_alarm(), deadline);
}

#[test]
fn a_worker_that_does_not_stop_is_closed() {
    let mut world = World::with_slots(2);
    world.submit(1);
    world.submit(2);
    world.step(Event::Started(lease(1, 2, 1)));
    world.step(Event::Cancel(task(1)));
    let step = world.wait_ms(5_000);
    assert_eq!(step.effects, [Effect::Close(worker(1))]);
    assert_eq!(world.scheduler.slots(), 0);
    assert_eq!(runs(&world.join(2, 1)), [lease(2, 2, 2)], "its other task runs elsewhere");
}

#[test]
fn a_cancelled_task_ends_at_once_but_its_slot_waits_for_the_worker() {
    let mut world = World::with_slots(1);
    world.submit(1);
    let step = world.step(Event::Cancel(task(1)));
    assert_eq!(ends(&step), [(task(1), TaskState::Cancelled)]);
    assert_eq!(step.effects, [Effect::Stop(lease(1, 1, 1)), Effect::Ended(task(1))]);
    assert_eq!(runs(&world.submit(2)), []);

    let step = world.finish(lease(1, 1, 1), returned());
    assert_eq!(ends(&step), [], "no second outcome");
    assert_eq!(runs(&step), [lease(1, 2, 1)]);
}

#[test]
fn a_waiting_task_is_cancelled_wherever_it_waits() {
    let mut world = World::new(Rules::default());
    world.submit(1);
    let ready_at = world.now.after_ms(50);
    world.step(Event::Submit(vec![Submission { ready_at, ..submission(2) }]));
    for n in [1, 2] {
        let step = world.step(Event::Cancel(task(n)));
        assert_eq!(ends(&step), [(task(n), TaskState::Cancelled)]);
        assert_eq!(world.step(Event::Cancel(task(n))), Step::default(), "it has ended");
    }
    assert_eq!((world.scheduler.queued(), world.scheduler.next_alarm()), (0, None));
    assert_eq!(runs(&world.join(1, 5)), []);
}

#[test]
fn a_deleted_task_stops_and_leaves_nothing() {
    let mut world = World::with_slots(1);
    world.submit(1);
    let step = world.step(Event::Delete(task(1)));
    assert_eq!(step.writes, [Write::TaskDeleted(task(1))]);
    assert_eq!(step.effects, [Effect::Stop(lease(1, 1, 1)), Effect::Ended(task(1))]);
    assert_eq!(world.finish(lease(1, 1, 1), returned()), Step::default());
}

#[test]
fn a_finished_task_can_be_deleted() {
    let mut world = World::new(Rules::default());
    let step = world.step(Event::Delete(task(1)));
    assert_eq!(step.writes, [Write::TaskDeleted(task(1))]);
}

#[test]
fn a_retracted_submission_frees_its_slot_for_the_next() {
    let mut world = World::with_slots(1);
    world.submit(1);
    world.submit(2);
    let step = world.step(Event::Retract(vec![task(1)]));
    assert_eq!(step.effects, [Effect::Run(lease(1, 2, 1))]);
    assert!(!world.scheduler.is_unfinished(task(1)));
}

#[test]
fn submissions_that_are_retracted_together_do_not_begin_in_each_others_slots() {
    let mut world = World::with_slots(1);
    for n in 1..=3 {
        world.submit(n);
    }
    let step = world.step(Event::Retract(vec![task(1), task(2)]));
    let began = Write::AttemptBegan { lease: lease(1, 3, 1), at: world.now, ready_at: world.now };
    assert_eq!(step.writes, [began]);
    assert_eq!(step.effects, [Effect::Run(lease(1, 3, 1))]);
}

#[test]
fn a_graceful_stop_puts_back_what_runs_and_counts_it_against_nothing() {
    let mut world = World::with_slots(2);
    world.submit(1);
    world.submit(2);
    let step = world.step(Event::Stop);
    assert_eq!(step.effects, [Effect::Stop(lease(1, 1, 1)), Effect::Stop(lease(1, 2, 1))]);

    let step = world.finish(lease(1, 1, 1), Outcome::Cancelled);
    let back = Write::TaskQueued { task: task(1), ready_at: world.now, failures: 0, lost: 0 };
    assert_eq!(step.writes.last(), Some(&back));
    assert_eq!(step.effects, [], "nothing new begins");

    let step = world.finish(lease(1, 2, 1), returned());
    assert_eq!(ends(&step), [(task(2), TaskState::Succeeded)], "it was quicker than the stop");
    assert_eq!(world.scheduler.running(), 0);
}

#[test]
fn a_graceful_stop_does_not_wait_for_ever() {
    let mut world = World::with_slots(1);
    world.submit(1);
    world.step(Event::Stop);
    let step = world.wait_ms(5_000);
    let back = Write::TaskQueued { task: task(1), ready_at: world.now, failures: 0, lost: 0 };
    assert_eq!(step.writes.last(), Some(&back));
    assert_eq!(world.scheduler.running(), 0);
}

#[test]
fn a_worker_that_gives_up_unasked_has_lost_the_attempt() {
    let mut world = World::with_slots(1);
    world.submit(1);
    let step = world.finish(lease(1, 1, 1), Outcome::Cancelled);
    let queued = Write::TaskQueued { task: task(1), ready_at: world.now, failures: 0, lost: 1 };
    assert!(step.writes.contains(&queued), "{:?}", step.writes);
}

#[test]
fn after_a_crash_waiting_tasks_wait_again_and_running_ones_are_tried_again() {
    let mut world = World::new(Rules::default());
    let restored = |n, running, attempt, lost| Restored {
        submission: submission(n),
        attempt: Attempt(attempt),
        failures: 0,
        lost,
        running,
    };
    assert_eq!(world.step(Event::Restore(restored(1, false, 0, 0))).writes, []);
    let step = world.step(Event::Restore(restored(2, true, 3, 1)));
    let outcome = Some(Outcome::Lost { attempts: 2 });
    assert_eq!(
        step.writes,
        [
            Write::AttemptEnded {
                task: task(2),
                attempt: Attempt(3),
                at: world.now,
                outcome,
                usage: None
            },
            Write::TaskQueued { task: task(2), ready_at: world.now, failures: 0, lost: 2 },
        ]
    );
    let step = world.step(Event::Restore(restored(3, true, 5, 4)));
    assert_eq!(ends(&step), [(task(3), TaskState::Failed)], "it kills every node it meets");
    assert_eq!(runs(&world.join(1, 9)), [lease(1, 1, 1), lease(1, 2, 4)]);
}

#[test]
fn after_a_crash_shares_take_turns_as_before() {
    let mut world = World::new(Rules::default());
    for (share, n) in [(7, 1), (7, 2), (7, 3), (8, 4)] {
        let submission = Submission { share: Share(share), ..submission(n) };
        let attempt = Attempt(0);
        let restored = Restored { submission, attempt, failures: 0, lost: 0, running: false };
        world.step(Event::Restore(restored));
    }
    let begun = world.join(1, 1);
    assert_eq!(one_after_the_other(&mut world, begun), [1, 4, 2, 3]);
}

#[test]
fn a_tick_before_its_time_does_nothing() {
    let mut world = World::with_slots(1);
    world.submit(1);
    world.now = Moment(0);
    assert_eq!(world.step(Event::Tick), Step::default());
}
