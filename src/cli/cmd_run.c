/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_run.c - run, and everything that flags say about a run */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/limits.h"
#include "base/log.h"
#include "cli/detach.h"
#include "lineage/query.h"
#include "lineage/tags.h"
#include "spec/tree.h"
#include "store/tree.h"

/* ---- the request ------------------------------------------------------------------------------- */

int cli_pipeline(struct cli *c, const char *file, struct str *text, struct err *e)
{
    AUTO_BUF struct buf raw = {0};
    AUTO_BUF struct buf out = {0};

    buf_init(&raw, LIMIT_SPEC_BYTES + 1);
    buf_init(&out, LIMIT_SPEC_BYTES + 1);
    if (strcmp(file, "-") == 0 ? fd_read_all(0, &raw, LIMIT_SPEC_BYTES, e) < 0
                               : fd_read_file(AT_FDCWD, file, &raw, LIMIT_SPEC_BYTES, e) < 0)
        return -1;
    if (pipeline_unpack((struct str){buf_str(&raw), raw.len}, str_of(file), &out, e) < 0)
        return -1;
    *text = arena_str(&c->a, (struct str){buf_str(&out), out.len});
    return 0;
}

static struct given_param *add_param(struct cli *c, struct run_request *rq)
{
    struct given_param *p = (struct given_param *)(uintptr_t)rq->params;

    p = arena_grow(&c->a, p, &rq->n_params, sizeof *p);
    rq->params = p;
    return &p[rq->n_params - 1];
}

int cli_params(struct cli *c, struct run_request *rq, struct err *e)
{
    const char *file = opt_text(c, "params");
    size_t n;
    const char **flags = opt_list(c, "param", &n);

    if (file) {
        AUTO_BUF struct buf text = {0};
        struct tree tree;
        buf_init(&text, LIMIT_SPEC_BYTES);
        if (fd_read_file(AT_FDCWD, file, &text, LIMIT_SPEC_BYTES, e) < 0 ||
            tree_read_in(&c->a, str_of(file), (struct str){buf_str(&text), text.len}, &tree, e) <
                0)
            return -1;
        if (tree.n_docs != 1 || tree.docs[0]->kind != NODE_MAP)
            return err_set(e, ERR_INPUT, "%s: want one document of NAME: VALUE lines", file);
        for (size_t i = 0; i < tree.docs[0]->n; i++) {
            struct value *v = arena_alloc(&c->a, sizeof *v);
            struct given_param *p;
            if (node_value_in(&c->a, str_of(file), tree.docs[0]->members[i].value, v, e) < 0)
                return -1;
            p = add_param(c, rq);
            p->name = tree.docs[0]->members[i].key;
            p->value = v;
        }
    }
    for (size_t i = 0; i < n; i++) {
        const char *eq = strchr(flags[i], '=');
        struct given_param *p;
        struct str name = {flags[i], eq ? (size_t)(eq - flags[i]) : 0};
        if (!eq || eq == flags[i])
            return err_set(e, ERR_INPUT, "-p %.80s: want NAME=VALUE", flags[i]);
        p = NULL;
        for (size_t k = 0; k < rq->n_params; k++) /* a flag wins over the file and earlier flags */
            if (str_eq(rq->params[k].name, name))
                p = (struct given_param *)(uintptr_t)&rq->params[k];
        if (!p)
            p = add_param(c, rq);
        *p = (struct given_param){.name = name, .text = str_of(eq + 1)};
    }
    return 0;
}

static int check_env(const char *const *env, size_t n, struct err *e)
{
    for (size_t i = 0; i < n; i++)
        if (!strchr(env[i], '=') || env[i][0] == '=')
            return err_set(e, ERR_INPUT, "--env %.80s: want NAME=VALUE", env[i]);
    return 0;
}

