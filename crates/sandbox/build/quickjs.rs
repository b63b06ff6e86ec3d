//! Brings QuickJS to life once, lets it read the prelude, and notes where in its memory the
//! sandbox finds what it needs.

use std::fmt::Write as _;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use wasmtime::error::Context as _;
use wasmtime::{
    Caller, Engine, Extern, Instance, Linker, Memory, Module, Result, Store, StoreLimits,
    StoreLimitsBuilder, TypedFunc, Val, WasmParams, WasmResults, bail, format_err,
};
use wasmtime_wizer::{WasmtimeWizer, Wizer};

use crate::driver::{self, frame};

/// `__stack_pointer` while nothing runs: the shipped binary's stack is its first MiB.
pub const STACK_POINTER_AT_REST: i32 = 1 << 20;

/// Two seeds to tell the state of `Math.random` from other memory that changes.
const SEEDS: [u64; 2] = [0x1234_5678_90ab_cdef, 0xfedc_ba98_7654_3210];

/// What the clock says while the engine is initialised, in nanoseconds: it stands still.
const CLOCK_NS: u64 = 1_000_000_000_000_000_000;

/// Where short sources are put, so that they need no allocation.
const SOURCE_BYTES_MAX: usize = 64 << 10;

/// The mailbox: eight numbers, of which four are used.
const MAIL_BYTES: usize = 64;

/// Garbage is first looked for when the heap has this size. A short run never gets there.
const GC_THRESHOLD_BYTES: i32 = 8 << 20;

/// What is free on the heap when a run begins: most never have to ask for more memory.
const FREE_BYTES: i32 = 440 << 10;

/// The most QuickJS's own stack may take; its shipped binary has 1 MiB and needs room to unwind.
const STACK_BYTES_MAX: i32 = 512 << 10;

/// The host functions that the prelude is given.
const HOST_FUNCTIONS: &[&str] =
    &["log", "progress", "checkpoint", "task", "state", "random", "encode", "decode"];

/// What the sandbox calls in the prelude.
const ENTRY_POINTS: &[&str] =
    &["give", "settle", "adopt", "invoke", "call", "fail", "fire", "take"];

/// Those with which a run begins: the engine wants their values, not their handles.
const BEGINNINGS: &[&str] = &["settle", "adopt", "invoke", "call"];

/// A pre-initialised engine.
pub struct Snapshot {
    /// The module, its memory as the prelude left it.
    pub module: Vec<u8>,
    /// The memory above the stack, as the module begins with it.
    pub heap: Vec<u8>,
    /// Where things are in that memory.
    pub layout: Layout,
}

/// Addresses and values in the snapshot's memory: a name, a type and a number, and what it is.
#[derive(Default)]
pub struct Layout(Vec<(String, &'static str, u64, &'static str)>);

impl Layout {
    fn add(&mut self, name: &str, address: u32, doc: &'static str) {
        self.0.push((name.to_uppercase(), "u32", address.into(), doc));
    }

    fn add_value(&mut self, name: &str, value: u64, doc: &'static str) {
        self.0.push((format!("{}_VALUE", name.to_uppercase()), "u64", value, doc));
    }

    /// The addresses as Rust constants.
    pub fn as_rust(&self) -> String {
        let mut text = String::from("// Written by the build script.\n");
        for (name, kind, number, doc) in &self.0 {
            write!(text, "/// {doc}\npub const {name}: {kind} = {number};\n")
                .expect("a String grows");
        }
        text
    }
}

