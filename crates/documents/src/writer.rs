//! Makes changes of one document durable, in this order: the revisions into the log, synced; the
//! newest text into a file beside the document's, synced; that one into its place; the folder
//! synced; and only then are readers and those who wait told.
//!
//! Changes that wait together share these steps: each becomes a revision of its own, and the file is
//! replaced once, by the newest. Nothing is told of any of them before all of it is durable.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::str::from_utf8;
use std::sync::Arc;

use bytes::Bytes;

use crate::current::Current;
use crate::disk::{Fault, Stamp};
use crate::document::{Document, Job};
use crate::shared::{Work, now_ms};
use crate::turn::{Beginning, Keys, Newest, Turn};
use crate::{Error, Kind, MediaType};

/// How often a file that changes while it is read is read again.
const READS_MAX: usize = 8;

/// How often a file is written by hand while one change is made durable, at most; what comes later is
/// lost.
const HANDS_MAX: usize = 64;

/// What the writer of a document knows; only one thread at a time has it.
#[derive(Default)]
pub(crate) struct Writer {
    /// `None` where there is no document.
    pub(crate) newest: Option<Newest>,
    /// The highest number given out.
    pub(crate) last: u64,
    /// The revision in the file.
    pub(crate) in_file: Option<u64>,
    /// The file as it was left; `None` where there is none, or its text is not known.
    pub(crate) stamp: Option<Stamp>,
    pub(crate) keys: Keys,
}

/// What the file holds that is not ours.
pub(crate) struct ByHand {
    pub(crate) text: Bytes,
    pub(crate) media_type: MediaType,
    pub(crate) stamp: Stamp,
}

impl Writer {
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    pub(crate) fn stamp(&self) -> Option<Stamp> {
        self.stamp
    }

    /// Does these jobs and answers each.
    pub(crate) fn work(&mut self, document: &Document, jobs: Vec<Job>) {
        let hint = jobs.iter().find_map(|job| match job {
            Job::Look(media_type) => Some(*media_type),
            Job::Change { .. } => None,
        });
        let mut replies = Vec::with_capacity(jobs.len());
        // Broken off at some step, it is not known what is on the disk, as after a failed sync. The
        // thread lives on, for other documents and to answer those who still come to this one.
        let tried =
            catch_unwind(AssertUnwindSafe(|| self.try_work(document, hint, jobs, &mut replies)));
        let result = tried.unwrap_or_else(|panic| Err(broken_off(&*panic)));
        // Before anybody hears of it.
        match &result {
            Ok(()) => {}
            Err(Error::ReadOnly(why)) => {
                if document.read_only.set(why.clone()).is_ok() {
                    tracing::error!(document = %document.name, why, "the document is read-only");
                }
            }
            Err(error) => tracing::warn!(document = %document.name, %error, "nothing was written"),
        }
        for (reply, answer) in replies {
            // Whoever asked may have gone; what was done stands all the same.
            drop(reply.send(match &result {
                Ok(()) => answer,
                Err(error) => Err(error.clone()),
            }));
        }
    }

