//! Computation on the way to a document. It is an ordinary call, with placement, and is made for each
//! request, once for all who wait for it, or once for each revision.

mod kept;
mod shared;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use quick_cache::Weighter;
use runabout_documents::{Current, MediaType};
use runabout_protocol::{ComputeMode, Digest, Json};

use crate::app::App;
use crate::deployed::Deployed;
use crate::documents::{find, serve};
use crate::endpoints::{Compute, DOCUMENT, DocumentBinding, Entry, Parameters, Target, Value};
use crate::problem::Problem;
use crate::routes::dispatch::{call_of, deployed_of};
use kept::Kept;
use shared::{Pace, Shared, Without};

/// How a document's computation was made, and how long it ran.
const COMPUTE: HeaderName = HeaderName::from_static("runabout-compute");
/// What else is told of a call.
const TOLD: [HeaderName; 3] = [
    HeaderName::from_static("runabout-ran-on"),
    HeaderName::from_static("runabout-placement"),
    header::RETRY_AFTER,
];
/// Results that are kept for those who ask again; those asked for least go first.
const CACHED_BYTES_MAX: u64 = 64 << 20;
/// Results expected in it.
const CACHED_RESULTS: usize = 4_096;
/// What a result takes beside its bytes, roughly.
const RESULT_BYTES: u64 = 512;
/// No call's answer has more.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// The computations of a node.
pub struct Computes {
    shared: Shared<Kind, Arc<Computed>>,
    cached: Kept<Question, Arc<Computed>, ByBytes>,
}

impl Default for Computes {
    fn default() -> Self {
        let cached = Kept::new(CACHED_RESULTS, CACHED_BYTES_MAX, ByBytes);
        Self { shared: Shared::new(Pace::Gathering), cached }
    }
}

impl Computes {
    /// Requests that wait for a computation that is not theirs alone.
    pub fn waiting(&self) -> usize {
        self.shared.waiting() + self.cached.waiting()
    }
}

/// What tells shared computations apart.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Kind {
    /// The endpoint's place in memory, which is not another's for as long as it computes.
    endpoint: usize,
    document: String,
    /// Its arguments without the document, and where it is to run.
    args: String,
}

/// What a kept result is the answer to.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Question {
    digest: Digest,
    /// As the endpoint names it, or else the manifest of the version.
    export: Option<String>,
    /// Whether the result itself is what is sent, in the document's type.
    respond: bool,
    document: String,
    revision: u64,
    /// Its arguments without the document.
    args: String,
}

/// Results weigh what they take in memory.
#[derive(Clone)]
struct ByBytes;

impl Weighter<Question, Arc<Computed>> for ByBytes {
    fn weight(&self, question: &Question, computed: &Arc<Computed>) -> u64 {
        let bytes = computed.body.len() + question.args.len() + question.document.len();
        bytes as u64 + RESULT_BYTES
    }
}

/// What a computation has come to, ready to be sent any number of times.
struct Computed {
    status: StatusCode,
    content_type: Option<HeaderValue>,
    body: Bytes,
    /// How it was made, and what the call told.
    told: Vec<(HeaderName, HeaderValue)>,
}

/// A request for a document, with what is needed to compute.
#[derive(Clone)]
struct Asked {
    app: App,
    entry: Arc<Entry>,
    document: String,
    parameters: Parameters,
}

/// What a computation is made with that must not change under it.
#[derive(Clone)]
struct With {
    deployed: Arc<Deployed>,
    current: Arc<Current>,
}

