/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_run.c - run, plan, resume, cancel */
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
#include "cli/cli.h"
#include "lineage/query.h"
#include "lineage/tags.h"
#include "run/spawner.h"
#include "spec/tree.h"
#include "store/tree.h"

/* ---- the request ------------------------------------------------------------------------------- */

static int read_pipeline(struct cli *c, const char *file, struct str *text, struct err *e)
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

static int read_params(struct cli *c, struct run_request *rq, struct err *e)
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
    if ((text = opt_text(c, "packages")))
        for (size_t i = 0; i < N_ELEMS(policies); i++)
            if (strcmp(text, policies[i]) == 0)
                o->packages = (enum packages_policy)i;
    if ((text = opt_text(c, "gpus"))) {
        if (strcmp(text, "none") != 0)
            return err_set(e, ERR_MISSING,
                           "--gpus %.20s: this version gives no GPU to boxes (--gpus none runs "
                           "GPU tasks without)",
                           text);
        o->gpus_none = true;
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
    if (opt_duration(c, "timeout", &o->timeout_ms, e) < 0 ||
        opt_duration(c, "cache-max-age", &o->cache_max_age_ms, e) < 0 ||
        opt_size(c, "memory", &o->memory_bytes, e) < 0 ||
        opt_cpus(c, "cpus", &o->cpu_millis, e) < 0 || opt_size(c, "disk", &o->disk_bytes, e) < 0 ||
        opt_size(c, "shm-size", &o->shm_bytes, e) < 0 ||
        opt_duration(c, "task-timeout", &o->task_timeout_ms, e) < 0 || check_env(o->env, o->n_env, e) < 0)
        return -1;
    return cli_mounts(c, &o->mounts, &o->n_mounts, e) < 0 ? -1 : cli_task_opts(c, o, e);
}

