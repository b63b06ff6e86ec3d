//! The few functions of WASI preview 1 that a command needs to read and write. Declared by hand,
//! because the target with a standard library for WASI is not to be had everywhere.

use std::ffi::CStr;

#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    fn args_sizes_get(count: *mut usize, bytes: *mut usize) -> u16;
    fn args_get(pointers: *mut *const u8, bytes: *mut u8) -> u16;
    fn fd_read(fd: u32, buffers: *const ReadBuffer, count: usize, read: *mut usize) -> u16;
    fn fd_write(fd: u32, buffers: *const WriteBuffer, count: usize, written: *mut usize) -> u16;
    safe fn proc_exit(code: u32) -> !;
}

#[repr(C)]
struct ReadBuffer {
    start: *mut u8,
    bytes: usize,
}

#[repr(C)]
struct WriteBuffer {
    start: *const u8,
    bytes: usize,
}

/// A file that every command finds open.
#[derive(Clone, Copy)]
pub enum File {
    /// Standard input.
    Stdin = 0,
    /// Standard output.
    Stdout = 1,
    /// Standard error.
    Stderr = 2,
}

/// Exit code for input or output that failed.
const IO_FAILED: u32 = 74;

/// The command's arguments, the first of which is its own name.
pub fn args() -> Vec<String> {
    let (mut count, mut bytes) = (0, 0);
    // SAFETY: both pointers are those of variables that outlive the call.
    check(unsafe { args_sizes_get(&raw mut count, &raw mut bytes) });
    let mut pointers = vec![std::ptr::null(); count];
    let mut text = vec![0; bytes];
    // SAFETY: the host writes `count` pointers and `bytes` bytes, for which both have room.
    check(unsafe { args_get(pointers.as_mut_ptr(), text.as_mut_ptr()) });
    // The pointers lead into `text`, where the arguments stand one after the other, each ended by a
    // zero; splitting there needs no unsafe code.
    text.split_inclusive(|byte| *byte == 0)
        .filter_map(|arg| CStr::from_bytes_with_nul(arg).ok())
        .map(|arg| arg.to_string_lossy().into_owned())
        .collect()
}

/// Reads what is there into `buffer`; 0 means the end.
pub fn read(file: File, buffer: &mut [u8]) -> usize {
    let target = ReadBuffer { start: buffer.as_mut_ptr(), bytes: buffer.len() };
    let mut read = 0;
    // SAFETY: `target` describes `buffer`, which nobody else touches during the call.
    check(unsafe { fd_read(file as u32, &raw const target, 1, &raw mut read) });
    read
}

/// Writes all of `bytes`.
pub fn write_all(file: File, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let source = WriteBuffer { start: bytes.as_ptr(), bytes: bytes.len() };
        let mut written = 0;
        // SAFETY: `source` describes `bytes`, which outlives the call.
        check(unsafe { fd_write(file as u32, &raw const source, 1, &raw mut written) });
        if written == 0 {
            exit(IO_FAILED);
        }
        bytes = bytes.get(written..).unwrap_or_default();
    }
}

/// Ends the command.
pub fn exit(code: u32) -> ! {
    proc_exit(code)
}

fn check(errno: u16) {
    if errno != 0 {
        exit(IO_FAILED);
    }
}
