//! Instances of QuickJS: made for a run, or put back to the snapshot after an earlier one. Which it is
//! makes no difference to the run.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::thread;

use wasmtime::{
    Engine, Extern, Global, Instance, InstancePre, Memory, Module, Result, Store, Val, format_err,
};

use super::host_calls;
use super::layout;
use super::vm::{Exports, JsState};
use crate::guest::{Guest, Nobody, new_store};
use crate::idle::Idle;
use crate::pages::{LONG, give_back};
use crate::rewind::{Faults, OwnPages, PageMap};
use crate::stack::Running;

/// The heap as every run begins with it.
pub static HEAP: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/quickjs_heap.bin"));

/// The stack, which is zeros, and the heap above it.
const SNAPSHOT_BYTES: usize = layout::HEAP as usize + HEAP.len();

/// The most instances that wait for a run. Each holds some hundred kilobytes meanwhile.
pub const IDLE_MAX: usize = 16;

/// What a run begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Source, which it reads.
    Source,
    /// What an earlier run has made of its source. It writes to far fewer pages, and so an instance of its
    /// own kind has far fewer to put back.
    Compiled,
    /// What an earlier run's top level has left.
    Evaluated,
}

/// Where instances come from, and where they go when they can be used again.
pub struct Instances {
    pre: InstancePre<Guest>,
    exports: Arc<Exports>,
    /// `None` if the system does not tell what a run has written to: then none is used again.
    system: Option<Arc<PageMap>>,
    /// All put back to the snapshot.
    idle: Idle<Ready>,
    nobody: Nobody,
}

/// An instance as every run begins with it, in a store of its own.
pub struct Ready {
    running: Running,
    instance: Instance,
    memory: Memory,
    stack_pointer: Global,
    /// What its memory and its table count for.
    counted_bytes: u64,
    own_pages: OwnPages,
    /// `None` if it is used once.
    start: Option<Start>,
    /// The page faults that the thread of the run had had before.
    faults: Option<Faults>,
    /// A run has been in it since it was made or put back.
    is_used: bool,
}

/// Nobody will put it back: what a run has written to goes back to the system, unless it was so short that
/// whoever comes next does better with the pages that it leaves to the engine's pool.
impl Drop for Ready {
    fn drop(&mut self) {
        let is_long = self.running.data().meter.started().elapsed() >= LONG;
        if self.is_used && is_long && !thread::panicking() {
            give_back(self.memory.data_mut(&mut *self.running));
        }
    }
}

impl Deref for Ready {
    type Target = Store<Guest>;

    fn deref(&self) -> &Store<Guest> {
        &self.running
    }
}

impl DerefMut for Ready {
    fn deref_mut(&mut self) -> &mut Store<Guest> {
        &mut self.running
    }
}

impl Instances {
    /// # Errors
    /// The module is none of QuickJS.
    pub fn new(engine: &Engine, module: &Module, system: Option<Arc<PageMap>>) -> Result<Self> {
        Ok(Self {
            pre: host_calls::linker(engine)?.instantiate_pre(module)?,
            exports: Arc::new(Exports::find(module)?),
            system,
            idle: Idle::new(IDLE_MAX),
            nobody: Nobody::new(),
        })
    }

    /// An instance for a guest.
    ///
    /// # Errors
    /// There is no room for one, in the guest's limit of memory or in the pool.
    pub async fn get(&self, guest: Guest, start: Option<Start>) -> Result<Ready> {
        let idle = start.and_then(|start| self.idle.take(|ready| ready.start == Some(start)));
        let mut ready = match idle {
            Some(ready) if !guest.meter.take_memory(ready.counted_bytes) => {
                self.idle.keep(ready);
                return Err(format_err!("out of memory"));
            }
            Some(mut ready) => {
                *ready.data_mut() = guest;
                ready
            }
            None => Box::pin(self.make(guest, start)).await?,
        };
        ready.is_used = true;
        // Not before: whoever waits for an instance may come back on another thread.
        ready.faults = self.system.as_ref().map(|system| system.faults());
        let js = JsState::new(ready.instance, ready.memory, self.exports.clone());
        ready.data_mut().js = Some(js);
        Ok(ready)
    }

