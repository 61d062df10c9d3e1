/* SPDX-License-Identifier: Apache-2.0 */
/* openlineage.c - the record as events of OpenLineage (specification 2-0-2)
 *
 *   ours                theirs
 *   pipeline            job      NAMESPACE, "churn-training"
 *   run                 run      its own id, job type DAG
 *   task                job      NAMESPACE, "churn-training.train", no loop indices
 *                       run      UUIDv5(database, row id); parent: the enclosing DAG
 *   artifact            dataset  NAMESPACE, "churn-training/train/out_model"
 *                                version: its digest
 *   SUCCEEDED, cached   COMPLETE (cached: a tag cached_from names the run)
 *   FAILED, CANCELED    FAIL, ABORT
 *
 * NAMESPACE is dugout://<id of the database>. A dataset is named after what made it, by
 * whichever run: so a cache hit gives out the dataset that the first run made, which is
 * the truth. Metrics and other metadata have no place in the specification; they travel
 * in facets of our own, dugout_metadata and dugout_metrics.
 *
 * Times order events within a run. Equal times keep this order: outer START, inner
 * START, inner end, outer end.
 */
#include "base/clock.h"
#include "base/limits.h"
#include "lineage/export.h"
#include "lineage/rows.h"
#include "lineage/uuid5.h"
#include "version.h"

#define SPEC "https://openlineage.io/spec/"
#define SPEC_TEXT_MAX (256 * KIB) /* of a pipeline's YAML in an event */

struct ol {
    struct db *d;
    db_line_fn *fn;
    void *ctx;
    char uuid[37];
    char space[sizeof("dugout://") + 36];
    struct arena a; /* of the run at hand */
    struct db_run run;
    struct db_task *tasks;
    size_t n_tasks;
    struct buf line;
    struct jw w;
};

struct moment { /* one event to be */
    int64_t unix_ms;
    size_t rank;                /* breaks ties */
    const struct db_task *task; /* NULL: the run itself */
    const char *type;
};

/* ---- names ---- */

static void task_uuid(const struct ol *x, int64_t task, char out[37])
{
    char text[24];

    (void)snprintf(text, sizeof(text), "%lld", (long long)task);
    must(uuid5(str_of(x->uuid), str_of(text), out));
}

/* "pipeline.for-loop-2/square": what is the same job whichever iteration */
static struct str job_name(struct ol *x, const struct db_task *t)
{
    char *out =
        arena_printf(&x->a, "%.*s.%.*s", STR_ARG(x->run.pipeline), STR_ARG(t->path));
    size_t n = x->run.pipeline.len + 1;

    for (size_t i = n; out[i]; i++) {
        if (out[i] == '[')
            while (out[i + 1] && out[i] != ']')
                i++;
        else
            out[n++] = out[i];
    }
    return (struct str){out, n};
}

/* a number in metadata that says how many rows there are, -1 = none */
static int64_t rows_of(json *metadata)
{
    json *v = json_at(metadata, "rows");

    v = v ? v : json_at(metadata, "row_count");
    if (yyjson_is_num(v) && yyjson_get_num(v) >= 0 && yyjson_get_num(v) < 9e15)
        return (int64_t)yyjson_get_num(v);
    return -1;
}

/* ---- facets ---- */

static void facet(struct ol *x, const char *key, const char *schema)
{
    jw_key(&x->w, key);
    jw_obj(&x->w);
    jw_kstr(&x->w, "_producer", "urn:dugout:" DUGOUT_VERSION);
    jw_kstr(&x->w, "_schemaURL", schema);
}

/* a facet of the specification: its version and name */
#define FACET(x, key, version, name)                                                   \
    facet(x, key, SPEC "facets/" version "/" name ".json#/$defs/" name)

static void key_text(struct ol *x, const char *key, struct str s)
{
    jw_key(&x->w, key);
    jw_str(&x->w, s);
}

