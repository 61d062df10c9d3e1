/* SPDX-License-Identifier: Apache-2.0 */
/* mlmd.c - the record as a file of ML Metadata, schema 10, shaped as KFP v2 writes it
 *
 *   ours       theirs
 *   pipeline   Context system.Pipeline
 *   run        Context system.PipelineRun, its name the run id, child of the pipeline;
 *              Execution system.DAGExecution "run/<run id>"
 *   task       Execution; parent_dag_id is that of its DAG, or of the run
 *   artifact   Artifact, uri cas://sha256/<digest>, metadata as custom properties
 *   event      Event (3 INPUT, 4 OUTPUT) and EventPath; of a DAG only its inputs: what
 *              it gives out its tasks have given out
 *   tag        Context dugout.Ref with its artifact
 *
 * Rows keep our numbers where they can (artifacts, tasks, pipelines); what has no
 * number there of its own, runs as contexts and as executions, stands behind the last
 * of those. Nothing has to be remembered while rows stream from one file into the
 * other, and two exports of one database agree.
 *
 * MLMD cannot say that a task read one artifact by two names: the event has the first
 * name, and the execution's property dugout.input_names has all. Its CANCELED means
 * "not triggered", so a task that somebody stopped is FAILED there, with dugout.state.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "assets/assets.h"
#include "base/fd.h"
#include "base/limits.h"
#include "lineage/export.h"
#include "lineage/mlmd.h"
#include "lineage/rows.h"

enum kind { KIND_EXECUTION, KIND_ARTIFACT, KIND_CONTEXT };
enum artifact_state { ART_LIVE = 2, ART_MARKED = 3, ART_DELETED = 4 };

static int scalar(struct db *d, const char *sql, int64_t *out, struct err *e)
{
    AUTO_Q struct q q = {0};

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    return q_one(&q, out, e);
}

/* ---- types ---- */

static int type_id(struct mlmd *x, struct str name, enum kind kind, int64_t *id,
                   struct err *e)
{
    static const char find[] =
        "SELECT id FROM Type WHERE name = ? AND version IS NULL AND "
        "type_kind = ?";
    static const char add[] = "INSERT INTO Type (name, type_kind) VALUES (?, ?)";
    AUTO_Q struct q q = {0};
    AUTO_Q struct q new = {0};

    if (q_open(&q, x->m, find, e) < 0)
        return -1;
    q_text(&q, name);
    q_i64(&q, kind);
    if (q_one(&q, id, e) < 0)
        return -1;
    if (*id)
        return 0;
    if (q_open(&new, x->m, add, e) < 0)
        return -1;
    q_text(&new, name);
    q_i64(&new, kind);
    return q_insert(&new, id, e);
}

static int type_parent(struct mlmd *x, struct str name, const char *parent,
                       struct err *e)
{
    static const char sql[] = "INSERT OR IGNORE INTO ParentType VALUES (?, ?)";
    AUTO_Q struct q q = {0};
    int64_t id, up;

    if (type_id(x, name, KIND_ARTIFACT, &id, e) < 0 ||
        type_id(x, str_of(parent), KIND_ARTIFACT, &up, e) < 0 ||
        q_open(&q, x->m, sql, e) < 0)
        return -1;
    q_i64(&q, id);
    q_i64(&q, up);
    return q_run(&q, e);
}

static int put_types(struct mlmd *x, struct err *e)
{
    return type_id(x, STR("system.Pipeline"), KIND_CONTEXT, &x->type_pipeline, e) < 0 ||
                   type_id(x, STR("system.PipelineRun"), KIND_CONTEXT, &x->type_run,
                           e) < 0 ||
                   type_id(x, STR("dugout.Ref"), KIND_CONTEXT, &x->type_ref, e) < 0 ||
                   type_id(x, STR("system.DAGExecution"), KIND_EXECUTION, &x->type_dag,
                           e) < 0 ||
                   type_id(x, STR("system.ContainerExecution"), KIND_EXECUTION,
                           &x->type_container, e) < 0 ||
                   type_id(x, STR("system.ImporterExecution"), KIND_EXECUTION,
                           &x->type_importer, e) < 0 ||
                   type_parent(x, STR("system.Dataset"), "mlmd.Dataset", e) < 0 ||
                   type_parent(x, STR("system.Model"), "mlmd.Model", e) < 0 ||
                   type_parent(x, STR("system.Metrics"), "mlmd.Metrics", e) < 0
               ? -1
               : 0;
}

