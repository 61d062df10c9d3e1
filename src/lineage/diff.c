/* SPDX-License-Identifier: Apache-2.0 */
/* diff.c - two runs beside each other
 *
 * Both are read whole and joined by name: parameters, then tasks by their path, then
 * inputs and outputs of the pair. Contents are compared by digest, so that a run on
 * another machine or in another year says "the same data" when it was.
 */
#include "lineage/diff.h"

#include <stdlib.h>

#include "base/json.h"
#include "base/limits.h"
#include "lineage/rows.h"

struct differ {
    struct arena *a;
    struct db *d;
    struct run_diff *out;
    struct err *e;
};

const char *diff_kind_name(enum diff_kind k)
{
    static const char *const names[] = {
        [DIFF_RUN] = "run",
        [DIFF_PARAMETER] = "parameter",
        [DIFF_TASK] = "task",
        [DIFF_STATE] = "state",
        [DIFF_IMAGE] = "image",
        [DIFF_CODE] = "code",
        [DIFF_TASK_PARAMETER] = "task_parameter",
        [DIFF_INPUT] = "input",
        [DIFF_OUTPUT_PARAMETER] = "output_parameter",
        [DIFF_OUTPUT] = "output",
        [DIFF_METRIC] = "metric",
    };

    must((unsigned)k < DIFF_KINDS);
    return names[k];
}

static struct diff_row *add(struct differ *x, enum diff_kind kind, struct str task,
                            struct str name, struct str a, struct str b)
{
    struct run_diff *o = x->out;

    o->rows = arena_grow(x->a, o->rows, &o->n, sizeof(*o->rows));
    o->rows[o->n - 1] =
        (struct diff_row){.kind = kind, .task = task, .name = name, .a = a, .b = b};
    return &o->rows[o->n - 1];
}

static void add_unless_same(struct differ *x, enum diff_kind kind, struct str task,
                            struct str name, struct str a, struct str b)
{
    if (!str_eq(a, b))
        (void)add(x, kind, task, name, a, b);
}

/* ---- the run ------------------------------------------------------------------------
 */

static void diff_heads(struct differ *x)
{
    const struct db_run *a = &x->out->a, *b = &x->out->b;
    const struct {
        const char *name;
        struct str a, b;
    } facts[] = {
        {"pipeline", a->pipeline, b->pipeline},
        {"state", str_of(db_state_name(a->state)), str_of(db_state_name(b->state))},
        /* rows outlive the struct that they are read from */
        {"spec", str_of(arena_strdup(x->a, a->spec_hex)),
         str_of(arena_strdup(x->a, b->spec_hex))},
        {"git commit", a->git_commit, b->git_commit},
        {"dugout", a->version, b->version},
        {"host", a->host, b->host},
        {"user", a->user, b->user},
    };

    for (size_t i = 0; i < N_ELEMS(facts); i++)
        add_unless_same(x, DIFF_RUN, (struct str){"", 0}, str_of(facts[i].name),
                        facts[i].a, facts[i].b);
}

static struct str json_text(struct arena *a, json *v)
{
    AUTO_FREE char *text = v ? yyjson_val_write(v, 0, NULL) : NULL;

    return text ? arena_str(a, str_of(text)) : (struct str){"", 0};
}

static void diff_object(struct differ *x, enum diff_kind kind, json *a, json *b)
{
    size_t i, max;
    yyjson_val *k, *v;

    yyjson_obj_foreach(a, i, max, k, v)
    {
        json *other = yyjson_obj_getn(b, yyjson_get_str(k), yyjson_get_len(k));
        add_unless_same(x, kind, (struct str){"", 0}, arena_str(x->a, json_as_str(k)),
                        json_text(x->a, v), json_text(x->a, other));
    }
    yyjson_obj_foreach(b, i, max, k, v)
    {
        if (!yyjson_obj_getn(a, yyjson_get_str(k), yyjson_get_len(k)))
            (void)add(x, kind, (struct str){"", 0}, arena_str(x->a, json_as_str(k)),
                      (struct str){"", 0}, json_text(x->a, v));
    }
}

