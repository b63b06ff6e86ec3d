//! Counts up slowly, says how far it is, and leaves a checkpoint at every step, so that an attempt
//! on another worker goes on where a lost one was.

mod host;

use std::hint::black_box;

/// About 10 ms of arithmetic: slow enough to watch, quick enough to wait for.
const ROUNDS_PER_STEP: u32 = 10_000_000;

/// Counts from the checkpoint, or from 0, up to `n`, and answers where it ended.
#[unsafe(no_mangle)]
pub extern "C" fn count(n: i32) -> i32 {
    let start = restored().unwrap_or(0);
    if start > 0 {
        host::log(&format!("going on from {start}"));
    }
    for step in start..n {
        work();
        let done = step + 1;
        host::checkpoint(&done.to_le_bytes());
        host::progress(f64::from(done) / f64::from(n), &format!("{done} of {n}"));
    }
    n
}

/// What an earlier attempt left; a state that is not ours counts as none.
fn restored() -> Option<i32> {
    let state = host::restore()?;
    Some(i32::from_le_bytes(state.try_into().ok()?))
}

fn work() {
    let mut sum: u32 = 0;
    for round in 0..ROUNDS_PER_STEP {
        sum = black_box(sum.wrapping_add(round));
    }
}
