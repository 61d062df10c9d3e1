/* SPDX-License-Identifier: Apache-2.0 */
/* task.c - one task from PENDING to its end
 *
 *   task_start   upstream is done: resolve inputs; a DAG opens its scope; a container is looked up
 *                in the cache or queued for a slot
 *   task_launch  a slot is free: attempt directory, rows RUNNING
 *   task_spawn   after the commit: the supervisor
 *   task_ended   result.json -> rows, outputs; or another attempt after a while
 *   task_close   every way into a final state goes through here: it wakes what depends on the
 *                task, and ends the DAG around it when it was the last
 *
 * What is wrong with a task makes the task FAILED. Errors that come back from here are of the
 * database or the host and end the engine; its supervisors go on.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/limits.h"
#include "lineage/cache.h"
#include "lineage/record.h"
#include "plan/cachekey.h"
#include "run/admit.h"
#include "run/commit.h"
#include "run/engine.h"
#include "run/log.h"
#include "run/spawner.h"
#include "store/tree.h"

#define NO_TEXT ((struct str){"", 0})

/* ---- final states ------------------------------------------------------------------------ */

static void note_failure(struct engine *en, const struct task *t, struct str error)
{
    const struct job *j = t->user;

    if (en->out->failed_task[0] || t->kind == TASK_DAG)
        return; /* the first one, and the one that holds the cause */
    snprintf(en->out->failed_task, sizeof en->out->failed_task, "%.*s", STR_ARG(t->path));
    snprintf(en->out->error, sizeof en->out->error, "%.*s", STR_ARG(error));
    if (j && j->rel)
        snprintf(en->out->log_path, sizeof en->out->log_path, "%s/runs/%s/log", en->env->home,
                 j->rel);
}

/* the last task of a nested DAG has ended: so has the DAG */
static int close_scope(struct engine *en, struct scope *s, struct err *e)
{
    struct task *owner = s->owner;

    if (s->n_left || !owner || task_state_final(owner->state))
        return 0;
    if (s->failed)
        return task_close(en, owner, TASK_FAILED, NO_TEXT, STR("a task inside it failed"), e);
    for (size_t i = 0; i < s->dag->n_tasks; i++)
        if (s->tasks[i]->state == TASK_CANCELED)
            return task_close(en, owner, TASK_CANCELED, STR("canceled"), NO_TEXT, e);
    if (scope_outputs(&en->g, s, &owner->out, e) < 0)
        return -1;
    return task_close(en, owner, TASK_SUCCEEDED, NO_TEXT, NO_TEXT, e);
}

static int close_inner(struct engine *en, struct task *t, struct str reason, struct err *e)
{
    for (size_t i = 0; t->inner && i < t->inner->dag->n_tasks; i++)
        if (!task_state_final(t->inner->tasks[i]->state) &&
            task_close(en, t->inner->tasks[i], TASK_SKIPPED, reason, NO_TEXT, e) < 0)
            return -1;
    return 0;
}

static void settle(struct engine *en, struct task *t, enum task_state state, struct str reason,
                   struct str error)
{
    struct scope *s = t->scope;
    size_t me = (size_t)(t->def - s->dag->tasks);

    t->state = state;
    t->reason = arena_str(&en->a, reason);
    t->error = arena_str(&en->a, error);
    s->n_left--;
    if (state == TASK_FAILED) {
        s->failed = true;
        note_failure(en, t, error);
    }
    for (size_t k = s->first_dependent[me]; k < s->first_dependent[me + 1]; k++)
        engine_examine(en, s->tasks[s->dependents[k]]);
    engine_event(en, RUN_EVENT_TASK, t, NULL);
}

int task_close(struct engine *en, struct task *t, enum task_state state, struct str reason,
               struct str error, struct err *e)
{
    struct db_task_end end = {.state = (enum db_state)state,
                              .finished_unix_ms = clock_unix_ms(),
                              .reason = reason,
                              .error = error,
                              .exit_code = DB_NO_EXIT,
                              .peak_memory_bytes = -1,
                              .cpu_usec = -1};
    bool won;

    if (db_task_finish(en->env->db, job_of(en, t)->row, &end, &won, e) < 0)
        return -1;
    settle(en, t, state, reason, error);
    if (t->inner && state != TASK_SUCCEEDED && close_inner(en, t, STR("its DAG did not run"), e) < 0)
        return -1;
    return close_scope(en, t->scope, e);
}

