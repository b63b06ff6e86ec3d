//! Instances of users' modules: made for a run, or put back to how they began after an earlier one. Which
//! it is makes no difference to the run.

use std::sync::Arc;

use tokio::sync::Mutex;
use wasmtime::{Result, format_err};

use crate::guest::{Guest, Nobody};
use crate::idle::Idle;
use crate::pages::Instantiated;
use crate::program::Linked;
use crate::rewind::{Faults, OwnPages, PageMap};
use crate::state::{Changeable, Knowledge, State};

/// The most instances that wait for a run, of all modules together. What each holds meanwhile, [`State`]
/// bounds: its memory first of all, where it was written to.
pub const IDLE_MAX: usize = 32;

/// Instances from which is learned how others begin, at one time.
pub const LEARNING_MAX: usize = 1;

/// Where instances come from, and where they go when they can be used again.
pub struct Instances {
    /// `None` if the system does not tell what a run has written to: then none is used again.
    system: Option<Arc<PageMap>>,
    idle: Idle<Again>,
    nobody: Nobody,
    /// Whoever holds it learns how instances of a module begin.
    learning: Mutex<()>,
}

/// An instance for one run.
pub enum Ready {
    Once(Instantiated),
    Again(Again),
}

/// An instance that can be put back after its run.
pub struct Again {
    instance: Instantiated,
    state: Arc<State>,
    changeable: Changeable,
    own_pages: OwnPages,
    /// What its memory and its tables count for.
    counted_bytes: u64,
    /// The page faults that the thread of the run had had before.
    faults: Faults,
}

impl Ready {
    pub fn instance(&mut self) -> &mut Instantiated {
        match self {
            Self::Once(instance) | Self::Again(Again { instance, .. }) => instance,
        }
    }
}

impl Instances {
    pub fn new(system: Option<Arc<PageMap>>) -> Self {
        let (idle, nobody) = (Idle::new(IDLE_MAX), Nobody::new());
        Self { system, idle, nobody, learning: Mutex::default() }
    }

    /// An instance for a guest.
    ///
    /// # Errors
    /// There is no room for one, in the guest's limit of memory or in the pool, or its start traps.
    pub async fn get(&self, guest: Guest, module: &Linked) -> Result<Ready> {
        let Some((state, system)) = module.state.as_ref().zip(self.system.as_ref()) else {
            return Box::pin(module.instantiate(guest)).await.map(Ready::Once);
        };
        let mut again = match self.idle.take(|again| Arc::ptr_eq(&again.state, state)) {
            Some(again) if !guest.meter.take_memory(again.counted_bytes) => {
                self.idle.keep(again);
                return Err(format_err!("out of memory"));
            }
            Some(mut again) => {
                *again.instance.running.data_mut() = guest;
                again
            }
            None => Box::pin(make_again(guest, module, state)).await?,
        };
        // Not before: whoever waits for an instance may come back on another thread.
        again.faults = system.faults();
        Ok(Ready::Again(again))
    }

    /// Takes an instance back in which a run has come to its end. It is put back to how it began, or given up.
    pub async fn take_back(&self, ready: Ready, module: &Linked) {
        let Some(system) = &self.system else { return };
        let Ready::Again(mut again) = ready else { return };
        let store = &again.instance.running;
        // Other threads have gone on with a run that has left its caller's. Most of them are long, and a new
        // instance takes little beside them.
        let has_left = !store.data().meter.is_visiting();
        if has_left || again.changeable.has_grown(store) || !self.idle.has_room() {
            return;
        }
        let has_faulted = system.have_been_since(&again.faults);
        match again.state.note_run() {
            Knowledge::All => {}
            Knowledge::Nothing => {
                let guest = self.nobody.guest(store.data().executor());
                Box::pin(self.learn(guest, module, &again.state, system)).await;
            }
            Knowledge::FirstRun | Knowledge::Unfit => return,
        }
        if again.put_back(system, has_faulted) {
            let executor = again.instance.running.data().executor();
            *again.instance.running.data_mut() = self.nobody.guest(executor);
            self.idle.keep(again);
        }
    }

