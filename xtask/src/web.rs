//! Builds and checks what is written in TypeScript: the package for pages, and the console.

use std::fs;
use std::path::Path;

use anyhow::Result;

use crate::programs::{command, install_from_debian, run, succeeds};

/// Installs what the packages need from npm, if that is not there yet, and builds them.
pub fn build() -> Result<()> {
    install()?;
    npm(&["run", "build"])
}

/// Builds, checks types, and runs the tests that need neither a node nor a browser.
pub fn check() -> Result<()> {
    install()?;
    // First: the console reads the package's types as they were built.
    npm(&["run", "build"])?;
    npm(&["run", "typecheck"])?;
    npm(&["test"])
}

/// Runs the tests that need a browser, on the binary that was built. What they test was built by
/// [`check`].
pub fn browser_tests() -> Result<()> {
    if !succeeds(command("sh").args(["-c", "command -v chromium"])) {
        install_from_debian(&["chromium"])?;
    }
    npm(&["run", "test:browser"])
}

fn install() -> Result<()> {
    if is_installed() {
        return Ok(());
    }
    npm(&["ci"])
}

/// npm writes its own copy of the lockfile when it is done.
fn is_installed() -> bool {
    let changed_at = |path: &str| fs::metadata(path).and_then(|file| file.modified());
    match (changed_at("web/node_modules/.package-lock.json"), changed_at("web/package-lock.json")) {
        (Ok(installed), Ok(wanted)) => installed >= wanted,
        _ => false,
    }
}

fn npm(args: &[&str]) -> Result<()> {
    run(command("npm").args(args).current_dir(Path::new("web")))
}
