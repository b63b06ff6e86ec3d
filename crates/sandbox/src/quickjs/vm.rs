//! One QuickJS instance, spoken to through its C API. Addresses and handles are guest addresses;
//! a handle is a `JSValue` on the guest's heap. Those that a run can make many of are freed; the
//! few others end with the run.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use wasmtime::{
    AsContextMut, Extern, Instance, Memory, Module, ModuleExport, Result, StoreContextMut,
    WasmParams, WasmResults, bail, format_err,
};

use super::layout;
use crate::guest::Guest;
use runabout_protocol::Outcome;

/// Where the C API writes lengths.
const LENGTHS: u32 = layout::SCRATCH + 64;

/// How source is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evaluation {
    Script,
    /// A script with a top-level `await`.
    AsyncScript,
    Module,
}

impl Evaluation {
    /// QuickJS's `JS_EVAL_*` flags, with the one that says to read and not to run.
    fn flags(self) -> i32 {
        const COMPILE_ONLY: i32 = 1 << 5;
        COMPILE_ONLY
            | match self {
                Self::Script => 0,
                Self::Module => 1,
                Self::AsyncScript => 1 << 7,
            }
    }

    /// What the prelude does with what the evaluation gives.
    fn entry(self) -> u64 {
        match self {
            Self::Script => layout::SETTLE_VALUE,
            Self::AsyncScript => layout::ADOPT_VALUE,
            Self::Module => layout::INVOKE_VALUE,
        }
    }

    /// How many arguments that is given: what the evaluation gave, and of a module its namespace and the
    /// request.
    fn argument_count(self) -> u32 {
        if self == Self::Module { 3 } else { 1 }
    }
}

/// What came of evaluating code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evaluated {
    /// A module that has run to its end and left nothing to do.
    Settled,
    /// The entry point of its kind sees to it.
    Open,
    /// It threw, and the exception has not been told to the prelude.
    Threw,
}

/// How far a run came in its first call.
pub enum Begun {
    /// It has ended with that text, in guest memory.
    Ended { address: u32, length: u32 },
    /// The mail tells where it stands.
    SeeMail,
    /// It threw, and the exception has not been told to the prelude.
    Threw,
}

/// Where the prelude says the run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Pending,
    Returned,
    ReturnedBytes,
    Threw,
}

/// What the prelude tells the host without being called.
pub struct Mail {
    pub state: State,
    pub next_timer_ms: u64,
    pub timers: usize,
}

macro_rules! exports {
    ($($name:ident $(= $other:literal)?),* $(,)?) => {
        /// The C API's exports, looked up once.
        #[derive(Clone)]
        pub struct Exports {
            pub memory: ModuleExport,
            pub stack_pointer: ModuleExport,
            $($name: ModuleExport,)*
        }

        impl Exports {
            /// # Errors
            /// The module is no `quickjs.wasm`.
            pub fn find(module: &Module) -> Result<Self> {
                let find = |name: &str| {
                    let export = module.get_export_index(name);
                    export.ok_or_else(|| format_err!("quickjs.wasm has no export {name}"))
                };
                Ok(Self {
                    memory: find("memory")?,
                    stack_pointer: find("__stack_pointer")?,
                    $($name: find([$($other,)? stringify!($name)][0])?,)*
                })
            }
        }
    };
}

include!("api.rs");

/// What is kept beside a QuickJS instance.
pub struct JsState {
    instance: Instance,
    memory: Memory,
    exports: Arc<Exports>,
    /// Rejected promises that nobody has handled yet, by identity: the promise, which keeps the
    /// identity its own, and the reason.
    rejections: HashMap<u32, (u32, u32)>,
    /// The identity that was rejected first of those, as far as it is known.
    first_rejection: Option<u32>,
}

impl JsState {
    /// The memory is that of the instance.
    pub fn new(instance: Instance, memory: Memory, exports: Arc<Exports>) -> Self {
        Self { instance, memory, exports, rejections: HashMap::new(), first_rejection: None }
    }
}

/// A QuickJS instance at work.
pub struct Vm<'a> {
    store: StoreContextMut<'a, Guest>,
}

macro_rules! api {
    ($self:ident.$name:ident($params:expr)) => {{
        let export = $self.js().exports.$name.clone();
        $self.call(&export, stringify!($name), $params).await
    }};
}

