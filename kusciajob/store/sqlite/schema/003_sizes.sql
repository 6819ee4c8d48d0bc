-- Large inputs of tasks, apart from the specification and as they are: a read that needs none does not pay for them.
CREATE TABLE input (
    number INTEGER NOT NULL,
    task   INTEGER NOT NULL,
    config BLOB NOT NULL,
    PRIMARY KEY (number, task)
);

-- The bytes of this entry and of all before it, so that the size of the log is a difference.
ALTER TABLE log ADD COLUMN total INTEGER NOT NULL DEFAULT 0;
