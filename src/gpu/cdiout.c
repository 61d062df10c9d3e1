/* SPDX-License-Identifier: Apache-2.0 */
/* cdiout.c - the GPUs of one vendor as a CDI file, for other runtimes and for ourselves
 *
 * What a box would get is written down: nodes of a card with its device, all the rest
 * for every container with one. There are no hooks in it. A link to a library is
 * written as one more mount of the file, and the linker finds the directory by
 * LD_LIBRARY_PATH, so a runtime has nothing to run.
 */
#include <string.h>

#include "base/json.h"
#include "gpu/cdi.h"
#include "gpu/inside.h"

static const char *const kinds[GPU_VENDORS] = {
    [GPU_NVIDIA] = "nvidia.com/gpu",
    [GPU_AMD] = "amd.com/gpu",
    [GPU_INTEL] = "intel.com/gpu",
    [GPU_TEGRA] = "nvidia.com/gpu",
};

static void node_json(struct jw *w, const struct box_device *d)
{
    jw_obj(w);
    jw_kstr(w, "path", d->path);
    if (strcmp(d->src, d->path) != 0)
        jw_kstr(w, "hostPath", d->src);
    jw_kstr(w, "type", "c");
    jw_ki64(w, "major", d->major);
    jw_ki64(w, "minor", d->minor);
    jw_kstr(w, "permissions", "rw");
    jw_end_obj(w);
}

static void mount_json(struct jw *w, const char *src, const char *dst, bool rw)
{
    jw_obj(w);
    jw_kstr(w, "hostPath", src);
    jw_kstr(w, "containerPath", dst);
    jw_key(w, "options");
    jw_arr(w);
    jw_strz(w, rw ? "rw" : "ro");
    jw_strz(w, "nosuid");
    jw_strz(w, "nodev");
    jw_strz(w, "bind");
    jw_end_arr(w);
    jw_end_obj(w);
}

/* the file that a link of the grant ends at; NULL when that is none of its mounts */
static const struct box_mount *end_of(const struct box_extras *x,
                                      const struct box_link *l)
{
    const char *dir = strrchr(l->path, '/');
    size_t n = (size_t)(dir - l->path) + 1;
    const char *name = l->target;

    for (int hop = 0; hop < 4; hop++) {
        for (size_t i = 0; i < x->n_mounts; i++)
            if (strncmp(x->mounts[i].dst, l->path, n) == 0 &&
                strcmp(x->mounts[i].dst + n, name) == 0)
                return &x->mounts[i];
        for (size_t i = 0; i < x->n_links; i++)
            if (strncmp(x->links[i].path, l->path, n) == 0 &&
                strcmp(x->links[i].path + n, name) == 0)
                name = x->links[i].target;
    }
    return NULL;
}

static bool of_a_card(const struct gpu_set *s, enum gpu_vendor v, const char *path)
{
    for (size_t i = 0; i < s->n; i++)
        for (size_t k = 0; s->gpus[i].vendor == v && k < s->gpus[i].n_nodes; k++)
            if (strcmp(s->gpus[i].nodes[k].path, path) == 0)
                return true;
    return false;
}

static void common_json(struct jw *w, const struct gpu_set *s, enum gpu_vendor v,
                        const struct grant *g)
{
    jw_obj(w);
    jw_key(w, "env");
    jw_arr(w);
    for (size_t i = 0; i < g->n_env; i++)
        jw_strz(w, g->env[i]);
    jw_end_arr(w);
    jw_key(w, "deviceNodes");
    jw_arr(w);
    for (size_t i = 0; i < g->x.n_devices; i++)
        if (!of_a_card(s, v, g->x.devices[i].path))
            node_json(w, &g->x.devices[i]);
    jw_end_arr(w);
    jw_key(w, "mounts");
    jw_arr(w);
    for (size_t i = 0; i < g->x.n_mounts; i++)
        mount_json(w, g->x.mounts[i].src, g->x.mounts[i].dst, g->x.mounts[i].rw);
    for (size_t i = 0; i < g->x.n_links; i++) {
        const struct box_mount *m = end_of(&g->x, &g->x.links[i]);
        if (m)
            mount_json(w, m->src, g->x.links[i].path, false);
    }
    jw_end_arr(w);
    jw_end_obj(w);
}

static void device_json(struct jw *w, const struct gpu_set *s, const struct gpu *g)
{
    jw_obj(w);
    jw_key(w, "name");
    jw_strz(w, g->gi >= 0 ? g->name : g->id);
    jw_key(w, "containerEdits");
    jw_obj(w);
    jw_key(w, "deviceNodes");
    jw_arr(w);
    for (size_t i = 0; i < g->n_nodes; i++) {
        AUTO_FREE char *src = xasprintf("%s%s", s->root, g->nodes[i].path);
        struct box_device d = {g->nodes[i].path, src, g->nodes[i].major,
                               g->nodes[i].minor};
        node_json(w, &d);
    }
    jw_end_arr(w);
    jw_end_obj(w);
    jw_end_obj(w);
}

int cdi_write(struct gpu_set *s, enum gpu_vendor v, struct buf *out, struct err *e)
{
    struct grant g = {0};
    struct granting work = {&s->a, s, &g};
    struct gpu **gpus = arena_alloc(&s->a, (s->n + 1) * sizeof(struct gpu *));
    size_t n = 0;
    struct jw w;

    for (size_t i = 0; i < s->n; i++)
        if (s->gpus[i].vendor == v && !s->gpus[i].unusable[0])
            gpus[n++] = &s->gpus[i];
    if (!n || !kinds[v])
        return err_set(e, ERR_MISSING, "no usable GPU of %s was found",
                       gpu_vendor_name(v));
    if (grant_found(&work, gpus, n, e) < 0)
        return -1;
    jw_init(&w, out);
    jw_obj(&w);
    jw_kstr(&w, "cdiVersion", "0.5.0");
    jw_kstr(&w, "kind", kinds[v]);
    jw_key(&w, "devices");
    jw_arr(&w);
    for (size_t i = 0; i < n; i++)
        device_json(&w, s, gpus[i]);
    jw_end_arr(&w);
    jw_key(&w, "containerEdits");
    common_json(&w, s, v, &g);
    jw_end_obj(&w);
    return 0;
}
