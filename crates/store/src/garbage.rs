//! Removes artifacts that nothing names any more. One is kept while a version or a task names it,
//! and for as long as the caller says after it was last handed in.
//!
//! Why nothing is lost to somebody who names an artifact at that very moment:
//!
//! - Whoever comes to name an artifact hands it in first, or in the same transaction, which marks
//!   its row with the time; and a function that is deleted marks those of its versions, as a task
//!   may be about to be bound to one. So a row with an old mark has nobody on the way to it, and
//!   what named it when the search began is all that can. The row is deleted only if its mark is
//!   still old, which the writer's own transaction decides.
//! - A file is removed only after its row's end is durable, and no file is handed in between the
//!   two: an upload holds [`Uploads`] shared from looking whether the file is there until its row
//!   is durable, and removing holds it alone.
//! - A crash between the two leaves a file without a row, as does one between an upload's file and
//!   its row. Such files are found by walking through the folders.
//! - Somebody who copies the data directory holds [`directory::Copying`], and nothing is removed
//!   meanwhile: the copy of the database may name what the database itself no longer does.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use runabout_protocol::Digest;
use rusqlite::{Connection, OptionalExtension, Result, params};

use crate::artifacts::blocking;
use crate::columns::millis;
use crate::files::Found;
use crate::retention::Step;
use crate::{Error, Store, directory};

/// For how long an artifact is kept that nothing names, after it was last handed in.
pub const KEPT_UNNAMED: Duration = Duration::from_secs(24 * 60 * 60);

/// Held shared by uploads of files, and alone while files are removed.
pub(crate) type Uploads = tokio::sync::RwLock<()>;

/// Rows that one step looks at.
const STEP_ROWS: i64 = 2_000;

/// Artifacts that one step removes, and uploads wait for.
const STEP_REMOVES: usize = 100;

/// Artifacts that one collection removes at most; the next one finds the others.
const CANDIDATES_MAX: usize = 50_000;

/// One search for artifacts that nothing names, made of steps.
#[derive(Debug)]
pub struct Collection {
    /// Only what was handed in before may go.
    before: Timestamp,
    phase: Phase,
    candidates: HashSet<Digest>,
    /// Where to look on, if there were more than can be looked at together.
    unread_after: Option<Digest>,
}

#[derive(Debug)]
enum Phase {
    /// Through the artifacts, for old ones that no version names.
    Artifacts {
        after: Digest,
    },
    /// Through the tasks, which spare what they name. There is no index of that: it would be paid
    /// for with every task, and this is done seldom.
    Tasks {
        after: i64,
    },
    /// The rows and files of what is left.
    Removing,
    /// Through the folders, for files without a row.
    Files {
        folder: u8,
    },
    Done,
}

impl Collection {
    /// Begins one that removes nothing that was handed in at `before` or later.
    pub fn new(before: Timestamp) -> Self {
        let phase = Phase::Artifacts { after: Digest([0; 32]) };
        Self { before, phase, candidates: HashSet::new(), unread_after: None }
    }

    /// Does some of the work.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::Failed`], or a file could not be removed.
    pub async fn step(&mut self, store: &Store) -> Result<Step, Error> {
        let before = millis(self.before);
        let mut removed = 0;
        self.phase = match self.phase {
            Phase::Artifacts { after } => {
                let found = store.read(move |db| unnamed_by_versions(db, after, before)).await?;
                self.candidates.extend(found.unnamed);
                match found.last {
                    Some(after) if self.candidates.len() < CANDIDATES_MAX => {
                        Phase::Artifacts { after }
                    }
                    _ if self.candidates.is_empty() => Phase::Files { folder: 0 },
                    more => {
                        self.unread_after = more;
                        Phase::Tasks { after: 0 }
                    }
                }
            }
            Phase::Tasks { after } => {
                let (named, last) = store.read(move |db| named_by_tasks(db, after)).await?;
                self.candidates.retain(|digest| !named.contains(digest));
                last.map_or(Phase::Removing, |after| Phase::Tasks { after })
            }
            Phase::Removing if self.candidates.is_empty() => match self.unread_after.take() {
                Some(after) => Phase::Artifacts { after },
                None => Phase::Files { folder: 0 },
            },
            Phase::Removing => {
                let some: Vec<_> = self.candidates.iter().copied().take(STEP_REMOVES).collect();
                self.candidates.retain(|digest| !some.contains(digest));
                removed = store.remove_artifacts(some, before).await?;
                Phase::Removing
            }
            Phase::Files { folder } => {
                removed = store.remove_orphans(folder, self.before).await?;
                folder.checked_add(1).map_or(Phase::Done, |folder| Phase::Files { folder })
            }
            Phase::Done => Phase::Done,
        };
        Ok(Step { removed, more: !matches!(self.phase, Phase::Done) })
    }
}

