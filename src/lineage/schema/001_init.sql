-- migration 1
--
-- Names of the columns say units: _ms is Unix milliseconds (UTC), _usec microseconds. NULL is
-- "there is none" or "unknown". A digest is the 32 bytes of a SHA-256. Rows of run, task,
-- attempt, artifact, event and image are never deleted: content goes, the record stays.

PRAGMA application_id = 0x6475676f; -- "dugo"

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Texts that many rows share: pipeline YAML, what the host enforced.
CREATE TABLE doc (
    id     INTEGER PRIMARY KEY,
    digest BLOB NOT NULL UNIQUE CHECK (length(digest) = 32),
    text   TEXT NOT NULL
) STRICT;

CREATE TABLE pipeline (
    id         INTEGER PRIMARY KEY,
    name       TEXT NOT NULL UNIQUE,
    created_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE image (
    id         INTEGER PRIMARY KEY,
    config     BLOB NOT NULL UNIQUE CHECK (length(config) = 32),
    manifest   BLOB CHECK (length(manifest) = 32),
    os         TEXT,
    arch       TEXT,
    created_ms INTEGER,
    size       INTEGER,
    layers     TEXT,    -- JSON, see images.h
    loaded_ms  INTEGER, -- NULL: known from a task only
    removed_ms INTEGER
) STRICT;
CREATE INDEX image_manifest ON image (manifest) WHERE manifest IS NOT NULL;

CREATE TABLE image_name (
    name   TEXT PRIMARY KEY,
    image  INTEGER NOT NULL REFERENCES image,
    set_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX image_name_image ON image_name (image);

CREATE TABLE image_name_log (
    id     INTEGER PRIMARY KEY,
    name   TEXT NOT NULL,
    old    INTEGER REFERENCES image,
    new    INTEGER REFERENCES image,
    set_ms INTEGER NOT NULL,
    set_by TEXT
) STRICT;
CREATE INDEX image_name_log_name ON image_name_log (name);

CREATE TABLE run (
    id          INTEGER PRIMARY KEY,
    uuid        TEXT NOT NULL UNIQUE,
    name        TEXT NOT NULL,
    pipeline    INTEGER NOT NULL REFERENCES pipeline,
    experiment  TEXT NOT NULL,
    state       TEXT NOT NULL CHECK (state IN ('PENDING', 'RUNNING', 'SUCCEEDED', 'FAILED',
                                               'CANCELED', 'INTERRUPTED')),
    all_cached  INTEGER NOT NULL DEFAULT 0,
    created_ms  INTEGER NOT NULL,
    finished_ms INTEGER,
    deadline_ms INTEGER,
    parent      INTEGER REFERENCES run,
    error       TEXT,
    spec        INTEGER REFERENCES doc,
    spec_file   TEXT,
    git_commit  TEXT,
    user        TEXT,
    login_uid   INTEGER,
    host        TEXT,
    version     TEXT,
    argv        TEXT, -- JSON, as are the next three
    parameters  TEXT,
    options     TEXT,
    outputs     TEXT
) STRICT;
CREATE INDEX run_pipeline ON run (pipeline);
CREATE INDEX run_name ON run (name);
CREATE INDEX run_open ON run (state) WHERE state IN ('PENDING', 'RUNNING', 'INTERRUPTED');

CREATE TABLE task (
    id            INTEGER PRIMARY KEY,
    run           INTEGER NOT NULL REFERENCES run,
    parent        INTEGER REFERENCES task,
    path          TEXT NOT NULL,
    name          TEXT NOT NULL,
    kind          TEXT NOT NULL CHECK (kind IN ('container', 'importer', 'dag', 'loop',
                                                'condition')),
    state         TEXT NOT NULL CHECK (state IN ('PENDING', 'RUNNING', 'SUCCEEDED', 'FAILED',
                                                 'SKIPPED', 'CANCELED')),
    reason        TEXT,
    error         TEXT,
    cached        INTEGER NOT NULL DEFAULT 0,
    cached_from   INTEGER REFERENCES task,
    cache_key     BLOB CHECK (length(cache_key) = 32),
    image         INTEGER REFERENCES image,
    attempts      INTEGER NOT NULL DEFAULT 0,
    host_failures INTEGER NOT NULL DEFAULT 0,
    exit_code     INTEGER,
    peak_memory   INTEGER, -- bytes
    cpu_usec      INTEGER,
    started_ms    INTEGER,
    finished_ms   INTEGER,
    uuid          TEXT, -- of the task root
    UNIQUE (run, path)
) STRICT;
CREATE INDEX task_image ON task (image) WHERE image IS NOT NULL;

-- The ingredients of a cache key, for `why`.
CREATE TABLE ingredients (
    task INTEGER PRIMARY KEY REFERENCES task,
    text TEXT NOT NULL
) STRICT;

CREATE TABLE attempt (
    task         INTEGER NOT NULL REFERENCES task,
    number       INTEGER NOT NULL,
    state        TEXT NOT NULL CHECK (state IN ('RUNNING', 'SUCCEEDED', 'FAILED', 'CANCELED')),
    image        INTEGER REFERENCES image,
    started_ms   INTEGER NOT NULL,
    finished_ms  INTEGER,
    exit_code    INTEGER,
    signal       INTEGER,
    oom          INTEGER NOT NULL DEFAULT 0,
    timed_out    INTEGER NOT NULL DEFAULT 0,
    host_failure INTEGER NOT NULL DEFAULT 0,
    error        TEXT,
    peak_memory  INTEGER,
    cpu_usec     INTEGER,
    enforced     INTEGER REFERENCES doc,
    host         TEXT,
    dir          TEXT, -- relative to the home; NULL once gc has removed it
    PRIMARY KEY (task, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX attempt_open ON attempt (task) WHERE state = 'RUNNING';

-- Parameters of tasks: io 1 = input, 2 = output.
CREATE TABLE param (
    task  INTEGER NOT NULL REFERENCES task,
    io    INTEGER NOT NULL CHECK (io IN (1, 2)),
    name  TEXT NOT NULL,
    value TEXT NOT NULL, -- JSON
    num   REAL,          -- the value when it is a number or a bool
    PRIMARY KEY (task, io, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX param_num ON param (name, io, num) WHERE num IS NOT NULL;

CREATE TABLE type (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE -- "system.Dataset"
) STRICT;

CREATE TABLE artifact (
    id         INTEGER PRIMARY KEY,
    type       INTEGER NOT NULL REFERENCES type,
    name       TEXT NOT NULL,
    kind       TEXT NOT NULL CHECK (kind IN ('file', 'dir', 'none')),
    digest     BLOB CHECK (length(digest) = 32), -- of a dir: of its tree object
    size       INTEGER NOT NULL DEFAULT 0,       -- bytes
    files      INTEGER NOT NULL DEFAULT 0,
    state      TEXT NOT NULL DEFAULT 'LIVE' CHECK (state IN ('LIVE', 'REMOVED', 'DELETED')),
    task       INTEGER REFERENCES task, -- its one producer; NULL: came from outside
    imported   INTEGER NOT NULL DEFAULT 0,
    created_ms INTEGER NOT NULL,
    uri        TEXT,
    source     TEXT,
    metadata   TEXT -- JSON object
) STRICT;
CREATE INDEX artifact_digest ON artifact (digest) WHERE digest IS NOT NULL;
CREATE INDEX artifact_uri ON artifact (uri) WHERE digest IS NULL;
CREATE INDEX artifact_type ON artifact (type);
CREATE INDEX artifact_imported ON artifact (imported) WHERE imported = 1;

-- The scalars of artifact.metadata, nested keys joined by dots. The table is its own index:
-- numbers sort before texts, so "a number over x" is: value > x AND value < ''.
CREATE TABLE property (
    key      TEXT NOT NULL,
    value    ANY NOT NULL,
    artifact INTEGER NOT NULL REFERENCES artifact,
    PRIMARY KEY (key, value, artifact)
) STRICT, WITHOUT ROWID;

-- Who read and who gave out what. A task that was a cache hit gives out what another made.
CREATE TABLE event (
    task     INTEGER NOT NULL REFERENCES task,
    io       INTEGER NOT NULL CHECK (io IN (1, 2)),
    name     TEXT NOT NULL,
    idx      INTEGER NOT NULL,
    artifact INTEGER NOT NULL REFERENCES artifact,
    PRIMARY KEY (task, io, name, idx)
) STRICT, WITHOUT ROWID;
CREATE INDEX event_artifact ON event (artifact, io);

-- What tasks could see beside the record: mounts, volumes, the network.
CREATE TABLE external (
    id        INTEGER PRIMARY KEY,
    run       INTEGER NOT NULL REFERENCES run,
    task      INTEGER REFERENCES task,
    path      TEXT NOT NULL,
    target    TEXT,
    read_only INTEGER NOT NULL,
    what      TEXT NOT NULL
) STRICT;
CREATE INDEX external_run ON external (run);

CREATE TABLE ref (
    name     TEXT PRIMARY KEY,
    artifact INTEGER NOT NULL REFERENCES artifact,
    set_ms   INTEGER NOT NULL,
    set_by   TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX ref_artifact ON ref (artifact);

CREATE TABLE ref_log (
    id       INTEGER PRIMARY KEY,
    name     TEXT NOT NULL,
    artifact INTEGER REFERENCES artifact, -- NULL: the tag was removed
    set_ms   INTEGER NOT NULL,
    set_by   TEXT
) STRICT;
CREATE INDEX ref_log_name ON ref_log (name);

CREATE TABLE cache (
    key        BLOB NOT NULL CHECK (length(key) = 32),
    pipeline   INTEGER NOT NULL REFERENCES pipeline,
    task       INTEGER NOT NULL REFERENCES task,
    created_ms INTEGER NOT NULL,
    PRIMARY KEY (key, pipeline)
) STRICT, WITHOUT ROWID;

-- For people who write SQL (`dugout sql`): digests and times as text.
CREATE VIEW runs AS
SELECT r.uuid AS run_id, r.name, p.name AS pipeline, r.experiment, r.state,
       strftime('%Y-%m-%dT%H:%M:%fZ', r.created_ms / 1000.0, 'unixepoch') AS created,
       strftime('%Y-%m-%dT%H:%M:%fZ', r.finished_ms / 1000.0, 'unixepoch') AS finished,
       r.all_cached, r.parameters, r.outputs, r.error, r.user, r.host, r.id
  FROM run r JOIN pipeline p ON p.id = r.pipeline;

CREATE VIEW tasks AS
SELECT t.id, r.name AS run, t.path, t.name, t.kind, t.state, t.cached, t.attempts, t.exit_code,
       'sha256:' || lower(hex(i.config)) AS image, t.peak_memory,
       t.cpu_usec / 1e6 AS cpu_seconds, (t.finished_ms - t.started_ms) / 1000.0 AS seconds,
       t.reason, t.error
  FROM task t JOIN run r ON r.id = t.run LEFT JOIN image i ON i.id = t.image;

CREATE VIEW artifacts AS
SELECT 'a' || a.id AS artifact, y.name AS type, a.name, a.kind,
       'sha256:' || lower(hex(a.digest)) AS digest, a.size, a.files, a.state,
       strftime('%Y-%m-%dT%H:%M:%fZ', a.created_ms / 1000.0, 'unixepoch') AS created,
       p.name AS pipeline, r.name AS run, t.path AS task, a.metadata, a.source, a.id
  FROM artifact a JOIN type y ON y.id = a.type
  LEFT JOIN task t ON t.id = a.task LEFT JOIN run r ON r.id = t.run
  LEFT JOIN pipeline p ON p.id = r.pipeline;

CREATE VIEW tags AS
SELECT f.name AS tag, 'a' || f.artifact AS artifact,
       strftime('%Y-%m-%dT%H:%M:%fZ', f.set_ms / 1000.0, 'unixepoch') AS set_at, f.set_by
  FROM ref f;
