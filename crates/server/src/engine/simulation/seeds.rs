//! Which seeds a test tries, and what it says of one that fails.

use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Always tried.
const FIXED: u64 = 50;
/// Drawn anew each time, unless `RUNABOUT_SIM_RUNS` says how many.
const FRESH: u64 = 400;

/// Tries each seed: the one that `RUNABOUT_SEED` names, or some fixed and some fresh ones.
pub(super) fn each(run: impl Fn(u64)) {
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

fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text:?}")))
}
