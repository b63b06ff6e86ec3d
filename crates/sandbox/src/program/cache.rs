//! The programs that are kept in memory. JavaScript and WebAssembly have a budget each, so that
//! scripts that run once never push out what took seconds to compile.

use std::sync::Arc;

use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};
use runabout_protocol::Digest;

use super::{Kind, Program};

/// Sources, and what reading them left.
const JAVASCRIPT_BYTES_MAX: u64 = 64 << 20;

/// Compiled code. It is on disk as well, and loads from there in less than a millisecond.
const WASM_BYTES_MAX: u64 = 128 << 20;

/// Each budget is split into parts that are locked by themselves; no program is larger than a part.
const PARTS: usize = 2;

/// About how many programs there are, for the cache's own tables.
const PROGRAMS: usize = 1024;

/// What a program takes beside its code.
const PROGRAM_BYTES: u64 = 4096;

/// What the engine keeps of each export of a module, roughly: its name, twice, and its type.
const EXPORT_BYTES: usize = 256;

type Budget = Cache<Digest, Weighed, Weight>;

/// A program, and what it weighed when it was put here: the cache asks for that again when it takes
/// a program out, and must hear the same.
#[derive(Clone)]
struct Weighed {
    program: Arc<Program>,
    bytes: u64,
}

/// Programs by digest. What was used least goes when a budget is used up.
pub struct Programs {
    javascript: Budget,
    wasm: Budget,
}

impl Programs {
    pub fn new() -> Self {
        Self { javascript: budget(JAVASCRIPT_BYTES_MAX), wasm: budget(WASM_BYTES_MAX) }
    }

    pub fn get(&self, digest: Digest) -> Option<Arc<Program>> {
        let found = self.javascript.get(&digest).or_else(|| self.wasm.get(&digest));
        found.map(|weighed| weighed.program)
    }

    /// Forgets them all; false if there are none.
    pub fn clear(&self) -> bool {
        let had_some = !self.javascript.is_empty() || !self.wasm.is_empty();
        self.javascript.clear();
        self.wasm.clear();
        had_some
    }

    /// Keeps a program. One that is there already is weighed anew.
    pub fn insert(&self, program: &Arc<Program>) {
        let (budget, bytes) = match &program.kind {
            Kind::Js(script) => (&self.javascript, script.held_bytes()),
            Kind::Wasm { module: linked, .. } | Kind::Wasi(linked) => {
                let module = linked.pre.module();
                let range = module.image_range();
                let exports = module.exports().len() * EXPORT_BYTES;
                let state = linked.state.as_ref().map_or(0, |state| state.held_bytes());
                (&self.wasm, range.end.addr() - range.start.addr() + exports + state)
            }
        };
        let bytes = bytes as u64 + PROGRAM_BYTES;
        budget.insert(program.digest, Weighed { program: program.clone(), bytes });
    }
}

fn budget(bytes_max: u64) -> Budget {
    let options = OptionsBuilder::new()
        .shards(PARTS)
        .estimated_items_capacity(PROGRAMS)
        .weight_capacity(bytes_max)
        .build()
        .expect("all that must be set is set");
    Cache::with_options(options, Weight, DefaultHashBuilder::default(), DefaultLifecycle::default())
}

#[derive(Clone)]
struct Weight;

impl Weighter<Digest, Weighed> for Weight {
    fn weight(&self, _digest: &Digest, weighed: &Weighed) -> u64 {
        weighed.bytes
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use runabout_protocol::Form;

    use super::*;
    use crate::program::Linked;
    use crate::quickjs::Script;

    fn script(number: u64, source_bytes: usize) -> Arc<Program> {
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&number.to_le_bytes());
        let source = Bytes::from(vec![b' '; source_bytes]);
        let kind = Kind::Js(Script::new(source, Form::Script, Vec::new()));
        Arc::new(Program { digest: Digest(digest), kind })
    }

    fn module() -> Arc<Program> {
        let engine = wasmtime::Engine::default();
        let module = wasmtime::Module::new(&engine, b"\0asm\x01\0\0\0").expect("is a module");
        let linker = wasmtime::Linker::new(&engine);
        let pre = linker.instantiate_pre(&module).expect("imports nothing");
        let kind = Kind::Wasi(Linked::new(pre));
        Arc::new(Program { digest: Digest([255; 32]), kind })
    }

    #[test]
    fn the_largest_source_is_kept() {
        let programs = Programs::new();
        let large = script(1, 4 << 20);
        programs.insert(&large);
        assert!(programs.get(large.digest).is_some());
    }

    #[test]
    fn scripts_push_out_scripts_and_no_modules() {
        let programs = Programs::new();
        let module = module();
        programs.insert(&module);
        let scripts: Vec<_> = (0..200).map(|number| script(number, 1 << 20)).collect();
        scripts.iter().for_each(|script| programs.insert(script));
        let kept = scripts.iter().filter(|script| programs.get(script.digest).is_some()).count();
        assert!((32..64).contains(&kept), "{kept} of a MiB each are kept");
        assert!(programs.get(module.digest).is_some());
        programs.clear();
        assert!(scripts.iter().all(|script| programs.get(script.digest).is_none()));
        assert!(programs.get(module.digest).is_none());
    }
}
