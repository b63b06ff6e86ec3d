//! An attempt that another node hands on: runs it here, or hands it on in its turn, and tells all of
//! it as it happens. The asking node keeps the record; here nothing of it is stored.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::stream;
use runabout_protocol::wire::FRAME_BYTES_MAX;
use runabout_protocol::{Digest, Limits, Outcome, Place, Run, Usage, WorkerToServer, frame};
use runabout_worker::attempts::{Node, serve_one};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::task::AbortOnDropHandle;

use crate::app::App;
use crate::body::Received;
use crate::codes::Code;
use crate::problem::{Problem, stopping};
use crate::source;
use crate::upstream::{
    Ended, FRAMES_TYPE, Handover, LOAD, Listener, RUN_TYPE, Upstream, Via, lines,
};

/// Pieces of the answer that may wait to be read; a run that says more is heard later.
const PIECES_MAX: usize = 4;

/// What a node asks for beside the attempt.
pub struct Asked {
    /// The artifact.
    pub digest: Digest,
    /// The limits that hold here.
    pub limits: Limits,
    /// Where it should run.
    pub place: Place,
    /// The nodes that it has passed.
    pub via: Via,
}

/// Whether a request is an attempt, and not a call.
pub fn is_attempt(headers: &HeaderMap) -> bool {
    source::essence(headers).as_deref() == Some(RUN_TYPE)
}

/// Runs an attempt; the answer goes on for as long as it runs.
///
/// # Errors
/// It does not begin here.
pub async fn run(
    app: &App,
    asked: Asked,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    if app.stopping.is_cancelled() {
        return Err(stopping());
    }
    let Received { bytes, room } = app.intake.read(headers, body, FRAME_BYTES_MAX).await?;
    let run = read(&bytes, &asked)?;
    drop(bytes);
    // Before anything is said: what is missing is sent, and asked for again.
    app.program(asked.digest).await?;
    let course = Course::of(app, asked.place)?;
    let (told, pieces) = mpsc::channel(PIECES_MAX);
    let teller = Arc::new(Teller { app: app.clone(), told });
    let running = tokio::spawn(async move {
        let _room = room;
        teller.follow(run, asked.via, course).await;
    });
    // Whoever hangs up drops the answer, and with it the run.
    let running = AbortOnDropHandle::new(running);
    let answer = stream::unfold((pieces, running), |(mut pieces, running)| async move {
        let piece = pieces.recv().await?;
        Some((Ok::<_, Infallible>(piece), (pieces, running)))
    });
    let mut response =
        ([(header::CONTENT_TYPE, FRAMES_TYPE)], Body::from_stream(answer)).into_response();
    if let Some(load) = app.load().header() {
        response.headers_mut().insert(LOAD, load);
    }
    Ok(response)
}

fn read(bytes: &Bytes, asked: &Asked) -> Result<Run, Problem> {
    let run: Run = serde_json::from_slice(bytes)
        .map_err(|error| Problem::new(Code::MalformedJson, format!("no run frame: {error}")))?;
    if run.artifact != asked.digest {
        let detail = "it is the digest in the path";
        return Err(Problem::invalid_field("artifact", detail));
    }
    let mut run = Run { limits: asked.limits, ..run };
    run.surroundings.place = asked.place;
    Ok(run)
}

/// Where an attempt runs.
enum Course {
    /// With this turn among the calls.
    Here(OwnedSemaphorePermit),
    /// On the node behind this one.
    Upstream(Arc<Upstream>),
}

impl Course {
    /// As far up as there is somebody, if that is asked for; else here, unless there is enough to do
    /// here and somebody behind.
    fn of(app: &App, place: Place) -> Result<Self, Problem> {
        let upstream = app.upstream.as_ref().filter(|upstream| upstream.is_reachable());
        let load = app.load();
        let goes_on = match place {
            Place::Upstream => true,
            Place::Auto => load.running >= load.processors,
            Place::Here | Place::Tab => false,
        };
        match upstream.filter(|_| goes_on) {
            Some(upstream) => Ok(Self::Upstream(Arc::clone(upstream))),
            // It waits where its record is, and not here as well.
            None => app
                .gate
                .try_enter()
                .map(Self::Here)
                .ok_or_else(|| Problem::overloaded("as many calls are under way as may be")),
        }
    }
}

/// The answer to the asking node, as the run tells it.
struct Teller {
    app: App,
    /// Bounded: a run waits while what it has said is not read.
    told: mpsc::Sender<Bytes>,
}

impl Teller {
    async fn follow(self: Arc<Self>, run: Run, via: Via, course: Course) {
        let upstream = match course {
            Course::Here(turn) => return self.run_here(run, turn).await,
            Course::Upstream(upstream) => upstream,
        };
        let handover = Handover { run: &run, via: &via };
        match upstream.attempt(&self.app, handover, &*self).await {
            // An answer without a last word says that it was lost.
            Ended::Told | Ended::Unheard | Ended::Lost(_) => {}
            Ended::Declined(_) => match self.app.gate.try_enter() {
                Some(turn) => self.run_here(run, turn).await,
                None => drop(self.hear(vec![given_back(&run)], 0).await),
            },
        }
    }

    async fn run_here(self: Arc<Self>, run: Run, turn: OwnedSemaphorePermit) {
        // A node that stops ends what it runs for others, and says so.
        let (sandbox, cancel) = (self.app.sandbox.clone(), self.app.stopping.child_token());
        serve_one(self, sandbox, run, cancel).await;
        drop(turn);
    }

    /// Says where it ran, in the frame that tells how it ended.
    fn sign(&self, frame: &mut WorkerToServer) {
        if let WorkerToServer::Finished(finished) = frame {
            finished.usage.ran_on = Some(self.app.node.name.clone());
        }
    }
}

impl Node for Teller {
    async fn artifact(&self, digest: Digest) -> Result<Option<Bytes>, String> {
        let found = self.app.store.artifact(digest).await.map_err(|error| error.to_string())?;
        Ok(found.map(|(_, bytes)| bytes))
    }

    async fn tell(&self, frames: impl FnOnce() -> Vec<WorkerToServer> + Send) -> bool {
        let Ok(permit) = self.told.reserve().await else { return false };
        let mut frames = frames();
        frames.iter_mut().for_each(|frame| self.sign(frame));
        if !frames.is_empty() {
            permit.send(lines(&frames));
        }
        true
    }

    fn run_begins(&self) {
        self.app.metrics.call_starts();
    }
}

impl Listener for Teller {
    async fn hear(&self, frames: Vec<WorkerToServer>, _bytes: usize) -> bool {
        self.told.send(lines(&frames)).await.is_ok()
    }
}

/// Says that an attempt was not run, and may be given to somebody else.
fn given_back(run: &Run) -> WorkerToServer {
    WorkerToServer::Finished(frame::Finished {
        task: run.task,
        attempt: run.attempt,
        outcome: Outcome::Cancelled,
        usage: Usage::default(),
        output_truncated: false,
    })
}
