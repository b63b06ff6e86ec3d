//! Which modules have instances that can be put back to how they began, and what is put back of them.
//!
//! A run changes its instance by instructions, and its host writes to its memory. Of the instructions of
//! WebAssembly 2.0, `global.set` changes globals, and stores, `memory.grow`, `memory.fill`, `memory.copy` and
//! `memory.init` change memories; all others that change anything change tables or drop segments
//! (WebAssembly Core Specification 2.0, 4.4 "Instructions"). An instance of a module without the latter is as
//! it was once its memory and its globals are.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use wasm_encoder::reencode::{self, Reencode, utils};
use wasm_encoder::{CodeSection, ExportKind, ExportSection, Module as Written};
use wasmparser::{
    CodeSectionReader, ExportSectionReader, Parser, Payload, TypeRef, ValType, Validator,
    WasmFeatures,
};
use wasmtime::{
    Extern, Global, Instance, Memory, Module, ModuleExport, Result, Store, Val, format_err,
};

use crate::guest::Guest;
use crate::operators::changes_more;
use crate::pages;
use crate::rewind::{OwnPages, PageMap};

/// The globals that a run can change are exported under this and their numbers, if they and the memory are
/// all that it can change.
const GLOBAL_PREFIX: &str = "runabout:global/";

/// What such a module may use: WebAssembly 2.0, and of later versions what changes nothing else.
const FEATURES: WasmFeatures = WasmFeatures::WASM2
    .union(WasmFeatures::EXTENDED_CONST)
    .union(WasmFeatures::RELAXED_SIMD)
    .union(WasmFeatures::TAIL_CALL);

/// The largest memory that is looked through for what has changed, or held while nothing runs.
const MEMORY_BYTES_MAX: u64 = 2 << 20;

/// How much of it may begin as anything but zeros: it is held twice.
const IMAGE_BYTES_MAX: usize = 256 << 10;

/// The most elements of all tables, and the most functions: an instance that waits holds a few bytes for each.
const ELEMENTS_MAX: u64 = 8 << 10;
const FUNCTIONS_MAX: u32 = 16 << 10;

const WASM_PAGE_BYTES: u64 = 64 << 10;

/// The most globals, with the one that counting adds. Compilers make one or two.
pub const GLOBALS_MAX: usize = 16;

/// The module with exports by which its state can be found; `None` if its instances are for one run each.
/// `module` must be valid.
pub fn exported(module: &[u8]) -> Option<Vec<u8>> {
    Validator::new_with_features(FEATURES).validate_all(module).ok()?;
    let mutable_globals = mutable_globals(module).ok()??;
    let mut written = Written::new();
    let mut exporting = Exporting { mutable_globals };
    exporting.parse_core_module(&mut written, Parser::new(0), module).ok()?;
    Some(written.finish())
}

/// The numbers of the globals that can change; `None` if there is more that can, or too much of anything.
fn mutable_globals(module: &[u8]) -> wasmparser::Result<Option<Vec<u32>>> {
    let mut numbers = Vec::new();
    let (mut elements, mut has_code) = (0, false);
    for payload in Parser::new(0).parse_all(module) {
        let is_fit = match payload? {
            // Others could be changed from elsewhere.
            Payload::ImportSection(imports) => imports
                .into_imports()
                .all(|import| import.is_ok_and(|import| matches!(import.ty, TypeRef::Func(_)))),
            Payload::FunctionSection(functions) => functions.count() <= FUNCTIONS_MAX,
            Payload::TableSection(tables) => {
                for table in tables {
                    elements = table?.ty.initial.saturating_add(elements);
                }
                elements <= ELEMENTS_MAX
            }
            Payload::MemorySection(memories) => memories.into_iter().all(|memory| {
                memory.is_ok_and(|ty| ty.initial * WASM_PAGE_BYTES <= MEMORY_BYTES_MAX)
            }),
            Payload::GlobalSection(globals) => {
                let mut are_numbers = true;
                for (number, global) in (0..).zip(globals) {
                    let ty = global?.ty;
                    if ty.mutable {
                        numbers.push(number);
                        are_numbers &= !matches!(ty.content_type, ValType::Ref(_));
                    }
                }
                are_numbers && numbers.len() <= GLOBALS_MAX
            }
            // What it does is done anew for every run.
            Payload::StartSection { .. } => false,
            Payload::CodeSectionEntry(body) => {
                has_code = true;
                let mut operators = body.get_operators_reader()?;
                let mut is_fit = true;
                while is_fit && !operators.eof() {
                    is_fit = !changes_more(&operators.read()?);
                }
                is_fit
            }
            _ => true,
        };
        if !is_fit {
            return Ok(None);
        }
    }
    // Without code nothing was added by which its memory is found.
    Ok(has_code.then_some(numbers))
}

