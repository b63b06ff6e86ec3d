//! Memory that the process has freed and its allocators still hold: mimalloc for what is written in
//! Rust, the C library's own for SQLite and zstd.

/// Gives it back to the system, as far as the allocators can. Takes some milliseconds, and longer the
/// more there is; not for a thread that others wait for.
#[expect(unsafe_code, reason = "the allocators have no safe names for it")]
pub fn give_back_freed_memory() {
    // SAFETY: it takes the allocator's own locks, and touches only memory that nobody holds.
    unsafe { libmimalloc_sys::mi_collect(true) };
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: as above.
    unsafe {
        libc::malloc_trim(0);
    }
}
