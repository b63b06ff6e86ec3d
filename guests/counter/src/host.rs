//! What Runabout offers a WebAssembly function: the imports of module `runabout`, made safe to call.

#[link(wasm_import_module = "runabout")]
unsafe extern "C" {
    #[link_name = "progress"]
    fn host_progress(fraction: f64, message: *const u8, message_bytes: usize);
    #[link_name = "log"]
    fn host_log(stream: i32, line: *const u8, line_bytes: usize);
    #[link_name = "checkpoint"]
    fn host_checkpoint(state: *const u8, state_bytes: usize);
    #[link_name = "checkpoint_size"]
    safe fn host_checkpoint_size() -> i32;
    #[link_name = "checkpoint_read"]
    fn host_checkpoint_read(buffer: *mut u8, buffer_bytes: usize) -> i32;
}

const STDOUT: i32 = 1;

/// Says how far the run is, from 0 to 1.
pub fn progress(fraction: f64, message: &str) {
    // SAFETY: pointer and length are those of a string that outlives the call.
    unsafe { host_progress(fraction, message.as_ptr(), message.len()) }
}

/// Writes a line to the run's standard output.
pub fn log(line: &str) {
    // SAFETY: pointer and length are those of a string that outlives the call.
    unsafe { host_log(STDOUT, line.as_ptr(), line.len()) }
}

/// Keeps a state that a later attempt at the same task will find.
pub fn checkpoint(state: &[u8]) {
    // SAFETY: pointer and length are those of a slice that outlives the call.
    unsafe { host_checkpoint(state.as_ptr(), state.len()) }
}

/// The state that an earlier attempt left, if there was one.
pub fn restore() -> Option<Vec<u8>> {
    // -1 says that there is none.
    let size = usize::try_from(host_checkpoint_size()).ok()?;
    let mut state = vec![0; size];
    // SAFETY: the host writes at most `state.len()` bytes into a buffer of that length.
    let written = unsafe { host_checkpoint_read(state.as_mut_ptr(), state.len()) };
    state.truncate(usize::try_from(written).ok()?);
    Some(state)
}
