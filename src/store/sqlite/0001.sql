-- Words and JSON as text, so that a person with the `sqlite3` program can read everything. Identifiers and digests are
-- blobs, moments are milliseconds since 1970. Only tables that readers ask have indexes; the log has none.

CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO meta VALUES ('epoch', 0);

CREATE TABLE events (
    seq INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    version INTEGER NOT NULL,
    payload TEXT NOT NULL
) STRICT;

-- In parts, because one value cannot be larger than a gigabyte.
CREATE TABLE snapshots (
    seq INTEGER NOT NULL,
    part INTEGER NOT NULL,
    version INTEGER NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (seq, part)
) STRICT;

CREATE TABLE bodies (digest BLOB PRIMARY KEY, data BLOB NOT NULL) STRICT;

-- seq is that of the event that created the run: new rows go to the end, and pages follow it without an index.
CREATE TABLE runs (
    seq INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    project TEXT NOT NULL,
    workflow TEXT,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    tags TEXT,
    commit_id TEXT,
    spec BLOB NOT NULL,
    queue TEXT NOT NULL,
    request TEXT,
    origin TEXT NOT NULL,
    group_name TEXT,
    parent BLOB,
    status TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    reason TEXT,
    message TEXT,
    created_at INTEGER NOT NULL,
    queued_at INTEGER,
    started_at INTEGER,
    finished_at INTEGER,
    exit_code INTEGER,
    outputs TEXT
) STRICT;
CREATE INDEX runs_project ON runs (project);
CREATE INDEX runs_unfinished ON runs (status) WHERE finished_at IS NULL;
CREATE INDEX runs_children ON runs (parent) WHERE parent IS NOT NULL;

CREATE TABLE conditions (
    run BLOB NOT NULL,
    seq INTEGER NOT NULL,
    status TEXT,
    attempt INTEGER,
    reason TEXT,
    message TEXT,
    at INTEGER NOT NULL,
    PRIMARY KEY (run, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE syncs (
    seq INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    commit_id TEXT NOT NULL,
    subject TEXT NOT NULL,
    plan BLOB NOT NULL,
    note TEXT NOT NULL
) STRICT;
