-- migration 5
--
-- What questions about the record need besides: the code of a task, why a tag moved, what was
-- found to be bad, and more views for `dugout sql`.

-- What a task runs apart from its image: command, arguments and environment as compiled, so
-- the source of a Python component. The same code in a component of another name is a row of
-- its own, with the same digest.
CREATE TABLE code (
    id        INTEGER PRIMARY KEY,
    digest    BLOB NOT NULL CHECK (length(digest) = 32), -- of text
    component TEXT NOT NULL,
    text      TEXT NOT NULL,                             -- JSON
    UNIQUE (digest, component)
) STRICT;
CREATE INDEX code_component ON code (component);
ALTER TABLE task ADD COLUMN code INTEGER REFERENCES code;
CREATE INDEX task_code ON task (code) WHERE code IS NOT NULL;
CREATE INDEX task_name ON task (name);

ALTER TABLE ref_log ADD COLUMN reason TEXT;

-- A mark counts until it is lifted. An artifact stands for its content: everything with the same
-- digest, and what was made from it, is flagged. An image stands for all that it made.
CREATE TABLE revocation (
    id        INTEGER PRIMARY KEY,
    artifact  INTEGER REFERENCES artifact,
    image     INTEGER REFERENCES image,
    reason    TEXT,
    set_ms    INTEGER NOT NULL,
    set_by    TEXT,
    lifted_ms INTEGER,
    lifted_by TEXT,
    CHECK ((artifact IS NULL) <> (image IS NULL))
) STRICT;

DROP VIEW tasks;
CREATE VIEW tasks AS
SELECT t.id, r.name AS run, r.uuid AS run_id, p.name AS pipeline, t.path, t.name, t.kind,
       t.state, t.cached, t.attempts, t.exit_code,
       'sha256:' || lower(hex(i.config)) AS image, c.component,
       'sha256:' || lower(hex(c.digest)) AS code, t.peak_memory,
       t.cpu_usec / 1e6 AS cpu_seconds, (t.finished_ms - t.started_ms) / 1000.0 AS seconds,
       t.reason, t.error
  FROM task t JOIN run r ON r.id = t.run JOIN pipeline p ON p.id = r.pipeline
  LEFT JOIN image i ON i.id = t.image LEFT JOIN code c ON c.id = t.code;

CREATE VIEW inputs AS
SELECT t.id AS task_id, r.name AS run, t.path AS task, e.name AS input, e.idx AS place,
       'a' || e.artifact AS artifact, e.artifact AS artifact_id
  FROM event e JOIN task t ON t.id = e.task JOIN run r ON r.id = t.run WHERE e.io = 1;

CREATE VIEW outputs AS
SELECT t.id AS task_id, r.name AS run, t.path AS task, e.name AS output, e.idx AS place,
       'a' || e.artifact AS artifact, e.artifact AS artifact_id, t.cached
  FROM event e JOIN task t ON t.id = e.task JOIN run r ON r.id = t.run WHERE e.io = 2;

CREATE VIEW parameters AS
SELECT t.id AS task_id, r.name AS run, t.path AS task,
       iif(m.io = 1, 'input', 'output') AS direction, m.name, m.value, m.num AS number
  FROM param m JOIN task t ON t.id = m.task JOIN run r ON r.id = t.run;

CREATE VIEW properties AS
SELECT 'a' || y.artifact AS artifact, y.key AS name, y.value, y.artifact AS artifact_id
  FROM property y;

CREATE VIEW images AS
SELECT 'sha256:' || lower(hex(i.config)) AS image,
       (SELECT group_concat(n.name, ' ') FROM image_name n WHERE n.image = i.id) AS names,
       'sha256:' || lower(hex(i.manifest)) AS manifest, i.os, i.arch, i.size,
       strftime('%Y-%m-%dT%H:%M:%fZ', i.loaded_ms / 1000.0, 'unixepoch') AS loaded,
       strftime('%Y-%m-%dT%H:%M:%fZ', i.removed_ms / 1000.0, 'unixepoch') AS removed
  FROM image i;

CREATE VIEW tag_log AS
SELECT l.name AS tag, 'a' || l.artifact AS artifact,
       strftime('%Y-%m-%dT%H:%M:%fZ', l.set_ms / 1000.0, 'unixepoch') AS set_at, l.set_by,
       l.reason
  FROM ref_log l ORDER BY l.id;

CREATE VIEW revocations AS
SELECT 'a' || v.artifact AS artifact, 'sha256:' || lower(hex(i.config)) AS image, v.reason,
       strftime('%Y-%m-%dT%H:%M:%fZ', v.set_ms / 1000.0, 'unixepoch') AS set_at, v.set_by,
       strftime('%Y-%m-%dT%H:%M:%fZ', v.lifted_ms / 1000.0, 'unixepoch') AS lifted_at,
       v.lifted_by
  FROM revocation v LEFT JOIN image i ON i.id = v.image;
