//! Facts about tasks, and the rows they become.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use runabout_protocol::{
    Arguments, Attempt, Checkpoint, Digest, Form, Language, Limits, Outcome, Progress,
    ScheduleName, Stream, Surroundings, TaskId, TaskState, Trust, Usage, WorkerLabel,
};
use rusqlite::{Connection, OptionalExtension, Result, params};

use crate::artifacts::{self, NewArtifact};
use crate::columns::{Word, integer, millis, to_json};
use crate::schedules;
use crate::submissions::{self, Submission};

/// A task to keep.
#[derive(Clone, Debug)]
pub struct NewTask {
    /// Its id, never used before.
    pub id: TaskId,
    /// The name it was given.
    pub name: Option<String>,
    /// The function and version it is bound to, `fib@1`.
    pub function: Option<String>,
    /// The artifact that runs; it is stored already, or comes with `artifact`.
    pub digest: Digest,
    /// The artifact itself, if it may be new and is small enough to be a row.
    pub artifact: Option<NewArtifact>,
    /// What the artifact is written in.
    pub language: Language,
    /// Script or module, for JavaScript.
    pub form: Option<Form>,
    /// The export to call.
    pub export: Option<String>,
    /// The arguments.
    pub args: Arguments,
    /// Standard input of a WASI command.
    pub stdin: Option<String>,
    /// Limits of each attempt.
    pub limits: Limits,
    /// In what surroundings its attempts run.
    pub surroundings: Surroundings,
    /// How many attempts may throw, time out or run out of memory.
    pub max_attempts: u32,
    /// Higher goes first.
    pub priority: i32,
    /// What it counts for in the queue's limit of bytes.
    pub queue_bytes: u64,
    /// Words to find it by.
    pub labels: BTreeMap<String, String>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When it may begin, if later.
    pub run_at: Option<Timestamp>,
}

/// A fact about a task. One about a task that is gone writes nothing.
#[derive(Clone, Debug)]
pub enum Write {
    /// A task was accepted.
    TaskAccepted(Arc<NewTask>),
    /// Tasks were submitted under a key; they are accepted in the same commit.
    Submitted(Arc<Submission>),
    /// An attempt was given to a worker.
    AttemptBegan {
        /// The task.
        task: TaskId,
        /// The attempt.
        attempt: Attempt,
        /// The worker.
        worker: WorkerLabel,
        /// How far its word is to be believed.
        trust: Trust,
        /// When.
        at: Timestamp,
    },
    /// An attempt ended.
    AttemptEnded {
        /// The task.
        task: TaskId,
        /// The attempt.
        attempt: Attempt,
        /// When.
        at: Timestamp,
        /// How; `None` if a graceful stop put it back.
        outcome: Option<Outcome>,
        /// What it used, if that is known.
        usage: Option<Usage>,
    },
    /// Some of an attempt's output was dropped.
    OutputTruncated {
        /// The task.
        task: TaskId,
        /// The attempt.
        attempt: Attempt,
    },
    /// A task is back in the queue.
    TaskQueued {
        /// The task.
        task: TaskId,
        /// Not before this time.
        ready_at: Timestamp,
        /// How many attempts threw, timed out or ran out of memory.
        failures: u32,
        /// How many attempts were lost.
        lost: u32,
    },
    /// A task reached its end.
    TaskEnded {
        /// The task.
        task: TaskId,
        /// When.
        at: Timestamp,
        /// Its final state.
        state: TaskState,
        /// How it ended, where that is not the outcome of its latest attempt.
        outcome: Option<Outcome>,
        /// How many attempts were lost.
        lost: u32,
    },
    /// A task and all that belongs to it is to be forgotten.
    TaskDeleted(TaskId),
    /// How far a task says it is.
    Progress {
        /// The task.
        task: TaskId,
        /// How far.
        progress: Progress,
    },
    /// A line of output.
    Log {
        /// The task.
        task: TaskId,
        /// The attempt that wrote it.
        attempt: Attempt,
        /// Its place among the attempt's lines.
        seq: u64,
        /// When it arrived.
        at: Timestamp,
        /// Where it was written.
        stream: Stream,
        /// What was written.
        text: String,
    },
    /// What a later attempt may go on from.
    Checkpoint {
        /// The task.
        task: TaskId,
        /// The state.
        checkpoint: Checkpoint,
    },
    /// A schedule's times until then were dealt with, the last of them by this task.
    ScheduleFired {
        /// The schedule.
        schedule: ScheduleName,
        /// The task that stands for the last of the times.
        task: TaskId,
        /// That time.
        due_at: Timestamp,
    },
}