/// Answers a request for an endpoint's document.
///
/// # Errors
/// There is no such document, or too many wait.
pub async fn answer(
    app: &App,
    entry: &Arc<Entry>,
    binding: &DocumentBinding,
    parameters: Parameters,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let document = binding.name.text(&parameters)?;
    let current = find(&app.documents, &document)?;
    app.metrics.document_read();
    let Some(compute) = &binding.compute else { return serve::newest(headers, &current) };
    let asked = Asked { app: app.clone(), entry: Arc::clone(entry), document, parameters };
    let computed = match compute.mode {
        ComputeMode::Each => asked.compute(None).await,
        ComputeMode::Shared => asked.shared(compute).await?,
        ComputeMode::Cached => asked.cached(compute, &current).await?,
    };
    if compute.respond || !computed.status.is_success() {
        return Ok(computed.response(current.media_type));
    }
    // The newest by now: it may have changed while it was computed.
    let current = app.documents.get(&asked.document).unwrap_or(current);
    let mut response = serve::newest(headers, &current)?;
    for (name, value) in &computed.told {
        response.headers_mut().insert(name.clone(), value.clone());
    }
    Ok(response)
}

impl Asked {
    fn binding(&self) -> Option<&Compute> {
        match &self.entry.definition.target {
            Target::Document(DocumentBinding { compute, .. }) => compute.as_ref(),
            Target::Function(_) => None,
        }
    }

    /// Whatever is computed begins after this is called.
    async fn shared(&self, compute: &Compute) -> Result<Arc<Computed>, Problem> {
        let kind = Kind {
            endpoint: Arc::as_ptr(&self.entry) as usize,
            document: self.document.clone(),
            args: self.args(compute)?,
        };
        let again = || {
            let asked = self.clone();
            move || {
                let asked = asked.clone();
                async move { asked.compute(None).await }
            }
        };
        self.app.computes.shared.join(kind, again).await.map_err(without)
    }

    /// Computed once for the revision and the version of the function that are there now, whatever
    /// comes meanwhile.
    async fn cached(
        &self,
        compute: &Compute,
        current: &Arc<Current>,
    ) -> Result<Arc<Computed>, Problem> {
        let deployed = deployed_of(&self.app, &compute.binding).await?;
        let question = Question {
            digest: deployed.version.digest,
            export: compute.binding.export_of(&deployed),
            respond: compute.respond,
            document: self.document.clone(),
            revision: current.revision.revision,
            args: self.args(compute)?,
        };
        let again = || {
            let (asked, with) = (self.clone(), With { deployed, current: Arc::clone(current) });
            move || {
                let (asked, with) = (asked.clone(), with.clone());
                async move {
                    let computed = asked.compute(Some(with)).await;
                    if computed.status.is_success() { Ok(computed) } else { Err(computed) }
                }
            }
        };
        self.app.computes.cached.get(question, again).await.map_err(without)
    }

    /// The arguments without the document, and where the call is to run.
    fn args(&self, compute: &Compute) -> Result<String, Problem> {
        let mut parameters = Cow::Borrowed(&self.parameters);
        if takes_document(compute) {
            parameters.to_mut().add(DOCUMENT, Value::Text(String::new()));
        }
        let arguments = compute.binding.arguments(&parameters)?;
        let place = compute.binding.wanted(&parameters)?.map(|wanted| wanted.place);
        Ok(match place {
            None => arguments.values.text().to_owned(),
            Some(place) => format!("{place:?} {}", arguments.values.text()),
        })
    }

    /// Computes, now; with what is there now, unless told otherwise.
    async fn compute(&self, with: Option<With>) -> Arc<Computed> {
        let Some(compute) = self.binding() else {
            return Arc::new(Computed::of_problem("the endpoint has no computation"));
        };
        let began = Instant::now();
        let response = match self.call(compute, with, began).await {
            Ok(response) => response,
            Err(problem) => problem.into_response(),
        };
        Arc::new(Computed::of(response, compute, began.elapsed()).await)
    }

    async fn call(
        &self,
        compute: &Compute,
        with: Option<With>,
        began: Instant,
    ) -> Result<Response, Problem> {
        let (deployed, current) = match with {
            Some(With { deployed, current }) => (deployed, Some(current)),
            None => (deployed_of(&self.app, &compute.binding).await?, None),
        };
        let mut parameters = Cow::Borrowed(&self.parameters);
        if takes_document(compute) {
            let current = current.map_or_else(|| find(&self.app.documents, &self.document), Ok)?;
            parameters.to_mut().add(DOCUMENT, Value::Json(text_of(&current)?));
        }
        let call = call_of(&deployed, &compute.binding, &parameters, began)?;
        crate::routes::calls::run(&self.app, call).await
    }
}

