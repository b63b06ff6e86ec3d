//! Streams of server-sent events: of one task from where it stands to its end, and of all tasks.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::stream;
use runabout_protocol::{
    Attempt, DeletedEvent, DocumentRevision, LogEvent, OutcomeEvent, ProgressEvent, ResetEvent,
    ResetReason, StateEvent, Task, TaskId, TruncatedEvent, WorkerEvent,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::tasks::{find, parse_id};
use crate::app::App;
use crate::codes::Code;
use crate::events::{
    Behind, Fact, Full, LastEventId, Listener, Only, PIECE_BYTES_MAX, Place, Sheet, Teller, Told,
};
use crate::extract::{Query, Segment};
use crate::problem::{Problem, ProblemJson, stopping};

/// How long a stream is silent at most: whatever stands between takes a silent one for dead.
const SILENCE_MAX: Duration = Duration::from_secs(15);
/// How soon a client that was cut off should come back.
pub(super) const RETRY_MS: u64 = 1_000;
/// The most facts told in one piece, which [`PIECE_BYTES_MAX`] bounds as well. Text is made only when the connection takes it, and so a
/// stream holds one piece, and what its connection buffers, however slowly it is read.
const PIECE_FACTS_MAX: usize = 64;
/// The most lines told in one piece of what a task has written so far.
const PIECE_LINES_MAX: u32 = 200;

/// The header with which a client that was cut off says where.
pub(super) const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The routes of this file.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(task_events)).routes(routes!(all_events))
}

/// What to tell.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Wanted {
    /// Only these kinds, a list with commas: `state,outcome`. One task's stream tells its end in
    /// any case, and every stream its resets.
    only: Option<String>,
}

impl Wanted {
    fn read(&self) -> Result<Only, Problem> {
        let Some(list) = &self.only else { return Ok(Only::ALL) };
        Only::parse(list).map_err(|unknown| {
            let detail = format!(
                "{unknown:?} is no kind of event: state, progress, log, outcome, deleted, worker, \
                 revision are"
            );
            Problem::invalid_field("only", detail)
        })
    }
}

/// The `data` of one event, by its `event`.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = Event)]
#[expect(dead_code, reason = "only its schema is used; events are written one by one")]
enum EventJson {
    /// Where a task stands.
    State(StateEvent),
    /// How far it says it is.
    Progress(ProgressEvent),
    /// A line of output.
    Log(LogEvent),
    /// There was more output than is kept.
    Truncated(TruncatedEvent),
    /// How it ended.
    Outcome(OutcomeEvent),
    /// It is gone.
    Deleted(DeletedEvent),
    /// A worker has come, changed or gone; in the stream of all tasks.
    Worker(WorkerEvent),
    /// A document has a new text.
    Revision(DocumentRevision),
    /// Events were missed.
    Reset(ResetEvent),
}

/// Follow a task
///
/// Begins with where the task stands and what it has written so far, and goes on to its end: the
/// last event is `outcome` (or `deleted`), and then the stream ends. With `Last-Event-ID` it goes on
/// after that event, or tells `reset` and begins anew; after the last event there is nothing to go
/// on with, and the answer is 204, at which an `EventSource` stops.
#[utoipa::path(
    get, path = "/v1/tasks/{id}/events", tag = "tasks",
    params(("id" = String, Path, description = "The task's id"), Wanted,
           ("Last-Event-ID" = Option<String>, Header, description = "The last event that was seen")),
    responses(
        (status = 200, description = "Server-sent events; each one's data is JSON",
         body = EventJson, content_type = "text/event-stream"),
        (status = 204, description = "The last event has been seen"),
        (status = 404, description = "No such task", body = ProblemJson,
         content_type = "application/problem+json"),
        (status = 503, description = "Too many follow tasks already", body = ProblemJson,
         content_type = "application/problem+json"),
    )
)]
async fn task_events(
    State(app): State<App>,
    Segment(id): Segment,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let only = wanted.read()?;
    let task = find(&app, parse_id(&id)?).await?.id;
    let last = last_event_id(&app, &headers);
    if last == Some(LastEventId::End) {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let listener = app.engine.events().follow(task).map_err(|Full| too_many())?;
    let follower = Follower::new(app.clone(), (task, listener), only, last);
    event_stream(&app, follower)
}

/// Follow all tasks and documents
///
/// From now on, or with `Last-Event-ID` from that event on; if that is too long ago it begins with
/// `reset`. It never ends by itself.
#[utoipa::path(
    get, path = "/v1/events", tag = "tasks",
    params(Wanted,
           ("Last-Event-ID" = Option<String>, Header, description = "The last event that was seen")),
    responses(
        (status = 200, description = "Server-sent events; each one's data is JSON",
         body = EventJson, content_type = "text/event-stream"),
        (status = 503, description = "Too many follow all tasks already", body = ProblemJson,
         content_type = "application/problem+json"),
    )
)]
async fn all_events(
    State(app): State<App>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let only = wanted.read()?;
    let listener = app.engine.events().listen().map_err(|Full| too_many())?;
    let last = last_event_id(&app, &headers);
    event_stream(&app, Watcher::new(app.clone(), listener, only, last))
}

