//! Turns what a client sent into a task that the engine takes: everything is examined, bound and
//! decided here, so that an accepted task can run.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use runabout_protocol::{
    Arguments, Encoding, JsEngine, Json, Language, Limits, LimitsRequest, Manifest, Place,
    Surroundings, TaskRequest,
};
use runabout_sandbox::SourceLanguage;

use crate::app::App;
use crate::body::{ARGS_BYTES_MAX, too_large};
use crate::codes::Code;
use crate::deployed::{Deployed, Reference, reference};
use crate::engine::NewTask;
use crate::multipart::Form;
use crate::problem::Problem;
use crate::source::{self, Artifact};
use crate::{read, suggest};

/// The most characters in a task's name.
const NAME_CHARS_MAX: usize = 256;
/// The most labels of a task.
const LABELS_MAX: usize = 32;
/// The most characters in a label's key.
const LABEL_KEY_CHARS_MAX: usize = 64;
/// The most characters in a label's value.
const LABEL_VALUE_CHARS_MAX: usize = 256;
/// The most retries.
const RETRIES_MAX: u32 = 1000;

/// Fields that are JSON in a multipart body too; the others are texts.
const JSON_PARTS: [&str; 5] = ["args", "labels", "limits", "priority", "retries"];

/// What a task runs.
enum Work {
    Bare { bytes: Bytes, language: SourceLanguage },
    Deployed(Arc<Deployed>),
}

/// Decides a task from a JSON request.
///
/// # Errors
/// Whatever is wrong with it.
pub async fn from_request(app: &App, mut request: TaskRequest) -> Result<NewTask, Problem> {
    let work = match (request.source.take(), &request.function) {
        (Some(_), Some(_)) => return Err(conflict("source", "function")),
        (None, None) => {
            let detail = "a task needs `source` or `function`";
            return Err(Problem::new(Code::MissingField, detail).with("field", "source"));
        }
        (Some(source), None) => {
            let language = source_language(request.language.as_deref())?;
            Work::Bare { bytes: source.into(), language }
        }
        (None, Some(function)) => {
            if request.language.is_some() {
                return Err(conflict("language", "function"));
            }
            Work::Deployed(find(app, function).await?)
        }
    };
    decide(app, work, request).await
}

/// Decides a task from a multipart body.
///
/// # Errors
/// Whatever is wrong with it.
pub async fn from_form(app: &App, form: Form) -> Result<NewTask, Problem> {
    let Some(file) = form.file else {
        let detail = "a multipart task needs a part named `file`";
        return Err(Problem::new(Code::MissingField, detail).with("field", "file"));
    };
    let request = request_of(form.texts)?;
    for (field, present) in
        [("source", request.source.is_some()), ("function", request.function.is_some())]
    {
        if present {
            return Err(conflict("file", field));
        }
    }
    let language = match request.language.as_deref() {
        Some("wasm" | "wasi") => SourceLanguage::Wasm,
        Some(language) => source_language(Some(language))?,
        None => source::of_file(&file)?,
    };
    decide(app, Work::Bare { bytes: file.bytes, language }, request).await
}

/// The named texts of a multipart body as a request.
///
/// # Errors
/// `malformed_json`, `unknown_field` or `invalid_field`.
pub fn request_of(texts: Vec<(String, String)>) -> Result<TaskRequest, Problem> {
    let mut fields = BTreeMap::new();
    for (name, text) in texts {
        let value = if JSON_PARTS.contains(&name.as_str()) {
            Json::parse(text).map_err(|err| read::malformed(&err).with("field", name.as_str()))?
        } else {
            Json::string(&text)
        };
        fields.insert(name, value);
    }
    let object = serde_json::to_vec(&fields).map_err(Problem::internal)?;
    read::object(&object)
}

/// Looks at everything of a request that needs neither the node nor its code to be decided.
///
/// # Errors
/// Whatever is wrong with it.
pub fn examine(request: TaskRequest) -> Result<(), Problem> {
    Bounds::of(&request)?;
    source_language(request.language.as_deref())?;
    arguments(request.args, request.args_encoding).map(drop)
}

async fn find(app: &App, function: &str) -> Result<Arc<Deployed>, Problem> {
    let invalid = |why| Problem::invalid_field("function", why);
    let Reference { name, version } = reference(function).map_err(invalid)?;
    app.functions.find(name, version).await
}

