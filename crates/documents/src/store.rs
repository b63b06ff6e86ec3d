//! The documents of a node: who there is, reads that wait for nobody, changes that are answered when
//! they are durable.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use arc_swap::ArcSwap;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};

use crate::current::Current;
use crate::disk::{RealDisk, SharedDisk};
use crate::document::{Document, Job};
use crate::log::Log;
use crate::recovery::recover;
use crate::shared::{Counted, Counts, Listener, Shared};
use crate::turn::{Request, What};
use crate::watch::Watch;
use crate::writer::Writer;
use crate::{Accepted, Attribution, Condition, Error, Key, MediaType, Name, Revision};

/// The folder of the histories, among the documents' files.
pub(crate) const REVISIONS: &str = ".revisions";

/// How much there may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of one document.
    pub document_bytes: usize,
    /// Documents that are there.
    pub documents: usize,
    /// Names that are known, those of deleted documents included: their numbers go on.
    pub names: usize,
    /// What all documents take in memory, compressed forms included.
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { document_bytes: 4 << 20, documents: 10_000, names: 100_000, bytes: 1 << 30 }
    }
}

/// The documents of one folder; cheap to clone.
#[derive(Clone)]
pub struct Documents {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    /// Replaced as a whole when a document comes, so that readers never wait.
    documents: ArcSwap<BTreeMap<Name, Arc<Document>>>,
    /// Held by the one who adds a document.
    adding: Mutex<()>,
    pub(crate) shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    watch: Mutex<Option<Watch>>,
}

/// A change to be made, by whom, and what makes it the same if it is sent again.
#[derive(Clone, Debug)]
pub struct By {
    /// Who and why.
    pub attribution: Attribution,
    /// Drawn by the client.
    pub key: Option<Key>,
}

impl Documents {
    /// Opens a folder, and makes it if need be. Takes in what was changed by hand meanwhile, and
    /// finishes what a crash has cut off. `listener` is told of each revision once it is durable.
    /// Blocks.
    ///
    /// # Errors
    /// The folder cannot be used, or a history is damaged.
    pub fn open(folder: &Path, limits: Limits, listener: Listener) -> Result<Self, Error> {
        let counts = Counts::default();
        let disk = Arc::new(RealDisk::new(Arc::clone(&counts.syncs)));
        let opened = Self::open_on(disk, folder, limits, counts, listener)?;
        let watch = Watch::start(Arc::downgrade(&opened.inner));
        let failed = |error| Error::io("start the thread that watches documents", &error);
        *opened.inner.watch.lock() = Some(watch.map_err(failed)?);
        Ok(opened)
    }

    pub(crate) fn open_on(
        disk: SharedDisk,
        folder: &Path,
        limits: Limits,
        counts: Counts,
        listener: Listener,
    ) -> Result<Self, Error> {
        let doing = || format!("open the documents in {}", folder.display());
        let failed = |error: std::io::Error| Error::io(doing(), &error);
        for folder in [folder.to_owned(), folder.join(REVISIONS)] {
            disk.make_folder(&folder)
                .map_err(|fault| Error::Other { doing: doing(), reason: format!("{fault:?}") })?;
        }
        let started = Shared::start(disk, folder.to_owned(), limits, counts, listener);
        let (shared, threads) = started.map_err(failed)?;
        let documents = ArcSwap::from_pointee(BTreeMap::new());
        let (threads, watch) = (Mutex::new(threads), Mutex::default());
        let inner = Inner { documents, adding: Mutex::default(), shared, threads, watch };
        let opened = Self { inner: Arc::new(inner) };
        let mut found = BTreeMap::new();
        for name in opened.inner.shared.disk.list(&folder.join(REVISIONS)).map_err(failed)? {
            if let Ok(name) = name.parse::<Name>() {
                found.insert(name.clone(), opened.inner.load(name)?);
            }
        }
        for (name, _) in opened.inner.files()? {
            if !found.contains_key(&name) {
                found.insert(name.clone(), opened.inner.load(name)?);
            }
        }
        opened.inner.documents.store(Arc::new(found));
        Ok(opened)
    }

    /// The newest text of a document, from memory. Waits for nobody.
    pub fn get(&self, name: &str) -> Option<Arc<Current>> {
        self.inner.documents.load().get(name)?.current.load_full()
    }

    /// Documents in the order of their names, those behind `after`.
    pub fn list(&self, after: &str, limit: usize) -> Vec<(Name, Arc<Current>)> {
        let documents = self.inner.documents.load();
        let behind = (Bound::Excluded(after), Bound::Unbounded);
        let there = documents.range::<str, _>(behind);
        there
            .filter_map(|(name, it)| Some((name.clone(), it.current.load_full()?)))
            .take(limit)
            .collect()
    }

