//! Calls: run now, answer with the result, store nothing. The hottest path of the node: it reads
//! no database, and copies the caller's JSON once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use runabout_protocol::{
    Arguments, Digest, Encoding, ErrorReport, Json, LimitKind, Limits, LimitsRequest, MemoryScope,
    Outcome, Place, Returned,
};
use runabout_sandbox::{Invocation, Report};
use runabout_scheduler::placement::Side;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::artifacts::parse_digest;
use super::is_json;
use crate::app::App;
use crate::body::{ARGS_BYTES_MAX, Received, Room};
use crate::calls::Tail;
use crate::codes::Code;
use crate::extract::{Query, Segment};
use crate::placing::{Why, place};
use crate::problem::{Problem, ProblemJson, stopping};
use crate::upstream::{
    LOAD, LOGS, LOGS_CUT, NodeLoad, PLACEMENT, PURE, RAN_ON, SERVER_TIMING, Via, WANT_LOGS,
    server_timing,
};
use crate::wanted::Wanted;
use crate::{handed, read, source};

/// The most JSON in [`LOGS`]; base64 makes 8 KiB of it, and Node.js reads no more than 16 of all.
const LOGS_BYTES_MAX: usize = 6 << 10;

/// The routes of this file.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(call_function)).routes(routes!(call_artifact))
}

/// What and how to call.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct How {
    /// The export to call; not needed where there is one.
    export: Option<String>,
    /// That version; the latest if left out. For functions only.
    version: Option<u32>,
    /// Where to run: 0 here, 1 upstream, auto wherever it is best.
    #[param(inline)]
    offload: Option<Offload>,
    /// Wall-clock time, in milliseconds.
    timeout_ms: Option<u64>,
    /// Processor time, in milliseconds.
    cpu_ms: Option<u64>,
    /// Memory, in bytes.
    memory_bytes: Option<u64>,
}

/// Where to run, as it stands in a URL.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
enum Offload {
    #[serde(rename = "0")]
    Here,
    #[serde(rename = "1")]
    Upstream,
    #[serde(rename = "auto")]
    Auto,
}

impl How {
    fn limits(&self) -> LimitsRequest {
        LimitsRequest {
            timeout_ms: self.timeout_ms,
            cpu_ms: self.cpu_ms,
            memory_bytes: self.memory_bytes,
        }
    }

    /// What the caller says of the place, if anything.
    fn wanted(&self) -> Option<Wanted> {
        Some(Wanted::word(match self.offload? {
            Offload::Here => Place::Here,
            Offload::Upstream => Place::Upstream,
            Offload::Auto => Place::Auto,
        }))
    }
}

/// Call a function
///
/// The body is a JSON array of arguments, or `application/octet-stream` for exactly one argument
/// of bytes. The answer is the result itself.
#[utoipa::path(
    post, path = "/v1/functions/{name}/call", tag = "calls",
    params(("name" = String, Path, description = "The function's name"), How),
    request_body(content(
        (Vec<serde_json::Value> = "application/json"), (Vec<u8> = "application/octet-stream"))),
    responses(
        (status = 200, description = "The result, as JSON or bytes", content(
            (serde_json::Value = "application/json"), (Vec<u8> = "application/octet-stream"))),
        (status = 404, description = "No such function", body = ProblemJson,
         content_type = "application/problem+json"),
        (status = 422, description = "It threw or ran out of memory, or cannot be called like this",
         body = ProblemJson, content_type = "application/problem+json"),
        (status = 503, description = "Too many calls wait", body = ProblemJson,
         content_type = "application/problem+json"),
        (status = 504, description = "It reached its limit of time", body = ProblemJson,
         content_type = "application/problem+json"),
    )
)]
async fn call_function(
    State(app): State<App>,
    Segment(name): Segment,
    Query(how): Query<How>,
    request: Request,
) -> Result<Response, Problem> {
    let began = Instant::now();
    let (parts, body) = request.into_parts();
    let deployed = app.functions.find(&name, how.version).await?;
    let manifest = &deployed.version.manifest;
    let via = via(&app, &parts.headers)?;
    let (args, room) = arguments(&app, &parts.headers, body).await?;
    let call = Call {
        digest: deployed.version.digest,
        limits: deployed.limits(how.limits(), app.sandbox.maximum(), "")?,
        asked_limits: how.limits().or(manifest.limits.unwrap_or_default()),
        is_pure: manifest.pure.unwrap_or(true) && is_pure(&parts.headers),
        via,
        wanted: how.wanted().unwrap_or_else(|| deployed.wanted(&args)),
        export: how.export.or_else(|| manifest.export.clone()),
        args,
        room,
        logs_wanted: wants_logs(&parts.headers),
        began,
    };
    run(&app, call).await
}