    /// Learns how a module's instances begin, from one in which nothing runs; another time, if somebody is
    /// at it or there is no room for one.
    async fn learn(&self, guest: Guest, module: &Linked, state: &State, system: &PageMap) {
        let Ok(_turn) = self.learning.try_lock() else { return };
        let learned = async {
            let mut instance = module.instantiate(guest).await?;
            state.learn(&mut instance.running, instance.instance, system.page_bytes())
        };
        if let Err(error) = learned.await {
            tracing::debug!(error = format!("{error:#}"), "an instance is not used again");
        }
    }

    /// Lets those go that wait; false if there are none.
    pub fn forget(&self) -> bool {
        !self.idle.take_all().is_empty()
    }
}

impl Again {
    fn put_back(&mut self, system: &PageMap, has_faulted: bool) -> bool {
        let Self { instance, state, changeable, own_pages, .. } = self;
        if has_faulted {
            // Without a page fault it has none that was not there before.
            instance.running.give_stack_back();
        }
        changeable.put_back(&mut instance.running, state, own_pages, system, has_faulted)
    }
}

async fn make_again(guest: Guest, module: &Linked, state: &Arc<State>) -> Result<Again> {
    let meter = guest.meter.clone();
    let counted_before = meter.memory_bytes();
    let mut instance = module.instantiate(guest).await?;
    let counted_bytes = meter.memory_bytes() - counted_before;
    let changeable = state.find(&mut instance.running, instance.instance)?;
    let (own_pages, faults) = (OwnPages::default(), Faults::default());
    Ok(Again { instance, state: state.clone(), changeable, own_pages, counted_bytes, faults })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use runabout_protocol::{Arguments, Limits, Outcome};
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::program::{Kind, Program};
    use crate::state::GLOBALS_MAX;
    use crate::{Config, Invocation, Sandbox, Silent, SourceLanguage, accept};

    /// Tells whether somebody has been here, by all that it can change, and spoils that in many ways.
    const SPOILING: &str = r#"(module
        (memory (export "memory") 3)
        (data (i32.const 8) "begins so")
        (data (i32.const 131070) "over two pages")
        (data $passive "is copied")
        (table 2 funcref)
        (elem (i32.const 0) $one $other)
        (type $number (func (result i32)))
        (func $one (result i32) (i32.const 1))
        (func $other (result i32) (i32.const 2))
        (global $a (mut i32) (i32.const 7))
        (global $b (mut i64) (i64.const -1))
        (global $c (mut f32) (f32.const 1.5))
        (global $d (mut f64) (f64.const 2.5))
        (global $e (mut v128) (v128.const i32x4 1 2 3 4))
        (global $unchanging i32 (i32.const 99))
        (func $here (result i32)
            (i32.add (global.get $a) (i32.wrap_i64 (global.get $b)))
            (i32.add (i32.trunc_f32_s (global.get $c)))
            (i32.add (i32.trunc_f64_s (global.get $d)))
            (i32.add (i32x4.extract_lane 3 (global.get $e)))
            (i32.add (i32.load8_u (i32.const 8)))
            (i32.add (i32.load8_u (i32.const 131072)))
            (i32.add (i32.load8_u (i32.const 196607)))
            (i32.add (memory.size))
            (global.set $a (i32.const 1000))
            (global.set $b (i64.const 2000))
            (global.set $c (f32.const 3000))
            (global.set $d (f64.const 4000))
            (global.set $e (v128.const i32x4 9 9 9 9))
            (i32.store8 (i32.const 8) (i32.const 77))
            (i32.store8 (i32.const 196607) (i32.const 78)))
        (func (export "little") (result i32) (call $here))
        (func (export "everywhere") (result i32)
            (call $here)
            (memory.fill (i32.const 0) (i32.const 255) (i32.const 196608)))
        (func (export "copied") (result i32)
            (call $here)
            (memory.copy (i32.const 4096) (i32.const 131060) (i32.const 60000))
            (memory.init $passive (i32.const 70000) (i32.const 0) (i32.const 9)))
        (func (export "indirect") (result i32)
            (call $here)
            (drop (call_indirect (type $number) (i32.const 1))))
        (func $down (param i32)
            (i32.store (i32.mul (local.get 0) (i32.const 64)) (i32.const -1))
            (if (local.get 0) (then (call $down (i32.sub (local.get 0) (i32.const 1))))))
        (func (export "deep") (result i32) (call $here) (call $down (i32.const 900)))
        (func (export "grows") (result i32) (call $here) (drop (memory.grow (i32.const 1))))
        (func (export "traps") (result i32) (drop (call $here)) (unreachable))
        (func (export "long") (result i32) (local $turns i32)
            (call $here)
            (loop
                (br_if 0 (i32.lt_u (local.tee $turns (i32.add (local.get $turns) (i32.const 1)))
                                   (i32.const 20000000))))))"#;

    const FIRST: i32 = 7 - 1 + 1 + 2 + 4 + b'b' as i32 + b'e' as i32 + 3;

    fn start() -> Sandbox {
        Sandbox::new(Config::for_this_machine()).expect("the sandbox starts")
    }

    async fn program(sandbox: &Sandbox, wat: &str) -> Arc<Program> {
        let module = Bytes::from(wat::parse_str(wat).expect("is WebAssembly"));
        let accepted = accept(module, SourceLanguage::Wasm).expect("is accepted");
        let (digest, form) = (accepted.digest, accepted.form);
        let program = sandbox.prepare(digest, accepted.language, form, accepted.bytes).await;
        program.expect("is compiled")
    }

    async fn run(sandbox: &Sandbox, program: &Arc<Program>, export: &str, memory: u64) -> Outcome {
        let invocation = Invocation {
            export: Some(export.to_owned()),
            args: Arguments::none(),
            stdin: None,
            limits: Limits { memory_bytes: memory, ..Limits::default() },
            task: None,
            observer: Arc::new(Silent),
            cancel: CancellationToken::new(),
        };
        sandbox.run(program, invocation).await.expect("runs").outcome
    }

    fn linked(program: &Program) -> &Linked {
        match &program.kind {
            Kind::Wasm { module, .. } | Kind::Wasi(module) => module,
            Kind::Js(_) => unreachable!("is a module"),
        }
    }

    fn bytes_of(again: &mut Again) -> Vec<u8> {
        again.changeable.bytes(&again.instance.running).to_vec()
    }

    /// Looks at all that waits, beside a new instance, and how much that was.
    async fn look_at_all(sandbox: &Sandbox, program: &Program) -> usize {
        let inner = &sandbox.inner;
        let module = linked(program);
        let state = module.state.as_ref().expect("can be put back");
        let guest = inner.instances.nobody.guest(inner.executor.clone());
        let new = make_again(guest, module, state).await;
        let mut new = new.expect("there is room for one");
        let (bytes, globals) = (bytes_of(&mut new), new.values());
        let mut idle = inner.instances.idle.take_all();
        for again in &mut idle {
            assert!(bytes_of(again) == bytes, "something is left in a memory");
            assert_eq!(again.values(), globals);
        }
        idle.len()
    }

    impl Again {
        fn values(&mut self) -> Vec<String> {
            let Self { instance, changeable, .. } = self;
            changeable.values(&mut instance.running).map(|value| format!("{value:?}")).collect()
        }
    }

    #[tokio::test]
    async fn nothing_of_a_run_is_left_in_its_instance() {
        let sandbox = start();
        let program = program(&sandbox, SPOILING).await;
        let exports =
            ["little", "everywhere", "copied", "indirect", "deep", "grows", "traps", "long"];
        let mut looked_at = 0;
        for first in exports {
            for second in exports {
                for export in [first, first, first, second, second, second] {
                    match run(&sandbox, &program, export, 64 << 20).await {
                        Outcome::Returned(returned) => {
                            assert_eq!(returned.value.text(), FIRST.to_string(), "{export}");
                        }
                        outcome => assert_eq!(export, "traps", "{outcome:?}"),
                    }
                }
                looked_at += look_at_all(&sandbox, &program).await;
            }
        }
        // What grows, traps or is long leaves none.
        assert!(looked_at > 20, "only {looked_at}");
    }

    #[tokio::test]
    async fn an_instance_is_used_again_by_its_own_module_alone() {
        let sandbox = start();
        let one = program(&sandbox, SPOILING).await;
        let other = program(&sandbox, r#"(module (func (export "f") (result i32) i32.const 5))"#);
        let other = other.await;
        for _ in 0..20 {
            run(&sandbox, &one, "little", 64 << 20).await;
        }
        assert_eq!(sandbox.inner.instances.idle.count(), 1);
        for _ in 0..20 {
            let five = run(&sandbox, &other, "f", 64 << 20).await;
            assert!(matches!(five, Outcome::Returned(value) if value.value.text() == "5"));
        }
        assert_eq!(sandbox.inner.instances.idle.count(), 2);
        assert!(sandbox.inner.instances.forget());
        assert!(!sandbox.inner.instances.forget());
    }

    #[tokio::test]
    async fn an_instance_that_waits_counts_for_nobody_and_then_for_its_run() {
        let sandbox = start();
        let program = program(&sandbox, SPOILING).await;
        for expected in [0, 1] {
            assert_eq!(sandbox.inner.instances.idle.count(), expected);
            let refused = run(&sandbox, &program, "little", 1 << 16).await;
            assert!(matches!(refused, Outcome::OutOfMemory { .. }), "{refused:?}");
            assert_eq!(sandbox.inner.instances.idle.count(), expected);
            for _ in 0..2 {
                let returned = run(&sandbox, &program, "little", 64 << 20).await;
                assert!(matches!(returned, Outcome::Returned(_)), "{returned:?}");
                assert_eq!(sandbox.memory_used_bytes(), 0);
            }
        }
    }

    #[tokio::test]
    async fn where_the_system_tells_nothing_every_run_has_an_instance_of_its_own() {
        let mut sandbox = start();
        let inner = Arc::get_mut(&mut sandbox.inner).expect("nobody else has it");
        inner.instances.system = None;
        let program = program(&sandbox, SPOILING).await;
        for _ in 0..3 {
            let returned = run(&sandbox, &program, "little", 64 << 20).await;
            assert!(matches!(returned, Outcome::Returned(_)), "{returned:?}");
            assert_eq!(sandbox.inner.instances.idle.count(), 0);
        }
    }

    #[tokio::test]
    async fn what_changes_more_has_an_instance_for_each_run() {
        let sandbox = start();
        let changes = [
            r#"(memory 1) (func $start (i32.store (i32.const 0) (i32.const 1))) (start $start)"#,
            r#"(table 1 funcref) (func (table.set (i32.const 0) (ref.null func)))"#,
            r#"(table 1 funcref) (func (drop (table.grow (ref.null func) (i32.const 1))))"#,
            r#"(table 1 funcref) (func (table.fill (i32.const 0) (ref.null func) (i32.const 1)))"#,
            r#"(table 1 funcref) (func (table.copy (i32.const 0) (i32.const 0) (i32.const 1)))"#,
            r#"(table 1 funcref) (elem $e funcref (ref.null func))
               (func (table.init $e (i32.const 0) (i32.const 0) (i32.const 1)))"#,
            r#"(elem $e funcref (ref.null func)) (func (elem.drop $e))"#,
            r#"(memory 1) (data $d "d") (func (data.drop $d))"#,
            r#"(memory 1) (memory 1)"#,
            r#"(memory 33)"#,
            r#"(table 8193 funcref)"#,
            r#"(table 4096 funcref) (table 4097 funcref)"#,
            r#"(global (mut funcref) (ref.null func))"#,
            r#"(global (mut externref) (ref.null extern))"#,
            r#"(tag $t) (func (throw $t))"#,
            r#"(type $s (struct (field (mut i32)))) (func (drop (struct.new_default $s)))"#,
            &"(global (mut i32) (i32.const 0))".repeat(GLOBALS_MAX),
        ];
        for change in changes {
            let wat = format!(r#"(module {change} (func (export "f") (result i32) i32.const 5))"#);
            let program = program(&sandbox, &wat).await;
            assert!(linked(&program).state.is_none(), "{change}");
            for _ in 0..3 {
                let five = run(&sandbox, &program, "f", 64 << 20).await;
                assert!(matches!(five, Outcome::Returned(value) if value.value.text() == "5"));
            }
            assert_eq!(sandbox.inner.instances.idle.count(), 0, "{change}");
        }
        let without_code = r#"(module (import "runabout" "checkpoint_size" (func (result i32)))
            (memory (export "memory") 1) (global (mut i32) (i32.const 0)) (export "f" (func 0)))"#;
        assert!(linked(&*program(&sandbox, without_code).await).state.is_none());
    }

    #[tokio::test]
    async fn what_holds_much_has_an_instance_for_each_run() {
        let sandbox = start();
        let page = "x".repeat(64 << 10);
        let data = |pages: usize| {
            let segment =
                |page_number| format!("(data (i32.const {}) \"{page}\")", page_number << 16);
            (0..pages).map(segment).collect::<String>()
        };
        for (pages, expected) in [(4, 1), (5, 0)] {
            let (data, function) = (data(pages), r#"(func (export "f") (result i32) i32.const 5)"#);
            let program =
                program(&sandbox, &format!("(module (memory 8) {data} {function})")).await;
            for _ in 0..3 {
                run(&sandbox, &program, "f", 64 << 20).await;
            }
            assert_eq!(sandbox.inner.instances.idle.count(), expected, "{pages} pages");
            assert_eq!(look_at_all(&sandbox, &program).await, expected);
            let held = linked(&program).state.as_ref().map(|state| state.held_bytes());
            assert_eq!(held.map(|bytes| bytes >= pages << 16), Some(expected == 1));
        }
    }

    #[tokio::test]
    async fn what_the_host_has_written_is_put_back() {
        let sandbox = start();
        // At a place that the engine cannot know beforehand, so that it makes no picture of the memory.
        let wat = r#"(module
            (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
            (memory (export "memory") 2)
            (data (i32.add (i32.const 4000) (i32.const 96)) "begins so")
            (func (export "f") (result i64) (local $before i64)
                (local.set $before (i64.or (i64.load (i32.const 65536)) (i64.load (i32.const 4096))))
                (drop (call $random (i32.const 65536) (i32.const 8)))
                (drop (call $random (i32.const 4096) (i32.const 8)))
                (local.get $before)))"#;
        let program = program(&sandbox, wat).await;
        let beginning = i64::from_le_bytes(*b"begins s").to_string();
        let mut kept = 0;
        for _ in 0..20 {
            let outcome = run(&sandbox, &program, "f", 64 << 20).await;
            let Outcome::Returned(returned) = outcome else { panic!("{outcome:?}") };
            assert_eq!(returned.value.text().trim_matches('"'), beginning);
            kept += sandbox.inner.instances.idle.count();
        }
        look_at_all(&sandbox, &program).await;
        // A run that is held up when it calls the host may leave its thread, and none behind.
        assert!(kept > 10, "only {kept}");
    }

    #[tokio::test]
    async fn what_was_compiled_before_is_put_back_as_well() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        for _ in 0..2 {
            let cache_dir = Some(folder.path().to_owned());
            let config = Config { cache_dir, ..Config::for_this_machine() };
            let sandbox = Sandbox::new(config).expect("the sandbox starts");
            let program = program(&sandbox, SPOILING).await;
            for _ in 0..5 {
                run(&sandbox, &program, "everywhere", 64 << 20).await;
            }
            assert_eq!(look_at_all(&sandbox, &program).await, 1);
            assert_eq!(folder.path().read_dir().expect("is there").count(), 1);
        }
    }

    #[tokio::test]
    async fn no_more_wait_than_are_wanted() {
        let sandbox = start();
        for number in 0..2 * IDLE_MAX {
            let wat = format!(r#"(module (func (export "f") (result i32) i32.const {number}))"#);
            let program = program(&sandbox, &wat).await;
            for _ in 0..2 {
                let returned = run(&sandbox, &program, "f", 64 << 20).await;
                assert!(matches!(returned, Outcome::Returned(_)), "{returned:?}");
            }
        }
        assert_eq!(sandbox.inner.instances.idle.count(), IDLE_MAX);
    }
}