/// Initialises QuickJS with the prelude and takes its snapshot.
pub fn snapshot(quickjs: &[u8], prelude: &str) -> Result<Snapshot> {
    let wizer = Wizer::new();
    let quickjs = driver::add(quickjs)?;
    let (context, instrumented) = wizer.instrument(&quickjs)?;
    let engine = Engine::default();
    let compiled = Module::new(&engine, &instrumented)?;
    let linker = linker(&engine)?;

    // The search tries words out that are not the place, which breaks the heap: it has an instance
    // of its own. Both initialise alike, so what it finds holds for the one that is kept.
    let mut spoilt = limited_store(&engine);
    let instance = linker.instantiate(&mut spoilt, &compiled)?;
    let random_state = Guest::new(&mut spoilt, instance)?.find_random_state()?;

    let mut store = limited_store(&engine);
    let instance = linker.instantiate(&mut store, &compiled)?;
    let mut guest = Guest::new(&mut store, instance)?;
    let layout = initialise(&mut guest, prelude, random_state)?;
    let (stack, heap) =
        guest.memory.data_mut(&mut *guest.store).split_at_mut(STACK_POINTER_AT_REST as usize);
    // Nothing of it is in use, and what is zero need not be kept.
    stack.fill(0);
    let heap = heap.to_vec();

    let mut state = WasmtimeWizer { store: &mut store, instance };
    let module = finish(wizer.snapshot(&context, &mut state))?;
    Ok(Snapshot { module, heap, layout })
}

fn limited_store(engine: &Engine) -> Store<StoreLimits> {
    let limits = StoreLimitsBuilder::new().memory_size(32 << 20).build();
    let mut store = Store::new(engine, limits);
    store.limiter(|limits| limits);
    store
}

fn initialise(guest: &mut Guest<'_>, prelude: &str, random_state: u32) -> Result<Layout> {
    let mut layout = Layout::default();
    guest.start()?;
    layout.add("random_state", random_state, "The state of `Math.random`, 8 bytes.");
    guest.call::<i32, ()>("qjs_set_max_stack_size", STACK_BYTES_MAX)?;
    guest.call::<i32, ()>("qjs_set_promise_rejection_handler", 1)?;

    let host = guest.host_object()?;
    let mail_bytes = guest.allocate(&[0; MAIL_BYTES])?;
    let buffer =
        guest.call::<(i32, i32), i32>("qjs_new_array_buffer", (mail_bytes, MAIL_BYTES as i32))?;
    let mail = guest.eval_call("(buffer) => new Float64Array(buffer)", &[buffer])?;
    let entries = guest.eval_call(prelude, &[host, mail])?;
    let mail = guest.array_buffer_data(buffer)?;
    layout.add("mail", mail, "The mailbox: state, next timer, timers, start.");
    let mut take = 0;
    for name in ENTRY_POINTS {
        let handle = guest.property(entries, name)?;
        if BEGINNINGS.contains(name) {
            layout.add_value(name, guest.value(handle)?, "Where the prelude begins a run.");
        } else {
            layout.add(name, handle, "An entry point of the prelude.");
        }
        if *name == "take" {
            take = guest.value(handle)?;
        }
    }
    let undefined = guest.call::<(), i32>("qjs_get_undefined", ())? as u32;
    layout.add("undefined", undefined, "The value undefined.");
    let file_name = guest.allocate(b"function.js\0")? as u32;
    layout.add("file_name", file_name, "The name that stack traces show.");
    let context = guest.call::<(), i32>("qjs_get_context_ptr", ())? as u32;
    layout.add("context", context, "The engine's context.");
    layout.add("heap", STACK_POINTER_AT_REST as u32, "Where the heap begins, above the stack.");
    let frame = guest.frame(context, mail, take, undefined)?;
    layout.add("frame", frame, "What the driver is given.");
    layout.add(
        "request",
        frame + frame::REQUEST,
        "Where the request is, its length, and how many arguments.",
    );
    layout.add(
        "argument_count",
        frame + frame::ARGUMENT_COUNT,
        "How many, a gap, and what was compiled.",
    );
    layout.add("entry", frame + frame::ENTRY, "Where the prelude begins the run.");
    layout.add("text_bytes", frame + frame::TEXT_BYTES, "The length of its result.");
    layout.add(
        "source",
        guest.allocate(&vec![0; SOURCE_BYTES_MAX])? as u32,
        "Room for short sources.",
    );
    layout.add("source_bytes_max", SOURCE_BYTES_MAX as u32, "The size of that room.");
    layout.add(
        "scratch",
        guest.allocate(&[0; 96])? as u32,
        "Room for arguments, 64 bytes, and for lengths, 32.",
    );

    while guest.call::<(), i32>("qjs_is_job_pending", ())? != 0 {
        guest.call::<(), i32>("qjs_execute_pending_job", ())?;
    }
    guest.call::<(), ()>("qjs_run_gc", ())?;
    // Not written to, so that it is no part of the snapshot.
    let free = guest.call::<i32, i32>("wasm_malloc", FREE_BYTES)?;
    if free == 0 {
        bail!("QuickJS has no room for what is to be free");
    }
    guest.call::<i32, ()>("wasm_free", free)?;
    guest.call::<i32, ()>("qjs_set_gc_threshold", GC_THRESHOLD_BYTES)?;
    Ok(layout)
}

