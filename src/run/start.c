/* SPDX-License-Identifier: Apache-2.0 */
/* start.c - a new run: check everything, record it, execute it
 *
 * Nothing is recorded until every check has passed: a mistyped parameter leaves no run behind.
 */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/sha256.h"
#include "lineage/cache.h"
#include "lineage/record.h"
#include "plan/cachekey.h"
#include "run/admit.h"
#include "run/engine.h"
#include "run/kube.h"
#include "spec/macro.h"
#include "version.h"

#define SUFFIX_LETTERS 5

/* It follows from the run's id, so that a resume finds the same. */
struct str engine_resource_name(struct engine *en)
{
    static const char letters[] = "bcdfghjklmnpqrstvwxz2456789";
    struct sha256 h;
    uint8_t digest[32];
    char suffix[SUFFIX_LETTERS + 1] = "";

    sha256_init(&h);
    sha256_add(&h, en->id, strlen(en->id));
    sha256_final(&h, digest);
    for (size_t i = 0; i < SUFFIX_LETTERS; i++)
        suffix[i] = letters[digest[i] % (sizeof letters - 1)];
    return str_of(arena_printf(&en->a, "%.*s-%s", STR_ARG(en->p.name), suffix));
}

static int root_inputs(struct engine *en, const struct run_request *rq, const struct value *params,
                       struct io_values *in, struct err *e)
{
    const struct io_defs *defs = &en->p.root->in;

    in->params = arena_alloc(&en->a, (params->n_items + 1) * sizeof(*in->params));
    for (size_t i = 0; i < params->n_items; i++)
        in->params[in->n_params++] = (struct named_value){params->keys[i], params->items[i]};
    in->artifacts = arena_alloc(&en->a, (rq->n_inputs + 1) * sizeof(*in->artifacts));
    for (size_t i = 0; i < rq->n_inputs; i++) {
        const struct artifact_def *def = io_artifact(defs, rq->inputs[i].name);
        struct artifact *f = arena_alloc(&en->a, sizeof *f);
        if (!def)
            return err_set(e, ERR_INPUT, "--input %.*s: the pipeline has no such artifact input",
                           STR_ARG(rq->inputs[i].name));
        *f = rq->inputs[i].artifact;
        if (!f->type.len)
            f->type = def->schema_title;
        if (!f->type_version.len)
            f->type_version = def->schema_version;
        in->artifacts[in->n_artifacts++] =
            (struct named_artifacts){.name = def->name, .items = f, .n_items = 1,
                                     .type = f->type, .type_version = f->type_version};
    }
    for (size_t i = 0; i < defs->n_artifacts; i++)
        if (!defs->artifacts[i].optional && !io_values_artifact(in, defs->artifacts[i].name))
            return err_set(e, ERR_INPUT,
                           "input artifact %.*s is required (--input %.*s=PATH, TAG or ARTIFACT)",
                           STR_ARG(defs->artifacts[i].name), STR_ARG(defs->artifacts[i].name));
    return 0;
}

static int check_task_opts(struct engine *en, struct err *e)
{
    for (size_t i = 0; i < en->o.n_tasks; i++)
        if (en->o.tasks[i].must_exist && run_task_known(&en->p, en->o.tasks[i].task, e) < 0)
            return -1;
    return 0;
}

/* a task in a loop is one for each iteration: which is meant has to be said */
static bool names_one_task(const struct pipeline *p, const char *path)
{
    for (const char *slash = path; (slash = strchr(slash, '/')); slash++) {
        const struct task_def *def = graph_def(p, (struct str){path, (size_t)(slash - path)});
        if (def && task_is_loop(def) && slash[-1] != ']')
            return false;
    }
    return true;
}

static int check_tags(struct engine *en, const char *flag, const struct run_tag *tags, size_t n,
                      struct err *e)
{
    for (size_t i = 0; i < n; i++) {
        const struct run_tag *tag = &tags[i];
        const struct task_def *def = graph_def(&en->p, str_of(tag->task));

        if (!def || !io_artifact(&def->component->out, str_of(tag->output)))
            return err_set(e, ERR_INPUT, "--%s %s:%s=%s: the pipeline has no such %s", flag,
                           tag->task, tag->output, tag->name, def ? "output artifact" : "task");
        if (!names_one_task(&en->p, tag->task))
            return err_set(e, ERR_INPUT,
                           "--%s %s:%s=%s: it is in a loop: name an iteration, as in loop[0]/task",
                           flag, tag->task, tag->output, tag->name);
        for (size_t k = 0; k < i; k++)
            if (strcmp(tags[k].name, tag->name) == 0)
                return err_set(e, ERR_INPUT, "--%s: both %s:%s and %s:%s would become %s", flag,
                               tags[k].task, tags[k].output, tag->task, tag->output, tag->name);
    }
    return 0;
}