    /// Makes a document, or replaces its text as a whole. `media_type` is for a new one; where there
    /// is none it is guessed.
    ///
    /// # Errors
    /// The document is not as `condition` says, the text cannot be one, or it cannot be written.
    pub async fn put(
        &self,
        name: &Name,
        text: Bytes,
        media_type: Option<MediaType>,
        condition: Condition,
        by: By,
    ) -> Result<Accepted, Error> {
        let is_there = self.get(name.as_str()).is_some();
        if !is_there && !condition.holds(None) {
            return Err(Error::ConditionFailed(None));
        }
        let document = self.document(name)?;
        self.has_room(is_there, text.len())?;
        let bytes = text.len();
        self.change(&document, What::Put { text, media_type, condition }, by, bytes).await
    }

    /// Takes in a text that was made from the revision `base`; it is merged with what has happened
    /// since.
    ///
    /// # Errors
    /// It conflicts with that, the text cannot be one, or it cannot be written.
    pub async fn edit(
        &self,
        name: &Name,
        base: u64,
        text: Bytes,
        by: By,
    ) -> Result<Accepted, Error> {
        let document = self.known(name)?;
        self.has_room(true, text.len())?;
        // One that conflicts is answered with both texts, and with their pieces: what is done together
        // is bounded by what may come of it.
        let there = document.current.load().as_ref().map_or(0, |it| it.plain.bytes.len());
        let bytes = text.len() + 4 * there;
        self.change(&document, What::Edit { base, text }, by, bytes).await
    }

    /// Brings the text of an older revision back, as a new one.
    ///
    /// # Errors
    /// There is no such revision, the document is not as `condition` says, or it cannot be written.
    pub async fn revert(
        &self,
        name: &Name,
        to: u64,
        condition: Condition,
        by: By,
    ) -> Result<Accepted, Error> {
        let document = self.known(name)?;
        self.change(&document, What::Revert { to, condition }, by, 0).await
    }

    /// Removes a document and its history. Should there be one of that name again, its revisions
    /// are numbered on.
    ///
    /// # Errors
    /// There is none, it is not as `condition` says, or that cannot be written.
    pub async fn delete(&self, name: &Name, condition: Condition, by: By) -> Result<(), Error> {
        let document = self.known(name)?;
        self.change(&document, What::Delete { condition }, by, 0).await.map(drop)
    }

    /// The revisions before `before`, newest first. Reads the disk, but no texts.
    ///
    /// # Errors
    /// There is no such document.
    pub fn history(
        &self,
        name: &Name,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Revision>, Error> {
        let document = self.known(name)?;
        let Some((oldest, newest)) = document.log.range() else { return Ok(Vec::new()) };
        let from = before.map_or(newest, |before| before.saturating_sub(1).min(newest));
        let numbers = (oldest..=from).rev();
        let heads = numbers.filter_map(|number| document.log.read_head(number));
        Ok(heads.map(|head| head.revision).take(limit).collect())
    }

    /// A revision and its text. Reads the disk, unless it is the newest.
    ///
    /// # Errors
    /// There is no such document, or no such revision.
    pub fn revision(&self, name: &Name, number: u64) -> Result<(Arc<Revision>, Bytes), Error> {
        let document = self.known(name)?;
        let current = document.current.load_full();
        if let Some(current) = current.filter(|current| current.revision.revision == number) {
            return Ok((current.revision.clone(), current.plain.bytes.clone()));
        }
        let found = document.log.read(number);
        found.map(|(head, text)| (Arc::new(head.revision), text)).ok_or_else(|| {
            let (oldest, newest) = document.log.range().unwrap_or_default();
            Error::RevisionNotFound { name: name.clone(), revision: number, oldest, newest }
        })
    }

    /// Tells the number of each newest revision from now on.
    ///
    /// # Errors
    /// There is no such document.
    pub fn follow(&self, name: &Name) -> Result<watch::Receiver<u64>, Error> {
        Ok(self.known(name)?.latest.subscribe())
    }

    /// Why a document is only read, if it is.
    pub fn read_only(&self, name: &str) -> Option<String> {
        self.inner.documents.load().get(name)?.read_only.get().cloned()
    }

    /// A document that is only read since it could not be made durable, and why; the first of them.
    pub fn failed(&self) -> Option<(Name, String)> {
        let documents = self.inner.documents.load();
        documents.values().find_map(|it| Some((it.name.clone(), it.read_only.get()?.clone())))
    }

    /// What was done since the start.
    pub fn counted(&self) -> Counted {
        self.inner.shared.counts.read()
    }

    /// How many documents there are, and what they take in memory.
    pub fn load(&self) -> (usize, usize) {
        let documents = self.inner.documents.load();
        let there = documents.values().filter(|it| it.current.load().is_some()).count();
        (there, self.inner.shared.bytes())
    }

    /// Ends when what waits is written. Blocks.
    pub fn close(&self) {
        self.inner.watch.lock().take();
        self.inner.shared.close();
        for thread in self.inner.threads.lock().drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread that writes documents has panicked");
            }
        }
    }

    /// A document that is there.
    fn known(&self, name: &Name) -> Result<Arc<Document>, Error> {
        let documents = self.inner.documents.load();
        let document = documents.get(name).filter(|it| it.current.load().is_some());
        document.cloned().ok_or_else(|| Error::NotFound(name.clone()))
    }

    /// A document, there or not yet.
    fn document(&self, name: &Name) -> Result<Arc<Document>, Error> {
        if let Some(document) = self.inner.documents.load().get(name) {
            return Ok(Arc::clone(document));
        }
        self.inner.add(name.clone())
    }

    fn has_room(&self, is_there: bool, bytes: usize) -> Result<(), Error> {
        let limits = self.inner.shared.limits;
        let (documents, all_bytes) =
            if is_there { (0, self.inner.shared.bytes()) } else { self.load() };
        if !is_there && documents >= limits.documents {
            return Err(Error::TooMany("there are as many documents as this node takes"));
        }
        if all_bytes.saturating_add(bytes) > limits.bytes {
            return Err(Error::TooMany("all documents together are as large as this node takes"));
        }
        Ok(())
    }

    async fn change(
        &self,
        document: &Arc<Document>,
        what: What,
        by: By,
        bytes: usize,
    ) -> Result<Accepted, Error> {
        let By { attribution, key } = by;
        let (reply, answer) = oneshot::channel();
        let request = Request { what, by: attribution, key };
        document.queue(Job::Change { request, bytes, reply })?;
        let closed = |_| Error::ReadOnly("the node is stopping".to_owned());
        answer.await.map_err(closed)?
    }
}