async fn decide(app: &App, work: Work, request: TaskRequest) -> Result<NewTask, Problem> {
    let bounds = Bounds::of(&request)?;
    let args = arguments(request.args, request.args_encoding)?;
    let wished = request.limits.unwrap_or_default();
    let none = Manifest::default();
    let (function, artifact, bytes, limits, manifest) = match &work {
        Work::Bare { bytes, language } => {
            let accepted = app.examiner.accept(bytes.clone(), *language).await?;
            let limits = bare_limits(wished, app.sandbox.maximum())?;
            let artifact = Artifact::of(&accepted);
            let meta = source::meta(&accepted);
            (None, artifact, Some((accepted.bytes, meta)), limits, &none)
        }
        Work::Deployed(deployed) => {
            let limits = deployed.limits(wished, app.sandbox.maximum(), "limits.")?;
            let manifest = &deployed.version.manifest;
            (Some(deployed.label()), deployed.artifact(), None, limits, manifest)
        }
    };
    let place = request.place.or_else(|| match &work {
        Work::Deployed(deployed) => ruled(app, deployed, &args),
        Work::Bare { .. } => None,
    });
    let surroundings = surroundings(app, (place, wished), manifest, artifact.language)?;
    let export = request.export.or_else(|| manifest.export.clone());
    let program = match &bytes {
        Some((bytes, _)) => app.prepare(artifact, bytes.clone()).await?,
        None => app.program(artifact.digest).await?,
    };
    program.check(export.as_deref(), &args)?;
    Ok(NewTask {
        function,
        digest: artifact.digest,
        artifact: bytes,
        language: artifact.language,
        form: artifact.form,
        export,
        args,
        stdin: request.stdin,
        name: request.name,
        limits,
        surroundings,
        retries: request.retries.or(manifest.retries).unwrap_or(0),
        priority: request.priority.unwrap_or(0),
        run_at: bounds.run_at,
        labels: request.labels.unwrap_or_default(),
    })
}

/// What is read and bounded before any work is done for a request.
struct Bounds {
    run_at: Option<jiff::Timestamp>,
}

impl Bounds {
    fn of(request: &TaskRequest) -> Result<Self, Problem> {
        if let Some(name) = &request.name {
            short("name", name, NAME_CHARS_MAX)?;
        }
        if request.stdin.as_ref().is_some_and(|stdin| stdin.len() > ARGS_BYTES_MAX) {
            return Err(too_large(ARGS_BYTES_MAX).with("field", "stdin"));
        }
        if request.retries.is_some_and(|retries| retries > RETRIES_MAX) {
            let detail = format!("retries is at most {RETRIES_MAX}");
            return Err(Problem::new(Code::LimitAboveMaximum, detail)
                .with("field", "retries")
                .with("maximum", RETRIES_MAX));
        }
        labels(request.labels.as_ref())?;
        let run_at = request.run_at.as_deref().map(time).transpose()?;
        Ok(Self { run_at })
    }
}

fn labels(labels: Option<&BTreeMap<String, String>>) -> Result<(), Problem> {
    let Some(labels) = labels else { return Ok(()) };
    if labels.len() > LABELS_MAX {
        let detail = format!("a task has at most {LABELS_MAX} labels");
        return Err(Problem::invalid_field("labels", detail));
    }
    for (key, value) in labels {
        short("labels", key, LABEL_KEY_CHARS_MAX)?;
        short("labels", value, LABEL_VALUE_CHARS_MAX)?;
    }
    Ok(())
}

fn short(field: &str, text: &str, chars_max: usize) -> Result<(), Problem> {
    if text.chars().count() > chars_max {
        let detail = format!("{field} holds a text of more than {chars_max} characters");
        return Err(Problem::invalid_field(field, detail));
    }
    Ok(())
}

fn time(text: &str) -> Result<jiff::Timestamp, Problem> {
    text.parse().map_err(|_| {
        let detail = "run_at is a time like 2030-01-31T12:00:00Z (RFC 3339)";
        Problem::invalid_field("run_at", detail)
    })
}

fn bare_limits(wished: LimitsRequest, maximum: Limits) -> Result<Limits, Problem> {
    wished.resolve(maximum).map_err(|above| Problem::above_maximum(&above, "limits."))
}

/// Where the manifest's `offload` wants a task that does not say itself. Without an upstream there is
/// nothing to decide.
fn ruled(app: &App, deployed: &Deployed, args: &Arguments) -> Option<Place> {
    app.upstream.as_ref()?;
    deployed.version.manifest.offload.as_ref()?;
    Some(deployed.wanted(args).place)
}

