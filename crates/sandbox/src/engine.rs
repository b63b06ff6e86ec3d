//! The wasmtime engine of the process: its settings, its pool of instances, and the clock that
//! ticks every millisecond while something runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use wasmtime::{Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Result};

use crate::engine_settings::{
    HOST_STACK_BYTES, MEMORY_RESERVATION_BYTES, WASM_STACK_BYTES, compiled_code_settings,
};

/// The length of a tick: how long a guest runs before it is looked at.
pub const TICK: Duration = Duration::from_millis(1);

/// The ticker rests after this many ticks without a run.
const IDLE_TICKS_MAX: u32 = 100;

/// What a module may have of either.
const MEMORIES_PER_MODULE_MAX: u32 = 4;
const TABLES_PER_MODULE_MAX: u32 = 8;

/// Memory of an instance that stays resident after a run, so that the next one finds its pages
/// mapped; only those that were written to are set back.
const KEEP_RESIDENT_BYTES: usize = 512 << 10;

/// Where the system does not tell which pages were written to (Linux before 6.7), all that stays would
/// be set back, and brought in for that.
fn keep_resident_bytes() -> usize {
    if PoolingAllocationConfig::is_pagemap_scan_available() { KEEP_RESIDENT_BYTES } else { 0 }
}

/// Makes the engine with room for that many instances at once. How much memory each may have is for its
/// limits to say; the pool reserves addresses for the most that a module can declare.
pub fn new_engine(instances: u32) -> Result<Engine> {
    // A run may nest two calls (host function into guest), each on a stack of its own.
    let stacks = instances * 3;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_core_instances(instances)
        // As many as every one could have: they are addresses, not memory.
        .total_memories(instances * MEMORIES_PER_MODULE_MAX)
        .total_tables(instances * TABLES_PER_MODULE_MAX)
        .total_stacks(stacks)
        .max_memories_per_module(MEMORIES_PER_MODULE_MAX)
        .max_tables_per_module(TABLES_PER_MODULE_MAX)
        .max_memory_size(MEMORY_RESERVATION_BYTES as usize)
        .table_elements(100_000)
        .max_core_instance_size(4 << 20)
        .linear_memory_keep_resident(keep_resident_bytes())
        .table_keep_resident(64 << 10)
        .pagemap_scan(Enabled::Auto);
    let mut config = compiled_code_settings()?;
    config.max_wasm_stack(WASM_STACK_BYTES);
    config.async_stack_size(WASM_STACK_BYTES + HOST_STACK_BYTES);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Engine::new(&config)
}

/// Ticks while there are runs.
pub struct Ticker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    active: AtomicUsize,
    resting: AtomicBool,
    closed: AtomicBool,
}

/// Keeps the clock ticking while it lives.
pub struct Ticking<'a>(&'a Ticker);

impl Ticker {
    /// Starts the clock. `on_tick` is called at every tick, and must not take long.
    pub fn start(mut on_tick: impl FnMut() + Send + 'static) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            active: AtomicUsize::new(0),
            resting: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        });
        let for_thread = shared.clone();
        let thread = thread::Builder::new()
            .name("ticker".to_owned())
            .spawn(move || tick(&mut on_tick, &for_thread))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    pub fn keep_ticking(&self) -> Ticking<'_> {
        self.shared.active.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        if self.shared.resting.load(std::sync::atomic::Ordering::SeqCst) {
            self.wake();
        }
        Ticking(self)
    }

    fn wake(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl Drop for Ticking<'_> {
    fn drop(&mut self) {
        self.0.shared.active.fetch_sub(1, Relaxed);
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.closed.store(true, Relaxed);
        self.wake();
        if let Some(thread) = self.thread.take() {
            // The ticker cannot panic.
            let _ = thread.join();
        }
    }
}

fn tick(on_tick: &mut dyn FnMut(), shared: &Shared) {
    use std::sync::atomic::Ordering::SeqCst;
    let mut idle_ticks = 0;
    while !shared.closed.load(Relaxed) {
        if idle_ticks < IDLE_TICKS_MAX {
            thread::sleep(TICK);
        } else {
            shared.resting.store(true, SeqCst);
            // A run that began before it could see us resting is seen here.
            if shared.active.load(SeqCst) == 0 && !shared.closed.load(SeqCst) {
                thread::park();
            }
            shared.resting.store(false, SeqCst);
        }
        on_tick();
        idle_ticks = if shared.active.load(SeqCst) == 0 { idle_ticks.saturating_add(1) } else { 0 };
    }
}