fn last_event_id(app: &App, headers: &HeaderMap) -> Option<LastEventId> {
    let text = headers.get(LAST_EVENT_ID)?.to_str().unwrap_or_default();
    Some(LastEventId::parse(text, app.engine.events().life()))
}

pub(super) fn too_many() -> Problem {
    Problem::overloaded("too many streams of events are open already")
}

/// What a stream tells.
pub(super) trait Tell: Send + 'static {
    /// Waits for the next piece; `None` when there is nothing more to come. May be dropped while it
    /// waits, and called again.
    fn next(&mut self) -> impl Future<Output = Option<Bytes>> + Send;

    /// What to say when there was nothing to say for long.
    fn keep_alive(&self) -> Bytes;
}

pub(super) fn event_stream(app: &App, teller: impl Tell) -> Result<Response, Problem> {
    if app.stopping.is_cancelled() {
        return Err(stopping());
    }
    let stopping = app.stopping.clone();
    let pieces = stream::unfold((teller, stopping), |(mut teller, stopping)| async move {
        let piece = tokio::select! {
            biased;
            () = stopping.cancelled() => None,
            piece = teller.next() => piece,
            () = tokio::time::sleep(SILENCE_MAX) => Some(teller.keep_alive()),
        };
        piece.map(|piece| (Ok::<_, Infallible>(piece), (teller, stopping)))
    });
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        // Or nginx would hold events back until it has a buffer full of them.
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    Ok((headers, Body::from_stream(pieces)).into_response())
}

/// Tells one task from where it stands to its end.
struct Follower {
    app: App,
    task: TaskId,
    listener: Listener,
    only: Only,
    stage: Stage,
    /// What was told at the beginning.
    told: Told,
}

enum Stage {
    /// Where it stands is to be told, after a reset or not.
    Begin { reset: Option<ResetReason>, after: Option<(Attempt, u64)> },
    /// What it has written so far is being told, to the record that was told before.
    Lines { task: Box<Task>, after: Option<(Attempt, u64)> },
    /// It is to go on after an event, if there is anything to come.
    Resume,
    /// What happens is told.
    Live,
    /// All is told.
    Ended,
}

impl Follower {
    fn new(
        app: App,
        (task, mut listener): (TaskId, Listener),
        only: Only,
        last: Option<LastEventId>,
    ) -> Self {
        let stage = match last {
            Some(LastEventId::Ring(place)) => {
                listener.go_on_at(place);
                let too_old = Stage::Begin { reset: Some(ResetReason::TooOld), after: None };
                if listener.is_behind() { too_old } else { Stage::Resume }
            }
            Some(LastEventId::Beginning(after)) => Stage::Begin { reset: None, after },
            Some(LastEventId::Foreign) => {
                Stage::Begin { reset: Some(ResetReason::Restarted), after: None }
            }
            Some(LastEventId::End) | None => Stage::Begin { reset: None, after: None },
        };
        Self { app, task, listener, only, stage, told: Told::default() }
    }

    /// An event of all tasks may be later than the last one of this task, of which nothing more would
    /// be told then: it begins anew, so that it ends.
    async fn resume(&mut self) {
        // Read after it is listened to, so that an end is known here or told later.
        let is_over = match self.record().await {
            Ok(task) => task.is_none_or(|task| task.finished_at.is_some()),
            Err(_) => false,
        };
        self.stage = if is_over && !self.listener.sees_the_end() {
            Stage::Begin { reset: Some(ResetReason::TooOld), after: None }
        } else {
            Stage::Live
        };
    }

