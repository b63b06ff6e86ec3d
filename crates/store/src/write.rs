//! Facts about tasks, and the rows they become.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use runabout_protocol::{
    Arguments, Attempt, Checkpoint, Digest, Form, Language, Limits, Outcome, Progress, Stream,
    TaskId, TaskState, Trust, Usage, WorkerLabel,
};
use rusqlite::{Connection, Result, named_params, params};

use crate::artifacts::{self, NewArtifact};
use crate::columns::{Word, integer, millis, to_json};

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
}

impl Write {
    /// The task it is about.
    pub fn task(&self) -> TaskId {
        match self {
            Self::TaskAccepted(new) => new.id,
            Self::AttemptBegan { task, .. }
            | Self::AttemptEnded { task, .. }
            | Self::OutputTruncated { task, .. }
            | Self::TaskQueued { task, .. }
            | Self::TaskEnded { task, .. }
            | Self::TaskDeleted(task)
            | Self::Progress { task, .. }
            | Self::Log { task, .. }
            | Self::Checkpoint { task, .. } => *task,
        }
    }
}

/// Makes one fact a row, within a transaction of the caller's.
pub(crate) fn apply(db: &Connection, write: &Write) -> Result<()> {
    match write {
        Write::TaskAccepted(new) => accept(db, new),
        Write::AttemptBegan { task, attempt, worker, trust, at } => {
            attempt_began(db, *task, *attempt, (worker, *trust, *at))
        }
        Write::AttemptEnded { task, attempt, at, outcome, usage } => {
            let outcome = outcome.as_ref().map(to_json).transpose()?;
            let usage = usage.as_ref().map(to_json).transpose()?;
            let sql = "UPDATE attempts SET finished_ms = ?3, outcome = ?4, usage = ?5
                 WHERE task = (SELECT number FROM tasks WHERE id = ?1) AND attempt = ?2";
            run(db, sql, params![key(*task), attempt.0, millis(*at), outcome, usage])
        }
        Write::OutputTruncated { task, attempt } => {
            let sql = "UPDATE attempts SET truncated = 1
                 WHERE task = (SELECT number FROM tasks WHERE id = ?1) AND attempt = ?2";
            run(db, sql, params![key(*task), attempt.0])
        }
        Write::TaskQueued { task, ready_at, failures, lost } => {
            let sql = "UPDATE tasks SET state = 'queued', ready_ms = ?2, failures = ?3, lost = ?4
                 WHERE id = ?1";
            run(db, sql, params![key(*task), millis(*ready_at), failures, lost])
        }
        Write::TaskEnded { task, at, state, outcome, lost } => {
            let outcome = outcome.as_ref().map(to_json).transpose()?;
            let sql = "UPDATE tasks SET state = ?2, finished_ms = ?3, outcome = ?4, lost = ?5
                 WHERE id = ?1";
            run(db, sql, params![key(*task), state.word(), millis(*at), outcome, lost])?;
            let sql = "DELETE FROM checkpoints
                 WHERE task = (SELECT number FROM tasks WHERE id = ?1)";
            run(db, sql, params![key(*task)])
        }
        Write::TaskDeleted(task) => run(db, "DELETE FROM tasks WHERE id = ?1", params![key(*task)]),
        Write::Progress { task, progress } => {
            let sql = "UPDATE tasks SET fraction = ?2, message = ?3 WHERE id = ?1";
            run(db, sql, params![key(*task), progress.fraction, progress.message])
        }
        Write::Log { task, attempt, seq, at, stream, text } => {
            let sql = "INSERT OR REPLACE INTO logs (task, attempt, seq, at_ms, stream, text)
                 SELECT number, ?2, ?3, ?4, ?5, ?6 FROM tasks WHERE id = ?1";
            let line =
                params![key(*task), attempt.0, integer(*seq), millis(*at), stream.word(), text];
            run(db, sql, line)
        }
        Write::Checkpoint { task, checkpoint } => {
            let encoding = checkpoint.encoding.map(Word::word);
            let sql = "INSERT OR REPLACE INTO checkpoints (task, state, encoding)
                 SELECT number, ?2, ?3 FROM tasks WHERE id = ?1";
            run(db, sql, params![key(*task), checkpoint.state.text(), encoding])
        }
    }
}

/// An id as a column has it.
pub(crate) fn key(task: TaskId) -> [u8; 16] {
    task.0.into_bytes()
}

fn run(db: &Connection, sql: &str, params: impl rusqlite::Params) -> Result<()> {
    db.prepare_cached(sql)?.execute(params).map(drop)
}

fn accept(db: &Connection, new: &NewTask) -> Result<()> {
    if let Some(artifact) = &new.artifact {
        artifacts::insert(db, artifact, Some(&artifact.bytes), new.created_at)?;
    }
    insert_task(db, new)?;
    let number = db.last_insert_rowid();
    let encoding = new.args.encoding.map(Word::word);
    let sql = "INSERT INTO inputs (task, args, args_encoding, stdin) VALUES (?1, ?2, ?3, ?4)";
    run(db, sql, params![number, new.args.values.text(), encoding, new.stdin])?;
    for (label, value) in &new.labels {
        let sql = "INSERT INTO labels (task, key, value) VALUES (?1, ?2, ?3)";
        run(db, sql, params![number, label, value])?;
    }
    Ok(())
}

fn insert_task(db: &Connection, new: &NewTask) -> Result<()> {
    let sql = "INSERT INTO tasks (id, state, name, function, digest, language, form, export,
             timeout_ms, cpu_ms, memory_bytes, max_attempts, priority, queue_bytes, labels,
             created_ms, run_at_ms, ready_ms)
         VALUES (:id, 'queued', :name, :function, :digest, :language, :form, :export,
             :timeout_ms, :cpu_ms, :memory_bytes, :max_attempts, :priority, :queue_bytes, :labels,
             :created_ms, :run_at_ms, :ready_ms)";
    let created_ms = millis(new.created_at);
    let run_at_ms = new.run_at.map(millis);
    let params = named_params! {
        ":id": key(new.id),
        ":name": new.name,
        ":function": new.function,
        ":digest": new.digest.0,
        ":language": new.language.word(),
        ":form": new.form.map(Word::word),
        ":export": new.export,
        ":timeout_ms": integer(new.limits.timeout_ms),
        ":cpu_ms": integer(new.limits.cpu_ms),
        ":memory_bytes": integer(new.limits.memory_bytes),
        ":max_attempts": new.max_attempts,
        ":priority": new.priority,
        ":queue_bytes": integer(new.queue_bytes),
        ":labels": to_json(&new.labels)?,
        ":created_ms": created_ms,
        ":run_at_ms": run_at_ms,
        ":ready_ms": run_at_ms.unwrap_or(created_ms),
    };
    run(db, sql, params)
}

fn attempt_began(
    db: &Connection,
    task: TaskId,
    attempt: Attempt,
    (worker, trust, at): (&str, Trust, Timestamp),
) -> Result<()> {
    let sql = "UPDATE tasks SET state = 'running', attempt = ?2, fraction = NULL, message = NULL
         WHERE id = ?1";
    run(db, sql, params![key(task), attempt.0])?;
    let sql = "INSERT INTO attempts (task, attempt, worker, trust, started_ms)
         SELECT number, ?2, ?3, ?4, ?5 FROM tasks WHERE id = ?1";
    run(db, sql, params![key(task), attempt.0, worker, trust.word(), millis(at)])
}
