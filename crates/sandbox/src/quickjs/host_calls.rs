//! What QuickJS imports: a coarse clock, randomness, and the host functions that the prelude calls
//! by name. Answers go back as new values on the guest's heap.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use runabout_protocol::{Checkpoint, Encoding, Json, Stream};
use wasmtime::{Caller, Engine, Extern, Linker, Result, bail, format_err};

use super::vm::Vm;
use crate::guest::{Guest, add_looks};
use crate::host::CHECKPOINT_BYTES_MAX;
use crate::invocation::TaskContext;
use crate::wasi::CoarseClock;

const SUCCESS: i32 = 0;
const NOT_SUPPORTED: i32 = 52;

/// How many bytes of a name are looked at; every host function's is shorter.
const NAME_BYTES_MAX: u32 = 16;

/// The most that `crypto.getRandomValues` fills at once.
const RANDOM_BYTES_MAX: u32 = 65_536;

/// How much is decoded between two looks at the run's limits.
const DECODED_AT_ONCE_BYTES: u32 = 64 << 10;

/// How much of a progress message is read.
const MESSAGE_BYTES_MAX: usize = 1 << 10;

/// All that `quickjs.wasm` imports.
pub fn linker(engine: &Engine) -> Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    add_looks(&mut linker)?;
    // Every run is in UTC.
    linker.func_wrap("env", "host_get_timezone_offset", |_: i32, _: i32| 0)?;
    linker.func_wrap("env", "host_interrupt", || 0)?;
    linker.func_wrap("env", "host_module_normalize", |_: i32, _: i32| 0)?;
    linker.func_wrap("env", "host_module_load", |_: i32, _: i32| 0)?;
    linker.func_wrap_async(
        "env",
        "host_promise_rejection",
        |mut caller: Caller<'_, Guest>, (promise, reason, is_handled): (u32, u32, i32)| {
            Box::new(async move {
                Vm::of(&mut caller).rejection(promise, reason, is_handled != 0).await
            })
        },
    )?;
    linker.func_wrap_async(
        "env",
        "host_call",
        |mut caller: Caller<'_, Guest>,
         (name, name_length, _this, count, values): (u32, u32, u32, u32, u32)| {
            Box::new(async move {
                caller.data_mut().has_asked = true;
                let mut vm = Vm::of(&mut caller);
                let name = vm.read(name, name_length.min(NAME_BYTES_MAX))?.to_vec();
                let handles = vm.read(values, count.saturating_mul(4))?;
                let handles: Vec<u32> = handles
                    .chunks_exact(4)
                    .map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]))
                    .collect();
                host_call(&mut vm, &name, &handles).await
            })
        },
    )?;
    wasi(&mut linker)?;
    Ok(linker)
}

async fn host_call(vm: &mut Vm<'_>, name: &[u8], arguments: &[u32]) -> Result<u32> {
    match (name, arguments) {
        (b"log", [stream, text]) => log(vm, *stream, *text).await,
        (b"progress", [fraction, message]) => progress(vm, *fraction, *message).await,
        (b"checkpoint", [kind, state]) => checkpoint(vm, *kind, *state).await,
        (b"task", []) => task(vm).await,
        (b"state", []) => state(vm).await,
        (b"random", [array]) => random(vm, *array).await,
        (b"encode", [text]) => {
            let (address, length) = vm.text_at(*text).await?;
            let array = vm.new_uint8_array_at((address, length)).await?;
            vm.free_text(address).await?;
            Ok(array)
        }
        (b"decode", [bytes, fatal]) => decode(vm, *bytes, *fatal).await,
        _ => bail!("no host function {}", String::from_utf8_lossy(name)),
    }
}

async fn log(vm: &mut Vm<'_>, stream: u32, text: u32) -> Result<u32> {
    let stream = if vm.number(stream).await? == 1.0 { Stream::Stdout } else { Stream::Stderr };
    let left = vm.guest().host.lock().output_left();
    // One byte more than fits, so that the cut is noticed.
    let line = vm.text_start(text, left + 1).await?;
    vm.guest().host.lock().log_line(stream, &line);
    vm.undefined().await
}

async fn progress(vm: &mut Vm<'_>, fraction: u32, message: u32) -> Result<u32> {
    let fraction = vm.number(fraction).await?;
    let message = vm.text_start(message, MESSAGE_BYTES_MAX).await?;
    vm.guest().host.lock().progress(fraction, &message);
    vm.undefined().await
}

