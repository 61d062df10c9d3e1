/* SPDX-License-Identifier: Apache-2.0 */
/* kubeinit.c - initContainers: what runs to its end before the task does
 *
 * They share the task's scratch volumes and nothing else. One with restartPolicy Always
 * is a side car, which lives beside the task and shares its network, too.
 */
#include "base/clock.h"
#include "spec/kuberead.h"

static bool is_scratch(const struct kube *k, struct str volume_name)
{
    for (size_t i = 0; i < k->n_volumes; i++) {
        if (k->volumes[i].volume_name.len &&
            str_eq(k->volumes[i].volume_name, volume_name))
            return true;
    }
    return false;
}

static int read_mounts(struct reader *r, const struct node *n, const struct kube *k,
                       struct kube_init *c, struct err *e)
{
    enum { VOLUME, PATH, N };
    static const char *const names[] = {"volumeName", "mountPath"};
    struct member *m;

    if (read_list(r, n, &m, &c->n_mounts, e) < 0)
        return -1;
    c->mounts = arena_alloc(r->a, c->n_mounts * sizeof(*c->mounts) + 1);
    for (size_t i = 0; i < c->n_mounts; i++) {
        struct kube_init_mount *v = &c->mounts[i];
        const struct node *f[N];

        v->volume_name = STR("");
        if (read_fields(r, m[i].value, names, N, f, e) < 0 ||
            read_str(r, f[VOLUME], &v->volume_name, e) < 0 ||
            kube_mount_path(r, m[i].value, f[PATH], &v->mount_path, e) < 0)
            return -1;
        if (!is_scratch(k, v->volume_name))
            return read_err(r, m[i].value, e,
                            "\"%.80s\" is no emptyDir or ephemeral volume of this task",
                            v->volume_name.ptr);
    }
    return 0;
}

/* {limits: {cpu, memory}, requests: ...}; what it asks for is less than the task does
 */
static int read_limits(struct reader *r, const struct node *n, struct kube_init *c,
                       struct err *e)
{
    enum { LIMITS, REQUESTS, N };
    static const char *const names[] = {"limits", "requests"};
    const struct node *f[N];
    uint64_t bytes;
    struct err why;

    if (read_fields(r, n, names, N, f, e) < 0 ||
        read_str(r, node_member(f[LIMITS], "cpu"), &c->cpu_limit, e) < 0 ||
        read_str(r, node_member(f[LIMITS], "memory"), &c->memory_limit, e) < 0)
        return -1;
    if (c->memory_limit.len && size_parse(c->memory_limit, &bytes, &why) < 0)
        return read_err(r, f[LIMITS], e, "memory: %s", why.text);
    return 0;
}

static int read_argv(struct reader *r, const struct node *command,
                     const struct node *args, struct kube_init *c, struct err *e)
{
    struct str *first, *rest;
    size_t n_first, n_rest;

    if (read_words(r, command, &first, &n_first, e) < 0 ||
        read_words(r, args, &rest, &n_rest, e) < 0)
        return -1;
    c->n_argv = n_first + n_rest;
    c->argv = arena_alloc(r->a, c->n_argv * sizeof(*c->argv) + 1);
    for (size_t i = 0; i < c->n_argv; i++)
        c->argv[i] = i < n_first ? first[i] : rest[i - n_first];
    return 0;
}

int kube_init(struct reader *r, const struct node *n, struct kube *k, struct err *e)
{
    enum { NAME, IMAGE, COMMAND, ARGS, ENV, MOUNTS, RESTART, RESOURCES, N };
    static const char *const names[] = {"name",          "image",    "command",
                                        "args",          "env",      "volumeMounts",
                                        "restartPolicy", "resources"};
    struct kube_init c = {.name = STR(""),
                          .image = STR(""),
                          .cpu_limit = STR(""),
                          .memory_limit = STR(""),
                          .pos = n->pos};
    struct str restart = STR("");
    const struct node *f[N];

    if (read_fields(r, n, names, N, f, e) < 0 || read_str(r, f[NAME], &c.name, e) < 0 ||
        read_word(r, f[IMAGE], &c.image, e) < 0 ||
        read_argv(r, f[COMMAND], f[ARGS], &c, e) < 0 ||
        read_env(r, f[ENV], &c.env, &c.n_env, e) < 0 ||
        read_mounts(r, f[MOUNTS], k, &c, e) < 0 ||
        read_str(r, f[RESTART], &restart, e) < 0 ||
        read_limits(r, f[RESOURCES], &c, e) < 0)
        return -1;
    if (!c.name.len || !c.image.len)
        return read_err(r, n, e, "an init container wants a name and an image");
    if (restart.len && !str_eqz(restart, "Always"))
        return read_err(r, f[RESTART], e,
                        "want Always, which makes it a side car, or nothing");
    c.side_car = restart.len > 0;
    k->inits = arena_grow(r->a, k->inits, &k->n_inits, sizeof(c));
    k->inits[k->n_inits - 1] = c;
    return 0;
}
