//! Long histories from one seed each, with crashes between, and clocks that jump.

use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use fastrand::Rng;
use runabout_scheduler::{Moment, Rules};

use crate::invariants::{Happening, Onlooker};
use crate::world::World;

/// Always tried.
const FIXED: u64 = 50;
/// Drawn anew each time, unless `RUNABOUT_SIM_RUNS` says how many.
const FRESH: u64 = 200;

const HAPPENINGS: usize = 1_000;

fn draw(random: &mut Rng) -> Happening {
    let which = random.usize(..);
    match random.u32(0..30) {
        0..8 => Happening::Submit {
            priority: random.i32(-1..2),
            share: random.u64(0..4),
            needs: random.u8(0..5),
            max_attempts: random.u32(1..4),
            later_ms: random.u64(0..3_000).saturating_sub(2_000),
        },
        8 => Happening::Retract,
        9 => Happening::Cancel(random.u128(0..300)),
        10 => Happening::Delete(random.u128(0..300)),
        11 => Happening::Join { slots: random.u32(0..4), kind: random.u8(0..3) },
        12 => Happening::Leave(which),
        13..16 => Happening::Started(which),
        16..24 => Happening::Finished { which, how: random.u8(0..5) },
        24 => Happening::Foreign {
            worker: random.u128(0..20),
            task: random.u128(0..300),
            attempt: random.u32(0..4),
        },
        25 => Happening::Resize { which, slots: random.u32(0..4) },
        26 => Happening::Goodbye(which),
        _ => Happening::Wait(random.u64(0..10_000)),
    }
}

fn run(seed: u64) {
    let mut random = Rng::with_seed(seed);
    let mut world = World::new(Rules::default());
    let mut onlooker = Onlooker::default();
    for _ in 0..HAPPENINGS {
        match random.u32(0..200) {
            0 => onlooker.crash(&mut world),
            // A machine that slept, or a clock that was set.
            1 => world.now = Moment(random.u64(0..10_000_000)),
            _ => onlooker.happen(&mut world, draw(&mut random)),
        }
    }
    onlooker.settle(&mut world);
}

#[test]
fn through_crashes_and_jumps_of_the_clock_every_task_ends_once() {
    let number = |variable: &str| -> Option<u64> {
        let text = env::var(variable).ok()?;
        Some(text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text:?}")))
    };
    if let Some(seed) = number("RUNABOUT_SEED") {
        return run(seed);
    }
    let fresh = number("RUNABOUT_SIM_RUNS").unwrap_or(FRESH);
    for seed in (0..FIXED).chain((0..fresh).map(|_| fastrand::u64(..))) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(seed))) {
            eprintln!("seed {seed} fails; to see it again: RUNABOUT_SEED={seed} make test");
            resume_unwind(panic);
        }
    }
}