static int diff_parameters(struct differ *x)
{
    struct str a = x->out->a.parameters_json, b = x->out->b.parameters_json;
    AUTO_JSON yyjson_doc *da = NULL;
    AUTO_JSON yyjson_doc *db = NULL;

    if (json_parse(a.len ? a : STR("{}"), LIMIT_SPEC_BYTES, &da, x->e) < 0 ||
        json_parse(b.len ? b : STR("{}"), LIMIT_SPEC_BYTES, &db, x->e) < 0)
        return err_at(x->e, "recorded parameters");
    diff_object(x, DIFF_PARAMETER, yyjson_doc_get_root(da), yyjson_doc_get_root(db));
    return 0;
}

/* ---- tasks --------------------------------------------------------------------------
 */

static const struct db_param *param_named(const struct db_io_rows *io, struct str name)
{
    for (size_t i = 0; i < io->n_params; i++) {
        if (str_eq(io->params[i].name, name))
            return &io->params[i];
    }
    return NULL;
}

static void diff_params(struct differ *x, enum diff_kind kind, struct str task,
                        const struct db_io_rows *a, const struct db_io_rows *b)
{
    const struct str none = {"", 0};

    for (size_t i = 0; i < a->n_params; i++) {
        const struct db_param *other = param_named(b, a->params[i].name);
        add_unless_same(x, kind, task, a->params[i].name, a->params[i].value_json,
                        other ? other->value_json : none);
    }
    for (size_t i = 0; i < b->n_params; i++) {
        if (!param_named(a, b->params[i].name))
            (void)add(x, kind, task, b->params[i].name, none, b->params[i].value_json);
    }
}

static const struct db_io_artifact *artifact_at(const struct db_io_rows *io,
                                                struct str name, int64_t idx)
{
    for (size_t i = 0; i < io->n_artifacts; i++) {
        if (io->artifacts[i].idx == idx && str_eq(io->artifacts[i].name, name))
            return &io->artifacts[i];
    }
    return NULL;
}

/* what tells two artifacts apart: the digest, else the metadata, else where it is */
static struct str content_of(const struct db_artifact *f)
{
    if (f->digest_hex[0])
        return str_of(f->digest_hex);
    return f->metadata_json.len ? f->metadata_json : f->uri;
}

static struct str label(struct differ *x, const struct db_io_artifact *f)
{
    const struct db_artifact *r = &f->artifact;

    if (r->digest_hex[0])
        return str_of(
            arena_printf(x->a, "a%lld sha256:%.12s", (long long)r->id, r->digest_hex));
    return str_of(arena_printf(x->a, "a%lld", (long long)r->id));
}

static struct str place(struct differ *x, const struct db_io_artifact *f)
{
    return f->idx ? str_of(arena_printf(x->a, "%.*s[%lld]", STR_ARG(f->name),
                                        (long long)f->idx))
                  : f->name;
}

static void diff_artifacts(struct differ *x, enum diff_kind kind, struct str task,
                           const struct db_io_rows *a, const struct db_io_rows *b)
{
    const struct str none = {"", 0};

    for (size_t i = 0; i < a->n_artifacts; i++) {
        const struct db_io_artifact *f = &a->artifacts[i];
        const struct db_io_artifact *g = artifact_at(b, f->name, f->idx);
        bool same = g && str_eq(content_of(&f->artifact), content_of(&g->artifact));

        if (kind == DIFF_OUTPUT && g && f->artifact.digest_hex[0]) {
            x->out->n_outputs++;
            x->out->n_outputs_same += same;
        }
        if (!same && (kind == DIFF_INPUT || f->artifact.digest_hex[0] || !g))
            (void)add(x, kind, task, place(x, f), label(x, f), g ? label(x, g) : none);
    }
    for (size_t i = 0; i < b->n_artifacts; i++) {
        const struct db_io_artifact *g = &b->artifacts[i];
        if (!artifact_at(a, g->name, g->idx))
            (void)add(x, kind, task, place(x, g), none, label(x, g));
    }
}