/* a task that cannot even be tried */
static int fail(struct engine *en, struct task *t, const struct err *why, struct err *e)
{
    return task_close(en, t, TASK_FAILED, NO_TEXT, str_of(why->text), e);
}

/* ---- outputs that are known from rows ------------------------------------------------------ */

static int io_from_rows(struct engine *en, struct task *t, const struct db_io_rows *rows,
                        struct err *e)
{
    const struct io_defs *defs = &t->def->component->out;
    struct io_values *out = &t->out;

    *out = (struct io_values){0};
    out->params = arena_alloc(&en->a, (rows->n_params + 1) * sizeof(*out->params));
    for (size_t i = 0; i < rows->n_params; i++) {
        struct named_value *v = &out->params[out->n_params++];
        v->name = arena_str(&en->a, rows->params[i].name);
        if (value_parse_in(&en->a, rows->params[i].value_json, &v->value, e) < 0)
            return -1;
    }
    out->artifacts = arena_alloc(&en->a, (rows->n_artifacts + 1) * sizeof(*out->artifacts));
    for (size_t i = 0; i < rows->n_artifacts; i++) {
        const struct db_io_artifact *r = &rows->artifacts[i];
        struct named_artifacts *l = io_values_artifact(out, r->name);
        const struct artifact_def *def = io_artifact(defs, r->name);
        struct value *meta = NULL;
        struct artifact *f;

        if (!l) {
            l = &out->artifacts[out->n_artifacts++];
            *l = (struct named_artifacts){.name = arena_str(&en->a, r->name)};
            if (def) {
                l->type = def->schema_title;
                l->type_version = def->schema_version;
            }
        }
        if (r->artifact.metadata_json.len) {
            meta = arena_alloc(&en->a, sizeof *meta);
            if (value_parse_in(&en->a, r->artifact.metadata_json, meta, e) < 0)
                return -1;
        }
        l->items = arena_grow(&en->a, l->items, &l->n_items, sizeof(*l->items));
        f = &l->items[l->n_items - 1];
        *f = (struct artifact){.id = r->artifact.id,
                               .name = arena_str(&en->a, r->artifact.name),
                               .uri = arena_str(&en->a, r->artifact.uri),
                               .type = arena_str(&en->a, r->artifact.type),
                               .type_version = STR("0.0.1"),
                               .kind = arena_str(&en->a, r->artifact.kind),
                               .digest = arena_str(&en->a, str_of(r->artifact.digest_hex)),
                               .size_bytes = (uint64_t)r->artifact.size_bytes,
                               .n_files = (uint64_t)r->artifact.n_files,
                               .metadata = meta};
    }
    return 0;
}

int task_outputs_from_rows(struct engine *en, struct task *t, struct err *e)
{
    AUTO_ARENA struct arena tmp = {0};
    struct db_io_rows rows;

    if (db_task_io_in(&tmp, en->env->db, job_of(en, t)->row, DB_OUT, &rows, e) < 0)
        return -1;
    return io_from_rows(en, t, &rows, e);
}

static int put_inputs(struct engine *en, struct task *t, struct err *e)
{
    AUTO_BUF struct buf text = {0};
    struct db *d = en->env->db;
    int64_t row = job_of(en, t)->row;

    buf_init(&text, 0);
    for (size_t i = 0; i < t->in.n_params; i++) {
        buf_reset(&text);
        value_to_json(&text, &t->in.params[i].value);
        if (db_param_put(d, row, DB_IN, t->in.params[i].name,
                         (struct str){buf_str(&text), text.len}, e) < 0)
            return -1;
    }
    for (size_t i = 0; i < t->in.n_artifacts; i++)
        for (size_t k = 0; k < t->in.artifacts[i].n_items; k++)
            if (t->in.artifacts[i].items[k].id &&
                db_event_put(d, row, DB_IN, t->in.artifacts[i].name, (int64_t)k,
                             t->in.artifacts[i].items[k].id, e) < 0)
                return -1;
    return 0;
}

/* ---- the cache ------------------------------------------------------------------------------ */

