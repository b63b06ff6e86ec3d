//! Streams of one document's events. An event's id is the number of its revision, so that a stream
//! goes on from any revision that is kept, also after the node was started again.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use bytes::Bytes;
use runabout_documents::{Documents, Name, Revision};
use runabout_protocol::{DocumentDeletedEvent, DocumentRevision, ResetEvent, ResetReason};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::task::spawn_blocking;

use crate::app::App;
use crate::documents::{parse_name, view};
use crate::events::Sheet;
use crate::extract::{NoQuery, Segment};
use crate::problem::{Problem, ProblemJson};
use crate::routes::events::{LAST_EVENT_ID, RETRY_MS, Tell, event_stream, too_many};

/// The most revisions told in one piece.
const PIECE_REVISIONS_MAX: usize = 64;
/// A stream that has missed more begins anew with the newest.
const MISSED_MAX: u64 = 1_000;

/// Follow a document
///
/// Begins with its newest revision and tells each one after it, and `deleted` at the end. With
/// `Last-Event-ID`, the number of a revision, it goes on after that one, or tells `reset` and begins
/// anew if that is too long ago.
#[utoipa::path(
    get, path = "/v1/documents/{name}/events", tag = "documents",
    params(("name" = String, Path, description = "The document's name"),
           ("Last-Event-ID" = Option<String>, Header, description = "The last revision that was seen")),
    responses(
        (status = 200, description = "Server-sent events; each one's data is JSON",
         body = DocumentRevision, content_type = "text/event-stream"),
        (status = 404, description = "No such document", body = ProblemJson,
         content_type = "application/problem+json"),
        (status = 503, description = "Too many follow documents already", body = ProblemJson,
         content_type = "application/problem+json"),
    )
)]
pub(super) async fn events(
    State(app): State<App>,
    _: NoQuery,
    Segment(name): Segment,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let name = parse_name(&name)?;
    let latest = app.documents.follow(&name)?;
    let place = app.document_streams.clone().try_acquire_owned().map_err(|_| too_many())?;
    let last = headers.get(LAST_EVENT_ID).and_then(|it| it.to_str().ok()?.trim().parse().ok());
    let documents = app.documents.clone();
    let follower = Follower { documents, name, latest, told: last, begins: true, _place: place };
    event_stream(&app, follower)
}

struct Follower {
    documents: Documents,
    name: Name,
    latest: watch::Receiver<u64>,
    /// The last revision that was told; `None` before the first.
    told: Option<u64>,
    /// Whether nothing was said so far.
    begins: bool,
    _place: OwnedSemaphorePermit,
}

impl Follower {
    /// What there is to be told now.
    async fn news(&mut self) -> Option<Bytes> {
        let mut sheet = Sheet::default();
        if std::mem::take(&mut self.begins) {
            sheet.retry(RETRY_MS);
        }
        let Some(current) = self.documents.get(self.name.as_str()) else {
            let event = DocumentDeletedEvent { document: self.name.to_string() };
            sheet.event("deleted", None, &event);
            self.told = Some(u64::MAX);
            return sheet.finish();
        };
        let newest = current.revision.revision;
        let missed = match self.told {
            Some(told) if told >= newest => 0,
            Some(told) => newest - told,
            None => 1,
        };
        let is_foreign = self.told.is_some_and(|told| told > newest);
        if missed > 1 && missed <= MISSED_MAX {
            // `None` if they are not all kept any more.
            if let Some(revisions) = self.between(newest).await {
                for revision in &revisions {
                    self.tell(&mut sheet, revision);
                }
                return sheet.finish();
            }
        }
        if missed > 1 || is_foreign {
            sheet.event("reset", None, &ResetEvent { reason: ResetReason::TooOld });
        }
        if missed > 0 || is_foreign {
            self.tell(&mut sheet, &current.revision);
        }
        sheet.finish()
    }

    /// The revisions after the one that was told last, up to the newest, and no more than fit.
    async fn between(&self, newest: u64) -> Option<Vec<Revision>> {
        let told = self.told?;
        let last = newest.min(told + PIECE_REVISIONS_MAX as u64);
        let (documents, name) = (self.documents.clone(), self.name.clone());
        let count = usize::try_from(last - told).ok()?;
        let read = move || documents.history(&name, Some(last + 1), count);
        let mut revisions = spawn_blocking(read).await.ok()?.ok()?;
        revisions.reverse();
        let is_whole = revisions.len() == count && revisions.first()?.revision == told + 1;
        is_whole.then_some(revisions)
    }

    fn tell(&mut self, sheet: &mut Sheet, revision: &Revision) {
        let number = revision.revision;
        let id = number.to_string();
        sheet.event("revision", Some(&id), &view(self.name.as_str(), revision));
        self.told = Some(number);
    }
}

impl Tell for Follower {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if self.told == Some(u64::MAX) {
                return None;
            }
            self.latest.mark_unchanged();
            if let Some(piece) = self.news().await {
                return Some(piece);
            }
            // The document is kept by the store, which ends with the node.
            self.latest.changed().await.ok()?;
        }
    }

    fn keep_alive(&self) -> Bytes {
        let mut sheet = Sheet::default();
        sheet.comment();
        sheet.finish().unwrap_or_default()
    }
}
