//! Measures what hostile guests do to others, with the release binary.

use anyhow::Result;

use crate::programs::{self, command, runabout};

/// Runs `tests/src/bin/hostile.rs`, which prints outcomes, waiting times and memory.
pub fn run(options: &[String]) -> Result<()> {
    // Builds the measuring program too.
    let runabout = runabout()?;
    programs::run(command(runabout.with_file_name("hostile")).args(options))
}
