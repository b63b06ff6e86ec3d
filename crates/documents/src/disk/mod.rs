//! What the store asks of a file system, in steps between which a crash makes a difference. Two
//! answer: the real one, and in tests one that loses what was not synced.

mod real;
#[cfg(test)]
pub(crate) mod simulated;

use std::io;
use std::path::Path;

pub(crate) use real::RealDisk;

/// Why nothing was written.
#[derive(Debug)]
pub(crate) enum Fault {
    /// It was refused; what was there before is untouched.
    Refused(io::Error),
    /// It could not be made durable; what the disk holds is not known.
    Unsynced(io::Error),
}

/// What tells that a file has been changed, without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) inode: u64,
    pub(crate) bytes: u64,
    /// When its bytes were last changed, in nanoseconds since 1970.
    pub(crate) modified_ns: i128,
    /// No folder, no link.
    pub(crate) is_file: bool,
}

pub(crate) trait Disk: Send + Sync {
    /// The names in a folder; none if there is no such folder.
    fn list(&self, folder: &Path) -> io::Result<Vec<String>>;

    /// At most `bytes_max`; more is an error.
    fn read(&self, path: &Path, bytes_max: usize) -> io::Result<Vec<u8>>;

    fn read_at(&self, path: &Path, offset: u64, bytes: usize) -> io::Result<Vec<u8>>;

    /// `None` if nothing is there.
    fn stamp(&self, path: &Path) -> io::Result<Option<Stamp>>;

    /// Makes a folder, if it is not there, and syncs its name.
    fn make_folder(&self, path: &Path) -> Result<(), Fault>;

    /// A new file, or one written anew; synced, but for its name.
    fn write(&self, path: &Path, bytes: &[u8]) -> Result<Stamp, Fault>;

    /// Behind the first `offset` bytes, synced.
    fn append(&self, path: &Path, offset: u64, bytes: &[u8]) -> Result<(), Fault>;

    /// Leaves the first `bytes`, synced.
    fn cut(&self, path: &Path, bytes: u64) -> Result<(), Fault>;

    /// Puts `from` in the place of `to`, in one step. Where the system can, what was there is then
    /// called `from`; that is told by `true`.
    fn exchange(&self, from: &Path, to: &Path) -> io::Result<bool>;

    /// A file that is not there need not be removed.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a folder durable.
    fn sync_folder(&self, folder: &Path) -> Result<(), Fault>;
}

/// A disk as several hold it.
pub(crate) type SharedDisk = std::sync::Arc<dyn Disk>;

/// No file, or none that can be read as one.
pub(crate) fn too_large(bytes_max: usize) -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, format!("it has more than {bytes_max} bytes"))
}
