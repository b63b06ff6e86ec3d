//! Forgets what has been finished for long enough: tasks with all that belongs to them, and the
//! records of submissions whose tasks are gone. In small steps, so that the writer is never held
//! for long. How often, and how long is long enough, is for the caller to say.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use runabout_protocol::TaskId;
use rusqlite::{Connection, OptionalExtension, Result, params};

use crate::columns::{millis, task_id};
use crate::{Error, Store};

/// Tasks, or submissions, that one step looks at.
const STEP_ROWS: i64 = 500;

/// When one transaction has taken this long, it leaves the rest to the next: a task may have much
/// output, and whoever wants to write waits meanwhile.
const TRANSACTION_TIME_MAX: Duration = Duration::from_millis(10);

/// A walk through the finished tasks, from the oldest on.
///
/// Tasks stand in the order of submission, so a walk ends where those begin that were submitted too
/// late to have ended early enough. The next one goes on there, or at the first that had ended but
/// not early enough, so that it costs what it removes. Those it has passed that had not ended at all
/// are looked at again only by a walk from the start.
#[derive(Clone, Copy, Debug, Default)]
pub struct TaskWalk {
    /// The number of the last task that was dealt with.
    after: i64,
    /// Where the next walk begins, if not here.
    again_after: Option<i64>,
}

/// A walk through the records of submissions, from the oldest on.
#[derive(Clone, Debug, Default)]
pub struct SubmissionWalk {
    /// The time and the key of the last record that was dealt with.
    after: (i64, String),
}

/// What a step of a walk did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// How many were removed.
    pub removed: u64,
    /// Whether there may be more to do for now.
    pub more: bool,
}

impl Store {
    /// Removes some of the tasks that ended before `before`, with all that belongs to them. `gone` is
    /// told which, as soon as that is durable.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::Failed`]; the walk goes on where it was.
    pub async fn forget_tasks(
        &self,
        walk: &mut TaskWalk,
        before: Timestamp,
        mut gone: impl FnMut(Vec<TaskId>),
    ) -> Result<Step, Error> {
        let (after, before) = (walk.after, millis(before));
        let found = self.read(move |db| old_tasks(db, after, before)).await?;
        let mut removed = 0;
        let mut rest = found.ended;
        while !rest.is_empty() {
            let (some, numbers) = (rest.clone(), Arc::clone(&self.inner.numbers));
            let delete = move |db: &Connection| {
                let deleted = delete_tasks(db, &some, before)?;
                // Its number may be given to another task now.
                some.iter().take(deleted.done).for_each(|task| numbers.lock().forget(task.id));
                Ok(deleted)
            };
            let deleted = self.write(delete).await?;
            removed += deleted.gone.len() as u64;
            rest.drain(..deleted.done);
            gone(deleted.gone);
        }
        walk.again_after = walk.again_after.or(found.soon.map(|number| number - 1));
        walk.after = match found.last {
            Some(last) => last,
            // Numbers above the highest that is left are given again.
            None => walk.again_after.take().unwrap_or(walk.after.min(found.highest)),
        };
        Ok(Step { removed, more: found.last.is_some() })
    }

    /// Removes some of the records of submissions from before `before` of which no task is left.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::Failed`]; the walk goes on where it was.
    pub async fn forget_submissions(
        &self,
        walk: &mut SubmissionWalk,
        before: Timestamp,
    ) -> Result<Step, Error> {
        let after = walk.after.clone();
        let found = self.read(move |db| old_submissions(db, &after, millis(before))).await?;
        let removed = found.gone.len() as u64;
        if removed > 0 {
            let gone = found.gone;
            self.write(move |db| delete_submissions(db, &gone)).await?;
        }
        let more = found.last.is_some();
        walk.after = found.last.unwrap_or_else(|| std::mem::take(&mut walk.after));
        Ok(Step { removed, more })
    }
}

#[derive(Clone, Copy)]
struct Ended {
    number: i64,
    id: TaskId,
}

