//! Prepares the benchmark and starts it: the binary, the package for pages, the peers from npm, and
//! what Debian has of them.

use std::fs;

use anyhow::Result;

use crate::programs::{self, command, install_from_debian, runabout, succeeds};
use crate::web;

/// Runs `bench/run.mjs`, which writes `bench/RESULTS.md`.
pub fn run(options: &[String]) -> Result<()> {
    let runabout = runabout()?;
    // Each is also the name of its Debian package.
    for program in ["wrk", "redis-server", "nginx", "chromium"] {
        if !succeeds(command("sh").args(["-c", &format!("command -v {program}")])) {
            install_from_debian(&[program])?;
        }
    }
    web::build()?;
    if !peers_are_installed() {
        programs::run(command("npm").args(["ci", "--prefix", "bench"]))?;
    }
    programs::run(
        command("node").arg("bench/run.mjs").arg("--runabout").arg(runabout).args(options),
    )
}

/// npm writes its own copy of the lockfile when it is done.
fn peers_are_installed() -> bool {
    let changed_at = |path| fs::metadata(path).and_then(|file| file.modified());
    match (
        changed_at("bench/node_modules/.package-lock.json"),
        changed_at("bench/package-lock.json"),
    ) {
        (Ok(installed), Ok(wanted)) => installed >= wanted,
        _ => false,
    }
}
