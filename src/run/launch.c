/* SPDX-License-Identifier: Apache-2.0 */
/* launch.c - an attempt of a container task: its directory, attempt.json, rows, supervisor
 *
 * task_launch() is called when a slot may be free; what it records is spawned by task_spawn()
 * once the transaction is committed.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/limits.h"
#include "lineage/record.h"
#include "run/admit.h"
#include "run/chore.h"
#include "run/door.h"
#include "run/engine.h"
#include "run/modelcar.h"
#include "run/kube.h"
#include "run/spawner.h"
#include "store/tree.h"

#define EXIT_TASK_MS (10 * 60 * 1000)

static void add_env(struct arena *a, struct attempt *at, const char *kv)
{
    size_t key = strcspn(kv, "=") + 1;

    for (size_t i = 0; i < at->n_env; i++)
        if (strncmp(at->env[i], kv, key) == 0) {
            at->env[i] = arena_strdup(a, kv);
            return;
        }
    at->env[at->n_env++] = arena_strdup(a, kv);
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
    struct arena *a = &j->a;

    at->env = arena_alloc(a, (img->n_env + j->plan.n_env + en->o.n_env + 12) * sizeof(*at->env));
    for (size_t i = 0; i < img->n_env; i++)
        add_env(a, at, img->env[i]);
    for (size_t i = 0; i < j->plan.n_env; i++)
        add_env(a, at, j->plan.env[i]);
    for (size_t i = 0; i < en->o.n_env; i++)
        add_env(a, at, en->o.env[i]);
    if (!env_of(at, "PATH"))
        add_env(a, at, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    add_env(a, at, arena_printf(a, "KFP_POD_NAME=%s-%.*s", en->name, STR_ARG(j->t->def->key)));
    add_env(a, at, arena_printf(a, "KFP_POD_UID=%s", j->t->uuid));
    add_env(a, at, arena_printf(a, "KFP_RETRY_INDEX=%u", j->attempts - 1));
    add_env(a, at, "DUGOUT_CHECKPOINT_DIR=/run/dugout/checkpoint");
    if (j->shim) {
        const char *had = env_of(at, "PYTHONPATH");
        add_env(a, at, had && *had ? arena_printf(a, "PYTHONPATH=" SHIM_MOUNT ":%s", had)
                                    : "PYTHONPATH=" SHIM_MOUNT);
    }
}

static void add_mount(struct arena *a, struct attempt *at, const char *src, const char *dst,
                      bool rw)
{
    for (size_t i = 0; i < at->n_mounts; i++)
        if (strcmp(at->mounts[i].dst, dst) == 0)
            return; /* the same artifact on two inputs */
    at->mounts = arena_grow(a, at->mounts, &at->n_mounts, sizeof(*at->mounts));
    at->mounts[at->n_mounts - 1] = (struct attempt_mount){.src = src, .dst = dst, .rw = rw};
}

static int mount_inputs(struct engine *en, struct job *j, struct attempt *at, struct err *e)
{
    const struct task *t = j->t;

    for (size_t i = 0; i < t->in.n_artifacts; i++)
        for (size_t k = 0; k < t->in.artifacts[i].n_items; k++) {
            const struct artifact *f = &t->in.artifacts[i].items[k];
            struct str dst = exec_artifact_path(&j->a, f);
            char src[LIMIT_PATH_BYTES];
            struct attempt_input *in;

            at->inputs = arena_grow(&j->a, at->inputs, &at->n_inputs, sizeof(*at->inputs));
            in = &at->inputs[at->n_inputs - 1];
            *in = (struct attempt_input){f->uri, f->kind, f->digest, f->size_bytes, f->n_files};
            if (modelcar_is(f)) {
                const char *models;
                if (modelcar_path(en, &j->a, f, &models, e) < 0)
                    return err_at(e, "input %.*s", STR_ARG(t->in.artifacts[i].name));
                add_mount(&j->a, at, models, arena_strndup(&j->a, dst.ptr, dst.len), false);
                continue;
            }
            if (exec_in_workspace(f) || str_eqz(f->kind, "none") || !dst.len || dst.ptr[0] != '/')
                continue; /* metadata only, or a URI that has no path */
            if (str_eqz(f->kind, "dir")
                    ? tree_checkout_path(en->env->store, f->digest.ptr, src, sizeof src, e) < 0
                    : blob_path(en->env->store, f->digest.ptr, src, sizeof src, e) < 0)
                return err_at(e, "input %.*s", STR_ARG(t->in.artifacts[i].name));
            add_mount(&j->a, at, arena_strdup(&j->a, src), arena_strndup(&j->a, dst.ptr, dst.len),
                      false);
        }
    return 0;
}

