//! Reading tasks: as clients see them, as workers are sent them, as the scheduler takes them up.

use jiff::Timestamp;
use runabout_protocol::{
    Arguments, Attempt, Checkpoint, Json, Language, Limits, Outcome, Progress, Run, Surroundings,
    Task, TaskId, TaskState,
};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Result, Row, params, params_from_iter};

use crate::columns::{
    Word, count, digest, json, optional_json, optional_time, optional_word, surroundings, task_id,
    time, timestamp, word,
};
use crate::portion::{PORTION_BYTES_MAX, Portion};
use crate::write::key;
use crate::{Error, Store};

/// The most tasks in one page.
pub const PAGE_TASKS_MAX: u32 = 1_000;

/// Which tasks to list.
#[derive(Clone, Debug, Default)]
pub struct TaskFilter {
    /// Those in this state.
    pub state: Option<TaskState>,
    /// Those of this name.
    pub name: Option<String>,
    /// Those of this function, `fib`, or of this version of it, `fib@1`.
    pub function: Option<String>,
    /// Those with this label, and this value of it.
    pub label: Option<(String, String)>,
    /// How many at most, from 1 to [`PAGE_TASKS_MAX`]; fewer if they are large.
    pub limit: u32,
    /// Those submitted before this one.
    pub cursor: Option<TaskId>,
}

/// Some tasks, newest first.
#[derive(Clone, Debug)]
pub struct Page {
    /// The tasks.
    pub items: Vec<Task>,
    /// Where the next page begins, if there is one.
    pub next_cursor: Option<TaskId>,
}

/// A task that had not ended when the node did.
#[derive(Clone, Debug)]
pub struct UnfinishedTask {
    /// The task.
    pub id: TaskId,
    /// What a worker must be able to run.
    pub language: Language,
    /// In what surroundings its attempts run.
    pub surroundings: Surroundings,
    /// Higher goes first.
    pub priority: i32,
    /// What it counts for in the queue's limit of bytes.
    pub queue_bytes: u64,
    /// The wall-clock limit of each attempt.
    pub timeout_ms: u64,
    /// How many attempts may throw, time out or run out of memory.
    pub max_attempts: u32,
    /// The latest attempt.
    pub attempt: Attempt,
    /// How many attempts threw, timed out or ran out of memory.
    pub failures: u32,
    /// How many attempts were lost.
    pub lost: u32,
    /// Not before this time.
    pub ready_at: Timestamp,
    /// Whether the latest attempt was under way.
    pub running: bool,
    /// Its value of the label that was asked for.
    pub label: Option<String>,
}

/// Inputs that are too large for the task's own row stand in another.
const TASK: &str = "SELECT t.id, t.name, t.state, t.function, t.digest, t.language, t.export,
         t.attempt, t.max_attempts, t.lost, t.priority, t.place, t.labels, t.created_ms, t.run_at_ms,
         t.fraction, t.message, t.finished_ms, t.started_ms, t.worker, t.trust, t.outcome, t.usage,
         coalesce(t.args, i.args) AS args,
         coalesce(t.args_encoding, i.args_encoding) AS args_encoding";

const JOINED: &str = "LEFT JOIN inputs AS i ON t.args IS NULL AND i.task = t.number";

impl Store {
    /// A task.
    ///
    /// # Errors
    /// It could not be read.
    pub async fn task(&self, id: TaskId) -> Result<Option<Task>, Error> {
        self.read(move |db| {
            let sql = format!("{TASK} FROM tasks AS t {JOINED} WHERE t.id = ?1");
            db.prepare_cached(&sql)?.query_row([key(id)], read_task).optional()
        })
        .await
    }

    /// A page of tasks.
    ///
    /// # Errors
    /// They could not be read.
    pub async fn tasks(&self, filter: &TaskFilter) -> Result<Page, Error> {
        let filter = filter.clone();
        self.read(move |db| list(db, &filter)).await
    }

