//! Submissions that carried an idempotency key, so that one sent again is known.

use std::collections::HashMap;

use jiff::Timestamp;
use runabout_protocol::TaskId;
use rusqlite::{Connection, OptionalExtension, Result, Row, params};
use uuid::Uuid;

use crate::columns::{millis, unreadable};
use crate::{Error, Store};

/// What was once submitted under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submission {
    /// The key, as the submitter chose it.
    pub key: String,
    /// Of what was submitted.
    pub fingerprint: [u8; 32],
    /// The tasks that came of it, in order; never empty.
    pub tasks: Vec<TaskId>,
    /// When.
    pub at: Timestamp,
}

impl Store {
    /// The submissions under these keys, by key; keys that were never used are left out.
    ///
    /// # Errors
    /// They could not be read.
    pub async fn submissions(
        &self,
        keys: Vec<String>,
    ) -> Result<HashMap<String, Submission>, Error> {
        self.read(move |db| {
            let load = |key| load(db, key).transpose();
            let found = keys.into_iter().filter_map(load);
            found.map(|it| it.map(|submission| (submission.key.clone(), submission))).collect()
        })
        .await
    }
}

fn load(db: &Connection, key: String) -> Result<Option<Submission>> {
    let sql = "SELECT fingerprint, tasks, created_ms FROM submissions WHERE key = ?1";
    let read = |row: &Row<'_>| {
        let ids: Vec<u8> = row.get("tasks")?;
        let id = |bytes: &[u8]| Uuid::from_slice(bytes).map(TaskId);
        let tasks: std::result::Result<_, _> = ids.chunks(16).map(id).collect();
        Ok(Submission {
            key: key.clone(),
            fingerprint: row.get("fingerprint")?,
            tasks: tasks.map_err(|error| unreadable("tasks", error))?,
            at: crate::columns::timestamp(row, "created_ms")?,
        })
    };
    db.prepare_cached(sql)?.query_row([&key], read).optional()
}

pub(crate) fn insert(db: &Connection, submission: &Submission) -> Result<()> {
    let Submission { key, fingerprint, tasks, at } = submission;
    let ids: Vec<u8> = tasks.iter().flat_map(|task| task.0.into_bytes()).collect();
    let sql = "INSERT OR REPLACE INTO submissions (key, fingerprint, tasks, created_ms)
         VALUES (?1, ?2, ?3, ?4)";
    db.prepare_cached(sql)?.execute(params![key, fingerprint, ids, millis(*at)]).map(drop)
}