static void tag(struct ol *x, const char *key, struct str value)
{
    if (!value.len)
        return;
    jw_obj(&x->w);
    jw_kstr(&x->w, "key", key);
    key_text(x, "value", value);
    jw_kstr(&x->w, "source", "DUGOUT");
    jw_end_obj(&x->w);
}

static void run_and_job(struct ol *x, const char *uuid, struct str job)
{
    jw_key(&x->w, "run");
    jw_obj(&x->w);
    jw_kstr(&x->w, "runId", uuid);
    jw_end_obj(&x->w);
    jw_key(&x->w, "job");
    jw_obj(&x->w);
    jw_kstr(&x->w, "namespace", x->space);
    key_text(x, "name", job);
    jw_end_obj(&x->w);
}

static const struct db_task *task_by_id(const struct ol *x, int64_t id)
{
    size_t low = 0, high = x->n_tasks; /* rows are in order of id */

    while (low < high) {
        size_t mid = (low + high) / 2;
        if (x->tasks[mid].id < id)
            low = mid + 1;
        else
            high = mid;
    }
    return low < x->n_tasks && x->tasks[low].id == id ? &x->tasks[low] : NULL;
}

static void parent_facet(struct ol *x, const struct db_task *t)
{
    const struct db_task *up = task_by_id(x, t->parent);
    char uuid[37];

    FACET(x, "parent", "1-1-0", "ParentRunFacet");
    if (up) {
        task_uuid(x, up->id, uuid);
        run_and_job(x, uuid, job_name(x, up));
    } else {
        run_and_job(x, x->run.uuid.ptr, x->run.pipeline);
    }
    jw_key(&x->w, "root");
    jw_obj(&x->w);
    run_and_job(x, x->run.uuid.ptr, x->run.pipeline);
    jw_end_obj(&x->w);
    jw_end_obj(&x->w);
}

static void error_facet(struct ol *x, struct str message)
{
    if (!message.len)
        return;
    FACET(x, "errorMessage", "1-0-1", "ErrorMessageRunFacet");
    key_text(x, "message", message);
    jw_kstr(&x->w, "programmingLanguage", "unknown");
    jw_end_obj(&x->w);
}

static void parameters_open(struct ol *x)
{
    FACET(x, "executionParameters", "1-0-0", "ExecutionParametersRunFacet");
    jw_key(&x->w, "parameters");
    jw_arr(&x->w);
}

static void parameter(struct ol *x, struct str key, struct str value_json)
{
    jw_obj(&x->w);
    key_text(x, "key", key);
    jw_key(&x->w, "value");
    jw_raw(&x->w, value_json);
    jw_end_obj(&x->w);
}

static void parameters_close(struct ol *x)
{
    jw_end_arr(&x->w);
    jw_end_obj(&x->w);
}

static void run_parameters(struct ol *x)
{
    AUTO_JSON yyjson_doc *doc = NULL;
    struct err unread;
    yyjson_val *k, *v;
    size_t i, max;

    if (!x->run.parameters_json.len ||
        json_parse(x->run.parameters_json, LIMIT_VALUE_BYTES, &doc, &unread) < 0 ||
        !yyjson_obj_size(yyjson_doc_get_root(doc)))
        return;
    parameters_open(x);
    yyjson_obj_foreach(yyjson_doc_get_root(doc), i, max, k, v)
    {
        AUTO_FREE char *text = yyjson_val_write(v, 0, NULL);
        parameter(x, json_as_str(k), str_of(text ? text : "null"));
    }
    parameters_close(x);
}

static void engine_facet(struct ol *x)
{
    FACET(x, "processing_engine", "1-1-1", "ProcessingEngineRunFacet");
    key_text(x, "version", x->run.version.len ? x->run.version : STR("unknown"));
    jw_kstr(&x->w, "name", "dugout");
    jw_end_obj(&x->w);
}

static void job_type_facet(struct ol *x, const char *type)
{
    FACET(x, "jobType", "2-0-3", "JobTypeJobFacet");
    jw_kstr(&x->w, "processingType", "BATCH");
    jw_kstr(&x->w, "integration", "DUGOUT");
    jw_kstr(&x->w, "jobType", type);
    jw_end_obj(&x->w);
}

