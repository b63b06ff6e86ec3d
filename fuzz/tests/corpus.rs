//! Every committed example, and small changes of each: cheap enough for every test run, and the
//! same each time. What libFuzzer finds becomes an example.

use std::path::Path;

use runabout_fuzz::{TARGETS, Target, target};

/// Changes of each example.
const CHANGES: u64 = 400;

fn examples(target: Target) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name);
    let files = std::fs::read_dir(&folder).unwrap_or_else(|_| panic!("{}", folder.display()));
    let mut examples: Vec<_> = files
        .map(|file| {
            let path = file.expect("is listed").path();
            let bytes = std::fs::read(&path).expect("is read");
            (path.display().to_string(), bytes)
        })
        .collect();
    examples.sort();
    assert!(!examples.is_empty(), "{} has no examples", folder.display());
    examples
}

/// A small generator that gives the same numbers each time (xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound.max(1) as u64).unwrap_or_default()
    }
}

/// Changes, repeats, takes away or brings in some bytes.
fn change(example: &[u8], other: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    const TELLING: &[u8] = b"\0\n\r\"'\\{}[]:,-/*@=&%+.0199\x7f\x80\xff";
    let mut bytes = example.to_vec();
    for _ in 0..=numbers.below(4) {
        let at = numbers.below(bytes.len());
        match numbers.below(5) {
            0 if !bytes.is_empty() => bytes[at] = TELLING[numbers.below(TELLING.len())],
            1 if !bytes.is_empty() => bytes[at] ^= 1 << numbers.below(8),
            2 => bytes.insert(at, TELLING[numbers.below(TELLING.len())]),
            3 => drop(bytes.drain(at..(at + numbers.below(8)).min(bytes.len()))),
            _ => {
                let from = numbers.below(other.len());
                let piece = &other[from..(from + numbers.below(32)).min(other.len())];
                bytes.splice(at..at, piece.iter().copied());
            }
        }
    }
    bytes
}

fn hold(name: &str) {
    let target = target(name).expect("there is such a target");
    let examples = examples(target);
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    for (_, example) in &examples {
        (target.run)(example);
        for _ in 0..CHANGES {
            let (_, other) = &examples[numbers.below(examples.len())];
            (target.run)(&change(example, other, &mut numbers));
        }
    }
}

#[test]
fn every_target_is_held() {
    let held = [
        "cron",
        "endpoint",
        "frames",
        "merge",
        "multipart",
        "query",
        "rule",
        "schedule",
        "source",
        "task_request",
        "values",
    ];
    assert!(TARGETS.iter().map(|target| target.name).eq(held));
}

#[test]
fn cron_holds() {
    hold("cron");
}

#[test]
fn endpoint_holds() {
    hold("endpoint");
}

#[test]
fn frames_holds() {
    hold("frames");
}

#[test]
fn merge_holds() {
    hold("merge");
}

#[test]
fn multipart_holds() {
    hold("multipart");
}

#[test]
fn query_holds() {
    hold("query");
}

#[test]
fn rule_holds() {
    hold("rule");
}

#[test]
fn schedule_holds() {
    hold("schedule");
}

#[test]
fn source_holds() {
    hold("source");
}

#[test]
fn task_request_holds() {
    hold("task_request");
}

#[test]
fn values_holds() {
    hold("values");
}
