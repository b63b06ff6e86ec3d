//! Memory that the process has freed and its allocator still holds.

/// Gives it back to the system, as far as the allocator can. Takes some milliseconds, and longer the
/// more there is; not for a thread that others wait for.
pub fn give_back_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it takes the allocator's own locks, and touches only memory that nobody holds.
    #[expect(unsafe_code, reason = "the C library has no safe name for it")]
    unsafe {
        libc::malloc_trim(0);
    }
}