/// The engine while it is being initialised.
struct Guest<'a> {
    store: &'a mut Store<StoreLimits>,
    instance: Instance,
    memory: Memory,
}

impl<'a> Guest<'a> {
    fn new(store: &'a mut Store<StoreLimits>, instance: Instance) -> Result<Self> {
        let memory =
            instance.get_memory(&mut *store, "memory").context("quickjs.wasm exports no memory")?;
        Ok(Self { store, instance, memory })
    }

    fn call<P: WasmParams, R: WasmResults>(&mut self, name: &str, params: P) -> Result<R> {
        let function: TypedFunc<P, R> = self
            .instance
            .get_typed_func(&mut *self.store, name)
            .with_context(|| format!("quickjs.wasm has no fitting export {name}"))?;
        function.call(&mut *self.store, params).with_context(|| format!("{name} trapped"))
    }

    fn start(&mut self) -> Result<()> {
        self.call::<(), ()>("_initialize", ())?;
        if self.call::<(), i32>("qjs_init", ())? != 0 {
            bail!("QuickJS did not initialise");
        }
        Ok(())
    }

    fn allocate(&mut self, bytes: &[u8]) -> Result<i32> {
        let address = self.call::<i32, i32>("wasm_malloc", bytes.len() as i32)?;
        if address == 0 {
            bail!("QuickJS is out of memory while it is initialised");
        }
        self.memory.write(&mut *self.store, address as usize, bytes)?;
        Ok(address)
    }

    /// Finds the state of `Math.random` by what it does: the one word of memory that a call
    /// changes, and whose value alone decides the next number. A run writes its own seed there.
    fn find_random_state(&mut self) -> Result<u32> {
        self.start()?;
        let random = self.eval("(() => Math.random())")?;
        let before = self.memory.data(&*self.store).to_vec();
        self.random(random)?;
        let after = self.memory.data(&*self.store);
        let changed: Vec<usize> = (0..before.len())
            .step_by(8)
            .filter(|&at| before[at..at + 8] != after[at..at + 8])
            .collect();
        let mut places = Vec::new();
        for at in changed {
            let first = self.random_after(random, &before, (at, SEEDS[0]));
            let again = self.random_after(random, &before, (at, SEEDS[0]));
            let other = self.random_after(random, &before, (at, SEEDS[1]));
            // A call fails where the word was the heap's own: that is not the place either.
            if let (Ok(first), Ok(again), Ok(other)) = (first, again, other)
                && first == again
                && first != other
            {
                places.push(at);
            }
        }
        match places[..] {
            [place] => Ok(place as u32),
            _ => bail!("expected one word that decides Math.random, found {places:?}"),
        }
    }

