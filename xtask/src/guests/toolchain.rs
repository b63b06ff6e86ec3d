//! Which compiler builds the guests: the one that builds everything, if it has or can get the
//! standard library for WebAssembly; else Debian's, which builds that library from source.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::programs::{cargo, command, install_from_debian, read_line, run, succeeds};

/// What the guests are built for.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// Debian's compiler with the source of its standard library, and a linker for WebAssembly.
const DEBIAN_PACKAGES: &[&str] = &["rustc-web", "cargo-web", "rust-web-src", "lld-19"];
const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_LINKER: &str = "/usr/bin/wasm-ld-19";

/// A compiler that can build the guests.
pub enum Toolchain {
    /// The one that builds everything.
    Own,
    /// Debian's, beside it.
    Debian,
}

impl Toolchain {
    /// What is on this machine already.
    pub fn find() -> Option<Self> {
        if has_wasm_target() {
            return Some(Self::Own);
        }
        has_debian().then_some(Self::Debian)
    }

    /// What is on this machine, or can be put there.
    pub fn find_or_install() -> Result<Self> {
        if let Some(toolchain) = Self::find() {
            return Ok(toolchain);
        }
        println!("adding {TARGET} through rustup");
        let added = run(command("rustup").args(["target", "add", TARGET]));
        if added.is_ok() && has_wasm_target() {
            return Ok(Self::Own);
        }
        println!("rustup could not; using Debian's compiler instead");
        install_from_debian(DEBIAN_PACKAGES)
            .with_context(|| format!("no compiler for {TARGET} is to be had here"))?;
        Ok(Self::Debian)
    }

    /// The compiler's name for itself.
    pub fn version(&self) -> Result<String> {
        match self {
            Self::Own => read_line(command("rustc").arg("--version")),
            Self::Debian => {
                read_line(without_own_toolchain(&mut command(DEBIAN_RUSTC)).arg("--version"))
            }
        }
    }

    /// This compiler's Cargo.
    pub fn cargo(&self) -> Command {
        match self {
            Self::Own => cargo(&[]),
            Self::Debian => debian_cargo(),
        }
    }
}

/// Whether the compiler that builds everything has the standard library for WebAssembly.
pub fn has_wasm_target() -> bool {
    read_line(command("rustc").args(["--print", "target-libdir", "--target", TARGET]))
        .is_ok_and(|folder| Path::new(&folder).is_dir())
}

fn has_debian() -> bool {
    succeeds(command("dpkg").arg("-s").args(DEBIAN_PACKAGES))
}

fn debian_cargo() -> Command {
    let mut cargo = command(DEBIAN_CARGO);
    without_own_toolchain(&mut cargo)
        .env("RUSTC", DEBIAN_RUSTC)
        // Building the standard library is an unstable feature of a stable compiler.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_UNSTABLE_BUILD_STD", "std,panic_abort")
        // Panics would name the folders of whoever builds: never the same bytes twice.
        .env("RUSTFLAGS", "-Zlocation-detail=none")
        .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", DEBIAN_LINKER);
    cargo
}

/// Without what Cargo and rustup set for the programs they start: the path of their own compiler's
/// libraries above all.
fn without_own_toolchain(command: &mut Command) -> &mut Command {
    ["CARGO", "LD_LIBRARY_PATH", "RUSTC", "RUSTFLAGS", "RUSTUP_TOOLCHAIN"]
        .iter()
        .fold(command, |command, name| command.env_remove(name))
}