struct Exporting {
    mutable_globals: Vec<u32>,
}

impl Reencode for Exporting {
    type Error = Infallible;

    fn parse_export_section(
        &mut self,
        exports: &mut ExportSection,
        section: ExportSectionReader<'_>,
    ) -> Result<(), reencode::Error> {
        utils::parse_export_section(self, exports, section)?;
        for number in &self.mutable_globals {
            exports.export(&format!("{GLOBAL_PREFIX}{number}"), ExportKind::Global, *number);
        }
        Ok(())
    }

    /// All keeps its number, so that code stays as it is.
    fn parse_code_section(
        &mut self,
        code: &mut CodeSection,
        section: CodeSectionReader<'_>,
    ) -> Result<(), reencode::Error> {
        for body in section {
            code.raw(body?.as_bytes());
        }
        Ok(())
    }
}

/// Where a module's instances have all that a run can change, and how that begins.
pub struct State {
    memory: Option<ModuleExport>,
    globals: Vec<ModuleExport>,
    /// A run has ended in an instance that could have been put back.
    has_run: AtomicBool,
    /// `None` if too much of the memory begins as anything but zeros.
    beginning: OnceLock<Option<Beginning>>,
    /// The beginning was learned since somebody last asked.
    is_new: AtomicBool,
}

/// How every instance of a module begins.
struct Beginning {
    memory: Option<Image>,
    globals: Vec<Val>,
}

/// A memory as it begins.
struct Image {
    /// By where they start. All others are zeros.
    pages: BTreeMap<usize, Box<[u8]>>,
    /// A page of them.
    zeros: Box<[u8]>,
}

/// One instance's memory and globals.
pub struct Changeable {
    memory: Option<Memory>,
    globals: Vec<Global>,
}

/// What is known of how a module's instances begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Knowledge {
    /// Nothing, and nothing needs to be: the module may never run again.
    FirstRun,
    Nothing,
    All,
    /// They are not worth putting back.
    Unfit,
}

impl State {
    /// `None` if the module was not found fit by [`exported`].
    pub fn of(module: &Module) -> Option<Self> {
        let names = module.exports().map(|export| export.name());
        let globals: Vec<ModuleExport> = names
            .filter(|name| name.starts_with(GLOBAL_PREFIX))
            .filter_map(|name| module.get_export_index(name))
            .collect();
        // A fit module has code, so that counting has added one.
        let is_fit = !globals.is_empty();
        is_fit.then(|| Self {
            memory: pages::memories(module).first().copied(),
            globals,
            has_run: AtomicBool::new(false),
            beginning: OnceLock::new(),
            is_new: AtomicBool::new(false),
        })
    }

    /// Notes that a run has ended; what is known then.
    pub fn note_run(&self) -> Knowledge {
        match self.beginning.get() {
            Some(Some(_)) => Knowledge::All,
            Some(None) => Knowledge::Unfit,
            None if self.has_run.swap(true, Relaxed) => Knowledge::Nothing,
            None => Knowledge::FirstRun,
        }
    }

    /// The memory that knowing it takes.
    pub fn held_bytes(&self) -> usize {
        let image = self.beginning.get().and_then(|known| known.as_ref()?.memory.as_ref());
        image.map_or(0, |image| (image.pages.len() + 1) * image.zeros.len())
    }

    /// Whether it has come to hold more since this was last asked.
    pub fn has_grown(&self) -> bool {
        // Looked at first: a line of memory that all threads write to would cost each run.
        self.is_new.load(Relaxed) && self.is_new.swap(false, Relaxed)
    }

    /// Finds what a run can change of an instance.
    ///
    /// # Errors
    /// It is an instance of another module.
    pub fn find(&self, store: &mut Store<Guest>, instance: Instance) -> Result<Changeable> {
        let vanished = || format_err!("an export of the sandbox's own has vanished");
        let memory = match &self.memory {
            None => None,
            Some(place) => {
                let memory = instance.get_module_export(&mut *store, place);
                Some(memory.and_then(Extern::into_memory).ok_or_else(vanished)?)
            }
        };
        let globals = self.globals.iter().map(|place| {
            let global = instance.get_module_export(&mut *store, place);
            global.and_then(Extern::into_global).ok_or_else(vanished)
        });
        Ok(Changeable { globals: globals.collect::<Result<_>>()?, memory })
    }

