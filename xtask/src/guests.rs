//! Builds the WebAssembly guests. What is built is committed in `guests/dist`, so that neither the
//! tests nor a first start need a compiler for WebAssembly; `guests/dist/TOOLCHAIN` says from what
//! and by which compiler.

mod toolchain;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};

use crate::check::Ending;
use crate::programs::{cargo, run};
use toolchain::Toolchain;
pub use toolchain::{TARGET, has_wasm_target};

const SOURCES: &str = "guests";
const DIST: &str = "guests/dist";
const RECORD: &str = "guests/dist/TOOLCHAIN";

/// Builds every guest into `guests/dist`.
pub fn build(if_stale: bool) -> Result<()> {
    if if_stale && is_current()? {
        return Ok(());
    }
    let toolchain = Toolchain::find_or_install()?;
    for (name, module) in compile(&toolchain)? {
        let bytes = module.len();
        fs::create_dir_all(DIST).with_context(|| format!("failed to make {DIST}"))?;
        let path = dist_path(&name);
        fs::write(&path, module).with_context(|| format!("failed to write {}", path.display()))?;
        println!("{} {bytes} bytes", path.display());
    }
    let record = Record { compiler: toolchain.version()?, sources: digest_of_sources()? };
    fs::write(RECORD, record.to_text()).with_context(|| format!("failed to write {RECORD}"))
}

/// Holds `guests/dist` against the sources; builds them again where the same compiler is at hand.
pub fn check() -> Result<Ending> {
    if !is_current()? {
        bail!("{DIST} was built from other sources; run `cargo xtask guests`");
    }
    let Some(toolchain) = Toolchain::find() else {
        return Ok(Ending::Skipped(format!("no compiler for {TARGET} here; sources match")));
    };
    if matches!(toolchain, Toolchain::Own) {
        lint()?;
    }
    let (built_by, here) = (Record::read()?.compiler, toolchain.version()?);
    if built_by != here {
        return Ok(Ending::Skipped(format!("built by {built_by}, here is {here}; sources match")));
    }
    let differing: Vec<_> = compile(&toolchain)?
        .into_iter()
        .filter(|(name, module)| fs::read(dist_path(name)).ok().as_ref() != Some(module))
        .map(|(name, _)| name)
        .collect();
    if !differing.is_empty() {
        bail!("{DIST} cannot be reproduced: {}; run `cargo xtask guests`", differing.join(", "));
    }
    Ok(Ending::Passed)
}

fn lint() -> Result<()> {
    let manifest = format!("{SOURCES}/Cargo.toml");
    let args = ["clippy", "--release", "--target", TARGET, "--manifest-path", &manifest];
    run(cargo(&args).args(["--", "-D", "warnings"]))
}

/// Compiles all guests; gives their names and modules.
fn compile(toolchain: &Toolchain) -> Result<Vec<(String, Vec<u8>)>> {
    run(toolchain.cargo().current_dir(SOURCES).args(["build", "--release", "--target", TARGET]))?;
    names()?
        .into_iter()
        .map(|name| {
            let path = format!("{SOURCES}/target/{TARGET}/release/{name}.wasm");
            let module = fs::read(&path).with_context(|| format!("failed to read {path}"))?;
            Ok((name, module))
        })
        .collect()
}

/// Every folder with a manifest is a guest.
fn names() -> Result<Vec<String>> {
    let mut names: Vec<_> = entries(Path::new(SOURCES))?
        .into_iter()
        .filter(|path| path.join("Cargo.toml").is_file())
        .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    Ok(names)
}

fn dist_path(name: &str) -> PathBuf {
    Path::new(DIST).join(name).with_extension("wasm")
}

/// Whether every guest is in `guests/dist`, built from the sources as they are now.
fn is_current() -> Result<bool> {
    let all_there = names()?.iter().all(|name| dist_path(name).is_file());
    let sources = digest_of_sources()?;
    Ok(all_there && Record::read().is_ok_and(|record| record.sources == sources))
}

/// What `guests/dist` was made of.
struct Record {
    compiler: String,
    sources: String,
}

impl Record {
    fn read() -> Result<Self> {
        let text =
            fs::read_to_string(RECORD).with_context(|| format!("failed to read {RECORD}"))?;
        let mut lines = text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned);
        match (lines.next(), lines.next()) {
            (Some(compiler), Some(sources)) => Ok(Self { compiler, sources }),
            _ => bail!("{RECORD} is cut short"),
        }
    }

    fn to_text(&self) -> String {
        format!("# Written by `cargo xtask guests`.\n{}\n{}\n", self.compiler, self.sources)
    }
}

fn digest_of_sources() -> Result<String> {
    let mut files = Vec::new();
    collect_sources(Path::new(SOURCES), &mut files)?;
    files.sort();
    let mut hash = Sha256::new();
    for path in files {
        let content =
            fs::read(&path).with_context(|| format!("failed to read {}", path.display()))?;
        hash.update(path.to_string_lossy().as_bytes());
        hash.update((content.len() as u64).to_le_bytes());
        hash.update(content);
    }
    Ok(format!("sha256:{}", hex::encode(hash.finalize())))
}

fn collect_sources(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for path in entries(folder)? {
        let is_built = path.ends_with("target") || path.ends_with("dist");
        let is_source = path
            .extension()
            .is_some_and(|extension| ["rs", "toml", "lock"].iter().any(|kind| extension == *kind));
        if path.is_dir() && !is_built {
            collect_sources(&path, files)?;
        } else if is_source {
            files.push(path);
        }
    }
    Ok(())
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let shown = || format!("failed to list {}", folder.display());
    fs::read_dir(folder)
        .with_context(shown)?
        .map(|entry| Ok(entry.with_context(shown)?.path()))
        .collect()
}
