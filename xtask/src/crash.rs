//! Starts the crash driver, which lives with the whole-product tests.

use anyhow::Result;

use crate::programs::{self, command, runabout};

/// Kills a node so many times and accounts for every task. `RUNABOUT_SEED` repeats the choices of an
/// earlier time.
pub fn run(kills: u64) -> Result<()> {
    // Of the same build, so that the driver finds it beside itself.
    let driver = runabout()?.with_file_name("runabout-crash");
    programs::run(command(driver).arg(kills.to_string()))
}
