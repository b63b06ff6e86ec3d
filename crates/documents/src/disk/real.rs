//! The real file system.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Disk, Fault, Stamp, too_large};

/// The file system, and how often it was made to sync.
pub(crate) struct RealDisk {
    syncs: Arc<AtomicU64>,
}

impl RealDisk {
    pub(crate) fn new(syncs: Arc<AtomicU64>) -> Self {
        Self { syncs }
    }

    fn sync(&self, file: &File) -> Result<(), Fault> {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        file.sync_all().map_err(Fault::Unsynced)
    }
}

impl Disk for RealDisk {
    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        // A name that is no text is none of ours.
        let name = |entry: io::Result<fs::DirEntry>| {
            entry.map(|entry| entry.file_name().into_string().unwrap_or_default())
        };
        entries.map(name).collect()
    }

    fn read(&self, path: &Path, bytes_max: usize) -> io::Result<Vec<u8>> {
        // What became a link or a pipe since it was looked at is not followed and not waited for.
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
        let mut options = OpenOptions::new();
        let file = options.read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
        let mut bytes = Vec::new();
        file.take(bytes_max as u64 + 1).read_to_end(&mut bytes)?;
        if bytes.len() > bytes_max { Err(too_large(bytes_max)) } else { Ok(bytes) }
    }

    fn read_at(&self, path: &Path, offset: u64, bytes: usize) -> io::Result<Vec<u8>> {
        let mut read = vec![0; bytes];
        File::open(path)?.read_exact_at(&mut read, offset)?;
        Ok(read)
    }

    fn stamp(&self, path: &Path) -> io::Result<Option<Stamp>> {
        match fs::symlink_metadata(path) {
            Ok(found) => Ok(Some(stamp(&found))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn make_folder(&self, path: &Path) -> Result<(), Fault> {
        match fs::create_dir(path) {
            Ok(()) => self.sync_folder(path.parent().unwrap_or(path)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(Fault::Refused(error)),
        }
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> Result<Stamp, Fault> {
        let mut file = File::create(path).map_err(Fault::Refused)?;
        file.write_all(bytes).map_err(Fault::Refused)?;
        self.sync(&file)?;
        file.metadata().map(|found| stamp(&found)).map_err(Fault::Refused)
    }

    fn append(&self, path: &Path, offset: u64, bytes: &[u8]) -> Result<(), Fault> {
        let mut file = OpenOptions::new().write(true).open(path).map_err(Fault::Refused)?;
        file.seek(SeekFrom::Start(offset)).map_err(Fault::Refused)?;
        file.write_all(bytes).map_err(Fault::Refused)?;
        self.sync(&file)
    }

    fn cut(&self, path: &Path, bytes: u64) -> Result<(), Fault> {
        let file = OpenOptions::new().write(true).open(path).map_err(Fault::Refused)?;
        file.set_len(bytes).map_err(Fault::Refused)?;
        self.sync(&file)
    }

    fn exchange(&self, from: &Path, to: &Path) -> io::Result<bool> {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        match renameat_with(CWD, from, CWD, to, RenameFlags::EXCHANGE) {
            Ok(()) => Ok(true),
            // Nothing to exchange it with, or a file system that cannot.
            Err(_) => fs::rename(from, to).map(|()| false),
        }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    fn sync_folder(&self, folder: &Path) -> Result<(), Fault> {
        let folder = File::open(folder).map_err(Fault::Unsynced)?;
        self.sync(&folder)
    }
}

fn stamp(found: &fs::Metadata) -> Stamp {
    Stamp {
        inode: found.ino(),
        bytes: found.len(),
        modified_ns: i128::from(found.mtime()) * 1_000_000_000 + i128::from(found.mtime_nsec()),
        is_file: found.is_file(),
    }
}