/* What a task sees outside its key makes it uncacheable (design, "caching"). */
static bool cacheable(const struct engine *en, const struct task *t)
{
    return t->def->cache_enabled && !en->o.n_mounts && !en->o.network_host &&
           en->o.packages != PACKAGES_NETWORK;
}

static bool refreshed(const struct engine *en, const struct task *t)
{
    for (size_t i = 0; i < en->o.n_refresh; i++)
        if (strcmp(en->o.refresh[i], "*") == 0 || str_eqz(t->def->key, en->o.refresh[i]) ||
            str_eqz(t->path, en->o.refresh[i]))
            return true;
    return false;
}

static bool bytes_are_there(struct engine *en, const struct db_io_rows *rows)
{
    char path[LIMIT_PATH_BYTES];
    struct err e;

    for (size_t i = 0; i < rows->n_artifacts; i++) {
        const struct db_artifact *f = &rows->artifacts[i].artifact;
        if (str_eqz(f->kind, "file") && !blob_has(en->env->store, f->digest_hex))
            return false;
        if (str_eqz(f->kind, "dir") &&
            tree_checkout_path(en->env->store, f->digest_hex, path, sizeof path, &e) < 0)
            return false;
    }
    return true;
}

/* 1: the task was closed from the cache */
static int try_cache(struct engine *en, struct job *j, struct err *e)
{
    AUTO_ARENA struct arena tmp = {0};
    struct db *d = en->env->db;
    struct task *t = j->t;
    struct db_hit hit;
    int64_t now = clock_unix_ms();
    bool found, won;

    if (!j->key[0] || en->o.no_cache || refreshed(en, t) || j->attempts)
        return 0;
    if (db_cache_find_in(&tmp, d, str_of(j->key), en->p.name,
                         en->o.cache_max_age_ms ? now - en->o.cache_max_age_ms : 0, &hit, &found,
                         e) < 0)
        return -1;
    if (!found)
        return 0;
    if (!bytes_are_there(en, &hit.out))
        return db_cache_forget(d, str_of(j->key), en->p.name, e);
    if (io_from_rows(en, t, &hit.out, e) < 0 || put_inputs(en, t, e) < 0 ||
        db_cache_reuse(d, j->row, &hit, now, now, &won, e) < 0)
        return -1;
    t->cached = true;
    settle(en, t, TASK_SUCCEEDED, NO_TEXT, NO_TEXT);
    return close_scope(en, t->scope, e) < 0 ? -1 : 1;
}

/* ---- starting ---------------------------------------------------------------------------------- */

static struct str cache_extra(struct engine *en)
{
    AUTO_BUF struct buf b = {0};

    buf_init(&b, 0);
    for (size_t i = 0; i < en->o.n_env; i++)
        buf_addf(&b, "%s\n", en->o.env[i]);
    return arena_str(&en->a, (struct str){buf_str(&b), b.len});
}

static void queue_for_slot(struct engine *en, struct job *j)
{
    if (j->waiting)
        return;
    j->waiting = true;
    if (en->n_waiting == en->cap_waiting) {
        en->cap_waiting = en->cap_waiting ? en->cap_waiting * 2 : 64;
        en->waiting = xrealloc(en->waiting, en->cap_waiting * sizeof(*en->waiting));
    }
    en->waiting[en->n_waiting++] = j->t;
}

static int start_dag(struct engine *en, struct task *t, struct err *e)
{
    struct db_task_start s = {.started_unix_ms = clock_unix_ms()};
    bool won;

    if (db_task_start(en->env->db, job_of(en, t)->row, &s, &won, e) < 0 ||
        put_inputs(en, t, e) < 0)
        return -1;
    job_of(en, t)->started_mono_ns = clock_mono_ns();
    t->state = TASK_RUNNING;
    engine_event(en, RUN_EVENT_TASK, t, NULL);
    for (size_t i = 0; i < t->inner->dag->n_tasks; i++)
        engine_examine(en, t->inner->tasks[i]);
    return close_scope(en, t->inner, e); /* a resumed one may be complete */
}

