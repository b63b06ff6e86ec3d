//! Runs JavaScript: QuickJS inside wasmtime, from a snapshot taken when the binary was built.
//! Owns the event loop; what guest code sees is the prelude's business.

mod host_calls;
mod layout;
mod vm;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use runabout_protocol::{Arguments, Encoding, ErrorReport, Form, Json, Outcome, Returned};
use wasmtime::{Engine, InstancePre, Module, Result, Store, Trap, format_err};

use crate::guest::{Guest, failure, result_too_large};
use crate::host::RESULT_BYTES_MAX;
use crate::invocation::TaskContext;
use crate::wasi::{CoarseClock, decode_bytes};
pub use vm::JsState;
use vm::{Exports, State, Vm};

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

/// The engine, ready to be instantiated.
pub struct QuickJs {
    pre: InstancePre<Guest>,
    exports: Arc<Exports>,
}

/// JavaScript that can be run.
pub struct Script {
    pub source: Bytes,
    pub form: Form,
    pub exports: Vec<String>,
}

/// What a run of JavaScript is given.
pub struct Input {
    export: Option<String>,
    args: Arguments,
    bytes: Vec<Bytes>,
    task: Option<TaskContext>,
}

impl Input {
    /// # Errors
    /// The arguments are not what their marker says.
    pub fn read(
        export: Option<String>,
        args: Arguments,
        task: Option<TaskContext>,
    ) -> Result<Self, crate::Error> {
        let bytes = match args.encoding {
            Some(Encoding::Base64) => decode_bytes(&args)?,
            None => Vec::new(),
        };
        Ok(Self { export, args, bytes, task })
    }
}

impl QuickJs {
    /// Loads the engine that was compiled with the binary, or compiles it if this machine's
    /// processor cannot run that.
    ///
    /// # Errors
    /// Neither works.
    pub fn load(engine: &Engine) -> Result<Self> {
        let module = load_module(engine)?;
        let exports = Arc::new(Exports::find(&module)?);
        let pre = host_calls::linker(engine)?.instantiate_pre(&module)?;
        Ok(Self { pre, exports })
    }

    /// Runs a script once, in a fresh copy of the snapshot.
    pub async fn run(&self, store: &mut Store<Guest>, script: &Script, input: Input) -> Outcome {
        match self.drive(store, script, input).await {
            Ok(outcome) => outcome,
            // QuickJS's own check of its stack comes too late for its deepest native recursions.
            Err(error) if matches!(error.downcast_ref(), Some(Trap::StackOverflow)) => {
                Outcome::threw("RangeError", "Maximum call stack size exceeded")
            }
            Err(error) => failure(&error, &store.data().meter),
        }
    }

    async fn drive(
        &self,
        store: &mut Store<Guest>,
        script: &Script,
        input: Input,
    ) -> Result<Outcome> {
        let instance = self.pre.instantiate_async(&mut *store).await?;
        let js = JsState::new(instance, &mut *store, self.exports.clone())?;
        store.data_mut().js = Some(js);
        let mut vm = Vm::of(store);
        vm.seed_random()?;
        vm.set_start(CoarseClock::wall().as_millis() as u64)?;
        if let Some(task) = input.task.clone() {
            restore(&mut vm, task).await?;
        }
        let value = vm.eval(&script.source, evaluation(script)).await?;
        if vm.is_exception(value).await? {
            let error = vm.exception().await?;
            vm.call_entry(layout::FAIL, &[error]).await?;
        } else {
            begin(&mut vm, value, script.form, input).await?;
        }
        let is_module = script.form == Form::Module;
        turn(&mut vm, is_module).await?;
        conclude(&mut vm, is_module).await
    }
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

fn evaluation(script: &Script) -> vm::Evaluation {
    match script.form {
        Form::Module => vm::Evaluation::Module,
        Form::Script if contains(&script.source, AWAIT.as_bytes()) => vm::Evaluation::AsyncScript,
        Form::Script => vm::Evaluation::Script,
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

/// Hands the evaluated source and the arguments to the prelude.
async fn begin(vm: &mut Vm<'_>, value: u32, form: Form, input: Input) -> Result<()> {
    let export = serde_json::to_string(input.export.as_deref().unwrap_or("default"))?;
    let args = match input.args.encoding {
        None => input.args.values.text(),
        Some(Encoding::Base64) => "null",
    };
    let kind = form_number(form, evaluated_as_promise(vm, value, form).await?);
    let text = vm.new_string(format!("[{kind},{export},{args}]").as_bytes()).await?;
    let mut arguments = vec![value, text];
    for bytes in &input.bytes {
        arguments.push(vm.new_uint8_array(bytes).await?);
    }
    vm.call_entry(layout::INVOKE, &arguments).await
}

fn form_number(form: Form, wrapped: bool) -> u8 {
    match (form, wrapped) {
        (Form::Script, false) => 0,
        (Form::Module, _) => 1,
        (Form::Script, true) => 2,
    }
}

async fn evaluated_as_promise(vm: &mut Vm<'_>, value: u32, form: Form) -> Result<bool> {
    Ok(form == Form::Script && vm.is_async_script() && vm.is_promise(value).await?)
}

/// Gives the run its task, as `runabout.task`, with the checkpoint that an earlier attempt left.
async fn restore(vm: &mut Vm<'_>, task: TaskContext) -> Result<()> {
    let (checkpoint, bytes) = match task.checkpoint {
        None => (Json::null(), None),
        Some(checkpoint) if checkpoint.encoding.is_none() => (checkpoint.state, None),
        Some(checkpoint) => {
            let bytes = BASE64_STANDARD.decode(checkpoint.state.read::<String>()?)?;
            (Json::null(), Some(bytes))
        }
    };
    let (id, attempt, checkpoint) = (task.id, task.attempt, checkpoint.text());
    let text = format!(r#"{{"id":"{id}","attempt":{attempt},"checkpoint":{checkpoint}}}"#);
    let mut arguments = vec![vm.new_string(text.as_bytes()).await?];
    if let Some(bytes) = bytes {
        arguments.push(vm.new_uint8_array(&bytes).await?);
    }
    vm.call_entry(layout::RESTORE, &arguments).await
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
        State::Returned => {
            let value = vm.take().await?;
            let Some(text) = vm.text(value, RESULT_BYTES_MAX).await? else {
                return Ok(result_too_large());
            };
            let text = String::from_utf8(text)?;
            Ok(Outcome::Returned(Returned { value: Json::parse(text)?, encoding: None }))
        }
        State::ReturnedBytes => {
            let value = vm.take().await?;
            let Some(bytes) = vm.bytes(value, RESULT_BYTES_MAX).await? else {
                return Ok(result_too_large());
            };
            let value = Json::string(&BASE64_STANDARD.encode(bytes));
            Ok(Outcome::Returned(Returned { value, encoding: Some(Encoding::Base64) }))
        }
        State::Threw => {
            let value = vm.take().await?;
            let text = vm.text(value, RESULT_BYTES_MAX).await?;
            let text =
                text.ok_or_else(|| format_err!("the error is larger than results may be"))?;
            Ok(thrown(vm, &String::from_utf8_lossy(&text)))
        }
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
