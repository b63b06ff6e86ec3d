//! One run, from its arguments to its report. Its first slice is on the caller's thread, where a
//! short run ends without ever changing threads; what is longer moves to the compute threads.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use parking_lot::Mutex;
use runabout_protocol::{LimitKind, Outcome};
use tokio::sync::OwnedSemaphorePermit;

use crate::accept::user_stack;
use crate::guest::Guest;
use crate::host::Host;
use crate::invocation::{Invocation, Report};
use crate::meter::{Meter, Stop};
use crate::program::{Kind, Program, js_export};
use crate::{Error, Inner, quickjs, wasi, wasm};

/// The most arguments that are read on the caller's thread. Nothing interrupts the reading, and other
/// requests wait for that thread.
const VISIT_ARGS_BYTES_MAX: usize = 64 << 10;

pub async fn run(
    inner: &Arc<Inner>,
    program: &Arc<Program>,
    invocation: Invocation,
) -> Result<Report, Error> {
    let permit = inner.permits.clone().acquire_owned().await;
    let permit = permit.map_err(|_| Error::Engine("the sandbox is closed".to_owned()))?;
    let cancel = invocation.cancel.clone();
    let meter = Arc::new(Meter::new(invocation.limits, cancel, inner.memory.clone()));
    let _abandon = AbandonOnDrop(meter.clone());

    let is_visit = asked_bytes(&invocation) <= VISIT_ARGS_BYTES_MAX;
    let mut whole =
        Box::pin(supervised(inner.clone(), program.clone(), invocation, meter.clone(), permit));
    if !is_visit {
        meter.move_in();
        return finished(inner.executor.spawn(whole, meter).await);
    }
    meter.begin_visit();
    // Whatever it waits for, it is polled again on a compute thread.
    let first = whole.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    if let Poll::Ready(report) = first {
        return report;
    }
    meter.end_slice();
    meter.move_in();
    finished(inner.executor.spawn(whole, meter).await)
}

fn finished(report: Option<Result<Report, Error>>) -> Result<Report, Error> {
    report.ok_or_else(|| Error::Engine("the run failed inside the sandbox".to_owned()))?
}

/// What must be read before anything runs.
fn asked_bytes(invocation: &Invocation) -> usize {
    invocation.args.values.text().len() + invocation.stdin.as_ref().map_or(0, Bytes::len)
}

/// Tells a run whose caller has gone to stop at its next tick.
struct AbandonOnDrop(Arc<Meter>);

impl Drop for AbandonOnDrop {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

/// Runs, and watches over times when the guest waits and cannot be looked at.
async fn supervised(
    inner: Arc<Inner>,
    program: Arc<Program>,
    invocation: Invocation,
    meter: Arc<Meter>,
    // Given back with the instance: of a caller who hangs up, it lives a little longer than the call.
    _permit: OwnedSemaphorePermit,
) -> Result<Report, Error> {
    let _ticking = inner.ticker.keep_ticking();
    let host =
        Arc::new(Mutex::new(Host::new(invocation.observer.clone(), invocation.task.clone())));
    let outcome = {
        // Pinned here: it is large, and would be moved to where all are that are waited for.
        let run = pin!(execute(&inner, &program, invocation, meter.clone(), host.clone()));
        tokio::select! {
            biased;
            outcome = run => outcome,
            stop = stopped_while_waiting(&meter) => Ok(stop.outcome(meter.limits())),
        }
    };
    // The instance is gone. Others may still hold the meter when the caller hears of the outcome.
    meter.give_memory_back();
    let outcome = outcome?;
    let mut host = host.lock();
    host.flush();
    let usage = meter.usage();
    Ok(Report { outcome, usage, output_truncated: host.output_truncated })
}

/// Why a run has to stop, whatever it waits for. Most runs never wait, and need no timer.
async fn stopped_while_waiting(meter: &Meter) -> Stop {
    tokio::select! {
        biased;
        () = meter.cancel().cancelled() => Stop::Cancelled,
        () = tokio::time::sleep_until(meter.deadline().into()) => Stop::TimedOut(LimitKind::Wall),
    }
}

async fn execute(
    inner: &Arc<Inner>,
    program: &Arc<Program>,
    invocation: Invocation,
    meter: Arc<Meter>,
    host: Arc<Mutex<Host>>,
) -> Result<Outcome, Error> {
    let Invocation { export, args, stdin, .. } = invocation;
    let mut guest = Guest::new(meter, host, inner.executor.clone());
    match &program.kind {
        Kind::Js(script) => {
            let export = js_export(script, export.as_deref())?;
            let input = quickjs::Input::read(export, args)?;
            let outcome = inner.quickjs.run(guest, script, input).await;
            if script.has_grown() {
                inner.compiler.weigh_again(program);
            }
            Ok(with_user_lines(outcome, &script.source))
        }
        Kind::Wasm { module, functions, imports_wasi } => {
            let call = wasm::bind(functions, export.as_deref(), &args)?;
            if *imports_wasi {
                guest.wasi = Some(Box::new(wasi::library_context(&guest.host)));
            }
            let outcome = wasm::call(&inner.instances, guest, module, call).await;
            if module.state.as_ref().is_some_and(|state| state.has_grown()) {
                inner.compiler.weigh_again(program);
            }
            Ok(outcome)
        }
        Kind::Wasi(module) => {
            let input = wasi::Input::read(&args, stdin.as_ref())?;
            // On the heap: it is large, and runs of other kinds would carry its room about.
            Ok(Box::pin(wasi::run(guest, module, input)).await)
        }
    }
}

/// Stack traces speak of the source as the user wrote it.
fn with_user_lines(outcome: Outcome, code: &[u8]) -> Outcome {
    match outcome {
        Outcome::Threw(mut error) => {
            error.stack = error.stack.map(|stack| user_stack(code, &stack));
            Outcome::Threw(error)
        }
        other => other,
    }
}
