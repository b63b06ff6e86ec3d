//! Searches with libFuzzer for input that breaks a parser. The build is the release build with the
//! project's own crates instrumented: what they depend on is not compiled again.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::programs::{cargo, command, run as run_program};

const EXAMPLES: &str = "fuzz/corpus";
/// What libFuzzer found interesting, kept from one search to the next.
const FOUND: &str = "target/fuzz/corpus";
/// Input that broke something.
const BROKEN: &str = "target/fuzz/broken";
const BINARY: &str = "target/release/runabout-fuzz";

/// The longest input that is tried.
const INPUT_BYTES_MAX: u32 = 4_096;
/// An input that takes longer than this has broken something.
const INPUT_SECONDS_MAX: u32 = 10;
/// So has one that needs more memory.
const MEMORY_MIB_MAX: u32 = 2_048;

/// Searches for so many seconds with each target, or with the one that is named.
pub fn run(seconds: u32, only: Option<&str>) -> Result<()> {
    build()?;
    let names: Vec<String> =
        names()?.into_iter().filter(|name| only.is_none_or(|only| only == name)).collect();
    if names.is_empty() {
        bail!("no such target; there is one for each folder of {EXAMPLES}");
    }
    let broken: Vec<_> = names.iter().filter(|name| search(name, seconds).is_err()).collect();
    if !broken.is_empty() {
        bail!("{broken:?} broke; see {BROKEN}. What is mended becomes an example in {EXAMPLES}");
    }
    Ok(())
}

fn build() -> Result<()> {
    let wrapper =
        fs::canonicalize("scripts/instrument.sh").context("failed to find the wrapper")?;
    // The whole workspace, so that the crates it shares with the product have the same features.
    let mut build = cargo(&["build", "--release", "--workspace", "--bin", "runabout-fuzz"]);
    build.args(["--features", "runabout-fuzz/libfuzzer"]);
    run_program(build.env("RUSTC_WORKSPACE_WRAPPER", wrapper))
}

fn names() -> Result<Vec<String>> {
    let folders = fs::read_dir(EXAMPLES).with_context(|| format!("failed to list {EXAMPLES}"))?;
    let mut names = folders
        .map(|folder| Ok(folder?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

fn search(name: &str, seconds: u32) -> Result<()> {
    println!("\n-- {name}");
    let found = folder(FOUND, name)?;
    let broken = folder(BROKEN, name)?;
    let flags = [
        format!("-max_total_time={seconds}"),
        format!("-max_len={INPUT_BYTES_MAX}"),
        format!("-timeout={INPUT_SECONDS_MAX}"),
        format!("-rss_limit_mb={MEMORY_MIB_MAX}"),
        format!("-artifact_prefix={}/", broken.display()),
        "-print_final_stats=1".to_owned(),
        "-verbosity=0".to_owned(),
    ];
    let examples = Path::new(EXAMPLES).join(name);
    let mut fuzz = command(BINARY);
    fuzz.env("RUNABOUT_FUZZ_TARGET", name).args(flags).arg(found).arg(examples);
    run_program(&mut fuzz)
}

fn folder(parent: &str, name: &str) -> Result<PathBuf> {
    let folder = Path::new(parent).join(name);
    fs::create_dir_all(&folder).with_context(|| format!("failed to make {}", folder.display()))?;
    Ok(folder)
}