    fn try_work(
        &mut self,
        document: &Document,
        hint: Option<MediaType>,
        jobs: Vec<Job>,
        replies: &mut Vec<Reply>,
    ) -> Result<(), Error> {
        let mut changes = Vec::with_capacity(jobs.len());
        for job in jobs {
            if let Job::Change { request, reply, .. } = job {
                changes.push(request);
                // Until it is known better, for the ways out below.
                replies.push((reply, Err(Error::Busy)));
            }
        }
        if let Some(why) = document.read_only.get() {
            return Err(Error::ReadOnly(why.clone()));
        }
        let by_hand = self.look(document, hint)?;
        let (last, newest) = (self.last, self.newest.clone());
        let keys = std::mem::take(&mut self.keys);
        let beginning = Beginning {
            name: &document.name,
            log: &document.log,
            keys: &keys,
            in_file: self.in_file,
            last,
            newest,
            bytes_max: document.shared.limits.document_bytes,
            time_ms: now_ms(),
        };
        let mut turn = Turn::begin(beginning);
        let mut in_file = self.newest.as_ref().map(|it| (it.revision.revision, it.text.clone()));
        let mut in_place = None;
        if let Some(ByHand { text, media_type, stamp }) = by_hand {
            turn.take_by_hand(text.clone(), media_type, None);
            in_place = Some(stamp);
            in_file = Some((turn.last(), text));
        }
        for (change, (_, answer)) in changes.into_iter().zip(replies.iter_mut()) {
            *answer = turn.take(change);
        }
        document.shared.counts.merges(turn.merges, turn.conflicts);
        let (last, made, newest) = (turn.last(), turn.made, turn.newest);
        self.keys = keys;
        let swapped_out = self.commit(document, Done { made, newest, last, in_file, in_place })?;
        self.take_swapped_out(document, swapped_out)
    }

    /// Looks whether the file was changed by hand.
    pub(crate) fn look(
        &mut self,
        document: &Document,
        hint: Option<MediaType>,
    ) -> Result<Option<ByHand>, Error> {
        match &self.newest {
            Some(newest) => {
                let (media_type, text) = (newest.media_type, newest.text.clone());
                let found = self.look_at(document, media_type, Some(&text))?;
                if found.is_none() && self.stamp.is_none() && hint.is_some() {
                    // It is gone. Deleting is asked for over the API, so it comes back.
                    self.install(document, &text, media_type, None)?;
                }
                Ok(found)
            }
            None => {
                for media_type in MediaType::every() {
                    if let Some(found) = self.look_at(document, media_type, None)? {
                        return Ok(Some(found));
                    }
                }
                Ok(None)
            }
        }
    }

    fn look_at(
        &mut self,
        document: &Document,
        media_type: MediaType,
        known: Option<&Bytes>,
    ) -> Result<Option<ByHand>, Error> {
        let path = document.file(media_type);
        let failed = |error| Error::io(format!("look at {}", path.display()), &error);
        let disk = &document.shared.disk;
        let bytes_max = document.shared.limits.document_bytes;
        for _ in 0..READS_MAX {
            let Some(stamp) = disk.stamp(&path).map_err(failed)? else {
                if known.is_some() {
                    self.stamp = None;
                }
                return Ok(None);
            };
            if known.is_some() && self.stamp == Some(stamp) {
                return Ok(None);
            }
            if !stamp.is_file {
                return Err(Error::FileUnusable("is no regular file".to_owned()));
            }
            if stamp.bytes > bytes_max as u64 {
                let why = format!("has {} bytes, more than {bytes_max}", stamp.bytes);
                return Err(Error::FileUnusable(why));
            }
            let text = Bytes::from(disk.read(&path, bytes_max).map_err(failed)?);
            if disk.stamp(&path).map_err(failed)? != Some(stamp) {
                continue;
            }
            if known == Some(&text) {
                self.stamp = Some(stamp);
                return Ok(None);
            }
            if media_type.is_text() && from_utf8(&text).is_err() {
                return Err(Error::FileUnusable("is not UTF-8".to_owned()));
            }
            return Ok(Some(ByHand { text, media_type, stamp }));
        }
        Err(Error::FileUnusable("changes all the time".to_owned()))
    }