impl<'a> Vm<'a> {
    /// The store's guest must be one of QuickJS.
    pub fn of(store: &'a mut impl AsContextMut<Data = Guest>) -> Self {
        Self { store: store.as_context_mut() }
    }

    fn js(&self) -> &JsState {
        self.store.data().js.as_ref().expect("a QuickJS store is given its state before it is used")
    }

    fn js_mut(&mut self) -> &mut JsState {
        let js = self.store.data_mut().js.as_mut();
        js.expect("a QuickJS store is given its state before it is used")
    }

    async fn call<P, R>(&mut self, export: &ModuleExport, name: &str, params: P) -> Result<R>
    where
        P: WasmParams + Sync,
        R: WasmResults + Sync,
    {
        let instance = self.js().instance;
        let function = instance
            .get_module_export(&mut self.store, export)
            .and_then(Extern::into_func)
            .ok_or_else(|| format_err!("quickjs.wasm has no function {name}"))?;
        function.typed::<P, R>(&self.store)?.call_async(&mut self.store, params).await
    }

    pub fn guest(&self) -> &Guest {
        self.store.data()
    }

    pub fn guest_mut(&mut self) -> &mut Guest {
        self.store.data_mut()
    }

    pub fn out_of_memory(&self) -> Option<Outcome> {
        self.guest().meter.out_of_memory()
    }

    /// Gives `Math.random` a seed of its own: the snapshot's is the same for every run.
    pub fn seed_random(&mut self) -> Result<u64> {
        let seed = seed().map_err(|error| format_err!("no randomness: {error}"))?;
        // The generator never leaves zero.
        let seed = seed.max(1);
        self.write(layout::RANDOM_STATE, &seed.to_le_bytes())?;
        Ok(seed)
    }

    /// When the run began, in milliseconds since 1970, for `performance`.
    pub fn set_start(&mut self, started_ms: u64) -> Result<()> {
        self.write(layout::MAIL + 24, &(started_ms as f64).to_le_bytes())
    }

    /// Reads source and runs nothing of it. `None` if it cannot be read; the exception waits.
    pub async fn compile(&mut self, source: &[u8], evaluation: Evaluation) -> Result<Option<u64>> {
        let room = self.put_text(source).await?;
        let params = (room, source.len() as u32, layout::FILE_NAME, evaluation.flags());
        let handle: u32 = api!(self.qjs_eval(params))?;
        if room != layout::SOURCE {
            self.free_room(room).await?;
        }
        if self.is_exception(handle).await? {
            return Ok(None);
        }
        let compiled = self.read_u64(handle)?;
        if evaluation == Evaluation::Module {
            let failed: i32 = api!(self.resolve_module((layout::CONTEXT, compiled)))?;
            if failed != 0 {
                return Ok(None);
            }
        }
        Ok(Some(compiled))
    }

    /// Evaluates what was compiled: of a script that is all of it, of a module its top level.
    pub async fn evaluate(&mut self, compiled: u64, evaluation: Evaluation) -> Result<Evaluated> {
        let mut told = [0; 16];
        told[..4].copy_from_slice(&evaluation.argument_count().to_le_bytes());
        told[8..].copy_from_slice(&compiled.to_le_bytes());
        self.write(layout::ARGUMENT_COUNT, &told)?;
        let answer: u32 = api!(self.runabout_evaluate(layout::FRAME))?;
        match answer {
            0 => Ok(Evaluated::Open),
            1 => Ok(Evaluated::Threw),
            4 => Ok(Evaluated::Settled),
            _ => broken(),
        }
    }

    /// Hands what was evaluated to the prelude with the request, and runs promise jobs until there are none.
    pub async fn begin(
        &mut self,
        evaluation: Evaluation,
        is_settled: bool,
        request: Option<&str>,
    ) -> Result<Begun> {
        let (room, request_bytes) = match request {
            Some(request) => (self.put_text(request.as_bytes()).await?, request.len() as u32),
            None => (0, 0),
        };
        let entry = if is_settled { layout::CALL_VALUE } else { evaluation.entry() };
        let mut told = [0; 12];
        told[..4].copy_from_slice(&room.to_le_bytes());
        told[4..8].copy_from_slice(&request_bytes.to_le_bytes());
        told[8..].copy_from_slice(&evaluation.argument_count().to_le_bytes());
        self.write(layout::REQUEST, &told)?;
        self.write(layout::ENTRY, &entry.to_le_bytes())?;
        let answer: u32 = api!(self.runabout_begin(layout::FRAME))?;
        match answer {
            0 => Ok(Begun::SeeMail),
            // The request, or a promise job.
            1 | 3 => Ok(Begun::Threw),
            2 => broken(),
            address => Ok(Begun::Ended { address, length: self.read_u32(layout::TEXT_BYTES)? }),
        }
    }

