//! However a run ends, its stack is given back. One test, as it looks at all of the process.
#![cfg(target_os = "linux")]

mod common;
#[path = "common/resident.rs"]
mod resident;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::program;
use runabout_protocol::{Arguments, Json, LimitKind, Limits, Outcome, Stream};
use runabout_sandbox::{Config, Invocation, Observer, Sandbox, SourceLanguage};
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio_util::sync::CancellationToken;

/// What a run may keep of its stack, and a page or two.
const KEPT_KIB: u64 = 80;

/// Goes down as far as it is told, a hundred times, and then ends in a way of its own.
const DOWN: &str = r"(func $down (param i32) (result i32)
    (if (result i32) (local.get 0)
        (then (i32.add (call $down (i32.sub (local.get 0) (i32.const 1))) (local.get 0)))
        (else (i32.const 0))))
    (func $deep (param i32) (local $left i32)
        (local.set $left (i32.const 100))
        (loop (drop (call $down (local.get 0)))
            (br_if 0 (local.tee $left (i32.sub (local.get $left) (i32.const 1))))))";

/// A function, its arguments, and whether its end is the one that is meant.
type Case<'a> = (SourceLanguage, String, &'a str, &'a dyn Fn(&Outcome) -> bool);

const DOWN_JS: &str = "const down = (n) => n && 1 + down(n - 1);";

/// Tells when the run says something.
struct Ear(UnboundedSender<()>);

impl Observer for Ear {
    fn log(&self, _stream: Stream, _text: &str) {
        // Nobody may listen.
        let _ = self.0.send(());
    }
    fn progress(&self, _fraction: f64, _message: Option<&str>) {}
    fn checkpoint(&self, _checkpoint: runabout_protocol::Checkpoint) {}
}

fn invocation(args: &str, ear: UnboundedSender<()>) -> Invocation {
    Invocation {
        export: None,
        args: Arguments { values: Json::parse(args.to_owned()).expect("is JSON"), encoding: None },
        stdin: None,
        limits: Limits { timeout_ms: 2_000, cpu_ms: 2_000, ..Limits::default() },
        task: None,
        observer: Arc::new(Ear(ear)),
        cancel: CancellationToken::new(),
    }
}

/// How much of each stack is resident, in KiB: mappings of the size of one.
fn resident_kib() -> Vec<u64> {
    resident::resident_kib(9 << 10)
}

#[tokio::test]
async fn however_a_run_ends_its_stack_is_given_back() {
    let config = Config { concurrent_runs_max: 4, threads: 2, ..Config::for_this_machine() };
    let sandbox = Sandbox::new(config).expect("starts");
    let (ear, mut heard) = mpsc::unbounded_channel();
    let wasm =
        |rest: &str| format!("(module {DOWN} (func (export \"default\") (param i32) {rest}))");
    let command = format!(
        r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
            (memory (export "memory") 1) {DOWN}
            (func (export "_start") (call $deep (i32.const 60000)) (call $exit (i32.const 3))))"#
    );
    let waits = format!(
        "{DOWN_JS} export default (n) => (down(n), console.log(), new Promise(() => setTimeout(() => 0, 1e6)))"
    );
    let often = "export default (n) => { for (let i = 0; i < 100; i++) down(n); return n; }";
    let returned = |outcome: &Outcome| matches!(outcome, Outcome::Returned(_));
    let threw = |outcome: &Outcome| matches!(outcome, Outcome::Threw(_));
    let timed_out =
        |outcome: &Outcome| matches!(outcome, Outcome::TimedOut { limit: LimitKind::Wall, .. });
    let cases: [Case<'_>; 7] = [
        (SourceLanguage::Wasm, wasm("(call $deep (local.get 0))"), "[60000]", &returned),
        (SourceLanguage::Wasm, wasm("(call $deep (local.get 0))"), "[10000000]", &threw),
        (SourceLanguage::Wasm, wasm("(call $deep (local.get 0)) unreachable"), "[60000]", &threw),
        (SourceLanguage::Wasm, command, "[]", &threw),
        (SourceLanguage::JavaScript, format!("{DOWN_JS} {often}"), "[2000]", &returned),
        (SourceLanguage::JavaScript, format!("{DOWN_JS} {often}"), "[1e7]", &threw),
        (SourceLanguage::JavaScript, waits.clone(), "[2000]", &timed_out),
    ];
    for (language, source, args, expected) in cases {
        let program = program(&sandbox, &source, language).await;
        let report = sandbox.run(&program, invocation(args, ear.clone())).await.expect("runs");
        assert!(expected(&report.outcome), "{source}: {:?}", report.outcome);
        let resident = resident_kib();
        assert!(resident.iter().any(|kib| *kib > 0), "{source}: no stack was used");
        assert!(resident.iter().all(|kib| *kib <= KEPT_KIB), "{source}: {resident:?}");
    }

    // Its caller goes while it waits.
    while heard.try_recv().is_ok() {}
    let program = program(&sandbox, &waits, SourceLanguage::JavaScript).await;
    tokio::select! {
        report = sandbox.run(&program, invocation("[2000]", ear.clone())) => {
            panic!("it has ended: {:?}", report.map(|report| report.outcome));
        }
        _ = heard.recv() => {}
    }
    let until = Instant::now() + Duration::from_secs(20);
    while resident_kib().iter().any(|kib| *kib > KEPT_KIB) {
        assert!(Instant::now() < until, "{:?}", resident_kib());
        tokio::task::yield_now().await;
    }
}