    async fn make(&self, guest: Guest, start: Option<Start>) -> Result<Ready> {
        let meter = guest.meter.clone();
        let mut running = Running::new(new_store(self.pre.module().engine(), guest));
        let store = &mut *running;
        let counted_before = meter.memory_bytes();
        let instance = self.pre.instantiate_async(&mut *store).await?;
        let counted_bytes = meter.memory_bytes() - counted_before;
        let memory = instance.get_module_export(&mut *store, &self.exports.memory);
        let memory = memory
            .and_then(Extern::into_memory)
            .ok_or_else(|| format_err!("quickjs.wasm exports no memory"))?;
        let pointer = instance.get_module_export(&mut *store, &self.exports.stack_pointer);
        let stack_pointer = pointer
            .and_then(Extern::into_global)
            .ok_or_else(|| format_err!("quickjs.wasm exports no stack pointer"))?;
        let own_pages = OwnPages::default();
        let is_used = false;
        Ok(Ready {
            running,
            instance,
            memory,
            stack_pointer,
            counted_bytes,
            own_pages,
            start,
            faults: None,
            is_used,
        })
    }

    /// Takes an instance back in which a run has come to its end. It is put back to the snapshot, or given
    /// up. A run that has waited may have been on other threads than the one that it began on.
    pub fn take_back(&self, mut ready: Ready, has_waited: bool) {
        let Some((system, before)) = self.system.as_ref().zip(ready.faults.as_ref()) else {
            return;
        };
        let has_faulted = has_waited || system.have_been_since(before);
        let is_wanted = ready.start.is_some() && self.idle.has_room();
        if is_wanted && ready.put_back(system, has_faulted) {
            let executor = ready.data().executor();
            *ready.data_mut() = self.nobody.guest(executor);
            self.idle.keep(ready);
        }
    }

    /// Lets those go that wait; false if there are none.
    pub fn forget(&self) -> bool {
        !self.idle.take_all().is_empty()
    }
}

impl Ready {
    fn put_back(&mut self, system: &PageMap, has_faulted: bool) -> bool {
        if has_faulted {
            // Without a page fault it has none that was not there before.
            self.running.give_stack_back();
        }
        let store = &mut *self.running;
        let memory = self.memory.data_mut(&mut *store);
        let is_memory_back = memory.len() == SNAPSHOT_BYTES
            && self.own_pages.put_back(memory, system, has_faulted, begin);
        if !is_memory_back {
            return false;
        }
        let at_rest = Val::I32(layout::HEAP as i32);
        let is_back = self.stack_pointer.set(&mut *store, at_rest).is_ok();
        self.is_used = !is_back;
        is_back
    }
}

