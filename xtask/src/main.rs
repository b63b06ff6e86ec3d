//! The project's own tasks, run as `cargo xtask NAME`.

mod bench;
mod check;
mod crash;
mod directions;
mod fuzz;
mod generate;
mod guests;
mod hostile;
mod programs;
mod web;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The project's own tasks")]
enum Task {
    /// Check everything: format, directions, licences, lints, guests, generated files, tests.
    Check,
    /// Build the WebAssembly guests into guests/dist, with rustup's target or Debian's compiler.
    Guests {
        /// Build only if guests/dist does not match the sources.
        #[arg(long)]
        if_stale: bool,
    },
    /// Write the files that are made from the code.
    Generate {
        /// Write nothing; fail if a file differs from what would be written.
        #[arg(long)]
        check: bool,
    },
    /// Build what is written in TypeScript: the package for pages, and the console.
    Web,
    /// Search for input that breaks a parser.
    Fuzz {
        /// Seconds for each target.
        #[arg(default_value_t = 60)]
        seconds: u32,
        /// Only this target.
        #[arg(long)]
        target: Option<String>,
    },
    /// Set the hostile guests loose on a node, and measure what others feel of it.
    Hostile {
        /// Handed to the measuring program; `-- --help` shows what it understands.
        #[arg(last = true)]
        options: Vec<String>,
    },
    /// Kill a node many times while clients work with it, and account for every task.
    Crash {
        /// How many times.
        #[arg(long, default_value_t = 200)]
        kills: u64,
    },
    /// Measure calls and the task queue beside their peers, and write bench/RESULTS.md.
    Bench {
        /// Handed to bench/run.mjs; `-- --help` shows what it understands.
        #[arg(last = true)]
        options: Vec<String>,
    },
}

fn main() -> ExitCode {
    match run(Task::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One line: a backtrace through these tasks helps nobody.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<()> {
    enter_the_repository()?;
    match task {
        Task::Check => check::run(),
        Task::Guests { if_stale } => guests::build(if_stale),
        Task::Generate { check: false } => generate::write(),
        Task::Generate { check: true } => generate::check(),
        Task::Web => web::build(),
        Task::Fuzz { seconds, target } => fuzz::run(seconds, target.as_deref()),
        Task::Hostile { options } => hostile::run(&options),
        Task::Crash { kills } => crash::run(kills),
        Task::Bench { options } => bench::run(&options),
    }
}

/// Every path in these tasks is relative to the repository's top.
fn enter_the_repository() -> Result<()> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    std::env::set_current_dir(&top).with_context(|| format!("failed to enter {}", top.display()))
}
