/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_resume.c - resume, cancel
 *
 * Three ways to go on with a run, told apart by what is asked:
 *
 *   the same pipeline      the run itself goes on: further attempts of what did not succeed
 *   an edited one          a new run whose parent is the old one. A task whose key is the same
 *                          as in the parent (image, command, inputs by content, env) takes its
 *                          result over, from the parent even where caching is off for it
 *   --from, but it has     a new run of the recorded pipeline: a run that has succeeded is
 *   succeeded              evidence and stays as it is
 *
 * A new run gets the parent's parameters, options and root artifacts. A parameter that had the
 * old pipeline's default has the edited one's.
 */
#include "base/limits.h"
#include "base/log.h"
#include "cli/detach.h"
#include "lineage/query.h"

/* ---- the same rules as before ---------------------------------------------------------------- */

static int take_mounts(struct cli *c, struct run_opts *o, struct err *e)
{
    const struct run_mount *more;
    struct run_mount *all;
    size_t n;

    if (cli_mounts(c, &more, &n, e) < 0)
        return -1;
    all = arena_alloc(&c->a, (o->n_mounts + n + 1) * sizeof *all);
    if (o->n_mounts)
        memcpy(all, o->mounts, o->n_mounts * sizeof *all);
    if (n)
        memcpy(all + o->n_mounts, more, n * sizeof *all);
    o->mounts = all;
    o->n_mounts += n;
    return 0;
}

/* what belongs to this machine and moment (jobs, hooks, aliases), what is recorded with the run,
 * then the flags */
static int options(struct cli *c, const struct db_run *row, struct run_opts *o, struct err *e)
{
    const char *network = opt_text(c, "network");
    uint64_t jobs = c->cfg.run.jobs, retries;

    *o = c->cfg.run;
    if (run_opts_in(&c->a, row->options_json, o, e) < 0)
        return -1;
    retries = o->retries;
    if (opt_u64(c, "jobs", &jobs, e) < 0 || opt_u64(c, "retries", &retries, e) < 0 ||
        cli_limits(c, o, e) < 0 ||
        opt_duration(c, "timeout", &o->timeout_ms, e) < 0 || take_mounts(c, o, e) < 0)
        return -1;
    o->jobs = (uint32_t)(jobs > 100000 ? 100000 : jobs);
    o->retries = (uint32_t)(retries > 1000 ? 1000 : retries);
    if (network)
        o->network_host = strcmp(network, "host") == 0;
    return cli_task_opts(c, o, e);
}

/* ---- the run itself ----------------------------------------------------------------------------- */

static int resume_one(struct cli *c, struct progress *p, struct detach *d, const struct db_run *row,
                      int *status, struct err *e)
{
    struct run_env env = cli_run_env(c);
    struct run_outcome out = {0};
    struct watcher w = {progress_view(p), d};
    struct run_opts o;

    if (options(c, row, &o, e) < 0 ||
        run_resume(&env, row->uuid.ptr, opt_text(c, "from"), &o,
                   &(struct run_view){detach_watch, &w, w.inner.ticks}, &out, e) < 0)
        return -1;
    *status = cli_ended(c, p, &out);
    return 0;
}

static int resume_all(struct cli *c, struct progress *p, struct detach *d, int *status,
                      struct err *e)
{
    struct db_run_filter f = {.states = DB_IS(DB_INTERRUPTED)};
    struct db_run *runs;
    size_t n;
    int one;

    if (db_runs_in(&c->a, c->db, &f, &runs, &n, e) < 0)
        return -1;
    if (!n)
        log_note("no run is interrupted");
    for (size_t i = n; i-- > 0;) { /* the oldest first */
        struct err why = {0};
        if (resume_one(c, p, d, &runs[i], &one, &why) < 0) {
            one = cli_fail(&why);
            if (why.code == ERR_BUSY)
                one = 0; /* somebody else continues it */
        }
        if (one && !*status)
            *status = one;
    }
    return 0;
}

/* ---- a new run with a parent ---------------------------------------------------------------------- */

static bool had_default(const struct pipeline *p, struct str name, const struct value *v)
{
    const struct param_def *def = io_param(&p->root->in, name);

    return def && def->default_value && value_equal(def->default_value, v);
}

static bool is_given(const struct run_request *rq, struct str name)
{
    for (size_t i = 0; i < rq->n_params; i++)
        if (str_eq(rq->params[i].name, name))
            return true;
    return false;
}

