//! What several changes, taken one after the other, make of a document: revisions that are yet to be
//! written, and an answer to each. Does no I/O but to read old revisions.

use std::collections::HashMap;
use std::str::from_utf8;
use std::sync::Arc;

use bytes::Bytes;

use crate::current::packed;
use crate::log::Log;
use crate::merge::{Merged, merge};
use crate::record::{self, Head};
use crate::{
    Accepted, Attribution, Change, Condition, Conflict, Error, Key, Kind, MediaType, Name,
    Revision, Side,
};

/// A change that is asked for.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) what: What,
    pub(crate) by: Attribution,
    pub(crate) key: Option<Key>,
}

/// What is to be done.
#[derive(Debug)]
pub(crate) enum What {
    /// Replace the text as a whole, or make the document.
    Put { text: Bytes, media_type: Option<MediaType>, condition: Condition },
    /// Take a text in that was made from a revision.
    Edit { base: u64, text: Bytes },
    /// Bring an older text back.
    Revert { to: u64, condition: Condition },
    /// Remove the document and its history.
    Delete { condition: Condition },
}

/// The newest text, written or about to be.
#[derive(Clone, Debug)]
pub(crate) struct Newest {
    pub(crate) revision: Arc<Revision>,
    pub(crate) media_type: MediaType,
    pub(crate) text: Bytes,
    /// Compressed, as it is kept.
    pub(crate) zstd: Option<Bytes>,
}

/// Some changes that are made durable together.
pub(crate) struct Turn<'d> {
    name: &'d Name,
    log: &'d Log,
    keys: &'d Keys,
    /// The revision in the file.
    in_file: Option<u64>,
    /// The highest number given out so far.
    last: u64,
    /// `None` where there is no document, or none any more.
    pub(crate) newest: Option<Newest>,
    /// What is to be written.
    pub(crate) made: Vec<Made>,
    /// Bytes that a document may have.
    bytes_max: usize,
    time_ms: i64,
    /// Counted: merges, conflicts.
    pub(crate) merges: u64,
    pub(crate) conflicts: u64,
}

/// A revision that is to be written.
pub(crate) struct Made {
    pub(crate) head: Head,
    pub(crate) text: Bytes,
    pub(crate) record: Vec<u8>,
}

/// What a turn begins from.
pub(crate) struct Beginning<'d> {
    pub(crate) name: &'d Name,
    pub(crate) log: &'d Log,
    pub(crate) keys: &'d Keys,
    pub(crate) in_file: Option<u64>,
    pub(crate) last: u64,
    pub(crate) newest: Option<Newest>,
    pub(crate) bytes_max: usize,
    pub(crate) time_ms: i64,
}

/// What a new revision is, apart from its number.
struct Draft {
    kind: Kind,
    base: Option<u64>,
    merged: bool,
    media_type: MediaType,
    text: Bytes,
}

impl Request {
    pub(crate) fn is_delete(&self) -> bool {
        matches!(self.what, What::Delete { .. })
    }
}

impl<'d> Turn<'d> {
    pub(crate) fn begin(beginning: Beginning<'d>) -> Self {
        let Beginning { name, log, keys, in_file, last, newest, bytes_max, time_ms } = beginning;
        let made = Vec::new();
        Self {
            name,
            log,
            keys,
            in_file,
            last,
            newest,
            made,
            bytes_max,
            time_ms,
            merges: 0,
            conflicts: 0,
        }
    }

    /// The highest number given out.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// Decides on a change.
    pub(crate) fn take(&mut self, request: Request) -> Result<Accepted, Error> {
        let Request { what, by, key } = request;
        if let Some(key) = &key
            && let Some(accepted) = self.replay(key)?
        {
            return Ok(accepted);
        }
        match what {
            What::Put { text, media_type, condition } => {
                self.condition(&condition)?;
                self.put(text, media_type, by, key)
            }
            What::Edit { base, text } => self.edit(base, text, by, key),
            What::Revert { to, condition } => {
                self.condition(&condition)?;
                self.revert(to, by, key)
            }
            What::Delete { condition } => {
                self.condition(&condition)?;
                let media_type = self.there()?.media_type;
                let text = Bytes::new();
                let draft =
                    Draft { kind: Kind::Delete, base: None, merged: false, media_type, text };
                let accepted = self.make(draft, by, key);
                self.newest = None;
                Ok(accepted)
            }
        }
    }

