-- migration 4
--
-- Labels and annotations that the platform document gives the pods of a task.

CREATE TABLE label (
    task  INTEGER NOT NULL REFERENCES task,
    kind  TEXT NOT NULL CHECK (kind IN ('label', 'annotation')),
    key   TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (task, kind, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX label_key ON label (key, value);