/* ---- metrics ------------------------------------------------------------------------
 */

static void metric_row(struct differ *x, struct str task, struct str name, json *a,
                       json *b)
{
    struct str ta = json_text(x->a, a), tb = json_text(x->a, b);
    struct diff_row *r = add(x, DIFF_METRIC, task, name, ta, tb);

    r->same = str_eq(ta, tb);
    r->numeric = yyjson_is_num(a) && yyjson_is_num(b);
    r->num_a = r->numeric ? yyjson_get_num(a) : 0;
    r->num_b = r->numeric ? yyjson_get_num(b) : 0;
}

static bool is_scalar(json *v)
{
    return yyjson_is_num(v) || yyjson_is_bool(v) || yyjson_is_str(v);
}

static void diff_metadata(struct differ *x, struct str task, struct str output, json *a,
                          json *b)
{
    size_t i, max;
    yyjson_val *k, *v;

    yyjson_obj_foreach(a, i, max, k, v)
    {
        if (is_scalar(v) && !str_eqz(json_as_str(k), "display_name"))
            metric_row(x, task,
                       str_of(arena_printf(x->a, "%.*s.%s", STR_ARG(output),
                                           yyjson_get_str(k))),
                       v, yyjson_obj_getn(b, yyjson_get_str(k), yyjson_get_len(k)));
    }
    yyjson_obj_foreach(b, i, max, k, v)
    {
        if (is_scalar(v) && !yyjson_obj_getn(a, yyjson_get_str(k), yyjson_get_len(k)) &&
            !str_eqz(json_as_str(k), "display_name"))
            metric_row(x, task,
                       str_of(arena_printf(x->a, "%.*s.%s", STR_ARG(output),
                                           yyjson_get_str(k))),
                       NULL, v);
    }
}

static int diff_metrics(struct differ *x, struct str task, const struct db_io_rows *a,
                        const struct db_io_rows *b)
{
    for (size_t i = 0; i < a->n_artifacts; i++) {
        const struct db_io_artifact *f = &a->artifacts[i];
        const struct db_io_artifact *g = artifact_at(b, f->name, f->idx);
        struct str ma = f->artifact.metadata_json;
        struct str mb = g ? g->artifact.metadata_json : (struct str){"", 0};
        AUTO_JSON yyjson_doc *da = NULL;
        AUTO_JSON yyjson_doc *db = NULL;

        if (!g || (!ma.len && !mb.len))
            continue;
        if (json_parse(ma.len ? ma : STR("{}"), LIMIT_VALUE_BYTES, &da, x->e) < 0 ||
            json_parse(mb.len ? mb : STR("{}"), LIMIT_VALUE_BYTES, &db, x->e) < 0)
            return err_at(x->e, "metadata of %.*s", STR_ARG(f->name));
        diff_metadata(x, task, place(x, f), yyjson_doc_get_root(da),
                      yyjson_doc_get_root(db));
    }
    return 0;
}

/* ---- pairs --------------------------------------------------------------------------
 */

static bool is_group(const struct db_task *t)
{
    return !str_eqz(t->kind, "container") && !str_eqz(t->kind, "importer");
}