    /// Makes a turn durable and tells of it. Gives back what was in the file's place if that was not
    /// what we had left there: somebody changed it in that very moment.
    fn commit(&mut self, document: &Document, turn: Done) -> Result<Option<SwappedOut>, Error> {
        let Done { made, newest, last, in_file, in_place } = turn;
        let (Some(first), Some(end)) = (made.first(), made.last()) else { return Ok(None) };
        let first = first.head.revision.revision;
        let is_deleted = end.head.revision.kind == Kind::Delete;
        let records: Vec<Vec<u8>> = made.iter().map(|made| made.record.clone()).collect();
        let appended = document.log.append(first, &records, is_deleted).map_err(failed)?;
        let stamp_before = self.stamp;
        self.stamp = in_place.or(self.stamp);
        let is_in_place = in_place.is_some() && made.len() == 1;
        let replaced = match &newest {
            None => self.uninstall(document).map(|()| None),
            Some(_) if is_in_place => Ok(None),
            Some(newest) => self.install(document, &newest.text, newest.media_type, in_file),
        };
        let swapped_out = match replaced {
            Ok(swapped_out) => swapped_out,
            Err(error) => {
                // A change by hand is noticed once more.
                self.stamp = stamp_before;
                if !matches!(error, Error::ReadOnly(_)) {
                    document.log.undo(&appended).map_err(failed)?;
                }
                return Err(error);
            }
        };
        document.log.acknowledge(first, appended);
        for made in &made {
            self.keys.insert(&made.head);
        }
        self.last = last;
        self.in_file = newest.as_ref().map(|newest| newest.revision.revision);
        self.newest = newest;
        self.publish(document);
        for made in made {
            document.shared.tell(&document.name, &made.head.revision);
        }
        if is_deleted {
            document.log.forget_before(last);
        } else {
            document.log.forget_old();
        }
        Ok(swapped_out)
    }

    /// Puts a text into the file.
    pub(crate) fn install(
        &mut self,
        document: &Document,
        text: &Bytes,
        media_type: MediaType,
        in_file: Option<(u64, Bytes)>,
    ) -> Result<Option<SwappedOut>, Error> {
        let disk = &document.shared.disk;
        let (beside, path) = (document.beside(), document.file(media_type));
        let refused = |error| failed(Fault::Refused(error));
        disk.remove(&beside).map_err(refused)?;
        let stamp = match disk.write(&beside, text) {
            Ok(stamp) => stamp,
            Err(fault) => {
                // Whether that works or not, it is written anew before it is used.
                let _ = disk.remove(&beside);
                return Err(failed(fault));
            }
        };
        let is_exchanged = disk.exchange(&beside, &path).map_err(refused)?;
        let swapped_out = if is_exchanged { self.swapped_out(document, in_file) } else { None };
        self.stamp = Some(stamp);
        disk.sync_folder(&document.shared.root).map_err(failed)?;
        if swapped_out.is_none()
            && let Err(error) = disk.remove(&beside)
        {
            tracing::debug!(%error, "failed to remove a replaced file; the next write does");
        }
        Ok(swapped_out)
    }

    /// What was in the file's place, if it is not what we had left there.
    fn swapped_out(
        &self,
        document: &Document,
        in_file: Option<(u64, Bytes)>,
    ) -> Option<SwappedOut> {
        let disk = &document.shared.disk;
        let beside = document.beside();
        if disk.stamp(&beside).ok().flatten() == self.stamp && self.stamp.is_some() {
            return None;
        }
        let text = disk.read(&beside, document.shared.limits.document_bytes).ok()?;
        let is_ours = in_file.as_ref().is_some_and(|(_, known)| *known == text);
        (!is_ours).then(|| SwappedOut { text: text.into(), base: in_file.map(|(base, _)| base) })
    }

    /// Takes in what was changed by hand while a newer text was on its way to the file, and what was
    /// changed once more while that was taken in.
    pub(crate) fn take_swapped_out(
        &mut self,
        document: &Document,
        mut found: Option<SwappedOut>,
    ) -> Result<(), Error> {
        for _ in 0..HANDS_MAX {
            let Some(swapped_out) = found else { return Ok(()) };
            found = self.take_one_swapped_out(document, swapped_out)?;
        }
        if found.is_some() {
            tracing::warn!(document = %document.name, "the file is written by hand all the time");
        }
        Ok(())
    }