/* ---- datasets ---- */

static int dataset_name(struct ol *x, const struct db_artifact *f, struct str *out,
                        struct err *e)
{
    struct db_task t;
    struct db_run r;

    if (!f->task) {
        *out = str_of(arena_printf(&x->a, "outside/%.*s", STR_ARG(f->name)));
        return 0;
    }
    if (db_task_get_in(&x->a, x->d, f->task, &t, e) < 0 ||
        db_run_get_in(&x->a, x->d, t.run, &r, e) < 0)
        return -1;
    *out = str_of(arena_printf(&x->a, "%.*s/%.*s/%.*s", STR_ARG(r.pipeline),
                               STR_ARG(t.path), STR_ARG(f->name)));
    return 0;
}

static void metadata_facet(struct ol *x, const struct db_artifact *f)
{
    bool metrics = str_eqz(f->type, "system.Metrics");

    if (f->metadata_json.len <= strlen("{}"))
        return;
    facet(x, metrics ? "dugout_metrics" : "dugout_metadata",
          metrics ? "urn:dugout:facet:metrics:1" : "urn:dugout:facet:metadata:1");
    jw_key(&x->w, metrics ? "metrics" : "metadata");
    jw_raw(&x->w, f->metadata_json);
    jw_end_obj(&x->w);
}

/* where it came from, for what was not made here: only that has a source */
static void symlinks_facet(struct ol *x, const struct db_artifact *f)
{
    struct str uri = f->source.len || f->task ? f->source : f->uri;
    const char *at = uri.len ? memmem(uri.ptr, uri.len, "://", 3) : NULL;
    const char *slash =
        at ? memchr(at + 3, '/', (size_t)(uri.ptr + uri.len - at - 3)) : NULL;
    size_t cut = slash ? (size_t)(slash - uri.ptr) : 0;

    if (!uri.len)
        return;
    FACET(x, "symlinks", "1-0-1", "SymlinksDatasetFacet");
    jw_key(&x->w, "identifiers");
    jw_arr(&x->w);
    jw_obj(&x->w);
    key_text(x, "namespace", cut ? (struct str){uri.ptr, cut} : STR("file"));
    key_text(x, "name", (struct str){uri.ptr + cut, uri.len - cut});
    jw_kstr(&x->w, "type", "LOCATION");
    jw_end_obj(&x->w);
    jw_end_arr(&x->w);
    jw_end_obj(&x->w);
}

static void dataset_facets(struct ol *x, const struct db_artifact *f)
{
    jw_key(&x->w, "facets");
    jw_obj(&x->w);
    FACET(x, "version", "1-0-1", "DatasetVersionDatasetFacet");
    key_text(x, "datasetVersion",
             str_of(f->digest_hex[0] ? arena_printf(&x->a, "sha256:%s", f->digest_hex)
                                     : arena_printf(&x->a, "a%lld", (long long)f->id)));
    jw_end_obj(&x->w);
    FACET(x, "datasetType", "1-0-0", "DatasetTypeDatasetFacet");
    jw_kstr(&x->w, "datasetType",
            str_eqz(f->type, "system.Model") ? "MODEL"
            : str_eqz(f->kind, "file")       ? "FILE"
            : str_eqz(f->kind, "dir")        ? "DIRECTORY"
                                             : "METADATA");
    key_text(x, "subType", f->type);
    jw_end_obj(&x->w);
    FACET(x, "storage", "1-0-1", "StorageDatasetFacet");
    jw_kstr(&x->w, "storageLayer", "dugout");
    jw_end_obj(&x->w);
    symlinks_facet(x, f);
    metadata_facet(x, f);
    jw_end_obj(&x->w);
}

