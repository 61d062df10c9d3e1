/* SPDX-License-Identifier: Apache-2.0 */
/* mlmdtask.c - runs and tasks as Executions of ML Metadata, and their Events
 *
 * The properties are those that KFP's driver, launcher and publisher write, by the same
 * names, so that what reads KFP's databases reads these; what KFP has no name for
 * begins with "dugout.".
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "lineage/mlmd.h"

enum exec_state {
    EXEC_NEW = 1,
    EXEC_RUNNING,
    EXEC_COMPLETE,
    EXEC_FAILED,
    EXEC_CACHED,
    EXEC_CANCELED,
};
enum event_type { EVENT_INPUT = 3, EVENT_OUTPUT = 4 };

/* ---- events ---- */

static int put_event_path(struct mlmd *x, int64_t event, struct str name, struct err *e)
{
    static const char sql[] =
        "INSERT INTO EventPath (event_id, is_index_step, step_key) VALUES (?, 0, ?)";
    AUTO_Q struct q q = {0};

    if (q_open(&q, x->m, sql, e) < 0)
        return -1;
    q_i64(&q, event);
    q_text(&q, name);
    return q_run(&q, e);
}

/* *fresh: this pair had none yet */
static int put_event(struct mlmd *x, const struct db_task *t,
                     const struct db_io_artifact *f, enum event_type type, bool *fresh,
                     struct err *e)
{
    static const char sql[] =
        "INSERT OR IGNORE INTO Event (artifact_id, execution_id, type,"
        " milliseconds_since_epoch) VALUES (?, ?, ?, ?)";
    AUTO_Q struct q q = {0};
    int64_t event,
        when = type == EVENT_INPUT ? t->started_unix_ms : t->finished_unix_ms;

    if (q_open(&q, x->m, sql, e) < 0)
        return -1;
    q_i64(&q, f->artifact.id);
    q_i64(&q, t->id);
    q_i64(&q, type);
    q_i64(&q, when ? when : x->run.created_unix_ms);
    if (q_insert(&q, &event, e) < 0)
        return -1;
    *fresh = q_changes(&q) > 0;
    if (!*fresh)
        return 0;
    x->done->events++;
    return put_event_path(x, event, f->name, e);
}

static int put_input_names(struct mlmd *x, const struct db_task *t,
                           const struct db_io_rows *rows, struct err *e)
{
    struct mlmd_of of = {x->m, MLMD_EXECUTION, t->id, &x->done->dropped};
    AUTO_JSON yyjson_doc *doc = NULL;
    AUTO_BUF struct buf text = {0};
    struct jw w;

    jw_init(&w, &text);
    jw_obj(&w);
    for (size_t i = 0; i < rows->n_artifacts; i++) {
        struct str name = rows->artifacts[i].name;
        if (!i || !str_eq(rows->artifacts[i - 1].name, name)) {
            jw_keystr(&w, name);
            jw_arr(&w);
        }
        jw_i64(&w, rows->artifacts[i].artifact.id);
        if (i + 1 == rows->n_artifacts || !str_eq(rows->artifacts[i + 1].name, name))
            jw_end_arr(&w);
    }
    jw_end_obj(&w);
    if (json_parse((struct str){text.ptr, text.len}, LIMIT_RESULT_BYTES, &doc, e) < 0)
        return -1;
    return mlmd_struct(&of, "dugout.input_names", yyjson_doc_get_root(doc), e);
}

static int put_events(struct mlmd *x, const struct db_task *t,
                      const struct db_io_rows *rows, enum event_type type,
                      struct err *e)
{
    int64_t run = x->run_context + x->run.id;
    bool all = true, fresh;

    for (size_t i = 0; i < rows->n_artifacts; i++) {
        int64_t artifact = rows->artifacts[i].artifact.id;
        if (put_event(x, t, &rows->artifacts[i], type, &fresh, e) < 0 ||
            mlmd_attribute(x, run, artifact, e) < 0 ||
            mlmd_attribute(x, x->pipeline, artifact, e) < 0)
            return -1;
        all = all && fresh;
    }
    return all || type == EVENT_OUTPUT ? 0 : put_input_names(x, t, rows, e);
}

/* ---- executions ---- */

