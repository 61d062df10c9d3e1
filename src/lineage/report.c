/* SPDX-License-Identifier: Apache-2.0 */
/* report.c - runs and artifacts as the JSON that scripts read
 *
 * The keys of a run and their order are a contract; what was added to it later stands
 * behind them, so that a reader of the first keys never notices. Each report is one
 * consistent view.
 */
#include "base/clock.h"
#include "lineage/revoke.h"
#include "lineage/rows.h"
#include "lineage/tags.h"

void db_jw_digest(struct jw *w, const char *hex)
{
    char text[7 + DIGEST_HEX] = "sha256:";

    if (!hex[0]) {
        jw_null(w);
        return;
    }
    memcpy(text + 7, hex, DIGEST_HEX);
    jw_strz(w, text);
}

static void jw_ktime(struct jw *w, const char *key, int64_t unix_ms)
{
    char text[25];

    jw_key(w, key);
    if (!unix_ms) {
        jw_null(w);
        return;
    }
    clock_rfc3339(unix_ms, text);
    jw_strz(w, text);
}

static void jw_ktext(struct jw *w, const char *key, struct str s) /* empty -> null */
{
    jw_key(w, key);
    s.len ? jw_str(w, s) : jw_null(w);
}

static void jw_kjson(struct jw *w, const char *key, struct str s, const char *otherwise)
{
    jw_key(w, key);
    jw_raw(w, s.len ? s : str_of(otherwise));
}

static void jw_kknown(struct jw *w, const char *key, int64_t v) /* negative -> null */
{
    jw_key(w, key);
    v >= 0 ? jw_i64(w, v) : jw_null(w);
}

/* ---- runs ---------------------------------------------------------------------------
 */

void db_artifact_short_fields(const struct db_artifact *x, struct jw *w)
{
    jw_ki64(w, "id", x->id);
    jw_key(w, "name");
    jw_str(w, x->name);
    jw_key(w, "type");
    jw_str(w, x->type);
    jw_key(w, "digest");
    db_jw_digest(w, x->digest_hex);
    jw_ki64(w, "size", x->size_bytes);
    jw_kjson(w, "metadata", x->metadata_json, "{}");
}

void db_artifact_short_json(const struct db_artifact *x, struct jw *w)
{
    jw_obj(w);
    db_artifact_short_fields(x, w);
    jw_end_obj(w);
}

static void io_json(const struct db_io_rows *io, struct jw *w)
{
    jw_obj(w);
    jw_key(w, "parameters");
    jw_obj(w);
    for (size_t i = 0; i < io->n_params; i++) {
        jw_keystr(w, io->params[i].name);
        jw_raw(w, io->params[i].value_json);
    }
    jw_end_obj(w);

    jw_key(w, "artifacts");
    jw_obj(w);
    for (size_t i = 0; i < io->n_artifacts; i++) {
        struct str name = io->artifacts[i].name;
        bool first = !i || !str_eq(io->artifacts[i - 1].name, name);
        if (first) {
            jw_keystr(w, name);
            jw_arr(w);
        }
        db_artifact_short_json(&io->artifacts[i].artifact, w);
        if (i + 1 == io->n_artifacts || !str_eq(io->artifacts[i + 1].name, name))
            jw_end_arr(w);
    }
    jw_end_obj(w);
    jw_end_obj(w);
}

/* "labels": {...}, "annotations": {...}; only what there is */
static int labels_json(struct db *d, int64_t task, struct jw *w, struct err *e)
{
    static const char sql[] = "SELECT kind, key, value FROM label WHERE task = ?"
                              " ORDER BY kind DESC, key";
    AUTO_ARENA struct arena a = {0};
    AUTO_Q struct q q = {0};
    struct str open = STR(""), kind, key;
    int more;

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_i64(&q, task);
    while ((more = q_step(&q, e)) > 0) {
        kind = q_get_str_in(&a, &q);
        key = q_get_str_in(&a, &q);
        if (!str_eq(kind, open)) {
            if (open.len)
                jw_end_obj(w);
            jw_key(w, str_eqz(kind, "label") ? "labels" : "annotations");
            jw_obj(w);
            open = kind;
        }
        jw_keystr(w, key);
        jw_str(w, q_get_str(&q));
    }
    if (open.len)
        jw_end_obj(w);
    return more < 0 ? -1 : 0;
}

