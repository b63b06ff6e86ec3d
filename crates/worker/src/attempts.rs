//! Runs what a node sends, wherever that node is, and reports in the frames of the protocol.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::FutureExt;
use runabout_protocol::{
    Attempt, Digest, Outcome, Run, ServerToWorker, TaskId, Usage, WorkerToServer, frame,
};
use runabout_sandbox::{self as sandbox, Invocation, Program, Sandbox, TaskContext};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};

use crate::spool::Spool;

/// How long what a run says may wait for more, so that it is told together. A checkpoint is on the
/// node's disk this long, and one commit, after it was made.
const GATHER_FOR: Duration = Duration::from_millis(50);

/// How soon an artifact that could not be had is asked for again.
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(250);

/// The node that a session works for, as far as running attempts needs it.
pub trait Node: Send + Sync + 'static {
    /// The bytes of an artifact; `None` if the node does not have it.
    ///
    /// # Errors
    /// They could not be had, for this reason.
    fn artifact(
        &self,
        digest: Digest,
    ) -> impl Future<Output = Result<Option<Bytes>, String>> + Send;

    /// Waits until frames can be told, and only then takes them and tells them. Whoever drops the
    /// future while it waits has taken nothing. Says whether anybody listens.
    fn tell(
        &self,
        frames: impl FnOnce() -> Vec<WorkerToServer> + Send,
    ) -> impl Future<Output = bool> + Send;

    /// A run begins in the sandbox.
    fn run_begins(&self) {}
}

/// Why a run did not come to an outcome of its own.
enum Failure {
    Sandbox(sandbox::Error),
    Fetch(String),
    ArtifactMissing,
}

/// Runs what `frames` ask for until they end; what runs then ends with them.
pub async fn serve<N: Node>(
    node: Arc<N>,
    sandbox: Sandbox,
    mut frames: mpsc::Receiver<ServerToWorker>,
) {
    let hand = Arc::new(Hand { node, sandbox });
    let mut runs = JoinSet::new();
    let mut cancels: HashMap<(TaskId, Attempt), CancellationToken> = HashMap::new();
    loop {
        tokio::select! {
            frame = frames.recv() => match frame {
                None => return,
                Some(ServerToWorker::Run(run)) => {
                    let cancel = CancellationToken::new();
                    cancels.insert((run.task, run.attempt), cancel.clone());
                    let span = attempt_span(&run);
                    runs.spawn(Arc::clone(&hand).attempt(*run, cancel).instrument(span));
                }
                Some(ServerToWorker::Cancel(frame::Cancel { task, attempt })) => {
                    if let Some(cancel) = cancels.get(&(task, attempt)) {
                        cancel.cancel();
                    }
                }
                // They are about the session, which is another's to keep.
                Some(
                    ServerToWorker::Welcome(_)
                    | ServerToWorker::Ping(_)
                    | ServerToWorker::Resize(_),
                ) => {}
            },
            Some(ended) = runs.join_next() => {
                if let Ok(attempt) = ended {
                    cancels.remove(&attempt);
                }
            }
        }
    }
}

/// Runs one attempt and tells all of it. Dropping the future ends the run untold.
pub async fn serve_one<N: Node>(
    node: Arc<N>,
    sandbox: Sandbox,
    run: Run,
    cancel: CancellationToken,
) {
    let span = attempt_span(&run);
    Arc::new(Hand { node, sandbox }).attempt(run, cancel).instrument(span).await;
}

/// One session.
struct Hand<N> {
    node: Arc<N>,
    sandbox: Sandbox,
}

impl<N: Node> Hand<N> {
    /// Runs an attempt from its first frame to its last.
    async fn attempt(self: Arc<Self>, run: Run, cancel: CancellationToken) -> (TaskId, Attempt) {
        let (task, attempt) = (run.task, run.attempt);
        let spool = Arc::new(Spool::new(task, attempt));
        let report = tokio::select! {
            report = self.run_to_end(run, cancel, &spool) => report,
            () = self.tell_while_it_runs(&spool) => return (task, attempt),
        };
        let sandbox::Report { outcome, usage, output_truncated } = report;
        Span::current().record("outcome", outcome.kind());
        let finished = frame::Finished { task, attempt, outcome, usage, output_truncated };
        let last = || {
            let mut frames = spool.take();
            frames.push(WorkerToServer::Finished(finished));
            frames
        };
        // Where nobody listens any more, the task is another's affair.
        self.node.tell(last).await;
        (task, attempt)
    }

