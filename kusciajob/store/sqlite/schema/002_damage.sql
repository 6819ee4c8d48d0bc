-- Which database this is: a copy has the same id, one that was made anew has not.
CREATE TABLE store (
    id TEXT NOT NULL
);

INSERT INTO store VALUES (lower(hex(randomblob(16))));

-- Changes that were known to be committed and were not found at a start. Counting goes on above `through`; what is kept
-- of jobs with numbers above `after` and up to `through` is not taken for that of deleted ones.
CREATE TABLE loss (
    through  INTEGER PRIMARY KEY,
    after    INTEGER NOT NULL,
    found_at REAL NOT NULL,
    text     TEXT NOT NULL
);

-- Rows that could not be read and were set aside, as they were: their columns as a JSON object, bytes as {"hex": "…"}.
CREATE TABLE damaged (
    id           INTEGER PRIMARY KEY,
    set_aside_at REAL NOT NULL,
    origin       TEXT NOT NULL,
    cause        TEXT NOT NULL,
    content      TEXT NOT NULL
);
