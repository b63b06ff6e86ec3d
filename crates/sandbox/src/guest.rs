//! What wasmtime keeps beside an instance while it runs, and what a failure of it means.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use parking_lot::Mutex;
use runabout_protocol::{ErrorReport, Limits, Outcome};
use tokio_util::sync::CancellationToken;
use wasmtime::{
    Caller, Engine, Error, Linker, PoolConcurrencyLimitError, Store, Trap, WasmBacktrace,
};
use wasmtime_wasi::I32Exit;
use wasmtime_wasi::p1::WasiP1Ctx;

use crate::counted::{HOST_FUNCTIONS, HOST_MODULE, LOOK, TAKE_TICK};
use crate::engine::TICK;
use crate::executor::Executor;
use crate::host::Host;
use crate::invocation::Silent;
use crate::meter::{Limiter, Meter, NodeMemory, Stop};
use crate::quickjs::JsState;

/// The most that a guest may hand to WASI in one call. The guest is not looked at meanwhile, so that
/// it bounds how long that takes; it is more than all output and results that are kept.
const HOST_CALL_BYTES_MAX: usize = 8 << 20;

/// A run leaves the thread of its caller at the first tick after this.
const VISIT_MIN: Duration = TICK.checked_div(4).expect("not by zero");

/// An instance's surroundings.
pub struct Guest {
    pub meter: Arc<Meter>,
    pub host: Arc<Mutex<Host>>,
    /// On the heap: it is large, and few have one.
    pub wasi: Option<Box<WasiP1Ctx>>,
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

    pub fn executor(&self) -> Arc<Executor> {
        self.executor.clone()
    }

    /// Whether the clock has ticked since this was asked last.
    fn take_tick(&mut self) -> bool {
        let ticks = self.executor.ticks();
        std::mem::replace(&mut self.ticks, ticks) != ticks
    }

    /// Whether the run is on the thread of its caller and should not be any longer. Most have only just
    /// begun when the clock ticks, and end sooner than another thread could go on with them.
    fn has_stayed(&self) -> bool {
        self.meter.is_visiting() && self.meter.started().elapsed() >= VISIT_MIN
    }

    /// Whether the run is to make room for others, if it may go on at all.
    fn must_make_room(&self) -> Result<bool, Stop> {
        match self.meter.stop() {
            Some(stop) => Err(stop),
            None => Ok(self.has_stayed() || self.executor.has_waiting()),
        }
    }
}

/// Whom an instance belongs to that waits for a run, or is only looked at.
pub struct Nobody {
    meter: Arc<Meter>,
    host: Arc<Mutex<Host>>,
}

impl Nobody {
    pub fn new() -> Self {
        let memory = Arc::new(NodeMemory::new(u64::MAX));
        let limits = Limits { memory_bytes: u64::MAX, ..Limits::default() };
        Self {
            meter: Arc::new(Meter::new(limits, CancellationToken::new(), memory)),
            host: Arc::new(Mutex::new(Host::new(Arc::new(Silent), None))),
        }
    }

    pub fn guest(&self, executor: Arc<Executor>) -> Guest {
        Guest::new(self.meter.clone(), self.host.clone(), executor)
    }
}

/// Adds what counted modules call.
pub fn add_looks(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.func_wrap(HOST_MODULE, TAKE_TICK, |mut caller: Caller<'_, Guest>| {
        i32::from(caller.data_mut().take_tick())
    })?;
    linker.func_wrap_async(HOST_MODULE, LOOK, |mut caller: Caller<'_, Guest>, ()| {
        Box::new(async move {
            if caller.data().must_make_room().map_err(Error::new)? {
                make_room().await;
                // What has passed meanwhile was the others' time.
                let _ = caller.data_mut().take_tick();
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
    let stack = error.downcast_ref::<WasmBacktrace>().map(trace);
    let message = match error.downcast_ref::<Trap>() {
        Some(trap) => {
            let text = trap.to_string();
            text.strip_prefix("wasm trap: ").unwrap_or(&text).to_owned()
        }
        None => error.root_cause().to_string(),
    };
    Outcome::Threw(ErrorReport { name: "RuntimeError".to_owned(), message, stack })
}

/// Functions by their names, or by their numbers in the module that was handed in. Where in them it was is
/// not told: they were written anew before they were compiled.
fn trace(trapped: &WasmBacktrace) -> String {
    let lines = trapped.frames().iter().map(|frame| match frame.func_name() {
        Some(name) => format!("    at {name}"),
        None => format!("    at function {}", frame.func_index().saturating_sub(HOST_FUNCTIONS)),
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The outcome of a result that is larger than results may be.
pub fn result_too_large() -> Outcome {
    Outcome::threw("ResultTooLarge", "the result is larger than 6 MiB")
}