/// A document's text, as an argument.
fn text_of(current: &Current) -> Result<Json, Problem> {
    match std::str::from_utf8(&current.plain.bytes) {
        Ok(text) => Ok(Json::string(text)),
        Err(_) => Err(Problem::internal("only a document that is text is computed with")),
    }
}

fn without(without: Without) -> Problem {
    match without {
        Without::Full => Problem::overloaded("too many requests wait for the computation"),
        Without::Broken => Problem::internal("a shared computation panicked"),
    }
}

impl Computed {
    async fn of(response: Response, compute: &Compute, took: Duration) -> Self {
        let (mut parts, body) = response.into_parts();
        let Ok(body) = to_bytes(body, ANSWER_BYTES_MAX).await else {
            return Self::of_problem("a call's answer has no end");
        };
        let status = parts.status;
        let mut content_type = parts.headers.remove(header::CONTENT_TYPE);
        let mut body = body;
        if compute.respond
            && status.is_success()
            && let Some(text) = said(&body, content_type.as_ref())
        {
            // It is of the document's own type, like the document itself.
            (body, content_type) = (text, None);
        }
        let mode = match compute.mode {
            ComputeMode::Each => "each",
            ComputeMode::Shared => "shared",
            ComputeMode::Cached => "cached",
        };
        let told = format!("{mode}; ran={:.1}ms", took.as_secs_f64() * 1_000.0);
        let told = HeaderValue::try_from(told).ok().map(|told| (COMPUTE, told));
        let more = TOLD.into_iter().filter_map(|name| {
            let value = parts.headers.remove(&name)?;
            Some((name, value))
        });
        let told = told.into_iter().chain(more).collect();
        Self { status, content_type, body, told }
    }

    fn of_problem(cause: &str) -> Self {
        let response = Problem::internal(cause).into_response();
        Self { status: response.status(), content_type: None, body: Bytes::new(), told: Vec::new() }
    }

    /// The result as the response.
    fn response(&self, media_type: MediaType) -> Response {
        let mut response = Response::new(Body::from(self.body.clone()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        let content_type = self.content_type.clone();
        let content_type =
            content_type.unwrap_or_else(|| HeaderValue::from_static(media_type.content_type()));
        headers.insert(header::CONTENT_TYPE, content_type);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(header::CONTENT_SECURITY_POLICY, serve::SANDBOX);
        for (name, value) in &self.told {
            headers.insert(name.clone(), value.clone());
        }
        response
    }
}

/// Whether the document's text is among the arguments.
fn takes_document(compute: &Compute) -> bool {
    let args = compute.binding.args.iter();
    args.flat_map(|arg| arg.parameters()).any(|it| it.name == DOCUMENT)
}

/// What a result says, if it is a text or bytes; other JSON stays JSON.
fn said(body: &Bytes, content_type: Option<&HeaderValue>) -> Option<Bytes> {
    match content_type.map(HeaderValue::as_bytes) {
        Some(b"application/octet-stream") => Some(body.clone()),
        Some(b"application/json") => serde_json::from_slice::<String>(body).ok().map(Bytes::from),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_what_it_says_and_other_json_stays_json() {
        let said_of = |body: &'static str, content_type| {
            let content_type = HeaderValue::from_static(content_type);
            said(&Bytes::from_static(body.as_bytes()), Some(&content_type))
        };
        assert_eq!(said_of("\"<p>a\\n\"", "application/json").as_deref(), Some(&b"<p>a\n"[..]));
        assert_eq!(said_of("{\"a\":1}", "application/json"), None);
        assert_eq!(said_of("5702887", "application/json"), None);
        assert_eq!(said_of("\u{1}", "application/octet-stream").as_deref(), Some(&b"\x01"[..]));
    }
}