    fn take_one_swapped_out(
        &mut self,
        document: &Document,
        found: SwappedOut,
    ) -> Result<Option<SwappedOut>, Error> {
        let SwappedOut { text, base } = found;
        let Some(newest) = self.newest.clone() else { return Ok(None) };
        if newest.media_type.is_text() && from_utf8(&text).is_err() {
            tracing::warn!(document = %document.name, "a change by hand is no UTF-8; it is dropped");
            return Ok(None);
        }
        let in_file = Some((newest.revision.revision, newest.text.clone()));
        let keys = std::mem::take(&mut self.keys);
        let mut turn = Turn::begin(Beginning {
            name: &document.name,
            log: &document.log,
            keys: &keys,
            in_file: self.in_file,
            last: self.last,
            newest: Some(newest.clone()),
            bytes_max: document.shared.limits.document_bytes,
            time_ms: now_ms(),
        });
        turn.take_by_hand(text, newest.media_type, base);
        let (last, made, newest) = (turn.last(), turn.made, turn.newest);
        self.keys = keys;
        self.commit(document, Done { made, newest, last, in_file, in_place: None })
    }

    fn uninstall(&mut self, document: &Document) -> Result<(), Error> {
        let Some(newest) = &self.newest else { return Ok(()) };
        let disk = &document.shared.disk;
        let refused = |error| failed(Fault::Refused(error));
        disk.remove(&document.file(newest.media_type)).map_err(refused)?;
        disk.sync_folder(&document.shared.root).map_err(failed)?;
        self.stamp = None;
        Ok(())
    }

    /// Shows readers the newest text.
    pub(crate) fn publish(&self, document: &Document) {
        let current = self.newest.as_ref().map(|newest| {
            let Newest { revision, media_type, text, zstd } = newest.clone();
            Arc::new(Current::with(zstd, revision, media_type, text))
        });
        let after = current.as_ref().map_or(0, |current| current.memory_bytes());
        let left = current.clone().filter(|current| current.is_compression_left());
        let before = document.current.swap(current);
        let before = before.map_or(0, |current| current.memory_bytes());
        document.shared.grown(before, after);
        document.latest.send_replace(self.last);
        if let Some(current) = left {
            document.shared.hand_over(Work::Compress(current));
        }
    }
}

/// What a turn has come to.
struct Done {
    made: Vec<crate::turn::Made>,
    newest: Option<Newest>,
    last: u64,
    /// What the file holds before it is replaced, and its revision.
    in_file: Option<(u64, Bytes)>,
    /// Set if the first of them was put into the file by hand.
    in_place: Option<Stamp>,
}

/// What was in the file's place when it was replaced, unknown to us.
pub(crate) struct SwappedOut {
    pub(crate) text: Bytes,
    /// The revision that it was made from, as far as is known.
    pub(crate) base: Option<u64>,
}

type Reply =
    (tokio::sync::oneshot::Sender<Result<crate::Accepted, Error>>, Result<crate::Accepted, Error>);

fn broken_off(panic: &(dyn Any + Send)) -> Error {
    let said = panic.downcast_ref::<String>().map(String::as_str);
    let said = said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason given");
    Error::ReadOnly(format!("writing it was broken off by a panic: {said}"))
}

fn failed(fault: Fault) -> Error {
    match fault {
        Fault::Refused(error) => Error::io("write a document", &error),
        Fault::Unsynced(error) => {
            Error::ReadOnly(format!("failed to sync it to the disk: {error}"))
        }
    }
}

impl Document {
    /// Its file.
    pub(crate) fn file(&self, media_type: MediaType) -> PathBuf {
        self.shared.root.join(format!("{}.{}", self.name, media_type.extension()))
    }

    /// What is about to become its file, and then what was it.
    pub(crate) fn beside(&self) -> PathBuf {
        self.shared.root.join(format!(".{}.new", self.name))
    }
}