static int read_tags(struct cli *c, struct run_request *rq, struct err *e)
{
    size_t n;
    const char **flags = opt_list(c, "tag", &n);
    struct run_tag *tags = arena_alloc(&c->a, (n + 1) * sizeof *tags);

    for (size_t i = 0; i < n; i++) {
        char *copy = arena_strdup(&c->a, flags[i]);
        char *eq = strchr(copy, '='), *colon;
        if (eq)
            *eq++ = 0;
        colon = strrchr(copy, ':');
        if (!eq || !colon || !colon[1])
            return err_set(e, ERR_INPUT, "--tag %.80s: want TASK:OUTPUT=NAME", flags[i]);
        *colon++ = 0;
        if (db_tag_name_ok(str_of(eq), e) < 0)
            return err_at(e, "--tag %s", flags[i]);
        tags[i] = (struct run_tag){copy, colon, eq};
    }
    rq->tags = tags;
    rq->n_tags = n;
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

static int artifact_from_row(struct cli *c, int64_t id, struct artifact *f, struct err *e)
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
            artifact_from_row(c, id, &in[i].artifact, e) < 0) {
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

static const char *argv_json(struct cli *c)
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

static int make_request(struct cli *c, struct run_request *rq, struct run_opts *o, struct err *e)
{
    *rq = (struct run_request){.file = c->args[0],
                               .name = opt_text(c, "name"),
                               .experiment = opt_text(c, "experiment"),
                               .argv_json = argv_json(c),
                               .opts = o};
    if (rq->name && !path_name_ok(str_of(rq->name)))
        return err_set(e, ERR_INPUT,
                       "--name \"%.100s\": want 1 to 128 letters, digits, \"_\", \".\" and "
                       "\"-\", the first no \".\" or \"-\"",
                       rq->name);
    if (read_opts(c, o, e) < 0 || read_pipeline(c, rq->file, &rq->text, e) < 0 ||
        read_params(c, rq, e) < 0 || read_tags(c, rq, e) < 0)
        return -1;
    return read_inputs(c, rq, e);
}

/* ---- detaching ------------------------------------------------------------------------------------- */

/* With -d the engine runs in a child of its own session. The parent waits for one line on a pipe, the
 * run's name or an error, so that what is wrong before the start is still said here. */
struct detach {
    int pipe_fd; /* the child's end, -1 = not detached */
};

struct detach_report {
    int32_t status; /* -1 = it started */
    char text[600];
};

static int detach_parent(struct cli *c, int fd)
{
    struct detach_report r = {.status = 6, .text = "the engine died before the run began"};
    size_t have = 0;
    ssize_t n;

    while (have < sizeof r && (n = read(fd, (char *)&r + have, sizeof r - have)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            break;
        have += (size_t)n;
    }
    if (r.status >= 0) {
        (void)fprintf(stderr, "dugout: %s\n", r.text);
        return r.status;
    }
    if (c->json)
        (void)printf("{\"run_id\":\"%.36s\",\"name\":\"%s\"}\n", r.text, r.text + 37);
    else
        (void)printf("%s\n", r.text + 37);
    return 0;
}

static void detach_say(struct detach *d, int status, const char *id, const char *text)
{
    struct detach_report r = {.status = status};

    if (d->pipe_fd < 0)
        return;
    if (id)
        snprintf(r.text, sizeof r.text, "%.36s", id);
    snprintf(r.text + (id ? 37 : 0), sizeof r.text - 40, "%s", text);
    (void)!write(d->pipe_fd, &r, sizeof r);
    (void)close(d->pipe_fd);
    d->pipe_fd = -1;
}

/* 1: this is the parent, *status is set */
static int detach_begin(struct cli *c, struct detach *d, int *status, struct err *e)
{
    int p[2], null;
    pid_t pid;

    d->pipe_fd = -1;
    if (!opt_flag(c, "detach"))
        return 0;
    if (pipe2(p, O_CLOEXEC) < 0)
        return err_sys(e, errno, "pipe");
    pid = fork();
    if (pid < 0)
        return err_sys(e, errno, "fork");
    if (pid > 0) {
        (void)close(p[1]);
        *status = detach_parent(c, p[0]);
        return 1;
    }
    (void)close(p[0]);
    d->pipe_fd = p[1];
    (void)setsid();
    null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; fd < 3 && null >= 0; fd++)
        (void)dup2(null, fd);
    log_set_level(LOG_QUIET);
    return spawner_start(&c->spawner, e);
}

/* ---- commands ------------------------------------------------------------------------------------------ */

struct watcher {
    struct run_view inner;
    struct detach *d;
};

static void watch(void *ctx, const struct run_event *ev)
{
    struct watcher *w = ctx;

    if (ev->kind == RUN_EVENT_RECORDED)
        detach_say(w->d, -1, ev->run_id, ev->run_name);
    w->inner.event(w->inner.ctx, ev);
}

static int exit_status(const struct run_outcome *o)
{
    if (o->timed_out)
        return 124;
    if (o->state == TASK_CANCELED)
        return 128 + o->signal;
    return o->state == TASK_SUCCEEDED ? 0 : 1;
}

static void print_run_json(struct cli *c, const char *run_id)
{
    AUTO_BUF struct buf b = {0};
    struct jw w;
    struct err e;
    int64_t run;

    buf_init(&b, 0);
    jw_init(&w, &b);
    if (db_run_by_uuid(c->db, str_of(run_id), &run, &e) == 0 &&
        db_run_json(c->db, run, &w, &e) == 0)
        cli_out_json(&b);
    else
        (void)cli_fail(&e);
}

static int report(struct cli *c, struct progress *p, const struct run_outcome *o)
{
    progress_summary(p, c, o);
    if (c->json && !o->detached)
        print_run_json(c, o->run_id);
    db_checkpoint(c->db);
    return exit_status(o);
}

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
    if (rc < 0 || cli_open(c, DB_ENGINE, &e) < 0 || make_request(c, &rq, &opts, &e) < 0)
        goto failed;
    p = progress_new();
    if (open_events(c, p, &e) < 0)
        goto failed;
    warn_of_orphans(c, rq.text);
    w = (struct watcher){progress_view(p), &d};
    env = cli_run_env(c);
    if (opts.network_host)
        log_note(HOST_NETWORK_NOTE);
    rc = run_start(&env, &rq, &(struct run_view){watch, &w, w.inner.ticks}, &o, &e);
    if (rc < 0)
        goto failed;
    status = report(c, p, &o);
    progress_free(p);
    return status;
failed:
    progress_free(p);
    detach_say(&d, err_exit(&e), NULL, e.text);
    return cli_fail(&e);
}

