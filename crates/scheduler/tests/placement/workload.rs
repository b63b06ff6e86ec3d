//! Workloads: what is called when, and what it would cost.

use fastrand::Rng;
use runabout_protocol::Digest;
use runabout_scheduler::placement::{Class, Key};

/// A call that somebody will make.
#[derive(Clone, Debug)]
pub struct Call {
    pub at_ms: f64,
    pub key: Key,
    pub class: Class,
    pub is_pure: bool,
    pub bytes: u64,
    /// On a processor of speed 1, in milliseconds.
    pub work: f64,
    pub idle_ms: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Short,
    Long,
    Growing,
    Bursty,
    Sized,
    Impure,
    Mixed,
}

pub const KINDS: [Kind; 7] =
    [Kind::Short, Kind::Long, Kind::Growing, Kind::Bursty, Kind::Sized, Kind::Impure, Kind::Mixed];

/// How long a workload goes on, in milliseconds.
pub const WHOLE_MS: f64 = 120_000.0;

impl Kind {
    /// The calls of a workload, in order.
    pub fn calls(self, random: &mut Rng) -> Vec<Call> {
        let mut calls = match self {
            Self::Short => every(random, 20.0, short),
            Self::Long => every(random, 500.0, long),
            Self::Growing => every(random, 60.0, growing),
            Self::Bursty => bursts(random),
            Self::Sized => every(random, 60.0, sized),
            Self::Impure => {
                every(random, 120.0, |random| Call { is_pure: false, ..growing(random) })
            }
            Self::Mixed => [
                every(random, 60.0, short),
                every(random, 2_000.0, long),
                every(random, 200.0, growing),
                every(random, 300.0, sized),
                every(random, 500.0, |random| Call { is_pure: false, ..growing(random) }),
            ]
            .concat(),
        };
        calls.sort_by(|one, another| one.at_ms.total_cmp(&another.at_ms));
        calls
    }
}

fn every(random: &mut Rng, pause_ms: f64, draw: impl Fn(&mut Rng) -> Call) -> Vec<Call> {
    let mut calls = Vec::new();
    let mut at_ms = 0.0;
    loop {
        at_ms += -pause_ms * (1.0 - random.f64()).ln();
        if at_ms >= WHOLE_MS {
            return calls;
        }
        calls.push(Call { at_ms, ..draw(random) });
    }
}

fn bursts(random: &mut Rng) -> Vec<Call> {
    let mut calls = Vec::new();
    for begin in every(random, 2_500.0, short) {
        for _ in 0..random.usize(5..40) {
            calls.push(Call { at_ms: begin.at_ms + random.f64() * 5.0, ..middling(random) });
        }
    }
    calls
}

fn call(function: u8, arguments: &str, work: f64, random: &mut Rng) -> Call {
    let strays = 0.8 + 0.4 * random.f64();
    Call {
        at_ms: 0.0,
        key: Key { digest: Digest([function; 32]), export: None },
        class: Class::of(arguments),
        is_pure: true,
        bytes: arguments.len() as u64,
        work: work * strays,
        idle_ms: 0.0,
    }
}

fn short(random: &mut Rng) -> Call {
    let n = random.u8(1..8);
    call(n, r#"["somebody"]"#, 0.2 * f64::from(n), random)
}

fn middling(random: &mut Rng) -> Call {
    let n = random.u8(1..6);
    call(20 + n, "[1]", 10.0 * f64::from(n), random)
}

fn long(random: &mut Rng) -> Call {
    let n = random.u8(1..5);
    let idle_ms = if n == 4 { 200.0 } else { 0.0 };
    Call { idle_ms, ..call(10 + n, "[\"x\"]", 100.0 * f64::from(n), random) }
}

/// Fibonacci numbers, the slow way.
fn growing(random: &mut Rng) -> Call {
    let n = random.i32(16..35);
    call(30, &format!("[{n}]"), 0.05 * 1.618_f64.powi(n - 18), random)
}

/// Work in proportion to arguments of up to a megabyte.
fn sized(random: &mut Rng) -> Call {
    let bytes = 1_000.0 * 1_000_f64.powf(random.f64());
    let text = "x".repeat(bytes as usize);
    call(40, &format!("[\"{text}\"]"), bytes * 5e-5, random)
}
