//! What can go wrong in the store, told apart only where a caller acts on it.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nothing was written for want of room; writes work again when there is some.
    #[error("the disk is full")]
    Full,
    /// A write could not be made durable. What the disk holds is no longer known for sure, so
    /// nothing more is written until the node is started again.
    #[error("writing has ended: {0}")]
    Failed(String),
    /// Another node has the data directory open.
    #[error("the data directory {} is in use by another node", .0.display())]
    InUse(PathBuf),
    /// The data directory was written by a newer version of this program.
    #[error("the store has format {found}, this program knows formats up to {known}")]
    NewerVersion {
        /// The format found.
        found: i64,
        /// The newest format known.
        known: i64,
    },
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

    pub(crate) fn sqlite(doing: &str, error: &rusqlite::Error) -> Self {
        let reason = error.to_string();
        let Some(failure) = error.sqlite_error() else {
            return Self::Other { doing: doing.to_owned(), reason };
        };
        match (failure.code, failure.extended_code) {
            // The index of the write-ahead log grows by its own call, which has no other way to
            // say that there is no room.
            (ErrorCode::DiskFull, _) | (_, rusqlite::ffi::SQLITE_IOERR_SHMSIZE) => Self::Full,
            (
                ErrorCode::SystemIoFailure | ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase,
                _,
            ) => Self::Failed(format!("failed to {doing}: {reason}")),
            _ => Self::Other { doing: doing.to_owned(), reason },
        }
    }
}

impl Error {
    /// Why the database cannot be opened. Nothing was written to it.
    pub(crate) fn opening(path: &Path, error: &rusqlite::Error) -> Self {
        let doing = format!("open the store at {}", path.display());
        match Self::sqlite(&doing, error) {
            Self::Failed(_) if is_damage(error) => {
                let reason = format!("it is damaged ({error}); it was left as it is");
                Self::Other { doing, reason }
            }
            Self::Failed(_) => Self::Other { doing, reason: error.to_string() },
            other => other,
        }
    }

    /// The same for a copy, which has no writing to end.
    pub(crate) fn while_copying(self, path: &Path) -> Self {
        match self {
            Self::Failed(reason) => {
                Self::Other { doing: format!("copy {}", path.display()), reason }
            }
            other => other,
        }
    }
}

fn is_damage(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error().map(|failure| failure.code);
    matches!(code, Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// Whether the store can still write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It can, as far as is known.
    Working,
    /// It cannot until the node is started again; why.
    Failed(String),
}