    /// The file was changed by hand, and has this text. With `base`, it was changed while newer
    /// revisions were on their way to it.
    pub(crate) fn take_by_hand(&mut self, text: Bytes, media_type: MediaType, base: Option<u64>) {
        let by = |summary: &str| Attribution {
            author: "file".to_owned(),
            verified: false,
            summary: summary.to_owned(),
        };
        let newest = self.newest.clone();
        let draft = |text, base, merged| Draft { kind: Kind::File, base, merged, media_type, text };
        let merged = match (base, &newest) {
            (Some(base), Some(newest)) => self.merged(base, newest, &text),
            _ => None,
        };
        match (merged, base, newest) {
            (Some(merged), ..) => {
                self.make(draft(merged, base, true), by("changed by hand"), None);
            }
            // Both are kept: theirs in the history, and the newer one in its place.
            (None, Some(_), Some(newest)) => {
                self.make(draft(text, base, false), by("changed by hand"), None);
                let replaced = by("the text that the change by hand collided with");
                self.make(draft(newest.text, None, false), replaced, None);
            }
            _ => {
                self.make(draft(text, None, false), by("changed by hand"), None);
                // What follows in this turn replaces it in the file.
                self.in_file = Some(self.last);
            }
        }
    }

    fn merged(&self, base: u64, newest: &Newest, text: &[u8]) -> Option<Bytes> {
        let base = self.text(base).ok()?;
        let (base, current) = (from_utf8(&base).ok()?, from_utf8(&newest.text).ok()?);
        match merge(base, current, from_utf8(text).ok()?) {
            Merged::Clean(text) if text.len() <= self.bytes_max => Some(text.into()),
            _ => None,
        }
    }

    fn put(
        &mut self,
        text: Bytes,
        media_type: Option<MediaType>,
        by: Attribution,
        key: Option<Key>,
    ) -> Result<Accepted, Error> {
        let (kind, media_type) = match &self.newest {
            None => (Kind::Create, media_type.unwrap_or_else(|| MediaType::guess(&text))),
            Some(newest) if media_type.is_some_and(|it| it != newest.media_type) => {
                return Err(Error::OtherMediaType(newest.media_type.essence()));
            }
            Some(newest) => (Kind::Replace, newest.media_type),
        };
        self.fits(&text, media_type)?;
        if let Some(newest) = self.newest.as_ref().filter(|newest| newest.text == text) {
            return Ok(unchanged(newest));
        }
        Ok(self.make(Draft { kind, base: None, merged: false, media_type, text }, by, key))
    }

    fn edit(
        &mut self,
        base: u64,
        text: Bytes,
        by: Attribution,
        key: Option<Key>,
    ) -> Result<Accepted, Error> {
        let newest = self.there()?.clone();
        let media_type = newest.media_type;
        self.fits(&text, media_type)?;
        let current = newest.revision.revision;
        let draft = |text, merged| {
            let base = Some(base);
            Draft { kind: Kind::Edit, base, merged, media_type, text }
        };
        if base == current {
            if text == newest.text {
                return Ok(unchanged(&newest));
            }
            return Ok(self.make(draft(text, false), by, key));
        }
        let base_text = self.text(base)?;
        if text == base_text {
            return Ok(unchanged(&newest));
        }
        let conflict = |base_text, current_text, yours, collisions| {
            let base = Side { revision: base, text: base_text };
            let current = Side { revision: current, text: current_text };
            Error::Conflict(Box::new(Conflict { base, current, yours, collisions }))
        };
        let texts = (from_utf8(&base_text), from_utf8(&newest.text), from_utf8(&text));
        let (true, (Ok(ours), Ok(theirs), Ok(yours))) = (media_type.is_text(), texts) else {
            self.conflicts += 1;
            return Err(conflict(None, None, None, Vec::new()));
        };
        match merge(ours, theirs, yours) {
            Merged::Clean(merged) => {
                let merged = Bytes::from(merged);
                self.fits(&merged, media_type)?;
                self.merges += 1;
                Ok(self.make(draft(merged, true), by, key))
            }
            Merged::Conflicts(collisions) => {
                self.conflicts += 1;
                let own = |text: &str| Some(text.to_owned());
                Err(conflict(own(ours), own(theirs), own(yours), collisions))
            }
        }
    }

    fn revert(
        &mut self,
        to: u64,
        mut by: Attribution,
        key: Option<Key>,
    ) -> Result<Accepted, Error> {
        let newest = self.there()?.clone();
        let text = self.text(to)?;
        if text == newest.text {
            return Ok(unchanged(&newest));
        }
        if by.summary.is_empty() {
            by.summary = format!("back to revision {to}");
        }
        let (kind, media_type) = (Kind::Revert, newest.media_type);
        let draft = Draft { kind, base: Some(to), merged: false, media_type, text };
        Ok(self.make(draft, by, key))
    }

