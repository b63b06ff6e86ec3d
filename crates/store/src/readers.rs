//! Connections that only read. They see the last commit, and neither wait for the writer nor hold
//! it up.

use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use rusqlite::{Connection, Result};
use tokio::sync::Semaphore;

use crate::{Error, schema};

/// Reads at once; further ones wait.
const READERS_MAX: usize = 8;

/// A small pool of connections.
#[derive(Clone)]
pub(crate) struct Readers {
    path: PathBuf,
    idle: Arc<Mutex<Vec<Connection>>>,
    permits: Arc<Semaphore>,
}

impl Readers {
    pub(crate) fn new(path: PathBuf) -> Self {
        let permits = Arc::new(Semaphore::new(READERS_MAX));
        Self { path, idle: Arc::default(), permits }
    }

    /// Runs `work` on a thread that may block.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> std::result::Result<T, Error> {
        let readers = self.clone();
        let gone = || Error::Other {
            doing: "read from the store".to_owned(),
            reason: "the runtime is shutting down".to_owned(),
        };
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| gone())?;
        tokio::task::spawn_blocking(move || {
            let read = readers.with_connection(work);
            drop(permit);
            read.map_err(|error| Error::sqlite("read from the store", &error))
        })
        .await
        .map_err(|_| gone())?
    }

    /// The connections that nobody uses. Whoever drops them closes them, and frees what they keep in memory.
    pub(crate) fn take_idle(&self) -> Vec<Connection> {
        std::mem::take(&mut *self.idle.lock())
    }

    fn with_connection<T>(&self, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let idle = self.idle.lock().pop();
        let db = idle.map_or_else(|| self.connect(), Ok)?;
        let read = work(&db);
        self.idle.lock().push(db);
        read
    }

    fn connect(&self) -> Result<Connection> {
        let db = Connection::open(&self.path)?;
        schema::configure(&db)?;
        db.pragma_update(None, "query_only", true)?;
        Ok(db)
    }
}
