//! What is said to the system about the pages of guests' memories.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use rustix::mm::{Advice, madvise};
use wasmtime::{Extern, Instance, Module, ModuleExport};

use crate::counted::MEMORY_PREFIX;
use crate::stack::Running;

/// Beside a run that took so long, having its pages brought in again takes next to nothing.
pub const LONG: Duration = Duration::from_millis(5);

/// A guest's instance. When it is dropped, however the run has ended, what the run has written to goes
/// back to the system, unless it was so short that whoever comes next does better with the pages that it
/// leaves to the engine's pool.
pub struct Instantiated {
    pub running: Running,
    pub instance: Instance,
    /// Where its memories are.
    pub memories: Arc<[ModuleExport]>,
}

impl Drop for Instantiated {
    fn drop(&mut self) {
        let store = &mut *self.running;
        let is_long = store.data().meter.started().elapsed() >= LONG;
        if !is_long || thread::panicking() {
            return;
        }
        for place in &*self.memories {
            let memory = self.instance.get_module_export(&mut *store, place);
            if let Some(memory) = memory.and_then(Extern::into_memory) {
                give_back(memory.data_mut(&mut *store));
            }
        }
    }
}

/// Where the memories of a counted module are, each once.
pub fn memories(module: &Module) -> Arc<[ModuleExport]> {
    let names = module.exports().map(|export| export.name());
    let memories = names.filter(|name| name.starts_with(MEMORY_PREFIX));
    memories.filter_map(|name| module.get_export_index(name)).collect()
}

/// Gives all pages back that are the memory's own: they are again as its module has them.
pub fn give_back(memory: &mut [u8]) {
    if let Err(error) = advise(memory, Advice::LinuxDontNeed) {
        tracing::debug!(%error, "a memory was not given back");
    }
}

/// Has the system never put a large page in the place of small ones, which would be the memory's own
/// without a page fault.
pub fn keep_small(memory: &mut [u8]) -> bool {
    // A kernel without large pages does not know the advice.
    matches!(advise(memory, Advice::LinuxNoHugepage), Ok(()) | Err(Errno::INVAL))
}

#[expect(unsafe_code, reason = "the engine has no name for it")]
fn advise(memory: &mut [u8], advice: Advice) -> Result<(), Errno> {
    // SAFETY: it is the memory of an instance that does not run, borrowed whole, and of whole pages. The
    // engine maps it privately: without pages of its own it has the bytes that it began with.
    unsafe { madvise(memory.as_mut_ptr().cast(), memory.len(), advice) }
}
