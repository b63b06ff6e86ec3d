//! The host interface as Wasm imports from the module `runabout`. The words and their shapes are
//! in `docs/host-interface.md`.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use runabout_protocol::{Checkpoint, Encoding, Json, Stream};
use wasmtime::{Caller, Engine, Extern, Linker, Result, bail, format_err};
use wasmtime_wasi::p1;

use crate::guest::{Guest, add_looks};
use crate::host::{CHECKPOINT_BYTES_MAX, MESSAGE_BYTES_MAX};

/// The module that the host interface is imported from.
pub const MODULE: &str = "runabout";

/// What can be imported from it.
pub const NAMES: &[&str] = &["progress", "log", "checkpoint", "checkpoint_size", "checkpoint_read"];

/// Everything a module may import.
pub fn linker(engine: &Engine) -> Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    p1::add_to_linker_async(&mut linker, |guest: &mut Guest| {
        guest.wasi.as_mut().expect("a run that imports WASI is given its context before it starts")
    })?;
    add_looks(&mut linker)?;
    linker.func_wrap(MODULE, "progress", progress)?;
    linker.func_wrap(MODULE, "log", log)?;
    linker.func_wrap(MODULE, "checkpoint", checkpoint)?;
    linker.func_wrap(MODULE, "checkpoint_size", checkpoint_size)?;
    linker.func_wrap(MODULE, "checkpoint_read", checkpoint_read)?;
    Ok(linker)
}

fn progress(mut caller: Caller<'_, Guest>, fraction: f64, text: i32, length: i32) -> Result<()> {
    let message = read(&mut caller, text, length)?;
    // Only what will be told is copied: a guest may hand over all of its memory.
    let message = message[..message.len().min(MESSAGE_BYTES_MAX)].to_vec();
    caller.data().host.lock().progress(fraction, &message);
    Ok(())
}

fn log(mut caller: Caller<'_, Guest>, stream: i32, text: i32, length: i32) -> Result<()> {
    let stream = match stream {
        1 => Stream::Stdout,
        2 => Stream::Stderr,
        other => bail!("runabout.log: stream {other} is neither 1 (stdout) nor 2 (stderr)"),
    };
    let left = caller.data().host.lock().output_left();
    let text = read(&mut caller, text, length)?;
    // One byte more than fits, so that the cut is noticed.
    let line = text[..text.len().min(left + 1)].to_vec();
    caller.data().host.lock().log_line(stream, &line);
    Ok(())
}

fn checkpoint(mut caller: Caller<'_, Guest>, state: i32, length: i32) -> Result<()> {
    let state = read(&mut caller, state, length)?;
    if state.len() > CHECKPOINT_BYTES_MAX {
        bail!("runabout.checkpoint: the state has {} bytes, 1 MiB is the most", state.len());
    }
    let state = Json::string(&BASE64_STANDARD.encode(state));
    let checkpoint = Checkpoint { state, encoding: Some(Encoding::Base64) };
    caller.data().host.lock().checkpoint(checkpoint);
    Ok(())
}

/// The size of what an earlier attempt left; -1 if none did.
fn checkpoint_size(caller: Caller<'_, Guest>) -> Result<i32> {
    Ok(kept_state(&caller)?.map_or(-1, |state| state.len() as i32))
}

/// Copies what an earlier attempt left, as much as fits; tells how much that was, or -1.
fn checkpoint_read(mut caller: Caller<'_, Guest>, target: i32, length: i32) -> Result<i32> {
    let Some(state) = kept_state(&caller)? else { return Ok(-1) };
    let count = state.len().min(length as u32 as usize);
    let memory = memory(&mut caller)?;
    memory.write(&mut caller, target as u32 as usize, &state[..count])?;
    Ok(count as i32)
}

fn kept_state(caller: &Caller<'_, Guest>) -> Result<Option<Vec<u8>>> {
    let host = caller.data().host.lock();
    let Some(checkpoint) = host.task.as_ref().and_then(|task| task.checkpoint.as_ref()) else {
        return Ok(None);
    };
    if checkpoint.encoding.is_none() {
        return Ok(Some(checkpoint.state.text().as_bytes().to_vec()));
    }
    let text: String = checkpoint.state.read()?;
    Ok(Some(BASE64_STANDARD.decode(text)?))
}

fn read<'a>(caller: &'a mut Caller<'_, Guest>, start: i32, length: i32) -> Result<&'a [u8]> {
    let memory = memory(caller)?;
    let start = start as u32 as usize;
    let end = start + length as u32 as usize;
    memory
        .data(caller)
        .get(start..end)
        .ok_or_else(|| format_err!("bytes {start}..{end} lie outside the module's memory"))
}

fn memory(caller: &mut Caller<'_, Guest>) -> Result<wasmtime::Memory> {
    caller
        .get_export("memory")
        .and_then(Extern::into_memory)
        .ok_or_else(|| format_err!("the module exports no memory named \"memory\""))
}