impl Write {
    /// The task it is about.
    pub fn task(&self) -> TaskId {
        match self {
            Self::TaskAccepted(new) => new.id,
            Self::Submitted(submission) => submission.tasks[0],
            Self::AttemptBegan { task, .. }
            | Self::AttemptEnded { task, .. }
            | Self::OutputTruncated { task, .. }
            | Self::TaskQueued { task, .. }
            | Self::TaskEnded { task, .. }
            | Self::TaskDeleted(task)
            | Self::Progress { task, .. }
            | Self::Log { task, .. }
            | Self::Checkpoint { task, .. }
            | Self::ScheduleFired { task, .. } => *task,
        }
    }
}

/// Makes facts rows, in order, within a transaction of the caller's.
pub(crate) fn apply_all(db: &Connection, numbers: &mut Numbers, writes: &[Write]) -> Result<()> {
    let mut rest = writes;
    while let [write, later @ ..] = rest {
        rest = match (write, later.first()) {
            (Write::AttemptEnded { .. }, Some(next)) if is_its_end(write, next) => {
                end_with_latest(db, numbers, write, next)?;
                &later[1..]
            }
            _ => {
                apply(db, numbers, write)?;
                later
            }
        };
    }
    Ok(())
}

/// Whether the second fact is that the task ended with the attempt that the first is about.
fn is_its_end(attempt: &Write, end: &Write) -> bool {
    match (attempt, end) {
        (
            Write::AttemptEnded { task, outcome, .. },
            Write::TaskEnded { task: ended, outcome: of_task, .. },
        ) => task == ended && (of_task.is_none() || of_task == outcome),
        _ => false,
    }
}

/// The most common end by far, in one statement.
fn end_with_latest(
    db: &Connection,
    numbers: &mut Numbers,
    attempt: &Write,
    end: &Write,
) -> Result<()> {
    let (
        Write::AttemptEnded { task, outcome, usage, .. },
        Write::TaskEnded { at, state, lost, outcome: of_task, .. },
    ) = (attempt, end)
    else {
        return Ok(());
    };
    let Some(number) = numbers.take(db, *task)? else { return Ok(()) };
    let outcome = outcome.as_ref().map(to_json).transpose()?;
    // Usage belongs to an outcome of the function's own.
    let usage = usage.as_ref().filter(|_| of_task.is_none()).map(to_json).transpose()?;
    let sql = "UPDATE tasks SET state = ?2, finished_ms = ?3, outcome = ?4, usage = ?5, lost = ?6
         WHERE number = ?1";
    run(db, sql, params![number, state.word(), millis(*at), outcome, usage, lost])?;
    run(db, "DELETE FROM checkpoints WHERE task = ?1", [number])
}

