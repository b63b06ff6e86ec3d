//! Tasks: submit, look, wait, list, cancel, delete.

use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use runabout_protocol::{Task, TaskId, TaskRequest, TaskState};
use runabout_store::TaskFilter;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{Listed, limit_of, require_json};
use crate::app::App;
use crate::body::TASK_BODY_BYTES_MAX;
use crate::codes::Code;
use crate::engine::{CancelRefused, DeleteRefused, NewTask, Refused, SubmissionKey};
use crate::extract::{NoQuery, Query, Segment};
use crate::problem::{Problem, ProblemJson};
use crate::{idempotency, multipart, read, source, submission};

/// The longest that a request waits for a task's end.
const WAIT_S_MAX: f64 = 60.0;
/// When those should ask again for whose wait there was no place.
const RETRY_AFTER_S: u64 = 1;
/// The most requests in a batch.
const BATCH_MAX: usize = 1000;

/// The routes of this file.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(submit, submit_file, list))
        .routes(routes!(submit_batch))
        .routes(routes!(show, delete))
        .routes(routes!(cancel))
}

/// How long to wait.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Wait {
    /// Seconds to wait for the task's end, from 0 to 60.
    wait: Option<f64>,
}

/// What makes a submission known again. Kept for a day, and for as long as one of its tasks is.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "only its description is used; the header is read by hand")]
struct IdempotencyKey {
    /// One of your own for each submission, a UUID say; with the same one the same body may be
    /// sent again.
    #[param(rename = "Idempotency-Key")]
    key: Option<String>,
}

impl Wait {
    fn duration(&self) -> Result<Duration, Problem> {
        let seconds = self.wait.unwrap_or(0.0);
        if !(0.0..=WAIT_S_MAX).contains(&seconds) {
            let detail = format!("wait is from 0 to {WAIT_S_MAX} seconds");
            return Err(Problem::invalid_field("wait", detail));
        }
        Ok(Duration::from_secs_f64(seconds))
    }
}

/// Hand in a task
///
/// Accepted means synced to disk: it survives a crash of the node. With `?wait=` the answer is 200
/// and the finished task if it ends in time. With an `Idempotency-Key` it can be sent again without
/// being done again: the answer is then the task of the first time, as it is now.
#[utoipa::path(
    post, path = "/v1/tasks", tag = "tasks", params(Wait, IdempotencyKey), request_body = TaskRequest,
    responses(
        (status = 200, description = "Ended within the wait", body = Task),
        (status = 202, description = "Accepted", body = Task,
         headers(("Location" = String, description = "The task's address"))),
        (status = "4XX", description = "Refused", body = ProblemJson,
         content_type = "application/problem+json"),
    )
)]
async fn submit(
    State(app): State<App>,
    Query(wait): Query<Wait>,
    request: Request,
) -> Result<Response, Problem> {
    let wait = wait.duration()?;
    let (parts, body) = request.into_parts();
    require_json(&parts.headers)?;
    let body = app.intake.read(&parts.headers, body, TASK_BODY_BYTES_MAX).await?;
    let key = idempotency::key(&parts.headers, || idempotency::of_body("task", &body.bytes))?;
    if let Some(ids) = submitted_before(&app, key.as_ref()).await? {
        return replay(&app, &ids, wait).await;
    }
    let new = submission::from_request(&app, read::object(&body.bytes)?).await?;
    accept(&app, new, key, wait).await
}

/// Hand in a file as a task
///
/// The parts are named like the fields of the JSON request; `args`, `limits`, `labels`, `retries`
/// and `priority` are JSON.
#[utoipa::path(
    put, path = "/v1/tasks", tag = "tasks", params(Wait, IdempotencyKey),
    request_body(content = FileTask, content_type = "multipart/form-data"),
    responses(
        (status = 200, description = "Ended within the wait", body = Task),
        (status = 202, description = "Accepted", body = Task,
         headers(("Location" = String, description = "The task's address"))),
        (status = "4XX", description = "Refused", body = ProblemJson,
         content_type = "application/problem+json"),
    )
)]
async fn submit_file(
    State(app): State<App>,
    Query(wait): Query<Wait>,
    request: Request,
) -> Result<Response, Problem> {
    let wait = wait.duration()?;
    let (parts, body) = request.into_parts();
    if !multipart::is_multipart(&parts.headers) {
        let detail = "send multipart/form-data: curl -X PUT -F file=@task.js";
        return Err(source::unsupported(detail.to_owned()));
    }
    let body = app.intake.read(&parts.headers, body, TASK_BODY_BYTES_MAX).await?;
    let form = multipart::parse(&parts.headers, body.bytes.clone()).await?;
    let key = idempotency::key(&parts.headers, || idempotency::of_form("file", &form))?;
    if let Some(ids) = submitted_before(&app, key.as_ref()).await? {
        return replay(&app, &ids, wait).await;
    }
    let new = submission::from_form(&app, form).await?;
    accept(&app, new, key, wait).await
}

