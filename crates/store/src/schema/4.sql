-- Format 4.

-- Paths of the user's own that were set by the API; those of the node's file are not kept here.
CREATE TABLE endpoints (
    path       TEXT PRIMARY KEY,
    endpoint   TEXT NOT NULL,         -- as it was asked for, JSON
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL
) WITHOUT ROWID;