static int task_json(struct arena *a, struct db *d, const struct db_task *t,
                     struct jw *w, struct err *e)
{
    struct db_io_rows in, out;

    if (db_task_io_in(a, d, t->id, DB_IN, &in, e) < 0 ||
        db_task_io_in(a, d, t->id, DB_OUT, &out, e) < 0)
        return -1;
    jw_obj(w);
    jw_key(w, "path");
    jw_str(w, t->path);
    jw_key(w, "name");
    jw_str(w, t->name);
    jw_key(w, "kind");
    jw_str(w, t->kind);
    jw_kstr(w, "state", db_state_name(t->state));
    jw_ki64(w, "attempts", t->attempts);
    jw_kbool(w, "cached", t->cached);
    jw_key(w, "exit_code");
    t->exit_code != DB_NO_EXIT ? jw_i64(w, t->exit_code) : jw_null(w);
    jw_ktext(w, "error", t->error);
    jw_ktext(w, "reason", t->reason);
    jw_key(w, "image");
    db_jw_digest(w, t->image_hex);
    jw_ktime(w, "started", t->started_unix_ms);
    jw_ktime(w, "finished", t->finished_unix_ms);
    jw_kknown(w, "peak_memory_bytes", t->peak_memory_bytes);
    jw_key(w, "cpu_seconds");
    t->cpu_usec >= 0 ? jw_num(w, (double)t->cpu_usec / 1e6) : jw_null(w);
    jw_key(w, "inputs");
    io_json(&in, w);
    jw_key(w, "outputs");
    io_json(&out, w);
    jw_ki64(w, "host_failures", t->host_failures);
    jw_kjson(w, "gpus", t->gpus_json, "[]");
    if (labels_json(d, t->id, w, e) < 0)
        return -1;
    jw_end_obj(w);
    return 0;
}

static int tasks_json(struct db *d, int64_t run, struct jw *w, struct err *e)
{
    AUTO_ARENA struct arena a = {0}, scratch = {0};
    struct db_task *tasks;
    size_t n;

    if (db_tasks_in(&a, d, run, &tasks, &n, e) < 0)
        return -1;
    jw_key(w, "tasks");
    jw_arr(w);
    for (size_t i = 0; i < n; i++) {
        if (task_json(&scratch, d, &tasks[i], w, e) < 0)
            return -1;
        arena_reset(&scratch);
    }
    jw_end_arr(w);
    return 0;
}

static int externals_json(struct db *d, int64_t run, struct jw *w, struct err *e)
{
    AUTO_ARENA struct arena a = {0};
    struct db_external_row *rows;
    size_t n;

    if (db_externals_in(&a, d, run, &rows, &n, e) < 0)
        return -1;
    jw_key(w, "external");
    jw_arr(w);
    for (size_t i = 0; i < n; i++) {
        jw_obj(w);
        jw_key(w, "what");
        jw_str(w, rows[i].what);
        jw_key(w, "path");
        jw_str(w, rows[i].path);
        jw_ktext(w, "target", rows[i].target);
        jw_kbool(w, "read_only", rows[i].read_only);
        jw_kbool(w, "verified", false);
        jw_end_obj(w);
    }
    jw_end_arr(w);
    return 0;
}

