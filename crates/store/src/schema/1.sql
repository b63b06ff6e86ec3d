-- Format 1. Times are milliseconds since the Unix epoch, digests and ids are their bytes.

CREATE TABLE artifacts (
    digest   BLOB PRIMARY KEY,
    language TEXT NOT NULL,
    form     TEXT,
    exports  TEXT NOT NULL,          -- a JSON array of names
    stored_ms INTEGER NOT NULL,      -- when it was last handed in
    bytes    BLOB                    -- null: it is a file beside the database
) WITHOUT ROWID;

-- The counter outlives a function that is deleted, so that no version number is used again.
CREATE TABLE functions (
    name         TEXT PRIMARY KEY,
    last_version INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE versions (
    name       TEXT NOT NULL REFERENCES functions (name),
    version    INTEGER NOT NULL,
    digest     BLOB NOT NULL,
    language   TEXT NOT NULL,
    form       TEXT,
    exports    TEXT NOT NULL,
    manifest   TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    PRIMARY KEY (name, version)
) WITHOUT ROWID;

CREATE INDEX versions_by_digest ON versions (digest);

-- What changes while a task lives is kept apart from its inputs, which may be large: a change
-- rewrites the whole row.
CREATE TABLE tasks (
    number       INTEGER PRIMARY KEY, -- the order of submission
    id           BLOB NOT NULL UNIQUE,
    state        TEXT NOT NULL,
    name         TEXT,
    function     TEXT,                -- with its version, fib@1
    function_name TEXT GENERATED ALWAYS AS (substr(function, 1, instr(function, '@') - 1)) VIRTUAL,
    digest       BLOB NOT NULL,
    language     TEXT NOT NULL,
    form         TEXT,
    export       TEXT,
    timeout_ms   INTEGER NOT NULL,
    cpu_ms       INTEGER NOT NULL,
    memory_bytes INTEGER NOT NULL,
    max_attempts INTEGER NOT NULL,
    priority     INTEGER NOT NULL,
    queue_bytes  INTEGER NOT NULL,    -- what it counts for in the queue's limit
    labels       TEXT NOT NULL,       -- a JSON object
    created_ms   INTEGER NOT NULL,
    run_at_ms    INTEGER,
    ready_ms     INTEGER NOT NULL,    -- run_at_ms, or later after a failed attempt
    attempt      INTEGER NOT NULL DEFAULT 0,
    failures     INTEGER NOT NULL DEFAULT 0,
    lost         INTEGER NOT NULL DEFAULT 0,
    fraction     REAL,
    message      TEXT,
    finished_ms  INTEGER,
    outcome      TEXT                 -- null: that of the latest attempt, once it has ended
);

-- Every index ends in the number by itself, so lists come newest first without sorting. Finished
-- tasks are mostly succeeded ones, which need no index to be found.
CREATE INDEX tasks_unfinished ON tasks (state) WHERE state IN ('queued', 'running');
CREATE INDEX tasks_gone_wrong ON tasks (state) WHERE state IN ('failed', 'cancelled');
CREATE INDEX tasks_by_name ON tasks (name) WHERE name IS NOT NULL;
CREATE INDEX tasks_by_function ON tasks (function_name) WHERE function_name IS NOT NULL;
CREATE INDEX tasks_by_digest ON tasks (digest);

CREATE TABLE inputs (
    task          INTEGER PRIMARY KEY REFERENCES tasks (number) ON DELETE CASCADE,
    args          TEXT NOT NULL,
    args_encoding TEXT,
    stdin         TEXT
);

CREATE TABLE labels (
    task  INTEGER NOT NULL REFERENCES tasks (number) ON DELETE CASCADE,
    key   TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (task, key)
) WITHOUT ROWID;

CREATE INDEX labels_by_value ON labels (key, value, task);

CREATE TABLE attempts (
    task        INTEGER NOT NULL REFERENCES tasks (number) ON DELETE CASCADE,
    attempt     INTEGER NOT NULL,
    worker      TEXT NOT NULL,
    trust       TEXT NOT NULL,
    started_ms  INTEGER NOT NULL,
    finished_ms INTEGER,
    outcome     TEXT,
    usage       TEXT,
    truncated   INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (task, attempt)
) WITHOUT ROWID;

CREATE TABLE logs (
    task    INTEGER NOT NULL REFERENCES tasks (number) ON DELETE CASCADE,
    attempt INTEGER NOT NULL,
    seq     INTEGER NOT NULL,
    at_ms   INTEGER NOT NULL,
    stream  TEXT NOT NULL,
    text    TEXT NOT NULL,
    PRIMARY KEY (task, attempt, seq)
) WITHOUT ROWID;

-- Gone when the task has ended.
CREATE TABLE checkpoints (
    task     INTEGER PRIMARY KEY REFERENCES tasks (number) ON DELETE CASCADE,
    state    TEXT NOT NULL,
    encoding TEXT
);
