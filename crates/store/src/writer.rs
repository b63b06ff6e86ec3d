//! The one thread that writes. Requests that wait are put into one transaction, so that they share
//! one fsync; each is its own savepoint, so that one that fails takes no other with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use metrics::Histogram;
use parking_lot::Mutex;
use rusqlite::hooks::Wal;
use rusqlite::{Connection, Result};
use tokio::sync::{mpsc, oneshot};

use crate::{Error, Health};

/// Requests that may wait; whoever asks beyond that waits to ask.
const WAITING_MAX: usize = 1_024;

/// The most requests in one transaction.
const GROUP_MAX: usize = 512;

/// The write-ahead log is copied back into the database when it has this many pages (16 MiB).
const CHECKPOINT_PAGES: i32 = 4_000;

const THREAD_ENDED: &str = "the writer thread has ended";

/// Asks the writer thread, which ends when this is gone.
pub(crate) struct Writer {
    requests: mpsc::Sender<Box<dyn Request>>,
    health: Arc<Mutex<Health>>,
}

/// One write that is asked for.
trait Request: Send {
    /// Writes, within a savepoint.
    fn apply(&mut self, db: &Connection) -> Result<()>;
    /// Tells whoever asked how it went. After `Ok` it is durable.
    fn answer(self: Box<Self>, result: std::result::Result<(), Error>);
}

struct Job<T, F> {
    work: F,
    value: Option<T>,
    reply: oneshot::Sender<std::result::Result<Option<T>, Error>>,
}

impl<T: Send, F: FnMut(&Connection) -> Result<T> + Send> Request for Job<T, F> {
    fn apply(&mut self, db: &Connection) -> Result<()> {
        self.value = Some((self.work)(db)?);
        Ok(())
    }

    fn answer(self: Box<Self>, result: std::result::Result<(), Error>) {
        // Whoever asked may have gone; the write stands all the same.
        let Self { value, reply, .. } = *self;
        drop(reply.send(result.map(|()| value)));
    }
}

impl Writer {
    /// Starts the thread. It owns `guard`, which is dropped after the connection was closed, and
    /// calls `undone` when something that was applied is no longer so.
    pub(crate) fn start(
        mut db: Connection,
        guard: impl Send + 'static,
        undone: impl Fn() + Send + 'static,
    ) -> std::result::Result<(Self, JoinHandle<()>), Error> {
        let failed = |error| Error::sqlite("watch the write-ahead log", &error);
        let wal_pages = WalPages::watch(&mut db).map_err(failed)?;
        let (requests, inbox) = mpsc::channel(WAITING_MAX);
        let health = Arc::new(Mutex::new(Health::Working));
        let (undone, measures) = (Box::new(undone), Measures::new());
        let thread = WriterThread { db, health: Arc::clone(&health), wal_pages, undone, measures };
        let handle = thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || {
                thread.work(inbox);
                drop(guard);
            })
            .map_err(|error| Error::io("start the writer thread", &error))?;
        Ok((Self { requests, health }, handle))
    }

    pub(crate) fn health(&self) -> Health {
        if self.requests.is_closed() {
            return Health::Failed(THREAD_ENDED.to_owned());
        }
        self.health.lock().clone()
    }

    /// Runs `work` in a transaction; when this returns `Ok`, what it wrote is durable.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        work: impl FnMut(&Connection) -> Result<T> + Send + 'static,
    ) -> std::result::Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        let gone = || Error::Failed(THREAD_ENDED.to_owned());
        let job = Job { work, value: None, reply };
        self.requests.send(Box::new(job)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())??.ok_or_else(gone)
    }
}

/// What the thread works with.
struct WriterThread {
    db: Connection,
    health: Arc<Mutex<Health>>,
    wal_pages: WalPages,
    undone: Box<dyn Fn() + Send>,
    measures: Measures,
}

/// Made once, as looking a metric up by its name costs more than counting.
struct Measures {
    commit_seconds: Histogram,
    commit_requests: Histogram,
}

impl Measures {
    fn new() -> Self {
        Self {
            commit_seconds: metrics::histogram!("runabout_store_commit_seconds"),
            commit_requests: metrics::histogram!("runabout_store_commit_requests"),
        }
    }
}

