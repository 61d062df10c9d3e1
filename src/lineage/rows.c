/* SPDX-License-Identifier: Apache-2.0 */
/* rows.c - reading rows into structs
 *
 * Each kind of row has one list of columns and one function that reads them in that
 * order; every statement that gives such rows begins with the list. So a column is
 * added in two places that stand next to each other.
 */
#include "lineage/rows.h"

/* append to an array in an arena and fill the new element */
#define NEXT_ROW(a, items, n) ((items) = arena_grow(a, items, n, sizeof(*(items))))

const char *db_artifact_state_name(enum db_artifact_state s)
{
    static const char *const names[] = {
        [DB_LIVE] = "LIVE", [DB_REMOVED] = "REMOVED", [DB_DELETED] = "DELETED"};

    must((unsigned)s < N_ELEMS(names));
    return names[s];
}

static enum db_artifact_state artifact_state(struct str s)
{
    return str_eqz(s, "LIVE")      ? DB_LIVE
           : str_eqz(s, "REMOVED") ? DB_REMOVED
                                   : DB_DELETED;
}

void db_mask_text(unsigned mask, char out[96])
{
    size_t n = 0;

    for (unsigned s = 0; s < DB_STATES; s++) {
        const char *name = db_state_name((enum db_state)s);
        if (!(mask & DB_IS(s)))
            continue;
        out[n++] = '|';
        memcpy(out + n, name, strlen(name));
        n += strlen(name);
    }
    out[n] = '\0';
}

/* ---- runs ---------------------------------------------------------------------------
 */

#define RUN_COLUMNS                                                                    \
    "r.id, r.parent, r.uuid, r.name, p.name, r.experiment, r.state, r.created_ms,"     \
    " r.finished_ms, r.deadline_ms, r.error, r.user, r.host, r.version, r.login_uid,"  \
    " r.argv, r.spec_file, r.git_commit, r.parameters, r.options, r.outputs, "         \
    "s.digest,"                                                                        \
    " r.all_cached"
#define RUN_TABLES                                                                     \
    " FROM run r CROSS JOIN pipeline p ON p.id = r.pipeline LEFT JOIN doc s ON s.id "  \
    "= r.spec"

static void run_read(struct arena *a, struct q *q, struct db_run *r)
{
    r->id = q_get_i64(q);
    r->parent = q_get_i64(q);
    r->uuid = q_get_str_in(a, q);
    r->name = q_get_str_in(a, q);
    r->pipeline = q_get_str_in(a, q);
    r->experiment = q_get_str_in(a, q);
    r->state = q_get_state(q);
    r->created_unix_ms = q_get_i64(q);
    r->finished_unix_ms = q_get_i64(q);
    r->deadline_unix_ms = q_get_i64(q);
    r->error = q_get_str_in(a, q);
    r->user = q_get_str_in(a, q);
    r->host = q_get_str_in(a, q);
    r->version = q_get_str_in(a, q);
    r->login_uid = q_get_known(q);
    r->argv_json = q_get_str_in(a, q);
    r->spec_file = q_get_str_in(a, q);
    r->git_commit = q_get_str_in(a, q);
    r->parameters_json = q_get_str_in(a, q);
    r->options_json = q_get_str_in(a, q);
    r->outputs_json = q_get_str_in(a, q);
    q_get_hex(q, r->spec_hex);
    r->all_cached = q_get_bool(q);
}

int db_run_get_in(struct arena *a, struct db *d, int64_t run, struct db_run *out,
                  struct err *e)
{
    static const char sql[] = "SELECT " RUN_COLUMNS RUN_TABLES " WHERE r.id = ?";
    AUTO_Q struct q q = {0};
    int more;

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_i64(&q, run);
    more = q_step(&q, e);
    if (more == 0)
        return err_set(e, ERR_MISSING, "no run with row id %lld", (long long)run);
    if (more < 0)
        return -1;
    run_read(a, &q, out);
    return 0;
}

int db_run_by_uuid(struct db *d, struct str uuid, int64_t *run, struct err *e)
{
    static const char sql[] = "SELECT id FROM run WHERE uuid = ?";
    AUTO_Q struct q q = {0};
    int64_t id;

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_text(&q, uuid);
    if (q_one(&q, &id, e) < 0)
        return -1;
    if (!id)
        return err_set(e, ERR_MISSING, "no run %.*s", STR_ARG(uuid));
    *run = id;
    return 0;
}

int db_run_spec(struct db *d, int64_t run, struct buf *text, struct err *e)
{
    static const char sql[] =
        "SELECT s.text FROM run r CROSS JOIN doc s ON s.id = r.spec WHERE r.id = ?";
    AUTO_Q struct q q = {0};
    int more;

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_i64(&q, run);
    more = q_step(&q, e);
    if (more == 0)
        return err_set(e, ERR_MISSING, "the YAML of this run was not recorded");
    if (more < 0)
        return -1;
    buf_addstr(text, q_get_str(&q));
    return 0;
}