/// Call an artifact
///
/// The same by digest: what nodes ask each other. 404 `artifact_missing` asks for the bytes once.
/// A body of `application/vnd.runabout.run+json` is a worker's `run` frame: an attempt of a task of
/// the asking node, answered with the worker's frames as they are said, a line each.
#[utoipa::path(
    post, path = "/v1/artifacts/{digest}/call", tag = "calls",
    params(("digest" = String, Path, description = "sha256:HEX"), How),
    request_body(content(
        (Vec<serde_json::Value> = "application/json"), (Vec<u8> = "application/octet-stream"))),
    responses(
        (status = 200, description = "The result, as JSON or bytes", content(
            (serde_json::Value = "application/json"), (Vec<u8> = "application/octet-stream"))),
        (status = 404, description = "The node does not have it", body = ProblemJson,
         content_type = "application/problem+json"),
        (status = 422, description = "It threw or ran out of memory, or cannot be called like this",
         body = ProblemJson, content_type = "application/problem+json"),
        (status = 504, description = "It reached its limit of time", body = ProblemJson,
         content_type = "application/problem+json"),
    )
)]
async fn call_artifact(
    State(app): State<App>,
    Segment(digest): Segment,
    Query(how): Query<How>,
    request: Request,
) -> Result<Response, Problem> {
    let began = Instant::now();
    let (parts, body) = request.into_parts();
    if how.version.is_some() {
        let detail = "an artifact has no versions";
        return Err(Problem::new(Code::ConflictingFields, detail).with("field", "version"));
    }
    let via = via(&app, &parts.headers)?;
    let limits = how.limits().resolve(app.sandbox.maximum());
    if handed::is_attempt(&parts.headers) {
        let place = how.wanted().unwrap_or_default().place;
        let limits = limits.map_err(|above| Problem::above_maximum(&above, ""))?;
        let asked = handed::Asked { digest: parse_digest(&digest)?, limits, place, via };
        return handed::run(&app, asked, &parts.headers, body).await;
    }
    let (args, room) = arguments(&app, &parts.headers, body).await?;
    let call = Call {
        digest: parse_digest(&digest)?,
        limits: limits.map_err(|above| Problem::above_maximum(&above, ""))?,
        asked_limits: how.limits(),
        is_pure: is_pure(&parts.headers),
        via,
        wanted: how.wanted().unwrap_or_default(),
        export: how.export,
        args,
        room,
        logs_wanted: wants_logs(&parts.headers),
        began,
    };
    run(&app, call).await
}

/// A call with everything decided.
pub struct Call {
    /// What runs.
    pub digest: Digest,
    /// The export to call.
    pub export: Option<String>,
    /// Its arguments.
    pub args: Arguments,
    /// The room that the arguments take.
    #[expect(dead_code, reason = "held to the end of the call, so that those that wait count too")]
    pub room: Room,
    /// The limits that hold here.
    pub limits: Limits,
    /// What the caller or the manifest asks for of them.
    pub asked_limits: LimitsRequest,
    /// Whether it may run twice.
    pub is_pure: bool,
    /// The nodes that it has passed.
    pub via: Via,
    /// Where it should run.
    pub wanted: Wanted,
    /// Whether the caller wants to see the last lines of output.
    pub logs_wanted: bool,
    /// When the request came.
    pub began: Instant,
}

