//! Handing one call to the upstream: the request, the artifact if it is missing there, and what
//! came of it.

use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use runabout_protocol::{Arguments, Digest, Encoding, Limits, LimitsRequest};
use runabout_scheduler::placement::{Exchange, Run};

use super::artifacts::{Artifacts, NotSent};
use super::client::{Heard, NoAnswer, Sent};
use super::reply::{meaning, wants_artifact};
use super::{NodeLoad, NotBegun, PURE, Reply, Upstream, Via, WANT_LOGS, phase};
use crate::app::App;

/// How much longer than its run a call may take upstream, waiting for its turn there included.
const GRACE: Duration = Duration::from_secs(30);

/// A call to hand over.
pub struct Handing<'a> {
    /// The artifact.
    pub digest: Digest,
    /// Its export.
    pub export: Option<&'a str>,
    /// The arguments.
    pub args: &'a Arguments,
    /// The limits that hold here.
    pub limits: Limits,
    /// The limits to ask for there; those left out are the upstream's own.
    pub asked_limits: LimitsRequest,
    /// `1` if it is to run as far upstream as there is somebody, `auto` otherwise.
    pub offload: &'static str,
    /// Whether it may run twice.
    pub is_pure: bool,
    /// The nodes that it has passed.
    pub via: &'a Via,
    /// Whether its output is wanted.
    pub logs_wanted: bool,
}

/// What came of it.
pub struct Handed {
    /// What the upstream said.
    pub reply: Reply,
    /// What is to be learned from it, if it ran.
    pub exchange: Option<Exchange>,
    /// How long it took.
    pub took: Duration,
}

impl Handed {
    fn not_begun(why: NotBegun) -> Self {
        Self { reply: Reply::NotBegun(why), exchange: None, took: Duration::ZERO }
    }
}

impl Upstream {
    /// Hands over a call and waits for what comes of it. Dropping the future ends the run there.
    pub async fn hand(&self, app: &App, handing: Handing<'_>) -> Handed {
        let Ok(_turn) = self.turns.try_acquire() else {
            return Handed::not_begun(NotBegun::Busy);
        };
        let Some(via) = handing.via.and(app.node.id) else {
            return Handed::not_begun(NotBegun::TooFar);
        };
        let Some(sent) = handing.sent(via) else {
            return Handed::not_begun(NotBegun::Unfit("its arguments cannot be sent".to_owned()));
        };
        let handed = self.exchange(app, sent).await;
        match &handed.reply {
            Reply::NotBegun(NotBegun::Unreachable(why) | NotBegun::Refused(why)) => {
                self.failed(why);
            }
            Reply::NotBegun(NotBegun::LimitAboveMaximum(field, most)) => {
                self.lower_maximum(field, *most);
            }
            Reply::Lost(_) | Reply::NotBegun(_) | Reply::Answered(_) | Reply::Exhausted(_) => {}
        }
        handed
    }

    async fn exchange(&self, app: &App, sent: Sent) -> Handed {
        let last = self.artifacts.last(sent.digest);
        let first = self.ask(sent.clone()).await;
        let Asked::Wanted = first else { return self.handed(first, &sent) };
        let Some(artifact) = Artifacts::deliver(app, sent.digest, last).await else {
            return Handed::not_begun(NotBegun::Busy);
        };
        match artifact {
            Ok(Ok(())) => {
                let second = self.ask(sent.clone()).await;
                self.handed(second, &sent)
            }
            Ok(Err(heard)) => {
                let why = format!("it does not take the artifact: {}", heard.status);
                Handed::not_begun(NotBegun::Unfit(why))
            }
            // Running it here says what is wrong with it.
            Err(NotSent::Ours(problem)) => {
                Handed::not_begun(NotBegun::Unfit(problem.detail().to_owned()))
            }
            // The call itself has not been sent again.
            Err(NotSent::NoAnswer(NoAnswer::Unreachable(why) | NoAnswer::Lost(why))) => {
                Handed::not_begun(NotBegun::Unreachable(why))
            }
        }
    }