/// The parts of a multipart task.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its schema is used; the parts are read one by one")]
struct FileTask {
    /// JavaScript (.js, .mjs), TypeScript (.ts, .mts) or WebAssembly (.wasm).
    #[schema(value_type = String, format = Binary)]
    file: Vec<u8>,
    /// A name to find the task by.
    name: Option<String>,
    /// A JSON array of arguments.
    args: Option<String>,
}

async fn accept(
    app: &App,
    new: NewTask,
    key: Option<SubmissionKey>,
    wait: Duration,
) -> Result<Response, Problem> {
    match app.engine.submit(new, key).await {
        Ok(task) => accepted(app, task, wait).await,
        // Both came at once, and the other one was first.
        Err(Refused::SubmittedBefore(ids)) => replay(app, &ids, wait).await,
        Err(refused) => Err(refused.into()),
    }
}

/// The tasks of a submission that was made under this key before, and durably so.
async fn submitted_before(
    app: &App,
    key: Option<&SubmissionKey>,
) -> Result<Option<Vec<TaskId>>, Problem> {
    let Some(SubmissionKey { key, fingerprint }) = key else { return Ok(None) };
    let mut found = app.store.submissions(vec![key.clone()]).await?;
    match found.remove(key) {
        None => Ok(None),
        Some(before) if before.fingerprint == *fingerprint => Ok(Some(before.tasks)),
        Some(_) => Err(Refused::KeyReused.into()),
    }
}

/// The answer to a submission that was made before: the task as it is now.
async fn replay(app: &App, ids: &[TaskId], wait: Duration) -> Result<Response, Problem> {
    let task = match ids.first() {
        Some(id) => app.store.task(*id).await?,
        None => None,
    };
    let task = task.ok_or_else(|| Problem::from(Refused::SubmittedBefore(ids.to_vec())))?;
    let mut response = accepted(app, with_progress(app, task), wait).await?;
    response.headers_mut().insert(idempotency::REPLAYED, HeaderValue::from_static("true"));
    Ok(response)
}

async fn accepted(app: &App, task: Task, wait: Duration) -> Result<Response, Problem> {
    let location = [(header::LOCATION, format!("/v1/tasks/{}", task.id))];
    if wait.is_zero() {
        return Ok((StatusCode::ACCEPTED, location, Json(task)).into_response());
    }
    let waited = wait_for(app, task.id, wait).await;
    // It is accepted, whatever becomes of this read.
    let task = find(app, task.id).await.unwrap_or(task);
    let status = if task.state.is_final() { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, location, waited.headers(), Json(task)).into_response())
}

/// Hand in many tasks, all or none
#[utoipa::path(
    post, path = "/v1/tasks/batch", tag = "tasks", params(IdempotencyKey),
    request_body = Vec<TaskRequest>,
    responses(
        (status = 202, description = "Accepted, in the order of the requests", body = Batch),
        (status = "4XX", description = "Refused; `index` says which request is wrong",
         body = ProblemJson, content_type = "application/problem+json"),
    )
)]
async fn submit_batch(
    State(app): State<App>,
    _: NoQuery,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    require_json(&parts.headers)?;
    let body = app.intake.read(&parts.headers, body, TASK_BODY_BYTES_MAX).await?;
    let key = idempotency::key(&parts.headers, || idempotency::of_body("batch", &body.bytes))?;
    if let Some(ids) = submitted_before(&app, key.as_ref()).await? {
        return Ok(replayed_batch(ids));
    }
    let requests: Vec<&serde_json::value::RawValue> =
        serde_json::from_slice(&body.bytes).map_err(|err| batch_refused(&err))?;
    if requests.len() > BATCH_MAX {
        let detail = format!("a batch has at most {BATCH_MAX} requests");
        return Err(Problem::new(Code::BodyTooLarge, detail).with("maximum", BATCH_MAX));
    }
    let mut new = Vec::with_capacity(requests.len());
    for (index, request) in requests.into_iter().enumerate() {
        let decided =
            async { submission::from_request(&app, read::object(request.get().as_bytes())?).await };
        new.push(decided.await.map_err(|problem| problem.with("index", index))?);
    }
    match app.engine.submit_all(new, key).await {
        Ok(tasks) => {
            let ids = tasks.into_iter().map(|task| task.id).collect();
            Ok((StatusCode::ACCEPTED, Json(Batch { ids })).into_response())
        }
        Err(Refused::SubmittedBefore(ids)) => Ok(replayed_batch(ids)),
        Err(refused) => Err(refused.into()),
    }
}

