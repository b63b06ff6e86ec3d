//! Runs JavaScript: QuickJS inside wasmtime, from a snapshot taken when the binary was built.
//! Owns the event loop; what guest code sees is the prelude's business.

mod host_calls;
mod instance;
mod layout;
mod reading;
mod vm;

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use runabout_protocol::{Arguments, Encoding, ErrorReport, Form, Json, Outcome, Returned};
use wasmtime::{Engine, Module, Result, Store, Trap, format_err};

use crate::guest::{Guest, failure, result_too_large};
use crate::host::RESULT_BYTES_MAX;
use crate::rewind::PageMap;
use crate::wasi::{CoarseClock, decode_bytes};
pub use instance::IDLE_MAX;
use instance::{Instances, Start};
use reading::{Kept, Reading};
pub use vm::JsState;
use vm::{Begun, Evaluated, Evaluation, State, Vm};

/// A top-level `await` in a script needs another way of evaluation.
const AWAIT: &str = "await";

/// What the prelude tells of a thrown `null`. The engine throws one when it has no memory left for an
/// error.
const NULL_THROWN: &str = "threw null";

/// What is told of what cannot be told, be it for lack of memory.
const UNSHOWABLE_THROWN: &str = "threw a value that cannot be shown";

/// How much of a stack is told. The engine itself gives ten lines.
const STACK_LINES_MAX: usize = 100;
const STACK_LINE_BYTES_MAX: usize = 1 << 10;

/// The engine, ready to run.
pub struct QuickJs {
    instances: Instances,
}

/// JavaScript that can be run.
pub struct Script {
    pub source: Bytes,
    pub form: Form,
    pub exports: Vec<String>,
    reading: Reading,
}

impl Script {
    pub fn new(source: Bytes, form: Form, exports: Vec<String>) -> Self {
        let reading = Reading::of(evaluation(&source, form));
        Self { source, form, exports, reading }
    }

    /// The memory that it holds at this moment.
    pub fn held_bytes(&self) -> usize {
        self.source.len() + self.reading.kept_bytes()
    }

    /// Whether it has come to hold more since this was last asked.
    pub fn has_grown(&self) -> bool {
        self.reading.is_newly_kept()
    }
}

/// What a run of JavaScript is given.
pub struct Input {
    export: Option<String>,
    args: Arguments,
    bytes: Vec<Bytes>,
}

impl Input {
    /// # Errors
    /// The arguments are not what their marker says.
    pub fn read(export: Option<String>, args: Arguments) -> Result<Self, crate::Error> {
        let bytes = match args.encoding {
            Some(Encoding::Base64) => decode_bytes(&args)?,
            None => Vec::new(),
        };
        Ok(Self { export, args, bytes })
    }

    /// Whether nothing of it is in memory before a module's top level has run, as bytes are.
    fn is_bare(&self) -> bool {
        self.bytes.is_empty()
    }
}

impl QuickJs {
    /// Loads the engine that was compiled with the binary, or compiles it if this machine's
    /// processor cannot run that.
    ///
    /// # Errors
    /// Neither works.
    pub fn load(engine: &Engine, system: Option<Arc<PageMap>>) -> Result<Self> {
        Ok(Self { instances: Instances::new(engine, &load_module(engine)?, system)? })
    }

    /// Lets the instances go that wait for a run; false if there are none.
    pub fn forget_instances(&self) -> bool {
        self.instances.forget()
    }

    /// Runs a script once, from the snapshot on.
    pub async fn run(&self, guest: Guest, script: &Script, input: Input) -> Outcome {
        let meter = guest.meter.clone();
        match self.run_in_instance(guest, script, input).await {
            Ok(outcome) => outcome,
            // QuickJS's own check of its stack comes too late for its deepest native recursions.
            Err(error) if matches!(error.downcast_ref(), Some(Trap::StackOverflow)) => {
                Outcome::threw("RangeError", "Maximum call stack size exceeded")
            }
            Err(error) => failure(&error, &meter),
        }
    }

    async fn run_in_instance(
        &self,
        guest: Guest,
        script: &Script,
        input: Input,
    ) -> Result<Outcome> {
        let memory_bytes = guest.meter.limits().memory_bytes;
        let is_enough = |kept: &&Kept| input.is_bare() && kept.fits(memory_bytes);
        let kept = script.reading.evaluated().filter(is_enough);
        let start = match kept {
            Some(kept) => kept.start(Start::Evaluated),
            None => script.reading.start(),
        };
        let mut instance = self.instances.get(guest, start).await?;
        let (outcome, has_waited) = {
            let driven = pin!(Self::drive(&mut instance, script, kept, input));
            observed(driven).await
        };
        if outcome.is_ok() {
            self.instances.take_back(instance, has_waited);
        }
        outcome
    }