/* the parent's parameters behind those of -p, as far as the edited pipeline has them */
static int old_params(struct cli *c, const struct db_run *row, const struct pipeline *old,
                      const struct pipeline *now, struct run_request *rq, struct err *e)
{
    struct value *params = arena_alloc(&c->a, sizeof *params);
    struct given_param *all;

    if (value_parse_in(&c->a, row->parameters_json, params, e) < 0)
        return -1;
    all = arena_alloc(&c->a, (rq->n_params + params->n_items + 1) * sizeof *all);
    if (rq->n_params)
        memcpy(all, rq->params, rq->n_params * sizeof *all);
    for (size_t i = 0; i < params->n_items; i++) {
        struct str name = params->keys[i];
        const struct value *v = &params->items[i];
        if (v->kind == VALUE_NULL || had_default(old, name, v) || is_given(rq, name))
            continue;
        if (!io_param(&now->root->in, name)) {
            log_note("the edited pipeline has no parameter %.*s any more", STR_ARG(name));
            continue;
        }
        all[rq->n_params++] = (struct given_param){.name = name, .value = v};
    }
    rq->params = all;
    return 0;
}

/* those of the old ones that the edited pipeline can still do */
static const struct run_tag *old_tags(struct cli *c, const struct run_tag *old, size_t n_old,
                                      const struct pipeline *now, const char *doing, size_t *n)
{
    struct run_tag *tags = arena_alloc(&c->a, (n_old + 1) * sizeof *tags);

    *n = 0;
    for (size_t i = 0; i < n_old; i++) {
        const struct task_def *t = graph_def(now, str_of(old[i].task));

        if (t && io_artifact(&t->component->out, str_of(old[i].output)))
            tags[(*n)++] = old[i];
        else
            log_note("the edited pipeline has no %s:%s any more, which was to be %s %s",
                     old[i].task, old[i].output, doing, old[i].name);
    }
    return tags;
}

static int old_inputs(struct cli *c, const struct db_run *row, const struct pipeline *now,
                      struct run_request *rq, struct err *e)
{
    struct run_root_artifact *in;
    struct run_kept kept;

    if (run_kept_in(&c->a, row->options_json, &kept, e) < 0)
        return -1;
    in = arena_alloc(&c->a, (kept.n_inputs + 1) * sizeof *in);
    for (size_t i = 0; i < kept.n_inputs; i++) {
        struct str name = kept.inputs[i].name;

        if (!io_artifact(&now->root->in, name))
            continue;
        in[rq->n_inputs].name = name;
        if (cli_artifact(c, kept.inputs[i].artifact, &in[rq->n_inputs++].artifact, e) < 0)
            return err_at(e, "input %.*s of run %.*s", STR_ARG(name), STR_ARG(row->name));
    }
    rq->inputs = in;
    rq->tags = old_tags(c, kept.tags, kept.n_tags, now, "tagged", &rq->n_tags);
    rq->exports =
        old_tags(c, kept.exports, kept.n_exports, now, "exported to", &rq->n_exports);
    return 0;
}

static int new_request(struct cli *c, const struct db_run *row, struct str old_text,
                       struct run_request *rq, struct run_opts *o, struct err *e)
{
    struct pipeline_opts lenient = {.lenient = true};
    struct pipeline old, now;

    rq->argv_json = cli_argv_json(c);
    rq->experiment = row->experiment.ptr;
    rq->parent = row->id;
    rq->from_task = opt_text(c, "from");
    rq->opts = o;
    if (cli_params(c, rq, e) < 0 ||
        pipeline_parse_in(&c->a, str_of(rq->file), rq->text, &lenient, &now, e) < 0 ||
        pipeline_parse_in(&c->a, row->spec_file, old_text, &lenient, &old, e) < 0 ||
        old_params(c, row, &old, &now, rq, e) < 0 || old_inputs(c, row, &now, rq, e) < 0)
        return -1;
    if (!str_eq(now.name, row->pipeline))
        log_note("this is pipeline %.*s, the run was of %.*s: nothing can be taken over",
                 STR_ARG(now.name), STR_ARG(row->pipeline));
    if (options(c, row, o, e) < 0)
        return -1;
    o->n_refresh = 0; /* that was done in the parent */
    return 0;
}

