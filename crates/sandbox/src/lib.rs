//! Runs one function under limits. Owns the engines (wasmtime, and QuickJS inside it), the walls
//! and the accounting; knows nothing of HTTP, tasks or storage.

mod accept;
mod allocator;
#[expect(dead_code, reason = "the build script counts what is ours")]
mod counted;
mod engine;
mod engine_settings;
mod executor;
mod guest;
mod host;
mod idle;
mod imports;
mod instances;
mod interruptible;
mod invocation;
mod meter;
mod operators;
mod pages;
mod program;
mod quickjs;
mod rewind;
mod run;
mod stack;
mod state;
mod wasi;
mod wasm;

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use runabout_protocol::{Digest, Form, Language, Limits};
use tokio::sync::Semaphore;

pub use accept::{Accepted, Rejection, SourceLanguage, accept, digest};
pub use allocator::{give_back_freed_memory, give_back_soon};
pub use guest::result_too_large;
pub use host::{CHECKPOINT_BYTES_MAX, MESSAGE_BYTES_MAX, OUTPUT_BYTES_MAX, RESULT_BYTES_MAX};
pub use invocation::{Invocation, Observer, Report, Silent, TaskContext};
pub use program::Program;

use engine::Ticker;
use executor::Executor;
use instances::Instances;
use meter::NodeMemory;
use program::Compiler;
use quickjs::QuickJs;
use rewind::PageMap;

/// What a sandbox may use.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where ahead-of-time compiled code is kept; `None` keeps it in memory only.
    pub cache_dir: Option<PathBuf>,
    /// The most a run may ask for.
    pub maximum: Limits,
    /// What all runs together may hold, in bytes.
    pub memory_total_bytes: u64,
    /// Compute threads.
    pub threads: usize,
    /// Runs under way at once; more wait inside the caller.
    pub concurrent_runs_max: u32,
}

impl Config {
    /// One compute thread a core, half of the machine's memory for all runs together; a run may
    /// ask for up to an hour and 1 GiB.
    pub fn for_this_machine() -> Self {
        const HOUR_MS: u64 = 60 * 60 * 1000;
        let system = rustix::system::sysinfo();
        let memory_bytes = system.totalram as u64 * u64::from(system.mem_unit.max(1));
        Self {
            cache_dir: None,
            maximum: Limits { timeout_ms: HOUR_MS, cpu_ms: HOUR_MS, memory_bytes: 1 << 30 },
            memory_total_bytes: memory_bytes / 2,
            threads: std::thread::available_parallelism().map_or(1, |cores| cores.get()),
            concurrent_runs_max: 512,
        }
    }
}

/// What went wrong with us or with the request; a guest's failure is an outcome, not this.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The artifact was refused.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The call does not fit the function: unknown export, wrong count or type of arguments.
    #[error("{message}")]
    BadCall {
        /// `unknown_export` or `invalid_arguments`.
        code: &'static str,
        /// What is wrong, for a person.
        message: String,
    },
    /// There is no room for it now; the same may succeed later.
    #[error("{0}")]
    Busy(String),
    /// The engine could not do its part.
    #[error("{0}")]
    Engine(String),
}

impl Error {
    fn invalid_arguments(message: String) -> Self {
        Self::BadCall { code: "invalid_arguments", message }
    }

    fn unknown_export(wanted: &str, known: &str) -> Self {
        Self::no_export(format!("no export {wanted:?}; there is {known}"))
    }

    fn no_export(message: String) -> Self {
        Self::BadCall { code: "unknown_export", message }
    }

    fn engine(error: wasmtime::Error) -> Self {
        Self::Engine(format!("{error:#}"))
    }
}

/// The sandbox: cheap to clone, one for a process.
#[derive(Clone)]
pub struct Sandbox {
    inner: Arc<Inner>,
}

struct Inner {
    quickjs: QuickJs,
    instances: Instances,
    compiler: Compiler,
    executor: Arc<Executor>,
    ticker: Ticker,
    memory: Arc<NodeMemory>,
    /// One for each run the pool has room for.
    permits: Arc<Semaphore>,
    maximum: Limits,
}

impl Sandbox {
    /// Starts the compute threads. Must be called within a tokio runtime, whose timers guests use.
    ///
    /// # Errors
    /// The machine refuses the memory or the threads.
    pub fn new(config: Config) -> Result<Self, Error> {
        let runs = config.concurrent_runs_max.max(1);
        let others = quickjs::IDLE_MAX + instances::IDLE_MAX + instances::LEARNING_MAX;
        let instances = runs + others as u32;
        let engine = engine::new_engine(instances).map_err(Error::engine)?;
        let threads = |error: std::io::Error| Error::Engine(format!("no threads: {error}"));
        let runtime = tokio::runtime::Handle::current();
        let executor = Arc::new(Executor::start(config.threads, &runtime).map_err(threads)?);
        let system = PageMap::open().map(Arc::new);
        let inner = Inner {
            quickjs: QuickJs::load(&engine, system.clone()).map_err(Error::engine)?,
            instances: Instances::new(system),
            compiler: Compiler::new(&engine, config.cache_dir)?,
            ticker: Ticker::start(executor.watch()).map_err(threads)?,
            executor,
            memory: Arc::new(NodeMemory::new(config.memory_total_bytes)),
            permits: Arc::new(Semaphore::new(runs as usize)),
            maximum: config.maximum,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The most a run may ask for.
    pub fn maximum(&self) -> Limits {
        self.inner.maximum
    }

    /// What all runs hold at this moment, in bytes.
    pub fn memory_used_bytes(&self) -> u64 {
        self.inner.memory.used_bytes()
    }

    /// Compiles an artifact, or finds it compiled in memory or on disk.
    ///
    /// # Errors
    /// [`Error::Rejected`] with `compile_too_costly`, or bytes that are no module.
    pub async fn prepare(
        &self,
        digest: Digest,
        language: Language,
        form: Option<Form>,
        bytes: Bytes,
    ) -> Result<Arc<Program>, Error> {
        self.inner.compiler.prepare(digest, language, form, bytes).await
    }

    /// The program of that digest, if it is in memory already.
    pub fn prepared(&self, digest: Digest) -> Option<Arc<Program>> {
        self.inner.compiler.prepared(digest)
    }

    /// Forgets the programs that are in memory and the instances that wait for a run, if no program was
    /// asked for since this was last called. What is asked for later is loaded from disk, or read again.
    /// Whether there were any to forget.
    pub fn forget_idle_programs(&self) -> bool {
        if self.inner.compiler.was_asked() {
            return false;
        }
        let forgotten = [
            self.inner.compiler.forget_programs(),
            self.inner.instances.forget(),
            self.inner.quickjs.forget_instances(),
        ];
        forgotten.contains(&true)
    }

    /// Runs a program once, in a sandbox in which no run before has left a trace. Dropping the future
    /// stops the run at the next tick; `invocation.cancel` stops it with the outcome `cancelled`.
    ///
    /// # Errors
    /// [`Error::BadCall`], or [`Error::Engine`] if no instance could be made.
    pub async fn run(
        &self,
        program: &Arc<Program>,
        invocation: Invocation,
    ) -> Result<Report, Error> {
        run::run(&self.inner, program, invocation).await
    }
}
