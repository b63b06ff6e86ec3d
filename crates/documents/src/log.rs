//! The revisions of one document on disk: records one behind the other, in files of bounded size
//! named by the first revision they hold. Decides nothing about what is accepted.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};

use crate::disk::{Disk, Fault, SharedDisk};
use crate::record::{self, Head};

/// A file that has as much is not continued.
const SEGMENT_BYTES_MAX: u64 = 64 << 20;
/// Nor one that holds as many.
const SEGMENT_REVISIONS_MAX: u64 = 10_000;
/// The newest of these are kept at least; files that hold only older ones are removed.
const REVISIONS_KEPT: u64 = 100_000;
/// The most that a file can have: what is appended together is bounded by what waits.
const SEGMENT_READ_BYTES_MAX: usize = 1 << 30;

/// The records of one document.
pub(crate) struct Log {
    disk: SharedDisk,
    folder: PathBuf,
    /// What has been acknowledged.
    index: RwLock<Index>,
    /// Where the next record goes; held by the one who writes.
    end: Mutex<Option<End>>,
}

#[derive(Default)]
struct Index {
    /// Their numbers have no gaps, from the first one on.
    places: VecDeque<Place>,
    first: u64,
}

#[derive(Clone, Copy)]
struct Place {
    /// The first revision of its file.
    segment: u64,
    offset: u64,
    bytes: usize,
}

#[derive(Clone, Copy, Debug)]
struct End {
    /// The first revision of the last file.
    segment: u64,
    /// How much of it is whole records.
    bytes: u64,
}

/// What was appended, until it is acknowledged or undone.
pub(crate) struct Appended {
    places: Vec<Place>,
    before: Option<End>,
}

/// The log cannot be read.
#[derive(Debug)]
pub(crate) struct Damaged(pub(crate) String);

impl Log {
    /// Reads what is there; each whole record is shown to `see`. What a crash left of a record is cut
    /// off.
    pub(crate) fn open(
        disk: SharedDisk,
        folder: PathBuf,
        mut see: impl FnMut(&Head, &[u8]),
    ) -> Result<Self, Damaged> {
        let mut index = Index::default();
        let mut end = None;
        let segments = segments(&*disk, &folder).map_err(|error| Damaged(error.to_string()))?;
        let last = segments.last().copied();
        for segment in segments {
            let path = path(&folder, segment);
            let bytes = disk
                .read(&path, SEGMENT_READ_BYTES_MAX)
                .map_err(|error| Damaged(format!("{}: {error}", path.display())))?;
            let whole = index.read(segment, &bytes, &mut see)?;
            if whole < bytes.len() {
                if last != Some(segment) || record::has_record(&bytes[whole..]) {
                    return Err(Damaged(format!("{} is damaged at {whole}", path.display())));
                }
                disk.cut(&path, whole as u64).map_err(|fault| Damaged(format!("{fault:?}")))?;
            }
            end = Some(End { segment, bytes: whole as u64 });
        }
        Ok(Self { disk, folder, index: RwLock::new(index), end: Mutex::new(end) })
    }

    /// The oldest and the newest revision there are.
    pub(crate) fn range(&self) -> Option<(u64, u64)> {
        let index = self.index.read();
        let newest = index.first + (index.places.len() as u64).checked_sub(1)?;
        Some((index.first, newest))
    }

    /// A revision and its text.
    pub(crate) fn read(&self, revision: u64) -> Option<(Head, Bytes)> {
        let place = self.index.read().place(revision)?;
        let path = path(&self.folder, place.segment);
        let bytes = self.disk.read_at(&path, place.offset, place.bytes).ok()?;
        let (head, text, _) = record::decode(&bytes)?;
        let text = record::unpack(&head, text)?;
        Some((head, text.into()))
    }

    /// What a revision is, without its text, which is not even read; the sum over both was checked
    /// when the log was opened, or written since.
    pub(crate) fn read_head(&self, revision: u64) -> Option<Head> {
        let place = self.index.read().place(revision)?;
        let path = path(&self.folder, place.segment);
        let bytes = place.bytes.min(record::HEAD_WITHIN_BYTES);
        let bytes = self.disk.read_at(&path, place.offset, bytes).ok()?;
        record::decode_head(&bytes).filter(|head| head.revision.revision == revision)
    }

    /// Appends records, the first of which is of revision `first`; when this returns they are
    /// durable. They are not found before they are acknowledged.
    pub(crate) fn append(
        &self,
        first: u64,
        records: &[Vec<u8>],
        in_new_file: bool,
    ) -> Result<Appended, Fault> {
        let mut end = self.end.lock();
        let before = *end;
        let goes_on = before.filter(|end| !in_new_file && !end.is_full(first));
        let (segment, offset) = match goes_on {
            Some(end) => (end.segment, end.bytes),
            None => (first, 0),
        };
        let bytes = records.concat();
        let path = path(&self.folder, segment);
        if goes_on.is_some() {
            self.disk.append(&path, offset, &bytes).inspect_err(|fault| {
                self.tidy(fault, || self.disk.cut(&path, offset));
            })?;
        } else {
            let written = self.disk.make_folder(&self.folder);
            let written = written.and_then(|()| self.disk.write(&path, &bytes));
            written.and_then(|_| self.disk.sync_folder(&self.folder)).inspect_err(|fault| {
                self.tidy(fault, || self.disk.remove(&path).map_err(Fault::Refused));
            })?;
        }
        let mut at = offset;
        let places = records.iter().map(|record| {
            let place = Place { segment, offset: at, bytes: record.len() };
            at += record.len() as u64;
            place
        });
        let places = places.collect();
        *end = Some(End { segment, bytes: at });
        Ok(Appended { places, before })
    }