static void statistics(struct ol *x, const struct db_artifact *f, enum db_io io)
{
    AUTO_JSON yyjson_doc *doc = NULL;
    struct err unread;
    int64_t rows = -1;

    if (f->metadata_json.len &&
        json_parse(f->metadata_json, LIMIT_VALUE_BYTES, &doc, &unread) == 0)
        rows = rows_of(yyjson_doc_get_root(doc));
    if (rows < 0 && !f->digest_hex[0])
        return;
    jw_key(&x->w, io == DB_IN ? "inputFacets" : "outputFacets");
    jw_obj(&x->w);
    if (io == DB_IN)
        FACET(x, "inputStatistics", "1-0-0", "InputStatisticsInputDatasetFacet");
    else
        FACET(x, "outputStatistics", "1-0-2", "OutputStatisticsOutputDatasetFacet");
    if (rows >= 0)
        jw_ki64(&x->w, "rowCount", rows);
    if (f->digest_hex[0]) {
        jw_ki64(&x->w, "size", f->size_bytes);
        jw_ki64(&x->w, "fileCount", str_eqz(f->kind, "dir") ? f->n_files : 1);
    }
    jw_end_obj(&x->w);
    jw_end_obj(&x->w);
}

static int datasets(struct ol *x, const struct db_io_rows *rows, enum db_io io,
                    struct err *e)
{
    jw_key(&x->w, io == DB_IN ? "inputs" : "outputs");
    jw_arr(&x->w);
    for (size_t i = 0; i < rows->n_artifacts; i++) {
        const struct db_artifact *f = &rows->artifacts[i].artifact;
        struct str name;
        if (dataset_name(x, f, &name, e) < 0)
            return -1;
        jw_obj(&x->w);
        jw_kstr(&x->w, "namespace", x->space);
        key_text(x, "name", name);
        dataset_facets(x, f);
        statistics(x, f, io);
        jw_end_obj(&x->w);
    }
    jw_end_arr(&x->w);
    return 0;
}

/* ---- events ---- */

static void event_head(struct ol *x, const struct moment *m)
{
    char when[25];

    buf_reset(&x->line);
    jw_init(&x->w, &x->line);
    clock_rfc3339(m->unix_ms, when);
    jw_obj(&x->w);
    jw_kstr(&x->w, "eventType", m->type);
    jw_kstr(&x->w, "eventTime", when);
    jw_kstr(&x->w, "producer", "urn:dugout:" DUGOUT_VERSION);
    jw_kstr(&x->w, "schemaURL", SPEC "2-0-2/OpenLineage.json#/$defs/RunEvent");
}

static int event_end(struct ol *x, struct err *e)
{
    jw_end_obj(&x->w);
    buf_addc(&x->line, '\n');
    return x->fn(x->ctx, (struct str){x->line.ptr, x->line.len}, e);
}

static void run_event_run(struct ol *x, const struct moment *m)
{
    bool start = strcmp(m->type, "START") == 0;
    char when[25];

    jw_key(&x->w, "run");
    jw_obj(&x->w);
    key_text(x, "runId", x->run.uuid);
    jw_key(&x->w, "facets");
    jw_obj(&x->w);
    FACET(x, "nominalTime", "1-0-1", "NominalTimeRunFacet");
    clock_rfc3339(x->run.created_unix_ms, when);
    jw_kstr(&x->w, "nominalStartTime", when);
    jw_end_obj(&x->w);
    engine_facet(x);
    run_parameters(x);
    if (!start)
        error_facet(x, x->run.error);
    FACET(x, "tags", "1-0-0", "TagsRunFacet");
    jw_key(&x->w, "tags");
    jw_arr(&x->w);
    tag(x, "run_name", x->run.name);
    tag(x, "experiment", x->run.experiment);
    tag(x, "user", x->run.user);
    tag(x, "host", x->run.host);
    tag(x, "git_commit", x->run.git_commit);
    jw_end_arr(&x->w);
    jw_end_obj(&x->w);
    jw_end_obj(&x->w);
    jw_end_obj(&x->w);
}