/* Its results may not change under us, and what still runs would be run twice. */
static int is_at_rest(struct cli *c, const struct db_run *row, struct err *e)
{
    struct db_attempt *attempts;
    size_t n;

    if (db_attempts_open_in(&c->a, c->db, row->id, &attempts, &n, e) < 0)
        return -1;
    if (n || row->state == DB_RUNNING || row->state == DB_PENDING)
        return err_set(e, ERR_BUSY, "run %.*s still runs (dugout cancel %.*s stops it)",
                       STR_ARG(row->name), STR_ARG(row->name));
    return 0;
}

static int run_anew(struct cli *c, struct progress *p, struct detach *d, const struct db_run *row,
                    struct str old_text, struct run_request *rq, int *status, struct err *e)
{
    struct run_env env = cli_run_env(c);
    struct watcher w = {progress_view(p), d};
    struct run_outcome out = {0};
    struct run_opts o;

    if (is_at_rest(c, row, e) < 0 || new_request(c, row, old_text, rq, &o, e) < 0 ||
        run_start(&env, rq, &(struct run_view){detach_watch, &w, w.inner.ticks}, &out, e) < 0)
        return -1;
    *status = cli_ended(c, p, &out);
    return 0;
}

static int resume_named(struct cli *c, struct progress *p, struct detach *d, int *status,
                        struct err *e)
{
    const char *file = opt_text(c, "pipeline");
    AUTO_BUF struct buf old = {0};
    struct run_request rq = {0};
    struct str old_text;
    struct db_run row;
    int64_t run;

    buf_init(&old, LIMIT_SPEC_BYTES);
    if (db_run_find(c->db, str_of(c->args[0]), &run, e) < 0 ||
        db_run_get_in(&c->a, c->db, run, &row, e) < 0 || db_run_spec(c->db, run, &old, e) < 0)
        return -1;
    old_text = arena_str(&c->a, (struct str){buf_str(&old), old.len});
    rq.file = file ? file : row.spec_file.ptr;
    rq.text = old_text;
    if (file && cli_pipeline(c, file, &rq.text, e) < 0)
        return -1;
    if ((file && !str_eq(rq.text, old_text)) ||
        (row.state == DB_SUCCEEDED && opt_text(c, "from")))
        return run_anew(c, p, d, &row, old_text, &rq, status, e);
    if (opt_text(c, "param") || opt_text(c, "params"))
        return err_set(e, ERR_INPUT, "-p is for an edited pipeline (--pipeline FILE): run %.*s goes "
                                     "on with the parameters that it has",
                       STR_ARG(row.name));
    return resume_one(c, p, d, &row, status, e);
}

/* ---- commands ------------------------------------------------------------------------------------- */

int cmd_resume(struct cli *c)
{
    struct progress *p = NULL;
    struct detach d;
    struct err e = {0};
    int status = 0, rc;

    if (!c->n_args == !opt_flag(c, "all"))
        return cli_fail((err_set(&e, ERR_INPUT, "name a run, or --all"), &e));
    if (opt_flag(c, "all") && (opt_text(c, "pipeline") || opt_text(c, "from")))
        return cli_fail((err_set(&e, ERR_INPUT, "--all goes with neither --pipeline nor --from"), &e));
    rc = detach_begin(c, &d, &status, &e);
    if (rc > 0)
        return status;
    if (rc < 0 || cli_open(c, DB_ENGINE, &e) < 0)
        goto failed;
    p = progress_new();
    rc = opt_flag(c, "all") ? resume_all(c, p, &d, &status, &e)
                            : resume_named(c, p, &d, &status, &e);
    if (rc < 0)
        goto failed;
    progress_free(p);
    return status;
failed:
    progress_free(p);
    detach_say(&d, err_exit(&e), NULL, e.text);
    return cli_fail(&e);
}

int cmd_cancel(struct cli *c)
{
    struct run_env env;
    struct db_run row;
    struct err e = {0};
    int64_t run;

    if (cli_open(c, DB_WRITE, &e) < 0)
        return cli_fail(&e);
    env = cli_run_env(c);
    if (db_run_find(c->db, str_of(c->args[0]), &run, &e) < 0 ||
        db_run_get_in(&c->a, c->db, run, &row, &e) < 0 ||
        run_cancel(&env, row.uuid.ptr, &e) < 0)
        return cli_fail(&e);
    log_note("run %.*s is canceled", STR_ARG(row.name));
    return 0;
}