impl Call {
    /// The limits to ask for on another node: what was asked for here, and what this node lowers.
    pub fn asked_limits(&self) -> LimitsRequest {
        let default = Limits::default();
        let lower = |asked: Option<u64>, here: u64, default: u64| {
            asked.map(|asked| asked.min(here)).or((here < default).then_some(here))
        };
        let Self { limits, asked_limits: asked, .. } = self;
        LimitsRequest {
            timeout_ms: lower(asked.timeout_ms, limits.timeout_ms, default.timeout_ms),
            cpu_ms: asked.cpu_ms.map(|asked| asked.min(limits.cpu_ms)),
            memory_bytes: lower(asked.memory_bytes, limits.memory_bytes, default.memory_bytes),
        }
    }
}

/// The nodes that a call has passed.
///
/// # Errors
/// `offload_loop` if this one is among them, `invalid_field` if it is no list of nodes.
pub fn via(app: &App, headers: &HeaderMap) -> Result<Via, Problem> {
    Via::of(headers, app.node.id).inspect_err(|problem| {
        if problem.is(Code::OffloadLoop) {
            app.metrics.looped();
        }
    })
}

/// A node that hands a call on says so if it may run only once.
pub fn is_pure(headers: &HeaderMap) -> bool {
    headers.get(PURE).is_none_or(|value| value != "0")
}

/// Whether a request wants the call's last lines of output.
pub fn wants_logs(headers: &HeaderMap) -> bool {
    headers.get(WANT_LOGS).is_some_and(|value| value == "1")
}

/// The arguments, and the room they take until the call has ended.
async fn arguments(
    app: &App,
    headers: &HeaderMap,
    body: Body,
) -> Result<(Arguments, Room), Problem> {
    let Received { bytes, room } = app.intake.read(headers, body, ARGS_BYTES_MAX).await?;
    Ok((parse_arguments(headers, bytes)?, room))
}

fn parse_arguments(headers: &HeaderMap, bytes: Bytes) -> Result<Arguments, Problem> {
    if is_json(headers) {
        return json_arguments(bytes.into());
    }
    match source::essence(headers).as_deref() {
        Some("application/octet-stream") => {
            let values = Json::of(&[STANDARD.encode(bytes)]).map_err(Problem::internal)?;
            Ok(Arguments { values, encoding: Some(Encoding::Base64) })
        }
        other => Err(source::unsupported(format!(
            "a call takes application/json or application/octet-stream, not {}",
            other.unwrap_or("this")
        ))),
    }
}

fn json_arguments(bytes: Vec<u8>) -> Result<Arguments, Problem> {
    let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace()).copied();
    let Some(first) = first else { return Ok(Arguments::none()) };
    let text = String::from_utf8(bytes)
        .map_err(|_| Problem::new(Code::MalformedJson, "the body is not UTF-8"))?;
    let values = Json::parse(text).map_err(|err| read::malformed(&err))?;
    if first != b'[' {
        let detail = "the body must be a JSON array of arguments: `[34]`, not `34`";
        return Err(Problem::new(Code::ArgumentsNotArray, detail));
    }
    Ok(Arguments { values, encoding: None })
}

/// Runs a call where it should run.
///
/// # Errors
/// It cannot run.
pub async fn run(app: &App, mut call: Call) -> Result<Response, Problem> {
    if let Some(upstream) = &app.upstream {
        return place(app, upstream, call).await;
    }
    let args = std::mem::replace(&mut call.args, Arguments::none());
    let ran = execute(app, &call, args).await?;
    respond(app, &call, ran, Why::without_upstream(call.wanted).header(Side::Here))
}

