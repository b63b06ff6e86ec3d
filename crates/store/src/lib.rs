//! Durable tasks, schedules, functions and artifacts, in one SQLite file with one writer. A write
//! that was answered with `Ok` is on the disk. Decides nothing: who runs when is the scheduler's
//! matter.

mod artifacts;
mod attempts;
mod backup;
mod columns;
mod directory;
mod endpoints;
mod error;
mod files;
mod functions;
mod garbage;
mod memory;
mod portion;
mod readers;
mod retention;
mod schedules;
mod schema;
mod submissions;
mod task_store;
mod tasks;
mod write;
mod writer;

pub use artifacts::{ArtifactMeta, NewArtifact, ROW_BYTES_MAX};
pub use attempts::Logs;
pub use backup::{Copied, Progress as BackupProgress, backup};
pub use columns::time_text;
pub use endpoints::EndpointRecord;
pub use error::{Error, Health};
pub use functions::NewVersion;
pub use garbage::{Collection, KEPT_UNNAMED};
pub use memory::{Ending, Fate, MemoryAttempt, MemoryStore};
pub use portion::Portion;
pub use retention::{Step, SubmissionWalk, TaskWalk};
pub use schedules::ScheduleRecord;
pub use submissions::Submission;
pub use task_store::{Answer, TaskStore};
pub use tasks::{PAGE_TASKS_MAX, Page, TaskFilter, UnfinishedTask};
pub use write::{NewTask, Write};

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use files::Files;
use garbage::Uploads;
use parking_lot::Mutex;
use readers::Readers;
use rusqlite::Connection;
use write::Numbers;
use writer::Writer;

/// A handle to the store of one data directory; cheap to clone.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    /// Used by the writer thread alone.
    numbers: Arc<Mutex<Numbers>>,
    readers: Readers,
    files: Files,
    uploads: Uploads,
    data_dir: PathBuf,
    /// `None` only while it is dropped.
    writer: Option<Writer>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Inner {
    /// Waits for the last writes, so that the directory is free for the next when this returns.
    fn drop(&mut self) {
        // So that the writer's is the last, which tidies the files up.
        drop(self.readers.take_idle());
        drop(self.writer.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the writer thread has panicked");
        }
    }
}

impl Store {
    /// Opens the store, and makes it if there is none.
    ///
    /// # Errors
    /// [`Error::InUse`], [`Error::NewerVersion`], or the directory cannot be used.
    pub fn open(data_dir: &Path) -> Result<Self, Error> {
        let lock = directory::claim(data_dir)?;
        let path = data_dir.join("tasks.db");
        let failed = |error: rusqlite::Error| Error::opening(&path, &error);
        let mut db = Connection::open(&path).map_err(failed)?;
        // Before anything is written: what is not ours stays as it is.
        schema::refuse_foreign(&db, &path)?;
        schema::configure(&db).map_err(failed)?;
        schema::migrate(&mut db)?;
        let doing = format!("open the store at {}", path.display());
        directory::Copying::prepare(data_dir).map_err(|error| Error::io(&doing, &error))?;
        directory::sync(data_dir).map_err(|error| Error::io(doing, &error))?;

        let numbers = Arc::new(Mutex::new(Numbers::default()));
        let (writer, thread) = Writer::start(db, lock, {
            let numbers = Arc::clone(&numbers);
            move || numbers.lock().clear()
        })?;
        let inner = Inner {
            numbers,
            readers: Readers::new(path),
            files: Files::new(data_dir),
            uploads: Uploads::default(),
            data_dir: data_dir.to_owned(),
            writer: Some(writer),
            thread: Some(thread),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Whether it can still write. A full disk is no failure: it may have room again.
    pub fn health(&self) -> Health {
        self.writer().health()
    }

    /// Makes facts durable, all or none, in order.
    ///
    /// # Errors
    /// [`Error::Full`]: nothing was written, and it may be tried again. [`Error::Failed`]: it is
    /// not known what was written, and nothing more will be.
    pub async fn commit(&self, writes: impl Into<Arc<Vec<Write>>>) -> Result<(), Error> {
        let writes = writes.into();
        let numbers = Arc::clone(&self.inner.numbers);
        self.write(move |db| write::apply_all(db, &mut numbers.lock(), &writes)).await
    }

    /// Frees what it keeps of the database in memory: for a time when nobody asks for it.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn release_memory(&self) -> Result<(), Error> {
        let idle = self.inner.readers.take_idle();
        // An error says that the process stops.
        drop(tokio::task::spawn_blocking(move || drop(idle)).await);
        self.write(schema::release_memory).await
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl FnMut(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        self.writer().write(work).await
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        self.inner.readers.read(work).await
    }

    fn files(&self) -> &Files {
        &self.inner.files
    }

    fn uploads(&self) -> &Uploads {
        &self.inner.uploads
    }

    fn data_dir(&self) -> &Path {
        &self.inner.data_dir
    }

    fn writer(&self) -> &Writer {
        self.inner.writer.as_ref().expect("it is taken only when the last handle is dropped")
    }
}