static void fill_argv(struct job *j, struct attempt *at)
{
    const struct image *img = &j->image->image;
    size_t n = 0;

    if (j->plan.n_argv > j->skip_words) {
        at->argv = j->plan.argv + j->skip_words;
        at->n_argv = j->plan.n_argv - j->skip_words;
        return;
    }
    at->argv = arena_alloc(&j->a, (img->n_entrypoint + img->n_cmd + 1) * sizeof(*at->argv));
    for (size_t i = 0; i < img->n_entrypoint; i++)
        at->argv[n++] = arena_strdup(&j->a, img->entrypoint[i]);
    for (size_t i = 0; i < img->n_cmd; i++)
        at->argv[n++] = arena_strdup(&j->a, img->cmd[i]);
    at->n_argv = n;
}

static int signal_number(const char *name)
{
    static const struct {
        const char *name;
        int number;
    } known[] = {{"HUP", SIGHUP},   {"INT", SIGINT},   {"QUIT", SIGQUIT}, {"KILL", SIGKILL},
                 {"USR1", SIGUSR1}, {"USR2", SIGUSR2}, {"TERM", SIGTERM}, {"WINCH", SIGWINCH}};
    long n = strtol(name, NULL, 10);

    if (strncmp(name, "SIG", 3) == 0)
        name += 3;
    for (size_t i = 0; i < N_ELEMS(known); i++)
        if (strcmp(name, known[i].name) == 0)
            return known[i].number;
    if (strncmp(name, "RTMIN+", 6) == 0) {
        n = strtol(name + 6, NULL, 10);
        n = n >= 0 && n < 65 ? SIGRTMIN + n : 0;
    }
    return n > 0 && n < 65 ? (int)n : SIGTERM;
}

static void fill_outputs(struct job *j, struct attempt *at)
{
    const struct io_defs *defs = &j->t->def->component->out;

    at->params = arena_alloc(&j->a, (defs->n_params + 1) * sizeof(*at->params));
    for (size_t i = 0; i < defs->n_params; i++)
        at->params[at->n_params++] =
            (struct attempt_output){.name = defs->params[i].name,
                                    .param_type = defs->params[i].type,
                                    .path = j->plan.params[i].path};
    at->artifacts = arena_alloc(&j->a, (defs->n_artifacts + 1) * sizeof(*at->artifacts));
    for (size_t i = 0; i < defs->n_artifacts; i++)
        at->artifacts[at->n_artifacts++] =
            (struct attempt_output){.name = defs->artifacts[i].name,
                                    .type = defs->artifacts[i].schema_title,
                                    .type_version = defs->artifacts[i].schema_version,
                                    .uri = j->plan.artifacts[i].uri,
                                    .path = j->plan.artifacts[i].path,
                                    .metadata = defs->artifacts[i].metadata};
}

/* An exit task runs after the run's time-out, too, and must end some day. */
static int64_t deadline_of(const struct engine *en, const struct task *t)
{
    int64_t now = clock_unix_ms();

    if (!en->deadline_unix_ms || !task_outlives_stop(t))
        return en->deadline_unix_ms;
    return (now > en->deadline_unix_ms ? now : en->deadline_unix_ms) + EXIT_TASK_MS;
}