fn replayed_batch(ids: Vec<TaskId>) -> Response {
    let replayed = [(idempotency::REPLAYED, "true")];
    (StatusCode::ACCEPTED, replayed, Json(Batch { ids })).into_response()
}

fn batch_refused(err: &serde_json::Error) -> Problem {
    if err.is_data() {
        return Problem::new(Code::InvalidField, "a batch is a JSON array of task requests");
    }
    read::malformed(err)
}

/// The tasks of a batch.
#[derive(Serialize, ToSchema)]
struct Batch {
    /// Their ids, in the order of the requests.
    ids: Vec<TaskId>,
}

/// Look at a task
///
/// With `?wait=` once it has ended, or the time is over.
#[utoipa::path(
    get, path = "/v1/tasks/{id}", tag = "tasks",
    params(("id" = String, Path, description = "The task's id"), Wait),
    responses(
        (status = 200, description = "The task; where too many wait already it comes at once, with \
          `Retry-After`", body = Task),
        (status = 404, description = "No such task", body = ProblemJson,
         content_type = "application/problem+json"),
    )
)]
async fn show(
    State(app): State<App>,
    Segment(id): Segment,
    Query(wait): Query<Wait>,
) -> Result<Response, Problem> {
    let wait = wait.duration()?;
    let task = find(&app, parse_id(&id)?).await?;
    if wait.is_zero() || task.state.is_final() {
        return Ok(Json(task).into_response());
    }
    let waited = wait_for(&app, task.id, wait).await;
    let task = find(&app, task.id).await?;
    Ok((waited.headers(), Json(task)).into_response())
}

/// Waits until the task has ended, the time is over, or the node stops. Where too many wait
/// already, it does not wait: the caller sees a task that has not ended, and when to ask again.
async fn wait_for(app: &App, id: TaskId, wait: Duration) -> Waited {
    let Ok(_place) = app.waits.try_acquire() else { return Waited::NoPlace };
    tokio::select! {
        () = app.engine.wait(id) => {}
        () = tokio::time::sleep(wait) => {}
        () = app.stopping.cancelled() => {}
    }
    Waited::AsAsked
}

/// What became of a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waited {
    AsAsked,
    /// As many wait as may.
    NoPlace,
}

impl Waited {
    /// Those for whom there was no place would else ask again at once, and again.
    fn headers(self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if self == Self::NoPlace {
            headers.insert(header::RETRY_AFTER, RETRY_AFTER_S.into());
        }
        headers
    }
}

/// A task, with the latest of its progress.
///
/// # Errors
/// `task_not_found`, or it could not be read.
pub async fn find(app: &App, id: TaskId) -> Result<Task, Problem> {
    let task = app.store.task(id).await?.ok_or_else(|| not_found(&id.to_string()))?;
    Ok(with_progress(app, task))
}

/// The store's word on progress is as old as its last commit.
fn with_progress(app: &App, mut task: Task) -> Task {
    if task.state == TaskState::Running
        && let Some(progress) = app.engine.progress(task.id)
    {
        task.progress = Some(progress);
    }
    task
}

/// Which tasks to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Filter {
    /// Only those in this state.
    state: Option<TaskState>,
    /// Only those of this name.
    name: Option<String>,
    /// Only those of this function, `fib`, or of one version, `fib@1`.
    function: Option<String>,
    /// Only those with this label, `key=value` or `key:value`.
    label: Option<String>,
    /// How many, from 1 to 500; 50 if left out.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

impl Filter {
    fn read(self) -> Result<TaskFilter, Problem> {
        Ok(TaskFilter {
            state: self.state,
            name: self.name,
            function: self.function,
            label: self.label.map(label).transpose()?,
            limit: limit_of(self.limit)?,
            cursor: self.cursor.map(cursor).transpose()?,
        })
    }
}

/// Reads the query of a list.
///
/// # Errors
/// `unknown_field` or `invalid_field`.
pub fn filter(query: &str) -> Result<TaskFilter, Problem> {
    read::query::<Filter>(Some(query))?.read()
}

