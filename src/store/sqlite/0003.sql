-- What a run is, and its status, which changes while it lives: SQLite writes a row anew whichever column changes, and
-- rows of status are short.
CREATE TABLE run_status (
    seq INTEGER PRIMARY KEY,
    status TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    reason TEXT,
    message TEXT,
    queued_at INTEGER,
    started_at INTEGER,
    finished_at INTEGER,
    exit_code INTEGER,
    outputs TEXT
) STRICT;
INSERT INTO run_status SELECT seq, status, attempt, reason, message, queued_at, started_at, finished_at, exit_code, outputs FROM runs;

CREATE TABLE run_spec (
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
    created_at INTEGER NOT NULL,
    inputs TEXT
) STRICT;
INSERT INTO run_spec SELECT seq, id, project, workflow, name, kind, tags, commit_id, spec, queue, request, origin, group_name, parent,
    created_at, inputs FROM runs;
DROP TABLE runs;
CREATE INDEX run_spec_project ON run_spec (project);
CREATE INDEX run_spec_children ON run_spec (parent) WHERE parent IS NOT NULL;
CREATE INDEX run_status_unfinished ON run_status (status) WHERE finished_at IS NULL;

-- Both together, for readers. Who asks for nothing that changes does not pay for it.
CREATE VIEW runs AS SELECT * FROM run_spec LEFT JOIN run_status USING (seq);