/// Makes one fact a row. One about a task that is gone writes nothing.
fn apply(db: &Connection, numbers: &mut Numbers, write: &Write) -> Result<()> {
    match write {
        Write::TaskAccepted(new) => return accept(db, numbers, new),
        Write::Submitted(submission) => return submissions::insert(db, submission),
        Write::ScheduleFired { schedule, task, due_at } => {
            return schedules::fired(db, schedule, *task, *due_at);
        }
        _ => {}
    }
    let number = match write {
        // They may come late, about a task that has ended and need not be remembered.
        Write::Log { task, .. } | Write::OutputTruncated { task, .. } => numbers.peek(db, *task)?,
        write => numbers.of(db, write.task())?,
    };
    let Some(number) = number else { return Ok(()) };
    match write {
        Write::TaskAccepted(_) | Write::Submitted(_) | Write::ScheduleFired { .. } => Ok(()),
        Write::AttemptBegan { attempt, worker, trust, at, .. } => {
            let sql = "UPDATE tasks SET state = 'running', attempt = ?2, worker = ?3, trust = ?4,
                     started_ms = ?5, fraction = NULL, message = NULL, truncated = 0, closed = 0
                 WHERE number = ?1";
            run(db, sql, params![number, attempt.0, worker, trust.word(), millis(*at)])
        }
        Write::AttemptEnded { attempt, at, outcome, usage, .. } => {
            let outcome = outcome.as_ref().map(to_json).transpose()?;
            let usage = usage.as_ref().map(to_json).transpose()?;
            let sql = "INSERT OR REPLACE INTO attempts (task, attempt, worker, trust, started_ms,
                     finished_ms, outcome, usage, truncated)
                 SELECT number, attempt, worker, trust, started_ms, ?3, ?4, ?5, truncated
                 FROM tasks WHERE number = ?1 AND attempt = ?2 AND worker IS NOT NULL";
            run(db, sql, params![number, attempt.0, millis(*at), outcome, usage])?;
            let sql = "UPDATE tasks SET closed = 1 WHERE number = ?1 AND attempt = ?2";
            run(db, sql, params![number, attempt.0])
        }
        Write::OutputTruncated { attempt, .. } => {
            // It may be said late, of an attempt that another one followed.
            let sql = "UPDATE attempts SET truncated = 1 WHERE task = ?1 AND attempt = ?2";
            run(db, sql, params![number, attempt.0])?;
            let sql = "UPDATE tasks SET truncated = 1 WHERE number = ?1 AND attempt = ?2";
            run(db, sql, params![number, attempt.0])
        }
        Write::TaskQueued { ready_at, failures, lost, .. } => {
            let sql = "UPDATE tasks SET state = 'queued', ready_ms = ?2, failures = ?3, lost = ?4
                 WHERE number = ?1";
            run(db, sql, params![number, millis(*ready_at), failures, lost])
        }
        Write::TaskEnded { task, at, state, outcome, lost } => {
            numbers.forget(*task);
            let outcome = outcome.as_ref().map(to_json).transpose()?;
            let sql = "UPDATE tasks SET state = ?2, finished_ms = ?3, outcome = ?4, lost = ?5
                 WHERE number = ?1";
            run(db, sql, params![number, state.word(), millis(*at), outcome, lost])?;
            run(db, "DELETE FROM checkpoints WHERE task = ?1", [number])
        }
        Write::TaskDeleted(task) => {
            numbers.forget(*task);
            run(db, "DELETE FROM tasks WHERE number = ?1", [number])
        }
        Write::Progress { progress, .. } => {
            let sql = "UPDATE tasks SET fraction = ?2, message = ?3 WHERE number = ?1";
            run(db, sql, params![number, progress.fraction, progress.message])
        }
        Write::Log { attempt, seq, at, stream, text, .. } => {
            let sql = "INSERT OR REPLACE INTO logs (task, attempt, seq, at_ms, stream, text)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
            let (seq, at) = (integer(*seq), millis(*at));
            run(db, sql, params![number, attempt.0, seq, at, stream.word(), text])
        }
        Write::Checkpoint { checkpoint, .. } => {
            let encoding = checkpoint.encoding.map(Word::word);
            let sql = "INSERT OR REPLACE INTO checkpoints (task, state, encoding)
                 VALUES (?1, ?2, ?3)";
            run(db, sql, params![number, checkpoint.state.text(), encoding])
        }
    }
}

/// The rows of tasks that are being worked on, so that not every fact looks its task up.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    by_id: HashMap<TaskId, i64>,
}

/// Rows that are remembered; those of further tasks are looked up each time.
const NUMBERS_MAX: usize = 100_000;

impl Numbers {
    /// Forgets all. To be called when a transaction was undone: its numbers may be given again.
    pub(crate) fn clear(&mut self) {
        self.by_id.clear();
    }

    fn of(&mut self, db: &Connection, task: TaskId) -> Result<Option<i64>> {
        if let Some(number) = self.by_id.get(&task) {
            return Ok(Some(*number));
        }
        let found = look_up(db, task)?;
        if let Some(number) = found {
            self.remember(task, number);
        }
        Ok(found)
    }

