//! Copies a data directory, whether or not a node has it open. The copy is itself a data directory.
//!
//! The database is copied as it was at one moment, by a connection that only reads: the node goes
//! on writing meanwhile, only that its write-ahead log grows until the copy is made. Then every file
//! follows that the copied database names; nothing removes one meanwhile.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use runabout_protocol::Digest;
use rusqlite::{Connection, OpenFlags, params};
use tempfile::TempDir;

use crate::files::Files;
use crate::{Error, directory, schema};

/// How many steps of SQLite's lie between two reports of progress.
const REPORT_STEPS: std::ffi::c_int = 200_000;

/// What a backup copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Size of the database.
    pub database_bytes: u64,
    /// Artifacts that are files of their own.
    pub artifacts: u64,
    /// Their size.
    pub artifact_bytes: u64,
}

/// How far a backup is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Bytes written.
    pub bytes: u64,
    /// About how many there will be; more while a node writes, less where there were gaps.
    pub bytes_expected: u64,
}

/// Copies the data directory `from` to the new directory `to`, with those of `files` that are there
/// and with what `more` adds to the copy, which is told where that is. It is made beside `to` and gets
/// its name when all of it is on the disk; if anything fails, nothing is left of it. Blocks.
///
/// # Errors
/// There is no store in `from`, or one of a newer version; `to` is something already; there is no
/// room; `more` fails.
pub fn backup<T, E: From<Error>>(
    from: &Path,
    to: &Path,
    files: &[&str],
    more: impl FnOnce(&Path) -> Result<T, E>,
    report: impl FnMut(Progress) + Send + 'static,
) -> Result<(Copied, T), E> {
    let source = from.join("tasks.db");
    if !source.is_file() {
        let reason = "there is no tasks.db".to_owned();
        let doing = format!("find a store in {}", from.display());
        return Err(Error::Other { doing, reason }.into());
    }
    let doing = format!("copy to {}", to.display());
    let failed = |error: io::Error| Error::io(doing.clone(), &error);
    refuse_to_overwrite(to).map_err(failed)?;
    let parent = parent_of(to);
    fs::create_dir_all(&parent).map_err(failed)?;
    let name = to.file_name().unwrap_or_default().to_string_lossy();
    // It is removed again unless it gets its name.
    let unfinished = private_folder(&format!("{name}.unfinished-"), &parent).map_err(failed)?;

    let _still = directory::Copying::shared(from).map_err(failed)?;
    let database_bytes = copy_database(&source, unfinished.path(), report)?;
    let mut copied = Copied { database_bytes, ..Copied::default() };
    for digest in named_files(&unfinished.path().join("tasks.db"))? {
        copied.artifacts += 1;
        copied.artifact_bytes += copy_artifact(from, unfinished.path(), digest).map_err(failed)?;
    }
    for file in files.iter().filter(|file| from.join(file).is_file()) {
        copy(&from.join(file), &unfinished.path().join(file)).map_err(failed)?;
    }
    let added = more(unfinished.path())?;
    sync_folders(unfinished.path()).map_err(failed)?;
    fs::rename(unfinished.path(), to).map_err(failed)?;
    // It has another name now, and stays.
    drop(unfinished.keep());
    directory::sync(&parent).map_err(failed)?;
    Ok((copied, added))
}

/// A folder that nobody else may look into.
fn private_folder(prefix: &str, parent: &Path) -> io::Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(prefix);
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700));
    builder.tempdir_in(parent)
}

/// Renaming a folder replaces an empty one, and nothing else.
fn refuse_to_overwrite(to: &Path) -> io::Result<()> {
    match fs::read_dir(to) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(io::Error::other("it is there already, and not empty")),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn parent_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Writes what the database holds at this moment as a new one, without its gaps.
fn copy_database(
    source: &Path,
    folder: &Path,
    mut report: impl FnMut(Progress) + Send + 'static,
) -> Result<u64, Error> {
    let failed = |error| Error::opening(source, &error);
    let target = folder.join("tasks.db");
    let mut db = open_to_read(source).map_err(failed)?;
    schema::refuse_newer(&db, source)?;
    let pages: u64 = pragma(&db, "page_count").map_err(failed)?;
    let page_bytes: u64 = pragma(&db, "page_size").map_err(failed)?;
    let growing = target.clone();
    let told = move || {
        let bytes = fs::metadata(&growing).map_or(0, |found| found.len());
        report(Progress { bytes, bytes_expected: pages * page_bytes });
        false
    };
    db.progress_handler(REPORT_STEPS, Some(told)).map_err(failed)?;
    let path = target.to_string_lossy();
    let copied = db.execute("VACUUM INTO ?1", params![path]);
    copied.map_err(|error| Error::sqlite("copy the database", &error).while_copying(source))?;
    let failed = |error| Error::io("copy the database", &error);
    let file = File::open(&target).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    file.metadata().map(|found| found.len()).map_err(failed)
}

fn open_to_read(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    db.busy_timeout(std::time::Duration::from_secs(5))?;
    Ok(db)
}

fn pragma(db: &Connection, name: &str) -> rusqlite::Result<u64> {
    db.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).map(|value| value.max(0) as u64)
}

/// The artifacts that the database names and does not hold.
fn named_files(database: &Path) -> Result<Vec<Digest>, Error> {
    let read = || -> rusqlite::Result<Vec<Digest>> {
        let db = open_to_read(database)?;
        let mut statement = db.prepare("SELECT digest FROM artifacts WHERE bytes IS NULL")?;
        statement.query_map((), |row| row.get(0).map(Digest))?.collect()
    };
    read().map_err(|error| Error::sqlite("read the copied database", &error))
}

fn copy_artifact(from: &Path, to: &Path, digest: Digest) -> io::Result<u64> {
    let target = Files::new(to).path(digest);
    if let Some(folder) = target.parent() {
        directory::create(folder)?;
    }
    copy(&Files::new(from).path(digest), &target)
}

fn copy(from: &Path, to: &Path) -> io::Result<u64> {
    let bytes = fs::copy(from, to)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", from.display())))?;
    File::open(to)?.sync_all()?;
    Ok(bytes)
}

/// Makes the names durable: of what lies in a folder first, then the folder's own.
fn sync_folders(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_folders(&entry.path())?;
        }
    }
    directory::sync(folder)
}