/* [[RunUUID]], [[CurrentTime.2006-01-02]] ... in string parameters; what is recorded is what
 * became of them, so that a resume sees the same */
static void fill_macros(struct engine *en, struct value *params)
{
    struct macro_facts f = {.run_uuid = str_of(en->id), .current_unix_ms = en->created_unix_ms};

    for (size_t i = 0; i < params->n_items; i++) {
        struct value *v = &params->items[i];
        AUTO_BUF struct buf b = {0};

        buf_init(&b, 0);
        if (v->kind == VALUE_STRING && macro_expand(v->s, &f, &b))
            v->s = arena_str(&en->a, (struct str){buf_str(&b), b.len});
    }
}

/* parse, parameters, graph, images: everything before the first write */
int engine_prepare(struct engine *en, const struct run_request *rq, struct err *e)
{
    struct pipeline_opts po = {.lenient = rq->opts->lenient};
    struct io_values in = {0};
    struct value params;
    char when[25];

    en->o = *rq->opts;
    if (!en->o.log_max_bytes)
        en->o.log_max_bytes = LIMIT_LOG_BYTES;
    if (pipeline_parse_in(&en->a, str_of(rq->file), rq->text, &po, &en->p, e) < 0 ||
        pipeline_supported(&en->p, e) < 0 || graph_check(&en->p, e) < 0 ||
        pipeline_root_params_in(&en->a, &en->p, rq->params, rq->n_params, &params, e) < 0)
        return -1;
    uuid_new(en->id);
    en->created_unix_ms = clock_unix_ms();
    fill_macros(en, &params);
    if (root_inputs(en, rq, &params, &in, e) < 0)
        return -1;
    clock_rfc3339(en->created_unix_ms, when);
    graph_init(&en->g, &en->a, &en->p, &in);
    en->g.run_id = str_of(en->id);
    en->g.resource_name = engine_resource_name(en);
    en->g.run_name = rq->name ? str_of(rq->name) : en->g.resource_name;
    en->g.create_time = arena_str(&en->a, str_of(when));
    en->g.sdk_words = en->o.sdk_words;
    en->g.root_uri = en->p.default_root.len ? en->p.default_root : STR(EXEC_ROOT);
    snprintf(en->name, sizeof en->name, "%.*s", STR_ARG(en->g.run_name));
    en->parent = rq->parent;
    en->from = str_of(rq->from_task ? rq->from_task : "");
    if (rq->from_task && run_task_known(&en->p, rq->from_task, e) < 0)
        return err_at(e, "--from %.80s", rq->from_task);
    en->tags = rq->tags;
    en->n_tags = rq->n_tags;
    en->exports = rq->exports;
    en->n_exports = rq->n_exports;
    if (en->g.n_tasks > LIMIT_TASKS)
        return err_set(e, ERR_LIMIT, "%zu tasks are over the limit of %d", en->g.n_tasks,
                       LIMIT_TASKS);
    for (size_t i = 0; i < en->p.n_notices; i++)
        engine_notice(en, NULL, "%s", en->p.notices[i]);
    if (check_task_opts(en, e) < 0 || check_tags(en, "tag", rq->tags, rq->n_tags, e) < 0)
        return -1;
    return check_tags(en, "export", rq->exports, rq->n_exports, e);
}

/* ---- recording --------------------------------------------------------------------------------- */

static int record_inputs(struct engine *en, struct err *e)
{
    for (size_t i = 0; i < en->g.root->in.n_artifacts; i++) {
        struct artifact *f = en->g.root->in.artifacts[i].items;
        AUTO_BUF struct buf meta = {0};
        struct db_artifact_new n = {.type = f->type,
                                    .name = en->g.root->in.artifacts[i].name,
                                    .kind = f->kind,
                                    .digest_hex = f->digest,
                                    .size_bytes = (int64_t)f->size_bytes,
                                    .n_files = (int64_t)f->n_files,
                                    .source = f->uri,
                                    .created_unix_ms = en->created_unix_ms};

        buf_init(&meta, 0);
        if (f->id) /* a tag or an artifact: recorded already, with its URI */
            continue;
        if (f->metadata)
            value_to_json(&meta, f->metadata);
        n.metadata_json = (struct str){buf_str(&meta), meta.len};
        if (db_artifact_intern(en->env->db, &n, &f->id, e) < 0)
            return -1;
    }
    for (size_t i = 0; i < en->g.root->in.n_artifacts; i++)
        root_input_place(en, &en->g.root->in.artifacts[i]);
    return 0;
}

void root_input_place(struct engine *en, struct named_artifacts *in)
{
    struct artifact *f = in->items;

    f->uri = str_of(arena_printf(&en->a, "%.*s/inputs/a%lld/%.*s", STR_ARG(en->g.root_uri),
                                 (long long)f->id, STR_ARG(in->name)));
    f->name = in->name;
}

