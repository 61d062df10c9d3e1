/* SPDX-License-Identifier: Apache-2.0 */
/* tegra.c - the GPU on the chip of a Jetson board
 *
 * It is no PCI device and has no entry below /proc/driver/nvidia; its nodes carry names
 * of the chip's units. The board's software brings lists of what a container needs, one
 * "KIND, PATH" a line with KIND dev, lib, dir or sym; without them the nodes that all
 * boards have are taken.
 */
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "gpu/inside.h"

#define LISTS "/etc/nvidia-container-runtime/host-files-for-container.d"
#define NODES_MAX 256

static bool read_list(struct str text,
                      bool (*fn)(void *ctx, struct str kind, const char *path),
                      void *ctx)
{
    struct str line;

    while (next_line(&text, &line)) {
        const char *comma = memchr(line.ptr, ',', line.len);
        char path[LIMIT_PATH_BYTES];
        struct str kind, rest;
        if (!comma)
            continue;
        kind = str_trim((struct str){line.ptr, (size_t)(comma - line.ptr)});
        rest = str_trim(
            (struct str){comma + 1, line.len - (size_t)(comma + 1 - line.ptr)});
        if (rest.len >= sizeof path || rest.len < 2 || rest.ptr[0] != '/' ||
            memmem(rest.ptr, rest.len, "..", 2))
            continue;
        (void)snprintf(path, sizeof path, "%.*s", STR_ARG(rest));
        if (!fn(ctx, kind, path))
            return false;
    }
    return true;
}

void tegra_list(struct gpu_set *s,
                bool (*fn)(void *ctx, struct str kind, const char *path), void *ctx)
{
    size_t n;
    char **files = root_names(s, LISTS, &n);

    for (size_t i = 0; i < n; i++) {
        AUTO_BUF struct buf b = {0};
        char path[LIMIT_PATH_BYTES];
        if (!str_ends(str_of(files[i]), ".csv"))
            continue;
        buf_init(&b, LIMIT_GPU_TEXT);
        (void)snprintf(path, sizeof path, LISTS "/%s", files[i]);
        if (root_file(s, path, &b) &&
            !read_list((struct str){buf_str(&b), b.len}, fn, ctx))
            return;
    }
}

struct nodes {
    struct gpu_set *s;
    struct gpu *g;
};

static bool add_node(void *ctx, struct str kind, const char *path)
{
    struct nodes *x = ctx;

    if (str_eqz(kind, "dev") && strncmp(path, "/dev/", 5) == 0)
        (void)node_found(x->s, &x->g->nodes, &x->g->n_nodes, path);
    return x->g->n_nodes < NODES_MAX;
}

int find_tegra(struct gpu_set *s, struct err *e)
{
    static const char *const prefixes[] = {"nvhost-", "nvmap", "nvgpu", "nvsciipc"};
    struct nodes x = {.s = s};
    char path[128];
    size_t n;
    char **names;

    (void)e;
    if (!root_has(s, "/dev/nvmap") || root_has(s, "/proc/driver/nvidia/gpus"))
        return 0;
    x.g = gpu_add(s, GPU_TEGRA);
    (void)snprintf(x.g->id, sizeof x.g->id, "tegra");
    (void)snprintf(x.g->name, sizeof x.g->name, "0");
    if (!root_text(s, "/proc/device-tree/model", x.g->model, sizeof x.g->model))
        (void)snprintf(x.g->model, sizeof x.g->model, "NVIDIA Tegra");
    tegra_list(s, add_node, &x);
    names = root_names(s, "/dev", &n);
    for (size_t i = 0; !x.g->n_nodes && i < n; i++)
        for (size_t k = 0; k < N_ELEMS(prefixes); k++) {
            (void)snprintf(path, sizeof path, "/dev/%.64s", names[i]);
            if (strncmp(names[i], prefixes[k], strlen(prefixes[k])) == 0)
                (void)node_found(s, &x.g->nodes, &x.g->n_nodes, path);
        }
    if (!x.g->n_nodes)
        gpu_unusable(x.g, "its nodes are missing in /dev");
    return 0;
}
