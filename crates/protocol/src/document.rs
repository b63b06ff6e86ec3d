//! Documents: plain files with revisions, as they are told of.

use serde::{Deserialize, Serialize};

/// A document in a list: its newest revision, in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Document {
    /// Its name.
    pub name: String,
    /// The number of its newest revision.
    pub revision: u64,
    /// What its text is: `text/html`, say.
    pub media_type: String,
    /// Size of its text.
    pub bytes: u64,
    /// Who made the newest revision.
    pub author: String,
    /// Whether that is known, and not only said.
    pub verified: bool,
    /// When, RFC 3339 in UTC.
    pub time: String,
    /// Whether it can only be read, as a write to the disk has failed.
    pub read_only: bool,
}

/// A revision of a document: one text that was accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DocumentRevision {
    /// The document's name.
    pub document: String,
    /// Its number, from 1, and never used again.
    pub revision: u64,
    /// The revision that it replaced; null for a document's first text.
    pub parent: Option<u64>,
    /// The revision that it was made from; null if it replaced the text as a whole.
    pub base: Option<u64>,
    /// What made it: `create`, `replace`, `edit`, `revert`, `file` (changed by hand) or `delete`.
    pub kind: String,
    /// Who made it.
    pub author: String,
    /// Whether that is known, and not only said.
    pub verified: bool,
    /// What its author says of it; may be empty.
    pub summary: String,
    /// When it was accepted, RFC 3339 in UTC.
    pub time: String,
    /// Whether it was put together with what had happened since its base.
    pub merged: bool,
    /// Size of its text.
    pub bytes: u64,
    /// What its text is.
    pub media_type: String,
}

/// The answer to a change of a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DocumentChange {
    /// The revision that it made; the newest one, if it changed nothing.
    #[serde(flatten)]
    pub revision: DocumentRevision,
    /// Whether it made one.
    pub changed: bool,
}

/// `event: deleted` of a document's own stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DocumentDeletedEvent {
    /// The document's name.
    pub document: String,
}
