//! What wasmtime keeps beside an instance while it runs, and what a failure of it means.

use std::sync::Arc;

use parking_lot::Mutex;
use runabout_protocol::{ErrorReport, Outcome};
use wasmtime::{
    Engine, Error, PoolConcurrencyLimitError, Store, Trap, UpdateDeadline, WasmBacktrace,
};
use wasmtime_wasi::I32Exit;
use wasmtime_wasi::p1::WasiP1Ctx;

use crate::executor::Executor;
use crate::host::Host;
use crate::meter::{Limiter, Meter, Stop};
use crate::quickjs::JsState;

/// The most that a guest may hand to WASI in one call. The guest is not looked at meanwhile, so that
/// it bounds how long that takes; it is more than all output and results that are kept.
const HOST_CALL_BYTES_MAX: usize = 8 << 20;

/// An instance's surroundings.
pub struct Guest {
    pub meter: Arc<Meter>,
    pub host: Arc<Mutex<Host>>,
    pub wasi: Option<WasiP1Ctx>,
    pub js: Option<JsState>,
    /// QuickJS has asked for something that differs from run to run: the time, randomness, the host.
    pub has_asked: bool,
    limiter: Limiter,
}

impl Guest {
    pub fn new(meter: Arc<Meter>, host: Arc<Mutex<Host>>) -> Self {
        let limiter = Limiter(meter.clone());
        Self { meter, host, wasi: None, js: None, has_asked: false, limiter }
    }
}

/// A store whose guest is looked at every tick, and held to its limits of memory.
pub fn new_store(engine: &Engine, executor: &Arc<Executor>, guest: Guest) -> Store<Guest> {
    let mut store = Store::new(engine, guest);
    store.limiter_async(|guest| &mut guest.limiter);
    store.set_hostcall_fuel(HOST_CALL_BYTES_MAX);
    store.set_epoch_deadline(1);
    let executor = executor.clone();
    store.epoch_deadline_callback(move |store| {
        let meter = &store.data().meter;
        if let Some(stop) = meter.stop() {
            return Err(Error::new(stop));
        }
        if meter.is_visiting() || executor.has_waiting() {
            return Ok(UpdateDeadline::Yield(1));
        }
        Ok(UpdateDeadline::Continue(1))
    });
    store
}

/// What it means that a guest ended with an error.
pub fn failure(error: &Error, meter: &Meter) -> Outcome {
    if let Some(stop) = error.downcast_ref::<Stop>() {
        return stop.outcome(meter.limits());
    }
    if let Some(exit) = error.downcast_ref::<I32Exit>() {
        return Outcome::threw("Exit", format!("exited with code {}", exit.0));
    }
    // No instance was free: the node is full, and the guest has done nothing wrong.
    if error.is::<PoolConcurrencyLimitError>() {
        return meter.node_out_of_memory();
    }
    // A guest that traps after it was refused memory did not get over the refusal.
    if let Some(outcome) = meter.out_of_memory() {
        return outcome;
    }
    let stack = error.downcast_ref::<WasmBacktrace>().map(ToString::to_string);
    let message = match error.downcast_ref::<Trap>() {
        Some(trap) => {
            let text = trap.to_string();
            text.strip_prefix("wasm trap: ").unwrap_or(&text).to_owned()
        }
        None => error.root_cause().to_string(),
    };
    Outcome::Threw(ErrorReport { name: "RuntimeError".to_owned(), message, stack })
}

/// The outcome of a result that is larger than results may be.
pub fn result_too_large() -> Outcome {
    Outcome::threw("ResultTooLarge", "the result is larger than 6 MiB")
}
