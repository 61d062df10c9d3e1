/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_rerun.c - do a run again from its record, and say whether it came out the same
 *
 * Everything is taken from the record: the YAML, parameters, options, root artifacts,
 * and the images by their digests, whatever their names mean by now. With --verify
 * nothing is taken from the cache, and every output is compared by its digest with that
 * of the first run. An output that differs is no failure of ours, but an answer: exit
 * status 1.
 */
#include "base/limits.h"
#include "base/log.h"
#include "cli/detach.h"
#include "image/image.h"
#include "lineage/query.h"

/* ---- the request
 * ----------------------------------------------------------------------
 */

static int old_params(struct cli *c, const struct db_run *row, struct run_request *rq,
                      struct err *e)
{
    struct value *v = arena_alloc(&c->a, sizeof *v);
    struct given_param *all;

    if (!row->parameters_json.len)
        return 0;
    if (value_parse_in(&c->a, row->parameters_json, v, e) < 0)
        return -1;
    all = arena_alloc(&c->a, (v->n_items + 1) * sizeof *all);
    for (size_t i = 0; i < v->n_items; i++) {
        if (v->items[i].kind != VALUE_NULL)
            all[rq->n_params++] =
                (struct given_param){.name = v->keys[i], .value = &v->items[i]};
    }
    rq->params = all;
    return 0;
}

static int old_inputs(struct cli *c, const struct db_run *row, struct run_request *rq,
                      struct err *e)
{
    struct run_root_artifact *in;
    struct run_kept kept;

    if (run_kept_in(&c->a, row->options_json, &kept, e) < 0)
        return -1;
    in = arena_alloc(&c->a, (kept.n_inputs + 1) * sizeof *in);
    for (size_t i = 0; i < kept.n_inputs; i++) {
        in[i].name = kept.inputs[i].name;
        if (cli_artifact(c, kept.inputs[i].artifact, &in[i].artifact, e) < 0)
            return err_at(e, "input %.*s of run %.*s", STR_ARG(in[i].name),
                          STR_ARG(row->name));
    }
    rq->inputs = in;
    rq->n_inputs = kept.n_inputs;
    return 0;
}

static const struct component *component_of(const struct pipeline *p,
                                            const struct db_task *t)
{
    for (size_t i = 0; i < p->n_components; i++) {
        const struct component *k = p->components[i];
        if (k->executor && k->executor->kind == EXECUTOR_CONTAINER &&
            (t->component.len
                 ? str_eq(k->name, t->component)
                 : str_starts(k->name, "comp-") && str_eqz(t->name, k->name.ptr + 5)))
            return k;
    }
    return NULL;
}

/* Names of images as aliases of the digests that they meant then. An image that a
 * parameter names is not among them; what it was is compared afterwards. */
static int pin_images(struct cli *c, const struct db_run *row, struct str text,
                      struct run_opts *o, struct err *e)
{
    struct pipeline_opts lenient = {.lenient = true};
    struct run_image_alias *pins;
    struct db_task *tasks;
    struct pipeline p;
    size_t n_tasks, n = 0;

    if (pipeline_parse_in(&c->a, row->spec_file, text, &lenient, &p, e) < 0 ||
        db_tasks_in(&c->a, c->db, row->id, &tasks, &n_tasks, e) < 0)
        return -1;
    pins = arena_alloc(&c->a, (n_tasks + o->n_aliases + 1) * sizeof *pins);
    for (size_t i = 0; i < n_tasks; i++) {
        const struct component *k = component_of(&p, &tasks[i]);
        char name[IMAGE_NAME_BYTES];
        struct err unused;
        if (!k || !tasks[i].image_hex[0] || str_starts(k->executor->image, "sha256:") ||
            image_name_normalise(k->executor->image, name, &unused) < 0)
            continue;
        pins[n++] = (struct run_image_alias){
            arena_strdup(&c->a, name),
            arena_printf(&c->a, "sha256:%s", tasks[i].image_hex)};
    }
    if (o->n_aliases)
        memcpy(pins + n, o->aliases, o->n_aliases * sizeof *pins);
    o->aliases = pins;
    o->n_aliases += n;
    return 0;
}

static int request(struct cli *c, const struct db_run *row, struct run_request *rq,
                   struct run_opts *o, struct err *e)
{
    AUTO_BUF struct buf text = {0};
    uint64_t jobs = c->cfg.run.jobs;