/// A run that has ended, here.
pub struct Ran {
    /// How, and what it used.
    pub report: Report,
    tail: Arc<Tail>,
    queued: Duration,
    preparing: Duration,
    running: Duration,
}

/// Runs a call here. Its arguments come beside it, as they are used up.
///
/// # Errors
/// It cannot run here.
pub async fn execute(app: &App, call: &Call, args: Arguments) -> Result<Ran, Problem> {
    let full = |_| Problem::overloaded("too many calls are waiting for their turn");
    let queued = Instant::now();
    let _turn = app.gate.enter().await.map_err(full)?;
    let preparing = Instant::now();
    let program = app.program(call.digest).await?;
    let running = Instant::now();
    let tail = Arc::new(Tail::default());
    let invocation = Invocation {
        export: call.export.clone(),
        args,
        stdin: None,
        limits: call.limits,
        task: None,
        observer: tail.clone(),
        // A caller who hangs up drops this future, and with it the run.
        cancel: CancellationToken::new(),
    };
    app.metrics.call_starts();
    let span = tracing::debug_span!("call", outcome = tracing::field::Empty);
    let report = app.sandbox.run(&program, invocation).instrument(span.clone()).await?;
    span.record("outcome", report.outcome.kind());
    Ok(Ran {
        report,
        tail,
        queued: preparing - queued,
        preparing: running - preparing,
        running: running.elapsed(),
    })
}

/// The answer to a call that ran here.
///
/// # Errors
/// Its output cannot be told.
pub fn respond(
    app: &App,
    call: &Call,
    ran: Ran,
    placement: HeaderValue,
) -> Result<Response, Problem> {
    let total = call.began.elapsed();
    app.metrics.call_ended(&ran.report.outcome, &ran.report.usage, total);
    let phases =
        [("queue", ran.queued), ("prepare", ran.preparing), ("run", ran.running), ("total", total)];
    let cpu_ms = ran.report.usage.cpu_ms;
    let mut response = answer(ran.report, &ran.tail);
    let headers = response.headers_mut();
    headers.insert(SERVER_TIMING, server_timing(phases));
    headers.insert(RAN_ON, app.node.name_header.clone());
    headers.insert(PLACEMENT, placement);
    if call.logs_wanted {
        insert_logs(headers, &ran.tail)?;
    }
    if call.via.is_from_a_node()
        && let Some(load) = (NodeLoad { cpu_ms, ..app.load() }).header()
    {
        headers.insert(LOAD, load);
    }
    Ok(response)
}

/// The last lines that fit into a header that common clients still read, and whether there are others.
fn insert_logs(headers: &mut HeaderMap, tail: &Tail) -> Result<(), Problem> {
    let kept = tail.lines();
    let mut lines = Vec::new();
    let mut bytes = 2;
    for line in kept.iter().rev() {
        let line = serde_json::to_string(line).map_err(Problem::internal)?;
        bytes += line.len() + 1;
        if bytes > LOGS_BYTES_MAX {
            break;
        }
        lines.push(line);
    }
    if lines.len() < kept.len() || tail.is_cut() {
        headers.insert(LOGS_CUT, HeaderValue::from_static("1"));
    }
    lines.reverse();
    let json = format!("[{}]", lines.join(","));
    let value = HeaderValue::try_from(STANDARD.encode(json)).map_err(Problem::internal)?;
    headers.insert(LOGS, value);
    Ok(())
}