/// Where a task's attempts may run, and in what. A task for a tab waits until there is one; one for
/// a node that has no slots would wait for ever. An upstream that is not there is different: without
/// one, a node runs everything itself.
fn surroundings(
    app: &App,
    (place, wished): (Option<Place>, LimitsRequest),
    manifest: &Manifest,
    language: Language,
) -> Result<Surroundings, Problem> {
    let place = place.or(manifest.place).unwrap_or_default();
    if place == Place::Here && app.engine.own_worker().is_none() {
        let detail = "this node runs no tasks itself: it has no slots";
        return Err(Problem::new(Code::PlaceUnavailable, detail).with("field", "place"));
    }
    // What a browser's own engine cannot measure it cannot hold a run to.
    let is_exact = [wished, manifest.limits.unwrap_or_default()]
        .iter()
        .any(|limits| limits.cpu_ms.is_some() || limits.memory_bytes.is_some());
    let exact = (is_exact && language == Language::Js).then_some(JsEngine::Quickjs);
    let reuse = manifest.reuse.unwrap_or(false);
    Ok(Surroundings { place, engine: manifest.engine.or(exact), reuse })
}

fn source_language(language: Option<&str>) -> Result<SourceLanguage, Problem> {
    match language {
        None | Some("js" | "javascript") => Ok(SourceLanguage::JavaScript),
        Some("ts" | "typescript") => Ok(SourceLanguage::TypeScript),
        Some(other) => {
            let detail = format!(
                "{other:?} is no language for source text: it is js or ts; hand in WebAssembly \
                 with PUT /v1/tasks or deploy it"
            );
            let problem = Problem::invalid_field("language", detail);
            Err(match suggest::nearest(other, ["js", "ts", "javascript", "typescript"]) {
                Some(suggestion) => problem.with("suggestion", suggestion),
                None => problem,
            })
        }
    }
}

fn arguments(args: Option<Json>, encoding: Option<Encoding>) -> Result<Arguments, Problem> {
    let Some(values) = args else { return Ok(Arguments { encoding, ..Arguments::none() }) };
    if values.text().len() > ARGS_BYTES_MAX {
        return Err(too_large(ARGS_BYTES_MAX).with("field", "args"));
    }
    if !values.text().starts_with('[') {
        let detail = format!("args must be an array, `[{}]` perhaps", shortened(values.text()));
        return Err(Problem::new(Code::ArgumentsNotArray, detail).with("field", "args"));
    }
    if encoding.is_some() {
        decodable(&values)?;
    }
    Ok(Arguments { values, encoding })
}

fn decodable(values: &Json) -> Result<(), Problem> {
    let invalid = || {
        let detail = "with args_encoding, every argument is a string of base64";
        Problem::invalid_field("args", detail)
    };
    let texts: Vec<Cow<'_, str>> = values.read().map_err(|_| invalid())?;
    for text in texts {
        STANDARD.decode(text.as_bytes()).map_err(|_| invalid())?;
    }
    Ok(())
}

fn shortened(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(40) {
        None => text.into(),
        Some((end, _)) => format!("{}...", &text[..end]).into(),
    }
}

fn conflict(one: &str, other: &str) -> Problem {
    let detail = format!("`{one}` and `{other}` exclude each other: leave one of them out");
    Problem::new(Code::ConflictingFields, detail).with("field", one)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[(&str, &str)]) -> Vec<(String, String)> {
        texts.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn parts_become_fields() {
        let request = request_of(texts(&[
            ("name", "task1"),
            ("args", "[1, \"a\"]"),
            ("retries", "3"),
            ("limits", "{\"timeout_ms\":5}"),
        ]))
        .expect("reads");
        assert_eq!(request.name.as_deref(), Some("task1"));
        assert_eq!(request.args.as_ref().map(Json::text), Some("[1, \"a\"]"));
        assert_eq!(request.retries, Some(3));
        assert_eq!(request.limits.and_then(|limits| limits.timeout_ms), Some(5));
    }

    #[test]
    fn parts_that_are_wrong_are_named() {
        for (part, code, field) in [
            (("args", "[1"), Code::MalformedJson, "args"),
            (("nmae", "x"), Code::UnknownField, "nmae"),
            (("retries", "\"x\""), Code::InvalidField, "retries"),
        ] {
            let problem = request_of(texts(&[part])).expect_err("refused");
            assert_eq!(problem.code(), code, "{part:?}");
            assert_eq!(problem.extras()["field"], field, "{part:?}");
        }
    }

    #[test]
    fn arguments_are_an_array_of_what_they_say() {
        let check = |args: &str, encoding| {
            let args = Json::parse(args.to_owned()).expect("valid");
            arguments(Some(args), encoding).map(drop).map_err(|problem| problem.code())
        };
        assert_eq!(check("[1]", None), Ok(()));
        assert_eq!(check("34", None), Err(Code::ArgumentsNotArray));
        assert_eq!(check("[\"aGk=\"]", Some(Encoding::Base64)), Ok(()));
        assert_eq!(check("[\"%\"]", Some(Encoding::Base64)), Err(Code::InvalidField));
        assert_eq!(check("[1]", Some(Encoding::Base64)), Err(Code::InvalidField));
    }
}