static int diff_pair(struct differ *x, const struct db_task *a, const struct db_task *b)
{
    struct db_io_rows in_a, in_b, out_a, out_b;
    size_t before = x->out->n, real = 0;

    add_unless_same(x, DIFF_STATE, a->path, STR("state"),
                    str_of(db_state_name(a->state)), str_of(db_state_name(b->state)));
    if (is_group(a) && is_group(b))
        return 0;
    x->out->n_tasks++;
    if (a->image_hex[0] && b->image_hex[0])
        add_unless_same(x, DIFF_IMAGE, a->path, STR("image"), str_of(a->image_hex),
                        str_of(b->image_hex));
    if (a->code_hex[0] && b->code_hex[0])
        add_unless_same(x, DIFF_CODE, a->path, a->component, str_of(a->code_hex),
                        str_of(b->code_hex));
    if (db_task_io_in(x->a, x->d, a->id, DB_IN, &in_a, x->e) < 0 ||
        db_task_io_in(x->a, x->d, b->id, DB_IN, &in_b, x->e) < 0 ||
        db_task_io_in(x->a, x->d, a->id, DB_OUT, &out_a, x->e) < 0 ||
        db_task_io_in(x->a, x->d, b->id, DB_OUT, &out_b, x->e) < 0)
        return -1;
    diff_params(x, DIFF_TASK_PARAMETER, a->path, &in_a, &in_b);
    diff_artifacts(x, DIFF_INPUT, a->path, &in_a, &in_b);
    diff_params(x, DIFF_OUTPUT_PARAMETER, a->path, &out_a, &out_b);
    diff_artifacts(x, DIFF_OUTPUT, a->path, &out_a, &out_b);
    if (diff_metrics(x, a->path, &out_a, &out_b) < 0)
        return -1;
    for (size_t i = before; i < x->out->n; i++)
        real += !x->out->rows[i].same;
    x->out->n_same += !real;
    return 0;
}

static int diff_tasks(struct differ *x)
{
    struct map by_path = {0};
    struct db_task *a, *b;
    size_t n_a, n_b;
    int rc = 0;

    if (db_tasks_in(x->a, x->d, x->out->a.id, &a, &n_a, x->e) < 0 ||
        db_tasks_in(x->a, x->d, x->out->b.id, &b, &n_b, x->e) < 0)
        return -1;
    for (size_t i = 0; i < n_b; i++)
        map_put(&by_path, b[i].path, &b[i]);
    for (size_t i = 0; i < n_a && rc == 0; i++) {
        const struct db_task *other = map_get(&by_path, a[i].path);
        if (other)
            rc = diff_pair(x, &a[i], other);
        else
            (void)add(x, DIFF_TASK, a[i].path, STR("task"),
                      str_of(db_state_name(a[i].state)), (struct str){"", 0});
    }
    map_done(&by_path);
    for (size_t i = 0; i < n_a; i++)
        map_put(&by_path, a[i].path, &a[i]);
    for (size_t i = 0; i < n_b && rc == 0; i++) {
        if (!map_get(&by_path, b[i].path))
            (void)add(x, DIFF_TASK, b[i].path, STR("task"), (struct str){"", 0},
                      str_of(db_state_name(b[i].state)));
    }
    map_done(&by_path);
    return rc;
}

static int diff_all(struct differ *x, int64_t run_a, int64_t run_b)
{
    if (db_run_get_in(x->a, x->d, run_a, &x->out->a, x->e) < 0 ||
        db_run_get_in(x->a, x->d, run_b, &x->out->b, x->e) < 0)
        return -1;
    diff_heads(x);
    return diff_parameters(x) < 0 ? -1 : diff_tasks(x);
}

int db_diff_in(struct arena *a, struct db *d, int64_t run_a, int64_t run_b,
               struct run_diff *out, struct err *e)
{
    struct run_diff diff = {.n = 0};
    struct differ x = {.a = a, .d = d, .out = &diff, .e = e};
    bool mine = !d->in_read && !d->in_txn;
    int rc;

    if (mine && db_read_begin(d, e) < 0)
        return -1;
    rc = diff_all(&x, run_a, run_b);
    if (mine)
        db_read_end(d);
    if (rc == 0)
        *out = diff;
    return rc;
}

int db_code_text(struct db *d, struct str code_hex, struct buf *out, struct err *e)
{
    static const char sql[] = "SELECT text FROM code WHERE digest = ? LIMIT 1";
    AUTO_Q struct q q = {0};
    int more;

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_hex(&q, code_hex);
    more = q_step(&q, e);
    if (more > 0)
        buf_addstr(out, q_get_str(&q));
    return more < 0 ? -1 : 0;
}
