//! What every route shares: the parts of a running node, wired together once.

use std::ops::Deref;
use std::sync::Arc;

use axum::http::HeaderValue;
use bytes::Bytes;
use runabout_documents::Documents;
use runabout_protocol::{Digest, NodeId};
use runabout_sandbox::{Program, Sandbox};
use runabout_store::{Health, Store};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::body::Intake;
use crate::calls::Gate;
use crate::codes::Code;
use crate::compute::Computes;
use crate::deployed::Functions;
use crate::endpoints::Endpoints;
use crate::engine::Engine;
use crate::metrics::Metrics;
use crate::problem::Problem;
use crate::schedules::Schedules;
use crate::source::{Artifact, Examiner};
use crate::upstream::{NodeLoad, Upstream};
use crate::workers::Workers;

/// Requests that wait for a task's end at once. Further ones do not wait: they are answered with the
/// task as it is, and with `Retry-After`.
const WAITS_MAX: usize = 10_000;

/// Streams of documents' events at once; more hear 503.
const DOCUMENT_STREAMS_MAX: usize = 2_048;

/// A running node's parts; cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Parts>);

/// The parts themselves.
pub struct Parts {
    /// Who this node is.
    pub node: Node,
    /// What is durable.
    pub store: Store,
    /// What runs tasks.
    pub engine: Engine,
    /// Who comes to run them.
    pub workers: Workers,
    /// What runs anything.
    pub sandbox: Sandbox,
    /// What is deployed, in memory.
    pub functions: Functions,
    /// Paths of the user's own.
    pub endpoints: Endpoints,
    /// What hands in tasks by the clock.
    pub schedules: Schedules,
    /// Plain files with revisions.
    pub documents: Documents,
    /// Computations on the way to documents.
    pub computes: Computes,
    /// Bounds on streams of documents' events.
    pub document_streams: Arc<Semaphore>,
    /// Bounds on calls.
    pub gate: Gate,
    /// Bounds on bodies.
    pub intake: Intake,
    /// Examines code.
    pub examiner: Examiner,
    /// Bounds on requests that wait for a task.
    pub waits: Semaphore,
    /// What is counted.
    pub metrics: Metrics,
    /// Cancelled when the node begins to stop, so that nothing waits on.
    pub stopping: CancellationToken,
    /// The node behind this one, if there is one.
    pub upstream: Option<Arc<Upstream>>,
}

/// Who a node is.
pub struct Node {
    /// Kept in the data directory.
    pub id: NodeId,
    /// `--name`, by default host:port.
    pub name: String,
    /// The name as `Runabout-Ran-On` carries it.
    pub name_header: HeaderValue,
    /// The machine's processors.
    pub processors: u32,
}

impl Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl App {
    /// Requests that wait for a task's end at this moment.
    pub fn waiting(&self) -> usize {
        WAITS_MAX - self.waits.available_permits()
    }

    /// Streams of documents' events that are open.
    pub fn document_streams(&self) -> usize {
        DOCUMENT_STREAMS_MAX - self.document_streams.available_permits()
    }

    /// Whether everything that is to be kept can be written.
    pub fn is_writable(&self) -> bool {
        self.store.health() == Health::Working && self.documents.failed().is_none()
    }

    /// How busy the node is.
    pub fn load(&self) -> NodeLoad {
        let (calls, _) = self.gate.load();
        let running = calls as u64 + self.engine.counts().running;
        NodeLoad {
            processors: self.node.processors,
            running: u32::try_from(running).unwrap_or(u32::MAX),
            cpu_ms: None,
        }
    }

    /// Wires a node's parts.
    #[expect(clippy::too_many_arguments, reason = "each part once, and only here")]
    pub fn new(
        node: Node,
        store: Store,
        (engine, workers): (Engine, Workers),
        sandbox: Sandbox,
        functions: Functions,
        endpoints: Endpoints,
        schedules: Schedules,
        documents: Documents,
        stopping: CancellationToken,
        upstream: Option<Arc<Upstream>>,
    ) -> Self {
        Self(Arc::new(Parts {
            node,
            store,
            engine,
            workers,
            sandbox,
            functions,
            endpoints,
            schedules,
            documents,
            computes: Computes::default(),
            document_streams: Arc::new(Semaphore::new(DOCUMENT_STREAMS_MAX)),
            gate: Gate::default(),
            intake: Intake::default(),
            examiner: Examiner::default(),
            waits: Semaphore::new(WAITS_MAX),
            metrics: Metrics::new(),
            stopping,
            upstream,
        }))
    }

    /// The program of an artifact that the store holds, compiled unless it is in memory already.
    ///
    /// # Errors
    /// `artifact_missing`, or what the sandbox has against it.
    pub async fn program(&self, digest: Digest) -> Result<Arc<Program>, Problem> {
        if let Some(program) = self.sandbox.prepared(digest) {
            return Ok(program);
        }
        let stored = self.store.artifact(digest).await?;
        let (meta, bytes) = stored.ok_or_else(|| artifact_missing(digest))?;
        let artifact = Artifact { digest, language: meta.language, form: meta.form };
        self.prepare(artifact, bytes).await
    }

    /// The program of these bytes.
    ///
    /// # Errors
    /// What the sandbox has against it.
    pub async fn prepare(&self, artifact: Artifact, bytes: Bytes) -> Result<Arc<Program>, Problem> {
        let Artifact { digest, language, form } = artifact;
        Ok(self.sandbox.prepare(digest, language, form, bytes).await?)
    }
}

/// The node does not have the artifact.
pub fn artifact_missing(digest: Digest) -> Problem {
    Problem::new(Code::ArtifactMissing, format!("this node does not have {digest}"))
        .with("digest", digest.to_string())
}
