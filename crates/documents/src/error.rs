//! What can go wrong, told apart where a caller acts on it.

use std::io;

use crate::{Conflict, Name};

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is no document of that name.
    #[error("there is no document {0}")]
    NotFound(Name),
    /// There is no such revision, or it is not kept any more.
    #[error("{name} has no revision {revision}; it has those from {oldest} to {newest}")]
    RevisionNotFound {
        /// The document.
        name: Name,
        /// What was asked for.
        revision: u64,
        /// The oldest that is kept.
        oldest: u64,
        /// The newest.
        newest: u64,
    },
    /// The document is not as the caller's condition says; the newest revision, if there is one.
    #[error("the document is not as the request says")]
    ConditionFailed(Option<u64>),
    /// The edit and what happened since its base cannot both stand.
    #[error("the edit conflicts with a later one")]
    Conflict(Box<Conflict>),
    /// A text that is no UTF-8.
    #[error("the text is not UTF-8: byte {0} is wrong")]
    NotUtf8(usize),
    /// A document never changes its media type.
    #[error("the document is {0}, and stays that")]
    OtherMediaType(&'static str),
    /// The key came with another edit before.
    #[error("the idempotency key came with another edit before")]
    KeyReused,
    /// The text is larger than a document may be.
    #[error("a document has at most {0} bytes")]
    TooLarge(usize),
    /// There are as many documents as there may be, or they are as large together.
    #[error("{0}")]
    TooMany(&'static str),
    /// Too many edits wait.
    #[error("too many edits of the document wait already")]
    Busy,
    /// The file was changed by hand to something that cannot be a revision.
    #[error("the file was changed by hand, and {0}: mend or remove it first")]
    FileUnusable(String),
    /// There was no room; nothing was written, and writes work again when there is some.
    #[error("the disk is full")]
    Full,
    /// A write could not be made durable. What the disk holds is not known for sure, so the document
    /// is only read until the node is started again.
    #[error("the document is read-only: {0}")]
    ReadOnly(String),
    /// Anything else.
    #[error("failed to {doing}: {reason}")]
    Other {
        /// What we were doing.
        doing: String,
        /// What stood in the way.
        reason: String,
    },
}

impl Error {
    pub(crate) fn io(doing: impl Into<String>, error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            _ => Self::Other { doing: doing.into(), reason: error.to_string() },
        }
    }
}
