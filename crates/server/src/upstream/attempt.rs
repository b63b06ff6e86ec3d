//! Handing one attempt of a task to the upstream: the request, the artifact if it is missing there,
//! and what is said of the attempt, as it is said.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use bytes::Bytes;
use reqwest::Response;
use runabout_protocol::wire::FRAME_BYTES_MAX;
use runabout_protocol::{Limits, LimitsRequest, MemoryScope, Outcome, Place, Run, WorkerToServer};
use runabout_scheduler::Decline;

use super::artifacts::{Artifacts, NotSent};
use super::client::{ARTIFACT_TIME_MAX, NoAnswer, Sent};
use super::frames::{FRAMES_TYPE, Frames, RUN_TYPE, Said};
use super::reply::{meaning, wants_artifact};
use super::{NodeLoad, NotBegun, Reply, Upstream, Via};
use crate::app::App;

/// The most characters of the name of the node that ran it.
const NAME_CHARS_MAX: usize = 128;

/// An attempt to hand over.
pub struct Handover<'a> {
    /// The attempt.
    pub run: &'a Run,
    /// The nodes that it has passed.
    pub via: &'a Via,
}

/// What became of it.
#[derive(Debug)]
pub enum Ended {
    /// Its end was told.
    Told,
    /// It has no end; it may run elsewhere, or later.
    Declined(Decline),
    /// It may have begun, and nothing is known of it any more.
    Lost(String),
    /// Nobody listens any more.
    Unheard,
}

/// Who hears what is said of an attempt.
pub trait Listener: Sync {
    /// Takes frames that are that long together. Says whether anybody hears.
    fn hear(&self, frames: Vec<WorkerToServer>, bytes: usize) -> impl Future<Output = bool> + Send;
}

impl Upstream {
    /// Hands over an attempt, and tells all that is said of it. Dropping the future ends the run
    /// there.
    pub async fn attempt(
        &self,
        app: &App,
        handover: Handover<'_>,
        listener: &impl Listener,
    ) -> Ended {
        let Ok(_turn) = self.turns.try_acquire() else { return Ended::Declined(Decline::NotNow) };
        let Some(sent) = handover.sent(app) else { return Ended::Declined(Decline::Unfit) };
        let ended = match self.begin_attempt(app, sent).await {
            Ok(response) => {
                self.listen(Frames::of(&self.client, response, handover.run), listener).await
            }
            Err(ended) => ended,
        };
        app.metrics.attempt_handed(ended.word());
        ended
    }

    async fn begin_attempt(&self, app: &App, sent: Sent) -> Result<Response, Ended> {
        let last = self.artifacts.last(sent.digest);
        if let Some(response) = self.try_attempt(&sent).await? {
            return Ok(response);
        }
        match Artifacts::deliver(app, sent.digest, last).await {
            None => return Err(Ended::Declined(Decline::NotNow)),
            Some(Ok(Ok(()))) => {}
            // Running it here says what is wrong with it.
            Some(Ok(Err(_)) | Err(NotSent::Ours(_))) => {
                return Err(Ended::Declined(Decline::Unfit));
            }
            Some(Err(NotSent::NoAnswer(NoAnswer::Unreachable(why) | NoAnswer::Lost(why)))) => {
                self.failed(&why);
                return Err(Ended::Declined(Decline::NotNow));
            }
        }
        self.try_attempt(&sent).await?.ok_or(Ended::Declined(Decline::Unfit))
    }

    /// Asks once. `None` asks for the artifact.
    async fn try_attempt(&self, sent: &Sent) -> Result<Option<Response>, Ended> {
        let answer = async {
            let response = self.client.run(sent.clone()).await?;
            self.answered(NodeLoad::of(response.headers()));
            if has_begun(&response) {
                return Ok(Ok(response));
            }
            self.client.read(response).await.map(Err)
        };
        match answer.await {
            Ok(Ok(response)) => {
                self.artifacts.learn(sent.digest);
                Ok(Some(response))
            }
            Ok(Err(heard)) if wants_artifact(heard.status, &heard.body) => Ok(None),
            Ok(Err(heard)) => Err(self.not_begun(meaning(heard.status, heard.headers, heard.body))),
            Err(NoAnswer::Unreachable(why)) => {
                self.failed(&why);
                Err(Ended::Declined(Decline::NotNow))
            }
            Err(NoAnswer::Lost(why)) => {
                self.failed(&why);
                Err(Ended::Lost(why))
            }
        }
    }

    fn not_begun(&self, reply: Reply) -> Ended {
        match reply {
            Reply::NotBegun(NotBegun::Unreachable(why) | NotBegun::Refused(why)) => {
                self.failed(&why);
                Ended::Declined(Decline::NotNow)
            }
            Reply::NotBegun(NotBegun::Busy) => Ended::Declined(Decline::NotNow),
            Reply::NotBegun(why) => {
                tracing::debug!(?why, "an attempt does not fit the upstream");
                Ended::Declined(Decline::Unfit)
            }
            // A problem with the request itself: what is wrong shows when it runs here.
            Reply::Answered(_) | Reply::Exhausted(_) => Ended::Declined(Decline::Unfit),
            Reply::Lost(why) => Ended::Lost(why),
        }
    }