    async fn drive(
        store: &mut Store<Guest>,
        script: &Script,
        kept: Option<&Kept>,
        input: Input,
    ) -> Result<Outcome> {
        let mut vm = Vm::of(store);
        let evaluated = match kept {
            Some(kept) => {
                kept.begin(&mut vm).await?;
                prepare(&mut vm)?;
                Evaluated::Settled
            }
            None => Box::pin(evaluate(&mut vm, script, &input)).await?,
        };
        let begun = match evaluated {
            Evaluated::Threw => Begun::Threw,
            Evaluated::Settled => begin(&mut vm, script, true, input).await?,
            Evaluated::Open => begin(&mut vm, script, false, input).await?,
        };
        let is_module = script.form == Form::Module;
        if let Begun::Ended { address, length } = begun
            && (is_module || vm.unhandled_rejection().is_none())
        {
            return match vm.text_of((address, length), RESULT_BYTES_MAX)? {
                Some(text) => ended(&vm, text),
                None => too_large(vm.mail()?.state),
            };
        }
        // On the heap, as is all that only some runs need: the others need not carry its room about.
        Box::pin(go_on(&mut vm, begun, is_module)).await
    }
}

/// What comes of a future, and whether it had to wait for it: then another thread may have gone on with it.
async fn observed<T>(mut future: Pin<&mut impl Future<Output = T>>) -> (T, bool) {
    let mut has_waited = false;
    let output = poll_fn(|context| {
        let polled = future.as_mut().poll(context);
        has_waited |= polled.is_pending();
        polled
    });
    let output = output.await;
    (output, has_waited)
}

/// What is left of a run that did not end in its first call.
async fn go_on(vm: &mut Vm<'_>, begun: Begun, is_module: bool) -> Result<Outcome> {
    if let Begun::Threw = begun {
        let error = vm.exception().await?;
        vm.call_entry(layout::FAIL, &[error]).await?;
    }
    turn(vm, is_module).await?;
    conclude(vm, is_module).await
}

fn load_module(engine: &Engine) -> Result<Module> {
    static COMPILED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/quickjs.cwasm"));
    static PORTABLE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/quickjs.wasm"));
    // SAFETY: these bytes were written by wasmtime itself, in the build of this very binary.
    #[expect(unsafe_code, reason = "loading ahead-of-time compiled code is unsafe by nature")]
    let loaded = unsafe { Module::deserialize(engine, COMPILED) };
    loaded.or_else(|error| {
        tracing::info!(%error, "the built-in JavaScript engine is compiled for this processor");
        Module::new(engine, PORTABLE)
    })
}