/* ---- contexts ---- */

static int put_context(struct mlmd *x, int64_t id, int64_t type, struct str name,
                       int64_t from_ms, int64_t to_ms, struct err *e)
{
    static const char sql[] =
        "INSERT INTO Context (id, type_id, name, create_time_since_epoch,"
        " last_update_time_since_epoch) VALUES (?, ?, ?, ?, ?)";
    AUTO_Q struct q q = {0};

    if (q_open(&q, x->m, sql, e) < 0)
        return -1;
    q_i64(&q, id);
    q_i64(&q, type);
    q_text(&q, name);
    q_i64(&q, from_ms);
    q_i64(&q, to_ms);
    return q_run(&q, e);
}

static int put_pair(struct db *m, const char *sql, int64_t first, int64_t second,
                    struct err *e)
{
    AUTO_Q struct q q = {0};

    if (q_open(&q, m, sql, e) < 0)
        return -1;
    q_i64(&q, first);
    q_i64(&q, second);
    return q_run(&q, e);
}

int mlmd_attribute(struct mlmd *x, int64_t context, int64_t artifact, struct err *e)
{
    static const char sql[] =
        "INSERT OR IGNORE INTO Attribution (context_id, artifact_id) VALUES (?, ?)";

    return put_pair(x->m, sql, context, artifact, e);
}

static int associate(struct mlmd *x, int64_t context, int64_t execution, struct err *e)
{
    static const char sql[] =
        "INSERT OR IGNORE INTO Association (context_id, execution_id) VALUES (?, ?)";

    return put_pair(x->m, sql, context, execution, e);
}

static int put_pipelines(struct mlmd *x, struct err *e)
{
    static const char sql[] = "SELECT id, name, created_ms FROM pipeline ORDER BY id";
    AUTO_Q struct q q = {0};
    int more;

    if (q_open(&q, x->d, sql, e) < 0)
        return -1;
    while ((more = q_step(&q, e)) > 0) {
        int64_t id = q_get_i64(&q), made;
        struct str name = q_get_str(&q);
        made = q_get_i64(&q);
        if (put_context(x, id, x->type_pipeline, name, made, made, e) < 0)
            return -1;
    }
    return more;
}

static int put_refs(struct mlmd *x, struct err *e)
{
    static const char sql[] = "SELECT name, artifact, set_ms FROM ref ORDER BY name";
    static const char last[] = "SELECT coalesce(max(id), 0) FROM Context";
    AUTO_Q struct q q = {0};
    int64_t context;
    int more;

    if (scalar(x->m, last, &context, e) < 0 || q_open(&q, x->d, sql, e) < 0)
        return -1;
    while ((more = q_step(&q, e)) > 0) {
        struct str name = q_get_str(&q);
        int64_t artifact = q_get_i64(&q), set = q_get_i64(&q);
        if (put_context(x, ++context, x->type_ref, name, set, set, e) < 0 ||
            mlmd_attribute(x, context, artifact, e) < 0)
            return -1;
    }
    return more;
}

/* ---- artifacts ---- */

static int artifact_metadata(const struct mlmd_of *of, const struct db_artifact *f,
                             struct err *e)
{
    AUTO_JSON yyjson_doc *doc = NULL;
    struct err unread;
    yyjson_val *k, *v;
    size_t i, max;

    if (!f->metadata_json.len ||
        json_parse(f->metadata_json, LIMIT_VALUE_BYTES, &doc, &unread) < 0)
        return 0;
    yyjson_obj_foreach(yyjson_doc_get_root(doc), i, max, k, v)
    {
        if (!str_eqz(json_as_str(k), "_kfp_workspace") &&
            mlmd_json(of, json_as_str(k), v, e) < 0)
            return -1;
    }
    return 0;
}

/* ours first: metadata may not pretend to be a digest */
static int artifact_properties(struct mlmd *x, const struct db_artifact *f,
                               struct err *e)
{
    struct mlmd_of of = {x->m, MLMD_ARTIFACT, f->id, &x->done->dropped};
    char digest[7 + DIGEST_HEX];