static int read_opts(struct cli *c, struct run_opts *o, struct err *e)
{
    static const char *const policies[] = {"wheels", "image", "network"};
    const char *text;
    uint64_t v;

    *o = c->cfg.run;
    o->no_cache = opt_flag(c, "no-cache");
    o->refresh = opt_list(c, "refresh", &o->n_refresh);
    o->lenient = opt_flag(c, "lenient");
    o->env = opt_list(c, "env", &o->n_env);
    if ((text = opt_text(c, "network")))
        o->network_host = strcmp(text, "host") == 0;
    if ((text = opt_text(c, "final-status")))
        o->sdk_words = strcmp(text, "SUCCEEDED") == 0;
    if ((text = opt_text(c, "packages")))
        for (size_t i = 0; i < N_ELEMS(policies); i++)
            if (strcmp(text, policies[i]) == 0)
                o->packages = (enum packages_policy)i;
    if ((text = opt_text(c, "gpus"))) {
        o->gpus_none = strcmp(text, "none") == 0 || strcmp(text, "0") == 0;
        v = 0;
        if (!o->gpus_none && (opt_u64(c, "gpus", &v, e) < 0 || v > 1024))
            return err_set(e, ERR_INPUT, "--gpus %.20s: want none, or how many this run may have at "
                                         "a time",
                           text);
        o->gpus_max = (uint32_t)v;
    }
    v = o->retries;
    if (opt_u64(c, "retries", &v, e) < 0)
        return -1;
    o->retries = (uint32_t)(v > 1000 ? 1000 : v);
    v = o->jobs;
    if (opt_u64(c, "jobs", &v, e) < 0)
        return -1;
    if (opt_text(c, "jobs") && !v)
        return err_set(e, ERR_INPUT, "--jobs wants at least 1");
    o->jobs = (uint32_t)(v > 100000 ? 100000 : v);
    if (opt_duration(c, "gpu-wait", &o->gpu_wait_ms, e) < 0 ||
        opt_duration(c, "timeout", &o->timeout_ms, e) < 0 ||
        opt_duration(c, "cache-max-age", &o->cache_max_age_ms, e) < 0 ||
        cli_limits(c, o, e) < 0 || check_env(o->env, o->n_env, e) < 0)
        return -1;
    return cli_mounts(c, &o->mounts, &o->n_mounts, e) < 0 ? -1 : cli_task_opts(c, o, e);
}

/* the values of --tag or --export: TASK:OUTPUT=WHAT */
static int read_outputs(struct cli *c, const char *flag, const char *what, struct run_tag **out,
                        size_t *n_out, struct err *e)
{
    size_t n;
    const char **flags = opt_list(c, flag, &n);
    struct run_tag *tags = arena_alloc(&c->a, (n + 1) * sizeof *tags);

    for (size_t i = 0; i < n; i++) {
        char *copy = arena_strdup(&c->a, flags[i]);
        char *eq = strchr(copy, '='), *colon;
        if (eq)
            *eq++ = 0;
        colon = strrchr(copy, ':');
        if (!eq || !eq[0] || !colon || !colon[1])
            return err_set(e, ERR_INPUT, "--%s %.80s: want TASK:OUTPUT=%s", flag, flags[i], what);
        *colon++ = 0;
        tags[i] = (struct run_tag){copy, colon, eq};
    }
    *out = tags;
    *n_out = n;
    return 0;
}

static int read_tags(struct cli *c, struct run_request *rq, struct err *e)
{
    struct run_tag *tags, *exports;
    char cwd[LIMIT_PATH_BYTES];

    if (!getcwd(cwd, sizeof cwd))
        return err_sys(e, errno, "find the current directory");
    if (read_outputs(c, "tag", "NAME", &tags, &rq->n_tags, e) < 0 ||
        read_outputs(c, "export", "PATH", &exports, &rq->n_exports, e) < 0)
        return -1;
    for (size_t i = 0; i < rq->n_tags; i++)
        if (db_tag_name_ok(str_of(tags[i].name), e) < 0)
            return err_at(e, "--tag %s:%s=%s", tags[i].task, tags[i].output, tags[i].name);
    for (size_t i = 0; i < rq->n_exports; i++) {
        if (exports[i].name[0] != '/')
            exports[i].name = arena_printf(&c->a, "%s/%s", cwd, exports[i].name);
        struct export_to to = {.path = exports[i].name, .replace = true, .own_dir_only = true};
        if (cli_export_check(&to, e) < 0)
            return err_at(e, "--export %s:%s", exports[i].task, exports[i].output);
    }
    rq->tags = tags;
    rq->exports = exports;
    return 0;
}

