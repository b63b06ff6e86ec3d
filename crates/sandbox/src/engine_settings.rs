//! The engine settings that ahead-of-time code depends on. Shared, word for word, by the build
//! script that compiles the JavaScript engine and by the sandbox that loads it: code compiled
//! under other settings does not load.

use wasmtime::{Config, Result};

/// Linear memories are reserved whole, so that no access needs a bounds check.
pub const MEMORY_RESERVATION_BYTES: u64 = 4 << 30;

/// Native stack for guest code. QuickJS stops a recursion after 512 KiB of its own stack; the
/// deepest recursion of its native code takes some ten times that of the processor's.
pub const WASM_STACK_BYTES: usize = 8 << 20;

/// Native stack beside it, for what the host does for a guest.
pub const HOST_STACK_BYTES: usize = 1 << 20;

/// The settings that decide what compiled code looks like.
///
/// # Errors
/// The host is not one that wasmtime compiles for.
pub fn compiled_code_settings() -> Result<Config> {
    let mut config = Config::new();
    config.memory_reservation(MEMORY_RESERVATION_BYTES);
    config.memory_may_move(false);
    config.memory_init_cow(true);
    config.wasm_memory64(false);
    config.shared_memory(false);
    config.wasm_threads(false);
    config.wasm_component_model(false);
    config.wasm_backtrace_max_frames(std::num::NonZeroUsize::new(20));
    // One thread compiles, so that one deploy cannot take every core from the runs.
    config.parallel_compilation(false);
    Ok(config)
}