fn label(text: String) -> Result<(String, String), Problem> {
    let pair = text.split_once(['=', ':']).map(|(key, value)| (key.to_owned(), value.to_owned()));
    pair.ok_or_else(|| Problem::invalid_field("label", "a label is key=value or key:value"))
}

fn cursor(text: String) -> Result<TaskId, Problem> {
    text.parse().map_err(|_| {
        Problem::invalid_field("cursor", "a cursor is the next_cursor of the page before")
    })
}

/// List tasks, the newest first
#[utoipa::path(
    get, path = "/v1/tasks", tag = "tasks", params(Filter),
    responses(
        (status = 200, description = "A page of tasks", body = Listed<Task>),
        (status = 400, description = "A parameter is wrong", body = ProblemJson,
         content_type = "application/problem+json"),
    )
)]
async fn list(
    State(app): State<App>,
    Query(filter): Query<Filter>,
) -> Result<Json<Listed<Task>>, Problem> {
    let page = app.store.tasks(&filter.read()?).await?;
    let items = page.items.into_iter().map(|task| with_progress(&app, task)).collect();
    let next_cursor = page.next_cursor.map(|id| id.to_string());
    Ok(Json(Listed { items, next_cursor }))
}

/// Cancel a task
#[utoipa::path(
    post, path = "/v1/tasks/{id}/cancel", tag = "tasks",
    params(("id" = String, Path, description = "The task's id")),
    responses(
        (status = 200, description = "The task, at once cancelled", body = Task),
        (status = 404, description = "No such task", body = ProblemJson,
         content_type = "application/problem+json"),
        (status = 409, description = "It has ended already", body = ProblemJson,
         content_type = "application/problem+json"),
    )
)]
async fn cancel(
    State(app): State<App>,
    _: NoQuery,
    Segment(id): Segment,
) -> Result<Json<Task>, Problem> {
    match app.engine.cancel(parse_id(&id)?).await {
        Ok(task) => Ok(Json(task)),
        Err(CancelRefused::NotFound) => Err(not_found(&id)),
        Err(CancelRefused::AlreadyFinished(task)) => {
            let state = task.state.as_str();
            Err(Problem::new(Code::TaskFinished, format!("the task has {state} already"))
                .with("state", state))
        }
        Err(CancelRefused::Refused(refused)) => Err(refused.into()),
    }
}

/// Delete a task
///
/// Cancels it if need be, and removes its record.
#[utoipa::path(
    delete, path = "/v1/tasks/{id}", tag = "tasks",
    params(("id" = String, Path, description = "The task's id")),
    responses(
        (status = 204, description = "It is gone"),
        (status = 404, description = "No such task", body = ProblemJson,
         content_type = "application/problem+json"),
    )
)]
async fn delete(
    State(app): State<App>,
    _: NoQuery,
    Segment(id): Segment,
) -> Result<StatusCode, Problem> {
    match app.engine.delete(parse_id(&id)?).await {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        Err(DeleteRefused::NotFound) => Err(not_found(&id)),
        Err(DeleteRefused::Refused(refused)) => Err(refused.into()),
    }
}

/// Reads a task's id; one that is none names no task.
///
/// # Errors
/// `task_not_found`.
pub fn parse_id(id: &str) -> Result<TaskId, Problem> {
    id.parse().map_err(|_| not_found(id))
}

/// There is no such task.
pub fn not_found(id: &str) -> Problem {
    Problem::new(Code::TaskNotFound, format!("no task has the id {id:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_bounded() {
        let check = |wait| Wait { wait }.duration().map_err(|problem| problem.code());
        assert_eq!(check(None), Ok(Duration::ZERO));
        assert_eq!(check(Some(1.5)), Ok(Duration::from_millis(1500)));
        assert_eq!(check(Some(60.0)), Ok(Duration::from_secs(60)));
        for wrong in [-1.0, 60.1, f64::NAN, f64::INFINITY] {
            assert_eq!(check(Some(wrong)), Err(Code::InvalidField), "{wrong}");
        }
    }

    #[test]
    fn labels_are_split_at_their_first_sign() {
        let pair = |key: &str, value: &str| Some((key.to_owned(), value.to_owned()));
        assert_eq!(label("a=b:c".to_owned()).ok(), pair("a", "b:c"));
        assert_eq!(label("a:b=c".to_owned()).ok(), pair("a", "b=c"));
        assert_eq!(label("a".to_owned()).ok(), None);
    }
}
