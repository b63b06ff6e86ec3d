//! Artifacts too large for a row: immutable files, named by their digest.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;
use runabout_protocol::Digest;

use crate::directory;

/// The folder `artifacts` of the data directory.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    root: PathBuf,
}

impl Files {
    pub(crate) fn new(data_dir: &Path) -> Self {
        Self { root: data_dir.join("artifacts").join("sha256") }
    }

    pub(crate) fn read(&self, digest: Digest) -> io::Result<Bytes> {
        fs::read(self.path(digest)).map(Bytes::from)
    }

    pub(crate) fn size(&self, digest: Digest) -> io::Result<u64> {
        fs::metadata(self.path(digest)).map(|found| found.len())
    }

    /// When this returns, the file is on the disk as a whole; a crash before leaves no file of
    /// that name.
    pub(crate) fn write(&self, digest: Digest, bytes: &[u8]) -> io::Result<()> {
        let path = self.path(digest);
        // Some file of that name was written as a whole before, and it never changes.
        if fs::metadata(&path).is_ok_and(|found| found.len() == bytes.len() as u64) {
            return Ok(());
        }
        let folder = path.parent().unwrap_or(&self.root);
        let is_new = !folder.exists();
        directory::create(folder)?;
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(&path)?;
        directory::sync(folder)?;
        if is_new {
            self.sync_above(folder)?;
        }
        Ok(())
    }

    /// Removes a file; one that is not there need not be.
    pub(crate) fn remove(&self, digest: Digest) -> io::Result<()> {
        remove(&self.path(digest))
    }

    /// Files of one folder, named by the first byte of its digests, that were written before then.
    pub(crate) fn old(&self, folder: u8, before: SystemTime) -> io::Result<Vec<Found>> {
        let name = format!("{folder:02x}");
        let entries = match fs::read_dir(self.root.join(&name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry?;
            // It may have been removed since it was listed.
            let Ok(modified) = entry.metadata().and_then(|it| it.modified()) else { continue };
            if modified < before {
                let file = entry.file_name();
                let digest = format!("sha256:{name}{}", file.to_string_lossy()).parse().ok();
                found.push(Found { path: entry.path(), digest });
            }
        }
        Ok(found)
    }

    /// Removes what was found.
    pub(crate) fn remove_found(&self, found: &Found) -> io::Result<()> {
        remove(&found.path)
    }

    /// A folder that was just made is itself only a name in the one above it.
    fn sync_above(&self, folder: &Path) -> io::Result<()> {
        let data_dir = self.root.ancestors().nth(2);
        for above in folder.ancestors().skip(1) {
            directory::sync(above)?;
            if Some(above) == data_dir {
                break;
            }
        }
        Ok(())
    }

    /// Where the file of a digest lies.
    pub(crate) fn path(&self, digest: Digest) -> PathBuf {
        let hex = digest.hex();
        let (folder, name) = hex.split_at(2);
        self.root.join(folder).join(name)
    }
}

/// A file that lies among the artifacts.
#[derive(Debug)]
pub(crate) struct Found {
    path: PathBuf,
    /// `None` for one that never got its name.
    pub(crate) digest: Option<Digest>,
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_back_and_lies_under_its_digest() {
        let dir = tempfile::tempdir().expect("a directory");
        let files = Files::new(dir.path());
        let digest = Digest([0xab; 32]);
        files.write(digest, b"bytes").expect("written");
        files.write(digest, b"bytes").expect("written again");
        assert_eq!(files.read(digest).expect("read"), &b"bytes"[..]);
        let path = format!("artifacts/sha256/ab/{}", "ab".repeat(31));
        assert!(dir.path().join(path).is_file());
    }

    #[test]
    fn half_a_file_is_written_anew() {
        let dir = tempfile::tempdir().expect("a directory");
        let files = Files::new(dir.path());
        let digest = Digest([1; 32]);
        files.write(digest, b"by").expect("written");
        files.write(digest, b"bytes").expect("written again");
        assert_eq!(files.read(digest).expect("read"), &b"bytes"[..]);
    }
}