    /// What was answered to the same change before.
    fn replay(&self, key: &Key) -> Result<Option<Accepted>, Error> {
        let made =
            self.made.iter().find(|it| it.head.key.as_ref().is_some_and(|it| it.key == key.key));
        let known = match (made, self.keys.get(&key.key)) {
            (Some(made), _) => {
                let before = made.head.key.as_ref().map(|key| key.fingerprint);
                (before, Some(made.head.revision.clone()))
            }
            (None, Some((fingerprint, revision))) => {
                (Some(fingerprint), self.log.read_head(revision).map(|head| head.revision))
            }
            (None, None) => return Ok(None),
        };
        match known {
            (Some(fingerprint), Some(revision)) if fingerprint == key.fingerprint => {
                let revision = Arc::new(revision);
                Ok(Some(Accepted { revision, change: Change::Replayed }))
            }
            (Some(fingerprint), None) if fingerprint == key.fingerprint => Ok(None),
            _ => Err(Error::KeyReused),
        }
    }

    fn condition(&self, condition: &Condition) -> Result<(), Error> {
        let newest = self.newest.as_ref().map(|newest| newest.revision.revision);
        if condition.holds(newest) { Ok(()) } else { Err(Error::ConditionFailed(newest)) }
    }

    fn there(&self) -> Result<&Newest, Error> {
        self.newest.as_ref().ok_or_else(|| Error::NotFound(self.name.clone()))
    }

    fn fits(&self, text: &[u8], media_type: MediaType) -> Result<(), Error> {
        if text.len() > self.bytes_max {
            return Err(Error::TooLarge(self.bytes_max));
        }
        match from_utf8(text) {
            Err(error) if media_type.is_text() => Err(Error::NotUtf8(error.valid_up_to())),
            _ => Ok(()),
        }
    }

    /// The text of a revision, be it about to be written.
    fn text(&self, revision: u64) -> Result<Bytes, Error> {
        let made = self.made.iter().find(|made| made.head.revision.revision == revision);
        if let Some(made) = made {
            return Ok(made.text.clone());
        }
        let newest = self.newest.as_ref().filter(|it| it.revision.revision == revision);
        if let Some(newest) = newest {
            return Ok(newest.text.clone());
        }
        self.log.read(revision).map(|(_, text)| text).ok_or_else(|| {
            let (oldest, newest) = self.log.range().unwrap_or_default();
            let newest = newest.max(self.last);
            Error::RevisionNotFound { name: self.name.clone(), revision, oldest, newest }
        })
    }

    fn make(&mut self, draft: Draft, by: Attribution, key: Option<Key>) -> Accepted {
        let Draft { kind, base, merged, media_type, text } = draft;
        self.last += 1;
        let revision = Revision {
            revision: self.last,
            parent: self.newest.as_ref().map(|newest| newest.revision.revision),
            base,
            kind,
            author: by.author,
            verified: by.verified,
            summary: by.summary,
            time_ms: self.time_ms,
            merged,
            bytes: text.len() as u64,
            media_type: media_type.essence().to_owned(),
        };
        let zstd = packed(&text);
        let head = Head { revision, in_file: self.in_file, key, zstd: zstd.is_some() };
        let record = record::encode(&head, zstd.as_ref().unwrap_or(&text));
        let revision = Arc::new(head.revision.clone());
        self.newest =
            Some(Newest { revision: revision.clone(), media_type, text: text.clone(), zstd });
        self.made.push(Made { head, text, record });
        Accepted { revision, change: Change::Made }
    }
}

fn unchanged(newest: &Newest) -> Accepted {
    Accepted { revision: newest.revision.clone(), change: Change::Unchanged }
}

/// Idempotency keys of a document; of more than [`KEYS_MAX`] the oldest are forgotten.
#[derive(Default)]
pub(crate) struct Keys {
    by_key: HashMap<String, ([u8; 32], u64)>,
    /// In the order in which they came.
    order: std::collections::VecDeque<String>,
}

/// Keys remembered for each document.
const KEYS_MAX: usize = 10_000;

impl Keys {
    pub(crate) fn insert(&mut self, head: &Head) {
        if head.revision.kind == Kind::Delete {
            *self = Self::default();
            return;
        }
        let Some(Key { key, fingerprint }) = &head.key else { return };
        self.by_key.insert(key.clone(), (*fingerprint, head.revision.revision));
        self.order.push_back(key.clone());
        if self.order.len() > KEYS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_key.remove(&oldest);
        }
    }

    fn get(&self, key: &str) -> Option<([u8; 32], u64)> {
        self.by_key.get(key).copied()
    }
}
