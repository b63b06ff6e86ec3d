-- Format 3.

-- Where a task's attempts may run, and in what.
ALTER TABLE tasks ADD COLUMN place TEXT;          -- null: auto
ALTER TABLE tasks ADD COLUMN engine TEXT;         -- null: whatever the worker has
ALTER TABLE tasks ADD COLUMN reuse INTEGER;       -- null: no
