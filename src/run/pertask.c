/* SPDX-License-Identifier: Apache-2.0 */
/* pertask.c - settings for single tasks: -v TASK=SRC:DST, --retries TASK=N and the like
 *
 * A setting names a task by its key, which holds for every iteration of a loop, or by
 * its whole path. Of several that fit the later one wins, but mounts add up. What the
 * pipeline says gives way: these are written by whoever knows the box.
 */
#include "base/json.h"
#include "base/nearest.h"
#include "run/engine.h"
#include "spec/kube.h"

bool run_task_fits(const struct run_task_opts *s, struct str key, struct str path)
{
    return str_eqz(key, s->task) || str_eqz(path, s->task);
}

struct run_task_opts run_task_opts_in(struct arena *a, const struct run_opts *o,
                                      struct str key, struct str path)
{
    struct run_task_opts all = {.network_host = o->network_host};
    struct run_mount *mounts = NULL;

    for (size_t i = 0; i < o->n_tasks; i++) {
        const struct run_task_opts *s = &o->tasks[i];

        if (!run_task_fits(s, key, path))
            continue;
        if (s->has_network)
            all.network_host = s->network_host;
        if (s->has_retries)
            all.retries = s->retries;
        all.has_retries |= s->has_retries;
        if (s->memory_bytes)
            all.memory_bytes = s->memory_bytes;
        if (s->cpu_millis)
            all.cpu_millis = s->cpu_millis;
        if (s->disk_bytes)
            all.disk_bytes = s->disk_bytes;
        if (s->shm_bytes)
            all.shm_bytes = s->shm_bytes;
        if (s->task_timeout_ms)
            all.task_timeout_ms = s->task_timeout_ms;
        for (size_t k = 0; k < s->n_mounts; k++) {
            mounts = arena_grow(a, mounts, &all.n_mounts, sizeof *mounts);
            mounts[all.n_mounts - 1] = s->mounts[k];
        }
    }
    all.mounts = mounts;
    return all;
}

void run_task_resources(const struct run_task_opts *own, struct exec_resources *res)
{
    if (own->memory_bytes) {
        res->memory_limit_bytes = own->memory_bytes;
        res->memory_request_bytes = 0; /* what the pipeline asked for goes with its limit */
    }
    if (own->cpu_millis) {
        res->cpu_limit_millis = own->cpu_millis;
        res->cpu_request_millis = 0;
    }
}

void run_task_limits(const struct run_task_opts *own, struct attempt *at)
{
    if (own->disk_bytes)
        at->disk_bytes = own->disk_bytes;
    if (own->shm_bytes)
        at->shm_bytes = own->shm_bytes;
    if (own->task_timeout_ms)
        at->wall_ms = own->task_timeout_ms;
}

static bool sees_secrets(const struct task_def *t)
{
    const struct kube *k = t->component->executor ? t->component->executor->kube : NULL;

    for (size_t i = 0; k && i < k->n_store_env; i++)
        if (k->store_env[i].store == KUBE_SECRET)
            return true;
    for (size_t i = 0; k && i < k->n_volumes; i++)
        if (k->volumes[i].kind == KUBE_VOLUME_SECRET)
            return true;
    return false;
}

const char *run_uncacheable(const struct run_opts *o, const struct task_def *t,
                            struct str path)
{
    AUTO_ARENA struct arena a = {0};
    struct run_task_opts own = run_task_opts_in(&a, o, t->key, path);

    if (!t->cache_enabled)
        return "the pipeline does not enable caching for it (enableCache in its "
               "cachingOptions)";
    if (sees_secrets(t))
        return "it sees a secret, of which nothing may stay behind, not even a hash";
    if (o->n_mounts || own.n_mounts)
        return "it sees paths of the host (-v), and what is there is not in its key";
    if (own.network_host)
        return "it sees the host's network";
    if (o->packages == PACKAGES_NETWORK)
        return "it may install packages from the network (--packages network)";
    return NULL;
}

struct retry_policy task_retry(const struct engine *en, const struct task *t)
{
    AUTO_ARENA struct arena a = {0};
    struct run_task_opts own = run_task_opts_in(&a, &en->o, t->def->key, t->path);
    struct retry_policy p = {.max_retries = en->o.retries, .backoff_factor = 2};

    for (const struct task *x = t; x && !p.set; x = x->scope->owner)
        if (x->def->retry.set)
            p = x->def->retry; /* of the task, else of the DAG around it */
    if (own.has_retries)
        p.max_retries = own.retries;
    return p;
}

int64_t task_backoff_ms(const struct retry_policy *p, uint32_t failures)
{
    double wait = (double)p->backoff_ms;

    for (uint32_t k = 1; k < failures && wait < 1e15; k++)
        wait *= p->backoff_factor > 0 ? p->backoff_factor : 2;
    if (p->backoff_max_ms && wait > (double)p->backoff_max_ms)
        return p->backoff_max_ms;
    return wait < 1e15 ? (int64_t)wait : INT64_MAX / 1000000;
}

/* ---- names
 * ---------------------------------------------------------------------------------- */

