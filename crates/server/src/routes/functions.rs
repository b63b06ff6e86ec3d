//! Functions: deploy, list, show, remove.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use jiff::Timestamp;
use runabout_protocol::{FunctionVersion, Manifest};
use runabout_sandbox::{Accepted, SourceLanguage};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Listed, limit_of};
use crate::app::App;
use crate::body::{ARGS_BYTES_MAX, ARTIFACT_BYTES_MAX};
use crate::codes::Code;
use crate::deployed::parse_name;
use crate::extract::{NoQuery, Query, Segment};
use crate::multipart::Form;
use crate::problem::{Problem, ProblemJson};
use crate::rules::InvalidRule;
use crate::source::Artifact;
use crate::wanted::Offload;
use crate::{multipart, read, source};

/// The routes of this file.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(deploy, show, remove))
}

/// Deploy a function
///
/// The body is the code, known by its `Content-Type`, or multipart with `file` and `manifest`
/// (JSON). Equal code with an equal manifest makes no new version.
#[utoipa::path(
    put, path = "/v1/functions/{name}", tag = "functions",
    params(("name" = String, Path, description = "1 to 64 letters, digits, dots, dashes, underscores")),
    request_body(content(
        (String = "text/javascript"), (String = "text/typescript"),
        (Vec<u8> = "application/wasm"), (Deployment = "multipart/form-data"),
    )),
    responses(
        (status = 200, description = "Equal to the latest version", body = FunctionVersion),
        (status = 201, description = "A new version", body = FunctionVersion),
        (status = "4XX", description = "Refused", body = ProblemJson,
         content_type = "application/problem+json"),
    )
)]
async fn deploy(
    State(app): State<App>,
    _: NoQuery,
    Segment(name): Segment,
    request: Request,
) -> Result<Response, Problem> {
    let name = parse_name(&name)?;
    let (parts, body) = request.into_parts();
    let bytes_max = ARTIFACT_BYTES_MAX + ARGS_BYTES_MAX;
    let body = app.intake.read(&parts.headers, body, bytes_max).await?;
    let code = code_of(&parts.headers, body.bytes.clone()).await?;
    let accepted = app.examiner.accept(code.bytes, code.language).await?;
    fits(&app, &accepted, &code.manifest)?;
    // Compiled now, so that what cannot be compiled is refused and the first call is quick.
    app.prepare(Artifact::of(&accepted), accepted.bytes.clone()).await?;
    let (deployed, created) =
        app.functions.deploy(name, accepted, code.manifest, Timestamp::now()).await?;
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(&deployed.version)).into_response())
}

/// The parts of a multipart deployment.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its schema is used; the parts are read one by one")]
struct Deployment {
    /// JavaScript (.js, .mjs), TypeScript (.ts, .mts) or WebAssembly (.wasm).
    #[schema(value_type = String, format = Binary)]
    file: Vec<u8>,
    /// What is said of the function.
    manifest: Option<Manifest>,
}

/// Code, and what is said of it.
struct HandedIn {
    bytes: Bytes,
    language: SourceLanguage,
    manifest: Manifest,
}

async fn code_of(headers: &HeaderMap, body: Bytes) -> Result<HandedIn, Problem> {
    if multipart::is_multipart(headers) {
        return code_of_form(multipart::parse(headers, body).await?);
    }
    let language = source::of_body(headers, &body)?;
    Ok(HandedIn { bytes: body, language, manifest: Manifest::default() })
}

fn code_of_form(form: Form) -> Result<HandedIn, Problem> {
    let Some(file) = form.file else {
        let detail = "a multipart deployment needs a part named `file`";
        return Err(Problem::new(Code::MissingField, detail).with("field", "file"));
    };
    let mut manifest = Manifest::default();
    for (name, text) in form.texts {
        if name != "manifest" {
            return Err(read::unknown_field("", &name, &["file", "manifest"]));
        }
        manifest = read::object(text.as_bytes()).map_err(|problem| problem.inside("manifest"))?;
    }
    let language = source::of_file(&file)?;
    Ok(HandedIn { bytes: file.bytes, language, manifest })
}