/* everything that can go wrong with a container task before it runs */
static int plan_container(struct engine *en, struct job *j, struct err *e)
{
    struct task *t = j->t;
    AUTO_BUF struct buf missing = {0};

    if (!t->uuid[0])
        uuid_new(t->uuid);
    if (exec_plan_in(&en->a, &en->g, t, &j->plan, e) < 0 ||
        exec_resources(&en->a, &en->g, t, &j->res, e) < 0)
        return -1;
    if (j->res.accelerators && !en->o.gpus_none)
        return err_set(e, ERR_MISSING,
                       "it asks for %u %.*s, and this version gives no GPU to boxes "
                       "(--gpus none runs it without)",
                       j->res.accelerators, STR_ARG(j->res.accelerator_type));
    j->image = prepare_image(en, j->plan.image, e);
    if (!j->image)
        return -1;
    buf_init(&missing, 4096);
    if (prepare_packages(en, t->def->component->executor, j->image, &j->skip_words, &j->shim,
                         &missing, e) < 0)
        return -1;
    if (missing.len)
        return err_set(e, ERR_MISSING, "packages are missing: %s", buf_str(&missing));
    j->planned = true;
    return 0;
}

int task_start(struct engine *en, struct task *t, struct err *e)
{
    struct job *j = job_of(en, t);
    struct err why = {0};
    int rc;

    if (!j->planned) {
        if (task_resolve(&en->g, t, &why) < 0)
            return fail(en, t, &why, e);
        if (t->kind == TASK_DAG)
            return start_dag(en, t, e);
        if (plan_container(en, j, &why) < 0)
            return fail(en, t, &why, e);
        if (cacheable(en, t))
            cachekey_of(&en->g, t, str_of(j->image->hex), cache_extra(en), j->key);
        rc = try_cache(en, j, e);
        if (rc)
            return rc < 0 ? -1 : 0;
    }
    queue_for_slot(en, j);
    return 0;
}

/* ---- launching an attempt -------------------------------------------------------------------------- */

static void add_env(struct engine *en, struct attempt *at, const char *kv)
{
    size_t key = strcspn(kv, "=") + 1;

    for (size_t i = 0; i < at->n_env; i++)
        if (strncmp(at->env[i], kv, key) == 0) {
            at->env[i] = arena_strdup(&en->a, kv);
            return;
        }
    at->env[at->n_env++] = arena_strdup(&en->a, kv);
}

static const char *env_of(const struct attempt *at, const char *name)
{
    size_t n = strlen(name);

    for (size_t i = 0; i < at->n_env; i++)
        if (strncmp(at->env[i], name, n) == 0 && at->env[i][n] == '=')
            return at->env[i] + n + 1;
    return NULL;
}