fn evaluation(source: &[u8], form: Form) -> Evaluation {
    match form {
        Form::Module => Evaluation::Module,
        Form::Script if contains(source, AWAIT.as_bytes()) => Evaluation::AsyncScript,
        Form::Script => Evaluation::Script,
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

/// Gives a run what is its own, before any of its code runs. The seed is handed back.
fn prepare(vm: &mut Vm<'_>) -> Result<u64> {
    vm.set_start(CoarseClock::wall().as_millis() as u64)?;
    vm.seed_random()
}

/// Reads the source and evaluates it: all of a script, the top level of a module.
async fn evaluate(vm: &mut Vm<'_>, script: &Script, input: &Input) -> Result<Evaluated> {
    let Script { source, reading, .. } = script;
    // Reading leaves more in memory than what is kept of it.
    let was_read = reading.is_read();
    let Some(compiled) = reading.read(vm, source).await? else { return Ok(Evaluated::Threw) };
    let seed = prepare(vm)?;
    if !input.bytes.is_empty() {
        Box::pin(give(vm, &input.bytes)).await?;
    }
    vm.guest_mut().has_asked = false;
    let evaluated = vm.evaluate(compiled, reading.evaluation()).await?;
    if evaluated == Evaluated::Settled && was_read && input.is_bare() {
        reading.keep_evaluated(vm, compiled, seed)?;
    }
    Ok(evaluated)
}

/// Hands what was evaluated to the prelude, a module with the request.
async fn begin(vm: &mut Vm<'_>, script: &Script, is_settled: bool, input: Input) -> Result<Begun> {
    let evaluation = script.reading.evaluation();
    if evaluation != Evaluation::Module {
        return vm.begin(evaluation, false, None).await;
    }
    let export = serde_json::to_string(input.export.as_deref().unwrap_or("default"))?;
    let args = match input.args.encoding {
        None => input.args.values.text(),
        Some(Encoding::Base64) => "null",
    };
    vm.begin(evaluation, is_settled, Some(&format!("[{export},{args}]"))).await
}

async fn give(vm: &mut Vm<'_>, arguments: &[Bytes]) -> Result<()> {
    for bytes in arguments {
        let array = vm.new_uint8_array(bytes).await?;
        vm.call_entry(layout::GIVE, &[array]).await?;
    }
    Ok(())
}

/// The event loop: promise jobs until there are none, then the next timer. A module's run ends when
/// its promise settles; a script's when nothing is left to do.
async fn turn(vm: &mut Vm<'_>, is_module: bool) -> Result<()> {
    loop {
        vm.run_jobs().await?;
        let mail = vm.mail()?;
        let settled = mail.state != State::Pending;
        if mail.state == State::Threw || (settled && is_module) || mail.timers == 0 {
            return Ok(());
        }
        let now_ms = CoarseClock::wall().as_millis() as u64;
        if mail.next_timer_ms > now_ms {
            tokio::time::sleep(Duration::from_millis(mail.next_timer_ms - now_ms)).await;
        }
        vm.call_entry(layout::FIRE, &[]).await?;
    }
}

async fn conclude(vm: &mut Vm<'_>, is_module: bool) -> Result<Outcome> {
    // As Node.js has it: a rejection that nobody handled ends a script.
    if !is_module && let Some(reason) = vm.unhandled_rejection() {
        vm.call_entry(layout::FAIL, &[reason]).await?;
    }
    match vm.mail()?.state {
        State::Pending => Ok(Outcome::threw(
            "NeverSettled",
            "the promise never settles: no timer and no other work is left that could settle it",
        )),
        state @ (State::Returned | State::Threw) => {
            let value = vm.take().await?;
            match vm.text(value, RESULT_BYTES_MAX).await? {
                Some(text) => ended(vm, text),
                None => too_large(state),
            }
        }
        State::ReturnedBytes => {
            let value = vm.take().await?;
            let Some(bytes) = vm.bytes(value, RESULT_BYTES_MAX).await? else {
                return Ok(result_too_large());
            };
            let value = Json::string(&BASE64_STANDARD.encode(bytes));
            Ok(Outcome::Returned(Returned { value, encoding: Some(Encoding::Base64) }))
        }
    }
}

/// The outcome of a run that has ended with a text.
fn ended(vm: &Vm<'_>, text: Vec<u8>) -> Result<Outcome> {
    if vm.mail()?.state == State::Threw {
        return Ok(thrown(vm, &String::from_utf8_lossy(&text)));
    }
    let value = Json::parse(String::from_utf8(text)?)?;
    Ok(Outcome::Returned(Returned { value, encoding: None }))
}

fn too_large(state: State) -> Result<Outcome> {
    match state {
        State::Threw => Err(format_err!("the error is larger than results may be")),
        _ => Ok(result_too_large()),
    }
}

fn thrown(vm: &Vm<'_>, text: &str) -> Outcome {
    let mut report: ErrorReport = serde_json::from_str(text).unwrap_or_else(|_| ErrorReport {
        name: "Error".to_owned(),
        message: UNSHOWABLE_THROWN.to_owned(),
        stack: None,
    });
    let lacks_memory = report.message.contains("out of memory")
        || report.message.is_empty()
        || [NULL_THROWN, UNSHOWABLE_THROWN].contains(&report.message.as_str());
    if lacks_memory && let Some(outcome) = vm.out_of_memory() {
        return outcome;
    }
    report.stack = report.stack.map(|stack| told(&stack)).filter(|stack| !stack.is_empty());
    Outcome::Threw(report)
}

/// The user's own lines of a stack, as many as are told: a guest writes its own if it likes.
fn told(stack: &str) -> String {
    let lines = stack.lines().filter(|line| !line.contains("runabout:")).take(STACK_LINES_MAX);
    let shortened = |line: &str| line[..line.floor_char_boundary(STACK_LINE_BYTES_MAX)].to_owned();
    lines.map(shortened).collect::<Vec<_>>().join("\n")
}