    fn random_after(
        &mut self,
        random: i32,
        image: &[u8],
        (at, seed): (usize, u64),
    ) -> Result<(f64, f64)> {
        self.restore(image)?;
        self.memory.write(&mut *self.store, at, &seed.to_le_bytes())?;
        Ok((self.random(random)?, self.random(random)?))
    }

    /// Puts memory and stack pointer back, as a trap may have left either half way.
    fn restore(&mut self, image: &[u8]) -> Result<()> {
        self.memory.write(&mut *self.store, 0, image)?;
        let pointer = self.instance.get_global(&mut *self.store, "__stack_pointer");
        let pointer = pointer.context("quickjs.wasm exports no stack pointer")?;
        pointer.set(&mut *self.store, Val::I32(STACK_POINTER_AT_REST))
    }

    fn random(&mut self, random: i32) -> Result<f64> {
        let value = self.call_value(random, &[])?;
        self.call::<i32, f64>("qjs_get_float64", value)
    }

    fn host_object(&mut self) -> Result<i32> {
        let object = self.call::<(), i32>("qjs_new_object", ())?;
        for name in HOST_FUNCTIONS {
            let text = self.allocate(format!("{name}\0").as_bytes())?;
            let function = self.call::<(i32, i32, i32), i32>(
                "qjs_new_host_function",
                (text, name.len() as i32, 0),
            )?;
            self.call::<(i32, i32, i32), i32>("qjs_set_prop_string", (object, text, function))?;
        }
        Ok(object)
    }

    fn property(&mut self, object: i32, name: &str) -> Result<u32> {
        let text = self.allocate(format!("{name}\0").as_bytes())?;
        let value = self.call::<(i32, i32), i32>("qjs_get_prop_string", (object, text))?;
        if self.call::<i32, i32>("qjs_is_function", value)? == 0 {
            bail!("the prelude gave no function {name}");
        }
        Ok(value as u32)
    }

    /// What a handle stands for.
    fn value(&self, handle: u32) -> Result<u64> {
        let mut word = [0; 8];
        self.memory.read(&*self.store, handle as usize, &mut word)?;
        Ok(u64::from_le_bytes(word))
    }

    /// A frame for the driver, with all in it that is the same for every run.
    fn frame(&mut self, context: u32, mail: u32, take: u64, undefined: u32) -> Result<u32> {
        let runtime = self.call::<(), i32>("qjs_get_runtime_ptr", ())? as u32;
        let input_name = self.allocate(b"<input>\0")? as u32;
        let undefined = self.value(undefined)?;
        let mut bytes = [0; frame::BYTES as usize];
        let mut put = |at: u32, word: &[u8]| {
            bytes[at as usize..at as usize + word.len()].copy_from_slice(word);
        };
        put(frame::CONTEXT, &context.to_le_bytes());
        put(frame::RUNTIME, &runtime.to_le_bytes());
        put(frame::MAIL, &mail.to_le_bytes());
        put(frame::FILE_NAME, &input_name.to_le_bytes());
        put(frame::UNDEFINED, &undefined.to_le_bytes());
        put(frame::TAKE, &take.to_le_bytes());
        Ok(self.allocate(&bytes)? as u32)
    }

    fn array_buffer_data(&mut self, buffer: i32) -> Result<u32> {
        let length = self.allocate(&[0; 8])?;
        let data = self.call::<(i32, i32), i32>("qjs_get_array_buffer", (buffer, length))?;
        Ok(data as u32)
    }

    /// Evaluates a function expression and calls it.
    fn eval_call(&mut self, source: &str, arguments: &[i32]) -> Result<i32> {
        let function = self.eval(source)?;
        self.call_value(function, arguments)
    }

    fn eval(&mut self, source: &str) -> Result<i32> {
        let text = self.allocate(format!("{source}\0").as_bytes())?;
        let name = self.allocate(b"runabout:prelude\0")?;
        let arguments = (text, source.len() as i32, name, 0);
        let value = self.call::<(i32, i32, i32, i32), i32>("qjs_eval", arguments)?;
        self.check(value)?;
        Ok(value)
    }

