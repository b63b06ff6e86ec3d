//! Reading attempts and what they wrote.

use runabout_protocol::{Attempt, AttemptRecord, LogLine, TaskId};
use rusqlite::{Connection, OptionalExtension, Result, Row, params};

use crate::columns::{count, integer, optional_json, optional_time, time, word};
use crate::portion::Portion;
use crate::write::key;
use crate::{Error, Store};

/// What is read at once of what all attempts of a task wrote. One attempt alone is always whole: less
/// is kept of it.
const LOGS_BYTES_MAX: usize = 32 << 20;
/// What a line takes beside its text, roughly.
const LINE_BYTES: usize = 128;

/// What a task wrote.
#[derive(Clone, Debug, PartialEq)]
pub struct Logs {
    /// Every line, by attempt and then in the order they were written.
    pub items: Vec<LogLine>,
    /// Whether there was more than is kept, or than is read at once.
    pub truncated: bool,
}

impl Store {
    /// What a task, or one attempt of it, has written; `None` if there is no such task.
    ///
    /// # Errors
    /// It could not be read.
    pub async fn logs(&self, id: TaskId, attempt: Option<Attempt>) -> Result<Option<Logs>, Error> {
        self.read(move |db| {
            let Some(number) = number(db, id)? else { return Ok(None) };
            read_logs(db, number, attempt).map(Some)
        })
        .await
    }

    /// The lines of a task's first `attempts` attempts that stand after that place: `lines_max` at
    /// most, and as many as take about `bytes_max`; `None` if there is no such task.
    ///
    /// # Errors
    /// They could not be read.
    pub async fn log_lines(
        &self,
        id: TaskId,
        after: Option<(Attempt, u64)>,
        attempts: Attempt,
        (lines_max, bytes_max): (u32, usize),
    ) -> Result<Option<Portion<LogLine>>, Error> {
        self.read(move |db| {
            let Some(number) = number(db, id)? else { return Ok(None) };
            let (attempt, seq) = after.map_or((0, -1), |(it, seq)| (it.0, integer(seq)));
            let sql = "SELECT at_ms, attempt, seq, stream, text FROM logs
                 WHERE task = ?1 AND (attempt, seq) > (?2, ?3) AND attempt <= ?4
                 ORDER BY attempt, seq LIMIT ?5";
            let params = params![number, attempt, seq, attempts.0, lines_max + 1];
            let mut statement = db.prepare_cached(sql)?;
            let rows = statement.query_map(params, read_line)?;
            Portion::take(rows, lines_max as usize, bytes_max, bytes_of).map(Some)
        })
        .await
    }

    /// Whether an attempt wrote more than is kept.
    ///
    /// # Errors
    /// It could not be read.
    pub async fn is_truncated(&self, id: TaskId, attempt: Attempt) -> Result<bool, Error> {
        self.read(move |db| {
            let Some(number) = number(db, id)? else { return Ok(false) };
            is_truncated(db, number, Some(attempt))
        })
        .await
    }

    /// Every attempt at a task, oldest first; `None` if there is no such task.
    ///
    /// # Errors
    /// They could not be read.
    pub async fn attempts(&self, id: TaskId) -> Result<Option<Vec<AttemptRecord>>, Error> {
        self.read(move |db| {
            let Some(number) = number(db, id)? else { return Ok(None) };
            let sql = "SELECT attempt, worker, trust, started_ms, finished_ms, outcome, usage
                 FROM attempts WHERE task = ?1
                 UNION ALL
                 SELECT attempt, worker, trust, started_ms, finished_ms, outcome, usage
                 FROM tasks WHERE number = ?1 AND attempt > 0 AND NOT closed
                 ORDER BY attempt";
            let mut statement = db.prepare_cached(sql)?;
            statement.query_map([number], read_attempt)?.collect::<Result<_>>().map(Some)
        })
        .await
    }
}

fn number(db: &Connection, id: TaskId) -> Result<Option<i64>> {
    let sql = "SELECT number FROM tasks WHERE id = ?1";
    db.prepare_cached(sql)?.query_row([key(id)], |row| row.get(0)).optional()
}

fn read_logs(db: &Connection, number: i64, attempt: Option<Attempt>) -> Result<Logs> {
    let is_truncated = is_truncated(db, number, attempt)?;
    let attempt = attempt.map(|attempt| attempt.0);
    let sql = "SELECT at_ms, attempt, seq, stream, text FROM logs
         WHERE task = ?1 AND (?2 IS NULL OR attempt = ?2) ORDER BY attempt, seq";
    let mut statement = db.prepare_cached(sql)?;
    let rows = statement.query_map(params![number, attempt], read_line)?;
    let Portion { items, more } = Portion::take(rows, usize::MAX, LOGS_BYTES_MAX, bytes_of)?;
    Ok(Logs { items, truncated: is_truncated || more })
}

fn bytes_of(line: &LogLine) -> usize {
    line.text.len() + LINE_BYTES
}

fn is_truncated(db: &Connection, number: i64, attempt: Option<Attempt>) -> Result<bool> {
    let attempt = attempt.map(|attempt| attempt.0);
    let sql = "SELECT coalesce(max(truncated), 0) FROM
             (SELECT attempt, truncated FROM attempts WHERE task = ?1
              UNION ALL
              SELECT attempt, truncated FROM tasks WHERE number = ?1)
         WHERE ?2 IS NULL OR attempt = ?2";
    let mut statement = db.prepare_cached(sql)?;
    statement.query_row(params![number, attempt], |row| row.get(0))
}

fn read_line(row: &Row<'_>) -> Result<LogLine> {
    Ok(LogLine {
        at: time(row, "at_ms")?,
        attempt: Attempt(row.get("attempt")?),
        seq: count(row, "seq")?,
        stream: word(row, "stream")?,
        text: row.get("text")?,
    })
}

fn read_attempt(row: &Row<'_>) -> Result<AttemptRecord> {
    Ok(AttemptRecord {
        attempt: Attempt(row.get("attempt")?),
        worker: row.get("worker")?,
        trust: word(row, "trust")?,
        started_at: time(row, "started_ms")?,
        finished_at: optional_time(row, "finished_ms")?,
        outcome: optional_json(row, "outcome")?,
        usage: optional_json(row, "usage")?,
    })
}