    /// The same without remembering it.
    fn peek(&self, db: &Connection, task: TaskId) -> Result<Option<i64>> {
        self.by_id.get(&task).map_or_else(|| look_up(db, task), |number| Ok(Some(*number)))
    }

    /// The same for the last time.
    fn take(&mut self, db: &Connection, task: TaskId) -> Result<Option<i64>> {
        self.by_id.remove(&task).map_or_else(|| look_up(db, task), |number| Ok(Some(number)))
    }

    fn remember(&mut self, task: TaskId, number: i64) {
        if self.by_id.len() < NUMBERS_MAX {
            self.by_id.insert(task, number);
        }
    }

    /// Forgets one whose row is deleted, or seldom asked for again.
    pub(crate) fn forget(&mut self, task: TaskId) {
        self.by_id.remove(&task);
    }
}

fn look_up(db: &Connection, task: TaskId) -> Result<Option<i64>> {
    let sql = "SELECT number FROM tasks WHERE id = ?1";
    db.prepare_cached(sql)?.query_row([key(task)], |row| row.get(0)).optional()
}

/// An id as a column has it.
pub(crate) fn key(task: TaskId) -> [u8; 16] {
    task.0.into_bytes()
}

fn run(db: &Connection, sql: &str, params: impl rusqlite::Params) -> Result<()> {
    db.prepare_cached(sql)?.execute(params).map(drop)
}

/// Inputs up to this size stand in their task's row, which is rewritten with each change of it.
const INLINE_BYTES_MAX: usize = 512;

fn accept(db: &Connection, numbers: &mut Numbers, new: &NewTask) -> Result<()> {
    if let Some(artifact) = &new.artifact {
        artifacts::insert(db, artifact, Some(&artifact.bytes), new.created_at)?;
    }
    let input_bytes = new.args.values.text().len() + new.stdin.as_ref().map_or(0, String::len);
    let inline = input_bytes <= INLINE_BYTES_MAX;
    insert_task(db, new, inline)?;
    let number = db.last_insert_rowid();
    numbers.remember(new.id, number);
    if !inline {
        let encoding = new.args.encoding.map(Word::word);
        let sql = "INSERT INTO inputs (task, args, args_encoding, stdin) VALUES (?1, ?2, ?3, ?4)";
        run(db, sql, params![number, new.args.values.text(), encoding, new.stdin])?;
    }
    for (label, value) in &new.labels {
        let sql = "INSERT INTO labels (task, key, value) VALUES (?1, ?2, ?3)";
        run(db, sql, params![number, label, value])?;
    }
    Ok(())
}

fn insert_task(db: &Connection, new: &NewTask, inline: bool) -> Result<()> {
    let sql = "INSERT INTO tasks (id, state, name, function, digest, language, form, export,
             timeout_ms, cpu_ms, memory_bytes, max_attempts, priority, queue_bytes, labels,
             created_ms, run_at_ms, ready_ms, args, args_encoding, stdin, place, engine, reuse)
         VALUES (?1, 'queued', ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16,
             ?17, ?18, ?19, ?20, ?21, ?22, ?23)";
    let Surroundings { place, engine, reuse } = new.surroundings;
    let created_ms = millis(new.created_at);
    let run_at_ms = new.run_at.map(millis);
    let params = params![
        key(new.id),
        new.name,
        new.function,
        new.digest.0,
        new.language.word(),
        new.form.map(Word::word),
        new.export,
        integer(new.limits.timeout_ms),
        integer(new.limits.cpu_ms),
        integer(new.limits.memory_bytes),
        new.max_attempts,
        new.priority,
        integer(new.queue_bytes),
        to_json(&new.labels)?,
        created_ms,
        run_at_ms,
        run_at_ms.unwrap_or(created_ms),
        inline.then(|| new.args.values.text()),
        new.args.encoding.map(Word::word).filter(|_| inline),
        new.stdin.as_ref().filter(|_| inline),
        (!place.is_auto()).then(|| place.word()),
        engine.map(Word::word),
        reuse.then_some(true),
    ];
    run(db, sql, params)
}