    fn call_value(&mut self, function: i32, arguments: &[i32]) -> Result<i32> {
        let undefined = self.call::<(), i32>("qjs_get_undefined", ())?;
        let list: Vec<u8> = arguments.iter().flat_map(|handle| handle.to_le_bytes()).collect();
        let list = self.allocate(&list)?;
        let arguments = (function, undefined, arguments.len() as i32, list);
        let value = self.call::<(i32, i32, i32, i32), i32>("qjs_call", arguments)?;
        self.check(value)?;
        Ok(value)
    }

    fn check(&mut self, value: i32) -> Result<()> {
        if self.call::<i32, i32>("qjs_is_exception", value)? == 0 {
            return Ok(());
        }
        let error = self.call::<(), i32>("qjs_get_exception", ())?;
        let text = self.text(error)?;
        let stack = self.allocate(b"stack\0")?;
        let stack = self.call::<(i32, i32), i32>("qjs_get_prop_string", (error, stack))?;
        Err(format_err!("the prelude threw {text}\n{}", self.text(stack)?))
    }

    fn text(&mut self, value: i32) -> Result<String> {
        let length = self.allocate(&[0; 4])?;
        let address = self.call::<(i32, i32), i32>("qjs_get_string_len", (value, length))? as usize;
        let mut bytes = [0; 4];
        self.memory.read(&*self.store, length as usize, &mut bytes)?;
        let mut text = vec![0; u32::from_le_bytes(bytes) as usize];
        self.memory.read(&*self.store, address, &mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

/// What QuickJS imports, for the time of its initialisation: a clock that stands still, no
/// randomness, and host functions that are not to be called yet.
fn linker(engine: &Engine) -> Result<Linker<StoreLimits>> {
    const SUCCESS: i32 = 0;
    const NOT_SUPPORTED: i32 = 52;
    let mut linker = Linker::new(engine);
    linker.func_wrap("env", "host_get_timezone_offset", |_: i32, _: i32| 0)?;
    linker.func_wrap("env", "host_interrupt", || 0)?;
    linker.func_wrap("env", "host_promise_rejection", |_: i32, _: i32, _: i32| {})?;
    linker.func_wrap("env", "host_module_normalize", |_: i32, _: i32| 0)?;
    linker.func_wrap("env", "host_module_load", |_: i32, _: i32| 0)?;
    linker.func_wrap(
        "env",
        "host_call",
        |_: i32, _: i32, _: i32, _: i32, _: i32| -> Result<i32> {
            bail!("the prelude called a host function while it was initialised")
        },
    )?;
    let wasi = "wasi_snapshot_preview1";
    linker.func_wrap(
        wasi,
        "clock_time_get",
        |mut caller: Caller<'_, StoreLimits>, _: i32, _: i64, result: i32| -> Result<i32> {
            let memory = caller.get_export("memory").and_then(Extern::into_memory);
            let memory = memory.context("no memory")?;
            memory.write(&mut caller, result as usize, &CLOCK_NS.to_le_bytes())?;
            Ok(SUCCESS)
        },
    )?;
    linker.func_wrap(wasi, "fd_close", |_: i32| NOT_SUPPORTED)?;
    linker.func_wrap(wasi, "fd_fdstat_get", |_: i32, _: i32| NOT_SUPPORTED)?;
    linker.func_wrap(wasi, "fd_seek", |_: i32, _: i64, _: i32, _: i32| NOT_SUPPORTED)?;
    linker.func_wrap(wasi, "fd_write", |_: i32, _: i32, _: i32, _: i32| NOT_SUPPORTED)?;
    linker.func_wrap(wasi, "random_get", |_: i32, _: i32| NOT_SUPPORTED)?;
    Ok(linker)
}

/// Drives a future that never waits.
fn finish<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("a synchronous store never waits"),
    }
}