struct OldTasks {
    /// Those that ended early enough.
    ended: Vec<Ended>,
    /// The first that was submitted early enough and ended too late: its time comes.
    soon: Option<i64>,
    /// The last one that was looked at; `None` where none was submitted early enough.
    last: Option<i64>,
    /// The highest number of all tasks.
    highest: i64,
}

fn old_tasks(db: &Connection, after: i64, before: i64) -> Result<OldTasks> {
    let sql = "SELECT number, id, created_ms < ?2 AS old, finished_ms < ?2 AS ended
         FROM tasks WHERE number > ?1 ORDER BY number LIMIT ?3";
    let mut statement = db.prepare_cached(sql)?;
    let mut rows = statement.query([after, before, STEP_ROWS])?;
    let highest = "SELECT coalesce(max(number), 0) FROM tasks";
    let highest = db.prepare_cached(highest)?.query_row((), |row| row.get(0))?;
    let mut found = OldTasks { ended: Vec::new(), soon: None, last: None, highest };
    while let Some(row) = rows.next()? {
        let number = row.get("number")?;
        // Those that follow the first young one too: the clock may have been wrong for a while.
        let is_old: bool = row.get("old")?;
        if is_old {
            found.last = Some(number);
        }
        // Null for one that has not ended.
        match row.get("ended")? {
            Some(true) => found.ended.push(Ended { number, id: task_id(row, "id")? }),
            Some(false) if is_old => found.soon = found.soon.or(Some(number)),
            Some(false) | None => {}
        }
    }
    Ok(found)
}

struct Deleted {
    /// How many were dealt with.
    done: usize,
    /// Those that were still there.
    gone: Vec<TaskId>,
}

/// Deletes from the front of `tasks` and says how far it came.
fn delete_tasks(db: &Connection, tasks: &[Ended], before: i64) -> Result<Deleted> {
    let began = Instant::now();
    let sql = "DELETE FROM tasks WHERE number = ?1 AND finished_ms < ?2";
    let mut statement = db.prepare_cached(sql)?;
    let (mut done, mut gone) = (0, Vec::new());
    for task in tasks {
        if statement.execute([task.number, before])? > 0 {
            gone.push(task.id);
        }
        done += 1;
        if began.elapsed() > TRANSACTION_TIME_MAX {
            break;
        }
    }
    Ok(Deleted { done, gone })
}

type SubmissionPlace = (i64, String);

struct OldSubmissions {
    /// Those of which no task is left.
    gone: Vec<SubmissionPlace>,
    /// The last one that was looked at; `None` where none is old enough.
    last: Option<SubmissionPlace>,
}

fn old_submissions(
    db: &Connection,
    after: &SubmissionPlace,
    before: i64,
) -> Result<OldSubmissions> {
    let sql = "SELECT created_ms, key, tasks FROM submissions
         WHERE (created_ms, key) > (?1, ?2) AND created_ms < ?3
         ORDER BY created_ms, key LIMIT ?4";
    let mut statement = db.prepare_cached(sql)?;
    let mut rows = statement.query(params![after.0, after.1, before, STEP_ROWS])?;
    let mut found = OldSubmissions { gone: Vec::new(), last: None };
    while let Some(row) = rows.next()? {
        let place = (row.get(0)?, row.get(1)?);
        let tasks: Vec<u8> = row.get(2)?;
        if !any_is_there(db, &tasks)? {
            found.gone.push(place.clone());
        }
        found.last = Some(place);
    }
    Ok(found)
}

fn any_is_there(db: &Connection, tasks: &[u8]) -> Result<bool> {
    let mut statement = db.prepare_cached("SELECT 1 FROM tasks WHERE id = ?1")?;
    for id in tasks.chunks(16) {
        if statement.query_row([id], |_| Ok(())).optional()?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// With its time: the same key may have been used anew.
fn delete_submissions(db: &Connection, gone: &[SubmissionPlace]) -> Result<()> {
    let mut statement =
        db.prepare_cached("DELETE FROM submissions WHERE key = ?2 AND created_ms = ?1")?;
    for (created_ms, key) in gone {
        statement.execute(params![created_ms, key])?;
    }
    Ok(())
}
