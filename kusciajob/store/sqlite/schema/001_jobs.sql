-- A job as it stands. `number` is the revision of its ADDED, `revision` that of its newest entry in the log.
CREATE TABLE job (
    number     INTEGER PRIMARY KEY,
    job_id     TEXT NOT NULL UNIQUE,
    revision   INTEGER NOT NULL,
    unfinished INTEGER NOT NULL,
    initiator  TEXT NOT NULL,
    status     BLOB NOT NULL
);

CREATE INDEX job_unfinished ON job (number) WHERE unfinished = 1;

-- Apart from the job, because a specification never changes: a change of the job does not write it again.
CREATE TABLE spec (
    number INTEGER PRIMARY KEY,
    spec   BLOB NOT NULL
);

CREATE TABLE task (
    task_id TEXT PRIMARY KEY,
    number  INTEGER NOT NULL
) WITHOUT ROWID;

-- Every change in order; revisions have no gaps. The newest entry is always kept: it is where counting goes on.
CREATE TABLE log (
    revision  INTEGER PRIMARY KEY,
    type      TEXT NOT NULL,
    job_id    TEXT NOT NULL,
    number    INTEGER NOT NULL,
    initiator TEXT NOT NULL,
    status    BLOB NOT NULL
);
