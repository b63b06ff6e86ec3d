//! What the sandbox promises, tried on real engines.

mod common;

use std::sync::Arc;
use std::time::Instant;

use common::program;
use parking_lot::Mutex;
use runabout_protocol::{
    Arguments, Checkpoint, Encoding, Json, LimitKind, Limits, Outcome, Stream,
};
use runabout_sandbox::{Config, Error, Invocation, Observer, Report, Sandbox, SourceLanguage};
use tokio_util::sync::CancellationToken;

#[derive(Default)]
struct Heard {
    lines: Mutex<Vec<(Stream, String)>>,
    progress: Mutex<Vec<f64>>,
    checkpoints: Mutex<Vec<Checkpoint>>,
}

impl Observer for Heard {
    fn log(&self, stream: Stream, text: &str) {
        self.lines.lock().push((stream, text.to_owned()));
    }
    fn progress(&self, fraction: f64, _message: Option<&str>) {
        self.progress.lock().push(fraction);
    }
    fn checkpoint(&self, checkpoint: Checkpoint) {
        self.checkpoints.lock().push(checkpoint);
    }
}

fn sandbox() -> Sandbox {
    let config = Config { concurrent_runs_max: 64, threads: 2, ..Config::for_this_machine() };
    Sandbox::new(config).expect("starts")
}

fn invocation(args: &str, heard: Arc<Heard>) -> Invocation {
    Invocation {
        export: None,
        args: Arguments { values: Json::parse(args.to_owned()).expect("is JSON"), encoding: None },
        stdin: None,
        limits: Limits { timeout_ms: 5_000, cpu_ms: 5_000, ..Limits::default() },
        task: None,
        observer: heard,
        cancel: CancellationToken::new(),
    }
}

async fn js_report(source: &str, args: &str) -> (Report, Arc<Heard>) {
    let sandbox = sandbox();
    let program = program(&sandbox, source, SourceLanguage::JavaScript).await;
    let heard = Arc::new(Heard::default());
    let report = sandbox.run(&program, invocation(args, heard.clone())).await.expect("runs");
    (report, heard)
}

/// The outcome as JSON, without the stack.
fn told(outcome: &Outcome) -> String {
    let mut outcome = outcome.clone();
    if let Outcome::Threw(error) = &mut outcome {
        error.stack = None;
    }
    serde_json::to_string(&outcome).expect("has JSON")
}

async fn check_js(source: &str, args: &str, expected: &str) {
    let (report, heard) = js_report(source, args).await;
    assert_eq!(told(&report.outcome), expected, "{source}\n{:?}", heard.lines.lock());
}