impl Inner {
    /// Takes a document in that nobody knows yet, with what is on the disk of it.
    pub(crate) fn add(&self, name: Name) -> Result<Arc<Document>, Error> {
        let _adding = self.adding.lock();
        let documents = self.documents.load();
        if let Some(document) = documents.get(&name) {
            return Ok(Arc::clone(document));
        }
        let mut documents = BTreeMap::clone(&documents);
        if documents.len() >= self.shared.limits.names {
            // Of some nothing ever came to be.
            documents.retain(|_, document| document.is_known());
        }
        if documents.len() >= self.shared.limits.names {
            return Err(Error::TooMany("there were as many documents as this node remembers"));
        }
        let document = self.load(name.clone())?;
        documents.insert(name, Arc::clone(&document));
        self.documents.store(Arc::new(documents));
        Ok(document)
    }

    /// Reads a document from the disk.
    fn load(&self, name: Name) -> Result<Arc<Document>, Error> {
        let folder = history_of(&self.shared.root, &name);
        let mut writer = Writer::default();
        let mut last = None;
        let disk = Arc::clone(&self.shared.disk);
        let log = Log::open(disk, folder, |head, text| {
            writer.keys.insert(head);
            writer.last = head.revision.revision;
            last = Some((head.clone(), Bytes::copy_from_slice(text)));
        });
        let log = log.map_err(|damaged| Error::Other {
            doing: format!("read the history of the document {name}"),
            reason: damaged.0,
        })?;
        let document = Arc::new(Document::new(name, log, Arc::clone(&self.shared), writer));
        document.with_writer(|writer| recover(writer, &document, last))?;
        Ok(document)
    }

    pub(crate) fn known(&self, name: &Name) -> Option<Arc<Document>> {
        self.documents.load().get(name).cloned()
    }

    pub(crate) fn all(&self) -> Arc<BTreeMap<Name, Arc<Document>>> {
        self.documents.load_full()
    }

    /// The files that may be documents'.
    pub(crate) fn files(&self) -> Result<Vec<(Name, MediaType)>, Error> {
        let Shared { disk, root, .. } = &*self.shared;
        let failed = |error| Error::io(format!("list {}", root.display()), &error);
        let names = disk.list(root).map_err(failed)?;
        Ok(names.iter().filter_map(|name| file(name)).collect())
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.close();
    }
}

/// The document that a file of that name is of.
pub(crate) fn file(name: &str) -> Option<(Name, MediaType)> {
    let (name, extension) = name.split_once('.')?;
    Some((name.parse().ok()?, MediaType::of_extension(extension)?))
}

/// The folder of a document's history.
pub(crate) fn history_of(root: &Path, name: &Name) -> PathBuf {
    root.join(REVISIONS).join(name.as_str())
}
