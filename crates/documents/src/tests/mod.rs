//! The store as a whole: what it takes and refuses, and what is left after every possible crash.

mod changes;
mod crashes;
mod files;
mod hand;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use crate::disk::simulated::SimulatedDisk;
use crate::shared::Counts;
use crate::{Accepted, Attribution, By, Condition, Documents, Error, Key, Limits, MediaType, Name};

const FOLDER: &str = "/documents";

/// A store on a disk in memory, and one document's worth of shorthand.
struct Fixture {
    disk: Arc<SimulatedDisk>,
    documents: Documents,
}

impl Fixture {
    fn new() -> Self {
        Self::on(SimulatedDisk::default())
    }

    fn on(disk: SimulatedDisk) -> Self {
        let disk = Arc::new(disk);
        let documents = open(&disk).expect("opens");
        Self { disk, documents }
    }

    /// What is left when the machine stops now, opened again.
    fn crashed(self, choose: impl FnMut(usize) -> usize) -> Self {
        let disk = self.disk.after_crash(choose);
        self.documents.close();
        Self::on(disk)
    }

    async fn create(&self, text: &str) -> Result<Accepted, Error> {
        let (text, html) = (Bytes::from(text.to_owned()), Some(MediaType::HTML));
        self.documents.put(&name(), text, html, Condition::Absent, by("a", None)).await
    }

    async fn put(&self, text: &str, condition: Condition) -> Result<Accepted, Error> {
        let text = Bytes::from(text.to_owned());
        self.documents.put(&name(), text, None, condition, by("a", None)).await
    }

    async fn edit(&self, base: u64, text: &str) -> Result<Accepted, Error> {
        self.edit_as(base, text, None).await
    }

    async fn edit_as(&self, base: u64, text: &str, key: Option<&str>) -> Result<Accepted, Error> {
        let text = Bytes::from(text.to_owned());
        self.documents.edit(&name(), base, text, by("b", key)).await
    }

    /// The newest revision and its text.
    fn newest(&self) -> Option<(u64, String)> {
        let current = self.documents.get("page")?;
        Some((current.revision.revision, text(&current.plain.bytes)))
    }

    fn revision(&self, number: u64) -> Option<String> {
        self.documents.revision(&name(), number).ok().map(|(_, it)| text(&it))
    }
}

fn open(disk: &Arc<SimulatedDisk>) -> Result<Documents, Error> {
    let (disk, limits) = (Arc::clone(disk), Limits::default());
    let listener = Box::new(|_: &Name, _: &crate::Revision| ());
    Documents::open_on(disk, Path::new(FOLDER), limits, Counts::default(), listener)
}

fn name() -> Name {
    "page".parse().expect("a name")
}

fn file() -> PathBuf {
    Path::new(FOLDER).join("page.html")
}

fn by(author: &str, key: Option<&str>) -> By {
    let (author, summary) = (author.to_owned(), String::new());
    let key = key.map(|key| Key { key: key.to_owned(), fingerprint: [0; 32] });
    By { attribution: Attribution { author, verified: false, summary }, key }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn number(accepted: Result<Accepted, Error>) -> u64 {
    accepted.expect("accepted").revision.revision
}