static enum exec_state exec_state(enum db_state s, bool cached)
{
    switch (s) {
    case DB_PENDING:
        return EXEC_NEW;
    case DB_RUNNING:
    case DB_INTERRUPTED:
        return EXEC_RUNNING;
    case DB_SUCCEEDED:
        return cached ? EXEC_CACHED : EXEC_COMPLETE;
    case DB_FAILED:
    case DB_CANCELED: /* stopped by somebody; theirs means "not triggered" */
        return EXEC_FAILED;
    case DB_SKIPPED:
        return EXEC_CANCELED;
    case DB_STATES:
        break;
    }
    must_fail(__FILE__, __LINE__, "a state");
}

static int put_execution(struct mlmd *x, int64_t id, int64_t type,
                         enum exec_state state, struct str name,
                         const int64_t times_ms[2], struct err *e)
{
    static const char sql[] =
        "INSERT INTO Execution (id, type_id, last_known_state, name, "
        "create_time_since_epoch,"
        " last_update_time_since_epoch) VALUES (?, ?, ?, ?, ?, ?)";
    AUTO_Q struct q q = {0};

    if (q_open(&q, x->m, sql, e) < 0)
        return -1;
    q_i64(&q, id);
    q_i64(&q, type);
    q_i64(&q, state);
    q_str(&q, name);
    q_i64(&q, times_ms[0]);
    q_i64(&q, times_ms[1] ? times_ms[1] : times_ms[0]);
    x->done->executions++;
    return q_run(&q, e);
}

static int put_params(const struct mlmd_of *of, const char *key,
                      const struct db_io_rows *rows, struct err *e)
{
    AUTO_JSON yyjson_doc *doc = NULL;
    AUTO_BUF struct buf text = {0};
    struct jw w;

    jw_init(&w, &text);
    jw_obj(&w);
    for (size_t i = 0; i < rows->n_params; i++) {
        jw_keystr(&w, rows->params[i].name);
        jw_raw(&w, rows->params[i].value_json);
    }
    jw_end_obj(&w);
    if (json_parse((struct str){text.ptr, text.len}, LIMIT_RESULT_BYTES, &doc, e) < 0)
        return -1;
    return mlmd_struct(of, key, yyjson_doc_get_root(doc), e);
}

/* the index of the iteration that a path stands in: "for-loop-2[3]/a" is 3; -1 = none
 */
static int64_t iteration_of(struct str path)
{
    const char *open = memrchr(path.ptr, '[', path.len);

    return open ? strtoll(open + 1, NULL, 10) : -1;
}

static size_t children_of(const struct mlmd *x, int64_t task, int64_t *iterations)
{
    size_t n = 0;

    *iterations = 0;
    for (size_t i = 0; i < x->n_tasks; i++) {
        int64_t at;
        if (x->tasks[i].parent != task)
            continue;
        n++;
        at = iteration_of(x->tasks[i].path);
        if (at >= *iterations)
            *iterations = at + 1;
    }
    return n;
}

static int put_dag_properties(struct mlmd *x, const struct mlmd_of *of,
                              const struct db_task *t, struct err *e)
{
    int64_t iterations;
    size_t n = children_of(x, t->id, &iterations);
    bool loop = str_eqz(t->kind, "loop");

    if (mlmd_int(of, "total_dag_tasks",
                 (int64_t)(loop && iterations ? n / (size_t)iterations : n), e) < 0)
        return -1;
    return loop ? mlmd_int(of, "iteration_count", iterations, e) : 0;
}

static int put_container_properties(struct mlmd *x, const struct mlmd_of *of,
                                    const struct db_task *t, struct err *e)
{
    char text[7 + DIGEST_HEX] = "";
    struct db_task made = {0};
    struct db_attempt *rows;
    const char *key;
    size_t n;

    if (t->image_hex[0])
        (void)snprintf(text, sizeof(text), "sha256:%s", t->image_hex);
    if (mlmd_text(of, "pod_name", STR(""), e) < 0 ||
        mlmd_text(of, "pod_uid", STR(""), e) < 0 ||
        mlmd_text(of, "namespace", STR(""), e) < 0 ||
        mlmd_text(of, "image", str_of(text), e) < 0)
        return -1;
    if (t->cached_from && db_task_get_in(&x->a, x->d, t->cached_from, &made, e) < 0)
        return -1; /* a hit has the key of what it hit, recorded once */
    key = t->cache_key_hex[0] ? t->cache_key_hex : made.cache_key_hex;
    if (key[0] && mlmd_text(of, "cache_fingerprint", str_of(key), e) < 0)
        return -1;
    (void)snprintf(text, sizeof(text), "%lld", (long long)t->cached_from);
    if (t->cached_from && mlmd_text(of, "cached_execution_id", str_of(text), e) < 0)
        return -1;
    (void)snprintf(text, sizeof(text), "sha256:%s", t->code_hex);
    if (t->code_hex[0] && mlmd_text(of, "dugout.component_digest", str_of(text), e) < 0)
        return -1;
    if (t->attempts && mlmd_int(of, "dugout.attempt", t->attempts, e) < 0)
        return -1;
    if (db_attempts_in(&x->a, x->d, t->id, &rows, &n, e) < 0)
        return -1;
    return n && rows[n - 1].host.len ? mlmd_text(of, "dugout.host", rows[n - 1].host, e)
                                     : 0;
}