/// Answers with a text if the state is refused.
async fn checkpoint(vm: &mut Vm<'_>, kind: u32, state: u32) -> Result<u32> {
    let is_bytes = vm.number(kind).await? == 1.0;
    let bytes = match is_bytes {
        true => vm.bytes(state, CHECKPOINT_BYTES_MAX).await?,
        false => vm.text(state, CHECKPOINT_BYTES_MAX).await?,
    };
    let Some(bytes) = bytes else {
        return vm.new_string(b"a checkpoint has 1 MiB at the most").await;
    };
    let checkpoint = match is_bytes {
        true => Checkpoint {
            state: Json::string(&BASE64_STANDARD.encode(bytes)),
            encoding: Some(Encoding::Base64),
        },
        false => Checkpoint { state: Json::parse(String::from_utf8(bytes)?)?, encoding: None },
    };
    vm.guest().host.lock().checkpoint(checkpoint);
    vm.undefined().await
}

/// The task as JSON, with the checkpoint that an earlier attempt left unless that is bytes; undefined if the
/// run has none.
async fn task(vm: &mut Vm<'_>) -> Result<u32> {
    let text = vm.guest().host.lock().task.as_ref().map(|task| {
        let TaskContext { id, attempt, checkpoint } = task;
        let state = checkpoint.as_ref().filter(|checkpoint| checkpoint.encoding.is_none());
        let state = state.map_or("null", |checkpoint| checkpoint.state.text());
        format!(r#"{{"id":"{id}","attempt":{attempt},"checkpoint":{state}}}"#)
    });
    match text {
        Some(text) => vm.new_string(text.as_bytes()).await,
        None => vm.undefined().await,
    }
}

/// The checkpoint that an earlier attempt left, if it is bytes; or else undefined.
async fn state(vm: &mut Vm<'_>) -> Result<u32> {
    let text: Option<String> = {
        let host = vm.guest().host.lock();
        let checkpoint = host.task.as_ref().and_then(|task| task.checkpoint.as_ref());
        let bytes = checkpoint.filter(|checkpoint| checkpoint.encoding.is_some());
        bytes.map(|checkpoint| checkpoint.state.read()).transpose()?
    };
    match text {
        Some(text) => vm.new_uint8_array(&BASE64_STANDARD.decode(text)?).await,
        None => vm.undefined().await,
    }
}

/// The prelude has checked the length; a guest may have misled it.
async fn random(vm: &mut Vm<'_>, array: u32) -> Result<u32> {
    let (address, length) = vm.bytes_at(array).await?;
    if length > RANDOM_BYTES_MAX {
        return vm.new_string(b"getRandomValues fills 65,536 bytes at most").await;
    }
    let mut bytes = vec![0; length as usize];
    fill_random(&mut bytes)?;
    vm.write(address, &bytes)?;
    vm.undefined().await
}

/// Answers with undefined if the bytes must be valid and are not.
async fn decode(vm: &mut Vm<'_>, bytes: u32, fatal: u32) -> Result<u32> {
    let (address, length) = vm.bytes_at(bytes).await?;
    let is_valid = std::str::from_utf8(vm.read(address, length)?).is_ok();
    if is_valid {
        return vm.new_string_at((address, length)).await;
    }
    if vm.number(fatal).await? == 1.0 {
        return vm.undefined().await;
    }
    decode_lossy(vm, (address, length)).await
}

/// Replaces what is no UTF-8. The text is built in the guest's memory, which is counted, and piece
/// by piece, so that the run can be stopped in between.
async fn decode_lossy(vm: &mut Vm<'_>, (source, length): (u32, u32)) -> Result<u32> {
    // Each wrong byte becomes three.
    let Some(room_bytes) = length.checked_mul(3) else { bail!("out of memory") };
    let target = vm.room(room_bytes).await?;
    let (mut read, mut written) = (0, 0);
    while read < length {
        let piece = (length - read).min(DECODED_AT_ONCE_BYTES);
        let bytes = vm.read(source + read, piece)?;
        let (taken, text) = lossy_piece(bytes, read + piece == length);
        vm.write(target + written, text.as_bytes())?;
        read += taken;
        written += text.len() as u32;
        if let Some(stop) = vm.guest().meter.stop() {
            return Err(wasmtime::Error::new(stop));
        }
    }
    let text = vm.new_string_at((target, written)).await?;
    vm.free_room(target).await?;
    Ok(text)
}

/// Decodes a piece but for a character that may go on in the next; how many bytes that took.
fn lossy_piece(bytes: &[u8], is_last: bool) -> (u32, String) {
    // A character has four bytes at the most, so one that goes on began among the last three.
    let begun = bytes.iter().rev().take(3).position(|byte| *byte >= 0xc0);
    let whole = match begun {
        Some(back) if !is_last => bytes.len() - back - 1,
        _ => bytes.len(),
    };
    (whole as u32, String::from_utf8_lossy(&bytes[..whole]).into_owned())
}

fn fill_random(bytes: &mut [u8]) -> Result<()> {
    getrandom::fill(bytes).map_err(|error| format_err!("no randomness: {error}"))
}

fn wasi(linker: &mut Linker<Guest>) -> Result<()> {
    let wasi = "wasi_snapshot_preview1";
    linker.func_wrap(
        wasi,
        "clock_time_get",
        |mut caller: Caller<'_, Guest>, _: i32, _: i64, result: u32| {
            caller.data_mut().has_asked = true;
            let now_ns = CoarseClock::wall().as_nanos() as u64;
            write(&mut caller, result, &now_ns.to_le_bytes())
        },
    )?;
    linker.func_wrap(
        wasi,
        "random_get",
        |mut caller: Caller<'_, Guest>, address: u32, length: u32| {
            caller.data_mut().has_asked = true;
            // QuickJS asks for a few bytes to seed its hash tables.
            let mut bytes = vec![0; length.min(4096) as usize];
            fill_random(&mut bytes)?;
            write(&mut caller, address, &bytes)
        },
    )?;
    linker.func_wrap(wasi, "fd_close", |_: i32| NOT_SUPPORTED)?;
    linker.func_wrap(wasi, "fd_fdstat_get", |_: i32, _: i32| NOT_SUPPORTED)?;
    linker.func_wrap(wasi, "fd_seek", |_: i32, _: i64, _: i32, _: i32| NOT_SUPPORTED)?;
    linker.func_wrap(wasi, "fd_write", |_: i32, _: i32, _: i32, _: i32| NOT_SUPPORTED)?;
    Ok(())
}

