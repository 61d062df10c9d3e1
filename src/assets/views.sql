-- For people who write SQL (`dugout sql`): digests and times as text. They are made in memory, on a
-- connection that is for that: in the file, every command would parse them when it opens it.

CREATE TEMP VIEW runs AS
SELECT r.uuid AS run_id, r.name, p.name AS pipeline, r.experiment, r.state,
       strftime('%Y-%m-%dT%H:%M:%fZ', r.created_ms / 1000.0, 'unixepoch') AS created,
       strftime('%Y-%m-%dT%H:%M:%fZ', r.finished_ms / 1000.0, 'unixepoch') AS finished,
       r.all_cached, r.parameters, r.outputs, r.error, r.user, r.host, r.id
  FROM run r JOIN pipeline p ON p.id = r.pipeline;

CREATE TEMP VIEW tasks AS
SELECT t.id, r.name AS run, r.uuid AS run_id, p.name AS pipeline, t.path, t.name, t.kind,
       t.state, t.cached, t.attempts, t.exit_code,
       'sha256:' || lower(hex(i.config)) AS image, c.component,
       'sha256:' || lower(hex(c.digest)) AS code, t.peak_memory,
       t.cpu_usec / 1e6 AS cpu_seconds, (t.finished_ms - t.started_ms) / 1000.0 AS seconds,
       t.reason, t.error
  FROM task t JOIN run r ON r.id = t.run JOIN pipeline p ON p.id = r.pipeline
  LEFT JOIN image i ON i.id = t.image LEFT JOIN code c ON c.id = t.code;

CREATE TEMP VIEW inputs AS
SELECT t.id AS task_id, r.name AS run, t.path AS task, e.name AS input, e.idx AS place,
       'a' || e.artifact AS artifact, e.artifact AS artifact_id
  FROM event e JOIN task t ON t.id = e.task JOIN run r ON r.id = t.run WHERE e.io = 1;

CREATE TEMP VIEW outputs AS
SELECT t.id AS task_id, r.name AS run, t.path AS task, e.name AS output, e.idx AS place,
       'a' || e.artifact AS artifact, e.artifact AS artifact_id, t.cached
  FROM event e JOIN task t ON t.id = e.task JOIN run r ON r.id = t.run WHERE e.io = 2;

CREATE TEMP VIEW parameters AS
SELECT t.id AS task_id, r.name AS run, t.path AS task,
       iif(m.io = 1, 'input', 'output') AS direction, m.name, m.value, m.num AS number
  FROM param m JOIN task t ON t.id = m.task JOIN run r ON r.id = t.run;

CREATE TEMP VIEW properties AS
SELECT 'a' || y.artifact AS artifact, y.key AS name, y.value, y.artifact AS artifact_id
  FROM property y;

CREATE TEMP VIEW artifacts AS
SELECT 'a' || a.id AS artifact, y.name AS type, a.name, a.kind,
       'sha256:' || lower(hex(a.digest)) AS digest, a.size, a.files, a.state,
       strftime('%Y-%m-%dT%H:%M:%fZ', a.created_ms / 1000.0, 'unixepoch') AS created,
       p.name AS pipeline, r.name AS run, t.path AS task, a.metadata, a.source, a.id
  FROM artifact a JOIN type y ON y.id = a.type
  LEFT JOIN task t ON t.id = a.task LEFT JOIN run r ON r.id = t.run
  LEFT JOIN pipeline p ON p.id = r.pipeline;

CREATE TEMP VIEW images AS
SELECT 'sha256:' || lower(hex(i.config)) AS image,
       (SELECT group_concat(n.name, ' ') FROM image_name n WHERE n.image = i.id) AS names,
       'sha256:' || lower(hex(i.manifest)) AS manifest, i.os, i.arch, i.size,
       strftime('%Y-%m-%dT%H:%M:%fZ', i.loaded_ms / 1000.0, 'unixepoch') AS loaded,
       strftime('%Y-%m-%dT%H:%M:%fZ', i.removed_ms / 1000.0, 'unixepoch') AS removed
  FROM image i;

CREATE TEMP VIEW tags AS
SELECT f.name AS tag, 'a' || f.artifact AS artifact,
       strftime('%Y-%m-%dT%H:%M:%fZ', f.set_ms / 1000.0, 'unixepoch') AS set_at, f.set_by
  FROM ref f;

CREATE TEMP VIEW tag_log AS
SELECT l.name AS tag, 'a' || l.artifact AS artifact,
       strftime('%Y-%m-%dT%H:%M:%fZ', l.set_ms / 1000.0, 'unixepoch') AS set_at, l.set_by,
       l.reason
  FROM ref_log l ORDER BY l.id;

CREATE TEMP VIEW revocations AS
SELECT 'a' || v.artifact AS artifact, 'sha256:' || lower(hex(i.config)) AS image, v.reason,
       strftime('%Y-%m-%dT%H:%M:%fZ', v.set_ms / 1000.0, 'unixepoch') AS set_at, v.set_by,
       strftime('%Y-%m-%dT%H:%M:%fZ', v.lifted_ms / 1000.0, 'unixepoch') AS lifted_at,
       v.lifted_by
  FROM revocation v LEFT JOIN image i ON i.id = v.image;