    async fn listen(&self, mut frames: Frames<'_>, listener: &impl Listener) -> Ended {
        loop {
            let Said { frames: mut said, finished, bytes } = match frames.next().await {
                Ok(said) => said,
                Err(why) => {
                    self.failed(&why);
                    return Ended::Lost(why);
                }
            };
            let ended = finished.map(|finished| match own_end(&finished) {
                Some(ended) => ended,
                None => {
                    said.push(finished);
                    Ended::Told
                }
            });
            if !said.is_empty() && !listener.hear(said, bytes).await {
                return Ended::Unheard;
            }
            if let Some(ended) = ended {
                return ended;
            }
        }
    }
}

impl Ended {
    fn word(&self) -> &'static str {
        match self {
            Self::Told => "ended",
            Self::Declined(Decline::NotNow) => "busy",
            Self::Declined(Decline::Unfit) => "unfit",
            Self::Declined(Decline::Interrupted) => "interrupted",
            Self::Lost(_) => "lost",
            Self::Unheard => "cancelled",
        }
    }
}

/// What an end there means that is the upstream's doing and not the function's.
fn own_end(finished: &WorkerToServer) -> Option<Ended> {
    let WorkerToServer::Finished(finished) = finished else { return None };
    match &finished.outcome {
        // Nobody asked for it: the upstream stops. Or it has no memory left for anybody.
        Outcome::Cancelled | Outcome::OutOfMemory { scope: MemoryScope::Node, .. } => {
            Some(Ended::Declined(Decline::Interrupted))
        }
        Outcome::Lost { .. } => Some(Ended::Lost("it was lost there".to_owned())),
        _ => None,
    }
}

fn has_begun(response: &Response) -> bool {
    let media_type = response.headers().get(header::CONTENT_TYPE);
    response.status() == StatusCode::OK && media_type.is_some_and(|it| it == FRAMES_TYPE)
}

impl Handover<'_> {
    /// The request; `None` if no frame holds it, or it has passed too many nodes.
    fn sent(&self, app: &App) -> Option<Sent> {
        let body = Bytes::from(serde_json::to_vec(self.run).ok()?);
        if body.len() > FRAME_BYTES_MAX {
            return None;
        }
        let mut headers = HeaderMap::new();
        headers.insert(super::via::VIA, self.via.and(app.node.id)?);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(RUN_TYPE));
        let query = self.query();
        Some(Sent { digest: self.run.artifact, query, headers, body, time_max: ARTIFACT_TIME_MAX })
    }

    fn query(&self) -> Vec<(&'static str, String)> {
        let offload = match self.run.surroundings.place {
            Place::Upstream => "1",
            Place::Here | Place::Tab | Place::Auto => "auto",
        };
        let LimitsRequest { timeout_ms, cpu_ms, memory_bytes } = asked(self.run.limits);
        let limits =
            [("timeout_ms", timeout_ms), ("cpu_ms", cpu_ms), ("memory_bytes", memory_bytes)];
        let limits = limits.into_iter().filter_map(|(name, it)| Some((name, it?.to_string())));
        std::iter::once(("offload", offload.to_owned())).chain(limits).collect()
    }
}

/// The limits that are not the usual ones; of those the upstream's own holds, if it is lower.
fn asked(limits: Limits) -> LimitsRequest {
    let usual = Limits::default();
    let unusual = |limit: u64, usual: u64| (limit != usual).then_some(limit);
    LimitsRequest {
        timeout_ms: unusual(limits.timeout_ms, usual.timeout_ms),
        cpu_ms: unusual(limits.cpu_ms, limits.timeout_ms),
        memory_bytes: unusual(limits.memory_bytes, usual.memory_bytes),
    }
}

/// A node's name, if it can stand in a header as one.
pub fn printable(name: String) -> Option<String> {
    let is_printable = name.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    (is_printable && !name.trim().is_empty() && name.len() <= NAME_CHARS_MAX).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_limits_are_left_to_the_upstream() {
        let usual = Limits::default();
        assert_eq!(asked(usual), LimitsRequest::default());
        let asked_for = asked(Limits { timeout_ms: 60_000, ..usual });
        assert_eq!(asked_for.timeout_ms, Some(60_000));
        assert_eq!(asked_for.cpu_ms, Some(usual.cpu_ms));
    }

    #[test]
    fn names_are_short_and_printable() {
        assert_eq!(printable("far".to_owned()), Some("far".to_owned()));
        for name in ["", "  ", "a\nb", "fär"] {
            assert_eq!(printable(name.to_owned()), None, "{name:?}");
        }
        assert_eq!(printable("x".repeat(NAME_CHARS_MAX + 1)), None);
    }
}