    /// Where the task stands.
    async fn begin(
        &mut self,
        reset: Option<ResetReason>,
        after: Option<(Attempt, u64)>,
    ) -> Option<Bytes> {
        // Before it is read: what becomes known while it is read is told after it.
        self.listener.skip_to_now();
        // No answer at all ends the stream, and whoever listens comes back.
        let found = self.record().await.ok()?;
        let mut sheet = Sheet::default();
        sheet.retry(RETRY_MS);
        let id = self.id(LastEventId::Beginning(after));
        if let Some(reason) = reset {
            self.app.engine.events().count_reset();
            sheet.event("reset", Some(&id), &ResetEvent { reason });
        }
        self.told = Told::default();
        match found {
            Some(task) => {
                self.told.state(&task);
                if let Some((attempt, seq)) = after {
                    self.told.line(attempt, seq);
                }
                if self.only.state {
                    sheet.event("state", Some(&id), &StateEvent::of(&task));
                }
                self.stage = Stage::Lines { task, after };
            }
            None => {
                let id = self.id(LastEventId::End);
                sheet.event("deleted", Some(&id), &DeletedEvent { task: self.task });
                self.stage = Stage::Ended;
            }
        }
        sheet.finish()
    }

    /// The task's record, or `None` if it is gone.
    async fn record(&self) -> Result<Option<Box<Task>>, Problem> {
        match find(&self.app, self.task).await {
            Ok(task) => Ok(Some(Box::new(task))),
            Err(problem) if problem.is(Code::TaskNotFound) => Ok(None),
            Err(problem) => Err(problem),
        }
    }

    /// What it has written so far, piece by piece, and then how far it is.
    async fn lines(&mut self) -> Option<Bytes> {
        let Stage::Lines { task, after } = &self.stage else { return None };
        let (task, mut after) = (task.clone(), *after);
        let mut sheet = Sheet::default();
        if self.only.log {
            let store = &self.app.store;
            let piece_max = (PIECE_LINES_MAX, PIECE_BYTES_MAX);
            let lines = store.log_lines(self.task, after, task.attempt, piece_max).await;
            let (lines, is_last) = match lines.ok()? {
                Some(portion) => (portion.items, !portion.more),
                None => (Vec::new(), true),
            };
            let is_truncated =
                is_last && store.is_truncated(self.task, task.attempt).await.unwrap_or(false);
            for line in lines {
                after = Some((line.attempt, line.seq));
                self.told.line(line.attempt, line.seq);
                let id = self.id(LastEventId::Beginning(after));
                sheet.event("log", Some(&id), &LogEvent { task: self.task, line });
            }
            if !is_last {
                self.stage = Stage::Lines { task, after };
                return sheet.finish();
            }
            if is_truncated {
                let event = TruncatedEvent { task: self.task, attempt: task.attempt };
                sheet.event("truncated", None, &event);
            }
        }
        self.stage = self.standing(&mut sheet, *task);
        Some(sheet.finish().unwrap_or_default())
    }

    /// What is left to be said of where it stands.
    fn standing(&self, sheet: &mut Sheet, task: Task) -> Stage {
        if let Some(progress) = task.progress.filter(|_| self.only.progress) {
            let event = ProgressEvent { task: self.task, attempt: task.attempt, progress };
            sheet.event("progress", None, &event);
        }
        let (Some(at), Some(outcome)) = (task.finished_at, task.outcome) else {
            return Stage::Live;
        };
        let event = OutcomeEvent {
            task: self.task,
            state: task.state,
            attempt: (task.attempt > Attempt(0)).then_some(task.attempt),
            at,
            outcome,
            usage: task.usage,
        };
        sheet.event("outcome", Some(&self.id(LastEventId::End)), &event);
        Stage::Ended
    }

    async fn live(&mut self) -> Option<Bytes> {
        loop {
            let from = self.listener.place();
            match self.listener.next(PIECE_FACTS_MAX).await {
                Ok(facts) => {
                    let told = self.tell(&facts, from);
                    if told.is_some() || matches!(self.stage, Stage::Ended) {
                        return told;
                    }
                }
                Err(Behind) => {
                    self.stage = Stage::Begin { reset: Some(ResetReason::Behind), after: None };
                    return Some(Bytes::new());
                }
            }
        }
    }

