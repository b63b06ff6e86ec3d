//! What is known of a revision, and of whoever made it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::merge::Collision;

/// A revision: one accepted text of a document. Its number is one more than the one before, and
/// never used again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    /// Its number, from 1.
    pub revision: u64,
    /// The one that it replaced; `None` for the first text of a document.
    pub parent: Option<u64>,
    /// The one that it was made from, if it was made from one.
    pub base: Option<u64>,
    /// What made it.
    pub kind: Kind,
    /// Who made it.
    pub author: String,
    /// Whether that is known, and not only said.
    pub verified: bool,
    /// What its author says of it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub summary: String,
    /// When it was accepted, in milliseconds since 1970.
    pub time_ms: i64,
    /// Whether it was put together with what had happened since its base.
    pub merged: bool,
    /// Size of its text.
    pub bytes: u64,
    /// What its text is.
    pub media_type: String,
}

/// What made a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The document was made.
    Create,
    /// It was replaced as a whole.
    Replace,
    /// It was edited, from a base on.
    Edit,
    /// An older text was brought back.
    Revert,
    /// Its file was changed by hand.
    File,
    /// It was deleted; there is no text.
    Delete,
}

impl Kind {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Replace => "replace",
            Self::Edit => "edit",
            Self::Revert => "revert",
            Self::File => "file",
            Self::Delete => "delete",
        }
    }
}

/// Who does something, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribution {
    /// Who.
    pub author: String,
    /// Whether that is known, and not only said.
    pub verified: bool,
    /// Why.
    pub summary: String,
}

/// What makes a change that is sent again the same change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// Drawn by the client.
    pub key: String,
    /// Of what was sent.
    pub fingerprint: [u8; 32],
}

/// What a change needs the document to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Anything.
    Any,
    /// Not there.
    Absent,
    /// There.
    Present,
    /// At one of these revisions.
    At(Vec<u64>),
}

impl Condition {
    pub(crate) fn holds(&self, newest: Option<u64>) -> bool {
        match self {
            Self::Any => true,
            Self::Absent => newest.is_none(),
            Self::Present => newest.is_some(),
            Self::At(revisions) => newest.is_some_and(|newest| revisions.contains(&newest)),
        }
    }
}

/// How a change was taken; it is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The revision that it made, or the newest if it changed nothing.
    pub revision: Arc<Revision>,
    /// What became of it.
    pub change: Change,
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A revision.
    Made,
    /// Nothing: the text is that already.
    Unchanged,
    /// It had been made before, under the same key.
    Replayed,
}

/// An edit that cannot stand beside a later one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// What the edit was made from.
    pub base: Side,
    /// What the document is now.
    pub current: Side,
    /// What the edit wants it to be. `None` in place of texts that are no text.
    pub yours: Option<String>,
    /// Where they collide; empty where there is no text to compare.
    pub collisions: Vec<Collision>,
}

/// A revision and its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    /// Its number.
    pub revision: u64,
    /// `None` if it is no text.
    pub text: Option<String>,
}