static int record_external(struct engine *en, struct err *e)
{
    for (size_t i = 0; i < en->o.n_mounts; i++) {
        struct db_external x = {.run = en->row,
                                .path = str_of(en->o.mounts[i].src),
                                .target = str_of(en->o.mounts[i].dst),
                                .read_only = !en->o.mounts[i].rw,
                                .what = STR("mount")};
        if (db_external_put(en->env->db, &x, e) < 0)
            return -1;
    }
    if (en->o.network_host) {
        struct db_external x = {.run = en->row, .path = STR("network"), .what = STR("network")};
        return db_external_put(en->env->db, &x, e);
    }
    return 0;
}

static int record_run(struct engine *en, const struct run_request *rq, struct err *e)
{
    AUTO_BUF struct buf options = {0};
    AUTO_BUF struct buf params = {0};
    char user[64], host[256], commit[64];
    struct jw w;
    struct db_run_new n = {.uuid = str_of(en->id),
                           .name = str_of(en->name),
                           .pipeline = en->p.name,
                           .experiment = str_of(rq->experiment ? rq->experiment : "Default"),
                           .state = DB_RUNNING,
                           .created_unix_ms = en->created_unix_ms,
                           .deadline_unix_ms = en->deadline_unix_ms,
                           .version = STR(DUGOUT_VERSION),
                           .login_uid = who_login_uid(),
                           .argv_json = str_of(rq->argv_json ? rq->argv_json : "[]"),
                           .spec_hex = str_of(en->p.text_hex),
                           .spec_text = rq->text,
                           .spec_file = str_of(rq->file),
                           .parent = rq->parent};

    who_user(user);
    who_host(host);
    who_git_commit(rq->file, commit);
    n.user = str_of(user);
    n.host = str_of(host);
    n.git_commit = str_of(commit);
    buf_init(&options, LIMIT_JSON_BYTES);
    buf_init(&params, LIMIT_SPEC_BYTES);
    if (record_inputs(en, e) < 0)
        return -1;
    run_opts_write(&options, en);
    jw_init(&w, &params);
    jw_obj(&w);
    for (size_t i = 0; i < en->g.root->in.n_params; i++) {
        jw_keystr(&w, en->g.root->in.params[i].name);
        value_write(&w, &en->g.root->in.params[i].value);
    }
    jw_end_obj(&w);
    n.options_json = (struct str){buf_str(&options), options.len};
    n.parameters_json = (struct str){buf_str(&params), params.len};
    if (db_run_create(en->env->db, &n, &en->row, e) < 0 || reuse_parent(en, e) < 0 ||
        record_scope(en, en->g.root, e) < 0 || record_external(en, e) < 0)
        return -1;
    return 0;
}

static int check_space(struct engine *en, struct err *e)
{
    AUTO_BUF struct buf notices = {0};

    buf_init(&notices, 0);
    if (run_space_check(en->env, &en->o, en->p.name, &notices, e) < 0)
        return -1;
    for (char *line = notices.len ? notices.ptr : NULL; line && *line;) {
        char *end = strchr(line, '\n');
        if (end)
            *end = '\0';
        engine_notice(en, NULL, "%s", line);
        line = end ? end + 1 : NULL;
    }
    db_ballast_load(en->env->db);
    /* what tasks find in the store from now on is kept until the run is over */
    return store_lease(en->env->store, e);
}

int run_start(struct run_env *env, const struct run_request *rq, const struct run_view *view,
              struct run_outcome *out, struct err *e)
{
    struct engine en;
    int rc = -1;

    engine_init(&en, env, view, out);
    if (engine_prepare(&en, rq, e) < 0 || prepare_images(&en, e) < 0 ||
        kube_serialise(&en, e) < 0)
        goto done;
    if (en.o.timeout_ms || en.p.deadline_ms) {
        int64_t ms = en.o.timeout_ms;
        if (!ms || (en.p.deadline_ms && en.p.deadline_ms < ms))
            ms = en.p.deadline_ms;
        en.deadline_unix_ms = en.created_unix_ms + ms;
    }
    if (check_space(&en, e) < 0 || engine_scratch(&en, e) < 0 || engine_lock(&en, e) < 0)
        goto done;
    /* The first turn goes on in this transaction: a run and its first tasks are one commit. */
    if (db_begin(env->db, DB_PROGRESS, e) < 0)
        goto done;
    en.sync_due = true;
    if (record_run(&en, rq, e) < 0) {
        db_rollback(env->db);
        goto done;
    }
    en.in_txn = true;
    engine_event(&en, RUN_EVENT_STARTED, NULL, NULL);
    rc = engine_loop(&en, e);
done:
    engine_done(&en);
    return rc;
}