    buf_init(&text, LIMIT_SPEC_BYTES);
    *o = c->cfg.run;
    if (db_run_spec(c->db, row->id, &text, e) < 0 ||
        run_opts_in(&c->a, row->options_json, o, e) < 0 ||
        opt_u64(c, "jobs", &jobs, e) < 0)
        return -1;
    *rq = (struct run_request){
        .file = row->spec_file.ptr,
        .text = arena_str(&c->a, (struct str){buf_str(&text), text.len}),
        .name = opt_text(c, "name"),
        .experiment = row->experiment.ptr,
        .argv_json = cli_argv_json(c),
        .opts = o};
    o->jobs = (uint32_t)(jobs > 100000 ? 100000 : jobs);
    o->no_cache = opt_flag(c, "verify") || opt_flag(c, "no-cache");
    o->n_refresh = 0;
    if (old_params(c, row, rq, e) < 0 || old_inputs(c, row, rq, e) < 0)
        return -1;
    return pin_images(c, row, rq->text, o, e);
}

/* ---- the comparison
 * ---------------------------------------------------------------------
 */

struct verdict {
    size_t same, differs, missing;
    struct table t;
    struct jw w;
};

/* an output as it was and as it is: its digest, or a value as JSON */
struct pair {
    const char *kind; /* "artifact"; "metadata" of one without content; "parameter" */
    struct str name, was, is;
    bool there; /* it is given out again */
    int64_t was_id, is_id;
};

static void side(struct verdict *v, const struct pair *x, struct str what, int64_t id)
{
    bool content = strcmp(x->kind, "artifact") == 0;

    if (content)
        table_addf(&v->t, "a%lld sha256:%.12s", (long long)id, what.ptr);
    else
        table_addf(&v->t, "%.*s", (int)(what.len < 40 ? what.len : 40), what.ptr);
}

static void compare(struct verdict *v, const struct db_task *t, const struct pair *x)
{
    bool same = x->there && str_eq(x->was, x->is);
    const char *word = same ? "identical" : x->there ? "differs" : "missing";

    v->same += same;
    v->differs += x->there && !same;
    v->missing += !x->there;
    table_add(&v->t, word);
    table_addf(&v->t, "%.*s:%.*s", STR_ARG(t->path), STR_ARG(x->name));
    side(v, x, x->was, x->was_id);
    if (x->there)
        side(v, x, x->is, x->is_id);
    else
        table_add(&v->t, "-");
    jw_obj(&v->w);
    jw_key(&v->w, "task");
    jw_str(&v->w, t->path);
    jw_key(&v->w, "output");
    jw_str(&v->w, x->name);
    jw_kstr(&v->w, "kind", x->kind);
    jw_kstr(&v->w, "verdict", word);
    jw_key(&v->w, "was");
    jw_str(&v->w, x->was);
    jw_key(&v->w, "is");
    if (x->there)
        jw_str(&v->w, x->is);
    else
        jw_null(&v->w);
    jw_end_obj(&v->w);
}

/* Metadata counts where there is nothing else to compare: beside content it may well
 * say how long the training took. */
static void compare_artifacts(struct verdict *v, const struct db_task *t,
                              const struct db_io_rows *was, const struct db_io_rows *is)
{
    for (size_t i = 0; i < was->n_artifacts; i++) {
        const struct db_io_artifact *a = &was->artifacts[i];
        bool content = a->artifact.digest_hex[0];
        struct pair x = {.kind = content ? "artifact" : "metadata",
                         .name = a->name,
                         .was = content ? str_of(a->artifact.digest_hex)
                                        : a->artifact.metadata_json,
                         .was_id = a->artifact.id};
        for (size_t k = 0; k < is->n_artifacts && !x.there; k++) {
            const struct db_io_artifact *b = &is->artifacts[k];
            if (b->idx != a->idx || !str_eq(b->name, a->name))
                continue;
            x.there = true;
            x.is = content ? str_of(b->artifact.digest_hex) : b->artifact.metadata_json;
            x.is_id = b->artifact.id;
        }
        compare(v, t, &x);
    }
}

