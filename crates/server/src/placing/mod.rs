//! Runs a call where it should run, on a node that has an upstream: asks the scheduler's placement,
//! starts the run on one side or on both, takes the first result, and falls back on this node when
//! the upstream is of no use. A call that may run only once runs only once.

mod why;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use runabout_protocol::{Arguments, Limits, LimitsRequest, Outcome, Place};
use runabout_scheduler::placement::{Class, End, Key, Question, Run, Side};
use tokio::time::{Instant, Sleep, sleep};

pub use why::{Why, place as place_word};

use crate::app::App;
use crate::codes::Code;
use crate::problem::Problem;
use crate::routes::calls::{Call, Ran, execute, respond};
use crate::upstream::{
    Answer, Handed, Handing, LOGS, LOGS_CUT, NotBegun, PLACEMENT, RAN_ON, Reply, SERVER_TIMING,
    Underway, Upstream, phase, server_timing,
};

/// Phases that are told of a run upstream, as they are called there and here.
const PHASES: [(&str, &str); 4] = [
    ("queue", "upstream_queue"),
    ("prepare", "upstream_prepare"),
    ("run", "upstream_run"),
    ("total", "upstream_total"),
];

/// How a call is to run.
struct Course {
    first: Side,
    why: Why,
    /// When it starts on the other side too.
    other_after: Option<Duration>,
}

/// A call on its way.
struct Placing<'a> {
    app: &'a App,
    upstream: &'a Upstream,
    call: &'a Call,
    key: Key,
    class: Class,
    /// The upstream's own limits where the call asks for none.
    lends_limits: bool,
}

type InProgress<'a, T> = Option<Pin<Box<dyn Future<Output = T> + Send + 'a>>>;

/// Runs a call where it should run.
///
/// # Errors
/// It cannot run, or nobody knows whether it has.
pub async fn place(app: &App, upstream: &Upstream, mut call: Call) -> Result<Response, Problem> {
    let args = std::mem::replace(&mut call.args, Arguments::none());
    let placing = Placing {
        app,
        upstream,
        key: Key { digest: call.digest, export: call.export.as_deref().map(Arc::from) },
        class: Class::of(args.values.text()),
        lends_limits: call.wanted.place == Place::Upstream,
        call: &call,
    };
    let course = placing.course(&args).await;
    match course {
        Course { first: Side::Here, other_after: None, why } => placing.only_here(args, why).await,
        course => Race::new(&placing, &args, course).run().await,
    }
}

impl Placing<'_> {
    async fn course(&self, args: &Arguments) -> Course {
        let asked = Why::wanted(self.call.wanted);
        let only = |first, why| Course { first, why, other_after: None };
        match self.call.wanted.place {
            Place::Here => only(Side::Here, asked),
            Place::Tab => only(Side::Here, Why::NoTab),
            Place::Upstream if self.upstream.is_reachable() => only(Side::Upstream, asked),
            Place::Upstream => only(Side::Here, Why::UpstreamUnreachable),
            Place::Auto if !self.upstream.grants(self.call.limits) => {
                only(Side::Here, Why::UpstreamLimits)
            }
            Place::Auto => {
                let artifact_bytes = self.upstream.artifact_bytes(self.app, self.call.digest).await;
                let plan = self.upstream.plan(&Question {
                    key: &self.key,
                    class: self.class,
                    is_pure: self.call.is_pure,
                    sent_bytes: args.values.text().len() as u64,
                    artifact_bytes,
                });
                Course {
                    first: plan.first,
                    why: Why::Decided(plan.reason),
                    other_after: plan.other_after,
                }
            }
        }
    }

    async fn only_here(&self, args: Arguments, why: Why) -> Result<Response, Problem> {
        let underway = self.upstream.begin(Side::Here, &self.key, self.class);
        let ran = execute(self.app, self.call, args).await?;
        underway.end(end_of(&ran));
        self.ran_here(ran, why)
    }

    fn ran_here(&self, ran: Ran, why: Why) -> Result<Response, Problem> {
        self.app.metrics.placed(why::place(Side::Here), why.as_str());
        respond(self.app, self.call, ran, why.header(Side::Here))
    }

    async fn hand(&self, args: &Arguments) -> Handed {
        let call = self.call;
        let asked_limits = if self.lends_limits { call.asked_limits() } else { all(call.limits) };
        let handing = Handing {
            digest: call.digest,
            export: call.export.as_deref(),
            args,
            limits: call.limits,
            asked_limits,
            offload: if self.lends_limits { "1" } else { "auto" },
            is_pure: call.is_pure,
            via: &call.via,
            logs_wanted: call.logs_wanted,
        };
        let handed = self.upstream.hand(self.app, handing).await;
        self.app.metrics.handed(&handed.reply, handed.took);
        handed
    }

    fn ran_upstream(&self, answer: Answer, took: Duration, why: Why) -> Response {
        let total = self.call.began.elapsed();
        self.app.metrics.placed(why::place(Side::Upstream), why.as_str());
        self.app.metrics.call_answered(answer.code, total);
        let Answer { status, headers: said, body, .. } = answer;
        let mut response = (status, Body::from(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, media_type(&said));
        for name in [header::RETRY_AFTER, RAN_ON] {
            if let Some(value) = said.get(&name) {
                headers.insert(name, value.clone());
            }
        }
        for name in [LOGS, LOGS_CUT] {
            if let Some(value) = said.get(&name).filter(|_| self.call.logs_wanted) {
                headers.insert(name, value.clone());
            }
        }
        headers.insert(SERVER_TIMING, timing(&said, took, total));
        headers.insert(PLACEMENT, why.header_after(&said));
        response
    }

    fn lost(&self, why: &str) -> Problem {
        tracing::warn!(upstream = self.upstream.url(), why, "a call was lost upstream");
        let detail = format!(
            "the upstream was lost during the call, which may have run there and is not repeated: \
             {why}"
        );
        let placement = HeaderValue::from_static("upstream; reason=upstream_lost");
        self.app.metrics.placed(why::place(Side::Upstream), Why::UpstreamLost.as_str());
        Problem::new(Code::UpstreamLost, detail).header(PLACEMENT, placement)
    }
}