fn answer(report: Report, tail: &Tail) -> Response {
    let problem = match &report.outcome {
        Outcome::Returned(returned) => return result(returned),
        Outcome::Threw(error) => Problem::new(Code::FunctionThrew, thrown(error)),
        Outcome::TimedOut { limit, limit_ms } => {
            let clock = match limit {
                LimitKind::Wall => "wall-clock",
                LimitKind::Cpu => "processor",
            };
            let detail = format!("the run reached its limit of {limit_ms} ms of {clock} time");
            Problem::new(Code::TimedOut, detail)
        }
        Outcome::OutOfMemory { limit_bytes, scope } => {
            let whose = match scope {
                MemoryScope::Run => "the run",
                MemoryScope::Node => "all runs of this node together",
            };
            let detail = format!("{whose} may have {limit_bytes} bytes of memory, and no more");
            Problem::new(Code::OutOfMemory, detail)
        }
        Outcome::Cancelled => stopping(),
        Outcome::Lost { .. } => Problem::internal("a call's run was lost"),
    };
    let outcome = serde_json::to_value(&report.outcome).unwrap_or_default();
    problem.with("outcome", outcome).with("output", tail.text()).into_response()
}

fn thrown(error: &ErrorReport) -> String {
    format!("{}: {}", error.name, error.message)
}

fn result(returned: &Returned) -> Response {
    match returned.encoding {
        None => {
            let body = Body::from(returned.value.text().to_owned());
            ([(header::CONTENT_TYPE, "application/json")], body).into_response()
        }
        Some(Encoding::Base64) => match decoded(&returned.value) {
            Some(bytes) => {
                ([(header::CONTENT_TYPE, "application/octet-stream")], bytes).into_response()
            }
            None => Problem::internal("a run's bytes were no base64").into_response(),
        },
    }
}

fn decoded(value: &Json) -> Option<Vec<u8>> {
    let text: std::borrow::Cow<'_, str> = value.read().ok()?;
    STANDARD.decode(text.as_bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_an_array_of_arguments_or_nothing() {
        let check = |body: &str| {
            let args = json_arguments(body.as_bytes().to_vec());
            args.map(|args| args.values.text().to_owned()).map_err(|problem| problem.code())
        };
        assert_eq!(check(""), Ok("[]".to_owned()));
        assert_eq!(check(" \n"), Ok("[]".to_owned()));
        assert_eq!(check("[34, 1.0]"), Ok("[34, 1.0]".to_owned()));
        assert_eq!(check("34"), Err(Code::ArgumentsNotArray));
        assert_eq!(check("{}"), Err(Code::ArgumentsNotArray));
        assert_eq!(check("[34"), Err(Code::MalformedJson));
    }

    #[test]
    fn the_header_of_logs_keeps_the_last_lines_within_its_bound() {
        use runabout_protocol::Stream;
        use runabout_sandbox::Observer as _;
        let tail = Tail::default();
        for index in 0..4000 {
            tail.log(Stream::Stdout, &index.to_string());
        }
        let mut headers = HeaderMap::new();
        insert_logs(&mut headers, &tail).expect("is a header");
        let header = &headers[LOGS];
        assert!(header.len() <= 8 << 10, "{}", header.len());
        let json = STANDARD.decode(header.as_bytes()).expect("is base64");
        let lines: Vec<serde_json::Value> = serde_json::from_slice(&json).expect("is JSON");
        assert_eq!(lines.last().map(|line| &line["text"]), Some(&"3999".into()));
    }

    #[test]
    fn outcomes_have_their_statuses() {
        let status = |outcome| {
            let report = Report {
                outcome,
                usage: runabout_protocol::Usage::default(),
                output_truncated: false,
            };
            answer(report, &Tail::default()).status().as_u16()
        };
        let value = Json::parse("1".to_owned()).expect("valid");
        assert_eq!(status(Outcome::Returned(Returned { value, encoding: None })), 200);
        assert_eq!(status(Outcome::threw("Error", "no")), 422);
        assert_eq!(status(Outcome::TimedOut { limit: LimitKind::Cpu, limit_ms: 1 }), 504);
        let scope = MemoryScope::Run;
        assert_eq!(status(Outcome::OutOfMemory { limit_bytes: 1, scope }), 422);
        assert_eq!(status(Outcome::Cancelled), 503);
    }
}
