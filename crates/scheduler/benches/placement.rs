//! What a decision costs: the class of the arguments, the decision, and what is told of the run.
//! Measured is processor time, so that a machine with other work shows much the same.

use std::hint::black_box;
use std::time::Duration;

use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{Criterion, criterion_group, criterion_main};
use runabout_protocol::Digest;
use runabout_scheduler::placement::{Class, End, Key, Placement, Question, Run, Side};
use rustix::time::{ClockId, clock_gettime};

/// The processor time of this thread.
struct ProcessorTime;

impl Measurement for ProcessorTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
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

fn key(n: u8) -> Key {
    Key { digest: Digest([n; 32]), export: None }
}

fn question(key: &Key, class: Class) -> Question<'_> {
    Question { key, class, is_pure: true, sent_bytes: 100, artifact_bytes: 0 }
}

fn end(placement: &mut Placement, now: Duration, what: (&Key, Class)) {
    let ticket = placement.begin(now, Side::Here, what.0, what.1);
    let run = Run { wall_ms: 20.0, cpu_ms: Some(20.0) };
    placement.end(now, (Side::Here, ticket), what, End::Ran(run));
}

/// A node that has seen as many functions and classes as it remembers.
fn experienced() -> Placement {
    let mut placement = Placement::new(2);
    for n in 0..=255 {
        for argument in 0..64 {
            let (key, class) = (key(n), Class::of(&format!("[{argument}]")));
            placement.decide(Duration::ZERO, &question(&key, class));
            end(&mut placement, Duration::ZERO, (&key, class));
        }
    }
    placement
}

fn placement(criterion: &mut Criterion<ProcessorTime>) {
    let mut placement = experienced();
    let key = key(7);
    let known = Class::of("[34]");
    let new = Class::of("[34.5]");
    let now = Duration::from_secs(1);
    let mut group = criterion.benchmark_group("placement");
    group.bench_function("class of a number", |bencher| {
        bencher.iter(|| Class::of(black_box("[34]")));
    });
    let long = format!("[7, \"{}\"]", "x".repeat(1 << 20));
    group.bench_function("class of a megabyte", |bencher| {
        bencher.iter(|| Class::of(black_box(&long)));
    });
    group.bench_function("decide, known", |bencher| {
        bencher.iter(|| placement.decide(now, &question(black_box(&key), known)));
    });
    group.bench_function("decide, likened to neighbours", |bencher| {
        bencher.iter(|| placement.decide(now, &question(black_box(&key), new)));
    });
    let busy: Vec<_> = (0..256).map(|_| placement.begin(now, Side::Here, &key, known)).collect();
    group.bench_function("decide, 256 calls under way", |bencher| {
        bencher.iter(|| placement.decide(now, &question(black_box(&key), known)));
    });
    for ticket in busy {
        placement.end(now, (Side::Here, ticket), (&key, known), End::Nothing);
    }
    group.bench_function("class, decide, begin, end", |bencher| {
        bencher.iter(|| {
            let class = Class::of(black_box("[34]"));
            placement.decide(now, &question(&key, class));
            end(&mut placement, now, (&key, class));
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(ProcessorTime);
    targets = placement
}
criterion_main!(benches);