    /// Learns how instances begin, from one in which nothing has run.
    ///
    /// # Errors
    /// It is an instance of another module.
    pub fn learn(&self, store: &mut Store<Guest>, instance: Instance, page: usize) -> Result<()> {
        let Changeable { memory, globals } = self.find(store, instance)?;
        let image = memory.map(|memory| Image::of(memory.data(&*store), page));
        let globals = globals.into_iter().map(|global| global.get(&mut *store)).collect();
        let beginning = match image {
            Some(None) => None,
            Some(memory) => Some(Beginning { memory, globals }),
            None => Some(Beginning { memory: None, globals }),
        };
        // Whoever else has learned it meanwhile has learned the same.
        if self.beginning.set(beginning).is_ok() {
            self.is_new.store(true, Relaxed);
        }
        Ok(())
    }
}

impl Changeable {
    /// Whether the memory is larger than it began.
    pub fn has_grown(&self, store: &Store<Guest>) -> bool {
        self.memory.is_some_and(|memory| memory.size(store) != memory.ty(store).minimum())
    }

    /// Puts all of it back to how `state` begins; its memory has not grown. False if that cannot be done, or
    /// is not worth it: then the instance is for nobody else.
    pub fn put_back(
        &self,
        store: &mut Store<Guest>,
        state: &State,
        own_pages: &mut OwnPages,
        system: &PageMap,
        has_faulted: bool,
    ) -> bool {
        let Some(Some(beginning)) = state.beginning.get() else { return false };
        let is_memory_back = match (&self.memory, &beginning.memory) {
            (Some(memory), Some(image)) => {
                let memory = memory.data_mut(&mut *store);
                own_pages.put_back(memory, system, has_faulted, |start, page| {
                    image.put_back(start, page);
                })
            }
            (None, None) => true,
            _ => false,
        };
        let mut globals = self.globals.iter().zip(&beginning.globals);
        is_memory_back && globals.all(|(global, value)| global.set(&mut *store, *value).is_ok())
    }
}

#[cfg(test)]
impl Changeable {
    /// What its globals hold, those of the sandbox's own included.
    pub fn values(&self, store: &mut Store<Guest>) -> impl Iterator<Item = Val> {
        self.globals.iter().map(|global| global.get(&mut *store))
    }

    /// All of its memory.
    pub fn bytes<'a>(&self, store: &'a Store<Guest>) -> &'a [u8] {
        self.memory.map_or(&[], |memory| memory.data(store))
    }
}

impl Image {
    /// `None` if it has more than [`IMAGE_BYTES_MAX`].
    fn of(memory: &[u8], page_bytes: usize) -> Option<Self> {
        let zeros = vec![0; page_bytes].into_boxed_slice();
        let starts = (0..memory.len()).step_by(page_bytes);
        let pages = starts.zip(memory.chunks(page_bytes)).filter(|(_, page)| **page != *zeros);
        let pages_max = IMAGE_BYTES_MAX / page_bytes;
        let pages: BTreeMap<_, _> =
            pages.map(|(start, page)| (start, Box::from(page))).take(pages_max + 1).collect();
        (pages.len() <= pages_max).then_some(Self { pages, zeros })
    }

    fn put_back(&self, start: usize, page: &mut [u8]) {
        match self.pages.get(&start) {
            Some(beginning) => page.copy_from_slice(beginning),
            // One that was only read has no memory of its own yet, and would get it if it were written to.
            None if *page == *self.zeros => {}
            None => page.fill(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use wasmtime::Engine;

    use super::*;

    #[test]
    fn what_a_compiler_leaves_is_fit() {
        for name in ["fib", "counter", "echo"] {
            let path = format!("{}/../../guests/dist/{name}.wasm", env!("CARGO_MANIFEST_DIR"));
            let module = fs::read(path).expect("the guests are built");
            let globals = mutable_globals(&module).expect("can be read").expect(name);
            let exported = exported(&module).expect(name);
            Validator::new_with_features(FEATURES).validate_all(&exported).expect(name);
            let engine = Engine::default();
            let module = Module::new(&engine, &exported).expect(name);
            let state = State::of(&module).expect(name);
            assert_eq!(state.globals.len(), globals.len(), "{name}");
        }
    }
}
