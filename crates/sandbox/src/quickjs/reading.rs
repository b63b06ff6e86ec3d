//! What QuickJS makes of a program's source, kept from one run for the next. Reading source runs none
//! of it, so that what reading leaves in memory follows from the snapshot and the source alone:
//! whoever finds it there finds nothing of another run.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use wasmtime::Result;

use super::instance::HEAP;
use super::instance::Start;
use super::layout;
use super::vm::{Evaluation, Vm};

/// How finely changes are told apart.
const BLOCK_BYTES: usize = 64;

/// The most that is kept of a reading: a part of what all programs together may take.
const KEPT_BYTES_MAX: usize = 16 << 20;

/// Source, and what reading it once has made of it.
pub struct Reading {
    evaluation: Evaluation,
    /// What runs once is not worth keeping: the second run keeps it.
    was_run: AtomicBool,
    kept: OnceLock<Kept>,
    /// Whoever counts what is kept has not counted it yet.
    is_newly_kept: AtomicBool,
}

/// What reading changed on the heap.
struct Kept {
    /// The compiled code, a value on that heap.
    compiled: u64,
    heap_bytes: usize,
    /// Where changes begin, and how long they are; in order.
    spans: Vec<(usize, usize)>,
    /// The bytes of all of them.
    bytes: Vec<u8>,
}

impl Reading {
    pub fn of(evaluation: Evaluation) -> Self {
        Self {
            evaluation,
            was_run: AtomicBool::new(false),
            kept: OnceLock::new(),
            is_newly_kept: AtomicBool::new(false),
        }
    }

    pub fn evaluation(&self) -> Evaluation {
        self.evaluation
    }

    /// What a run of it begins with; `None` if that does not fit the memory that others begin with.
    pub fn start(&self) -> Option<Start> {
        match self.kept.get() {
            None => Some(Start::Source),
            Some(kept) => (kept.heap_bytes <= HEAP.len()).then_some(Start::Compiled),
        }
    }

    /// The memory that it holds.
    pub fn kept_bytes(&self) -> usize {
        self.kept.get().map_or(0, |kept| kept.bytes.len() + size_of_val(&kept.spans[..]))
    }

    /// Whether something was kept since this was last asked.
    pub fn is_newly_kept(&self) -> bool {
        self.is_newly_kept.load(Relaxed) && self.is_newly_kept.swap(false, Relaxed)
    }

    /// Brings the compiled code about in an instance that has run nothing yet. `None` if it cannot
    /// be read; the exception waits.
    pub async fn read(&self, vm: &mut Vm<'_>, source: &[u8]) -> Result<Option<u64>> {
        if let Some(kept) = self.kept.get() {
            kept.put(vm.heap_of(kept.heap_bytes).await?);
            return Ok(Some(kept.compiled));
        }
        vm.guest_mut().has_asked = false;
        let compiled = Box::pin(vm.compile(source, self.evaluation)).await?;
        if let Some(compiled) = compiled
            && self.was_run.swap(true, Relaxed)
            // What came of the time or of chance is this run's alone.
            && !vm.guest().has_asked
            && let Some(kept) = Kept::find(vm.heap()?, compiled)
            // Another run may have been faster; what it kept is the same.
            && self.kept.set(kept).is_ok()
        {
            self.is_newly_kept.store(true, Relaxed);
        }
        Ok(compiled)
    }
}

impl Kept {
    /// `None` if there is more than is kept.
    fn find(heap: &[u8], compiled: u64) -> Option<Self> {
        // What stands in the room for sources is read once, and not looked at again.
        let room = (layout::SOURCE - layout::HEAP) as usize;
        let room = room..room + layout::SOURCE_BYTES_MAX as usize;
        let mut spans: Vec<(usize, usize)> = Vec::new();
        let mut bytes = Vec::new();
        for (index, block) in heap.chunks(BLOCK_BYTES).enumerate() {
            let start = index * BLOCK_BYTES;
            let is_in_room = room.start <= start && start + block.len() <= room.end;
            if is_in_room || is_unchanged(start, block) {
                continue;
            }
            match spans.last_mut() {
                Some((first, length)) if *first + *length == start => *length += block.len(),
                _ => spans.push((start, block.len())),
            }
            bytes.extend_from_slice(block);
            if bytes.len() > KEPT_BYTES_MAX {
                return None;
            }
        }
        spans.shrink_to_fit();
        bytes.shrink_to_fit();
        Some(Self { compiled, heap_bytes: heap.len(), spans, bytes })
    }

    fn put(&self, heap: &mut [u8]) {
        let mut bytes = &self.bytes[..];
        for (start, length) in &self.spans {
            let (span, rest) = bytes.split_at(*length);
            heap[*start..start + length].copy_from_slice(span);
            bytes = rest;
        }
    }
}

/// Whether a block is as every run begins with it; beyond the snapshot there are zeros.
fn is_unchanged(start: usize, block: &[u8]) -> bool {
    match HEAP.get(start..start + block.len()) {
        Some(before) => before == block,
        None => block.iter().all(|byte| *byte == 0),
    }
}