/// What calls are answered with. An upstream that says something else would be serving pages in this
/// node's name.
fn media_type(said: &HeaderMap) -> HeaderValue {
    const KNOWN: [&str; 3] =
        ["application/json", "application/octet-stream", "application/problem+json"];
    let named = said.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let known = KNOWN.into_iter().find(|known| Some(*known) == named);
    HeaderValue::from_static(known.unwrap_or("application/octet-stream"))
}

/// The two sides of a call, of which the first result counts.
struct Race<'a> {
    placing: &'a Placing<'a>,
    args: &'a Arguments,
    course: Course,
    here: InProgress<'a, Result<Ran, Problem>>,
    here_underway: Option<Underway<'a>>,
    upstream: InProgress<'a, Handed>,
    upstream_underway: Option<Underway<'a>>,
    /// Whether the upstream has to be given the artifact first: how long that takes says nothing.
    is_first_there: bool,
    join: Option<Pin<Box<Sleep>>>,
    /// Why it runs here although it was to run upstream.
    fallback: Option<Why>,
    /// What kept it from running here, if the upstream has not answered yet.
    failed_here: Option<Problem>,
}

/// What happened next.
enum Happened {
    RanHere(Result<Ran, Problem>),
    Handed(Handed),
    Outlived,
}

impl<'a> Race<'a> {
    fn new(placing: &'a Placing<'a>, args: &'a Arguments, course: Course) -> Self {
        Self {
            placing,
            args,
            course,
            here: None,
            here_underway: None,
            upstream: None,
            upstream_underway: None,
            is_first_there: !placing.upstream.has(placing.call.digest),
            join: None,
            fallback: None,
            failed_here: None,
        }
    }

    async fn run(mut self) -> Result<Response, Problem> {
        self.start(self.course.first);
        // A time too far away to be added is never.
        let joins = self.course.other_after.filter(|after| after.as_secs() < 86_400);
        match joins {
            Some(Duration::ZERO) => self.start(self.course.first.other()),
            Some(after) => self.join = Some(Box::pin(sleep(after))),
            None => {}
        }
        loop {
            let ended = match self.next().await {
                Happened::RanHere(ran) => self.ran_here(ran),
                Happened::Handed(handed) => self.handed(handed),
                Happened::Outlived => {
                    self.outlived();
                    None
                }
            };
            if let Some(answer) = ended {
                return answer;
            }
        }
    }

    fn start(&mut self, side: Side) {
        let placing = self.placing;
        let underway = placing.upstream.begin(side, &placing.key, placing.class);
        match side {
            Side::Here => {
                let args = self.args.clone();
                self.here = Some(Box::pin(execute(placing.app, placing.call, args)));
                self.here_underway = Some(underway);
            }
            Side::Upstream => {
                self.upstream = Some(Box::pin(placing.hand(self.args)));
                self.upstream_underway = Some(underway);
            }
        }
    }

    async fn next(&mut self) -> Happened {
        tokio::select! {
            // What runs here runs first: a short run is over before the timer is even set.
            biased;
            ran = progress(&mut self.here) => Happened::RanHere(ran),
            handed = progress(&mut self.upstream) => Happened::Handed(handed),
            () = progress(&mut self.join) => Happened::Outlived,
        }
    }

