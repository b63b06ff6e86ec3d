//! The data directory: who may look into it, and that only one node has it open.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;

use crate::Error;

/// Makes the directory if it is not there, readable by its owner alone, and locks it. The lock
/// lasts as long as the file that is returned; it goes with the process, however that ends.
pub(crate) fn claim(path: &Path) -> Result<File, Error> {
    let doing = || format!("open the data directory {}", path.display());
    create(path).map_err(|error| Error::io(doing(), &error))?;
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path.join("lock"))
        .map_err(|error| Error::io(doing(), &error))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(Error::InUse(path.to_owned())),
        Err(TryLockError::Error(error)) => Err(Error::io(doing(), &error)),
    }
}

/// Whether somebody copies the data directory: held shared by those who do, and alone by whoever
/// removes what a copy may still need.
pub(crate) struct Copying;

/// The data directory stays as it is while this lives; it goes with the process, however that ends.
pub(crate) struct Still {
    _lock: Option<File>,
}

impl Copying {
    const FILE: &str = "copying.lock";

    /// Makes the file. Those who copy may not be allowed to.
    pub(crate) fn prepare(data_dir: &Path) -> io::Result<()> {
        let path = data_dir.join(Self::FILE);
        OpenOptions::new().create(true).truncate(false).write(true).open(path).map(drop)
    }

    /// Waits until nobody removes anything. Where no node has ever been that would, nobody does.
    pub(crate) fn shared(data_dir: &Path) -> io::Result<Still> {
        match File::open(data_dir.join(Self::FILE)) {
            Ok(lock) => lock.lock_shared().map(|()| Still { _lock: Some(lock) }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Still { _lock: None }),
            Err(error) => Err(error),
        }
    }

    /// `None` while somebody copies.
    pub(crate) fn try_alone(data_dir: &Path) -> io::Result<Option<Still>> {
        let lock = File::open(data_dir.join(Self::FILE))?;
        match lock.try_lock() {
            Ok(()) => Ok(Some(Still { _lock: Some(lock) })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

/// Makes a directory, and those above it, readable by their owner alone.
pub(crate) fn create(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Makes the names in a directory durable.
pub(crate) fn sync(path: &Path) -> io::Result<()> {
    fs::File::open(path)?.sync_all()
}
