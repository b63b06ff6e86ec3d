//! The node's id: a UUID, made once and kept in its data directory.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use runabout_protocol::NodeId;
use tempfile::NamedTempFile;
use uuid::Uuid;

use crate::Error;

/// The file, in the data directory.
pub const FILE: &str = "node.id";

/// Reads `node.id`, or makes it.
///
/// # Errors
/// The file cannot be read or written, or holds no UUID.
pub fn load_or_create(data_dir: &Path) -> Result<NodeId, Error> {
    let path = data_dir.join(FILE);
    let id = match fs::read_to_string(&path) {
        Ok(text) => text.trim().parse().map_err(io::Error::other),
        Err(error) if error.kind() == io::ErrorKind::NotFound => create(data_dir, &path),
        Err(error) => Err(error),
    };
    id.map_err(|source| Error::Identity { path, source })
}

/// Written whole or not at all: half an id would keep the node from ever starting again.
fn create(data_dir: &Path, path: &Path) -> io::Result<NodeId> {
    let id = NodeId(Uuid::new_v4());
    let mut file = NamedTempFile::new_in(data_dir)?;
    writeln!(file, "{id}")?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    File::open(data_dir)?.sync_all()?;
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_stays_the_same() {
        let dir = tempfile::tempdir().expect("a directory");
        let id = load_or_create(dir.path()).expect("made");
        assert_eq!(load_or_create(dir.path()).expect("read"), id);
    }

    #[test]
    fn an_id_that_is_none_is_refused_and_kept() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join("node.id"), "no id").expect("written");
        let error = load_or_create(dir.path()).expect_err("refused").to_string();
        assert!(error.contains("node.id"), "{error}");
        assert_eq!(fs::read_to_string(dir.path().join("node.id")).expect("there"), "no id");
    }
}
