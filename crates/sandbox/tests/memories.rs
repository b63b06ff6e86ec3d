//! However a long run ends, its memory is given back. One test, as it looks at all of the process.
#![cfg(target_os = "linux")]

mod common;
#[path = "common/resident.rs"]
mod resident;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::program;
use runabout_protocol::{Arguments, Json, LimitKind, Limits, Outcome};
use runabout_sandbox::{Config, Invocation, Sandbox, Silent, SourceLanguage};
use tokio_util::sync::CancellationToken;

/// No other mapping is as large as this one.
const PAGES: u64 = 333;

/// What may stay of it.
const KEPT_KIB: u64 = 64;

/// Writes to all of its memory, again and again.
const FILL: &str = r"(func $fill (param $turns i32)
    (loop
        (memory.fill (i32.const 0) (local.get $turns) (i32.const 21823488))
        (br_if 0 (local.tee $turns (i32.sub (local.get $turns) (i32.const 1))))))";

/// A module, its arguments, and whether its end is the one that is meant.
type Case<'a> = (String, &'a str, &'a dyn Fn(&Outcome) -> bool);

fn invocation(args: &str) -> Invocation {
    Invocation {
        export: None,
        args: Arguments { values: Json::parse(args.to_owned()).expect("is JSON"), encoding: None },
        stdin: None,
        limits: Limits { timeout_ms: 2_000, cpu_ms: 2_000, ..Limits::default() },
        task: None,
        observer: Arc::new(Silent),
        cancel: CancellationToken::new(),
    }
}

/// How much of each memory of that size is resident, in KiB.
fn resident_kib() -> Vec<u64> {
    resident::resident_kib(PAGES * 64)
}

#[tokio::test]
async fn however_a_long_run_ends_its_memory_is_given_back() {
    let config = Config { concurrent_runs_max: 4, threads: 2, ..Config::for_this_machine() };
    let sandbox = Sandbox::new(config).expect("starts");
    let function = |memory: &str, end: &str| {
        format!(
            r#"(module (memory {memory} {PAGES}) {FILL}
                (func (export "default") (param i32) (call $fill (local.get 0)) {end}))"#
        )
    };
    let exported = r#"(export "memory")"#;
    let command = format!(
        r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
            (memory {exported} {PAGES}) {FILL}
            (func (export "_start") (call $fill (i32.const 10)) (call $exit (i32.const 3))))"#
    );
    // It waits for a clock, longer than it may.
    let waits = format!(
        r#"(module (import "wasi_snapshot_preview1" "poll_oneoff"
                (func $poll (param i32 i32 i32 i32) (result i32)))
            (memory {exported} {PAGES}) {FILL}
            (func (export "_start")
                (call $fill (i32.const 10))
                (memory.fill (i32.const 0) (i32.const 0) (i32.const 256))
                (i32.store (i32.const 16) (i32.const 1))
                (i64.store (i32.const 24) (i64.const 1000000000000))
                (drop (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128)))))"#
    );
    let returned = |outcome: &Outcome| matches!(outcome, Outcome::Returned(_));
    let threw = |outcome: &Outcome| matches!(outcome, Outcome::Threw(_));
    let timed_out =
        |outcome: &Outcome| matches!(outcome, Outcome::TimedOut { limit: LimitKind::Wall, .. });
    let cases: [Case<'_>; 6] = [
        (function(exported, ""), "[10]", &returned),
        (function("", ""), "[10]", &returned),
        (function("", "unreachable"), "[10]", &threw),
        (function(exported, ""), "[0]", &timed_out),
        (command, "[]", &threw),
        (waits.clone(), "[]", &timed_out),
    ];
    for (source, args, expected) in cases {
        let program = program(&sandbox, &source, SourceLanguage::Wasm).await;
        let report = sandbox.run(&program, invocation(args)).await.expect("runs");
        assert!(expected(&report.outcome), "{source}: {:?}", report.outcome);
        let resident = resident_kib();
        assert!(!resident.is_empty(), "{source}: no memory is seen");
        assert!(resident.iter().all(|kib| *kib <= KEPT_KIB), "{source}: {resident:?}");
    }

    // Its caller goes once it has written to all of it.
    let program = program(&sandbox, &waits, SourceLanguage::Wasm).await;
    let until = Instant::now() + Duration::from_secs(20);
    let is_kept = |kib: &u64| *kib > KEPT_KIB;
    tokio::select! {
        report = sandbox.run(&program, invocation("[]")) => {
            panic!("it has ended: {:?}", report.map(|report| report.outcome));
        }
        () = seen(|resident| resident.contains(&(PAGES * 64)), until) => {}
    }
    seen(|resident| !resident.iter().any(is_kept), until).await;
}

/// Waits until that is seen of the memories.
async fn seen(is_so: impl Fn(&[u64]) -> bool, until: Instant) {
    loop {
        let resident = resident_kib();
        if is_so(&resident) {
            return;
        }
        assert!(Instant::now() < until, "{resident:?}");
        tokio::task::yield_now().await;
    }
}