static void run_head_json(const struct db_run *r, struct jw *w)
{
    jw_key(w, "run_id");
    jw_str(w, r->uuid);
    jw_key(w, "name");
    jw_str(w, r->name);
    jw_key(w, "pipeline");
    jw_str(w, r->pipeline);
    jw_key(w, "experiment");
    jw_str(w, r->experiment);
    jw_kstr(w, "state", db_state_name(r->state));
    jw_ktime(w, "created", r->created_unix_ms);
    jw_ktime(w, "finished", r->finished_unix_ms);
    jw_ktext(w, "error", r->error);
    jw_kjson(w, "parameters", r->parameters_json, "{}");
    jw_kjson(w, "outputs", r->outputs_json, "{\"parameters\":{},\"artifacts\":{}}");
}

static int run_tail_json(struct db *d, const struct db_run *r, struct jw *w,
                         struct err *e)
{
    AUTO_ARENA struct arena a = {0};
    struct db_run parent = {0};

    if (r->parent && db_run_get_in(&a, d, r->parent, &parent, e) < 0)
        return -1;
    jw_kbool(w, "nothing_new", r->all_cached);
    jw_ktext(w, "parent_run_id", parent.uuid);
    jw_ktext(w, "user", r->user);
    jw_kknown(w, "login_uid", r->login_uid);
    jw_ktext(w, "host", r->host);
    jw_ktext(w, "version", r->version);
    jw_kjson(w, "argv", r->argv_json, "null");
    jw_ktext(w, "spec_file", r->spec_file);
    jw_key(w, "spec_digest");
    db_jw_digest(w, r->spec_hex);
    jw_ktext(w, "git_commit", r->git_commit);
    return 0;
}

int db_run_row_json(struct db *d, const struct db_run *r, struct jw *w, struct err *e)
{
    jw_obj(w);
    run_head_json(r, w);
    if (run_tail_json(d, r, w, e) < 0)
        return -1;
    jw_end_obj(w);
    return 0;
}

static int run_json(struct db *d, int64_t run, struct jw *w, struct err *e)
{
    AUTO_ARENA struct arena a = {0};
    struct db_run r;

    if (db_run_get_in(&a, d, run, &r, e) < 0)
        return -1;
    jw_obj(w);
    run_head_json(&r, w);
    if (tasks_json(d, run, w, e) < 0 || run_tail_json(d, &r, w, e) < 0 ||
        externals_json(d, run, w, e) < 0)
        return -1;
    jw_end_obj(w);
    return 0;
}

int db_run_json(struct db *d, int64_t run, struct jw *w, struct err *e)
{
    bool mine = !d->in_read;
    int rc;

    if (mine && db_read_begin(d, e) < 0)
        return -1;
    rc = run_json(d, run, w, e);
    if (mine)
        db_read_end(d);
    return rc;
}

/* ---- artifacts ----------------------------------------------------------------------
 */

/* rows of (run id, run name, task path, name, index, cached) as an array of objects */
static int uses_json(struct q *q, struct jw *w, struct err *e)
{
    int more;

    jw_arr(w);
    while ((more = q_step(q, e)) > 0) {
        jw_obj(w);
        jw_key(w, "run_id");
        jw_str(w, q_get_str(q));
        jw_key(w, "run");
        jw_str(w, q_get_str(q));
        jw_key(w, "task");
        jw_str(w, q_get_str(q));
        jw_key(w, "name");
        jw_str(w, q_get_str(q));
        jw_ki64(w, "index", q_get_i64(q));
        jw_end_obj(w);
    }
    jw_end_arr(w);
    return more;
}

static int consumers_json(struct db *d, int64_t artifact, struct jw *w, struct err *e)
{
    static const char sql[] =
        "SELECT r.uuid, r.name, t.path, e.name, e.idx FROM event e"
        " CROSS JOIN task t ON t.id = e.task CROSS JOIN run r ON r.id = t.run"
        " WHERE e.artifact = ? AND e.io = 1 AND t.kind IN ('container', 'importer')"
        " ORDER BY e.task, e.name, e.idx";
    AUTO_Q struct q q = {0};

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_i64(&q, artifact);
    jw_key(w, "consumers");
    return uses_json(&q, w, e);
}