async fn returns(source: &str, args: &str, value: &str) {
    check_js(source, args, &format!(r#"{{"kind":"returned","value":{value}}}"#)).await;
}

#[tokio::test]
async fn a_script_returns_its_last_value() {
    returns("const x = 1; const y = 2; x + y", "[]", "3").await;
    returns("const x = 1;", "[]", "null").await;
    returns("await Promise.resolve(7)", "[]", "7").await;
    returns(
        "const later = new Promise(r => setTimeout(() => r('late'), 5)); later",
        "[]",
        "\"late\"",
    )
    .await;
}

#[tokio::test]
async fn a_module_is_called_with_its_arguments() {
    returns("export default (a, b) => a + b", "[1,2]", "3").await;
    returns(
        "export default async (a) => { await null; return { b: a, a: [1.5, null] } }",
        "[\"x\"]",
        r#"{"b":"x","a":[1.5,null]}"#,
    )
    .await;
    returns("export function only(a) { return a }", "[[1]]", "[1]").await;
}

#[tokio::test]
async fn values_follow_json() {
    returns(
        "[undefined, NaN, -0, () => 1, new Date(0)]",
        "[]",
        r#"[null,null,0,null,"1970-01-01T00:00:00.000Z"]"#,
    )
    .await;
    returns("'\\u{1f600}\\ud800'", "[]", "\"\u{1f600}\\ud800\"").await;
    check_js(
        "new Uint8Array([104, 105])",
        "[]",
        r#"{"kind":"returned","value":"aGk=","value_encoding":"base64"}"#,
    )
    .await;
}

#[tokio::test]
async fn what_is_thrown_is_told() {
    let (report, _) = js_report("function f() { throw new TypeError('no') }\nf()", "[]").await;
    let Outcome::Threw(error) = report.outcome else { panic!("{:?}", report.outcome) };
    assert_eq!((error.name.as_str(), error.message.as_str()), ("TypeError", "no"));
    assert!(
        error.stack.as_deref().is_some_and(|stack| stack.contains("function.js:1")),
        "{error:?}"
    );
    for (source, message) in [
        ("throw 'text'", "threw 'text'"),
        ("throw null", "threw null"),
        ("Promise.reject({ a: 1 }); 5", "threw { a: 1 }"),
        ("setTimeout(() => { throw new Error('in a timer') }, 1); 5", "in a timer"),
        ("throw new Error('half \\ud800')", "half \u{fffd}"),
        ("throw new Proxy({}, { get() { throw 1 } })", "threw a value that cannot be shown"),
    ] {
        let (report, _) = js_report(source, "[]").await;
        let Outcome::Threw(error) = report.outcome else {
            panic!("{source}: {:?}", report.outcome)
        };
        assert_eq!(error.message, message, "{source}");
    }
}

#[tokio::test]
async fn a_guest_that_replaces_the_world_spoils_only_its_own() {
    let replaced = "JSON.stringify = JSON.parse = () => { throw 1 }; Promise.prototype.then = null; Promise.resolve = null; Array.prototype[Symbol.iterator] = null; globalThis.Error = globalThis.ArrayBuffer = globalThis.Promise = 5; Reflect.apply = null; Object.prototype.then = 1;";
    returns(&format!("{replaced} ({{ a: [1] }})"), "[]", r#"{"a":[1]}"#).await;
    returns(&format!("{replaced} 5"), "[]", "5").await;
    returns(&format!("{replaced} export default (a) => a"), "[7]", "7").await;
}

#[tokio::test]
async fn many_small_host_calls_take_no_memory() {
    let source = "export default async () => { for (let i = 0; i < 20_000; i++) { try { await Promise.reject(1) } catch {} crypto.getRandomValues(new Uint8Array(4)); new TextDecoder().decode(new Uint8Array([0xff])); } }";
    let (report, _) = js_report(source, "[]").await;
    assert_eq!(told(&report.outcome), r#"{"kind":"returned","value":null}"#);
    // Twenty thousand handles of 16 bytes alone would be more than this.
    let peak = report.usage.memory_peak_bytes.expect("is measured");
    assert!(peak < 12 << 20, "{peak}");
}

#[tokio::test]
async fn a_guest_cannot_make_the_host_allocate() {
    let source = "let n = 0; const a = new Uint8Array(100 << 20); Object.defineProperty(a, 'byteLength', { get() { return n++ ? 100 << 20 : 0 } }); crypto.getRandomValues(a)";
    let (report, _) = js_report(source, "[]").await;
    assert!(
        matches!(&report.outcome, Outcome::Threw(error) if error.name == "RangeError"),
        "{:?}",
        report.outcome
    );
    returns("new TextDecoder().decode(new Uint8Array(1 << 20).fill(255)).length", "[]", "1048576")
        .await;
    returns("const t = '\u{1f600}'.repeat(50_000); new TextDecoder().decode(new Uint8Array([0xff, ...new TextEncoder().encode(t)])) === String.fromCharCode(0xfffd) + t", "[]", "true").await;
}

#[tokio::test]
async fn a_handled_rejection_is_no_failure() {
    returns("const p = Promise.reject(1); p.catch(() => 0); 5", "[]", "5").await;
    returns("try { await Promise.reject(1) } catch { 6 }", "[]", "6").await;
}

#[tokio::test]
async fn a_promise_that_can_never_settle_ends_the_run() {
    let started = Instant::now();
    let (report, _) = js_report("export default () => new Promise(() => {})", "[]").await;
    assert!(matches!(&report.outcome, Outcome::Threw(error) if error.name == "NeverSettled"));
    assert!(started.elapsed().as_millis() < 4_000);
}

#[tokio::test]
async fn console_lines_arrive_in_order() {
    let source = "console.log('a', 1, { b: [1, 'x'] }); console.error('e'); console.log('%s is %d', 'x', 5); setTimeout(() => console.log('late'), 5);";
    let (_, heard) = js_report(source, "[]").await;
    let expected = [
        (Stream::Stdout, "a 1 { b: [ 1, 'x' ] }"),
        (Stream::Stderr, "e"),
        (Stream::Stdout, "x is 5"),
        (Stream::Stdout, "late"),
    ];
    let lines = heard.lines.lock();
    let lines: Vec<_> = lines.iter().map(|(stream, text)| (*stream, text.as_str())).collect();
    assert_eq!(lines, expected);
}

#[tokio::test]
async fn progress_and_checkpoints_are_heard() {
    let source = "runabout.progress(0.5, 'half'); runabout.checkpoint({ step: 3 }); runabout.checkpoint(new Uint8Array([1])); runabout.progress(7)";
    let (_, heard) = js_report(source, "[]").await;
    assert_eq!(*heard.progress.lock(), [0.5, 1.0]);
    let states: Vec<String> =
        heard.checkpoints.lock().iter().map(|kept| kept.state.text().to_owned()).collect();
    assert_eq!(states, ["{\"step\":3}", "\"AQ==\""]);
    assert_eq!(heard.checkpoints.lock()[1].encoding, Some(Encoding::Base64));
}

#[tokio::test]
async fn web_globals_work_or_say_that_they_do_not() {
    returns(
        "new TextDecoder().decode(new TextEncoder().encode('hü\\u{1f600}'))",
        "[]",
        "\"hü\u{1f600}\"",
    )
    .await;
    returns("[...new TextEncoder().encode('ü')]", "[]", "[195,188]").await;
    returns("new TextDecoder().decode(new Uint8Array([0xff, 65]))", "[]", "\"\u{fffd}A\"").await;
    returns("crypto.randomUUID().length", "[]", "36").await;
    returns("new Set(crypto.getRandomValues(new Uint32Array(8))).size > 1", "[]", "true").await;
    returns("atob(btoa('hi'))", "[]", "\"hi\"").await;
    returns("try { fetch('x') } catch (e) { e.name }", "[]", "\"NotSupportedError\"").await;
    returns("const t = setInterval(() => { if (++n === 3) clearInterval(t) }, 1); let n = 0; new Promise(r => setTimeout(() => r(n), 50))", "[]", "3").await;
}

/// The first runs read the source, and later ones find it read.
#[tokio::test]
async fn a_program_runs_alike_however_often_it_has_run() {
    let sandbox = sandbox();
    let large = format!(
        "{}export default () => [f1999(), String(f3).length]",
        (0..2000)
            .map(|n| format!("function f{n}() {{ return 'number {n}' }}\n"))
            .collect::<String>(),
    );
    let cases = [
        ("export default (a, b) => a + b", "[1,2]", r#"{"kind":"returned","value":3}"#),
        (
            "let n = 0; const seen = []; export default (a) => [++n, seen.push(a), String(seen)]",
            "[7]",
            r#"{"kind":"returned","value":[1,1,"7"]}"#,
        ),
        (
            "const first = await 5; export default async (a) => first + await a",
            "[1]",
            r#"{"kind":"returned","value":6}"#,
        ),
        ("var n = (globalThis.n ?? 0) + 1; n", "[]", r#"{"kind":"returned","value":1}"#),
        ("let n = await 1; n + 1", "[]", r#"{"kind":"returned","value":2}"#),
        (&large, "[]", r#"{"kind":"returned","value":["number 1999",35]}"#),
        (
            "export default function f() { throw new TypeError('no') }",
            "[]",
            r#"{"kind":"threw","error":{"name":"TypeError","message":"no"}}"#,
        ),
        (
            "throw new Error('at the top'); export default 1",
            "[]",
            r#"{"kind":"threw","error":{"name":"Error","message":"at the top"}}"#,
        ),
        (
            "Promise.reject(new Error('unheard')); 1",
            "[]",
            r#"{"kind":"threw","error":{"name":"Error","message":"unheard"}}"#,
        ),
    ];
    for (source, args, expected) in cases {
        let program = program(&sandbox, source, SourceLanguage::JavaScript).await;
        let mut stacks = std::collections::HashSet::new();
        for _ in 0..5 {
            let report = sandbox.run(&program, invocation(args, Arc::default())).await;
            let outcome = report.expect("runs").outcome;
            assert_eq!(told(&outcome), expected, "{source}");
            let Outcome::Threw(error) = outcome else { continue };
            stacks.insert(error.stack);
        }
        assert!(stacks.len() <= 1, "{source}: {stacks:?}");
    }
}

#[tokio::test]
async fn two_runs_share_nothing() {
    let sandbox = sandbox();
    let source = "const before = globalThis.mark ?? Array.prototype.mark; globalThis.mark = Array.prototype.mark = 1; [Math.random(), before ?? null]";
    let program = program(&sandbox, source, SourceLanguage::JavaScript).await;
    let mut seen = std::collections::HashSet::new();
    for _ in 0..50 {
        let report = sandbox.run(&program, invocation("[]", Arc::default())).await.expect("runs");
        let Outcome::Returned(value) = report.outcome else { panic!("{:?}", report.outcome) };
        let (random, before): (f64, Option<u32>) = value.value.read().expect("is a pair");
        assert_eq!(before, None);
        assert!((0.0..1.0).contains(&random));
        seen.insert(random.to_bits());
    }
    assert_eq!(seen.len(), 50);
}

#[tokio::test]
async fn an_endless_loop_ends_at_its_limit() {
    for source in [
        "while (true) {}",
        "export default async () => { for (;;) await null }",
        "/(a+)+$/.test('a'.repeat(40) + 'b')",
    ] {
        let sandbox = sandbox();
        let program = program(&sandbox, source, SourceLanguage::JavaScript).await;
        let mut endless = invocation("[]", Arc::default());
        endless.limits = Limits { timeout_ms: 100, cpu_ms: 100, ..Limits::default() };
        let report = sandbox.run(&program, endless).await.expect("runs");
        let is_time = matches!(report.outcome, Outcome::TimedOut { limit_ms: 100, .. });
        assert!(is_time, "{source}: {:?}", report.outcome);
    }
}

#[tokio::test]
async fn a_run_that_waits_ends_at_its_wall_clock() {
    let sandbox = sandbox();
    let program =
        program(&sandbox, "setTimeout(() => {}, 60_000)", SourceLanguage::JavaScript).await;
    let mut waiting = invocation("[]", Arc::default());
    waiting.limits = Limits { timeout_ms: 60, ..Limits::default() };
    let report = sandbox.run(&program, waiting).await.expect("runs");
    assert_eq!(report.outcome, Outcome::TimedOut { limit: LimitKind::Wall, limit_ms: 60 });
}

#[tokio::test]
async fn a_cancelled_run_ends_as_cancelled() {
    let sandbox = sandbox();
    for source in ["while (true) {}", "new Promise(r => setTimeout(r, 60_000))"] {
        let program = program(&sandbox, source, SourceLanguage::JavaScript).await;
        let endless = invocation("[]", Arc::default());
        let cancel = endless.cancel.clone();
        let (report, ()) = tokio::join!(sandbox.run(&program, endless), async { cancel.cancel() });
        assert_eq!(report.expect("runs").outcome, Outcome::Cancelled);
    }
}

#[tokio::test]
async fn memory_bombs_end_as_out_of_memory() {
    for source in [
        "new ArrayBuffer(1 << 30)",
        "const a = []; for (;;) a.push(1)",
        "let s = 'x'; for (;;) s += s",
        "const a = []; for (;;) a.push({ a: 1 })",
        "const a = []; for (;;) a.push(new Uint8Array(1 << 20))",
    ] {
        let (report, _) = js_report(source, "[]").await;
        let fits = match &report.outcome {
            Outcome::OutOfMemory { limit_bytes, .. } => *limit_bytes == 128 << 20,
            // A string has a length it cannot pass, below what memory it could have.
            Outcome::Threw(error) => {
                error.name == "RangeError" || error.message == "string too long"
            }
            _ => false,
        };
        assert!(fits, "{source}: {:?}", report.outcome);
        let peak = report.usage.memory_peak_bytes.expect("is measured");
        assert!(peak <= 128 << 20, "{source}: {peak}");
    }
    returns("try { new ArrayBuffer(1 << 30) } catch { 'caught' }", "[]", "\"caught\"").await;
}

#[tokio::test]
async fn deep_recursion_throws_inside_the_guest() {
    returns("function f() { return f() + 1 } try { f() } catch (e) { e instanceof RangeError || e.name }", "[]", "true").await;
    for deep in [
        "JSON.parse('['.repeat(200_000))",
        "new Function('return ' + '('.repeat(100_000))",
        "const f = () => [1].map(f); f()",
        "new RegExp('('.repeat(100_000))",
        "const o = {}; o.toString = () => `${o}`; `${o}`",
    ] {
        let source = format!("try {{ {deep}; 'fits' }} catch (e) {{ 'caught' }}");
        let (report, _) = js_report(&source, "[]").await;
        let is_caught = told(&report.outcome) == r#"{"kind":"returned","value":"caught"}"#;
        let is_thrown =
            matches!(&report.outcome, Outcome::Threw(error) if error.name == "RangeError");
        assert!(is_caught || is_thrown, "{deep}: {:?}", report.outcome);
    }
}

#[tokio::test]
async fn large_results_and_output_are_bounded() {
    let (report, _) = js_report("'x'.repeat(7 << 20)", "[]").await;
    assert!(matches!(&report.outcome, Outcome::Threw(error) if error.name == "ResultTooLarge"));
    let (report, heard) =
        js_report("for (let i = 0; i < 3000; i++) console.log('x'.repeat(1000))", "[]").await;
    assert!(report.output_truncated);
    let kept: usize = heard.lines.lock().iter().map(|(_, text)| text.len()).sum();
    assert!(kept <= 1 << 20);
}

#[tokio::test]
async fn a_checkpoint_comes_back() {
    let sandbox = sandbox();
    let program = program(
        &sandbox,
        "[runabout.task.attempt, runabout.task.checkpoint]",
        SourceLanguage::JavaScript,
    )
    .await;
    let mut again = invocation("[]", Arc::default());
    let state = Json::parse(r#"{"step":3}"#.to_owned()).expect("is JSON");
    again.task = Some(runabout_sandbox::TaskContext {
        id: "0198a000-0000-7000-8000-000000000000".parse().expect("is an id"),
        attempt: runabout_protocol::Attempt(2),
        checkpoint: Some(Checkpoint { state, encoding: None }),
    });
    let report = sandbox.run(&program, again).await.expect("runs");
    assert_eq!(told(&report.outcome), r#"{"kind":"returned","value":[2,{"step":3}]}"#);
}

#[tokio::test]
async fn typescript_runs_and_its_errors_name_its_lines() {
    let sandbox = sandbox();
    let source = "interface A { b: number }\n\nexport default function f(a: A): number {\n  if (a.b > 1) throw new Error('big');\n  return a.b;\n}";
    let program = program(&sandbox, source, SourceLanguage::TypeScript).await;
    let report =
        sandbox.run(&program, invocation(r#"[{"b":2}]"#, Arc::default())).await.expect("runs");
    let Outcome::Threw(error) = report.outcome else { panic!("{:?}", report.outcome) };
    assert!(
        error.stack.as_deref().is_some_and(|stack| stack.contains("function.ts:4:")),
        "{error:?}"
    );
}

async fn check_wasm(source: &str, args: &str, expected: &str) {
    let sandbox = sandbox();
    let program = program(&sandbox, source, SourceLanguage::Wasm).await;
    let mut call = invocation(args, Arc::default());
    call.limits.timeout_ms = 200;
    call.limits.cpu_ms = 200;
    let report = sandbox.run(&program, call).await.expect("runs");
    assert_eq!(told(&report.outcome), expected, "{source}");
}

#[tokio::test]
async fn wasm_exports_are_called_with_numbers() {
    let swap = r#"(module (func (export "swap") (param i32 f64) (result f64 i32) local.get 1 local.get 0))"#;
    check_wasm(swap, "[1, 2.5]", r#"{"kind":"returned","value":[2.5,1]}"#).await;
    let wide = r#"(module (func (export "id") (param i64) (result i64) local.get 0))"#;
    check_wasm(
        wide,
        r#"["9223372036854775807"]"#,
        r#"{"kind":"returned","value":"9223372036854775807"}"#,
    )
    .await;
    check_wasm(
        r#"(module (func (export "nothing")))"#,
        "[]",
        r#"{"kind":"returned","value":null}"#,
    )
    .await;
    let nan = r#"(module (func (export "nan") (result f64) f64.const nan))"#;
    check_wasm(nan, "[]", r#"{"kind":"returned","value":"NaN"}"#).await;
}

#[tokio::test]
async fn wasm_that_misbehaves_is_stopped() {
    check_wasm(
        r#"(module (func (export "f") unreachable))"#,
        "[]",
        r#"{"kind":"threw","error":{"name":"RuntimeError","message":"wasm `unreachable` instruction executed"}}"#,
    )
    .await;
    let timed_out = r#"{"kind":"timed_out","limit":"wall","limit_ms":200}"#;
    check_wasm(r#"(module (func (export "f") (loop br 0)))"#, "[]", timed_out).await;
    check_wasm(r#"(module (func $s (loop br 0)) (start $s) (func (export "f")))"#, "[]", timed_out)
        .await;
    let too_much = r#"{"kind":"out_of_memory","limit_bytes":134217728}"#;
    check_wasm(r#"(module (memory 65536) (func (export "f")))"#, "[]", too_much).await;
    let grow = r#"(module (memory (export "memory") 1) (func (export "f") (result i32) (memory.grow (i32.const 60000))))"#;
    check_wasm(grow, "[]", r#"{"kind":"returned","value":-1}"#).await;
}

#[tokio::test]
async fn a_call_that_does_not_fit_is_refused() {
    let sandbox = sandbox();
    let source = r#"(module (func (export "a") (param i32)) (func (export "b")))"#;
    let program = program(&sandbox, source, SourceLanguage::Wasm).await;
    let args = |text: &str| Arguments {
        values: Json::parse(text.to_owned()).expect("is JSON"),
        encoding: None,
    };
    for (export, given, expected) in [
        (Some("a"), "[1]", None),
        (Some("a"), "[]", Some("invalid_arguments")),
        (Some("a"), "[1.5]", Some("invalid_arguments")),
        (Some("c"), "[]", Some("unknown_export")),
        (None, "[]", Some("unknown_export")),
    ] {
        let code = match program.check(export, &args(given)) {
            Ok(()) => None,
            Err(Error::BadCall { code, .. }) => Some(code),
            Err(error) => panic!("{error}"),
        };
        assert_eq!(code, expected, "{export:?} {given}");
    }
}

#[tokio::test]
async fn a_long_run_does_not_hold_up_a_short_one() {
    let sandbox = sandbox();
    let endless = program(&sandbox, "while (true) {}", SourceLanguage::JavaScript).await;
    let cancel = CancellationToken::new();
    let mut loops = Vec::new();
    for _ in 0..8 {
        let (sandbox, endless) = (sandbox.clone(), endless.clone());
        let mut run = invocation("[]", Arc::default());
        run.limits = Limits { timeout_ms: 30_000, cpu_ms: 30_000, ..Limits::default() };
        run.cancel = cancel.clone();
        loops.push(tokio::spawn(async move { sandbox.run(&endless, run).await }));
    }
    let short = program(&sandbox, "export default (a) => a", SourceLanguage::JavaScript).await;
    for _ in 0..20 {
        let report = sandbox.run(&short, invocation("[1]", Arc::default())).await.expect("runs");
        assert_eq!(told(&report.outcome), r#"{"kind":"returned","value":1}"#);
    }
    cancel.cancel();
    for run in loops {
        assert_eq!(run.await.expect("ends").expect("runs").outcome, Outcome::Cancelled);
    }
}

#[tokio::test]
async fn short_runs_do_not_starve_a_long_one() {
    let sandbox = sandbox();
    let short = program(
        &sandbox,
        "const until = Date.now() + 2; while (Date.now() < until); 0",
        SourceLanguage::JavaScript,
    )
    .await;
    let is_over = CancellationToken::new();
    let mut callers = Vec::new();
    for _ in 0..16 {
        let (sandbox, short, is_over) = (sandbox.clone(), short.clone(), is_over.clone());
        callers.push(tokio::spawn(async move {
            while !is_over.is_cancelled() {
                sandbox.run(&short, invocation("[]", Arc::default())).await.expect("runs");
            }
        }));
    }
    let endless = program(&sandbox, "while (true) {}", SourceLanguage::JavaScript).await;
    let mut run = invocation("[]", Arc::default());
    run.limits = Limits { timeout_ms: 300, cpu_ms: 300, ..Limits::default() };
    let started = Instant::now();
    let report = sandbox.run(&endless, run).await.expect("runs");
    assert!(matches!(report.outcome, Outcome::TimedOut { .. }), "{:?}", report.outcome);
    // Not a measurement: without its turns it would not end while the callers go on.
    assert!(started.elapsed().as_secs() < 10);
    is_over.cancel();
    for caller in callers {
        caller.await.expect("ends");
    }
}

#[tokio::test]
async fn a_stack_of_the_guests_own_making_is_cut() {
    let source = "const e = new Error('x'); e.stack = `    at f (function.js:1:1)${'y'.repeat(1e5)}\\n`.repeat(30); throw e";
    let (report, _) = js_report(source, "[]").await;
    let Outcome::Threw(error) = report.outcome else { panic!("{:?}", report.outcome) };
    let stack = error.stack.expect("is kept");
    assert!(stack.lines().count() == 30 && stack.len() < 32 << 10, "{}", stack.len());
}

#[tokio::test]
async fn one_call_of_wasi_that_writes_millions_of_lines_can_be_cancelled() {
    let sandbox = sandbox();
    let source = r#"(module
        (import "wasi_snapshot_preview1" "fd_write" (func $w (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 120)
        (func (export "f")
            (memory.fill (i32.const 64) (i32.const 10) (i32.const 7000000))
            (i32.store (i32.const 0) (i32.const 64))
            (i32.store (i32.const 4) (i32.const 7000000))
            (drop (call $w (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#;
    let program = program(&sandbox, source, SourceLanguage::Wasm).await;
    let heard = Arc::new(Heard::default());
    let run = invocation("[]", heard.clone());
    let cancel = run.cancel.clone();
    // Between two pieces the run gives way, or this would not be polled until it has ended.
    let watch = async {
        while heard.lines.lock().is_empty() {
            tokio::task::yield_now().await;
        }
        cancel.cancel();
    };
    let (report, ()) = tokio::join!(sandbox.run(&program, run), watch);
    assert_eq!(report.expect("runs").outcome, Outcome::Cancelled);
}

#[tokio::test]
async fn a_lack_of_memory_for_the_very_error_is_still_a_lack_of_memory() {
    let source = "const all = new Map(); for (let n = 0; ; n++) all.set({}, n)";
    let (report, _) = js_report(source, "[]").await;
    assert!(matches!(report.outcome, Outcome::OutOfMemory { .. }), "{:?}", report.outcome);
}

#[tokio::test]
async fn modules_with_many_memories_do_not_take_those_of_others() {
    let sandbox = sandbox();
    let greedy = r#"(module (import "runabout" "progress" (func (param f64 i32 i32))) (memory (export "memory") 1) (memory 1) (memory 1) (memory 1) (func (export "f") (loop br 0)))"#;
    let greedy = program(&sandbox, greedy, SourceLanguage::Wasm).await;
    let cancel = CancellationToken::new();
    let mut runs = Vec::new();
    for _ in 0..50 {
        let (sandbox, greedy) = (sandbox.clone(), greedy.clone());
        let mut run = invocation("[]", Arc::default());
        run.cancel = cancel.clone();
        runs.push(tokio::spawn(async move { sandbox.run(&greedy, run).await }));
    }
    let other = program(&sandbox, "1", SourceLanguage::JavaScript).await;
    for _ in 0..10 {
        let report = sandbox.run(&other, invocation("[]", Arc::default())).await.expect("runs");
        assert_eq!(told(&report.outcome), r#"{"kind":"returned","value":1}"#);
    }
    cancel.cancel();
    for run in runs {
        assert_eq!(run.await.expect("ends").expect("runs").outcome, Outcome::Cancelled);
    }
}

#[tokio::test]
async fn compiled_code_is_kept_whole_by_those_that_compile_at_once() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let cache_dir = Some(folder.path().to_owned());
    let config = Config { concurrent_runs_max: 4, cache_dir, ..Config::for_this_machine() };
    let start = || Sandbox::new(config.clone()).expect("starts");
    let (one, other) = (start(), start());
    let source = r#"(module (func (export "one") (result i32) i32.const 1))"#;
    tokio::join!(
        program(&one, source, SourceLanguage::Wasm),
        program(&other, source, SourceLanguage::Wasm)
    );
    let kept: Vec<_> = std::fs::read_dir(folder.path())
        .expect("is a folder")
        .map(|entry| entry.expect("is there").path().extension().map(ToOwned::to_owned))
        .collect();
    assert_eq!(kept, [Some("cwasm".into())]);
    let third = start();
    let loaded = program(&third, source, SourceLanguage::Wasm).await;
    let report = third.run(&loaded, invocation("[]", Arc::default())).await.expect("runs");
    assert_eq!(told(&report.outcome), r#"{"kind":"returned","value":1}"#);
}