    /// Takes away what a refused write has left. If that fails, the next record is written over it,
    /// and what still sticks out is a torn end.
    fn tidy(&self, fault: &Fault, tidy: impl Fn() -> Result<(), Fault>) {
        if let (Fault::Refused(_), Err(error)) = (fault, tidy()) {
            tracing::warn!(?error, folder = %self.folder.display(), "failed to tidy up a log");
        }
    }

    /// What was appended counts from now on.
    pub(crate) fn acknowledge(&self, first: u64, appended: Appended) {
        let mut index = self.index.write();
        if index.places.is_empty() {
            index.first = first;
        }
        index.places.extend(appended.places);
    }

    /// What was appended never was.
    ///
    /// # Errors
    /// It cannot be taken back.
    pub(crate) fn undo(&self, appended: &Appended) -> Result<(), Fault> {
        let mut end = self.end.lock();
        let Some(place) = appended.places.first() else { return Ok(()) };
        let path = path(&self.folder, place.segment);
        if place.offset == 0 {
            self.disk.remove(&path).map_err(Fault::Unsynced)?;
            self.disk.sync_folder(&self.folder)?;
        } else {
            self.disk.cut(&path, place.offset).map_err(unsynced)?;
        }
        *end = appended.before;
        Ok(())
    }

    /// Removes files that hold nothing but revisions before `keep`.
    pub(crate) fn forget_before(&self, keep: u64) {
        let mut index = self.index.write();
        let segment = index.place(keep).map_or(0, |place| place.segment);
        let mut removed = Vec::new();
        while let Some(place) = index.places.front().filter(|place| place.segment < segment) {
            if removed.last() != Some(&place.segment) {
                removed.push(place.segment);
            }
            index.places.pop_front();
            index.first += 1;
        }
        drop(index);
        for segment in removed {
            // What stays is removed the next time, as it is older than what is kept then.
            if let Err(error) = self.disk.remove(&path(&self.folder, segment)) {
                tracing::warn!(%error, folder = %self.folder.display(), "failed to remove old revisions");
            }
        }
    }

    /// Removes what is older than need be.
    pub(crate) fn forget_old(&self) {
        let Some((oldest, newest)) = self.range() else { return };
        let keep = newest.saturating_sub(REVISIONS_KEPT - 1);
        if keep >= oldest + SEGMENT_REVISIONS_MAX {
            self.forget_before(keep);
        }
    }
}

impl End {
    fn is_full(&self, next: u64) -> bool {
        let revisions = next.saturating_sub(self.segment);
        self.bytes >= SEGMENT_BYTES_MAX || revisions >= SEGMENT_REVISIONS_MAX
    }
}

impl Index {
    fn place(&self, revision: u64) -> Option<Place> {
        let at = usize::try_from(revision.checked_sub(self.first)?).ok()?;
        self.places.get(at).copied()
    }

    /// Takes the whole records of a file in; how many bytes they are.
    fn read(
        &mut self,
        segment: u64,
        bytes: &[u8],
        see: &mut impl FnMut(&Head, &[u8]),
    ) -> Result<usize, Damaged> {
        let mut at = 0;
        while let Some((head, text, length)) = record::decode(&bytes[at..]) {
            let revision = head.revision.revision;
            if self.places.is_empty()
                || (at == 0 && revision > self.first + self.places.len() as u64)
            {
                // Of older files some were removed before a crash, and not all.
                self.places.clear();
                self.first = revision;
            }
            if revision != self.first + self.places.len() as u64 {
                return Err(Damaged(format!("revision {revision} is not in its place")));
            }
            self.places.push_back(Place { segment, offset: at as u64, bytes: length });
            see(&head, text);
            at += length;
        }
        Ok(at)
    }
}

fn unsynced(fault: Fault) -> Fault {
    match fault {
        Fault::Refused(error) | Fault::Unsynced(error) => Fault::Unsynced(error),
    }
}

fn path(folder: &Path, segment: u64) -> PathBuf {
    folder.join(format!("{segment:020}.log"))
}

/// The first revisions of the files there are, ascending.
fn segments(disk: &dyn Disk, folder: &Path) -> std::io::Result<Vec<u64>> {
    let names = disk.list(folder)?;
    let mut segments: Vec<u64> =
        names.iter().filter_map(|name| name.strip_suffix(".log")?.parse().ok()).collect();
    segments.sort_unstable();
    Ok(segments)
}