impl WriterThread {
    fn work(mut self, mut inbox: mpsc::Receiver<Box<dyn Request>>) {
        let mut group = Vec::with_capacity(GROUP_MAX);
        while inbox.blocking_recv_many(&mut group, GROUP_MAX) > 0 {
            self.commit(&mut group);
            self.checkpoint();
        }
    }

    fn commit(&mut self, group: &mut Vec<Box<dyn Request>>) {
        if let Health::Failed(reason) = self.health.lock().clone() {
            answer_all(group, &Err(Error::Failed(reason)));
            return;
        }
        let _span = tracing::debug_span!("commit", requests = group.len()).entered();
        let begun = Instant::now();
        let written = self.transaction(group);
        if let Err(error) = &written {
            (self.undone)();
            self.roll_back();
            self.note(error);
        }
        self.measures.commit_seconds.record(begun.elapsed());
        self.measures.commit_requests.record(group.len() as f64);
        answer_all(group, &written);
    }

    /// Applies each request. Those that fail by themselves are answered and leave the group.
    fn transaction(&self, group: &mut Vec<Box<dyn Request>>) -> std::result::Result<(), Error> {
        let failed = |error| Error::sqlite("write to the store", &error);
        self.execute("BEGIN IMMEDIATE").map_err(failed)?;
        if let [request] = group.as_mut_slice() {
            // Alone it needs no savepoint, which would copy every page before its first change.
            request.apply(&self.db).map_err(failed)?;
            return self.execute("COMMIT").map_err(failed);
        }
        let mut index = 0;
        while let Some(request) = group.get_mut(index) {
            let Err(error) = savepoint(&self.db, request.as_mut()) else {
                index += 1;
                continue;
            };
            (self.undone)();
            let error = failed(error);
            // When SQLite has undone the whole transaction by itself, nothing of the group stands.
            if self.db.is_autocommit() || matches!(error, Error::Full | Error::Failed(_)) {
                return Err(error);
            }
            group.remove(index).answer(Err(error));
        }
        self.execute("COMMIT").map_err(failed)
    }

    fn execute(&self, sql: &str) -> Result<()> {
        self.db.prepare_cached(sql)?.execute(()).map(drop)
    }

    fn roll_back(&self) {
        if self.db.is_autocommit() {
            return;
        }
        if let Err(error) = self.db.execute_batch("ROLLBACK") {
            self.note(&Error::Failed(format!("failed to roll back: {error}")));
        }
    }

    /// Done after the answers: whoever waits for a commit need not wait for this.
    fn checkpoint(&self) {
        if self.wal_pages.get() < CHECKPOINT_PAGES || self.health() != Health::Working {
            return;
        }
        let copied = self.db.query_row("PRAGMA wal_checkpoint(PASSIVE)", (), |_| Ok(()));
        if let Err(error) = copied {
            // With a full disk the log only grows on; it is tried again after the next commit.
            self.note(&Error::sqlite("copy the write-ahead log back", &error));
        }
    }

    fn health(&self) -> Health {
        self.health.lock().clone()
    }

    /// After a write that failed at the disk, what the disk holds is not known: the kernel may
    /// have dropped the pages it could not write, and a second fsync would find nothing wrong.
    fn note(&self, error: &Error) {
        match error {
            Error::Failed(reason) => {
                tracing::error!(reason, "the store has failed and takes no more writes");
                *self.health.lock() = Health::Failed(reason.clone());
            }
            error => tracing::warn!(%error, "a write was refused"),
        }
    }
}

fn savepoint(db: &Connection, request: &mut dyn Request) -> Result<()> {
    db.prepare_cached("SAVEPOINT request")?.execute(())?;
    let applied = request.apply(db);
    if applied.is_err() && !db.is_autocommit() {
        db.prepare_cached("ROLLBACK TO request")?.execute(())?;
    }
    if !db.is_autocommit() {
        db.prepare_cached("RELEASE request")?.execute(())?;
    }
    applied
}

fn answer_all(group: &mut Vec<Box<dyn Request>>, result: &std::result::Result<(), Error>) {
    for request in group.drain(..) {
        request.answer(result.clone());
    }
}

