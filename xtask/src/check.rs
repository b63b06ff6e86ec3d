//! The one command that checks everything. A failing step does not keep the next ones from running:
//! whoever reads the end sees all that is wrong at once.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::programs::{cargo, command, run as run_program, runabout, succeeds};
use crate::{directions, generate, guests, web};

/// How a step ended that did not fail.
pub enum Ending {
    /// Looked at, and fine.
    Passed,
    /// Not looked at, and why.
    Skipped(String),
}

struct Step {
    name: &'static str,
    run: fn() -> Result<Ending>,
}

/// Quick ones first; tests last, so that their own summary stands near the end.
const STEPS: &[Step] = &[
    Step { name: "format", run: format },
    Step { name: "directions", run: || directions::check().map(passed) },
    Step { name: "licences", run: licences },
    Step { name: "guests", run: guests::check },
    Step { name: "wasm32", run: protocol_for_wasm },
    Step { name: "web", run: || web::check().map(passed) },
    Step { name: "lints", run: lints },
    Step { name: "build", run: || runabout().map(passed) },
    Step { name: "generated", run: || generate::check().map(passed) },
    Step { name: "browser", run: || web::browser_tests().map(passed) },
    Step { name: "tests", run: tests },
];

/// Runs every step, prints what became of each, and fails if one did.
pub fn run() -> Result<()> {
    let results: Vec<_> = STEPS.iter().map(|step| (step.name, timed(step))).collect();

    println!();
    let mut failed = Vec::new();
    for (name, (result, duration)) in &results {
        let seconds = duration.as_secs_f64();
        match result {
            Ok(Ending::Passed) => println!("  passed   {seconds:7.1} s  {name}"),
            Ok(Ending::Skipped(reason)) => println!("  skipped  {seconds:7.1} s  {name}: {reason}"),
            Err(error) => {
                println!("  FAILED   {seconds:7.1} s  {name}: {error:#}");
                failed.push(*name);
            }
        }
    }
    if !failed.is_empty() {
        bail!("{} of {} steps failed: {}", failed.len(), results.len(), failed.join(", "));
    }
    Ok(())
}

fn timed(step: &Step) -> (Result<Ending>, Duration) {
    println!("\n== {}", step.name);
    let started = Instant::now();
    let result = (step.run)();
    if let Err(error) = &result {
        println!("{}: {error:#}", step.name);
    }
    (result, started.elapsed())
}

fn passed<T>(_: T) -> Ending {
    Ending::Passed
}

fn format() -> Result<Ending> {
    let project = run_program(&mut cargo(&["fmt", "--all", "--check"]));
    let guests = run_program(&mut cargo(&[
        "fmt",
        "--all",
        "--check",
        "--manifest-path",
        "guests/Cargo.toml",
    ]));
    project.and(guests).map(passed).context("`cargo fmt` would change something")
}

fn lints() -> Result<Ending> {
    let args = ["clippy", "--release", "--workspace", "--all-targets", "--", "-D", "warnings"];
    run_program(&mut cargo(&args)).map(passed)
}

/// The wire types are compiled into tabs too.
fn protocol_for_wasm() -> Result<Ending> {
    if !guests::has_wasm_target() {
        return Ok(Ending::Skipped(format!("no {} target here", guests::TARGET)));
    }
    let args = ["check", "--release", "--package", "runabout-protocol", "--target", guests::TARGET];
    run_program(&mut cargo(&args)).map(passed)
}

/// Where `make test` puts what it installs for itself.
const OWN_CARGO_DENY: &str = "target/tools/bin/cargo-deny";

fn licences() -> Result<Ending> {
    let Some(cargo_deny) = ["cargo-deny", OWN_CARGO_DENY]
        .into_iter()
        .find(|program| succeeds(command(program).arg("--version")))
    else {
        return Ok(Ending::Skipped(
            "cargo-deny is not installed: `cargo install --locked cargo-deny`".into(),
        ));
    };
    run_program(command(cargo_deny).args(["check", "licenses", "bans", "sources"])).map(passed)
}

fn tests() -> Result<Ending> {
    let has_nextest = succeeds(&mut cargo(&["nextest", "--version"]));
    let args: &[&str] = if has_nextest {
        &["nextest", "run", "--release", "--workspace", "--no-fail-fast"]
    } else {
        &["test", "--release", "--workspace", "--no-fail-fast"]
    };
    run_program(&mut cargo(args)).map(passed)
}
