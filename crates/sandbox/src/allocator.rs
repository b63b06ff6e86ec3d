//! Memory that the process has freed and its allocator still holds, if that is mimalloc: in a binary with
//! another one nothing comes of what is asked here.

/// Gives it back to the system, as far as the allocator can. Takes some milliseconds, and longer the
/// more there is; not for a thread that others wait for.
#[expect(unsafe_code, reason = "the allocator has no safe name for it")]
pub fn give_back_freed_memory() {
    // SAFETY: it takes the allocator's own locks, and touches only memory that nobody holds.
    unsafe { libmimalloc_sys::mi_collect(true) };
}

/// `mi_option_purge_delay` in mimalloc.h.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// Has the allocator give back soon what is free in pieces of 64 KiB, which it would keep for a second: by
/// then much of it is in use for something else, and stays for good with all that was ever written to it.
/// `MIMALLOC_PURGE_DELAY` in the environment goes before this.
#[expect(unsafe_code, reason = "the allocator has no safe name for it")]
pub fn give_back_soon() {
    const MILLISECONDS: std::ffi::c_long = 10;
    // SAFETY: it sets a number that the allocator reads anew each time.
    unsafe { libmimalloc_sys::mi_option_set_default(PURGE_DELAY, MILLISECONDS) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(unsafe_code, reason = "the allocator has no safe name for it")]
    fn the_number_is_that_of_the_delay() {
        // SAFETY: it reads a number.
        let delay = || unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) };
        assert_eq!(delay(), 1000, "what this version of the allocator begins with");
        give_back_soon();
        assert_eq!(delay(), 10);
    }
}