static bool in_dag(const struct dag *dag, const char *key, const char **names,
                   size_t max, size_t *n)
{
    for (size_t i = 0; i < dag->n_tasks; i++) {
        if (str_eqz(dag->tasks[i].key, key))
            return true;
        if (*n < max)
            names[(*n)++] = dag->tasks[i].key.ptr;
    }
    return false;
}

int run_task_known(const struct pipeline *p, const char *task, struct err *e)
{
    const char *names[512], *near;
    size_t n = 0;

    if (graph_def(p, str_of(task)) ||
        in_dag(p->root->dag, task, names, N_ELEMS(names), &n))
        return 0;
    for (size_t i = 0; i < p->n_components; i++)
        if (p->components[i]->dag &&
            in_dag(p->components[i]->dag, task, names, N_ELEMS(names), &n))
            return 0;
    near = nearest(str_of(task), names, n);
    return err_set(e, ERR_INPUT, "the pipeline has no task \"%.80s\"%s%.80s%s", task,
                   near ? ", did you mean \"" : "", near ? near : "", near ? "\"" : "");
}

/* ---- as JSON in the run's row
 * ------------------------------------------------------------------ */

void run_mounts_write(struct jw *w, const struct run_mount *m, size_t n)
{
    jw_arr(w);
    for (size_t i = 0; i < n; i++) {
        jw_obj(w);
        jw_kstr(w, "src", m[i].src);
        jw_kstr(w, "dst", m[i].dst);
        jw_kbool(w, "rw", m[i].rw);
        jw_end_obj(w);
    }
    jw_end_arr(w);
}

static int get_word(struct arena *a, json *from, const char *key, const char **out,
                    struct err *e)
{
    struct str s;

    if (json_cstr(from, key, &s, e) < 0)
        return -1;
    *out = arena_str(a, s).ptr;
    return 0;
}

int run_mounts_read_in(struct arena *a, json *from, const struct run_mount **out,
                       size_t *n, struct err *e)
{
    json *list = json_at(from, "mounts"), *item;
    struct run_mount *m;
    size_t i, max;

    m = arena_alloc(a, (yyjson_arr_size(list) + 1) * sizeof *m);
    yyjson_arr_foreach(list, i, max, item)
    {
        if (get_word(a, item, "src", &m[i].src, e) < 0 ||
            get_word(a, item, "dst", &m[i].dst, e) < 0 ||
            json_bool_opt(item, "rw", &m[i].rw, e) < 0)
            return err_at(e, "mounts.%zu", i);
    }
    *out = m;
    *n = yyjson_arr_size(list);
    return 0;
}

void run_tasks_write(struct jw *w, const struct run_opts *o)
{
    jw_arr(w);
    for (size_t i = 0; i < o->n_tasks; i++) {
        const struct run_task_opts *s = &o->tasks[i];
        const struct {
            const char *key;
            int64_t value;
        } limits[] = {{"memory_bytes", (int64_t)s->memory_bytes},
                      {"cpu_millis", s->cpu_millis},
                      {"disk_bytes", (int64_t)s->disk_bytes},
                      {"shm_bytes", (int64_t)s->shm_bytes},
                      {"task_timeout_ms", s->task_timeout_ms}};

        jw_obj(w);
        jw_kstr(w, "task", s->task);
        if (s->has_network)
            jw_kstr(w, "network", s->network_host ? "host" : "none");
        if (s->has_retries)
            jw_ki64(w, "retries", s->retries);
        for (size_t k = 0; k < N_ELEMS(limits); k++)
            if (limits[k].value)
                jw_ki64(w, limits[k].key, limits[k].value);
        jw_key(w, "mounts");
        run_mounts_write(w, s->mounts, s->n_mounts);
        jw_end_obj(w);
    }
    jw_end_arr(w);
}

int run_tasks_read_in(struct arena *a, json *from, struct run_opts *o, struct err *e)
{
    json *list = json_at(from, "tasks"), *item;
    struct run_task_opts *all = NULL;
    size_t i, max;

    o->n_tasks = yyjson_arr_size(list);
    if (o->n_tasks)
        all = arena_alloc(a, o->n_tasks * sizeof *all);
    yyjson_arr_foreach(list, i, max, item)
    {
        json *network = json_at(item, "network"), *retries = json_at(item, "retries");

        all[i] = (struct run_task_opts){
            .has_network = network != NULL,
            .network_host = str_eqz(json_as_str(network), "host"),
            .has_retries = retries != NULL,
            .retries = (uint32_t)yyjson_get_uint(retries),
            .memory_bytes = yyjson_get_uint(json_at(item, "memory_bytes")),
            .cpu_millis = (uint32_t)yyjson_get_uint(json_at(item, "cpu_millis")),
            .disk_bytes = yyjson_get_uint(json_at(item, "disk_bytes")),
            .shm_bytes = yyjson_get_uint(json_at(item, "shm_bytes")),
            .task_timeout_ms = yyjson_get_sint(json_at(item, "task_timeout_ms"))};
        if (get_word(a, item, "task", &all[i].task, e) < 0 ||
            run_mounts_read_in(a, item, &all[i].mounts, &all[i].n_mounts, e) < 0)
            return err_at(e, "tasks.%zu", i);
    }
    o->tasks = all;
    return 0;
}