static void compare_params(struct verdict *v, const struct db_task *t,
                           const struct db_io_rows *was, const struct db_io_rows *is)
{
    for (size_t i = 0; i < was->n_params; i++) {
        struct pair x = {.kind = "parameter",
                         .name = was->params[i].name,
                         .was = was->params[i].value_json};
        for (size_t k = 0; k < is->n_params && !x.there; k++) {
            x.there = str_eq(is->params[k].name, x.name);
            x.is = is->params[k].value_json;
        }
        compare(v, t, &x);
    }
}

static int compare_runs(struct cli *c, int64_t was, int64_t is, struct verdict *v,
                        struct err *e)
{
    struct db_task *a, *b;
    size_t n_a, n_b;

    if (db_tasks_in(&c->a, c->db, was, &a, &n_a, e) < 0 ||
        db_tasks_in(&c->a, c->db, is, &b, &n_b, e) < 0)
        return -1;
    for (size_t i = 0; i < n_a; i++) {
        struct db_io_rows out_a, out_b = {0};
        if (!str_eqz(a[i].kind, "container"))
            continue; /* what a group gives out, a task in it has made */
        if (db_task_io_in(&c->a, c->db, a[i].id, DB_OUT, &out_a, e) < 0)
            return -1;
        for (size_t k = 0; k < n_b; k++) {
            if (str_eq(a[i].path, b[k].path) &&
                db_task_io_in(&c->a, c->db, b[k].id, DB_OUT, &out_b, e) < 0)
                return -1;
        }
        compare_artifacts(v, &a[i], &out_a, &out_b);
        compare_params(v, &a[i], &out_a, &out_b);
    }
    return 0;
}

static int verify(struct cli *c, const struct db_run *was, const char *run_id,
                  int *status, struct err *e)
{
    AUTO_BUF struct buf out = {0};
    struct verdict v = {.same = 0};
    int64_t is;

    buf_init(&out, 0);
    jw_init(&v.w, &out);
    if (db_run_by_uuid(c->db, str_of(run_id), &is, e) < 0)
        return -1;
    table_init(&v.t, 4, (const char *const[]){"VERDICT", "OUTPUT", "THEN", "NOW"});
    jw_obj(&v.w);
    jw_key(&v.w, "run_id");
    jw_strz(&v.w, run_id);
    jw_key(&v.w, "of");
    jw_str(&v.w, was->uuid);
    jw_key(&v.w, "outputs");
    jw_arr(&v.w);
    if (compare_runs(c, was->id, is, &v, e) < 0)
        return -1;
    jw_end_arr(&v.w);
    jw_ki64(&v.w, "identical", (int64_t)v.same);
    jw_ki64(&v.w, "differs", (int64_t)(v.differs + v.missing));
    jw_end_obj(&v.w);
    if (c->json)
        cli_out_json(&out);
    else
        table_print(&v.t, stdout);
    log_note("%zu of %zu outputs are byte-identical", v.same,
             v.same + v.differs + v.missing);
    if (v.differs + v.missing)
        *status = 1;
    return 0;
}

/* ---- the command
 * ------------------------------------------------------------------------
 */

static int rerun(struct cli *c, struct progress *p, int *status, struct err *e)
{
    struct run_env env = cli_run_env(c);
    struct run_view view = progress_view(p);
    struct run_outcome out = {0};
    struct run_request rq;
    struct run_opts o;
    struct db_run row;
    bool wanted = c->json;
    int64_t run;

    if (db_run_find(c->db, str_of(c->args[0]), &run, e) < 0 ||
        db_run_get_in(&c->a, c->db, run, &row, e) < 0 ||
        request(c, &row, &rq, &o, e) < 0 || run_start(&env, &rq, &view, &out, e) < 0)
        return -1;
    c->json = wanted && (!opt_flag(c, "verify") || out.state != TASK_SUCCEEDED);
    /* one document: the verdict, or why there is none */
    *status = cli_report(c, p, &out);
    c->json = wanted;
    if (*status || !opt_flag(c, "verify"))
        return 0;
    return verify(c, &row, out.run_id, status, e);
}

int cmd_rerun(struct cli *c)
{
    struct progress *p = NULL;
    struct err e = {0};
    int status = 0, rc;

    if (cli_open(c, DB_ENGINE, &e) < 0)
        return cli_fail(&e);
    p = progress_new();
    rc = rerun(c, p, &status, &e);
    progress_free(p);
    return rc < 0 ? cli_fail(&e) : status;
}
