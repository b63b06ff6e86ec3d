//! Gives the system back what a run has used of its stack. The engine's pool keeps stacks as they are
//! for the next run, and a deep recursion would leave megabytes with each.

use std::time::Duration;

use wasmtime::{Func, Result, Store};

use crate::engine_settings::WASM_STACK_BYTES;
use crate::guest::Guest;

/// Nothing deep is done in less, or not much.
pub const TIME_MIN: Duration = Duration::from_micros(500);

/// What stays with the stack for the next run, below where a run begins.
const KEPT_BYTES: usize = 64 << 10;

/// Gives back the stack of a run that has ended. Takes a few microseconds, and longer if it was deep.
pub async fn give_back(store: &mut Store<Guest>) -> Result<()> {
    // It runs where the guest did, at the upper end of its stack.
    let clear = Func::wrap(&mut *store, clear_below);
    clear.typed::<(), ()>(&*store)?.call_async(store, ()).await
}

#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "the engine has no name for it")]
fn clear_below() {
    use rustix::mm::{Advice, madvise};

    let here = 0_u8;
    let here = (&raw const here).addr();
    let page = rustix::param::page_size();
    let end = (here - KEPT_BYTES) / page * page;
    let begin = end - WASM_STACK_BYTES;
    // SAFETY: the engine gives a guest's stack a mebibyte more than this, and has used some kilobytes of
    // it up to here; so this is all within it, and below all that is in use.
    let given = unsafe {
        madvise(std::ptr::with_exposed_provenance_mut(begin), end - begin, Advice::LinuxDontNeed)
    };
    if let Err(error) = given {
        tracing::debug!(%error, "a stack was not given back");
    }
}

#[cfg(not(target_os = "linux"))]
fn clear_below() {}
