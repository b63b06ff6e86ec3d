//! Compiled artifacts: how they are compiled, within bounds, and where compiled code is kept.

mod cache;

use std::fs;
use std::hash::{Hash, Hasher};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use runabout_protocol::{Arguments, Digest, Form, Language};
use tokio::sync::Mutex;
use wasmtime::{Engine, InstancePre, Linker, Module, ModuleExport};

use crate::accept::{Rejection, exports_of};
use crate::counted::Refusal;
use crate::engine_settings::compiled_code_settings;
use crate::guest::{Guest, new_store};
use crate::pages::Instantiated;
use crate::quickjs::Script;
use crate::stack::Running;
use crate::state::{self, State};
use crate::wasi::{Input, decode_bytes};
use crate::{Error, counted, imports, interruptible, pages, wasm};
use cache::Programs;

/// How long a compilation may take before its caller is told that it costs too much.
const COMPILE_TIME_MAX: Duration = Duration::from_secs(30);

/// What a module is made into before it is compiled: code that was compiled from what another version
/// made of it does not fit, whether or not anybody thought of saying so.
const REWRITING: [&str; 4] = [
    include_str!("counted.rs"),
    include_str!("interruptible.rs"),
    include_str!("operators.rs"),
    include_str!("state.rs"),
];

/// Sources shorter than this are read in less time than changing threads takes.
const SOURCE_READ_IN_PLACE_BYTES: usize = 16 << 10;

/// A compiled artifact, ready to run any number of times.
pub struct Program {
    digest: Digest,
    pub(crate) kind: Kind,
}

pub(crate) enum Kind {
    Js(Script),
    Wasm { module: Linked, functions: Vec<wasm::Function>, imports_wasi: bool },
    Wasi(Linked),
}

/// A module with what it imports.
pub(crate) struct Linked {
    pub pre: InstancePre<Guest>,
    /// Where its instances have their memories.
    pub memories: Arc<[ModuleExport]>,
    /// `None` if its instances are for one run each.
    pub state: Option<Arc<State>>,
}

impl Linked {
    pub fn new(pre: InstancePre<Guest>) -> Self {
        let (memories, state) = (pages::memories(pre.module()), State::of(pre.module()));
        Self { pre, memories, state: state.map(Arc::new) }
    }

    /// An instance that begins now.
    ///
    /// # Errors
    /// There is no room for one, in the guest's limit of memory or in the pool, or its start traps.
    pub async fn instantiate(&self, guest: Guest) -> wasmtime::Result<Instantiated> {
        let mut running = Running::new(new_store(self.pre.module().engine(), guest));
        let instance = self.pre.instantiate_async(&mut *running).await?;
        Ok(Instantiated { running, instance, memories: self.memories.clone() })
    }
}

impl Program {
    /// The artifact's digest.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Checks a call before it is accepted.
    ///
    /// # Errors
    /// [`Error::BadCall`]: no such export, or arguments that do not fit it.
    pub fn check(&self, export: Option<&str>, args: &Arguments) -> Result<(), Error> {
        match &self.kind {
            Kind::Js(script) => {
                if args.encoding.is_some() {
                    decode_bytes(args)?;
                }
                js_export(script, export).map(drop)
            }
            Kind::Wasm { functions, .. } => wasm::bind(functions, export, args).map(drop),
            Kind::Wasi(_) => match export {
                None | Some("_start") => Input::read(args, None).map(drop),
                Some(other) => Err(Error::unknown_export(other, "_start")),
            },
        }
    }
}

/// The export that a call of JavaScript means; `None` for a script, which has none.
pub(crate) fn js_export(script: &Script, export: Option<&str>) -> Result<Option<String>, Error> {
    let exports = &script.exports;
    let names = || listed(exports.iter().map(String::as_str));
    match (script.form, export) {
        (Form::Script, None) => Ok(None),
        (Form::Script, Some(_)) => {
            Err(Error::no_export("a script has no exports; it runs top to bottom".to_owned()))
        }
        (Form::Module, Some(wanted)) if exports.iter().any(|name| name == wanted) => {
            Ok(Some(wanted.to_owned()))
        }
        (Form::Module, Some(wanted)) => Err(Error::unknown_export(wanted, &names())),
        (Form::Module, None) if exports.iter().any(|name| name == "default") => {
            Ok(Some("default".to_owned()))
        }
        (Form::Module, None) => match &exports[..] {
            [] => Err(Error::no_export("the module exports nothing to call".to_owned())),
            [only] => Ok(Some(only.clone())),
            _ => Err(Error::no_export(format!("name the export to call: {}", names()))),
        },
    }
}

/// Names for an error message: the first ones, if there are many.
pub(crate) fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    const BYTES_MAX: usize = 500;
    let mut list = String::new();
    for name in names {
        list.push_str(if list.is_empty() { "" } else { ", " });
        list.push_str(name);
        if list.len() > BYTES_MAX {
            list.truncate(list.floor_char_boundary(BYTES_MAX));
            list.push_str("...");
            break;
        }
    }
    list
}

