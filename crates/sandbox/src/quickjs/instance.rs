//! Instances of QuickJS: made for a run, or put back to the snapshot after an earlier one. Which it is
//! makes no difference to the run.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::thread;

use parking_lot::Mutex;
use runabout_protocol::Limits;
use tokio_util::sync::CancellationToken;
use wasmtime::{
    Engine, Extern, Global, Instance, InstancePre, Memory, Module, Result, Store, Val, format_err,
};

use super::host_calls;
use super::layout;
use super::rewind::{Faults, OwnPages, PageMap, give_back, keep_pages_small};
use super::vm::{Exports, JsState};
use crate::executor::Executor;
use crate::guest::{Guest, new_store};
use crate::host::Host;
use crate::invocation::Silent;
use crate::meter::{Meter, NodeMemory};
use crate::stack::Running;

/// The most instances that wait for a run. No more run at the same moment than there are threads.
pub const IDLE_MAX: usize = 16;

/// Where instances come from, and where they go when they can be used again.
pub struct Instances {
    pre: InstancePre<Guest>,
    exports: Arc<Exports>,
    /// `None` if the system does not tell what a run has written to: then none is used again.
    system: Option<PageMap>,
    /// All put back to the snapshot. The one that ran last is the next to run.
    idle: Mutex<Vec<Ready>>,
    nobody: Nobody,
}

/// Whom an instance belongs to that waits for a run.
struct Nobody {
    meter: Arc<Meter>,
    host: Arc<Mutex<Host>>,
}

impl Nobody {
    fn new() -> Self {
        let memory = Arc::new(NodeMemory::new(0));
        Self {
            meter: Arc::new(Meter::new(Limits::default(), CancellationToken::new(), memory)),
            host: Arc::new(Mutex::new(Host::new(Arc::new(Silent), None))),
        }
    }

    fn guest(&self, executor: Arc<Executor>) -> Guest {
        Guest::new(self.meter.clone(), self.host.clone(), executor)
    }
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
    /// A run has been in it since it was made or put back.
    is_used: bool,
}

/// Nobody will put it back: what a run has written to goes back to the system.
impl Drop for Ready {
    fn drop(&mut self) {
        if self.is_used && !thread::panicking() {
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

/// How many page faults a thread had had when it began a run.
pub struct Beginning(Option<Faults>);

impl Instances {
    /// # Errors
    /// The module is none of QuickJS.
    pub fn new(engine: &Engine, module: &Module) -> Result<Self> {
        Ok(Self {
            pre: host_calls::linker(engine)?.instantiate_pre(module)?,
            exports: Arc::new(Exports::find(module)?),
            system: PageMap::open(),
            idle: Mutex::default(),
            nobody: Nobody::new(),
        })
    }

    /// To be asked before an instance is.
    pub fn beginning(&self) -> Beginning {
        Beginning(self.system.as_ref().map(PageMap::faults))
    }

    /// An instance for a guest.
    ///
    /// # Errors
    /// There is no room for one, in the guest's limit of memory or in the pool.
    pub async fn get(&self, guest: Guest) -> Result<Ready> {
        let idle = self.idle.lock().pop();
        let mut ready = match idle {
            Some(ready) if !guest.meter.take_memory(ready.counted_bytes) => {
                self.keep(ready);
                return Err(format_err!("out of memory"));
            }
            Some(mut ready) => {
                *ready.data_mut() = guest;
                ready
            }
            None => Box::pin(self.make(guest)).await?,
        };
        ready.is_used = true;
        let js = JsState::new(ready.instance, ready.memory, self.exports.clone());
        ready.data_mut().js = Some(js);
        Ok(ready)
    }

    async fn make(&self, guest: Guest) -> Result<Ready> {
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
        Ok(Ready { running, instance, memory, stack_pointer, counted_bytes, own_pages, is_used })
    }

    /// Takes an instance back in which a run has come to its end. It is put back to the snapshot, or given
    /// up. A run that has waited may have been on other threads than the one that it began on.
    pub fn take_back(&self, mut ready: Ready, beginning: &Beginning, has_waited: bool) {
        let Some((system, before)) = self.system.as_ref().zip(beginning.0.as_ref()) else { return };
        if ready.put_back(system, has_waited || system.have_been_since(before)) {
            let executor = ready.data().executor();
            *ready.data_mut() = self.nobody.guest(executor);
            self.keep(ready);
        }
    }

    fn keep(&self, ready: Ready) {
        let mut idle = self.idle.lock();
        if idle.len() < IDLE_MAX {
            idle.push(ready);
            return;
        }
        drop(idle);
        drop(ready);
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
        if !self.own_pages.are_known() && !keep_pages_small(memory) {
            return false;
        }
        if !self.own_pages.put_back(memory, system, has_faulted) {
            return false;
        }
        let at_rest = Val::I32(layout::HEAP as i32);
        let is_back = self.stack_pointer.set(&mut *store, at_rest).is_ok();
        self.is_used = !is_back;
        is_back
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use runabout_protocol::{Arguments, Json, Outcome};
    use tokio::task::JoinSet;

    use super::*;
    use crate::quickjs::rewind::HEAP;
    use crate::{Config, Invocation, Sandbox, SourceLanguage, accept};

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

    /// How many instances wait, after a look at all of their memory.
    fn idle(sandbox: &Sandbox) -> usize {
        let mut idle = sandbox.inner.quickjs.instances.idle.lock();
        for ready in idle.iter_mut() {
            let pointer = ready.stack_pointer.get(&mut *ready.running);
            assert_eq!(pointer.i32(), Some(layout::HEAP as i32));
            let memory = ready.memory.data(&*ready.running);
            let (stack, heap) = memory.split_at(layout::HEAP as usize);
            assert!(stack.iter().all(|byte| *byte == 0), "a stack is left");
            assert!(heap == HEAP, "something is left on the heap");
        }
        idle.len()
    }

    #[tokio::test]
    async fn nothing_of_a_run_is_left_in_its_instance() {
        let sandbox = start();
        // Every one after every other one, and often enough that what was read is kept.
        for first in SCRIPTS {
            for second in SCRIPTS {
                for source in [first, second] {
                    run(&sandbox, source, 64 << 20).await;
                    assert!(idle(&sandbox) <= 1, "{source}");
                }
            }
        }
    }

    #[tokio::test]
    async fn an_instance_is_used_again() {
        let sandbox = start();
        for source in SCRIPTS[..5].iter().cycle().take(200) {
            run(&sandbox, source, 64 << 20).await;
            // Not looked at: what is read becomes the memory's own, too.
            assert_eq!(sandbox.inner.quickjs.instances.idle.lock().len(), 1, "{source}");
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
    async fn no_more_wait_than_are_wanted() {
        let sandbox = start();
        let mut runs = JoinSet::new();
        for _ in 0..3 * IDLE_MAX {
            let sandbox = sandbox.clone();
            let source = "export default () => new Promise((done) => setTimeout(done, 20))";
            runs.spawn(async move { run(&sandbox, source, 64 << 20).await });
        }
        runs.join_all().await;
        assert_eq!(idle(&sandbox), IDLE_MAX);
    }
}