static int reused_json(struct db *d, const struct db_artifact *x, struct jw *w,
                       struct err *e)
{
    static const char sql[] =
        "SELECT r.uuid, r.name, t.path, e.name, e.idx FROM event e"
        " CROSS JOIN task t ON t.id = e.task CROSS JOIN run r ON r.id = t.run"
        " WHERE e.artifact = ?1 AND e.io = 2 AND e.task <> ?2"
        " AND t.kind IN ('container', 'importer') ORDER BY e.task, e.name, e.idx";
    AUTO_Q struct q q = {0};

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_i64(&q, x->id);
    q_i64(&q, x->task);
    jw_key(w, "reused_by");
    return uses_json(&q, w, e);
}

static int producer_json(struct arena *a, struct db *d, const struct db_artifact *x,
                         struct jw *w, struct err *e)
{
    struct db_task t;
    struct db_run r;

    jw_key(w, "producer");
    if (!x->task) {
        jw_null(w);
        return 0;
    }
    if (db_task_get_in(a, d, x->task, &t, e) < 0 ||
        db_run_get_in(a, d, t.run, &r, e) < 0)
        return -1;
    jw_obj(w);
    jw_key(w, "run_id");
    jw_str(w, r.uuid);
    jw_key(w, "run");
    jw_str(w, r.name);
    jw_key(w, "pipeline");
    jw_str(w, r.pipeline);
    jw_key(w, "task");
    jw_str(w, t.path);
    jw_key(w, "image");
    db_jw_digest(w, t.image_hex);
    jw_ktext(w, "component", t.component);
    jw_key(w, "code");
    db_jw_digest(w, t.code_hex);
    jw_end_obj(w);
    return 0;
}

static int mark_json(struct db *d, int64_t artifact, struct jw *w, struct err *e)
{
    AUTO_MARKS struct marks *marks = NULL;
    const struct db_mark *why;

    if (marks_open(d, &marks, e) < 0 || marks_look(marks, artifact, &why, e) < 0)
        return -1;
    marks_json(why, w);
    return 0;
}

static int artifact_json(struct db *d, int64_t artifact, struct jw *w, struct err *e)
{
    AUTO_ARENA struct arena a = {0};
    struct db_artifact x;
    struct db_tag *tags;
    size_t n;

    if (db_artifact_get_in(&a, d, artifact, &x, e) < 0 ||
        db_tags_of_in(&a, d, artifact, &tags, &n, e) < 0)
        return -1;
    jw_obj(w);
    jw_ki64(w, "id", x.id);
    jw_key(w, "name");
    jw_str(w, x.name);
    jw_key(w, "type");
    jw_str(w, x.type);
    jw_key(w, "digest");
    db_jw_digest(w, x.digest_hex);
    jw_ki64(w, "size", x.size_bytes);
    jw_kjson(w, "metadata", x.metadata_json, "{}");
    jw_key(w, "kind");
    jw_str(w, x.kind);
    jw_ki64(w, "files", x.n_files);
    jw_kstr(w, "state", db_artifact_state_name(x.state));
    jw_ktime(w, "created", x.created_unix_ms);
    jw_ktext(w, "uri", x.uri);
    jw_ktext(w, "source", x.source);
    jw_key(w, "tags");
    jw_arr(w);
    for (size_t i = 0; i < n; i++)
        jw_str(w, tags[i].name);
    jw_end_arr(w);
    if (producer_json(&a, d, &x, w, e) < 0 || consumers_json(d, artifact, w, e) < 0 ||
        reused_json(d, &x, w, e) < 0 || mark_json(d, artifact, w, e) < 0)
        return -1;
    jw_end_obj(w);
    return 0;
}

int db_artifact_json(struct db *d, int64_t artifact, struct jw *w, struct err *e)
{
    bool mine = !d->in_read;
    int rc;

    if (mine && db_read_begin(d, e) < 0)
        return -1;
    rc = artifact_json(d, artifact, w, e);
    if (mine)
        db_read_end(d);
    return rc;
}