    /// Every task that has not ended, in the order of submission, each with its value of one label
    /// if `label` names one.
    ///
    /// # Errors
    /// They could not be read.
    pub async fn unfinished(&self, label: Option<String>) -> Result<Vec<UnfinishedTask>, Error> {
        self.read(move |db| {
            // Most tasks have no labels, and those cost no look into the other table.
            let sql = "SELECT id, language, priority, queue_bytes, timeout_ms, max_attempts,
                     attempt, failures, lost, ready_ms, state, place, engine, reuse,
                     CASE WHEN ?1 IS NOT NULL AND labels <> '{}' THEN
                         (SELECT value FROM labels WHERE task = number AND key = ?1)
                     END AS label
                 FROM tasks WHERE state IN ('queued', 'running') ORDER BY number";
            db.prepare(sql)?.query_map([label], read_unfinished)?.collect()
        })
        .await
    }

    /// What workers are sent for these attempts; tasks that are gone are left out.
    ///
    /// # Errors
    /// They could not be read.
    pub async fn runs(&self, attempts: Vec<(TaskId, Attempt)>) -> Result<Vec<Run>, Error> {
        self.read(move |db| {
            let run = |(task, attempt): &(TaskId, Attempt)| load_run(db, *task, *attempt);
            attempts.iter().filter_map(|it| run(it).transpose()).collect()
        })
        .await
    }
}

fn list(db: &Connection, filter: &TaskFilter) -> Result<Page> {
    let limit = filter.limit.clamp(1, PAGE_TASKS_MAX) as usize;
    let (sql, params) = query(filter, limit);
    let mut statement = db.prepare_cached(&sql)?;
    let rows = statement.query_map(params_from_iter(params), read_task)?;
    let Portion { items, more } = Portion::take(rows, limit, PORTION_BYTES_MAX, bytes_of)?;
    let next_cursor = items.last().filter(|_| more).map(|task| task.id);
    Ok(Page { items, next_cursor })
}

/// What a task takes, as far as its submitter and its runs decide.
fn bytes_of(task: &Task) -> usize {
    let outcome = match &task.outcome {
        Some(Outcome::Returned(returned)) => returned.value.text().len(),
        Some(Outcome::Threw(error)) => {
            error.message.len() + error.stack.as_ref().map_or(0, String::len)
        }
        _ => 0,
    };
    task.args.text().len() + outcome
}

/// Every filter meets an index that is in the order of the list, so a page costs what it holds.
fn query(filter: &TaskFilter, limit: usize) -> (String, Vec<Value>) {
    let mut sql = format!("{TASK} FROM ");
    let mut params = Vec::new();
    let mut given = |value: Value| {
        params.push(value);
        "?"
    };
    if let Some((label, value)) = &filter.label {
        let (label, value) = (given(label.clone().into()), given(value.clone().into()));
        sql += "labels AS l CROSS JOIN tasks AS t ON t.number = l.task ";
        sql += &format!("AND l.key = {label} AND l.value = {value} {JOINED} WHERE TRUE");
    } else {
        sql += &format!("tasks AS t {JOINED} WHERE TRUE");
    }
    if let Some(state) = filter.state {
        sql += match state {
            TaskState::Queued | TaskState::Running => " AND t.state IN ('queued', 'running')",
            TaskState::Failed | TaskState::Cancelled => " AND t.state IN ('failed', 'cancelled')",
            TaskState::Succeeded => "",
        };
        sql += &format!(" AND t.state = {}", given(state.word().to_owned().into()));
    }
    if let Some(name) = &filter.name {
        sql += &format!(" AND t.name = {}", given(name.clone().into()));
    }
    if let Some(function) = &filter.function {
        let name = function.split('@').next().unwrap_or_default();
        sql += &format!(" AND t.function_name = {}", given(name.to_owned().into()));
        if name != function {
            sql += &format!(" AND t.function = {}", given(function.clone().into()));
        }
    }
    if let Some(cursor) = filter.cursor {
        // A cursor outlives its task.
        let id = || Value::from(key(cursor).to_vec());
        let (it, older) = (given(id()), given(id()));
        sql += &format!(
            " AND t.number < coalesce((SELECT number FROM tasks WHERE id = {it}), \
             (SELECT number + 1 FROM tasks WHERE id < {older} ORDER BY id DESC LIMIT 1), 0)"
        );
    }
    sql += &format!(" ORDER BY t.number DESC LIMIT {}", limit + 1);
    (sql, params)
}

