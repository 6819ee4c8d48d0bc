-- What a list looks for in a job, so that it reads no status. `created` is the largest time of creation of this job and
-- of all before it, so that it never falls from one job to the next; `lag` is by how much the job's own times of
-- creation and end are below it, which a clock that was set back makes. `phase` and `traits` are JSON.
CREATE TABLE listing (
    number   INTEGER PRIMARY KEY,
    state    TEXT NOT NULL,
    created  REAL NOT NULL,
    lag      REAL NOT NULL,
    ended    REAL,
    deadline REAL,
    expires  REAL,
    phase    TEXT NOT NULL,
    traits   TEXT NOT NULL
);

CREATE INDEX listing_state ON listing (state);
CREATE INDEX listing_lag ON listing (lag) WHERE lag > 0;
CREATE INDEX listing_ended ON listing (ended) WHERE ended IS NOT NULL;
CREATE INDEX listing_deadline ON listing (deadline) WHERE deadline IS NOT NULL;
CREATE INDEX listing_expires ON listing (expires) WHERE expires IS NOT NULL;

-- Which jobs have a party of a domain, an AppImage, a custom field or a label: each of these is a number made of its
-- name and value (see listing.py), because those can be long.
CREATE TABLE facet (
    facet  INTEGER NOT NULL,
    number INTEGER NOT NULL,
    PRIMARY KEY (facet, number)
) WITHOUT ROWID;

-- The traits of deleted jobs, as long as the log tells of them. `revision` is that of their DELETED.
CREATE TABLE departed (
    revision INTEGER PRIMARY KEY,
    number   INTEGER NOT NULL UNIQUE,
    traits   TEXT NOT NULL
);

-- The phase before a change, as JSON, where it is another; and from which revision on that is told.
ALTER TABLE log ADD COLUMN before TEXT;
ALTER TABLE store ADD COLUMN phases_told_after INTEGER NOT NULL DEFAULT 0;
UPDATE store SET phases_told_after =
    max(ifnull((SELECT max(revision) FROM log), 0), ifnull((SELECT max(through) FROM loss), 0));

-- What happened to jobs, and the attempts of their tasks that are over, each in JSON.
CREATE TABLE history (
    id     INTEGER PRIMARY KEY,
    number INTEGER NOT NULL,
    entry  TEXT NOT NULL
);

CREATE INDEX history_number ON history (number);

CREATE TABLE attempt (
    id      INTEGER PRIMARY KEY,
    number  INTEGER NOT NULL,
    task    INTEGER NOT NULL,
    attempt BLOB NOT NULL
);

CREATE INDEX attempt_number ON attempt (number, task);

-- Calls that changed something or wanted to; `code` is 0 where they were accepted.
CREATE TABLE audit (
    id      INTEGER PRIMARY KEY,
    at      REAL NOT NULL,
    caller  TEXT NOT NULL,
    peer    TEXT NOT NULL,
    method  TEXT NOT NULL,
    subject TEXT NOT NULL,
    code    INTEGER NOT NULL,
    reason  TEXT NOT NULL
);

CREATE INDEX audit_at ON audit (at);
CREATE INDEX audit_caller ON audit (caller);
CREATE INDEX audit_subject ON audit (subject);

CREATE TABLE app_image (
    name       TEXT PRIMARY KEY,
    definition BLOB NOT NULL
);
