/* SPDX-License-Identifier: Apache-2.0 */
/* taskopts.c - settings for single tasks, from flags and from the config
 *
 *   --network fetch=host -v train=/data:/data --retries train=5 --memory train=8Gi
 *   --cpus train=4 --disk train=50Gi --shm-size train=2Gi --task-timeout train=6h
 *
 *   tasks:
 *     train: {volumes: ["/data:/data"], network: none, retries: 5, memory: 8Gi, cpus: 4,
 *             disk: 50Gi, shm: 2Gi, task_timeout: 6h}
 *
 * The config's come first, so that a flag wins over them. A flag that names a task
 * which the pipeline does not have is a mistake; the config may know tasks of other
 * pipelines.
 */
#include "base/clock.h"
#include "base/nearest.h"
#include "cli/cli.h"
#include "spec/tree.h"

#define RETRIES_MAX 1000

static struct run_task_opts *new_setting(struct cli *c, struct run_opts *o,
                                         const char *task)
{
    struct run_task_opts *all = arena_alloc(&c->a, (o->n_tasks + 1) * sizeof *all);

    if (o->n_tasks)
        memcpy(all, o->tasks, o->n_tasks * sizeof *all);
    all[o->n_tasks] = (struct run_task_opts){.task = task};
    o->tasks = all;
    return &all[o->n_tasks++];
}

static int set_retries(struct run_task_opts *s, const char *value, struct err *e)
{
    char *end;
    unsigned long v = strtoul(value, &end, 10);

    if (value[0] < '0' || value[0] > '9' || *end)
        return err_set(e, ERR_INPUT, "\"%.40s\" is no whole number", value);
    s->has_retries = true;
    s->retries = (uint32_t)(v > RETRIES_MAX ? RETRIES_MAX : v);
    return 0;
}

/* one setting by the name of its flag */
static int set(struct cli *c, struct run_task_opts *s, const char *what,
               const char *value, struct err *e)
{
    struct run_mount *m;

    if (strcmp(what, "network") == 0) {
        if (strcmp(value, "host") != 0 && strcmp(value, "none") != 0)
            return err_set(e, ERR_INPUT, "network is none or host, not \"%.40s\"",
                           value);
        s->has_network = true;
        s->network_host = strcmp(value, "host") == 0;
        return 0;
    }
    if (strcmp(what, "retries") == 0)
        return set_retries(s, value, e);
    if (strcmp(what, "memory") == 0)
        return size_parse(str_of(value), &s->memory_bytes, e);
    if (strcmp(what, "disk") == 0)
        return size_parse(str_of(value), &s->disk_bytes, e);
    if (strcmp(what, "shm-size") == 0)
        return size_parse(str_of(value), &s->shm_bytes, e);
    if (strcmp(what, "cpus") == 0)
        return cpus_parse(value, &s->cpu_millis, e);
    if (strcmp(what, "task-timeout") == 0)
        return clock_parse_duration(str_of(value), &s->task_timeout_ms, e);
    must(strcmp(what, "volume") == 0);
    m = arena_alloc(&c->a, (s->n_mounts + 1) * sizeof *m);
    if (s->n_mounts)
        memcpy(m, s->mounts, s->n_mounts * sizeof *m);
    s->mounts = m;
    return cli_mount(c, value, &m[s->n_mounts++], e);
}

int cli_limits(struct cli *c, struct run_opts *o, struct err *e)
{
    if (opt_size(c, "memory", &o->memory_bytes, e) < 0 ||
        opt_cpus(c, "cpus", &o->cpu_millis, e) < 0 ||
        opt_size(c, "disk", &o->disk_bytes, e) < 0 ||
        opt_size(c, "shm-size", &o->shm_bytes, e) < 0)
        return -1;
    return opt_duration(c, "task-timeout", &o->task_timeout_ms, e);
}

int cli_task_opts(struct cli *c, struct run_opts *o, struct err *e)
{
    const struct opt_value *v;
    size_t at = 0;

    while ((v = opt_for_task(c, &at))) {
        struct run_task_opts *s = new_setting(c, o, v->task);

        s->must_exist = true;
        if (set(c, s, v->opt->name, v->value, e) < 0)
            return err_at(e, "--%s %.80s=", v->opt->name, v->task);
    }
    return 0;
}

static int bad(struct str file, const struct node *n, struct err *e, const char *what)
{
    return err_set(e, ERR_INPUT, "%.*s:%u:%u: %s", STR_ARG(file), n->pos.line,
                   n->pos.col, what);
}

static int set_member(struct cli *c, struct str file, struct run_task_opts *s,
                      const struct member *m, struct err *e)
{
    static const char *const names[] = {"volumes", "network", "retries", "memory",
                                        "cpus",    "disk",    "shm",     "task_timeout"};
    static const char *const flags[] = {"volume", "network", "retries",  "memory",
                                        "cpus",   "disk",    "shm-size", "task-timeout"};
    const struct node *n = m->value;
    size_t i = 0;

    while (i < N_ELEMS(names) && !str_eqz(m->key, names[i]))
        i++;
    if (i == N_ELEMS(names)) {
        const char *near = nearest(m->key, names, N_ELEMS(names));
        return err_set(
            e, ERR_INPUT, "%.*s:%u:%u: no setting \"%.40s\" of a task (%s%s)",
            STR_ARG(file), m->key_pos.line, m->key_pos.col, m->key.ptr,
            near ? "did you mean "
                 : "volumes, network, retries, memory, cpus, disk, shm and task_timeout are known",
            near ? near : "");
    }
    if (i > 0 ? n->kind != NODE_SCALAR : n->kind != NODE_LIST)
        return bad(file, n, e,
                   i > 0 ? "want one value here" : "want a list of SRC:DST[:rw] here");
    for (size_t k = 0; k < (i ? 1 : n->n); k++) {
        const struct node *one = i ? n : n->members[k].value;
        if (one->kind != NODE_SCALAR)
            return bad(file, one, e, "want SRC:DST[:rw] here");
        if (set(c, s, flags[i], one->text.ptr, e) < 0)
            return err_at(e, "%.*s:%u", STR_ARG(file), one->pos.line);
    }
    return 0;
}

int cli_task_config(struct cli *c, struct str file, const struct node *tasks,
                    struct err *e)
{
    if (tasks->kind != NODE_MAP)
        return bad(file, tasks, e, "want NAME: {...} for each task here");
    for (size_t i = 0; i < tasks->n; i++) {
        const struct node *n = tasks->members[i].value;
        struct run_task_opts *s =
            new_setting(c, &c->cfg.run, arena_strdup(&c->a, tasks->members[i].key.ptr));

        if (n->kind != NODE_MAP)
            return bad(file, n, e, "want settings such as {retries: 3} here");
        for (size_t k = 0; k < n->n; k++)
            if (set_member(c, file, s, &n->members[k], e) < 0)
                return -1;
    }
    return 0;
}