/// Whether what the manifest says of the code is true of it, and what it asks for is granted.
fn fits(app: &App, accepted: &Accepted, manifest: &Manifest) -> Result<(), Problem> {
    let limits = manifest.limits.unwrap_or_default();
    limits
        .resolve(app.sandbox.maximum())
        .map_err(|above| Problem::above_maximum(&above, "manifest.limits."))?;
    if let Some(offload) = &manifest.offload {
        if manifest.place.is_some() {
            let detail = "place and offload say the same in two ways";
            return Err(
                Problem::new(Code::ConflictingFields, detail).with("field", "manifest.offload")
            );
        }
        Offload::of_manifest(offload).map_err(invalid_rule)?;
    }
    if manifest.language.is_some_and(|language| language != accepted.language) {
        let detail =
            format!("the code is {}, not what the manifest says", accepted.language.as_str());
        return Err(Problem::invalid_field("manifest.language", detail));
    }
    if manifest.form.is_some() && manifest.form != accepted.form {
        let detail = "the code does not have the form that the manifest says";
        return Err(Problem::invalid_field("manifest.form", detail));
    }
    if let Some(export) = &manifest.export
        && !accepted.exports.contains(export)
    {
        let known = accepted.exports.join(", ");
        let detail = format!("the code exports no {export:?}; it exports: {known}");
        return Err(Problem::new(Code::UnknownExport, detail).with("field", "manifest.export"));
    }
    Ok(())
}

fn invalid_rule(rule: InvalidRule) -> Problem {
    let InvalidRule { detail, suggestion } = rule;
    let problem = Problem::invalid_field("manifest.offload", format!("manifest.offload: {detail}"));
    match suggestion {
        Some(suggestion) => problem.with("suggestion", suggestion),
        None => problem,
    }
}

/// Which page of functions to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Paging {
    /// How many, from 1 to 500; 50 if left out.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// List functions
///
/// The latest version of each, by name.
#[utoipa::path(
    get, path = "/v1/functions", tag = "functions", params(Paging),
    responses((status = 200, description = "A page of functions", body = Listed<FunctionVersion>))
)]
async fn list(
    State(app): State<App>,
    Query(paging): Query<Paging>,
) -> Result<Json<Listed<FunctionVersion>>, Problem> {
    let limit = limit_of(paging.limit)? as usize;
    let after = paging.cursor.unwrap_or_default();
    let mut items: Vec<_> = app
        .functions
        .list()
        .into_iter()
        .filter(|deployed| *deployed.version.name.as_str() > *after)
        .take(limit + 1)
        .map(|deployed| deployed.version.clone())
        .collect();
    let more = items.len() > limit;
    items.truncate(limit);
    let last = items.last().filter(|_| more);
    let next_cursor = last.map(|version| version.name.to_string());
    Ok(Json(Listed { items, next_cursor }))
}

/// Which version to show.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Version {
    /// That version; the latest if left out.
    version: Option<u32>,
}

/// Show a function
#[utoipa::path(
    get, path = "/v1/functions/{name}", tag = "functions",
    params(("name" = String, Path, description = "The function's name"), Version),
    responses(
        (status = 200, description = "The function", body = FunctionVersion),
        (status = 404, description = "No such function", body = ProblemJson,
         content_type = "application/problem+json"),
    )
)]
async fn show(
    State(app): State<App>,
    Segment(name): Segment,
    Query(query): Query<Version>,
) -> Result<Json<FunctionVersion>, Problem> {
    let deployed = app.functions.find(&name, query.version).await?;
    Ok(Json(deployed.version.clone()))
}

/// Remove a function
///
/// All its versions go; their numbers are never used again. Tasks that were accepted go on.
#[utoipa::path(
    delete, path = "/v1/functions/{name}", tag = "functions",
    params(("name" = String, Path, description = "The function's name")),
    responses(
        (status = 204, description = "It is gone"),
        (status = 404, description = "No such function", body = ProblemJson,
         content_type = "application/problem+json"),
    )
)]
async fn remove(
    State(app): State<App>,
    _: NoQuery,
    Segment(name): Segment,
) -> Result<StatusCode, Problem> {
    app.functions.delete(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}
