//! The whole loop with made-up clients, workers, disks and clocks, on one thread, from one seed.
//! Whatever a seed brings about, what the engine promises must hold after every step of it.

mod broken;
mod oracle;
mod seeds;
mod time;
mod workers;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use runabout_store::{MemoryStore, TaskStore};

use broken::{Broken, Flaw};
use world::World;

fn sound(disk: MemoryStore) -> Arc<dyn TaskStore> {
    Arc::new(disk)
}

#[test]
fn whatever_happens_every_task_ends_once_and_nothing_acknowledged_is_lost() {
    seeds::each(|seed| {
        World::run(seed, &sound);
    });
}

#[test]
fn one_seed_is_one_history() {
    for seed in 0..20 {
        assert_eq!(World::run(seed, &sound), World::run(seed, &sound), "seed {seed}");
    }
}

/// How many of a few seeds find out what is wrong with a store.
fn found_out(flaw: Flaw) -> usize {
    let with_flaw =
        move |disk: MemoryStore| -> Arc<dyn TaskStore> { Arc::new(Broken::new(disk, flaw)) };
    let finds =
        |seed: &u64| catch_unwind(AssertUnwindSafe(|| World::run(*seed, &with_flaw))).is_err();
    (0..20).filter(finds).count()
}

#[test]
fn a_store_that_forgets_is_found_out() {
    assert_eq!(found_out(Flaw::Forgets), 20);
}

#[test]
fn a_store_that_answers_before_it_has_written_is_found_out() {
    assert_eq!(found_out(Flaw::AnswersTooSoon), 20);
}

#[test]
fn a_store_that_hides_a_task_from_the_node_that_starts_is_found_out() {
    assert!(found_out(Flaw::HidesOne) > 10, "where there was nothing to hide, nothing is amiss");
}