    async fn ask(&self, sent: Sent) -> Asked {
        let began = Instant::now();
        match self.client.call(sent).await {
            Ok(heard) => {
                self.answered(NodeLoad::of(&heard.headers));
                if wants_artifact(heard.status, &heard.body) {
                    Asked::Wanted
                } else {
                    Asked::Heard(heard, began.elapsed())
                }
            }
            Err(NoAnswer::Unreachable(why)) => Asked::Unreachable(why),
            Err(NoAnswer::Lost(why)) => {
                self.failed(&why);
                Asked::Lost(why)
            }
        }
    }

    fn handed(&self, asked: Asked, sent: &Sent) -> Handed {
        match asked {
            Asked::Heard(heard, took) => {
                let exchange = exchange(&heard, took, sent);
                let Heard { status, headers, body } = heard;
                let reply = meaning(status, headers, body);
                let has_run = matches!(reply, Reply::Answered(_));
                if has_run {
                    self.artifacts.learn(sent.digest);
                }
                Handed { reply, exchange: exchange.filter(|_| has_run), took }
            }
            Asked::Wanted => {
                let why = "it asks for the artifact again and again".to_owned();
                Handed::not_begun(NotBegun::Unfit(why))
            }
            Asked::Unreachable(why) => Handed::not_begun(NotBegun::Unreachable(why)),
            Asked::Lost(why) => {
                Handed { reply: Reply::Lost(why), exchange: None, took: Duration::ZERO }
            }
        }
    }
}

enum Asked {
    Heard(Heard, Duration),
    Wanted,
    Unreachable(String),
    Lost(String),
}

impl Handing<'_> {
    /// The request; `None` if the arguments are no base64 although they say so.
    fn sent(&self, via: HeaderValue) -> Option<Sent> {
        let mut headers = HeaderMap::new();
        headers.insert(super::via::VIA, via);
        if !self.is_pure {
            headers.insert(PURE, HeaderValue::from_static("0"));
        }
        if self.logs_wanted {
            headers.insert(WANT_LOGS, HeaderValue::from_static("1"));
        }
        let (media_type, body) = self.body()?;
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        let time_max = Duration::from_millis(self.limits.timeout_ms).saturating_add(GRACE);
        Some(Sent { digest: self.digest, query: self.query(), headers, body, time_max })
    }

    fn query(&self) -> Vec<(&'static str, String)> {
        let number = |number: Option<u64>| number.map(|number| number.to_string());
        let all = [
            ("export", self.export.map(str::to_owned)),
            ("offload", Some(self.offload.to_owned())),
            ("timeout_ms", number(self.asked_limits.timeout_ms)),
            ("cpu_ms", number(self.asked_limits.cpu_ms)),
            ("memory_bytes", number(self.asked_limits.memory_bytes)),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }

    fn body(&self) -> Option<(&'static str, Bytes)> {
        match self.args.encoding {
            None => Some(("application/json", self.args.values.text().to_owned().into())),
            Some(Encoding::Base64) => {
                let [text]: [String; 1] = self.args.values.read().ok()?;
                Some(("application/octet-stream", STANDARD.decode(text).ok()?.into()))
            }
        }
    }
}

fn exchange(heard: &Heard, took: Duration, sent: &Sent) -> Option<Exchange> {
    let is_run = heard.status == StatusCode::OK || heard.headers.contains_key(super::RAN_ON);
    if !is_run {
        return None;
    }
    let milliseconds = |time: Duration| time.as_secs_f64() * 1_000.0;
    let of_run = phase(&heard.headers, "run").map(milliseconds);
    let cpu_ms = NodeLoad::of(&heard.headers).and_then(|load| load.cpu_ms);
    Some(Exchange {
        took_ms: milliseconds(took),
        there_ms: phase(&heard.headers, "total").map(milliseconds),
        run: of_run.map(|wall_ms| Run { wall_ms, cpu_ms }),
        sent_bytes: sent.body.len() as u64,
        reply_bytes: heard.body.len() as u64,
    })
}
