//! Gives the system back what a run has used of its stack. The engine's pool keeps stacks as they are
//! for the next run, and a deep recursion would leave megabytes with each.

use std::ops::{Deref, DerefMut};

use wasmtime::Store;

use crate::guest::Guest;

/// A run's store. When it is dropped, however the run has ended, the stack is given back, unless the run
/// was too short to have touched more than a mebibyte or two of it.
pub struct Running(pub Store<Guest>);

impl Deref for Running {
    type Target = Store<Guest>;

    fn deref(&self) -> &Store<Guest> {
        &self.0
    }
}

impl DerefMut for Running {
    fn deref_mut(&mut self) -> &mut Store<Guest> {
        &mut self.0
    }
}

#[cfg(target_os = "linux")]
mod giving {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};
    use std::thread;
    use std::time::Duration;

    use rustix::mm::{Advice, madvise};
    use rustix::param::page_size;
    use wasmtime::{Func, Result, Store};

    use super::Running;
    use crate::engine_settings::{HOST_STACK_BYTES, WASM_STACK_BYTES};
    use crate::guest::Guest;

    /// A run of less than this has given no thousand pages to its stack.
    const TIME_MIN: Duration = Duration::from_micros(500);

    /// What stays with the stack for the next run, below where a run begins.
    const KEPT_BYTES: usize = 64 << 10;

    impl Drop for Running {
        fn drop(&mut self) {
            if self.0.data().meter.started().elapsed() < TIME_MIN || thread::panicking() {
                return;
            }
            // It waits for nothing, so that it is done when it was polled once.
            let given = pin!(give_back(&mut self.0)).poll(&mut Context::from_waker(Waker::noop()));
            if let Poll::Ready(Err(error)) = given {
                tracing::debug!(error = format!("{error:#}"), "a stack was not given back");
            }
        }
    }

    /// Takes a few microseconds, and some hundred if all of the stack was used.
    async fn give_back(store: &mut Store<Guest>) -> Result<()> {
        let outside = here();
        // It runs where the guest did, at the upper end of its stack.
        let clear = Func::wrap(&mut *store, move || clear_below(outside));
        clear.typed::<(), ()>(&*store)?.call_async(store, ()).await
    }

    /// Where the stack of whoever calls this ends at the moment, or nearly so.
    #[inline(never)]
    fn here() -> usize {
        let local = 0_u8;
        (&raw const local).addr()
    }

    #[expect(unsafe_code, reason = "the engine has no name for it")]
    fn clear_below(outside: usize) {
        const { assert!(KEPT_BYTES < HOST_STACK_BYTES) };
        let here = here();
        // The engine calls on a stack of the guest's own, for now and without a promise. If one day it
        // does not, there is nothing to give back.
        if here.abs_diff(outside) <= HOST_STACK_BYTES {
            return;
        }
        let end = (here - KEPT_BYTES) / page_size() * page_size();
        let begin = end - WASM_STACK_BYTES;
        // SAFETY: this is on a stack of its own, as seen above. The engine gives a guest's stack
        // `HOST_STACK_BYTES` more than `WASM_STACK_BYTES`, and has used some kilobytes of it up to here:
        // so all of this is within it, and below all that is in use.
        let given = unsafe {
            madvise(std::ptr::without_provenance_mut(begin), end - begin, Advice::LinuxDontNeed)
        };
        if let Err(error) = given {
            tracing::debug!(%error, "a stack was not given back");
        }
    }
}
