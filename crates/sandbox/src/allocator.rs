//! Memory that the process has freed and its allocator still holds.

/// Gives it back to the system, as far as the allocator can, if it is mimalloc: in a binary with another one
/// nothing comes of it. Takes some milliseconds, and longer the
/// more there is; not for a thread that others wait for.
#[expect(unsafe_code, reason = "the allocator has no safe name for it")]
pub fn give_back_freed_memory() {
    // SAFETY: it takes the allocator's own locks, and touches only memory that nobody holds.
    unsafe { libmimalloc_sys::mi_collect(true) };
}
