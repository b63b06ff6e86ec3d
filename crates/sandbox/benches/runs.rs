//! What one run costs, from a call's arguments to its report, each in an instance without a trace of
//! others. Measured is processor time, all threads together, so that a machine with other work shows much
//! the same.

use std::fs;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{Criterion, criterion_group, criterion_main};
use runabout_protocol::{Arguments, Json, Limits, Outcome};
use runabout_sandbox::{
    Config, Invocation, Program, Report, Sandbox, Silent, SourceLanguage, accept,
};
use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

const FIB: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../guests/dist/fib.wasm");

/// The processor time of the whole process.
struct ProcessorTime;

impl Measurement for ProcessorTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        let time = clock_gettime(ClockId::ProcessCPUTime);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    }

    fn end(&self, start: Duration) -> Duration {
        self.start() - start
    }

    fn add(&self, one: &Duration, other: &Duration) -> Duration {
        *one + *other
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        value.as_nanos() as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

/// A sandbox of its own and a runtime for it.
struct Bench {
    runtime: Runtime,
    sandbox: Sandbox,
}

impl Bench {
    fn start() -> Self {
        let runtime = Runtime::new().expect("threads can be started");
        let sandbox = runtime.block_on(async { Sandbox::new(Config::for_this_machine()) });
        Self { runtime, sandbox: sandbox.expect("the sandbox starts") }
    }

    fn program(&self, source: impl Into<Bytes>, language: SourceLanguage) -> Arc<Program> {
        let accepted = accept(source.into(), language).expect("is accepted");
        let prepared =
            self.sandbox.prepare(accepted.digest, accepted.language, accepted.form, accepted.bytes);
        self.runtime.block_on(prepared).expect("is prepared")
    }

    fn run(&self, program: &Arc<Program>, args: &Json) -> Report {
        let invocation = Invocation {
            export: None,
            args: Arguments { values: args.clone(), encoding: None },
            stdin: None,
            limits: Limits::default(),
            task: None,
            observer: Arc::new(Silent),
            cancel: CancellationToken::new(),
        };
        self.runtime.block_on(self.sandbox.run(program, invocation)).expect("runs")
    }

    fn measure(
        &self,
        criterion: &mut Criterion<ProcessorTime>,
        name: &str,
        program: &Arc<Program>,
        args: &str,
    ) {
        let args = Json::parse(args.to_owned()).expect("is JSON");
        let report = self.run(program, &args);
        assert!(matches!(report.outcome, Outcome::Returned(_)), "{name}: {:?}", report.outcome);
        criterion.bench_function(name, |bencher| {
            bencher.iter(|| black_box(self.run(program, &args)));
        });
    }
}

fn javascript(criterion: &mut Criterion<ProcessorTime>) {
    let bench = Bench::start();
    let cases = [
        ("module", "export default (a, b) => a + b;", "[1,2]"),
        ("script", "1 + 2", "[]"),
        ("await", "export default async (a) => { await null; return a }", "[1]"),
        ("console", "export default (a) => { console.log('a', a); return a }", "[1]"),
    ];
    for (name, source, args) in cases {
        let program = bench.program(source, SourceLanguage::JavaScript);
        bench.measure(criterion, &format!("javascript/{name}"), &program, args);
    }
}

fn wasm(criterion: &mut Criterion<ProcessorTime>) {
    let bench = Bench::start();
    let module = fs::read(FIB).expect("the guests are built");
    let fib = bench.program(module, SourceLanguage::Wasm);
    bench.measure(criterion, "wasm/fib(1)", &fib, "[1]");
    bench.measure(criterion, "wasm/fib(30)", &fib, "[30]");
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(ProcessorTime);
    targets = javascript, wasm
}
criterion_main!(benches);