/* a path is hashed every time, never believed by its name */
int cli_store_path(struct cli *c, const char *path, struct artifact *f, struct err *e)
{
    struct stat st;

    if (stat(path, &st) < 0)
        return err_sys(e, errno, "%s", path);
    f->uri = str_of(arena_printf(&c->a, "file://%s", path));
    if (S_ISDIR(st.st_mode)) {
        struct tree_id id;
        if (tree_put(c->store, AT_FDCWD, path, 0, &id, e) < 0)
            return -1;
        if (id.skipped)
            log_note("%s: %u sockets, pipes or devices in it are left out", path, id.skipped);
        f->kind = STR("dir");
        f->digest = arena_str(&c->a, str_of(id.hex));
        f->size_bytes = id.size_bytes;
        f->n_files = id.n_files;
    } else {
        struct blob_id id;
        if (blob_put_file(c->store, AT_FDCWD, path, 0, &id, e) < 0)
            return -1;
        f->kind = STR("file");
        f->digest = arena_str(&c->a, str_of(id.hex));
        f->size_bytes = id.size_bytes;
        f->n_files = 1;
    }
    return store_sync(c->store, e);
}

int cli_artifact(struct cli *c, int64_t id, struct artifact *f, struct err *e)
{
    struct db_artifact row;
    struct value *meta = arena_alloc(&c->a, sizeof *meta);

    if (db_artifact_get_in(&c->a, c->db, id, &row, e) < 0)
        return -1;
    if (row.state != DB_LIVE)
        return err_set(e, ERR_MISSING, "artifact a%lld is recorded, but its content is gone",
                       (long long)id);
    *f = (struct artifact){.id = id,
                           .name = row.name,
                           .uri = row.uri,
                           .type = row.type,
                           .kind = row.kind,
                           .digest = arena_str(&c->a, str_of(row.digest_hex)),
                           .size_bytes = (uint64_t)row.size_bytes,
                           .n_files = (uint64_t)row.n_files};
    if (row.metadata_json.len) {
        if (value_parse_in(&c->a, row.metadata_json, meta, e) < 0)
            return -1;
        f->metadata = meta;
    }
    return 0;
}

static int read_inputs(struct cli *c, struct run_request *rq, struct err *e)
{
    size_t n;
    const char **flags = opt_list(c, "input", &n);
    struct run_root_artifact *in = arena_alloc(&c->a, (n + 1) * sizeof *in);

    for (size_t i = 0; i < n; i++) {
        const char *eq = strchr(flags[i], '='), *what;
        int64_t id;
        if (!eq || eq == flags[i] || !eq[1])
            return err_set(e, ERR_INPUT, "--input %.80s: want NAME=PATH, TAG or ARTIFACT",
                           flags[i]);
        what = eq + 1;
        in[i].name = (struct str){flags[i], (size_t)(eq - flags[i])};
        if (strchr(what, '/') && access(what, F_OK) == 0) {
            char *real = realpath(what, NULL);
            int rc = real ? cli_store_path(c, real, &in[i].artifact, e)
                          : err_sys(e, errno, "%s", what);
            free(real);
            if (rc < 0)
                return err_at(e, "--input %.*s", STR_ARG(in[i].name));
            continue;
        }
        if (db_artifact_find(c->db, str_of(what), &id, e) < 0 ||
            cli_artifact(c, id, &in[i].artifact, e) < 0) {
            if (e->code == ERR_MISSING && access(what, F_OK) == 0)
                return err_set(e, ERR_MISSING, "--input %.*s: no artifact \"%s\"; for the file "
                                               "write ./%s",
                               STR_ARG(in[i].name), what, what);
            return err_at(e, "--input %.*s", STR_ARG(in[i].name));
        }
    }
    rq->inputs = in;
    rq->n_inputs = n;
    return 0;
}

