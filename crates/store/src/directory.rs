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