int db_runs_in(struct arena *a, struct db *d, const struct db_run_filter *f,
               struct db_run **out, size_t *n, struct err *e)
{
    static const char all[] =
        "SELECT " RUN_COLUMNS RUN_TABLES
        " WHERE (?1 = '' OR instr(?1, r.state) > 0) AND (?2 = '' OR r.experiment = ?2)"
        " AND r.created_ms >= ?3 ORDER BY r.id DESC LIMIT ?4";
    static const char of_pipeline[] =
        "SELECT " RUN_COLUMNS RUN_TABLES
        " WHERE r.pipeline = (SELECT id FROM pipeline WHERE name = ?5)"
        " AND (?1 = '' OR instr(?1, r.state) > 0) AND (?2 = '' OR r.experiment = ?2)"
        " AND r.created_ms >= ?3 ORDER BY r.id DESC LIMIT ?4";
    static const char
        open[] = /* by the index of open runs: reconcile asks at every start */
        "SELECT " RUN_COLUMNS RUN_TABLES
        " WHERE r.state IN ('PENDING', 'RUNNING', 'INTERRUPTED')"
        " AND instr(?1, r.state) > 0 AND (?2 = '' OR r.experiment = ?2)"
        " AND r.created_ms >= ?3 AND (?5 = '' OR p.name = ?5) ORDER BY r.id DESC LIMIT "
        "?4";
    const unsigned open_mask =
        DB_IS(DB_PENDING) | DB_IS(DB_RUNNING) | DB_IS(DB_INTERRUPTED);
    bool few = f->states && !(f->states & ~open_mask);
    AUTO_Q struct q q = {0};
    struct db_run *runs = NULL;
    size_t count = 0;
    char states[96];
    int more;

    db_mask_text(f->states, states);
    if (q_open(&q, d, few ? open : f->pipeline.len ? of_pipeline : all, e) < 0)
        return -1;
    q_text(&q, str_of(states));
    q_text(&q, f->experiment);
    q_i64(&q, f->since_unix_ms);
    q_i64(&q, f->limit > 0 ? f->limit : -1);
    if (few || f->pipeline.len)
        q_text(&q, f->pipeline);
    while ((more = q_step(&q, e)) > 0) {
        NEXT_ROW(a, runs, &count);
        run_read(a, &q, &runs[count - 1]);
    }
    if (more < 0)
        return -1;
    *out = runs;
    *n = count;
    return 0;
}

int db_run_counts(struct db *d, int64_t run, struct db_run_counts *out, struct err *e)
{
    static const char sql[] =
        "SELECT state, count(*), sum(cached) FROM task"
        " WHERE run = ? AND kind IN ('container', 'importer') GROUP BY state";
    AUTO_Q struct q q = {0};
    struct db_run_counts c = {0};
    int more;

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_i64(&q, run);
    while ((more = q_step(&q, e)) > 0) {
        enum db_state s = q_get_state(&q);
        c.by_state[s] = q_get_i64(&q);
        c.cached += q_get_i64(&q);
        c.total += c.by_state[s];
    }
    if (more < 0)
        return -1;
    *out = c;
    return 0;
}

/* ---- tasks --------------------------------------------------------------------------
 */

void task_read(struct arena *a, struct q *q, struct db_task *t)
{
    t->id = q_get_i64(q);
    t->run = q_get_i64(q);
    t->parent = q_get_i64(q);
    t->path = q_get_str_in(a, q);
    t->name = q_get_str_in(a, q);
    t->kind = q_get_str_in(a, q);
    t->state = q_get_state(q);
    t->reason = q_get_str_in(a, q);
    t->error = q_get_str_in(a, q);
    t->cached = q_get_bool(q);
    t->cached_from = q_get_i64(q);
    q_get_hex(q, t->cache_key_hex);
    q_get_hex(q, t->image_hex);
    t->attempts = q_get_i64(q);
    t->host_failures = q_get_i64(q);
    t->started_unix_ms = q_get_i64(q);
    t->finished_unix_ms = q_get_i64(q);
    t->exit_code = q_get_exit(q);
    t->peak_memory_bytes = q_get_known(q);
    t->cpu_usec = q_get_known(q);
    t->uuid = q_get_str_in(a, q);
    t->gpus_json = q_get_str_in(a, q);
    t->component = q_get_str_in(a, q);
    q_get_hex(q, t->code_hex);
}