const char *cli_argv_json(struct cli *c)
{
    AUTO_BUF struct buf b = {0};
    struct jw w;

    buf_init(&b, 0);
    jw_init(&w, &b);
    jw_arr(&w);
    for (int i = 0; i < c->argc; i++)
        jw_strz(&w, c->argv[i]);
    jw_end_arr(&w);
    return arena_strndup(&c->a, buf_str(&b), b.len);
}

int cli_request(struct cli *c, const char *file, struct run_request *rq, struct run_opts *o,
                struct err *e)
{
    *rq = (struct run_request){.file = file,
                               .name = opt_text(c, "name"),
                               .experiment = opt_text(c, "experiment"),
                               .argv_json = cli_argv_json(c),
                               .opts = o};
    if (rq->name && !path_name_ok(str_of(rq->name)))
        return err_set(e, ERR_INPUT,
                       "--name \"%.100s\": want 1 to 128 letters, digits, \"_\", \".\" and "
                       "\"-\", the first no \".\" or \"-\"",
                       rq->name);
    if (read_opts(c, o, e) < 0 || cli_pipeline(c, rq->file, &rq->text, e) < 0 ||
        cli_params(c, rq, e) < 0 || read_tags(c, rq, e) < 0)
        return -1;
    return read_inputs(c, rq, e);
}

/* ---- the command ---------------------------------------------------------------------------------------- */

static void warn_of_orphans(struct cli *c, struct str text)
{
    AUTO_BUF struct buf b = {0};
    AUTO_ARENA struct arena a = {0};
    struct run_env env = cli_run_env(c);
    struct pipeline p;
    struct pipeline_opts lenient = {.lenient = true};
    struct err e;

    buf_init(&b, 0);
    if (pipeline_parse_in(&a, STR("-"), text, &lenient, &p, &e) == 0 &&
        run_orphans(&env, p.name, &b, &e) == 0 && b.len)
        log_note("%s", buf_str(&b));
}

static int open_events(struct cli *c, struct progress *p, struct err *e)
{
    const char *file = opt_text(c, "events");
    FILE *f;

    if (!file)
        return 0;
    f = fopen(file, "ae");
    if (!f)
        return err_sys(e, errno, "--events %s", file);
    progress_events_to(p, f);
    return 0;
}

int cmd_run(struct cli *c)
{
    struct progress *p = NULL;
    struct run_outcome o = {0};
    struct run_request rq;
    struct run_opts opts;
    struct run_env env;
    struct watcher w;
    struct detach d;
    struct err e = {0};
    int status = 0, rc;

    rc = detach_begin(c, &d, &status, &e);
    if (rc > 0)
        return status;
    c->may_migrate = true;
    if (rc < 0 || cli_open(c, DB_ENGINE, &e) < 0 || cli_request(c, c->args[0], &rq, &opts, &e) < 0)
        goto failed;
    p = progress_new();
    if (open_events(c, p, &e) < 0)
        goto failed;
    warn_of_orphans(c, rq.text);
    w = (struct watcher){progress_view(p), &d};
    env = cli_run_env(c);
    if (opts.network_host)
        log_note(HOST_NETWORK_NOTE);
    rc = run_start(&env, &rq, &(struct run_view){detach_watch, &w, w.inner.ticks}, &o, &e);
    if (rc < 0)
        goto failed;
    status = cli_ended(c, p, &o);
    progress_free(p);
    return status;
failed:
    progress_free(p);
    detach_say(&d, err_exit(&e), NULL, e.text);
    return cli_fail(&e);
}