static int source_facet(struct ol *x, struct err *e)
{
    AUTO_BUF struct buf text = {0};

    if (db_run_spec(x->d, x->run.id, &text, e) < 0)
        return e->code == ERR_MISSING ? 0 : -1;
    if (!text.len || text.len > SPEC_TEXT_MAX)
        return 0;
    FACET(x, "sourceCode", "1-0-1", "SourceCodeJobFacet");
    jw_kstr(&x->w, "language", "YAML");
    key_text(x, "sourceCode", (struct str){text.ptr, text.len});
    jw_end_obj(&x->w);
    return 0;
}

static int run_event(struct ol *x, const struct moment *m, struct err *e)
{
    static const struct db_io_rows none = {0};

    event_head(x, m);
    run_event_run(x, m);
    jw_key(&x->w, "job");
    jw_obj(&x->w);
    jw_kstr(&x->w, "namespace", x->space);
    key_text(x, "name", x->run.pipeline);
    jw_key(&x->w, "facets");
    jw_obj(&x->w);
    job_type_facet(x, "DAG");
    if (strcmp(m->type, "START") == 0 && source_facet(x, e) < 0)
        return -1;
    jw_end_obj(&x->w);
    jw_end_obj(&x->w);
    if (datasets(x, &none, DB_IN, e) < 0 || datasets(x, &none, DB_OUT, e) < 0)
        return -1;
    return event_end(x, e);
}

static void task_event_run(struct ol *x, const struct moment *m,
                           const struct db_io_rows *in)
{
    const struct db_task *t = m->task;
    char uuid[37], from[37];

    task_uuid(x, t->id, uuid);
    jw_key(&x->w, "run");
    jw_obj(&x->w);
    jw_kstr(&x->w, "runId", uuid);
    jw_key(&x->w, "facets");
    jw_obj(&x->w);
    parent_facet(x, t);
    engine_facet(x);
    if (in->n_params) {
        parameters_open(x);
        for (size_t i = 0; i < in->n_params; i++)
            parameter(x, in->params[i].name, in->params[i].value_json);
        parameters_close(x);
    }
    if (strcmp(m->type, "START") != 0)
        error_facet(x, t->error);
    FACET(x, "tags", "1-0-0", "TagsRunFacet");
    jw_key(&x->w, "tags");
    jw_arr(&x->w);
    if (t->cached_from) {
        task_uuid(x, t->cached_from, from);
        tag(x, "cached_from", str_of(from));
    }
    tag(x, "image", str_of(t->image_hex));
    tag(x, "path", t->path);
    jw_end_arr(&x->w);
    jw_end_obj(&x->w);
    jw_end_obj(&x->w);
    jw_end_obj(&x->w);
}

static int task_event(struct ol *x, const struct moment *m, struct err *e)
{
    struct db_io_rows in = {0}, out = {0};
    const struct db_task *t = m->task;
    bool leaf = str_eqz(t->kind, "container") || str_eqz(t->kind, "importer");

    /* what a DAG reads and gives out, its tasks do */
    if (leaf && (db_task_io_in(&x->a, x->d, t->id, DB_IN, &in, e) < 0 ||
                 (strcmp(m->type, "START") != 0 &&
                  db_task_io_in(&x->a, x->d, t->id, DB_OUT, &out, e) < 0)))
        return -1;
    event_head(x, m);
    task_event_run(x, m, &in);
    jw_key(&x->w, "job");
    jw_obj(&x->w);
    jw_kstr(&x->w, "namespace", x->space);
    key_text(x, "name", job_name(x, t));
    jw_key(&x->w, "facets");
    jw_obj(&x->w);
    job_type_facet(x, leaf ? "TASK" : "DAG");
    jw_end_obj(&x->w);
    jw_end_obj(&x->w);
    if (datasets(x, &in, DB_IN, e) < 0 || datasets(x, &out, DB_OUT, e) < 0)
        return -1;
    return event_end(x, e);
}

/* NULL: not over, or never begun */
static const char *end_type(enum db_state s)
{
    switch (s) {
    case DB_SUCCEEDED:
        return "COMPLETE";
    case DB_FAILED:
        return "FAIL";
    case DB_CANCELED:
        return "ABORT";
    case DB_PENDING:
    case DB_RUNNING:
    case DB_SKIPPED:
    case DB_INTERRUPTED: /* may be resumed */
    case DB_STATES:
        break;
    }
    return NULL;
}

