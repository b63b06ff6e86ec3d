//! What QuickJS makes of a program's source, kept from one run for the next. Reading source runs none
//! of it, so that what reading leaves in memory follows from the snapshot and the source alone:
//! whoever finds it there finds nothing of another run. The same is true of a module's top level, if
//! nothing of the run was there before it and it has asked for nothing that differs from run to run.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use wasmtime::Result;

use super::instance::{HEAP, Start};
use super::layout;
use super::vm::{Evaluation, Vm};

/// How finely changes are told apart.
const BLOCK_BYTES: usize = 64;

/// The most that is kept of a program, and the largest heap that is kept of a top level: a part of what all
/// programs together may take.
const KEPT_BYTES_MAX: usize = 16 << 20;

/// What is counted of an instance beside its memory: a table of some hundred functions.
const OTHER_BYTES_MAX: usize = 16 << 10;

/// Source, and what reading it once has made of it.
pub struct Reading {
    evaluation: Evaluation,
    /// What runs once is not worth keeping: the second run keeps it.
    was_run: AtomicBool,
    kept: OnceLock<Kept>,
    /// What is left when the top level has run, too; `None` if that is more than is kept.
    evaluated: OnceLock<Option<Kept>>,
    /// Whoever counts what is kept has not counted it yet.
    is_newly_kept: AtomicBool,
}

/// What reading, and perhaps the top level, has changed on the heap.
pub struct Kept {
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
            evaluated: OnceLock::new(),
            is_newly_kept: AtomicBool::new(false),
        }
    }

    pub fn evaluation(&self) -> Evaluation {
        self.evaluation
    }

    /// What a run begins with that has to run its top level; `None` if that does not fit the memory that
    /// others begin with.
    pub fn start(&self) -> Option<Start> {
        self.kept.get().map_or(Some(Start::Source), |kept| kept.start(Start::Compiled))
    }

    /// The memory that it holds.
    pub fn kept_bytes(&self) -> usize {
        let all = [self.kept.get(), self.evaluated()];
        let bytes = |kept: &Kept| kept.bytes.len() + size_of_val(&kept.spans[..]);
        all.into_iter().flatten().map(bytes).sum()
    }

    /// Whether something was kept since this was last asked.
    pub fn is_newly_kept(&self) -> bool {
        self.is_newly_kept.load(Relaxed) && self.is_newly_kept.swap(false, Relaxed)
    }

    /// Brings the compiled code about in an instance that has run nothing yet. `None` if it cannot
    /// be read; the exception waits.
    pub async fn read(&self, vm: &mut Vm<'_>, source: &[u8]) -> Result<Option<u64>> {
        if let Some(kept) = self.kept.get() {
            kept.begin(vm).await?;
            return Ok(Some(kept.compiled));
        }
        vm.guest_mut().has_asked = false;
        let compiled = Box::pin(vm.compile(source, self.evaluation)).await?;
        if let Some(compiled) = compiled
            && self.was_run.swap(true, Relaxed)
            // What came of the time or of chance is this run's alone.
            && !vm.guest().has_asked
            && let Some(kept) = Kept::find(vm.heap()?, compiled, KEPT_BYTES_MAX)
            // Another run may have been faster; what it kept is the same.
            && self.kept.set(kept).is_ok()
        {
            self.is_newly_kept.store(true, Relaxed);
        }
        Ok(compiled)
    }

    /// What a run may begin with whose top level finds nothing of it; `None` if it has to run that.
    pub fn evaluated(&self) -> Option<&Kept> {
        self.evaluated.get().and_then(Option::as_ref)
    }

    /// Whether what reading has left is kept.
    pub fn is_read(&self) -> bool {
        self.kept.get().is_some()
    }

    /// Keeps what a module's top level has left that began with what was kept of reading it, if all of that
    /// follows from its source. Nothing of the run was there before it, but for its seed and its start, which
    /// each run writes anew.
    pub fn keep_evaluated(&self, vm: &Vm<'_>, compiled: u64, seed: u64) -> Result<()> {
        let is_first = self.evaluated.get().is_none();
        // A matter of its run's limits.
        let was_refused_memory = vm.out_of_memory().is_some();
        let has_asked = vm.guest().has_asked || vm.has_used_random(seed)?;
        let follows = !was_refused_memory && !has_asked && vm.is_untouched()?;
        // Looking through a large one takes long.
        if is_first && follows && vm.heap()?.len() <= KEPT_BYTES_MAX {
            let left = KEPT_BYTES_MAX.saturating_sub(self.kept_bytes());
            let kept = Kept::find(vm.heap()?, compiled, left);
            // Another run may have been faster; what it kept is the same.
            if self.evaluated.set(kept).is_ok() {
                self.is_newly_kept.store(true, Relaxed);
            }
        }
        Ok(())
    }
}

