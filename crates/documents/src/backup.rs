//! Copies documents, whether or not a node has them open. The copy is itself a folder of documents.
//!
//! A node writes while this reads, so that a file and its history are copied at different moments.
//! The history is what counts: the file is written from its newest text. Only a file whose text is
//! nowhere in the history is copied as it is: it was changed by hand, and becomes a revision when a
//! node opens the copy.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::disk::{Fault, RealDisk, SharedDisk};
use crate::log::Log;
use crate::store::{REVISIONS, file, history_of};
use crate::{Error, Kind, Limits, MediaType, Name};

/// How often a history is copied that goes on meanwhile, until the file is found in it.
const TRIES_MAX: usize = 5;

/// What was copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Documents.
    pub documents: u64,
    /// Size of their files and histories.
    pub bytes: u64,
}

/// Copies the documents in `from` to the folder `to`, which is made. Blocks.
///
/// # Errors
/// A history is damaged, or there is no room.
pub fn backup(from: &Path, to: &Path) -> Result<Copied, Error> {
    let mut copied = Copied::default();
    if !from.is_dir() {
        return Ok(copied);
    }
    let doing = || format!("copy the documents to {}", to.display());
    let failed = |error: io::Error| Error::io(doing(), &error);
    let faulty = |fault: Fault| match fault {
        Fault::Refused(error) | Fault::Unsynced(error) => Error::io(doing(), &error),
    };
    let disk: SharedDisk = Arc::new(RealDisk::new(Arc::default()));
    fs::create_dir_all(to.join(REVISIONS)).map_err(failed)?;
    let mut names: Vec<Name> = disk
        .list(&from.join(REVISIONS))
        .map_err(failed)?
        .iter()
        .filter_map(|name| name.parse().ok())
        .collect();
    let files = disk.list(from).map_err(failed)?;
    names.extend(files.iter().filter_map(|name| file(name)).map(|(name, _)| name));
    names.sort();
    names.dedup();
    for name in names {
        copied.bytes += copy(&disk, from, to, &name)?;
        copied.documents += 1;
    }
    for folder in [to.join(REVISIONS), to.to_owned()] {
        disk.sync_folder(&folder).map_err(faulty)?;
    }
    Ok(copied)
}

fn copy(disk: &SharedDisk, from: &Path, to: &Path, name: &Name) -> Result<u64, Error> {
    let failed = |error: io::Error| Error::io(format!("copy the document {name}"), &error);
    let mut tries = 0;
    let (mut bytes, file) = loop {
        tries += 1;
        let found = found(disk, from, name).map_err(failed)?;
        let bytes = copy_history(disk, from, to, name).map_err(failed)?;
        let (newest, is_known) = read(disk, to, name, found.as_ref().map(|(_, text)| &**text))?;
        if !is_known && tries < TRIES_MAX {
            continue;
        }
        let file = match (newest, found) {
            // By hand.
            (_, Some(found)) if !is_known => Some(found),
            (Newest::Text(media_type, text), _) => Some((media_type, text)),
            (Newest::Deleted, _) | (Newest::None, None) => None,
            (Newest::None, found) => found,
        };
        break (bytes, file);
    };
    if let Some((media_type, text)) = file {
        let path = to.join(format!("{name}.{}", media_type.extension()));
        fs::write(&path, &text).and_then(|()| File::open(&path)?.sync_all()).map_err(failed)?;
        bytes += text.len() as u64;
    }
    Ok(bytes)
}

/// The document's file.
fn found(disk: &SharedDisk, from: &Path, name: &Name) -> io::Result<Option<(MediaType, Vec<u8>)>> {
    for media_type in MediaType::every() {
        let path = from.join(format!("{name}.{}", media_type.extension()));
        if disk.stamp(&path)?.is_some_and(|stamp| stamp.is_file) {
            match disk.read(&path, Limits::default().document_bytes) {
                Ok(text) => return Ok(Some((media_type, text))),
                // Too large to be a text of it: no node has taken it in.
                Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(None)
}

fn copy_history(disk: &SharedDisk, from: &Path, to: &Path, name: &Name) -> io::Result<u64> {
    let (source, target) = (history_of(from, name), history_of(to, name));
    fs::create_dir_all(&target)?;
    let mut bytes = 0;
    for file in disk.list(&source)?.iter().filter(|file| file.ends_with(".log")) {
        match fs::copy(source.join(file), target.join(file)) {
            Ok(copied) => bytes += copied,
            // The oldest revisions may go meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        }
        File::open(target.join(file))?.sync_all()?;
    }
    File::open(&target)?.sync_all()?;
    Ok(bytes)
}

enum Newest {
    Text(MediaType, Vec<u8>),
    Deleted,
    None,
}

/// The newest text of a copied history, and whether the history has this text anywhere.
fn read(
    disk: &SharedDisk,
    to: &Path,
    name: &Name,
    wanted: Option<&[u8]>,
) -> Result<(Newest, bool), Error> {
    let mut is_known = wanted.is_none();
    let mut newest = Newest::None;
    let log = Log::open(Arc::clone(disk), history_of(to, name), |head, packed| {
        let Some(text) = crate::record::unpack(head, packed) else { return };
        is_known |= wanted == Some(&*text) && head.revision.kind != Kind::Delete;
        newest = match MediaType::parse(&head.revision.media_type) {
            Some(media_type) if head.revision.kind != Kind::Delete => {
                Newest::Text(media_type, text)
            }
            _ => Newest::Deleted,
        };
    });
    log.map_err(|damaged| Error::Other {
        doing: format!("read the copied history of the document {name}"),
        reason: damaged.0,
    })?;
    Ok((newest, is_known))
}