    /// Passes on what the run says; ends only when nobody listens any more.
    async fn tell_while_it_runs(&self, spool: &Spool) {
        loop {
            spool.filled().await;
            tokio::time::sleep(GATHER_FOR).await;
            if !self.node.tell(|| spool.take()).await {
                return;
            }
        }
    }

    async fn run_to_end(
        &self,
        run: Run,
        cancel: CancellationToken,
        spool: &Arc<Spool>,
    ) -> sandbox::Report {
        let began = Instant::now();
        let running = AssertUnwindSafe(self.run(run, cancel, spool)).catch_unwind().await;
        let outcome = match running {
            Ok(Ok(report)) => return report,
            Ok(Err(failure)) => failure.into_outcome(),
            Err(_) => Outcome::threw("InternalError", "the node failed to run it"),
        };
        let wall_ms = began.elapsed().as_secs_f64() * 1_000.0;
        let usage = Usage { wall_ms, ..Usage::default() };
        sandbox::Report { outcome, usage, output_truncated: false }
    }

    async fn run(
        &self,
        run: Run,
        cancel: CancellationToken,
        spool: &Arc<Spool>,
    ) -> Result<sandbox::Report, Failure> {
        let program = tokio::select! {
            program = self.program(&run) => program?,
            () = cancel.cancelled() => return Ok(cancelled()),
        };
        spool.started();
        self.node.run_begins();
        let invocation = Invocation {
            export: run.export,
            args: run.args,
            stdin: run.stdin.map(Bytes::from),
            limits: run.limits,
            task: Some(TaskContext {
                id: run.task,
                attempt: run.attempt,
                checkpoint: run.checkpoint,
            }),
            observer: Arc::clone(spool) as Arc<dyn sandbox::Observer>,
            cancel,
        };
        self.sandbox.run(&program, invocation).await.map_err(Failure::Sandbox)
    }

    /// The program, however often it takes to get it. That it cannot be had is not the function's
    /// doing: the node gives the attempt to another worker if it does not begin in time.
    async fn program(&self, run: &Run) -> Result<Arc<Program>, Failure> {
        loop {
            match self.try_program(run).await {
                Err(Failure::Fetch(_) | Failure::Sandbox(sandbox::Error::Busy(_))) => {
                    tokio::time::sleep(TRY_AGAIN_AFTER).await;
                }
                found => return found,
            }
        }
    }

    async fn try_program(&self, run: &Run) -> Result<Arc<Program>, Failure> {
        if let Some(program) = self.sandbox.prepared(run.artifact) {
            return Ok(program);
        }
        let found = self.node.artifact(run.artifact).await.map_err(Failure::Fetch)?;
        let bytes = found.ok_or(Failure::ArtifactMissing)?;
        let prepared = self.sandbox.prepare(run.artifact, run.language, run.form, bytes);
        prepared.await.map_err(Failure::Sandbox)
    }
}

fn attempt_span(run: &Run) -> Span {
    tracing::debug_span!(
        parent: None,
        "attempt",
        task = %run.task,
        attempt = run.attempt.0,
        artifact = %run.artifact,
        outcome = tracing::field::Empty,
    )
}

fn cancelled() -> sandbox::Report {
    let (outcome, usage) = (Outcome::Cancelled, Usage::default());
    sandbox::Report { outcome, usage, output_truncated: false }
}

impl Failure {
    fn into_outcome(self) -> Outcome {
        let (name, message) = match self {
            Self::Sandbox(sandbox::Error::BadCall { message, .. }) => ("TypeError", message),
            Self::Sandbox(sandbox::Error::Rejected(rejection)) => {
                let is_syntax = rejection.code == "syntax_error";
                (if is_syntax { "SyntaxError" } else { "CompileError" }, rejection.message)
            }
            Self::Sandbox(sandbox::Error::Busy(message) | sandbox::Error::Engine(message)) => {
                ("InternalError", message)
            }
            Self::Fetch(error) => ("InternalError", error),
            Self::ArtifactMissing => ("InternalError", "its artifact is gone".to_owned()),
        };
        Outcome::threw(name, message)
    }
}