/// Compiles artifacts and keeps what it compiled, in memory and on disk.
pub(crate) struct Compiler {
    engine: Engine,
    linker: Linker<Guest>,
    programs: Programs,
    /// Since somebody last looked.
    was_asked: AtomicBool,
    /// Who holds it compiles; the others wait, each within its own caller's time.
    one_at_a_time: Arc<Mutex<()>>,
    folder: Option<PathBuf>,
}

impl Compiler {
    pub fn new(engine: &Engine, folder: Option<PathBuf>) -> Result<Self, Error> {
        if let Some(folder) = &folder {
            create_private(folder).map_err(|error| {
                Error::Engine(format!("failed to create {}: {error}", folder.display()))
            })?;
        }
        Ok(Self {
            engine: engine.clone(),
            linker: imports::linker(engine).map_err(Error::engine)?,
            programs: Programs::new(),
            was_asked: AtomicBool::new(false),
            one_at_a_time: Arc::default(),
            folder,
        })
    }

    pub fn prepared(&self, digest: Digest) -> Option<Arc<Program>> {
        // Looked at first: a line of memory that all threads write to would cost each run.
        if !self.was_asked.load(Relaxed) {
            self.was_asked.store(true, Relaxed);
        }
        self.programs.get(digest)
    }

    /// Whether any was asked for since this was last called.
    pub fn was_asked(&self) -> bool {
        self.was_asked.swap(false, Relaxed)
    }

    /// Forgets them; false if there are none.
    pub fn forget_programs(&self) -> bool {
        self.programs.clear()
    }

    /// Weighs a program anew that has come to hold more.
    pub fn weigh_again(&self, program: &Arc<Program>) {
        self.programs.insert(program);
    }

    pub async fn prepare(
        &self,
        digest: Digest,
        language: Language,
        form: Option<Form>,
        bytes: Bytes,
    ) -> Result<Arc<Program>, Error> {
        if let Some(program) = self.prepared(digest) {
            return Ok(program);
        }
        let kind = match language {
            Language::Js => script(bytes, form).await?,
            Language::Wasm | Language::Wasi => {
                let module = self.module(digest, bytes).await?;
                self.link(&module, language)?
            }
        };
        let program = Arc::new(Program { digest, kind });
        self.programs.insert(&program);
        Ok(program)
    }

    /// Finds the compiled code, or compiles, off the threads that run functions and answer requests.
    async fn module(&self, digest: Digest, bytes: Bytes) -> Result<Module, Error> {
        let path = self.folder.as_ref().map(|folder| folder.join(file_name(&self.engine, digest)));
        // What was compiled before does not wait for what is being compiled.
        if let Some(path) = path.clone() {
            let engine = self.engine.clone();
            let loading = tokio::task::spawn_blocking(move || load(&engine, &path));
            if let Ok(Some(module)) = loading.await {
                return Ok(module);
            }
        }
        let turn = self.one_at_a_time.clone().lock_owned();
        let turn = tokio::time::timeout(COMPILE_TIME_MAX, turn).await.map_err(|_| {
            Error::Busy("too many modules are being compiled; try again".to_owned())
        })?;
        let engine = self.engine.clone();
        let compiling = tokio::task::spawn_blocking(move || {
            // Held until compiling has ended, even if nobody waits for it any more.
            let _turn = turn;
            // Somebody else may have compiled it while we waited.
            match path.as_deref().and_then(|path| load(&engine, path)) {
                Some(module) => Ok(module),
                None => compile(&engine, path.as_deref(), &bytes),
            }
        });
        match tokio::time::timeout(COMPILE_TIME_MAX, compiling).await {
            Ok(Ok(compiled)) => compiled,
            Ok(Err(panicked)) => Err(Error::Engine(format!("compiling failed: {panicked}"))),
            Err(_) => Err(too_slow()),
        }
    }

    fn link(&self, module: &Module, language: Language) -> Result<Kind, Error> {
        let pre = self.linker.instantiate_pre(module).map_err(|error| {
            Rejection::new("unknown_import", format!("cannot be linked: {error:#}"))
        })?;
        let linked = Linked::new(pre);
        Ok(match language {
            Language::Wasi => Kind::Wasi(linked),
            _ => Kind::Wasm {
                functions: wasm::exported_functions(module),
                imports_wasi: module.imports().any(|import| import.module().starts_with("wasi")),
                module: linked,
            },
        })
    }
}