impl Kept {
    /// What a run begins with that this is put into: `start`, or `None` if it does not fit the memory that
    /// others begin with.
    pub fn start(&self, start: Start) -> Option<Start> {
        (self.heap_bytes <= HEAP.len()).then_some(start)
    }

    /// Whether a run with such a limit of memory may have as much as it needs.
    pub fn fits(&self, memory_bytes: u64) -> bool {
        (layout::HEAP as usize + self.heap_bytes + OTHER_BYTES_MAX) as u64 <= memory_bytes
    }

    /// Puts it in the place of what an instance begins with that has run nothing yet.
    pub async fn begin(&self, vm: &mut Vm<'_>) -> Result<()> {
        self.put(vm.heap_of(self.heap_bytes).await?);
        Ok(())
    }

    /// `None` if there is more than `bytes_max`.
    fn find(heap: &[u8], compiled: u64, bytes_max: usize) -> Option<Self> {
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
            if bytes.len() > bytes_max {
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use runabout_protocol::{
        Arguments, Attempt, Checkpoint, Encoding, Json, Limits, Outcome, TaskId,
    };
    use tokio_util::sync::CancellationToken;

    use super::{HEAP, KEPT_BYTES_MAX, layout};
    use crate::program::{Kind, Program};
    use crate::{Config, Invocation, Sandbox, Silent, SourceLanguage, TaskContext, accept};

    fn start() -> Sandbox {
        Sandbox::new(Config::for_this_machine()).expect("the sandbox starts")
    }

    async fn program(sandbox: &Sandbox, source: &str) -> Arc<Program> {
        let source = Bytes::copy_from_slice(source.as_bytes());
        let accepted = accept(source, SourceLanguage::JavaScript).expect("is accepted");
        let (digest, form) = (accepted.digest, accepted.form);
        let program = sandbox.prepare(digest, accepted.language, form, accepted.bytes).await;
        program.expect("is read")
    }

    fn invocation() -> Invocation {
        Invocation {
            export: None,
            args: Arguments::none(),
            stdin: None,
            limits: Limits::default(),
            task: None,
            observer: Arc::new(Silent),
            cancel: CancellationToken::new(),
        }
    }

    async fn run(sandbox: &Sandbox, program: &Arc<Program>, invocation: Invocation) -> String {
        match sandbox.run(program, invocation).await.expect("runs").outcome {
            Outcome::Returned(returned) => returned.value.text().to_owned(),
            outcome => format!("{outcome:?}"),
        }
    }

    fn is_top_level_kept(program: &Program) -> bool {
        match &program.kind {
            Kind::Js(script) => script.reading.evaluated().is_some(),
            _ => false,
        }
    }

    /// Runs it some times, which always gives the same.
    async fn check(source: &str, is_kept: bool, expected: &str) {
        let sandbox = start();
        let program = program(&sandbox, source).await;
        for turn in 0..6 {
            let returned = run(&sandbox, &program, invocation()).await;
            assert_eq!(returned, expected, "{source}, turn {turn}");
            assert_eq!(is_top_level_kept(&program), is_kept && turn >= 2, "{source}, turn {turn}");
        }
    }

    #[tokio::test]
    async fn a_top_level_that_follows_from_its_source_runs_no_more() {
        check("let n = 0; export default () => ++n", true, "1").await;
        check("const all = []; export default () => all.push(1)", true, "1").await;
        check(
            "const m = new Map([[1, { a: 'b' }]]); export default () => m.get(1).a",
            true,
            "\"b\"",
        )
        .await;
        check(
            "class A { #p = 2; get p() { return this.#p } }
             const a = new A(); export default () => a.p",
            true,
            "2",
        )
        .await;
        check("const r = /(a+)b/g; export default () => r.exec('aab')[1]", true, "\"aa\"").await;
        check("Array.prototype.map = 7; export default () => [].map", true, "7").await;
        check("export default async () => { await null; return 3 }", true, "3").await;
        check("const a = new Uint8Array(4 << 20).fill(3); export default () => a[9]", true, "3")
            .await;
        check("runabout.task = 7; export default () => runabout.task", true, "7").await;
        check("const f = () => { throw 7 }; export default () => f()", true, &threw()).await;
        let stack = "const f = () => new Error().stack.split('\\n')[0]; export default () => f()";
        check(stack, true, r#""    at f (function.js:1:21)""#).await;
        check("export default () => new Error().stack.includes('default')", true, "true").await;
        check("Promise.reject(1).catch(() => {}); export default () => 1", false, "1").await;
    }

    fn threw() -> String {
        format!("{:?}", Outcome::threw("Error", "threw 7".to_owned()))
    }

    #[tokio::test]
    async fn a_top_level_that_asks_for_what_is_its_runs_own_runs_each_time() {
        for top_level in [
            "Math.random()",
            "Date.now()",
            "new Date()",
            "performance.now()",
            "performance.timeOrigin",
            "JSON.stringify(performance)",
            "console.log('here')",
            "crypto.randomUUID()",
            "crypto.getRandomValues(new Uint8Array(1))",
            "setTimeout(() => {}, 1)",
            "runabout.progress(0.5)",
            "runabout.checkpoint({})",
            "runabout.task",
            "console.log(runabout)",
            "await null",
            "queueMicrotask(() => {})",
            "Promise.reject(1)",
            "Promise.resolve().then(() => {})",
            "try { new Uint8Array(100 << 20) } catch {}",
            "try { new Uint8Array(200 << 20) } catch {}",
        ] {
            let source = format!("{top_level}; export default () => 5");
            check(&source, false, "5").await;
        }
    }

    /// The heap as runs begin with it, but for what each writes anew.
    fn begun(program: &Program) -> Vec<u8> {
        let Kind::Js(script) = &program.kind else { unreachable!("is JavaScript") };
        let kept = script.reading.evaluated().expect("is kept");
        let mut heap = HEAP.to_vec();
        heap.resize(kept.heap_bytes, 0);
        kept.put(&mut heap);
        for own in [layout::RANDOM_STATE, layout::MAIL + 24] {
            let own = (own - layout::HEAP) as usize;
            heap[own..own + 8].fill(0);
        }
        heap
    }

    #[tokio::test]
    async fn what_is_kept_follows_from_the_source_alone() {
        let source = "const all = new Map(); for (let i = 0; i < 500; i++) all.set(`${i}`, { i, f: () => i });
            class A { static #x = /x+/; y = [1.5, 'text', null]; static z = new A() }
            export default (a) => [a, all.size]";
        let mut beginnings = Vec::new();
        for turn in 0..4 {
            let sandbox = start();
            let program = program(&sandbox, source).await;
            for again in 0..4 {
                let id = format!("0198a000-0000-7000-8000-{turn:06}{again:06}");
                let state = Json::parse(format!("[{turn}]")).expect("is JSON");
                let task = TaskContext {
                    id: id.parse().expect("is an id"),
                    attempt: Attempt(turn + again),
                    checkpoint: Some(Checkpoint { state, encoding: None }),
                };
                let task = (turn % 2 == 0).then_some(task);
                let values = Json::parse(format!("[\"{turn} {again}\"]")).expect("is JSON");
                let args = Arguments { values, encoding: None };
                run(&sandbox, &program, Invocation { task, args, ..invocation() }).await;
            }
            beginnings.push(begun(&program));
        }
        assert!(beginnings.iter().all(|beginning| *beginning == beginnings[0]));
    }

    /// A program of more than half of the budget of its cache would be let go as soon as it is kept.
    #[tokio::test]
    async fn what_is_kept_of_a_large_source_is_bounded() {
        let sandbox = start();
        let comment = "x".repeat(1_200_000);
        let table: String = (0..60_000).map(|number| format!("'{number:010}',")).collect();
        let source =
            format!("/*{comment}*/ const table = [{table}]; export default () => table.length");
        let program = program(&sandbox, &source).await;
        for _ in 0..4 {
            assert_eq!(run(&sandbox, &program, invocation()).await, "60000");
        }
        let Kind::Js(script) = &program.kind else { unreachable!("is JavaScript") };
        let bytes = script.reading.kept_bytes();
        assert!(script.reading.is_read() && !is_top_level_kept(&program), "{bytes}");
        assert!((KEPT_BYTES_MAX / 2..=KEPT_BYTES_MAX).contains(&bytes), "{bytes}");
        assert!(sandbox.prepared(program.digest()).is_some());
    }

    #[tokio::test]
    async fn bytes_come_after_a_top_level_that_is_kept() {
        let sandbox = start();
        let source = "let n = 0; export default (...all) => [++n, all.length, all[0]?.[0] ?? null]";
        let program = program(&sandbox, source).await;
        for turn in 0..8 {
            assert_eq!(run(&sandbox, &program, invocation()).await, "[1,0,null]");
            let values = Json::parse("[\"Bw==\"]".to_owned()).expect("is JSON");
            let args = Arguments { values, encoding: Some(Encoding::Base64) };
            let returned = run(&sandbox, &program, Invocation { args, ..invocation() }).await;
            assert_eq!(returned, "[1,1,7]", "turn {turn}");
        }
        assert!(is_top_level_kept(&program));
    }

    #[tokio::test]
    async fn a_checkpoint_of_bytes_comes_back() {
        let sandbox = start();
        let source = "export default () => [...runabout.task.checkpoint]";
        let program = program(&sandbox, source).await;
        for turn in 1..6 {
            let state = Json::parse("\"AQID\"".to_owned()).expect("is JSON");
            let task = Some(TaskContext {
                id: "0198a000-0000-7000-8000-000000000000".parse().expect("is an id"),
                attempt: Attempt(turn),
                checkpoint: Some(Checkpoint { state, encoding: Some(Encoding::Base64) }),
            });
            let returned = run(&sandbox, &program, Invocation { task, ..invocation() }).await;
            assert_eq!(returned, "[1,2,3]");
        }
    }

    #[tokio::test]
    async fn a_run_with_less_memory_runs_its_top_level() {
        let sandbox = start();
        let source = "let is_large = true; try { new Uint8Array(4 << 20).fill(1) } catch { is_large = false }
            export default () => is_large";
        let program = program(&sandbox, source).await;
        for _ in 0..5 {
            assert_eq!(run(&sandbox, &program, invocation()).await, "true");
            let limits = Limits { memory_bytes: 4 << 20, ..Limits::default() };
            let small = Invocation { limits, ..invocation() };
            assert_eq!(run(&sandbox, &program, small).await, "false");
        }
        let Kind::Js(script) = &program.kind else { unreachable!("is JavaScript") };
        let kept = script.reading.evaluated().expect("is kept");
        // As much as the memory that was kept has: but other things count, too.
        let memory_bytes = (layout::HEAP as usize + kept.heap_bytes) as u64;
        let limits = Limits { memory_bytes, ..Limits::default() };
        let exact = Invocation { limits, ..invocation() };
        assert_eq!(run(&sandbox, &program, exact).await, "false");
    }

    #[tokio::test]
    async fn chance_is_each_runs_own_after_a_top_level_that_is_kept() {
        let sandbox = start();
        let program = program(&sandbox, "export default () => Math.random()").await;
        let mut seen = std::collections::HashSet::new();
        for _ in 0..10 {
            seen.insert(run(&sandbox, &program, invocation()).await);
        }
        assert!(is_top_level_kept(&program));
        assert_eq!(seen.len(), 10);
    }

    #[tokio::test]
    async fn a_top_level_finds_its_task() {
        let sandbox = start();
        let source = "const id = runabout.task?.id; export default () => id ?? null";
        let program = program(&sandbox, source).await;
        for turn in 0..10 {
            assert_eq!(run(&sandbox, &program, invocation()).await, "null");
            let id = format!("0198a000-0000-7000-8000-{turn:012}");
            let id: TaskId = id.parse().expect("is an id");
            let task = Some(TaskContext { id, attempt: Attempt(1), checkpoint: None });
            let returned = run(&sandbox, &program, Invocation { task, ..invocation() }).await;
            assert_eq!(returned, format!("\"{id}\""));
        }
        assert!(!is_top_level_kept(&program));
    }

    #[tokio::test]
    async fn a_task_is_each_runs_own_after_a_top_level_that_is_kept() {
        let sandbox = start();
        let source = "const { log } = runabout; export default () => runabout.task";
        let program = program(&sandbox, source).await;
        for turn in 0..10 {
            assert_eq!(run(&sandbox, &program, invocation()).await, "null");
            let (id, attempt) = (format!("0198a000-0000-7000-8000-{turn:012}"), turn + 1);
            let state = Json::parse(format!("[{turn}]")).expect("is JSON");
            let task = Some(TaskContext {
                id: id.parse().expect("is an id"),
                attempt: Attempt(attempt),
                checkpoint: Some(Checkpoint { state, encoding: None }),
            });
            let returned = run(&sandbox, &program, Invocation { task, ..invocation() }).await;
            let expected = format!(r#"{{"id":"{id}","attempt":{attempt},"checkpoint":[{turn}]}}"#);
            assert_eq!(returned, expected);
        }
        assert!(is_top_level_kept(&program));
    }

    #[tokio::test]
    async fn arguments_are_each_runs_own_after_a_top_level_that_is_kept() {
        let sandbox = start();
        let source = "const all = []; export default (a) => { all.push(a); return all }";
        let program = program(&sandbox, source).await;
        for turn in 0..10 {
            let values = Json::parse(format!("[{turn}]")).expect("is JSON");
            let args = Arguments { values, encoding: None };
            let returned = run(&sandbox, &program, Invocation { args, ..invocation() }).await;
            assert_eq!(returned, format!("[{turn}]"));
        }
        assert!(is_top_level_kept(&program));
    }
}