static int by_time(const void *p, const void *q)
{
    const struct moment *x = p, *y = q;

    if (x->unix_ms != y->unix_ms)
        return x->unix_ms < y->unix_ms ? -1 : 1;
    return x->rank < y->rank ? -1 : x->rank > y->rank;
}

/* Ranks grow inward for beginnings and outward for ends: rows of DAGs come before rows
 * of what is in them. */
static size_t list_moments(struct ol *x, struct moment *m)
{
    size_t n = 0, last = 2 * x->n_tasks + 1;
    const char *end = end_type(x->run.state);
    int64_t over = x->run.created_unix_ms;

    m[n++] = (struct moment){x->run.created_unix_ms, 0, NULL, "START"};
    for (size_t i = 0; i < x->n_tasks; i++) {
        const struct db_task *t = &x->tasks[i];
        const char *type = end_type(t->state);
        int64_t from = t->started_unix_ms ? t->started_unix_ms : t->finished_unix_ms;

        if (!from || t->state == DB_SKIPPED ||
            (t->state == DB_CANCELED && !t->started_unix_ms))
            continue; /* a cache hit has only an end */
        m[n++] = (struct moment){from, 1 + i, t, "START"};
        if (type)
            m[n++] =
                (struct moment){t->finished_unix_ms > from ? t->finished_unix_ms : from,
                                last - i, t, type};
        over = m[n - 1].unix_ms > over ? m[n - 1].unix_ms : over;
    }
    if (end) /* a clock that was set back must not end a run before its tasks */
        m[n++] = (struct moment){
            x->run.finished_unix_ms > over ? x->run.finished_unix_ms : over, last + 1,
            NULL, end};
    qsort(m, n, sizeof(*m), by_time);
    return n;
}

static int export_run(struct ol *x, int64_t run, struct err *e)
{
    struct moment *m;
    size_t n;

    if (db_run_get_in(&x->a, x->d, run, &x->run, e) < 0 ||
        db_tasks_in(&x->a, x->d, run, &x->tasks, &x->n_tasks, e) < 0)
        return -1;
    m = arena_alloc(&x->a, (2 * x->n_tasks + 2) * sizeof(*m));
    n = list_moments(x, m);
    for (size_t i = 0; i < n; i++)
        if ((m[i].task ? task_event(x, &m[i], e) : run_event(x, &m[i], e)) < 0)
            return err_at(e, "run %.*s", STR_ARG(x->run.name));
    return 0;
}

static int next_run(struct ol *x, int64_t after, int64_t *run, struct err *e)
{
    static const char sql[] = "SELECT id FROM run WHERE id > ? ORDER BY id LIMIT 1";
    AUTO_Q struct q q = {0};

    if (q_open(&q, x->d, sql, e) < 0)
        return -1;
    q_i64(&q, after);
    return q_one(&q, run, e);
}

static int export_all(struct ol *x, int64_t only, struct err *e)
{
    int64_t run = only;

    if (!only && next_run(x, 0, &run, e) < 0)
        return -1;
    while (run) {
        if (export_run(x, run, e) < 0)
            return -1;
        arena_reset(&x->a);
        if (only)
            break;
        if (next_run(x, run, &run, e) < 0)
            return -1;
    }
    return 0;
}

int db_export_openlineage(struct db *d, int64_t run, db_line_fn *fn, void *ctx,
                          struct err *e)
{
    struct ol x = {.d = d, .fn = fn, .ctx = ctx};
    bool mine = !d->in_read;
    int rc;

    if (db_uuid(d, x.uuid, e) < 0 || (mine && db_read_begin(d, e) < 0))
        return -1;
    (void)snprintf(x.space, sizeof(x.space), "dugout://%s", x.uuid);
    rc = export_all(&x, run, e);
    if (mine)
        db_read_end(d);
    buf_done(&x.line);
    arena_done(&x.a);
    return rc;
}