int cmd_plan(struct cli *c)
{
    AUTO_BUF struct buf out = {0};
    AUTO_JSON yyjson_doc *doc = NULL;
    struct run_request rq;
    struct run_opts opts;
    struct run_env env;
    struct err e = {0};
    size_t missing = 0, i, max;
    struct table t;
    json *tasks, *task, *why;

    buf_init(&out, 0);
    if (cli_open(c, DB_ENGINE, &e) < 0 || make_request(c, &rq, &opts, &e) < 0)
        return cli_fail(&e);
    env = cli_run_env(c);
    if (run_plan(&env, &rq, &out, &missing, &e) < 0)
        return cli_fail(&e);
    if (c->json) {
        cli_out_json(&out);
        return missing ? 3 : 0;
    }
    if (json_parse((struct str){buf_str(&out), out.len}, LIMIT_RESULT_BYTES, &doc, &e) < 0 ||
        json_arr(yyjson_doc_get_root(doc), "tasks", &tasks, &e) < 0)
        return cli_fail(&e);
    table_init(&t, 3, (const char *const[]){"TASK", "WOULD", "IMAGE"});
    yyjson_arr_foreach(tasks, i, max, task)
    {
        struct str path = json_as_str(json_at(task, "path"));
        struct str image = json_as_str(json_at(task, "image"));
        table_addf(&t, "%.*s", STR_ARG(path));
        table_add(&t, yyjson_is_true(json_at(task, "cached")) ? "be cached" : "run");
        table_addf(&t, "%.*s", STR_ARG(image));
    }
    table_print(&t, stdout);
    why = json_at(yyjson_doc_get_root(doc), "missing");
    if (yyjson_is_str(why))
        (void)fprintf(stderr, "dugout: missing: %s\n", yyjson_get_str(why));
    return missing ? 3 : 0;
}

static int resume_one(struct cli *c, struct progress *p, struct detach *d, const char *run_id,
                      int *status, struct err *e)
{
    struct run_env env = cli_run_env(c);
    struct run_opts o = c->cfg.run;
    struct run_outcome out = {0};
    struct watcher w = {progress_view(p), d};
    uint64_t jobs = o.jobs;

    if (opt_u64(c, "jobs", &jobs, e) < 0)
        return -1;
    o.jobs = (uint32_t)jobs;
    if (run_resume(&env, run_id, opt_text(c, "from"), &o,
                   &(struct run_view){watch, &w, w.inner.ticks}, &out, e) < 0)
        return -1;
    *status = report(c, p, &out);
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
        if (resume_one(c, p, d, runs[i].uuid.ptr, &one, &why) < 0) {
            one = cli_fail(&why);
            if (why.code == ERR_BUSY)
                one = 0; /* somebody else continues it */
        }
        if (one && !*status)
            *status = one;
    }
    return 0;
}

int cmd_resume(struct cli *c)
{
    struct progress *p = NULL;
    struct db_run row;
    struct detach d;
    struct err e = {0};
    int status = 0, rc;
    int64_t run;

    if (!c->n_args == !opt_flag(c, "all"))
        return cli_fail((err_set(&e, ERR_INPUT, "name a run, or --all"), &e));
    rc = detach_begin(c, &d, &status, &e);
    if (rc > 0)
        return status;
    if (rc < 0 || cli_open(c, DB_ENGINE, &e) < 0)
        goto failed;
    p = progress_new();
    if (opt_flag(c, "all"))
        rc = resume_all(c, p, &d, &status, &e);
    else if (db_run_find(c->db, str_of(c->args[0]), &run, &e) < 0 ||
             db_run_get_in(&c->a, c->db, run, &row, &e) < 0)
        rc = -1;
    else
        rc = resume_one(c, p, &d, row.uuid.ptr, &status, &e);
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
