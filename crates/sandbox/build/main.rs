//! Makes the JavaScript engine: initialises QuickJS with our prelude, takes a snapshot of its
//! memory, and compiles the snapshot ahead of time. What a run finds is a copy of that memory.

#[path = "../src/counted.rs"]
mod counted;
mod driver;
#[path = "../src/engine_settings.rs"]
#[expect(dead_code, reason = "some settings are for the running sandbox only")]
mod engine_settings;
mod exports;
#[path = "../src/interruptible.rs"]
mod interruptible;
#[path = "../src/operators.rs"]
mod operators;
mod quickjs;
mod state;

use std::path::{Path, PathBuf};
use std::{env, fs};

use wasmtime::Engine;
use wasmtime::error::Context as _;

fn main() -> wasmtime::Result<()> {
    let manifest_dir = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let out_dir = PathBuf::from(env::var("OUT_DIR")?);
    let quickjs_path = manifest_dir.join("../../node_modules/quickjs-wasi/quickjs.wasm");
    let prelude_path = manifest_dir.join("prelude/prelude.js");
    for path in [&quickjs_path, &prelude_path] {
        println!("cargo::rerun-if-changed={}", path.display());
    }
    println!("cargo::rerun-if-changed=build");
    println!("cargo::rerun-if-changed=src/counted.rs");
    println!("cargo::rerun-if-changed=src/engine_settings.rs");
    println!("cargo::rerun-if-changed=src/interruptible.rs");
    println!("cargo::rerun-if-changed=src/operators.rs");
    println!("cargo::rerun-if-changed=src/quickjs/api.rs");

    let quickjs = fs::read(&quickjs_path).with_context(|| {
        format!(
            "failed to read {}: run `npm ci` in the project's folder first",
            quickjs_path.display()
        )
    })?;
    let prelude = fs::read_to_string(&prelude_path)?;
    let snapshot = quickjs::snapshot(&quickjs, &prelude)?;
    let engine = Engine::new(&engine_settings::compiled_code_settings()?)?;
    let module = exports::keep_api(&snapshot.module)?;
    let module = interruptible::interruptible(&module)?.unwrap_or(module);
    // What counting adds is a number that tells nothing of a run.
    state::check(&module)?;
    let module = counted::counted(&module, counted::Origin::Ours)?;
    let compiled = engine.precompile_module(&module)?;

    write(&out_dir, "quickjs.cwasm", &compiled)?;
    // Kept beside the compiled code for a machine whose processor lacks what the build machine had.
    write(&out_dir, "quickjs.wasm", &module)?;
    write(&out_dir, "quickjs_heap.bin", &snapshot.heap)?;
    write(&out_dir, "quickjs_layout.rs", snapshot.layout.as_rust().as_bytes())
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> wasmtime::Result<()> {
    let path = folder.join(name);
    fs::write(&path, bytes).with_context(|| format!("failed to write {}", path.display()))
}