    if (f->digest_hex[0]) {
        (void)snprintf(digest, sizeof(digest), "sha256:%s", f->digest_hex);
        if (mlmd_text(&of, "dugout.digest", str_of(digest), e) < 0 ||
            mlmd_int(&of, "dugout.size", f->size_bytes, e) < 0 ||
            mlmd_int(&of, "dugout.files", str_eqz(f->kind, "dir") ? f->n_files : 1, e) <
                0)
            return -1;
    }
    if (artifact_metadata(&of, f, e) < 0 ||
        mlmd_text(&of, "display_name", f->name, e) < 0)
        return -1;
    return mlmd_text(&of, "store_session_info", STR(""), e);
}

static int put_artifact(struct mlmd *x, const struct db_artifact *f, struct err *e)
{
    static const char sql[] =
        "INSERT INTO Artifact (id, type_id, uri, state, create_time_since_epoch,"
        " last_update_time_since_epoch) VALUES (?, ?, ?, ?, ?, ?)";
    AUTO_Q struct q q = {0};
    char uri[sizeof("cas://sha256/") + DIGEST_HEX];
    int64_t type;

    (void)snprintf(uri, sizeof(uri), "cas://sha256/%s", f->digest_hex);
    if (type_id(x, f->type, KIND_ARTIFACT, &type, e) < 0 ||
        q_open(&q, x->m, sql, e) < 0)
        return -1;
    q_i64(&q, f->id);
    q_i64(&q, type);
    q_text(&q, f->digest_hex[0] ? str_of(uri) : f->uri);
    q_i64(&q, f->state == DB_LIVE      ? ART_LIVE
              : f->state == DB_REMOVED ? ART_MARKED
                                       : ART_DELETED);
    q_i64(&q, f->created_unix_ms);
    q_i64(&q, f->created_unix_ms);
    if (q_run(&q, e) < 0)
        return -1;
    x->done->artifacts++;
    return artifact_properties(x, f, e);
}

static int put_artifacts(struct mlmd *x, struct err *e)
{
    static const char sql[] =
        "SELECT " ARTIFACT_COLUMNS
        " FROM artifact a CROSS JOIN type y ON y.id = a.type ORDER BY a.id";
    AUTO_Q struct q q = {0};
    int more;

    if (q_open(&q, x->d, sql, e) < 0)
        return -1;
    while ((more = q_step(&q, e)) > 0) {
        struct db_artifact f;
        artifact_read(&x->a, &q, &f);
        if (put_artifact(x, &f, e) < 0)
            return err_at(e, "artifact a%lld", (long long)f.id);
        arena_reset(&x->a);
    }
    return more;
}

/* ---- runs ---- */

static int put_run_context(struct mlmd *x, int64_t context, struct err *e)
{
    struct mlmd_of of = {x->m, MLMD_CONTEXT, context, &x->done->dropped};
    char *root = arena_printf(&x->a, "dugout://%s/%.*s/%.*s", x->uuid,
                              STR_ARG(x->run.pipeline), STR_ARG(x->run.uuid));
    char digest[7 + DIGEST_HEX];

    (void)snprintf(digest, sizeof(digest), "sha256:%s", x->run.spec_hex);
    if (put_context(x, context, x->type_run, x->run.uuid, x->run.created_unix_ms,
                    x->run.finished_unix_ms ? x->run.finished_unix_ms
                                            : x->run.created_unix_ms,
                    e) < 0 ||
        mlmd_text(&of, "namespace", STR(""), e) < 0 ||
        mlmd_text(&of, "resource_name", STR("run-resource"), e) < 0 ||
        mlmd_text(&of, "pipeline_root", str_of(root), e) < 0 ||
        mlmd_text(&of, "store_session_info", STR(""), e) < 0 ||
        mlmd_text(&of, "dugout.version", x->run.version, e) < 0)
        return -1;
    return x->run.spec_hex[0] ? mlmd_text(&of, "dugout.spec_digest", str_of(digest), e)
                              : 0;
}

static int put_run(struct mlmd *x, int64_t run, int64_t pipeline, struct err *e)
{
    static const char parent[] = "INSERT INTO ParentContext VALUES (?, ?)";
    int64_t context = x->run_context + run, root = x->run_execution + run;

    x->pipeline = pipeline;
    if (db_run_get_in(&x->a, x->d, run, &x->run, e) < 0 ||
        db_tasks_in(&x->a, x->d, run, &x->tasks, &x->n_tasks, e) < 0 ||
        put_run_context(x, context, e) < 0 ||
        put_pair(x->m, parent, context, pipeline, e) < 0 || mlmd_put_run(x, e) < 0 ||
        associate(x, context, root, e) < 0 || associate(x, pipeline, root, e) < 0)
        return -1;
    for (size_t i = 0; i < x->n_tasks; i++)
        if (mlmd_put_task(x, &x->tasks[i], e) < 0 ||
            associate(x, context, x->tasks[i].id, e) < 0 ||
            associate(x, pipeline, x->tasks[i].id, e) < 0)
            return err_at(e, "task %.*s", STR_ARG(x->tasks[i].path));
    return 0;
}