static int put_task_times(const struct mlmd_of *of, const struct db_task *t,
                          struct err *e)
{
    if (t->started_unix_ms &&
        mlmd_int(of, "dugout.started_ms", t->started_unix_ms, e) < 0)
        return -1;
    if (t->finished_unix_ms &&
        mlmd_int(of, "dugout.ended_ms", t->finished_unix_ms, e) < 0)
        return -1;
    if (t->exit_code != DB_NO_EXIT &&
        mlmd_int(of, "dugout.exit_code", t->exit_code, e) < 0)
        return -1;
    return t->state == DB_CANCELED ? mlmd_text(of, "dugout.state", STR("CANCELED"), e)
                                   : 0;
}

int mlmd_put_task(struct mlmd *x, const struct db_task *t, struct err *e)
{
    struct mlmd_of of = {x->m, MLMD_EXECUTION, t->id, &x->done->dropped};
    bool container = str_eqz(t->kind, "container"),
         importer = str_eqz(t->kind, "importer");
    int64_t times[2] = {t->started_unix_ms ? t->started_unix_ms
                                           : x->run.created_unix_ms,
                        t->finished_unix_ms};
    int64_t root = x->run_execution + x->run.id, at = iteration_of(t->path);
    struct db_io_rows in, out;

    if (db_task_io_in(&x->a, x->d, t->id, DB_IN, &in, e) < 0 ||
        db_task_io_in(&x->a, x->d, t->id, DB_OUT, &out, e) < 0 ||
        put_execution(x, t->id,
                      container  ? x->type_container
                      : importer ? x->type_importer
                                 : x->type_dag,
                      exec_state(t->state, t->cached), STR(""), times, e) < 0 ||
        mlmd_text(&of, "display_name", t->name, e) < 0 ||
        mlmd_text(&of, "task_name", t->name, e) < 0 ||
        mlmd_int(&of, "parent_dag_id", t->parent ? t->parent : root, e) < 0 ||
        (at >= 0 && mlmd_int(&of, "iteration_index", at, e) < 0) ||
        put_params(&of, "inputs", &in, e) < 0 ||
        (t->state == DB_SUCCEEDED && put_params(&of, "outputs", &out, e) < 0) ||
        put_task_times(&of, t, e) < 0)
        return -1;
    if (container ? put_container_properties(x, &of, t, e) < 0
                  : !importer && put_dag_properties(x, &of, t, e) < 0)
        return -1;
    if (put_events(x, t, &in, EVENT_INPUT, e) < 0)
        return -1;
    return container || importer ? put_events(x, t, &out, EVENT_OUTPUT, e) : 0;
}

int mlmd_put_run(struct mlmd *x, struct err *e)
{
    struct mlmd_of of = {x->m, MLMD_EXECUTION, x->run_execution + x->run.id,
                         &x->done->dropped};
    int64_t times[2] = {x->run.created_unix_ms, x->run.finished_unix_ms}, unused;
    AUTO_JSON yyjson_doc *doc = NULL;
    struct str params = x->run.parameters_json.len ? x->run.parameters_json : STR("{}");

    if (json_parse(params, LIMIT_VALUE_BYTES, &doc, e) < 0)
        return -1;
    if (put_execution(x, of.id, x->type_dag, exec_state(x->run.state, false),
                      str_of(arena_printf(&x->a, "run/%.*s", STR_ARG(x->run.uuid))),
                      times, e) < 0 ||
        mlmd_text(&of, "display_name", STR(""), e) < 0 ||
        mlmd_text(&of, "task_name", STR(""), e) < 0 ||
        mlmd_int(&of, "total_dag_tasks", (int64_t)children_of(x, 0, &unused), e) < 0)
        return -1;
    if (x->run.state == DB_CANCELED &&
        mlmd_text(&of, "dugout.state", STR("CANCELED"), e) < 0)
        return -1;
    return mlmd_struct(&of, "inputs", yyjson_doc_get_root(doc), e);
}