fn write(caller: &mut Caller<'_, Guest>, address: u32, bytes: &[u8]) -> Result<i32> {
    let memory = caller.get_export("memory").and_then(Extern::into_memory);
    let memory = memory.ok_or_else(|| format_err!("quickjs.wasm exports no memory"))?;
    memory.write(caller, address as usize, bytes)?;
    Ok(SUCCESS)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;
    use runabout_protocol::Limits;
    use tokio::runtime::Handle;
    use tokio_util::sync::CancellationToken;
    use wasmtime::{Module, Store};

    use super::*;
    use crate::executor::Executor;
    use crate::host::Host;
    use crate::invocation::Silent;
    use crate::meter::{Meter, NodeMemory};

    /// Calls one import of a module that imports what QuickJS does.
    async fn has_asked_after(import: &str, call: &str) -> bool {
        let wat = format!(
            r#"(module (import "wasi_snapshot_preview1" {import}) (memory (export "memory") 1)
                (func (export "f") (drop (call 0 {call}))))"#
        );
        let engine = Engine::default();
        let bytes = wat::parse_str(wat).expect("is WAT");
        let module = Module::new(&engine, bytes).expect("is valid");
        let node = Arc::new(NodeMemory::new(1 << 20));
        let meter = Meter::new(Limits::default(), CancellationToken::new(), node);
        let host = Host::new(Arc::new(Silent), None);
        let executor = Executor::start(1, &Handle::current()).expect("a thread starts");
        let guest = Guest::new(Arc::new(meter), Arc::new(Mutex::new(host)), Arc::new(executor));
        let mut store = Store::new(&engine, guest);
        let linker = linker(&engine).expect("links");
        let instance = linker.instantiate_async(&mut store, &module).await.expect("fits");
        let function = instance.get_typed_func::<(), ()>(&mut store, "f").expect("is there");
        function.call_async(&mut store, ()).await.expect("returns");
        store.data().has_asked
    }

    #[tokio::test]
    async fn asking_for_time_or_chance_is_noticed() {
        let clock = r#""clock_time_get" (func (param i32 i64 i32) (result i32))"#;
        assert!(has_asked_after(clock, "(i32.const 0) (i64.const 0) (i32.const 0)").await);
        let random = r#""random_get" (func (param i32 i32) (result i32))"#;
        assert!(has_asked_after(random, "(i32.const 0) (i32.const 8)").await);
        let close = r#""fd_close" (func (param i32) (result i32))"#;
        assert!(!has_asked_after(close, "(i32.const 0)").await);
    }
}