int db_tasks_in(struct arena *a, struct db *d, int64_t run, struct db_task **out,
                size_t *n, struct err *e)
{
    static const char sql[] =
        "SELECT " TASK_COLUMNS TASK_TABLES " WHERE t.run = ? ORDER BY t.id";
    AUTO_Q struct q q = {0};
    struct db_task *tasks = NULL;
    size_t count = 0;
    int more;

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_i64(&q, run);
    while ((more = q_step(&q, e)) > 0) {
        NEXT_ROW(a, tasks, &count);
        task_read(a, &q, &tasks[count - 1]);
    }
    if (more < 0)
        return -1;
    *out = tasks;
    *n = count;
    return 0;
}

int db_task_get_in(struct arena *a, struct db *d, int64_t task, struct db_task *out,
                   struct err *e)
{
    static const char sql[] = "SELECT " TASK_COLUMNS TASK_TABLES " WHERE t.id = ?";
    AUTO_Q struct q q = {0};
    int more;

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_i64(&q, task);
    more = q_step(&q, e);
    if (more == 0)
        return err_set(e, ERR_MISSING, "no task with row id %lld", (long long)task);
    if (more < 0)
        return -1;
    task_read(a, &q, out);
    return 0;
}

int db_task_cache_text(struct db *d, int64_t task, struct buf *text, struct err *e)
{
    static const char sql[] = "SELECT text FROM ingredients WHERE task = ?";
    AUTO_Q struct q q = {0};
    int more;

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_i64(&q, task);
    more = q_step(&q, e);
    if (more > 0)
        buf_addstr(text, q_get_str(&q));
    return more < 0 ? -1 : 0;
}

/* ---- attempts -----------------------------------------------------------------------
 */

#define ATTEMPT_COLUMNS                                                                \
    "m.task, m.number, m.state, m.started_ms, m.finished_ms, m.exit_code, m.signal,"   \
    " m.error, s.text, m.dir, m.host, m.peak_memory, m.cpu_usec, i.config, m.oom,"     \
    " m.timed_out, m.host_failure, m.gpus"
#define ATTEMPT_JOINS                                                                  \
    " LEFT JOIN doc s ON s.id = m.enforced LEFT JOIN image i ON i.id = m.image"

static void attempt_read(struct arena *a, struct q *q, struct db_attempt *m)
{
    m->task = q_get_i64(q);
    m->number = q_get_i64(q);
    m->state = q_get_state(q);
    m->started_unix_ms = q_get_i64(q);
    m->finished_unix_ms = q_get_i64(q);
    m->exit_code = q_get_exit(q);
    m->signal = (int32_t)q_get_i64(q);
    m->error = q_get_str_in(a, q);
    m->enforced_json = q_get_str_in(a, q);
    m->dir = q_get_str_in(a, q);
    m->host = q_get_str_in(a, q);
    m->peak_memory_bytes = q_get_known(q);
    m->cpu_usec = q_get_known(q);
    q_get_hex(q, m->image_hex);
    m->oom = q_get_bool(q);
    m->timed_out = q_get_bool(q);
    m->host_failure = q_get_bool(q);
    m->gpus_json = q_get_str_in(a, q);
}

static int attempts_read(struct arena *a, struct q *q, struct db_attempt **out,
                         size_t *n, struct err *e)
{
    struct db_attempt *attempts = NULL;
    size_t count = 0;
    int more;

    while ((more = q_step(q, e)) > 0) {
        NEXT_ROW(a, attempts, &count);
        attempt_read(a, q, &attempts[count - 1]);
    }
    if (more < 0)
        return -1;
    *out = attempts;
    *n = count;
    return 0;
}

int db_attempts_in(struct arena *a, struct db *d, int64_t task, struct db_attempt **out,
                   size_t *n, struct err *e)
{
    static const char sql[] = "SELECT " ATTEMPT_COLUMNS " FROM attempt m" ATTEMPT_JOINS
                              " WHERE m.task = ? ORDER BY m.number";
    AUTO_Q struct q q = {0};

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_i64(&q, task);
    return attempts_read(a, &q, out, n, e);
}

int db_attempts_open_in(struct arena *a, struct db *d, int64_t run,
                        struct db_attempt **out, size_t *n, struct err *e)
{
    static const char sql[] =
        "SELECT " ATTEMPT_COLUMNS
        " FROM attempt m CROSS JOIN task t ON t.id = m.task" ATTEMPT_JOINS
        " WHERE m.state = 'RUNNING' AND (?1 = 0 OR t.run = ?1) ORDER BY m.task, "
        "m.number";
    AUTO_Q struct q q = {0};

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_i64(&q, run);
    return attempts_read(a, &q, out, n, e);
}

