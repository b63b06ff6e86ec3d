//! Schedules. What is due when is not decided here.

use jiff::Timestamp;
use runabout_protocol::{InvalidName, Missed, ScheduleName, TaskId, TaskRequest};
use rusqlite::{Connection, OptionalExtension, Result, Row, params};
use uuid::Uuid;

use crate::columns::{Word, json, millis, timestamp, to_json, unreadable, word};
use crate::portion::{PORTION_BYTES_MAX, Portion};
use crate::write::key;
use crate::{Error, Store};

/// A schedule as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct ScheduleRecord {
    /// Its name.
    pub name: ScheduleName,
    /// When.
    pub cron: String,
    /// Where the clock hangs.
    pub time_zone: String,
    /// What becomes of times that were missed.
    pub missed: Missed,
    /// Whether it rests.
    pub paused: bool,
    /// What is handed in each time.
    pub task: TaskRequest,
    /// When it was first put.
    pub created_at: Timestamp,
    /// When it was last put, paused or resumed.
    pub updated_at: Timestamp,
    /// Every time until then has been dealt with. Never goes back.
    pub settled_at: Timestamp,
    /// The time that the latest task stands for.
    pub last_due_at: Option<Timestamp>,
    /// That task.
    pub last_task: Option<TaskId>,
    /// Why the latest time led to no task, if it did not.
    pub last_error: Option<String>,
}

const COLUMNS: &str = "name, cron, time_zone, missed, paused, task, created_ms, updated_ms,
     settled_ms, last_due_ms, last_task, last_error";

impl Store {
    /// Keeps a schedule, in the place of one of the same name.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::Failed`].
    pub async fn put_schedule(&self, schedule: ScheduleRecord) -> Result<(), Error> {
        self.write(move |db| put(db, &schedule)).await
    }

    /// Removes a schedule; `false` if there was none. Its tasks stay.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::Failed`].
    pub async fn delete_schedule(&self, name: &ScheduleName) -> Result<bool, Error> {
        let name = name.clone();
        self.write(move |db| {
            let sql = "DELETE FROM schedules WHERE name = ?1";
            Ok(db.prepare_cached(sql)?.execute([name.as_str()])? > 0)
        })
        .await
    }

    /// Notes that a schedule's times until then were dealt with without a task, and why if that
    /// was not meant to be.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::Failed`].
    pub async fn settle_schedule(
        &self,
        name: &ScheduleName,
        until: Timestamp,
        error: Option<String>,
    ) -> Result<(), Error> {
        let name = name.clone();
        self.write(move |db| {
            let sql = "UPDATE schedules SET settled_ms = max(settled_ms, ?2), last_error = ?3
                 WHERE name = ?1";
            let params = params![name.as_str(), millis(until), error];
            db.prepare_cached(sql)?.execute(params).map(drop)
        })
        .await
    }

    /// A schedule.
    ///
    /// # Errors
    /// It could not be read.
    pub async fn schedule(&self, name: &ScheduleName) -> Result<Option<ScheduleRecord>, Error> {
        let name = name.clone();
        self.read(move |db| {
            let sql = format!("SELECT {COLUMNS} FROM schedules WHERE name = ?1");
            db.prepare_cached(&sql)?.query_row([name.as_str()], read_schedule).optional()
        })
        .await
    }

    /// Schedules by name, those behind `after`; fewer than `limit` if they are large.
    ///
    /// # Errors
    /// They could not be read.
    pub async fn schedules(
        &self,
        after: &str,
        limit: u32,
    ) -> Result<Portion<ScheduleRecord>, Error> {
        let after = after.to_owned();
        self.read(move |db| {
            let sql =
                format!("SELECT {COLUMNS} FROM schedules WHERE name > ?1 ORDER BY name LIMIT ?2");
            let mut statement = db.prepare_cached(&sql)?;
            let rows = statement.query_map(params![after, limit + 1], read_schedule)?;
            Portion::take(rows, limit as usize, PORTION_BYTES_MAX, bytes_of)
        })
        .await
    }
}

/// What a schedule takes, as far as its owner decides.
fn bytes_of(schedule: &ScheduleRecord) -> usize {
    let TaskRequest { source, stdin, args, .. } = &schedule.task;
    let texts = [source, stdin].into_iter().flatten().map(String::len);
    texts.sum::<usize>() + args.as_ref().map_or(0, |args| args.text().len())
}

/// Notes a task that stands for a schedule's time. Part of the transaction that accepts the task:
/// whatever happens, either both are there or neither is.
pub(crate) fn fired(
    db: &Connection,
    schedule: &ScheduleName,
    task: TaskId,
    due_at: Timestamp,
) -> Result<()> {
    let sql = "UPDATE schedules SET settled_ms = max(settled_ms, ?3), last_due_ms = ?3,
             last_task = ?2, last_error = NULL
         WHERE name = ?1";
    let params = params![schedule.as_str(), key(task), millis(due_at)];
    db.prepare_cached(sql)?.execute(params).map(drop)
}

fn put(db: &Connection, schedule: &ScheduleRecord) -> Result<()> {
    let sql = format!(
        "INSERT OR REPLACE INTO schedules ({COLUMNS})
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)"
    );
    let params = params![
        schedule.name.as_str(),
        schedule.cron,
        schedule.time_zone,
        schedule.missed.word(),
        schedule.paused,
        to_json(&schedule.task)?,
        millis(schedule.created_at),
        millis(schedule.updated_at),
        millis(schedule.settled_at),
        schedule.last_due_at.map(millis),
        schedule.last_task.map(key),
        schedule.last_error,
    ];
    db.prepare_cached(&sql)?.execute(params).map(drop)
}

fn read_schedule(row: &Row<'_>) -> Result<ScheduleRecord> {
    let name: String = row.get("name")?;
    let unnamed = |error: InvalidName| unreadable("name", error);
    let last_task: Option<[u8; 16]> = row.get("last_task")?;
    let last_due_at = match row.get::<_, Option<i64>>("last_due_ms")? {
        None => None,
        Some(_) => Some(timestamp(row, "last_due_ms")?),
    };
    Ok(ScheduleRecord {
        name: name.parse().map_err(unnamed)?,
        cron: row.get("cron")?,
        time_zone: row.get("time_zone")?,
        missed: word(row, "missed")?,
        paused: row.get("paused")?,
        task: json(row, "task")?,
        created_at: timestamp(row, "created_ms")?,
        updated_at: timestamp(row, "updated_ms")?,
        settled_at: timestamp(row, "settled_ms")?,
        last_due_at,
        last_task: last_task.map(|id| TaskId(Uuid::from_bytes(id))),
        last_error: row.get("last_error")?,
    })
}