/// Writes a page of the snapshot.
fn begin(start: usize, page: &mut [u8]) {
    match start.checked_sub(layout::HEAP as usize) {
        Some(start) => page.copy_from_slice(&HEAP[start..start + page.len()]),
        None => page.fill(0),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use runabout_protocol::{Arguments, Json, Limits, Outcome};
    use tokio::task::JoinSet;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::{Config, Invocation, Sandbox, Silent, SourceLanguage, accept};

    /// Each leaves something of another kind behind.
    const SCRIPTS: &[&str] = &[
        "1",
        "export default () => 0",
        "globalThis.left = 'behind'; Object.prototype.left = 1; Array.prototype.map = 7; 0",
        "export default async (a) => { await null; console.log(a); return Math.random() }",
        "export default () => { throw new Error('thrown') }",
        "export default () => Promise.reject(1)",
        "export default (a) => { const all = []; for (let i = 0; i < 400; i++) all.push({ i, a }); return all }",
        "const down = (n) => n === 0 ? 0 : 1 + down(n - 1); down(500)",
        "const down = (n) => 1 + down(n + 1); try { down(0) } catch (error) { error.name }",
        "export default () => new Uint8Array([1, 2, 3])",
        "export default () => new Promise((done) => setTimeout(done, 1, 'later'))",
        "setTimeout(() => console.log('never mind'), 1); 2",
        "JSON.parse(JSON.stringify({ a: [1, 'two', { three: 3 }] })).a[1].repeat(3000).length",
        "export default () => { for (let i = 0; i < 300000; i++); return 'long' }",
        "new RegExp('(a+)+b').test('aaaaaaaaaaaa')",
        "export default (",
    ];

    fn start() -> Sandbox {
        Sandbox::new(Config::for_this_machine()).expect("the sandbox starts")
    }

    async fn run(sandbox: &Sandbox, source: &'static str, memory_bytes: u64) -> Outcome {
        let source = Bytes::from_static(source.as_bytes());
        let Ok(accepted) = accept(source, SourceLanguage::JavaScript) else {
            return Outcome::Cancelled;
        };
        let (digest, form) = (accepted.digest, accepted.form);
        let program = sandbox.prepare(digest, accepted.language, form, accepted.bytes).await;
        let invocation = Invocation {
            export: None,
            args: Arguments {
                values: Json::parse("[1]".to_owned()).expect("is JSON"),
                encoding: None,
            },
            stdin: None,
            limits: Limits { memory_bytes, ..Limits::default() },
            task: None,
            observer: Arc::new(Silent),
            cancel: CancellationToken::new(),
        };
        sandbox.run(&program.expect("is read"), invocation).await.expect("runs").outcome
    }

    fn idle(sandbox: &Sandbox) -> usize {
        sandbox.inner.quickjs.instances.idle.count()
    }

    /// Looks at all that waits, and how much that was. What is read becomes the memory's own, too, so that
    /// it is not used again.
    fn look_at_all(sandbox: &Sandbox) -> usize {
        let mut idle = sandbox.inner.quickjs.instances.idle.take_all();
        for ready in &mut idle {
            let pointer = ready.stack_pointer.get(&mut *ready.running);
            assert_eq!(pointer.i32(), Some(layout::HEAP as i32));
            let memory = ready.memory.data(&*ready.running);
            let (stack, heap) = memory.split_at(layout::HEAP as usize);
            assert!(stack.iter().all(|byte| *byte == 0), "something is left of a stack");
            assert!(heap == HEAP, "something is left on the heap");
        }
        idle.len()
    }

    #[tokio::test]
    async fn nothing_of_a_run_is_left_in_its_instance() {
        let sandbox = start();
        let mut looked_at = 0;
        // Every one after every other one, and often enough that what was read is kept, and that an
        // instance in which one has run is used for the other.
        for first in SCRIPTS {
            for second in SCRIPTS {
                for source in [first, first, first, second, second, second] {
                    run(&sandbox, source, 64 << 20).await;
                }
                looked_at += look_at_all(&sandbox);
            }
        }
        assert!(looked_at > SCRIPTS.len() * SCRIPTS.len() / 2, "only {looked_at}");
    }

    #[tokio::test]
    async fn where_the_system_tells_nothing_every_run_has_an_instance_of_its_own() {
        let mut sandbox = start();
        let inner = Arc::get_mut(&mut sandbox.inner).expect("nobody else has it");
        inner.quickjs.instances.system = None;
        for source in SCRIPTS {
            run(&sandbox, source, 64 << 20).await;
            assert_eq!(idle(&sandbox), 0, "{source}");
        }
        let sum = run(&sandbox, "1 + 2", 64 << 20).await;
        assert!(matches!(sum, Outcome::Returned(value) if value.value.text() == "3"));
    }

    #[tokio::test]
    async fn an_instance_is_used_again() {
        let sandbox = start();
        for (index, source) in SCRIPTS[..5].iter().cycle().take(200).enumerate() {
            run(&sandbox, source, 64 << 20).await;
            // One that reads source, one that begins with what was kept of it the second time, and one with
            // what a top level has left the third time.
            let expected = match index {
                ..10 => 1,
                10..16 => 2,
                _ => 3,
            };
            assert_eq!(idle(&sandbox), expected, "{index}: {source}");
        }
    }

    #[tokio::test]
    async fn a_memory_that_has_grown_is_given_up() {
        let sandbox = start();
        run(&sandbox, "'x'.repeat(4 << 20).length", 64 << 20).await;
        assert_eq!(idle(&sandbox), 0);
    }

    #[tokio::test]
    async fn an_instance_that_waits_counts_for_nobody_and_then_for_its_run() {
        let sandbox = start();
        for expected in [0, 1] {
            assert_eq!(idle(&sandbox), expected);
            let refused = run(&sandbox, "1", 1 << 20).await;
            assert!(matches!(refused, Outcome::OutOfMemory { .. }), "{refused:?}");
            assert_eq!(idle(&sandbox), expected);
            assert!(matches!(run(&sandbox, "1", 64 << 20).await, Outcome::Returned(_)));
            assert_eq!(sandbox.memory_used_bytes(), 0);
        }
    }

    #[tokio::test]
    async fn what_has_ended_counts_no_more_for_anybody() {
        let sandbox = start();
        // It ends on a compute thread, which goes on a little when the outcome is there.
        let source = "export default () => new Promise((done) => setTimeout(done, 1))";
        for _ in 0..200 {
            run(&sandbox, source, 64 << 20).await;
            assert_eq!(sandbox.memory_used_bytes(), 0);
        }
    }

    #[tokio::test]
    async fn no_more_wait_than_are_wanted() {
        let sandbox = start();
        let mut runs = JoinSet::new();
        for _ in 0..3 * IDLE_MAX {
            let sandbox = sandbox.clone();
            // Long enough for all of them to be under way at once.
            let source = "export default () => new Promise((done) => setTimeout(done, 1000))";
            runs.spawn(async move { run(&sandbox, source, 64 << 20).await });
        }
        runs.join_all().await;
        assert_eq!(idle(&sandbox), IDLE_MAX);
        assert_eq!(look_at_all(&sandbox), IDLE_MAX);
    }
}