int db_externals_in(struct arena *a, struct db *d, int64_t run,
                    struct db_external_row **out, size_t *n, struct err *e)
{
    static const char sql[] = "SELECT task, path, target, what, read_only FROM "
                              "external WHERE run = ? ORDER BY id";
    AUTO_Q struct q q = {0};
    struct db_external_row *rows = NULL;
    size_t count = 0;
    int more;

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_i64(&q, run);
    while ((more = q_step(&q, e)) > 0) {
        struct db_external_row *x;
        NEXT_ROW(a, rows, &count);
        x = &rows[count - 1];
        x->task = q_get_i64(&q);
        x->path = q_get_str_in(a, &q);
        x->target = q_get_str_in(a, &q);
        x->what = q_get_str_in(a, &q);
        x->read_only = q_get_bool(&q);
    }
    if (more < 0)
        return -1;
    *out = rows;
    *n = count;
    return 0;
}

/* ---- artifacts ----------------------------------------------------------------------
 */

void artifact_read(struct arena *a, struct q *q, struct db_artifact *x)
{
    x->id = q_get_i64(q);
    x->type = q_get_str_in(a, q);
    x->name = q_get_str_in(a, q);
    x->kind = q_get_str_in(a, q);
    q_get_hex(q, x->digest_hex);
    x->size_bytes = q_get_i64(q);
    x->n_files = q_get_i64(q);
    x->state = artifact_state(q_get_str(q));
    x->task = q_get_i64(q);
    x->imported = q_get_bool(q);
    x->created_unix_ms = q_get_i64(q);
    x->uri = q_get_str_in(a, q);
    x->source = q_get_str_in(a, q);
    x->metadata_json = q_get_str_in(a, q);
}

int db_artifact_get_in(struct arena *a, struct db *d, int64_t artifact,
                       struct db_artifact *out, struct err *e)
{
    static const char sql[] =
        "SELECT " ARTIFACT_COLUMNS " FROM artifact a CROSS JOIN type y ON y.id = a.type"
        " WHERE a.id = ?";
    AUTO_Q struct q q = {0};
    int more;

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_i64(&q, artifact);
    more = q_step(&q, e);
    if (more == 0)
        return err_set(e, ERR_MISSING, "no artifact a%lld", (long long)artifact);
    if (more < 0)
        return -1;
    artifact_read(a, &q, out);
    return 0;
}

int db_artifact_maker_in(struct arena *a, struct db *d, const struct db_artifact *x,
                         struct str *run, struct str *task, struct err *e)
{
    static const char sql[] = "SELECT r.name, t.path FROM task t"
                              " CROSS JOIN run r ON r.id = t.run WHERE t.id = ?";
    AUTO_Q struct q q = {0};
    int more;

    *run = *task = (struct str){"", 0};
    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_i64(&q, x->task);
    more = q_step(&q, e);
    if (more > 0) {
        *run = q_get_str_in(a, &q);
        *task = q_get_str_in(a, &q);
    }
    return more < 0 ? -1 : 0;
}

static int params_read(struct arena *a, struct db *d, int64_t task, enum db_io io,
                       struct db_io_rows *out, struct err *e)
{
    static const char sql[] =
        "SELECT name, value FROM param WHERE task = ? AND io = ? ORDER BY name";
    AUTO_Q struct q q = {0};
    int more;

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_i64(&q, task);
    q_i64(&q, io);
    while ((more = q_step(&q, e)) > 0) {
        struct db_param *p;
        NEXT_ROW(a, out->params, &out->n_params);
        p = &out->params[out->n_params - 1];
        p->name = q_get_str_in(a, &q);
        p->value_json = q_get_str_in(a, &q);
    }
    return more;
}

static int io_artifacts_read(struct arena *a, struct db *d, int64_t task, enum db_io io,
                             struct db_io_rows *out, struct err *e)
{
    static const char sql[] = "SELECT e.name, e.idx, " ARTIFACT_COLUMNS
                              " FROM event e CROSS JOIN artifact a ON a.id = e.artifact"
                              " CROSS JOIN type y ON y.id = a.type"
                              " WHERE e.task = ? AND e.io = ? ORDER BY e.name, e.idx";
    AUTO_Q struct q q = {0};
    int more;

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_i64(&q, task);
    q_i64(&q, io);
    while ((more = q_step(&q, e)) > 0) {
        struct db_io_artifact *x;
        NEXT_ROW(a, out->artifacts, &out->n_artifacts);
        x = &out->artifacts[out->n_artifacts - 1];
        x->name = q_get_str_in(a, &q);
        x->idx = q_get_i64(&q);
        artifact_read(a, &q, &x->artifact);
    }
    return more;
}

int db_task_io_in(struct arena *a, struct db *d, int64_t task, enum db_io io,
                  struct db_io_rows *out, struct err *e)
{
    struct db_io_rows rows = {0};

    if (params_read(a, d, task, io, &rows, e) < 0 ||
        io_artifacts_read(a, d, task, io, &rows, e) < 0)
        return -1;
    *out = rows;
    return 0;
}