static int fill_box(struct engine *en, struct job *j, struct err *e)
{
    struct run_task_opts own = run_task_opts_in(&j->a, &en->o, j->t->def->key, j->t->path);
    const struct image *img = &j->image->image;
    struct attempt *at = j->at;
    const char *checkpoint = arena_printf(&j->a, "%s/runs/%s/%lld.checkpoint", en->env->home, en->id,
                                          (long long)j->row);

    *at = (struct attempt){
        .run_id = str_of(en->id),
        .task_path = j->t->path,
        .task_key = j->t->def->key,
        .task_id = j->row,
        .number = j->attempts,
        .image_hex = str_of(j->image->hex),
        .cwd = str_of(img->workdir[0] ? img->workdir : "/"),
        .user = str_of(img->user),
        .hostname = str_of(arena_strndup(&j->a, j->t->def->key.ptr,
                                         j->t->def->key.len < 63 ? j->t->def->key.len : 63)),
        .stop_signal = img->stop_signal[0] ? signal_number(img->stop_signal) : SIGTERM,
        .network_host = own.network_host,
        .memory_bytes =
            j->res.memory_limit_bytes ? j->res.memory_limit_bytes : en->o.memory_bytes,
        .cpu_millis = j->res.cpu_limit_millis ? j->res.cpu_limit_millis : en->o.cpu_millis,
        .cpu_share_millis = job_cpu_millis(j),
        .pids_max = en->o.pids_max,
        .deadline_unix_ms = deadline_of(en, j->t),
        .log_max_bytes = en->o.log_max_bytes,
        .disk_bytes = en->o.disk_bytes,
        .shm_bytes = en->o.shm_bytes,
        .wall_ms = en->o.task_timeout_ms,
        .grace_ms = en->o.grace_ms,
        .home = str_of(en->env->home),
        .scratch = str_of(en->scratch ? en->scratch : ""),
        .task_root_path = j->plan.task_root_path,
        .output_file = j->plan.output_file,
        .cache_key = j->cacheable ? str_of(j->key) : NO_TEXT,
        .max_retries = task_retry(en, j->t).max_retries + j->attempts_before,
        .host_failures = j->host_failures,
        .host_retries = en->o.host_retries,
    };
    if (lowers_fill(en, j, at, e) < 0)
        return -1;
    fill_argv(j, at);
    if (!at->n_argv)
        return err_set(e, ERR_INPUT,
                       "neither the component nor image %.*s says what to run",
                       STR_ARG(j->plan.image));
    fill_env(en, j, at);
    fill_outputs(j, at);
    gpus_fill(en, j, at);
    if (door_make(&j->a, checkpoint, &checkpoint, e) < 0)
        return -1;
    add_mount(&j->a, at, checkpoint, "/run/dugout/checkpoint", true);
    if (j->shim)
        add_mount(&j->a, at, j->image->facts.shim_dir.ptr, SHIM_MOUNT, false);
    for (size_t i = 0; i < en->o.n_mounts; i++)
        add_mount(&j->a, at, en->o.mounts[i].src, en->o.mounts[i].dst, en->o.mounts[i].rw);
    for (size_t i = 0; i < own.n_mounts; i++)
        add_mount(&j->a, at, own.mounts[i].src, own.mounts[i].dst, own.mounts[i].rw);
    at->shares = at->network_host || en->o.n_mounts || own.n_mounts;
    if (kube_fill(en, j, at, e) < 0)
        return -1;
    run_task_limits(&own, at);
    return mount_inputs(en, j, at, e);
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

uint64_t job_memory_bytes(const struct engine *en, const struct job *j)
{
    if (j->res.memory_request_bytes)
        return j->res.memory_request_bytes;
    return j->res.memory_limit_bytes ? j->res.memory_limit_bytes : en->o.memory_bytes;
}

uint32_t job_cpu_millis(const struct job *j)
{
    return j->res.cpu_request_millis ? j->res.cpu_request_millis : j->res.cpu_limit_millis;
}

/* what this task alone could see beside the record; record_external() has the run's */
static int record_own_external(struct engine *en, struct job *j, struct err *e)
{
    struct run_task_opts own = run_task_opts_in(&j->a, &en->o, j->t->def->key, j->t->path);

    if (j->attempts > 1)
        return 0;
    for (size_t i = 0; i < own.n_mounts; i++) {
        struct db_external x = {.run = en->row,
                                .task = j->row,
                                .path = str_of(own.mounts[i].src),
                                .target = str_of(own.mounts[i].dst),
                                .read_only = !own.mounts[i].rw,
                                .what = STR("mount")};
        if (db_external_put(en->env->db, &x, e) < 0)
            return -1;
    }
    if (own.network_host && !en->o.network_host) {
        struct db_external x = {
            .run = en->row, .task = j->row, .path = STR("network"), .what = STR("network")};
        return db_external_put(en->env->db, &x, e);
    }
    return 0;
}

static int record_start(struct engine *en, struct job *j, struct err *e)
{
    AUTO_BUF struct buf ingredients = {0};
    struct db *d = en->env->db;
    char host[256];
    int64_t now = clock_unix_ms();
    struct db_task_start s = {.started_unix_ms = now,
                              .cache_key_hex = str_of(j->key),
                              .image_hex = str_of(j->image ? j->image->hex : ""),
                              .uuid = str_of(j->t->uuid)};
    struct db_attempt_new n = {.task = j->row,
                               .number = j->attempts,
                               .started_unix_ms = now,
                               .dir = str_of(arena_printf(&j->a, "runs/%s", j->rel)),
                               .image_hex = str_of(j->image ? j->image->hex : "")};
    bool won;

    who_host(host);
    n.host = str_of(host);
    n.gpus_json = gpus_json(j);
    buf_init(&ingredients, 0);
    task_ingredients(en, j, &ingredients);
    s.cache_text = (struct str){buf_str(&ingredients), ingredients.len};
    if (db_task_start(d, j->row, &s, &won, e) < 0 || db_attempt_start(d, &n, e) < 0 ||
        kube_record_labels(en, j, e) < 0 || kube_record_seen(en, j, e) < 0)
        return -1;
    return record_own_external(en, j, e) < 0 ? -1 : task_put_inputs(en, j->t, e);
}

static int must_wait(struct job *j, enum wait_for what)
{
    j->wait = what;
    return 0;
}

int task_launch(struct engine *en, struct task *t, struct err *e)
{
    struct job *j = t->user;
    enum wait_for what = WAIT_MEMORY;
    uint32_t cpu = job_cpu_millis(j);
    struct err why = {0};
    int rc;

    if (cpu && en->running && en->cpu_millis_used + cpu > en->cpu_millis_max)
        return must_wait(j, WAIT_CPU);
    if (gpus_must_wait(en, j))
        return must_wait(j, WAIT_GPU);
    if (engine_has_room(en, &why) < 0)
        return task_fail(en, t, &why, e) < 0 ? -1 : 1;
    j->attempts++;
    if (make_attempt_dir(en, j, &why) < 0)
        return task_fail(en, t, &why, e) < 0 ? -1 : 1;
    rc = admit_take(en->home_fd, j->rel, job_memory_bytes(en, j), &why);
    if (rc == 1 && (rc = gpus_take(en, j, &why)) == 0) {
        admit_give(en->home_fd, j->rel);
        what = WAIT_GPU;
    }
    if (rc == 0) { /* other attempts hold it now */
        j->attempts--;
        en->blocked_by_memory = true;
        return must_wait(j, what);
    }
    if (rc == 1) {
        j->at = arena_alloc(&j->a, sizeof *j->at);
        rc = j->work.kind == WORK_BOX ? fill_box(en, j, &why) : chore_fill(en, j);
    }
    if (rc < 0 || attempt_write(j->dir_fd, j->at, &why) < 0) {
        admit_give(en->home_fd, j->rel);
        gpus_drop(en, j);
        return task_fail(en, t, &why, e) < 0 ? -1 : 1;
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
    const int *fds;
    size_t n_fds;
    pid_t pid;

    j->spawn = false;
    fds = gpus_fds(j, &n_fds);
    if (spawner_run(en->env->spawner, dir, fds, n_fds, &j->pidfd, &pid, e) < 0)
        return -1;
    gpus_handed(j);
    return job_watch(j, e);
}