/// How long the write-ahead log was after the last commit.
struct WalPages(Arc<AtomicI32>);

impl WalPages {
    /// Replaces SQLite's own checkpoints, which would happen within a commit and hide their errors.
    fn watch(db: &mut Connection) -> Result<Self> {
        let pages = Arc::new(AtomicI32::new(0));
        let seen = Arc::clone(&pages);
        db.wal_hook(Some(move |_: &mut Wal, pages: std::ffi::c_int| {
            seen.store(pages, Ordering::Relaxed);
            Ok(())
        }))?;
        Ok(Self(pages))
    }

    fn get(&self) -> i32 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;

    struct World {
        dir: tempfile::TempDir,
        writer: Writer,
        thread: JoinHandle<()>,
    }

    impl World {
        fn new() -> Self {
            let dir = tempfile::tempdir().expect("a directory");
            let db = Connection::open(dir.path().join("test.db")).expect("opens");
            crate::schema::configure(&db).expect("configured");
            db.execute_batch("CREATE TABLE facts (text TEXT)").expect("created");
            let (writer, thread) = Writer::start(db, (), || ()).expect("starts");
            Self { dir, writer, thread }
        }

        async fn write(&self, text: &str) -> std::result::Result<(), Error> {
            let text = text.to_owned();
            let insert = move |db: &Connection| {
                db.execute("INSERT INTO facts VALUES (?1)", [&text]).map(drop)
            };
            self.writer.write(insert).await
        }

        async fn allow_pages(&self, pages: i64) {
            let limit = move |db: &Connection| {
                db.query_row(&format!("PRAGMA max_page_count = {pages}"), (), |_| Ok(()))
            };
            self.writer.write(limit).await.expect("set");
        }

        /// Ends the thread and counts what is in the file.
        fn facts(self) -> i64 {
            drop(self.writer);
            self.thread.join().expect("ends");
            let db = Connection::open(self.dir.path().join("test.db")).expect("opens");
            db.query_row("SELECT count(*) FROM facts", (), |row| row.get(0)).expect("counted")
        }
    }

    #[tokio::test]
    async fn a_full_disk_refuses_a_write_until_there_is_room() {
        let world = World::new();
        world.allow_pages(1).await;
        let large = "x".repeat(1 << 20);
        assert_eq!(world.write(&large).await, Err(Error::Full));
        assert_eq!(world.writer.health(), Health::Working);
        world.allow_pages(1_000_000).await;
        assert_eq!(world.write(&large).await, Ok(()));
        assert_eq!(world.facts(), 1);
    }

    #[tokio::test]
    async fn after_a_failed_fsync_nothing_more_is_written() {
        let world = World::new();
        let fsync = |_: &Connection| -> Result<()> {
            Err(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_IOERR_FSYNC), None))
        };
        assert!(matches!(world.writer.write(fsync).await, Err(Error::Failed(_))));
        assert!(matches!(world.writer.health(), Health::Failed(_)));
        assert!(matches!(world.write("fact").await, Err(Error::Failed(_))));
        assert_eq!(world.facts(), 0);
    }

    #[tokio::test]
    async fn requests_that_wait_together_are_written_in_order() {
        let world = World::new();
        let count_and_add = |db: &Connection| {
            let count =
                db.query_row("SELECT count(*) FROM facts", (), |row| row.get::<_, i64>(0))?;
            db.execute("INSERT INTO facts VALUES ('')", ()).map(|_| count)
        };
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let wait = Mutex::new(wait);
        let hold = move |_: &Connection| {
            // Released by an error: the other end is dropped.
            let _ = wait.lock().recv();
            Ok(())
        };
        let all = futures::future::join_all((0..20).map(|_| world.writer.write(count_and_add)));
        let release = async move { drop(go) };
        let (held, counts, ()) = tokio::join!(world.writer.write(hold), all, release);
        assert_eq!(held, Ok(()));
        let counts: Vec<i64> = counts.into_iter().map(|it| it.expect("written")).collect();
        assert_eq!(counts, (0..20).collect::<Vec<_>>(), "in the order they were asked for");
        assert_eq!(world.facts(), 20);
    }
}