    /// It has outlived what was expected: it starts on the other side too, if there is room.
    fn outlived(&mut self) {
        let other = self.course.first.other();
        let is_idle = match other {
            Side::Here => self.here.is_none(),
            Side::Upstream => self.upstream.is_none() && self.fallback.is_none(),
        };
        if !is_idle {
            return;
        }
        if self.placing.upstream.may_join(other) {
            self.start(other);
        } else if let Some(after) = self.course.other_after {
            // There may be room later.
            let mut again = Box::pin(sleep(Duration::ZERO));
            again.as_mut().reset(Instant::now() + after);
            self.join = Some(again);
        }
    }

    fn ran_here(&mut self, ran: Result<Ran, Problem>) -> Option<Result<Response, Problem>> {
        let underway = self.here_underway.take();
        match ran {
            Ok(ran) => {
                if let Some(underway) = underway {
                    underway.end(end_of(&ran));
                }
                self.won(Side::Here);
                let why = self.fallback.unwrap_or(self.why(Side::Here));
                Some(self.placing.ran_here(ran, why))
            }
            Err(problem) if problem.is_passing() && self.upstream.is_some() => {
                self.failed_here = Some(problem);
                None
            }
            Err(problem) => Some(Err(problem)),
        }
    }

    fn handed(&mut self, handed: Handed) -> Option<Result<Response, Problem>> {
        let underway = self.upstream_underway.take();
        if let (Some(underway), Some(exchange)) = (underway, handed.exchange) {
            underway.end(End::Answered(exchange));
        }
        match handed.reply {
            Reply::Exhausted(_) if self.placing.call.is_pure => self.fall_back(Why::UpstreamMemory),
            Reply::Answered(answer) | Reply::Exhausted(answer) => {
                self.won(Side::Upstream);
                let why = self.why(Side::Upstream);
                Some(Ok(self.placing.ran_upstream(answer, handed.took, why)))
            }
            Reply::NotBegun(NotBegun::LimitAboveMaximum(field, most))
                if self.placing.lends_limits =>
            {
                Some(Err(above_maximum(&field, most)))
            }
            Reply::NotBegun(why) => self.fall_back(Why::not_begun(&why)),
            Reply::Lost(why) if !self.placing.call.is_pure => Some(Err(self.placing.lost(&why))),
            Reply::Lost(why) => {
                tracing::debug!(why, "a call was lost upstream and runs here");
                self.fall_back(Why::UpstreamLost)
            }
        }
    }

    /// The upstream is out of it.
    fn fall_back(&mut self, why: Why) -> Option<Result<Response, Problem>> {
        if let Some(problem) = self.failed_here.take() {
            return Some(Err(problem));
        }
        if self.course.first == Side::Upstream {
            self.fallback = Some(why);
        }
        if self.here.is_none() {
            self.start(Side::Here);
        }
        None
    }

    /// The other side, if it is under way, is given up.
    fn won(&mut self, side: Side) {
        let other = match side {
            Side::Here => self.upstream_underway.take(),
            Side::Upstream => self.here_underway.take(),
        };
        if let Some(other) = other {
            self.placing.app.metrics.raced(why::place(side));
            let says_nothing = side == Side::Here && self.is_first_there;
            other.end(if says_nothing { End::Nothing } else { End::GivenUp });
        }
    }

    fn why(&self, side: Side) -> Why {
        let is_first = side == self.course.first;
        let is_simultaneous = self.course.other_after == Some(Duration::ZERO);
        if is_first || is_simultaneous { self.course.why } else { Why::Outlived }
    }
}

/// Waits for what is in progress, and for ever if nothing is.
async fn progress<F: Future + Unpin>(in_progress: &mut Option<F>) -> F::Output {
    let Some(future) = in_progress else { return std::future::pending().await };
    let output = future.await;
    *in_progress = None;
    output
}

fn end_of(ran: &Ran) -> End {
    match ran.report.outcome {
        Outcome::Cancelled | Outcome::Lost { .. } => End::Nothing,
        _ => End::Ran(Run { wall_ms: ran.report.usage.wall_ms, cpu_ms: ran.report.usage.cpu_ms }),
    }
}

/// All limits of a run, asked for by name: it is to run elsewhere as it would run here.
fn all(limits: Limits) -> LimitsRequest {
    LimitsRequest {
        timeout_ms: Some(limits.timeout_ms),
        cpu_ms: Some(limits.cpu_ms),
        memory_bytes: Some(limits.memory_bytes),
    }
}

fn timing(said: &HeaderMap, took: Duration, total: Duration) -> HeaderValue {
    let there = phase(said, "total").unwrap_or(took);
    let upstream = PHASES.iter().filter_map(|(there, here)| Some((*here, phase(said, there)?)));
    let ours = [("transfer", took.saturating_sub(there)), ("total", total)];
    server_timing(upstream.chain(ours))
}

fn above_maximum(field: &str, most: u64) -> Problem {
    let detail = format!("the upstream grants {most} of {field} at most");
    Problem::new(Code::LimitAboveMaximum, detail).with("field", field).with("maximum", most)
}