    /// Whether `Math.random` has been used since it was given that seed. Each use changes its state, and none
    /// comes back before 2^64 - 1 of them (Marsaglia, Xorshift RNGs, 2003).
    pub fn has_used_random(&self, seed: u64) -> Result<bool> {
        Ok(self.read_u64(layout::RANDOM_STATE)? != seed)
    }

    /// Whether the run has done nothing yet that is known outside of its memory, or set timers.
    pub fn is_untouched(&self) -> Result<bool> {
        let mail = self.mail()?;
        let is_pending = mail.state == State::Pending && mail.timers == 0;
        Ok(is_pending && self.js().rejections.is_empty())
    }

    /// Puts a text where QuickJS can read it, with a zero byte behind it: into the room for short
    /// ones, if it fits there.
    async fn put_text(&mut self, text: &[u8]) -> Result<u32> {
        if text.len() < layout::SOURCE_BYTES_MAX as usize {
            self.write(layout::SOURCE, text)?;
            self.write(layout::SOURCE + text.len() as u32, b"\0")?;
            return Ok(layout::SOURCE);
        }
        Box::pin(self.allocate(text, b"\0")).await
    }

    /// The memory above the stack, which is all that lasts while nothing runs.
    pub fn heap(&self) -> Result<&[u8]> {
        let data = self.js().memory.data(&self.store);
        data.get(layout::HEAP as usize..).ok_or_else(|| format_err!("QuickJS has no heap"))
    }

    /// The same to write to, `bytes` long. The heap never shrinks.
    pub async fn heap_of(&mut self, bytes: usize) -> Result<&mut [u8]> {
        const PAGE_BYTES: usize = 64 << 10;
        let memory = self.js().memory;
        let wanted = layout::HEAP as usize + bytes;
        let lacking = wanted.saturating_sub(memory.data_size(&self.store));
        if lacking > 0 {
            memory.grow_async(&mut self.store, lacking.div_ceil(PAGE_BYTES) as u64).await?;
        }
        Ok(&mut memory.data_mut(&mut self.store)[layout::HEAP as usize..])
    }

    /// Calls one of the prelude's entry points, none of which throws.
    pub async fn call_entry(&mut self, entry: u32, arguments: &[u32]) -> Result<()> {
        let nothing = self.call_function(entry, arguments).await?;
        self.free(nothing).await
    }

    /// How the run ended.
    pub async fn take(&mut self) -> Result<u32> {
        self.call_function(layout::TAKE, &[]).await
    }

    async fn call_function(&mut self, function: u32, arguments: &[u32]) -> Result<u32> {
        let list: Vec<u8> = arguments.iter().flat_map(|handle| handle.to_le_bytes()).collect();
        let address = if list.len() <= 64 {
            self.write(layout::SCRATCH, &list)?;
            layout::SCRATCH
        } else {
            self.allocate(&list, &[]).await?
        };
        let params = (function, layout::UNDEFINED, arguments.len() as u32, address);
        let value: u32 = api!(self.qjs_call(params))?;
        if self.is_exception(value).await? {
            // A lack of memory or of stack, or a guest that broke what the prelude stands on.
            return broken();
        }
        Ok(value)
    }

    /// Runs promise jobs until there are none.
    pub async fn run_jobs(&mut self) -> Result<()> {
        loop {
            let ran: i32 = api!(self.qjs_execute_pending_job(()))?;
            match ran {
                0 => return Ok(()),
                1.. => {}
                _ => {
                    let error = self.exception().await?;
                    self.call_entry(layout::FAIL, &[error]).await?;
                }
            }
        }
    }

    pub async fn is_exception(&mut self, value: u32) -> Result<bool> {
        let yes: i32 = api!(self.qjs_is_exception(value))?;
        Ok(yes != 0)
    }

    pub async fn exception(&mut self) -> Result<u32> {
        api!(self.qjs_get_exception(()))
    }

