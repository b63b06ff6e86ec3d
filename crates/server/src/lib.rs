//! A node: HTTP in front, the engine and the sandbox behind it. Owns the wiring and the public
//! contract; policy lives in the scheduler, durability in the store, execution in the sandbox.

mod app;
mod body;
mod calls;
mod codes;
mod compute;
#[cfg(test)]
mod contract;
mod deployed;
mod documents;
mod endpoints;
mod engine;
mod events;
mod extract;
mod front;
mod guards;
mod handed;
mod idempotency;
mod identity;
mod janitor;
mod listen;
mod metrics;
mod multipart;
mod opening;
pub mod parse;
mod placing;
mod problem;
mod read;
mod request_log;
mod routes;
mod rules;
mod schedules;
mod source;
mod submission;
mod suggest;
mod taking;
mod threads;
mod tls;
mod upkeep;
mod upstream;
mod wanted;
mod workers;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::HeaderValue;
use runabout_protocol::{EndpointRequest, Limits, NodeId};
use runabout_sandbox::Sandbox;
use runabout_store::Store;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

pub use codes::{ErrorCode, markdown as errors_markdown};
pub use documents::FOLDER as DOCUMENTS_FOLDER;
pub use endpoints::{InvalidEndpoint, Misfit, check as check_endpoints};
pub use guards::InvalidOrigin;
pub use identity::FILE as IDENTITY_FILE;
pub use metrics::markdown as metrics_markdown;
pub use suggest::unexpected;
pub use tls::Setup as TlsSetup;
pub use upstream::Setup as UpstreamSetup;

use app::{App, Node};
use deployed::Functions;
use endpoints::{Endpoints, Table};
use engine::EngineConfig;
use front::Front;
use guards::{Guards, Token};
use janitor::Janitor;
use listen::Door;
use threads::Threads;
use tls::Tls;
use upstream::{Upstream, keep_probing, keep_working};
use workers::Workers;

/// The version of the program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// How long a node that stops tries to put back what runs: a little more than a run has to end after
/// it was told to. Only a disk that does not answer takes longer.
const STOP_TIME_MAX: Duration = Duration::from_secs(10);

/// The most characters in a node's name.
const NAME_CHARS_MAX: usize = 128;

/// How a node is set up.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where everything durable lives; made if it is not there.
    pub data_dir: PathBuf,
    /// The node's name; `None` means the address it listens on.
    pub name: Option<String>,
    /// Tasks it runs at once itself, 0 for none; `None` means one a core.
    pub slots: Option<u32>,
    /// What callers must show as a bearer token. Beyond loopback a node does not start without.
    pub token: Option<String>,
    /// Origins whose pages may use the node: `https://example.com`. Their host names may also
    /// stand in a `Host` header, for a proxy in front of the node.
    pub allow_origins: Vec<String>,
    /// The most a run may ask for; `None` means what the sandbox grants on this machine.
    pub maximum: Option<Limits>,
    /// The most that all runs together may hold; `None` means half of the machine's memory.
    pub memory_total_bytes: Option<u64>,
    /// The label by whose values waiting tasks take turns; `None` means that all wait in one line.
    pub fair_label: Option<String>,
    /// How long finished tasks are kept; `None` means for ever.
    pub keep: Option<Duration>,
    /// Paths of the user's own, as the node's file has them.
    pub endpoints: Vec<EndpointRequest>,
    /// How often workers are asked whether they are there; `None` means every five seconds. One that
    /// leaves three pings unanswered is taken for gone.
    pub ping_every: Option<Duration>,
    /// How long a client may take nothing of its answer before it is cut off; `None` means a minute.
    pub stalled_after: Option<Duration>,
    /// The node that work may be handed to.
    pub upstream: Option<UpstreamSetup>,
    /// What HTTP is spoken through; `None` means in the open.
    pub tls: Option<TlsSetup>,
}

impl Settings {
    /// A node with all defaults that keeps its data there.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            name: None,
            slots: None,
            token: None,
            allow_origins: Vec::new(),
            maximum: None,
            memory_total_bytes: None,
            fair_label: None,
            keep: None,
            endpoints: Vec::new(),
            ping_every: None,
            stalled_after: None,
            upstream: None,
            tls: None,
        }
    }
}