fn read_task(row: &Row<'_>) -> Result<Task> {
    Ok(Task {
        id: task_id(row, "id")?,
        name: row.get("name")?,
        state: word(row, "state")?,
        function: row.get("function")?,
        digest: digest(row, "digest")?,
        language: word(row, "language")?,
        export: row.get("export")?,
        args: json(row, "args")?,
        args_encoding: optional_word(row, "args_encoding")?,
        attempt: Attempt(row.get("attempt")?),
        max_attempts: row.get("max_attempts")?,
        lost: row.get("lost")?,
        priority: row.get("priority")?,
        place: optional_word(row, "place")?.unwrap_or_default(),
        labels: json(row, "labels")?,
        created_at: time(row, "created_ms")?,
        run_at: optional_time(row, "run_at_ms")?,
        started_at: optional_time(row, "started_ms")?,
        finished_at: optional_time(row, "finished_ms")?,
        worker: row.get("worker")?,
        trust: optional_word(row, "trust")?,
        progress: read_progress(row)?,
        outcome: optional_json(row, "outcome")?,
        usage: optional_json(row, "usage")?,
    })
}

fn read_progress(row: &Row<'_>) -> Result<Option<Progress>> {
    let message = row.get("message")?;
    let fraction: Option<f64> = row.get("fraction")?;
    Ok(fraction.map(|fraction| Progress { fraction, message }))
}

fn read_unfinished(row: &Row<'_>) -> Result<UnfinishedTask> {
    Ok(UnfinishedTask {
        id: task_id(row, "id")?,
        language: word(row, "language")?,
        surroundings: surroundings(row)?,
        priority: row.get("priority")?,
        queue_bytes: count(row, "queue_bytes")?,
        timeout_ms: count(row, "timeout_ms")?,
        max_attempts: row.get("max_attempts")?,
        attempt: Attempt(row.get("attempt")?),
        failures: row.get("failures")?,
        lost: row.get("lost")?,
        ready_at: timestamp(row, "ready_ms")?,
        running: word::<TaskState>(row, "state")? == TaskState::Running,
        label: row.get("label")?,
    })
}

fn load_run(db: &Connection, task: TaskId, attempt: Attempt) -> Result<Option<Run>> {
    let sql = "SELECT t.digest, t.language, t.form, t.export, t.timeout_ms, t.cpu_ms,
             t.memory_bytes, coalesce(t.args, i.args) AS args,
             coalesce(t.args_encoding, i.args_encoding) AS args_encoding,
             coalesce(t.stdin, i.stdin) AS stdin, t.place, t.engine, t.reuse,
             c.state, c.encoding
         FROM tasks AS t
         LEFT JOIN inputs AS i ON t.args IS NULL AND i.task = t.number
         LEFT JOIN checkpoints AS c ON c.task = t.number
         WHERE t.id = ?1";
    let read = |row: &Row<'_>| read_run(row, task, attempt);
    db.prepare_cached(sql)?.query_row(params![key(task)], read).optional()
}

fn read_run(row: &Row<'_>, task: TaskId, attempt: Attempt) -> Result<Run> {
    let state: Option<Json> = optional_json(row, "state")?;
    let encoding = optional_word(row, "encoding")?;
    Ok(Run {
        task,
        attempt,
        artifact: digest(row, "digest")?,
        language: word(row, "language")?,
        form: optional_word(row, "form")?,
        export: row.get("export")?,
        args: Arguments {
            values: json(row, "args")?,
            encoding: optional_word(row, "args_encoding")?,
        },
        stdin: row.get("stdin")?,
        limits: Limits {
            timeout_ms: count(row, "timeout_ms")?,
            cpu_ms: count(row, "cpu_ms")?,
            memory_bytes: count(row, "memory_bytes")?,
        },
        checkpoint: state.map(|state| Checkpoint { state, encoding }),
        surroundings: surroundings(row)?,
    })
}