impl Store {
    async fn remove_artifacts(&self, digests: Vec<Digest>, before: i64) -> Result<u64, Error> {
        let _alone = self.uploads().write().await;
        let Some(_still) = self.nobody_copies()? else { return Ok(0) };
        let deleted = self.write(move |db| delete_rows(db, &digests, before)).await?;
        let removed = deleted.len() as u64;
        let with_files = deleted.into_iter().filter(|it| it.is_file).map(|it| it.digest);
        let (files, with_files) = (self.files().clone(), with_files.collect::<Vec<_>>());
        let remove = move || with_files.into_iter().try_for_each(|digest| files.remove(digest));
        blocking("remove artifacts", remove).await?;
        Ok(removed)
    }

    /// Removes files of one folder that are older than `before` and have no row.
    async fn remove_orphans(&self, folder: u8, before: Timestamp) -> Result<u64, Error> {
        let before = SystemTime::from(before);
        let files = self.files().clone();
        let found = blocking("look through artifacts", move || files.old(folder, before)).await?;
        if found.is_empty() {
            return Ok(0);
        }
        let _alone = self.uploads().write().await;
        let Some(_still) = self.nobody_copies()? else { return Ok(0) };
        let orphans = self.read(move |db| without_a_row(db, found)).await?;
        let count = orphans.len() as u64;
        let files = self.files().clone();
        let remove = move || orphans.iter().try_for_each(|orphan| files.remove_found(orphan));
        blocking("remove files without an artifact", remove).await?;
        Ok(count)
    }

    fn nobody_copies(&self) -> Result<Option<directory::Still>, Error> {
        directory::Copying::try_alone(self.data_dir())
            .map_err(|error| Error::io("look whether the data directory is being copied", &error))
    }
}

struct Unnamed {
    unnamed: Vec<Digest>,
    /// The last one that was looked at, if there may be more.
    last: Option<Digest>,
}

fn unnamed_by_versions(db: &Connection, after: Digest, before: i64) -> Result<Unnamed> {
    let sql = "SELECT digest, stored_ms < ?2 AND NOT EXISTS
             (SELECT 1 FROM versions WHERE versions.digest = artifacts.digest)
         FROM artifacts WHERE digest > ?1 ORDER BY digest LIMIT ?3";
    let mut statement = db.prepare_cached(sql)?;
    let mut rows = statement.query(params![after.0, before, STEP_ROWS])?;
    let mut found = Unnamed { unnamed: Vec::new(), last: None };
    while let Some(row) = rows.next()? {
        let digest = Digest(row.get(0)?);
        if row.get(1)? {
            found.unnamed.push(digest);
        }
        found.last = Some(digest);
    }
    Ok(found)
}

fn named_by_tasks(db: &Connection, after: i64) -> Result<(HashSet<Digest>, Option<i64>)> {
    let sql = "SELECT number, digest FROM tasks WHERE number > ?1 ORDER BY number LIMIT ?2";
    let mut statement = db.prepare_cached(sql)?;
    let mut rows = statement.query([after, STEP_ROWS])?;
    let (mut named, mut last) = (HashSet::new(), None);
    while let Some(row) = rows.next()? {
        last = Some(row.get(0)?);
        named.insert(Digest(row.get(1)?));
    }
    Ok((named, last))
}

struct Deleted {
    digest: Digest,
    is_file: bool,
}

fn delete_rows(db: &Connection, digests: &[Digest], before: i64) -> Result<Vec<Deleted>> {
    let sql = "DELETE FROM artifacts WHERE digest = ?1 AND stored_ms < ?2
             AND NOT EXISTS (SELECT 1 FROM versions WHERE versions.digest = artifacts.digest)
         RETURNING bytes IS NULL";
    let mut statement = db.prepare_cached(sql)?;
    let mut deleted = Vec::new();
    for digest in digests {
        let is_file = statement.query_row(params![digest.0, before], |row| row.get(0));
        deleted.extend(is_file.optional()?.map(|is_file| Deleted { digest: *digest, is_file }));
    }
    Ok(deleted)
}

fn without_a_row(db: &Connection, mut found: Vec<Found>) -> Result<Vec<Found>> {
    let mut statement = db.prepare_cached("SELECT 1 FROM artifacts WHERE digest = ?1")?;
    let mut named = HashSet::new();
    for digest in found.iter().filter_map(|found| found.digest) {
        if statement.query_row([digest.0], |_| Ok(())).optional()?.is_some() {
            named.insert(digest);
        }
    }
    found.retain(|found| found.digest.is_none_or(|digest| !named.contains(&digest)));
    Ok(found)
}
