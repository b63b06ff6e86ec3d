//! Gives the system back what a run has used of its stack. The engine's pool keeps stacks as they are
//! for the next run, and a deep recursion would leave megabytes with each.

use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::pin::pin;
use std::ptr;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use rustix::mm::{Advice, madvise};
use rustix::param::page_size;
use wasmtime::{Func, Result, Store, TypedFunc};

use crate::engine_settings::{HOST_STACK_BYTES, WASM_STACK_BYTES};
use crate::guest::Guest;

/// A run's store. When it is dropped, however the run has ended, the stack is given back, unless the run
/// was too short to have touched more than a mebibyte or two of it.
pub struct Running {
    store: Store<Guest>,
    /// Gives the stack back that it is called on, told where the caller's own is.
    clearing: Option<TypedFunc<u64, ()>>,
}

/// A run of less than this has given no thousand pages to its stack.
const TIME_MIN: Duration = Duration::from_micros(500);

/// What stays with the stack for the next run, below where a run begins.
const KEPT_BYTES: usize = 64 << 10;

impl Running {
    pub fn new(store: Store<Guest>) -> Self {
        Self { store, clearing: None }
    }

    /// Gives the stack back of the run that has ended.
    pub fn give_stack_back(&mut self) {
        // It waits for nothing, so that it is done when it was polled once.
        let given = pin!(self.clear_stack()).poll(&mut Context::from_waker(Waker::noop()));
        if let Poll::Ready(Err(error)) = given {
            tracing::debug!(error = format!("{error:#}"), "a stack was not given back");
        }
    }

    /// Takes a few microseconds, and some hundred if all of the stack was used.
    async fn clear_stack(&mut self) -> Result<()> {
        let store = &mut self.store;
        let clearing = match &self.clearing {
            Some(clearing) => clearing.clone(),
            None => {
                let clear = Func::wrap(&mut *store, |outside: u64| clear_below(outside as usize));
                self.clearing.insert(clear.typed(&*store)?).clone()
            }
        };
        // It runs where the guest did, at the upper end of its stack.
        clearing.call_async(store, here() as u64).await
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.store.data().meter.started().elapsed() >= TIME_MIN && !thread::panicking() {
            self.give_stack_back();
        }
    }
}

impl Deref for Running {
    type Target = Store<Guest>;

    fn deref(&self) -> &Store<Guest> {
        &self.store
    }
}

impl DerefMut for Running {
    fn deref_mut(&mut self) -> &mut Store<Guest> {
        &mut self.store
    }
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
    let given =
        unsafe { madvise(ptr::without_provenance_mut(begin), end - begin, Advice::LinuxDontNeed) };
    if let Err(error) = given {
        tracing::debug!(%error, "a stack was not given back");
    }
}