/// Large sources are read off the threads that answer requests.
async fn script(source: Bytes, form: Option<Form>) -> Result<Kind, Error> {
    let read = source.clone();
    let exports = move || exports_of(&String::from_utf8_lossy(&read));
    let exports = match source.len() {
        ..SOURCE_READ_IN_PLACE_BYTES => exports(),
        _ => tokio::task::spawn_blocking(exports)
            .await
            .map_err(|panicked| Error::Engine(format!("reading failed: {panicked}")))?,
    };
    Ok(Kind::Js(Script::new(source, form.unwrap_or(Form::Script), exports?)))
}

fn too_slow() -> Error {
    let message = format!("compiling took longer than {} s", COMPILE_TIME_MAX.as_secs());
    Error::Rejected(Rejection::new("compile_too_costly", message))
}

/// Compiled code fits one artifact as it is made over, under one engine, one set of settings and one
/// processor.
fn file_name(engine: &Engine, digest: Digest) -> String {
    let mut hasher = std::hash::DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    REWRITING.hash(&mut hasher);
    format!("{}-{:016x}.cwasm", digest.hex(), hasher.finish())
}

/// Loads compiled code, if there is any that fits.
fn load(engine: &Engine, path: &Path) -> Option<Module> {
    if !path.exists() {
        return None;
    }
    // SAFETY: the folder is ours alone (mode 0700) and holds what `keep` below wrote there, synced
    // before it got its name. Whoever can write to it can already act as us.
    #[expect(unsafe_code, reason = "loading ahead-of-time compiled code is unsafe by nature")]
    let loaded = unsafe { Module::deserialize_file(engine, path) };
    if loaded.is_ok() {
        used_now(path);
    }
    loaded
        .inspect_err(
            |error| tracing::warn!(%error, ?path, "compiled code did not load; compiling again"),
        )
        .ok()
}

/// Marks a file as used, for whoever removes what nobody uses. If that fails it is only taken for
/// older than it is, and compiled again one day.
fn used_now(path: &Path) {
    let file = fs::File::options().append(true).open(path);
    drop(file.and_then(|file| file.set_modified(std::time::SystemTime::now())));
}

fn compile(engine: &Engine, path: Option<&Path>, bytes: &[u8]) -> Result<Module, Error> {
    let invalid = |error: wasmtime::Error| {
        Rejection::new("invalid_wasm", format!("cannot be compiled: {error:#}"))
    };
    // Before anything is replaced, so that what is wrong is told of the bytes that were handed in.
    Module::validate(engine, bytes).map_err(invalid)?;
    let replaced = interruptible::interruptible(bytes).map_err(|error| invalid(error.into()))?;
    let counted = counted::counted(replaced.as_deref().unwrap_or(bytes), counted::Origin::Guest);
    let counted = counted.map_err(|error| match error {
        counted::Error::UserError(refusal @ Refusal::NamesHost) => {
            Rejection::new("unknown_import", refusal.to_string())
        }
        counted::Error::UserError(refusal @ Refusal::TakesName) => {
            Rejection::new("invalid_wasm", refusal.to_string())
        }
        counted::Error::UserError(refusal) => {
            Rejection::new("compile_too_costly", refusal.to_string())
        }
        error => invalid(wasmtime::Error::new(error)),
    })?;
    let counted = state::exported(&counted).unwrap_or(counted);
    // An engine keeps what it has needed to compile the largest functions, and this one is gone with it.
    let compiler = compiled_code_settings().and_then(|settings| Engine::new(&settings));
    let compiler = compiler.map_err(Error::engine)?;
    // It was valid before: what is wrong now is that it has become too large.
    let code = compiler.precompile_module(&counted).map_err(|error| {
        Rejection::new("compile_too_costly", format!("cannot be compiled: {error:#}"))
    })?;
    drop((compiler, replaced, counted));
    // SAFETY: it was compiled above.
    #[expect(unsafe_code, reason = "loading ahead-of-time compiled code is unsafe by nature")]
    let module = unsafe { Module::deserialize(engine, &code) };
    // The pool of instances has limits of its own.
    let module = module.map_err(invalid)?;
    let Some(path) = path else { return Ok(module) };
    match keep(&code, path) {
        // From the file it takes only the memory that it is used from, and gives it back if need be.
        Ok(()) => Ok(load(engine, path).unwrap_or(module)),
        Err(error) => {
            // It runs from memory, and is compiled again after a restart.
            tracing::warn!(%error, ?path, "compiled code could not be kept");
            Ok(module)
        }
    }
}

/// Whole or not at all, even if the power fails: the bytes are on the disk before their name is.
fn keep(code: &[u8], path: &Path) -> std::io::Result<()> {
    let folder =
        path.parent().ok_or_else(|| std::io::Error::other("compiled code needs a folder"))?;
    // A name of its own: the folder of `runabout run` is shared by all that run at once.
    let mut temporary = tempfile::NamedTempFile::new_in(folder)?;
    temporary.write_all(code)?;
    temporary.as_file().sync_all()?;
    temporary.persist(path)?;
    fs::File::open(folder)?.sync_all()
}

fn create_private(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))
}
