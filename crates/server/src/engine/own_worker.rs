//! The worker that the node is itself. It hears and says the same frames as one far away.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::FutureExt;
use metrics::Counter;
use runabout_protocol::{
    Attempt, Outcome, Run, ServerToWorker, TaskId, Usage, WorkerId, WorkerToServer,
};
use runabout_sandbox::{self as sandbox, Invocation, Program, Sandbox, TaskContext};
use runabout_store::{self as store, TaskStore};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};

use super::sessions::Report;
use super::spool::Spool;

/// How long what a run says may wait for more, so that it is written together. A checkpoint is on
/// the disk this long, and one commit, after it was made.
const GATHER_FOR: Duration = Duration::from_millis(50);

/// Makes sessions of the node's own worker.
#[derive(Clone)]
pub(super) struct OwnWorker {
    sandbox: Sandbox,
    store: Arc<dyn TaskStore>,
    reports: mpsc::Sender<Report>,
    slots: u32,
    starts: Counter,
}

/// Why a run did not come to an outcome of its own.
enum Failure {
    Sandbox(sandbox::Error),
    Store(store::Error),
    ArtifactMissing,
}

impl OwnWorker {
    pub(super) fn new(
        sandbox: Sandbox,
        store: Arc<dyn TaskStore>,
        reports: mpsc::Sender<Report>,
        slots: u32,
    ) -> Self {
        Self { sandbox, store, reports, slots, starts: crate::metrics::sandbox_starts() }
    }

    pub(super) fn slots(&self) -> u32 {
        self.slots
    }

    /// Starts a session. It ends, and what it runs ends with it, when the task is aborted.
    pub(super) fn start(&self, id: WorkerId) -> (mpsc::Sender<ServerToWorker>, JoinHandle<()>) {
        // Room for a `run` and a `cancel` for each slot, and for those of the attempts before.
        let (inbox, frames) = mpsc::channel(self.slots as usize * 4 + 4);
        let hand = Arc::new(Hand { own: self.clone(), id });
        (inbox, tokio::spawn(serve(hand, frames)))
    }
}

/// One session.
struct Hand {
    own: OwnWorker,
    id: WorkerId,
}

async fn serve(hand: Arc<Hand>, mut frames: mpsc::Receiver<ServerToWorker>) {
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
                Some(ServerToWorker::Cancel { task, attempt }) => {
                    if let Some(cancel) = cancels.get(&(task, attempt)) {
                        cancel.cancel();
                    }
                }
            },
            Some(ended) = runs.join_next() => {
                if let Ok(attempt) = ended {
                    cancels.remove(&attempt);
                }
            }
        }
    }
}

impl Hand {
    /// Runs an attempt from its first frame to its last.
    async fn attempt(self: Arc<Self>, run: Run, cancel: CancellationToken) -> (TaskId, Attempt) {
        let (task, attempt) = (run.task, run.attempt);
        let spool = Arc::new(Spool::new(task, attempt));
        let report = tokio::select! {
            report = self.run_to_end(run, cancel, &spool) => report,
            () = self.report_while_it_runs(&spool) => return (task, attempt),
        };
        let sandbox::Report { outcome, usage, output_truncated } = report;
        Span::current().record("outcome", outcome.kind());
        let mut frames = spool.take();
        frames.push(WorkerToServer::Finished { task, attempt, outcome, usage, output_truncated });
        // An error means that the engine has ended; the next one finds the task as it was.
        drop(self.own.reports.send(Report { worker: self.id, frames }).await);
        (task, attempt)
    }

    /// Passes on what the run says; ends only when nobody listens any more.
    async fn report_while_it_runs(&self, spool: &Spool) {
        loop {
            spool.filled().await;
            tokio::time::sleep(GATHER_FOR).await;
            // Reserved first: this future may be dropped while it waits, and nothing may be taken
            // then and not sent.
            let Ok(permit) = self.own.reports.reserve().await else { return };
            let frames = spool.take();
            if !frames.is_empty() {
                permit.send(Report { worker: self.id, frames });
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
        self.own.starts.increment(1);
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
        self.own.sandbox.run(&program, invocation).await.map_err(Failure::Sandbox)
    }

    async fn program(&self, run: &Run) -> Result<Arc<Program>, Failure> {
        if let Some(program) = self.own.sandbox.prepared(run.artifact) {
            return Ok(program);
        }
        let found = self.own.store.artifact(run.artifact).await.map_err(Failure::Store)?;
        let (_, bytes) = found.ok_or(Failure::ArtifactMissing)?;
        let prepared = self.own.sandbox.prepare(run.artifact, run.language, run.form, bytes);
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
            Self::Store(error) => ("InternalError", error.to_string()),
            Self::ArtifactMissing => ("InternalError", "its artifact is gone".to_owned()),
        };
        Outcome::threw(name, message)
    }
}