static int put_runs(struct mlmd *x, struct err *e)
{
    static const char sql[] = "SELECT id, pipeline FROM run ORDER BY id";
    AUTO_Q struct q q = {0};
    int more;

    if (q_open(&q, x->d, sql, e) < 0)
        return -1;
    while ((more = q_step(&q, e)) > 0) {
        int64_t run = q_get_i64(&q), pipeline = q_get_i64(&q);
        if (put_run(x, run, pipeline, e) < 0)
            return err_at(e, "run %.*s", STR_ARG(x->run.name));
        arena_reset(&x->a);
    }
    return more;
}

/* ---- the file ---- */

static int put_all(struct mlmd *x, struct err *e)
{
    static const char last_task[] = "SELECT coalesce(max(id), 0) FROM task";
    static const char last_pipeline[] = "SELECT coalesce(max(id), 0) FROM pipeline";

    if (db_uuid(x->d, x->uuid, e) < 0 ||
        scalar(x->d, last_task, &x->run_execution, e) < 0 ||
        scalar(x->d, last_pipeline, &x->run_context, e) < 0)
        return -1;
    return put_types(x, e) < 0 || put_pipelines(x, e) < 0 || put_artifacts(x, e) < 0 ||
                   put_runs(x, e) < 0 || put_refs(x, e) < 0
               ? -1
               : 0;
}

/* A new file with a rollback journal, which any SQLite can read from any medium. It has
 * another name until it is whole, so it may be written without journal or fsync. */
static int make_file(const char *path, struct db **gives, struct err *e)
{
    AUTO_FD int fd =
        open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
    struct db *m;
    int rc;

    if (fd < 0) /* SQLite would not say why */
        return err_sys(e, errno, "create %s", path);
    m = xalloc(sizeof(*m));
    m->path = xstrdup(path);
    m->wlock_fd = -1;
    m->sync = -1;
    m->pid = (int)getpid();
    rc = sqlite3_open_v2(
        path, &m->sql, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
        NULL);
    if (rc != SQLITE_OK)
        (void)db_err(m, rc, "create", e);
    if (rc != SQLITE_OK ||
        db_exec(m,
                "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;"
                "PRAGMA temp_store = MEMORY; PRAGMA cache_size = -65536",
                e) < 0) {
        db_close(m);
        return -1;
    }
    *gives = m;
    return 0;
}

static int fill_file(struct mlmd *x, const char *path, struct err *e)
{
    int rc;

    if (make_file(path, &x->m, e) < 0)
        return -1;
    rc = db_exec(x->m, "BEGIN", e) < 0 || db_exec(x->m, asset_mlmd_start, e) < 0 ||
                 put_all(x, e) < 0 || db_exec(x->m, "COMMIT", e) < 0
             ? -1
             : 0;
    arena_done(&x->a);
    db_close(x->m);
    return rc;
}

/* durable, then named */
static int settle(const char *tmp, const char *path, struct err *e)
{
    AUTO_FD int fd = open(tmp, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || fsync(fd) < 0)
        return err_sys(e, errno, "write %s", tmp);
    return rename(tmp, path) == 0 ? 0 : err_sys(e, errno, "name %s", path);
}

int db_export_mlmd(struct db *d, const char *path, struct mlmd_done *done,
                   struct err *e)
{
    AUTO_FREE char *tmp = xasprintf("%s.dugout-%d", path, (int)getpid());
    struct mlmd_done counts = {0};
    struct mlmd x = {.d = d, .done = &counts};
    bool mine = !d->in_read;
    int rc;

    if (access(path, F_OK) == 0)
        return err_set(e, ERR_INPUT, "%s exists: choose another name", path);
    if (mine && db_read_begin(d, e) < 0)
        return -1;
    rc = fill_file(&x, tmp, e);
    if (mine)
        db_read_end(d);
    if (rc == 0)
        rc = settle(tmp, path, e);
    if (rc < 0)
        (void)unlink(tmp);
    else
        *done = counts;
    return rc;
}
