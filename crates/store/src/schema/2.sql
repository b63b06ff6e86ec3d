-- Format 2.

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
    last_task  BLOB                   -- that task's id
) WITHOUT ROWID;