    pub async fn undefined(&mut self) -> Result<u32> {
        api!(self.qjs_get_undefined(()))
    }

    pub async fn number(&mut self, value: u32) -> Result<f64> {
        api!(self.qjs_get_float64(value))
    }

    pub async fn new_string(&mut self, text: &[u8]) -> Result<u32> {
        let address = self.allocate(text, &[]).await?;
        let value: u32 = api!(self.qjs_new_string((address, text.len() as u32)))?;
        let _: () = api!(self.wasm_free(address))?;
        self.created(value).await
    }

    /// Guest memory to be filled, and freed with [`Self::free_room`].
    pub async fn room(&mut self, bytes: u32) -> Result<u32> {
        let address: u32 = api!(self.wasm_malloc(bytes.max(1)))?;
        if address == 0 {
            bail!("out of memory");
        }
        Ok(address)
    }

    pub async fn free_room(&mut self, address: u32) -> Result<()> {
        api!(self.wasm_free(address))
    }

    /// A string of bytes that are in guest memory already.
    pub async fn new_string_at(&mut self, (address, length): (u32, u32)) -> Result<u32> {
        let value: u32 = api!(self.qjs_new_string((address, length)))?;
        self.created(value).await
    }

    pub async fn new_uint8_array(&mut self, bytes: &[u8]) -> Result<u32> {
        let address = self.allocate(bytes, &[]).await?;
        let value = self.new_uint8_array_at((address, bytes.len() as u32)).await?;
        let _: () = api!(self.wasm_free(address))?;
        Ok(value)
    }

    /// An array with a copy of bytes that are in guest memory already.
    pub async fn new_uint8_array_at(&mut self, (address, length): (u32, u32)) -> Result<u32> {
        let value: u32 = api!(self.qjs_new_uint8_array((address, length)))?;
        self.created(value).await
    }

    async fn created(&mut self, value: u32) -> Result<u32> {
        if self.is_exception(value).await? {
            bail!("out of memory");
        }
        Ok(value)
    }

    /// Where a string's UTF-8 is; the caller frees it with [`Self::free_text`].
    pub async fn text_at(&mut self, value: u32) -> Result<(u32, u32)> {
        let address: u32 = api!(self.qjs_get_string_len((value, LENGTHS)))?;
        let length = self.read_u32(LENGTHS)?;
        if address == 0 {
            bail!("out of memory");
        }
        Ok((address, length))
    }

    pub async fn free_text(&mut self, address: u32) -> Result<()> {
        api!(self.qjs_free_cstring(address))
    }

    /// A string's UTF-8, `None` if it is longer than `bytes_max`.
    pub async fn text(&mut self, value: u32, bytes_max: usize) -> Result<Option<Vec<u8>>> {
        let (address, length) = self.text_at(value).await?;
        let text = self.text_of((address, length), bytes_max)?;
        self.free_text(address).await?;
        Ok(text)
    }

    /// A copy of UTF-8 in guest memory, `None` if it is longer than `bytes_max`.
    pub fn text_of(
        &self,
        (address, length): (u32, u32),
        bytes_max: usize,
    ) -> Result<Option<Vec<u8>>> {
        if length as usize > bytes_max {
            return Ok(None);
        }
        Ok(Some(self.read(address, length)?.to_vec()))
    }

    /// The first bytes of a string's UTF-8, `bytes_max` at the most.
    pub async fn text_start(&mut self, value: u32, bytes_max: usize) -> Result<Vec<u8>> {
        let (address, length) = self.text_at(value).await?;
        let text = self.read(address, length.min(bytes_max as u32))?.to_vec();
        self.free_text(address).await?;
        Ok(text)
    }

    /// Where a `Uint8Array`'s bytes are.
    pub async fn bytes_at(&mut self, value: u32) -> Result<(u32, u32)> {
        let params = (value, LENGTHS, LENGTHS + 4, LENGTHS + 8);
        let buffer: u32 = api!(self.qjs_get_typed_array_buffer(params))?;
        if self.is_exception(buffer).await? {
            bail!("a detached array has no bytes");
        }
        let (offset, length) = (self.read_u32(LENGTHS)?, self.read_u32(LENGTHS + 4)?);
        let start: u32 = api!(self.qjs_get_array_buffer((buffer, LENGTHS + 12)))?;
        // The array that the caller holds keeps the bytes.
        self.free(buffer).await?;
        Ok((start.wrapping_add(offset), length))
    }

