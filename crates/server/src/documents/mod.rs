//! Documents as HTTP knows them: opened beside the node's other data, their errors as problems, their
//! revisions as JSON. What a request asks of them is read in [`ask`], what they answer is made in
//! [`serve`].

pub mod ask;
pub mod serve;

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use runabout_documents::{
    Collision, Conflict, Current, Documents, Error, Limits, Lines, Name, Revision, Side,
};
use runabout_protocol::{Document, DocumentRevision};
use runabout_store::time_text;
use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use crate::body::DOCUMENT_BYTES_MAX;
use crate::codes::Code;
use crate::events::{Events, Facts};
use crate::problem::{Problem, document_read_only, storage_full};

/// The folder of the documents, in the data directory.
pub const FOLDER: &str = "documents";

/// Opens the documents in a folder; `events` are told of every revision.
///
/// # Errors
/// The folder cannot be used, or a history is damaged.
pub async fn open(folder: PathBuf, events: Arc<Events>) -> Result<Documents, crate::Error> {
    let limits = Limits { document_bytes: DOCUMENT_BYTES_MAX, ..Limits::default() };
    let told = move |name: &Name, revision: &Revision| {
        events.publish(Facts::Revised(Arc::new(view(name.as_str(), revision))));
    };
    Ok(spawn_blocking(move || Documents::open(&folder, limits, Box::new(told))).await??)
}

/// Reads a document's name.
///
/// # Errors
/// `invalid_name`.
pub fn parse_name(text: &str) -> Result<Name, Problem> {
    text.parse().map_err(|why: runabout_documents::InvalidName| {
        Problem::new(Code::InvalidName, format!("{text:?} is no document's name: {why}"))
    })
}

/// The newest text of a document.
///
/// # Errors
/// `invalid_name` or `document_not_found`.
pub fn find(documents: &Documents, name: &str) -> Result<Arc<Current>, Problem> {
    match documents.get(name) {
        Some(current) => Ok(current),
        None => Err(not_found(&parse_name(name)?)),
    }
}

fn not_found(name: &Name) -> Problem {
    Problem::new(Code::DocumentNotFound, format!("there is no document {name}"))
}

/// A document in a list.
pub fn item(name: &Name, current: &Current, read_only: bool) -> Document {
    let revision = &current.revision;
    Document {
        name: name.to_string(),
        revision: revision.revision,
        media_type: revision.media_type.clone(),
        bytes: revision.bytes,
        author: revision.author.clone(),
        verified: revision.verified,
        time: time(revision),
        read_only,
    }
}

/// A revision as it is told of.
pub fn view(document: &str, revision: &Revision) -> DocumentRevision {
    DocumentRevision {
        document: document.to_owned(),
        revision: revision.revision,
        parent: revision.parent,
        base: revision.base,
        kind: revision.kind.as_str().to_owned(),
        author: revision.author.clone(),
        verified: revision.verified,
        summary: revision.summary.clone(),
        time: time(revision),
        merged: revision.merged,
        bytes: revision.bytes,
        media_type: revision.media_type.clone(),
    }
}

fn time(revision: &Revision) -> String {
    time_text(Timestamp::from_millisecond(revision.time_ms).unwrap_or_default())
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let told = error.to_string();
        match error {
            Error::NotFound(name) => not_found(&name),
            Error::RevisionNotFound { oldest, newest, .. } => {
                Self::new(Code::RevisionNotFound, told)
                    .with("oldest", oldest)
                    .with("newest", newest)
            }
            Error::ConditionFailed(Some(newest)) => {
                let detail = format!("the document is at revision {newest}");
                Self::new(Code::RevisionChanged, detail).with("current", newest)
            }
            Error::ConditionFailed(None) => {
                Self::new(Code::RevisionChanged, "the document is not there")
                    .with("current", Value::Null)
            }
            Error::Conflict(conflict) => conflicting(*conflict),
            Error::NotUtf8(_) => Self::new(Code::NotUtf8, told),
            Error::OtherMediaType(_) => Self::new(Code::UnsupportedMediaType, told),
            Error::KeyReused => Self::new(Code::IdempotencyKeyReused, told),
            Error::TooLarge(bytes_max) => crate::body::too_large(bytes_max),
            Error::TooMany(_) => Self::new(Code::TooManyDocuments, told),
            Error::Busy => Self::overloaded(told),
            Error::FileUnusable(_) => Self::new(Code::DocumentChangedByHand, told),
            Error::Full => storage_full(),
            Error::ReadOnly(cause) => document_read_only(&cause),
            Error::Other { .. } => Self::internal(told),
        }
    }
}

/// An edit that needs a person: all three texts, and where they collide.
fn conflicting(conflict: Conflict) -> Problem {
    let Conflict { base, current, yours, collisions } = conflict;
    let detail = if yours.is_none() && collisions.is_empty() {
        format!(
            "the document is at revision {} now, and is no text that can be merged",
            current.revision
        )
    } else {
        let (places, plural) = (collisions.len(), if collisions.len() == 1 { "" } else { "s" });
        format!("it collides in {places} place{plural} with revision {}", current.revision)
    };
    let side = |side: Side| json!({ "revision": side.revision, "text": side.text });
    let collisions: Vec<Value> = collisions.into_iter().map(collision).collect();
    Problem::new(Code::EditConflict, detail)
        .with("base", side(base))
        .with("current", side(current))
        .with("yours", json!({ "revision": null, "text": yours }))
        .with("conflicts", collisions)
}

fn collision(collision: Collision) -> Value {
    let lines = |it: Lines| json!({ "line": it.line, "lines": it.count, "text": it.text });
    let Collision { base, current, yours } = collision;
    json!({ "base": lines(base), "current": lines(current), "yours": lines(yours) })
}