/// Why a node cannot start, in one line.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The listener is of no use.
    #[error("failed to listen: {0}")]
    Listen(#[source] std::io::Error),
    /// Anybody could use it.
    #[error("refusing to listen on {0} without a token: give one with --token-file")]
    TokenNeeded(SocketAddr),
    /// The token is empty.
    #[error("the token is empty")]
    TokenEmpty,
    /// The name cannot stand in a header.
    #[error("{0:?} cannot be a node's name: it has 1 to 128 printable ASCII characters")]
    InvalidName(String),
    /// An allowed origin is none.
    #[error(transparent)]
    InvalidOrigin(#[from] InvalidOrigin),
    /// An endpoint is wrong.
    #[error("endpoint {}: {}", .0.index + 1, .0.invalid)]
    Endpoint(#[from] Misfit),
    /// A certificate or its key is of no use.
    #[error(transparent)]
    Tls(#[from] tls::Unusable),
    /// No node can be reached by that.
    #[error("{0:?} is no upstream: {1}")]
    InvalidUpstream(String, String),
    /// The data directory cannot be used.
    #[error(transparent)]
    Store(#[from] runabout_store::Error),
    /// The documents cannot be used.
    #[error(transparent)]
    Documents(#[from] runabout_documents::Error),
    /// The node's id cannot be read or written.
    #[error("failed to keep the node's id in {path}: {source}")]
    Identity {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The machine refuses the sandbox its memory or its threads.
    #[error("failed to start the sandbox: {0}")]
    Sandbox(String),
    /// A part of the start ended early.
    #[error("failed to start: {0}")]
    Broken(#[from] tokio::task::JoinError),
}

/// Every error code there is, by status.
pub fn error_codes() -> &'static [ErrorCode] {
    codes::TABLE
}

/// The OpenAPI document, as it is served at `/openapi.json`, for people to read and to diff.
pub fn openapi_json() -> String {
    routes::openapi().to_pretty_json().expect("a document of strings has a JSON form")
}

/// Runs a node on `listener` until `shutdown` resolves; then ends what is under way, puts running
/// tasks back into the queue, and returns.
///
/// # Errors
/// The node cannot start.
pub async fn serve(
    settings: Settings,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error> {
    let tls = settings.tls.as_ref().map(Tls::read).transpose()?;
    let stalled_after = settings.stalled_after.unwrap_or(taking::STALLED_AFTER);
    let node = start(settings, listener.local_addr().map_err(Error::Listen)?).await?;
    let stopping = node.app.stopping.clone();
    let announced = async {
        shutdown.await;
        // Waiting requests answer at once, and /readyz turns callers away.
        stopping.cancel();
    };
    let threads = Threads::start();
    if let Ok(threads) = &threads {
        let door = Door { front: node.front, tls, stalled_after };
        listen::serve(listener, door, threads, announced).await;
    }
    // Before the engine, which would refuse what it hands in.
    node.schedules_task.end().await;
    node.janitor.abort();
    // It holds the store; an error only says that it was aborted.
    drop(node.janitor.await);
    let began = Instant::now();
    let stopped = async {
        node.app.engine.stop().await;
        node.engine_task.join().await;
    };
    if timeout(STOP_TIME_MAX, stopped).await.is_err() {
        tracing::warn!("what ran could not be put back in time; it counts as lost");
    } else {
        tracing::debug!(took = ?began.elapsed(), "what ran was put back");
    }
    node.app.workers.end().await;
    let documents = node.app.documents.clone();
    spawn_blocking(move || documents.close()).await?;
    node.upkeep.abort();
    for task in node.upstream_tasks {
        task.abort();
    }
    let threads = threads.map_err(Error::Listen)?;
    // After the sessions, which live on them; joined where waiting for them holds nobody up.
    drop(spawn_blocking(move || drop(threads)).await);
    Ok(())
}

/// A node that has started, but listens to nobody yet.
struct Started {
    app: App,
    front: Front,
    engine_task: engine::EngineTask,
    schedules_task: schedules::SchedulesTask,
    upkeep: JoinHandle<()>,
    /// What looks after the upstream, if there is one, and what hands it tasks.
    upstream_tasks: Vec<JoinHandle<()>>,
    janitor: JoinHandle<()>,
}

async fn start(settings: Settings, listen: SocketAddr) -> Result<Started, Error> {
    let token = token(&settings, listen)?;
    let guards = Guards::new(listen, &settings.allow_origins, token.clone())?;
    // Before anything that counts is made: handles made earlier would count into the void.
    metrics::install();
    let endpoints = Table::of_file(settings.endpoints)?;
    let workers = Workers::new(settings.ping_every.unwrap_or(workers::PING_EVERY), token);
    let name = settings.name.unwrap_or_else(|| listen.to_string());
    let name_header = name_header(&name)?;
    let upstream = settings.upstream.as_ref().map(|setup| Upstream::new(setup, cores()));
    let upstream = upstream.transpose()?.map(Arc::new);
    let data_dir = settings.data_dir;
    let mut sandbox = runabout_sandbox::Config::for_this_machine();
    let compiled = data_dir.join("compiled");
    let documents_dir = data_dir.join(documents::FOLDER);
    sandbox.cache_dir = Some(compiled.clone());
    sandbox.maximum = settings.maximum.unwrap_or(sandbox.maximum);
    sandbox.memory_total_bytes = settings.memory_total_bytes.unwrap_or(sandbox.memory_total_bytes);
    let (store, id, sandbox) = spawn_blocking(move || open(&data_dir, sandbox)).await??;
    let slots = settings.slots.unwrap_or_else(cores);
    let fair_label = settings.fair_label;
    let config = EngineConfig { fair_label, ..EngineConfig::new(name.clone(), slots) };
    let functions = Functions::load(store.clone(), sandbox.maximum()).await?;
    let endpoints = Endpoints::load(store.clone(), endpoints).await?;
    endpoints.warn_of_missing(&functions).await;
    let newcomer = upstream.as_ref().map(|upstream| upstream.newcomer());
    let (engine, engine_task, link) =
        engine::start(config, Arc::new(store.clone()), sandbox.clone(), newcomer).await?;
    let node = Node { id, name, name_header, processors: cores() };
    let events = Arc::clone(engine.events());
    let janitor = Janitor::new(store.clone(), Arc::clone(&events), settings.keep, compiled);
    let documents = documents::open(documents_dir, events).await?;
    let (schedules, inbox) = schedules::channel();
    let stopping = CancellationToken::new();
    let app = App::new(
        node,
        store,
        (engine, workers),
        sandbox,
        functions,
        endpoints,
        schedules,
        documents,
        stopping,
        upstream,
    );
    let schedules_task = schedules::start(app.clone(), inbox).await?;
    let front = Front::new(guards, routes::router(app.clone()));
    let upkeep = tokio::spawn(upkeep::go_on(app.clone()));
    let mut upstream_tasks = Vec::new();
    if let (Some(upstream), Some(link)) = (app.upstream.clone(), link) {
        upstream_tasks.push(tokio::spawn(keep_probing(Arc::clone(&upstream))));
        upstream_tasks.push(tokio::spawn(keep_working(app.clone(), upstream, link)));
    }
    let janitor = tokio::spawn(janitor.run());
    Ok(Started { app, front, engine_task, schedules_task, upkeep, upstream_tasks, janitor })
}

fn token(settings: &Settings, listen: SocketAddr) -> Result<Option<Token>, Error> {
    let token = settings.token.as_deref().map(str::trim);
    match token {
        Some("") => return Err(Error::TokenEmpty),
        None if !listen.ip().is_loopback() => return Err(Error::TokenNeeded(listen)),
        _ => {}
    }
    Ok(token.map(Token::of))
}

/// Everything that blocks while a node starts.
fn open(
    data_dir: &Path,
    sandbox: runabout_sandbox::Config,
) -> Result<(Store, NodeId, Sandbox), Error> {
    let store = Store::open(data_dir)?;
    let id = identity::load_or_create(data_dir)?;
    let sandbox = Sandbox::new(sandbox).map_err(|error| Error::Sandbox(error.to_string()))?;
    Ok((store, id, sandbox))
}

fn name_header(name: &str) -> Result<HeaderValue, Error> {
    let printable = name.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    let header = HeaderValue::from_str(name).ok();
    header
        .filter(|_| printable && !name.trim().is_empty() && name.len() <= NAME_CHARS_MAX)
        .ok_or_else(|| Error::InvalidName(name.to_owned()))
}

/// The processors of this machine.
fn cores() -> u32 {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    u32::try_from(cores).unwrap_or(u32::MAX)
}