    fn tell(&mut self, facts: &[Fact], from: Place) -> Option<Bytes> {
        let life = self.app.engine.events().life();
        let teller = Teller { life, only: self.only, ends: true, told: &self.told };
        let mut sheet = Sheet::default();
        let part = sheet.facts(&teller, facts, from);
        self.listener.go_on_at(part.next);
        if part.ended {
            self.stage = Stage::Ended;
        }
        sheet.finish()
    }

    fn id(&self, id: LastEventId) -> String {
        id.text(self.app.engine.events().life())
    }
}

impl Tell for Follower {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            let piece = match self.stage {
                Stage::Begin { reset, after } => self.begin(reset, after).await,
                Stage::Lines { .. } => self.lines().await,
                Stage::Resume => {
                    self.resume().await;
                    continue;
                }
                Stage::Live => self.live().await,
                Stage::Ended => return None,
            };
            // One without text would look to HTTP like the end.
            if piece.as_ref().is_none_or(|piece| !piece.is_empty()) {
                return piece;
            }
        }
    }

    fn keep_alive(&self) -> Bytes {
        let mut sheet = Sheet::default();
        sheet.comment();
        sheet.finish().unwrap_or_default()
    }
}

/// Tells what happens to all tasks.
struct Watcher {
    app: App,
    listener: Listener,
    only: Only,
    told: Told,
    /// What is said first of all.
    first: Option<Sheet>,
}

impl Watcher {
    fn new(app: App, mut listener: Listener, only: Only, last: Option<LastEventId>) -> Self {
        let reset = match last {
            None => None,
            Some(LastEventId::Ring(place)) => {
                listener.go_on_at(place);
                listener.is_behind().then_some(ResetReason::TooOld)
            }
            Some(_) => Some(ResetReason::Restarted),
        };
        let mut first = Sheet::default();
        first.retry(RETRY_MS);
        let mut watcher = Self { app, listener, only, told: Told::default(), first: None };
        match reset {
            Some(reason) => watcher.reset(&mut first, reason),
            None => first.id(&watcher.id()),
        }
        watcher.first = Some(first);
        watcher
    }

    fn reset(&mut self, sheet: &mut Sheet, reason: ResetReason) {
        self.app.engine.events().count_reset();
        self.listener.skip_to_now();
        sheet.event("reset", Some(&self.id()), &ResetEvent { reason });
    }

    fn id(&self) -> String {
        LastEventId::Ring(self.listener.place()).text(self.app.engine.events().life())
    }

    fn tell(&mut self, facts: &[Fact], from: Place) -> Sheet {
        let life = self.app.engine.events().life();
        let teller = Teller { life, only: self.only, ends: false, told: &self.told };
        let mut sheet = Sheet::default();
        let part = sheet.facts(&teller, facts, from);
        self.listener.go_on_at(part.next);
        sheet
    }
}

impl Tell for Watcher {
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(first) = self.first.take() {
            return first.finish();
        }
        loop {
            let from = self.listener.place();
            let sheet = match self.listener.next(PIECE_FACTS_MAX).await {
                Ok(facts) => self.tell(&facts, from),
                Err(Behind) => {
                    let mut sheet = Sheet::default();
                    self.reset(&mut sheet, ResetReason::Behind);
                    sheet
                }
            };
            if let Some(piece) = sheet.finish() {
                return Some(piece);
            }
            // Nothing of it was wanted; others may have something to do meanwhile.
            tokio::task::yield_now().await;
        }
    }

    /// With where it is, so that one who wants little does not come back with what is too old.
    fn keep_alive(&self) -> Bytes {
        let mut sheet = Sheet::default();
        sheet.comment();
        sheet.id(&self.id());
        sheet.finish().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_that_is_none_is_named() {
        let wanted = |only: &str| Wanted { only: Some(only.to_owned()) }.read();
        assert_eq!(wanted("state,sate").map_err(|problem| problem.code()), Err(Code::InvalidField));
        assert_eq!(Wanted { only: None }.read().ok(), Some(Only::ALL));
    }
}
