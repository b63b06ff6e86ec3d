//! What compiling took is free again afterwards. One test, as it counts all that the process holds.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicIsize, Ordering};

use common::program;
use runabout_sandbox::{Config, Sandbox, SourceLanguage};

/// The system's allocator, and how many bytes it has given out.
struct Counting;

static HELD_BYTES: AtomicIsize = AtomicIsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[expect(unsafe_code, reason = "an allocator is unsafe by nature")]
// SAFETY: it hands everything on as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD_BYTES.fetch_add(layout.size().cast_signed(), Ordering::Relaxed);
        // SAFETY: as this is called.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD_BYTES.fetch_sub(layout.size().cast_signed(), Ordering::Relaxed);
        // SAFETY: as this is called.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Has one function, with as many of them as fit.
fn large_function(additions: usize) -> String {
    let mut wat = "(module (func (export \"default\") (param i32) (result i32)".to_owned();
    for _ in 0..additions {
        wat.push_str(" (local.set 0 (i32.div_s (i32.const 9) (local.get 0)))");
    }
    write!(wat, "(local.get 0)))").expect("fits");
    wat
}

#[tokio::test]
async fn the_largest_function_leaves_nothing_with_the_engine() {
    let config = Config { concurrent_runs_max: 4, threads: 1, ..Config::for_this_machine() };
    let sandbox = Sandbox::new(config).expect("starts");
    drop(program(&sandbox, &large_function(1), SourceLanguage::Wasm).await);
    let before = HELD_BYTES.load(Ordering::Relaxed);
    drop(program(&sandbox, &large_function(40_000), SourceLanguage::Wasm).await);
    let held = HELD_BYTES.load(Ordering::Relaxed) - before;
    // What stays is the program itself, which is kept for those who ask for it again.
    assert!(held < 8 << 20, "{held} bytes");
}