static void fill_env(struct engine *en, struct job *j, struct attempt *at)
{
    const struct image *img = &j->image->image;
    struct arena *a = &en->a;

    at->env = arena_alloc(a, (img->n_env + j->plan.n_env + en->o.n_env + 12) * sizeof(*at->env));
    for (size_t i = 0; i < img->n_env; i++)
        add_env(en, at, img->env[i]);
    for (size_t i = 0; i < j->plan.n_env; i++)
        add_env(en, at, j->plan.env[i]);
    for (size_t i = 0; i < en->o.n_env; i++)
        add_env(en, at, en->o.env[i]);
    if (!env_of(at, "PATH"))
        add_env(en, at, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    add_env(en, at, arena_printf(a, "KFP_POD_NAME=%s-%.*s", en->name, STR_ARG(j->t->def->key)));
    add_env(en, at, arena_printf(a, "KFP_POD_UID=%s", j->t->uuid));
    add_env(en, at, arena_printf(a, "KFP_RETRY_INDEX=%u", j->attempts - 1));
    add_env(en, at, "DUGOUT_CHECKPOINT_DIR=/run/dugout/checkpoint");
    if (j->shim) {
        const char *had = env_of(at, "PYTHONPATH");
        add_env(en, at, had && *had ? arena_printf(a, "PYTHONPATH=" SHIM_MOUNT ":%s", had)
                                    : "PYTHONPATH=" SHIM_MOUNT);
    }
}

static void add_mount(struct engine *en, struct attempt *at, const char *src, const char *dst,
                      bool rw)
{
    for (size_t i = 0; i < at->n_mounts; i++)
        if (strcmp(at->mounts[i].dst, dst) == 0)
            return; /* the same artifact on two inputs */
    at->mounts = arena_grow(&en->a, at->mounts, &at->n_mounts, sizeof(*at->mounts));
    at->mounts[at->n_mounts - 1] = (struct attempt_mount){src, dst, rw};
}

static int mount_inputs(struct engine *en, const struct task *t, struct attempt *at,
                        struct err *e)
{
    for (size_t i = 0; i < t->in.n_artifacts; i++)
        for (size_t k = 0; k < t->in.artifacts[i].n_items; k++) {
            const struct artifact *f = &t->in.artifacts[i].items[k];
            struct str dst = exec_uri_to_path(&en->a, f->uri);
            char src[LIMIT_PATH_BYTES];
            struct attempt_input *in;

            at->inputs = arena_grow(&en->a, at->inputs, &at->n_inputs, sizeof(*at->inputs));
            in = &at->inputs[at->n_inputs - 1];
            *in = (struct attempt_input){f->uri, f->kind, f->digest, f->size_bytes, f->n_files};
            if (str_eqz(f->kind, "none") || !dst.len || dst.ptr[0] != '/')
                continue; /* metadata only, or a URI that has no path */
            if (str_eqz(f->kind, "dir")
                    ? tree_checkout_path(en->env->store, f->digest.ptr, src, sizeof src, e) < 0
                    : blob_path(en->env->store, f->digest.ptr, src, sizeof src, e) < 0)
                return err_at(e, "input %.*s", STR_ARG(t->in.artifacts[i].name));
            add_mount(en, at, arena_strdup(&en->a, src), arena_strndup(&en->a, dst.ptr, dst.len),
                      false);
        }
    return 0;
}

static void fill_argv(struct engine *en, struct job *j, struct attempt *at)
{
    const struct image *img = &j->image->image;
    size_t n = 0;

    if (j->plan.n_argv > j->skip_words) {
        at->argv = j->plan.argv + j->skip_words;
        at->n_argv = j->plan.n_argv - j->skip_words;
        return;
    }
    at->argv = arena_alloc(&en->a, (img->n_entrypoint + img->n_cmd + 1) * sizeof(*at->argv));
    for (size_t i = 0; i < img->n_entrypoint; i++)
        at->argv[n++] = arena_strdup(&en->a, img->entrypoint[i]);
    for (size_t i = 0; i < img->n_cmd; i++)
        at->argv[n++] = arena_strdup(&en->a, img->cmd[i]);
    at->n_argv = n;
}

static int signal_number(const char *name)
{
    static const struct {
        const char *name;
        int number;
    } known[] = {{"HUP", SIGHUP},   {"INT", SIGINT},   {"QUIT", SIGQUIT}, {"KILL", SIGKILL},
                 {"USR1", SIGUSR1}, {"USR2", SIGUSR2}, {"TERM", SIGTERM}, {"WINCH", SIGWINCH}};
    int n = (int)strtol(name, NULL, 10);

    if (strncmp(name, "SIG", 3) == 0)
        name += 3;
    for (size_t i = 0; i < N_ELEMS(known); i++)
        if (strcmp(name, known[i].name) == 0)
            return known[i].number;
    if (strncmp(name, "RTMIN+", 6) == 0)
        return SIGRTMIN + (int)strtol(name + 6, NULL, 10);
    return n > 0 && n < 65 ? n : SIGTERM;
}

static void fill_outputs(struct engine *en, struct job *j, struct attempt *at)
{
    const struct io_defs *defs = &j->t->def->component->out;

    at->params = arena_alloc(&en->a, (defs->n_params + 1) * sizeof(*at->params));
    for (size_t i = 0; i < defs->n_params; i++)
        at->params[at->n_params++] =
            (struct attempt_output){.name = defs->params[i].name,
                                    .param_type = defs->params[i].type,
                                    .path = j->plan.params[i].path};
    at->artifacts = arena_alloc(&en->a, (defs->n_artifacts + 1) * sizeof(*at->artifacts));
    for (size_t i = 0; i < defs->n_artifacts; i++)
        at->artifacts[at->n_artifacts++] =
            (struct attempt_output){.name = defs->artifacts[i].name,
                                    .type = defs->artifacts[i].schema_title,
                                    .type_version = defs->artifacts[i].schema_version,
                                    .uri = j->plan.artifacts[i].uri,
                                    .path = j->plan.artifacts[i].path,
                                    .metadata = defs->artifacts[i].metadata};
}

static int fill_attempt(struct engine *en, struct job *j, struct err *e)
{
    const struct retry_policy *retry = &j->t->def->retry;
    const struct image *img = &j->image->image;
    struct attempt *at = &j->at;
    const char *checkpoint;

    *at = (struct attempt){
        .run_id = str_of(en->id),
        .task_path = j->t->path,
        .task_key = j->t->def->key,
        .task_id = j->row,
        .number = j->attempts,
        .image_hex = str_of(j->image->hex),
        .lowers = img->layers,
        .n_lowers = img->n_layers,
        .cwd = str_of(img->workdir[0] ? img->workdir : "/"),
        .user = str_of(img->user),
        .hostname = str_of(arena_strndup(&en->a, j->t->def->key.ptr,
                                         j->t->def->key.len < 63 ? j->t->def->key.len : 63)),
        .stop_signal = img->stop_signal[0] ? signal_number(img->stop_signal) : SIGTERM,
        .network_host = en->o.network_host,
        .memory_bytes =
            j->res.memory_limit_bytes ? j->res.memory_limit_bytes : en->o.memory_bytes,
        .cpu_millis = j->res.cpu_limit_millis,
        .pids_max = en->o.pids_max,
        .deadline_unix_ms = en->deadline_unix_ms,
        .log_max_bytes = en->o.log_max_bytes,
        .home = str_of(en->env->home),
        .task_root_path = j->plan.task_root_path,
        .output_file = j->plan.output_file,
        .cache_key = str_of(j->key),
        .max_retries = retry->set ? retry->max_retries : en->o.retries,
        .host_failures = j->host_failures,
        .host_retries = en->o.host_retries,
    };
    fill_argv(en, j, at);
    if (!at->n_argv)
        return err_set(e, ERR_INPUT,
                       "neither the component nor image %.*s says what to run",
                       STR_ARG(j->plan.image));
    fill_env(en, j, at);
    fill_outputs(en, j, at);
    checkpoint = arena_printf(&en->a, "%s/runs/%s/%lld.checkpoint", en->env->home, en->id,
                              (long long)j->row);
    if (fd_mkdirs(AT_FDCWD, checkpoint, 0777, e) < 0)
        return -1;
    (void)chmod(checkpoint, 0777); /* the umask took the write bits; images run as any uid */
    add_mount(en, at, checkpoint, "/run/dugout/checkpoint", true);
    if (j->shim)
        add_mount(en, at, j->image->facts.shim_dir.ptr, SHIM_MOUNT, false);
    for (size_t i = 0; i < en->o.n_mounts; i++)
        add_mount(en, at, en->o.mounts[i].src, en->o.mounts[i].dst, en->o.mounts[i].rw);
    return mount_inputs(en, j->t, at, e);
}

static int make_attempt_dir(struct engine *en, struct job *j, struct err *e)
{
    char name[64];

    snprintf(name, sizeof name, "%lld.%u", (long long)j->row, j->attempts);
    j->rel = arena_printf(&en->a, "%s/%s", en->id, name);
    if (mkdirat(en->run_fd, name, 0750) < 0 && errno != EEXIST)
        return err_sys(e, errno, "make runs/%s", j->rel);
    if (j->dir_fd >= 0)
        (void)close(j->dir_fd);
    j->dir_fd = openat(en->run_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (j->dir_fd < 0)
        return err_sys(e, errno, "open runs/%s", j->rel);
    return 0;
}

static uint64_t memory_wanted(const struct engine *en, const struct job *j)
{
    if (j->res.memory_request_bytes)
        return j->res.memory_request_bytes;
    return j->res.memory_limit_bytes ? j->res.memory_limit_bytes : en->o.memory_bytes;
}

static uint32_t cpu_wanted(const struct job *j)
{
    return j->res.cpu_request_millis ? j->res.cpu_request_millis : j->res.cpu_limit_millis;
}

static int record_start(struct engine *en, struct job *j, struct err *e)
{
    struct db *d = en->env->db;
    char host[256];
    int64_t now = clock_unix_ms();
    struct db_task_start s = {.started_unix_ms = now,
                              .cache_key_hex = str_of(j->key),
                              .image_hex = str_of(j->image->hex),
                              .uuid = str_of(j->t->uuid)};
    struct db_attempt_new n = {.task = j->row,
                               .number = j->attempts,
                               .started_unix_ms = now,
                               .dir = str_of(arena_printf(&en->a, "runs/%s", j->rel)),
                               .image_hex = str_of(j->image->hex)};
    bool won;

    who_host(host);
    n.host = str_of(host);
    if (db_task_start(d, j->row, &s, &won, e) < 0 || db_attempt_start(d, &n, e) < 0)
        return -1;
    return put_inputs(en, j->t, e);
}

int task_launch(struct engine *en, struct task *t, struct err *e)
{
    struct job *j = t->user;
    uint32_t cpu = cpu_wanted(j);
    struct err why = {0};
    int rc;

    if (cpu && en->running && en->cpu_millis_used + cpu > en->cpu_millis_max)
        return 0;
    j->attempts++;
    if (make_attempt_dir(en, j, &why) < 0)
        return fail(en, t, &why, e) < 0 ? -1 : 1;
    rc = admit_take(en->home_fd, j->rel, memory_wanted(en, j), &why);
    if (rc == 0) { /* other attempts hold it now */
        j->attempts--;
        en->blocked_by_memory = true;
        return 0;
    }
    if (rc < 0 || fill_attempt(en, j, &why) < 0 || attempt_write(j->dir_fd, &j->at, &why) < 0) {
        admit_give(en->home_fd, j->rel);
        return fail(en, t, &why, e) < 0 ? -1 : 1;
    }
    if (record_start(en, j, e) < 0)
        return -1;
    t->state = TASK_RUNNING;
    j->started_mono_ns = clock_mono_ns();
    j->spawn = true;
    en->running++;
    en->cpu_millis_used += cpu;
    if (en->n_spawns == en->cap_spawns) {
        en->cap_spawns = en->cap_spawns ? en->cap_spawns * 2 : 64;
        en->spawns = xrealloc(en->spawns, en->cap_spawns * sizeof(*en->spawns));
    }
    en->spawns[en->n_spawns++] = j;
    engine_event(en, RUN_EVENT_TASK, t, NULL);
    return 1;
}

int task_spawn(struct engine *en, struct job *j, struct err *e)
{
    AUTO_FREE char *dir = xasprintf("%s/runs/%s", en->env->home, j->rel);
    pid_t pid;

    j->spawn = false;
    if (spawner_run(en->env->spawner, dir, &j->pidfd, &pid, e) < 0)
        return -1;
    return job_watch(j, e);
}

/* ---- the end of an attempt ------------------------------------------------------------------------------ */

static int outputs_from_result(struct engine *en, struct task *t, const struct result *r,
                               const int64_t *ids)
{
    struct io_values *out = &t->out;

    *out = (struct io_values){.params = r->params, .n_params = r->n_params};
    out->artifacts = arena_alloc(&en->a, (r->n_artifacts + 1) * sizeof(*out->artifacts));
    for (size_t i = 0; i < r->n_artifacts; i++) {
        const struct result_artifact *f = &r->artifacts[i];
        struct artifact *one = arena_alloc(&en->a, sizeof *one);
        *one = (struct artifact){.id = ids[i],
                                 .name = f->name,
                                 .uri = f->uri,
                                 .type = f->type,
                                 .type_version = f->type_version,
                                 .kind = f->kind,
                                 .digest = f->digest,
                                 .size_bytes = f->size_bytes,
                                 .n_files = f->n_files,
                                 .metadata = f->metadata};
        out->artifacts[out->n_artifacts++] = (struct named_artifacts){
            .name = f->name, .items = one, .n_items = 1, .type = f->type,
            .type_version = f->type_version};
    }
    return 0;
}

static void on_backoff(void *ctx)
{
    struct job *j = ctx;

    j->timer = 0;
    j->en->n_backoff--;
    engine_examine(j->en, j->t);
}

static void plan_retry(struct engine *en, struct job *j, const struct result *r)
{
    const struct retry_policy *p = &j->t->def->retry;
    uint32_t step = j->attempts - j->host_failures; /* failures of the step so far */
    double wait = p->set ? (double)p->backoff_ms : 0;
    char human[24];
    AUTO_BUF struct buf text = {0};

    if (r->end == END_HOST)
        wait = 1000;
    else
        for (uint32_t k = 1; k < step; k++)
            wait *= p->backoff_factor > 0 ? p->backoff_factor : 2;
    if (p->set && p->backoff_max_ms && wait > (double)p->backoff_max_ms)
        wait = (double)p->backoff_max_ms;
    clock_human((int64_t)wait, human);
    buf_init(&text, 1024);
    buf_addf(&text, "attempt %u: %.*s; again%s%s", j->attempts, STR_ARG(r->error),
             wait >= 1 ? " in " : "", wait >= 1 ? human : "");
    j->t->state = TASK_PENDING;
    engine_event(en, RUN_EVENT_RETRY, j->t, buf_str(&text));
    if (en->stopping)
        return;
    en->n_backoff++;
    j->timer = loop_at(en->loop, clock_mono_ns() + (int64_t)(wait * 1e6), on_backoff, j);
}

static void network_hint(struct engine *en, struct job *j)
{
    static const char *const signs[] = {"Temporary failure in name resolution",
                                        "Network is unreachable", "Name or service not known",
                                        "Could not resolve host"};
    AUTO_BUF struct buf log = {0};

    if (en->o.network_host)
        return;
    buf_init(&log, 64 * KIB);
    runlog_last_lines(j->dir_fd, 40, 32 * KIB, &log);
    for (size_t i = 0; i < N_ELEMS(signs); i++)
        if (strstr(buf_str(&log), signs[i])) {
            engine_notice(en, j->t,
                          "task %.*s looked for the network, and boxes have none "
                          "(--network host opens it)",
                          STR_ARG(j->t->path));
            return;
        }
}

int task_ended(struct engine *en, struct job *j, struct err *e)
{
    struct task *t = j->t;
    struct result r;
    struct err why = {0};
    enum commit_verdict verdict = COMMIT_FAILED;
    int64_t *ids;
    bool won;

    if (j->pidfd >= 0)
        (void)close(j->pidfd);
    j->pidfd = -1;
    j->adopted = false;
    if (result_read_in(&en->a, j->dir_fd, &r, &why) < 0)
        r = (struct result){.end = END_HOST,
                            .error = why.code == ERR_MISSING
                                         ? STR("its supervisor vanished without a result")
                                         : arena_str(&en->a, str_of(why.text)),
                            .finished_unix_ms = clock_unix_ms(),
                            .enforced = STR("{}")};
    ids = arena_alloc(&en->a, (r.n_artifacts + 1) * sizeof *ids);
    if (commit_attempt(en->env->db, &j->at, &r, &won, &verdict, ids, e) < 0)
        return -1;
    en->running--;
    en->cpu_millis_used -= cpu_wanted(j) < en->cpu_millis_used ? cpu_wanted(j)
                                                               : en->cpu_millis_used;
    if (memory_wanted(en, j))
        admit_give(en->home_fd, j->rel);
    if (!won)
        return err_set(e, ERR_BUSY, "another dugout committed task %.*s of this run",
                       STR_ARG(t->path));
    for (size_t i = 0; i < r.n_notices; i++)
        if (str_starts(r.notices[i], "this host")) /* said once, whatever the task */
            engine_notice(en, t, "%.*s", STR_ARG(r.notices[i]));
        else
            engine_notice(en, t, "task %.*s: %.*s", STR_ARG(t->path), STR_ARG(r.notices[i]));
    if (r.end == END_HOST)
        j->host_failures++;
    switch (verdict) {
    case COMMIT_RETRY:
        plan_retry(en, j, &r);
        return 0;
    case COMMIT_SUCCEEDED:
        (void)outputs_from_result(en, t, &r, ids);
        settle(en, t, TASK_SUCCEEDED, NO_TEXT, NO_TEXT);
        break;
    case COMMIT_FAILED:
        network_hint(en, j);
        settle(en, t, TASK_FAILED, NO_TEXT, r.error);
        break;
    case COMMIT_CANCELED:
        settle(en, t, TASK_CANCELED, r.error, NO_TEXT);
        break;
    }
    return close_scope(en, t->scope, e);
}