    /// A `Uint8Array`'s bytes, `None` if there are more than `bytes_max`.
    pub async fn bytes(&mut self, value: u32, bytes_max: usize) -> Result<Option<Vec<u8>>> {
        let (address, length) = self.bytes_at(value).await?;
        if length as usize > bytes_max {
            return Ok(None);
        }
        Ok(Some(self.read(address, length)?.to_vec()))
    }

    pub async fn rejection(&mut self, promise: u32, reason: u32, is_handled: bool) -> Result<()> {
        let identity: u32 = api!(self.qjs_get_value_ptr(promise))?;
        if !is_handled {
            let js = self.js_mut();
            js.rejections.insert(identity, (promise, reason));
            js.first_rejection.get_or_insert(identity);
            return Ok(());
        }
        self.free(promise).await?;
        self.free(reason).await?;
        if let Some((promise, reason)) = self.js_mut().rejections.remove(&identity) {
            self.free(promise).await?;
            self.free(reason).await?;
        }
        let js = self.js_mut();
        if js.rejections.is_empty() {
            js.first_rejection = None;
        }
        Ok(())
    }

    /// The reason of a rejection that nobody handled: of the first, unless that one was handled.
    pub fn unhandled_rejection(&self) -> Option<u32> {
        let js = self.js();
        let first = js.first_rejection.and_then(|identity| js.rejections.get(&identity));
        first.or_else(|| js.rejections.values().next()).map(|(_, reason)| *reason)
    }

    async fn free(&mut self, value: u32) -> Result<()> {
        api!(self.qjs_free_value(value))
    }

    pub fn mail(&self) -> Result<Mail> {
        let bytes = self.read(layout::MAIL, 24)?;
        let number = |at: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[at * 8..at * 8 + 8]);
            f64::from_le_bytes(word)
        };
        let state = match number(0) as u8 {
            0 => State::Pending,
            1 => State::Returned,
            2 => State::ReturnedBytes,
            _ => State::Threw,
        };
        Ok(Mail { state, next_timer_ms: number(1) as u64, timers: number(2) as usize })
    }

    /// Copies bytes, and then others, into new guest memory.
    async fn allocate(&mut self, bytes: &[u8], end: &[u8]) -> Result<u32> {
        let address: u32 = api!(self.wasm_malloc((bytes.len() + end.len()) as u32))?;
        if address == 0 {
            bail!("out of memory");
        }
        self.write(address, bytes)?;
        self.write(address + bytes.len() as u32, end)?;
        Ok(address)
    }

    pub fn read(&self, address: u32, length: u32) -> Result<&[u8]> {
        let (start, end) = (address as usize, address as usize + length as usize);
        let data = self.js().memory.data(&self.store);
        data.get(start..end).ok_or_else(|| format_err!("an address outside memory"))
    }

    fn read_u64(&self, address: u32) -> Result<u64> {
        let mut word = [0; 8];
        word.copy_from_slice(self.read(address, 8)?);
        Ok(u64::from_le_bytes(word))
    }

    fn read_u32(&self, address: u32) -> Result<u32> {
        let mut word = [0; 4];
        word.copy_from_slice(self.read(address, 4)?);
        Ok(u32::from_le_bytes(word))
    }

    pub fn write(&mut self, address: u32, bytes: &[u8]) -> Result<()> {
        let memory = self.js().memory;
        Ok(memory.write(&mut self.store, address as usize, bytes)?)
    }
}

fn broken<T>() -> Result<T> {
    bail!("the run broke its own engine: out of memory, out of stack, or a replaced built-in")
}

/// A seed that nobody else gets. Drawn from the system by the handful, as each drawing takes longer
/// than it takes to use what was drawn.
fn seed() -> std::result::Result<u64, getrandom::Error> {
    const SEEDS: usize = 32;
    thread_local! {
        static DRAWN: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
    }
    DRAWN.with_borrow_mut(|drawn| {
        if let Some(seed) = drawn.pop() {
            return Ok(seed);
        }
        let mut bytes = [0; SEEDS * 8];
        getrandom::fill(&mut bytes)?;
        let (words, _) = bytes.as_chunks::<8>();
        drawn.extend(words.iter().map(|word| u64::from_le_bytes(*word)));
        drawn.pop().map_or_else(getrandom::u64, Ok)
    })
}
