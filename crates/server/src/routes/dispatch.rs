//! Requests to endpoints: what no route of the node's own was found for.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, Uri, header};
use axum::response::Response;
use percent_encoding::percent_decode_str;

use super::calls::{self, Call};
use crate::app::App;
use crate::body::{ARGS_BYTES_MAX, Room, too_large};
use crate::codes::Code;
use crate::compute;
use crate::deployed::Deployed;
use crate::endpoints::{Binding, Definition, Parameters, Target, Value};
use crate::problem::Problem;
use crate::upstream::Via;

/// What a request says, and what it takes while it is answered.
struct Asked {
    parameters: Parameters,
    /// The room of its body.
    room: Room,
    logs_wanted: bool,
    is_pure: bool,
    via: Via,
    began: Instant,
}

/// Answers a request whose path is not the node's own.
pub async fn to_endpoint(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let began = Instant::now();
    let (parts, body) = request.into_parts();
    let table = app.endpoints.table();
    let Some((entry, segments)) = table.find(parts.uri.path()) else {
        return Err(unknown_path(&parts.uri));
    };
    let endpoint = &entry.definition;
    if !endpoint.takes(&parts.method) {
        return Err(method_not_allowed(endpoint, &parts));
    }
    let logs_wanted = calls::wants_logs(&parts.headers);
    let parameters = of_path(&segments)?;
    let is_pure = calls::is_pure(&parts.headers);
    let via = calls::via(&app, &parts.headers)?;
    let mut asked = Asked { parameters, room: None, logs_wanted, is_pure, via, began };
    asked.read(&app, endpoint, &parts, body).await?;
    match &endpoint.target {
        Target::Function(binding) => calls::run(&app, asked.call(&app, binding).await?).await,
        Target::Document(document) => {
            compute::answer(&app, &entry, document, asked.parameters, &parts.headers).await
        }
    }
}

impl Asked {
    /// Reads what is said beside the path, and adds what is not said.
    async fn read(
        &mut self,
        app: &App,
        endpoint: &Definition,
        parts: &Parts,
        body: Body,
    ) -> Result<(), Problem> {
        let known = endpoint.expected();
        let query = parts.uri.query().unwrap_or_default();
        self.parameters.add_pairs(query.as_bytes(), &known)?;
        if parts.method == Method::POST {
            let received = app.intake.read(&parts.headers, body, ARGS_BYTES_MAX).await?;
            self.parameters.add_body(&parts.headers, &received.bytes, &known)?;
            self.room = received.room;
        }
        endpoint.add_defaults(&mut self.parameters);
        Ok(())
    }

    /// The call that a function's endpoint makes of it.
    async fn call(self, app: &App, binding: &Binding) -> Result<Call, Problem> {
        let deployed = deployed_of(app, binding).await?;
        let call = call_of(&deployed, binding, &self.parameters, self.began)?;
        Ok(Call {
            room: self.room,
            logs_wanted: self.logs_wanted,
            is_pure: call.is_pure && self.is_pure,
            via: self.via,
            ..call
        })
    }
}

/// The version of a function that an endpoint is bound to, as of now.
///
/// # Errors
/// It is missing.
pub async fn deployed_of(app: &App, binding: &Binding) -> Result<Arc<Deployed>, Problem> {
    let missing = |problem: Problem| {
        if problem.is(Code::FunctionNotFound) { binding.function_missing() } else { problem }
    };
    let found = app.functions.find(binding.name.as_str(), binding.version).await;
    found.map_err(missing)
}

/// The call that a function, bound to an endpoint, makes of parameters.
///
/// # Errors
/// A parameter is missing, or the arguments are too large.
pub fn call_of(
    deployed: &Deployed,
    binding: &Binding,
    parameters: &Parameters,
    began: Instant,
) -> Result<Call, Problem> {
    let args = binding.arguments(parameters)?;
    if args.values.text().len() > ARGS_BYTES_MAX {
        return Err(too_large(ARGS_BYTES_MAX));
    }
    let wanted = match binding.wanted(parameters)? {
        Some(wanted) => wanted,
        None => deployed.wanted(&args),
    };
    let manifest = &deployed.version.manifest;
    Ok(Call {
        digest: deployed.version.digest,
        export: binding.export_of(deployed),
        args,
        room: None,
        limits: deployed.limits,
        asked_limits: manifest.limits.unwrap_or_default(),
        is_pure: manifest.pure.unwrap_or(true),
        via: Via::default(),
        wanted,
        logs_wanted: false,
        began,
    })
}

/// There is nothing at that path.
pub fn unknown_path(uri: &Uri) -> Problem {
    Problem::new(Code::UnknownPath, format!("there is nothing at {}", uri.path()))
}

fn method_not_allowed(endpoint: &Definition, parts: &Parts) -> Problem {
    let allowed: Vec<_> = endpoint.methods.iter().map(|method| method.as_str()).collect();
    let detail = format!("{} does not take {}", parts.uri.path(), parts.method);
    let allow = HeaderValue::try_from(allowed.join(", ")).expect("methods make a header");
    Problem::new(Code::MethodNotAllowed, detail).header(header::ALLOW, allow)
}

fn of_path(segments: &[(&str, &str)]) -> Result<Parameters, Problem> {
    let mut parameters = Parameters::default();
    for (name, segment) in segments {
        let text = percent_decode_str(segment)
            .decode_utf8()
            .map_err(|_| Problem::invalid_field(*name, format!("{name} is no UTF-8 text")))?;
        parameters.add(name, Value::Text(text.into_owned()));
    }
    Ok(parameters)
}
