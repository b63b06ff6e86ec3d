-- Format 2.

-- The latest attempt stands in its task's row, and small inputs too, so that most tasks are one row
-- in all. Only attempts that another one followed are rows of their own.
ALTER TABLE tasks ADD COLUMN args TEXT;           -- null: they are a row of inputs
ALTER TABLE tasks ADD COLUMN args_encoding TEXT;
ALTER TABLE tasks ADD COLUMN stdin TEXT;
ALTER TABLE tasks ADD COLUMN worker TEXT;
ALTER TABLE tasks ADD COLUMN trust TEXT;
ALTER TABLE tasks ADD COLUMN started_ms INTEGER;
ALTER TABLE tasks ADD COLUMN usage TEXT;
ALTER TABLE tasks ADD COLUMN truncated INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tasks ADD COLUMN closed INTEGER NOT NULL DEFAULT 0; -- the latest attempt is a row too

UPDATE tasks SET
    worker = a.worker,
    trust = a.trust,
    started_ms = a.started_ms,
    usage = CASE WHEN finished_ms IS NOT NULL AND tasks.outcome IS NULL THEN a.usage END,
    outcome = CASE WHEN finished_ms IS NOT NULL THEN coalesce(tasks.outcome, a.outcome) END,
    truncated = a.truncated,
    closed = tasks.state <> 'running'
FROM (SELECT task AS number, attempt AS latest, worker, trust, started_ms, outcome, usage, truncated
      FROM attempts) AS a
WHERE a.number = tasks.number AND a.latest = tasks.attempt;

DELETE FROM attempts WHERE (task, attempt) IN
    (SELECT number, attempt FROM tasks WHERE state = 'running');

-- An artifact nobody names any more is found by looking through the tasks: that is done seldom,
-- and an index is paid for with every task.
DROP INDEX tasks_by_digest;

-- Submissions that carried an idempotency key, so that one sent again is not done again. Kept for a
-- day, and for as long as one of its tasks is.
CREATE TABLE submissions (
    key         TEXT PRIMARY KEY,
    fingerprint BLOB NOT NULL,        -- of what was submitted: the same key may not mean another
    tasks       BLOB NOT NULL,        -- the ids, one after the other
    created_ms  INTEGER NOT NULL
) WITHOUT ROWID;

CREATE INDEX submissions_by_age ON submissions (created_ms);

CREATE TABLE schedules (
    name       TEXT PRIMARY KEY,
    cron       TEXT NOT NULL,
    time_zone  TEXT NOT NULL,         -- an IANA name
    missed     TEXT NOT NULL,         -- what becomes of runs that were due while the node was down
    paused     INTEGER NOT NULL,
    task       TEXT NOT NULL,         -- the task request, JSON
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    settled_ms INTEGER NOT NULL,      -- every time that was due until then has been dealt with
    last_due_ms INTEGER,              -- the time that the latest task stands for
    last_task  BLOB,                  -- that task's id
    last_error TEXT                   -- why the latest time led to no task; null if it did
) WITHOUT ROWID;
