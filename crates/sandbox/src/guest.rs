//! What wasmtime keeps beside an instance while it runs, and what a failure of it means.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use parking_lot::Mutex;
use runabout_protocol::{ErrorReport, Outcome};
use wasmtime::{
    Caller, Engine, Error, Linker, PoolConcurrencyLimitError, Store, Trap, WasmBacktrace,
};
use wasmtime_wasi::I32Exit;
use wasmtime_wasi::p1::WasiP1Ctx;

use crate::counted::{HAS_TICKED, HOST_MODULE, TICK};
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
    executor: Arc<Executor>,
    /// The ticks that had passed when the run was looked at last.
    ticks: u64,
}

impl Guest {
    pub fn new(meter: Arc<Meter>, host: Arc<Mutex<Host>>, executor: Arc<Executor>) -> Self {
        let (limiter, ticks) = (Limiter(meter.clone()), executor.ticks());
        Self { meter, host, wasi: None, js: None, has_asked: false, limiter, executor, ticks }
    }

    fn has_ticked(&mut self) -> bool {
        let ticks = self.executor.ticks();
        std::mem::replace(&mut self.ticks, ticks) != ticks
    }

    /// Looks at the run: whether it is to make room for others.
    fn look(&self) -> Result<bool, Stop> {
        match self.meter.stop() {
            Some(stop) => Err(stop),
            None => Ok(self.meter.is_visiting() || self.executor.has_waiting()),
        }
    }
}

/// Adds what counted modules call.
pub fn add_tick(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.func_wrap(HOST_MODULE, HAS_TICKED, |mut caller: Caller<'_, Guest>| {
        i32::from(caller.data_mut().has_ticked())
    })?;
    linker.func_wrap_async(HOST_MODULE, TICK, |mut caller: Caller<'_, Guest>, ()| {
        Box::new(async move {
            if caller.data().look().map_err(Error::new)? {
                make_room().await;
                // What has passed meanwhile was the others' time.
                caller.data_mut().has_ticked();
            }
            wasmtime::error::Ok(())
        })
    })?;
    Ok(())
}

/// Waits until it is the run's turn again.
async fn make_room() {
    let mut has_waited = false;
    poll_fn(|context| {
        if std::mem::replace(&mut has_waited, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// A store whose guest is held to its limits of memory.
pub fn new_store(engine: &Engine, guest: Guest) -> Store<Guest> {
    let mut store = Store::new(engine, guest);
    store.limiter_async(|guest| &mut guest.limiter);
    store.set_hostcall_fuel(HOST_CALL_BYTES_MAX);
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
