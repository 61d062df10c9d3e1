/* SPDX-License-Identifier: Apache-2.0 */
/* pci.c - AMD and Intel GPUs, and cards that nobody drives
 *
 *     /sys/bus/pci/devices/<pci>/vendor, class, numa_node     class 03xxxx: display
 *     /sys/bus/pci/devices/<pci>/drm/renderD<minor>   the node that computes,
 * 226:<minor> /sys/class/kfd/kfd/topology/nodes/<n>/properties AMD's compute devices,
 * which need /dev/kfd beside that node
 *
 * Their user space is part of the image, so nodes are all that a box needs. A card
 * whose driver is not loaded is listed as unusable: "there is no GPU" would be a
 * riddle.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "gpu/inside.h"

#define DEVICES "/sys/bus/pci/devices"
#define KFD_NODES "/sys/class/kfd/kfd/topology/nodes"

/* the minor of the device's render node, -1 when it has none */
static int render_minor(struct gpu_set *s, const char *pci)
{
    char dir[96], *end;
    size_t n;
    char **names;

    (void)snprintf(dir, sizeof dir, DEVICES "/%.16s/drm", pci);
    names = root_names(s, dir, &n);
    for (size_t i = 0; i < n; i++) {
        long v;
        if (strncmp(names[i], "renderD", 7) != 0)
            continue;
        v = strtol(names[i] + 7, &end, 10);
        if (!*end && v >= 128 && v < 1024)
            return (int)v;
    }
    return -1;
}

/* the compute device of that render node, as AMD's kfd counts them; false: it has none
 */
static bool kfd_properties(struct gpu_set *s, int minor, struct buf *out, char *name,
                           size_t size)
{
    char path[128], want[16];
    size_t n;
    char **nodes = root_names(s, KFD_NODES, &n);

    (void)snprintf(want, sizeof want, "%d", minor);
    for (size_t i = 0; i < n; i++) {
        struct str props;
        buf_reset(out);
        (void)snprintf(path, sizeof path, KFD_NODES "/%.16s/properties", nodes[i]);
        if (!root_file(s, path, out))
            continue;
        props = (struct str){buf_str(out), out->len};
        if (!str_eqz(text_field(props, "drm_render_minor"), want) ||
            str_eqz(text_field(props, "simd_count"), "0"))
            continue;
        (void)snprintf(path, sizeof path, KFD_NODES "/%.16s/name", nodes[i]);
        (void)root_text(s, path, name, size);
        return true;
    }
    return false;
}

/* Leases and drains go by ids, so two GPUs never share one. Where the kernel gives two
 * cards one number, the later stays with its PCI address. */
static void set_unique_id(const struct gpu_set *s, struct gpu *g, struct str number)
{
    char id[GPU_ID_BYTES];
    unsigned long long v = number.len < 21 ? strtoull(number.ptr, NULL, 10) : 0;

    if (!v)
        return;
    (void)snprintf(id, sizeof id, "GPU-%016llx", v);
    for (size_t i = 0; i < s->n; i++)
        if (strcmp(s->gpus[i].id, id) == 0)
            return;
    (void)snprintf(g->id, sizeof g->id, "%s", id);
}

static void read_amd(struct gpu_set *s, struct gpu *g, int minor)
{
    AUTO_BUF struct buf props = {0};
    char name[64] = "", path[96];
    int major = root_major(s, "kfd");

    buf_init(&props, LIMIT_GPU_TEXT);
    (void)snprintf(path, sizeof path, DEVICES "/%s/product_name", g->pci);
    if (minor < 0 || !kfd_properties(s, minor, &props, name, sizeof name) ||
        major < 0) {
        gpu_unusable(g, "the amdgpu driver offers no compute device (/dev/kfd) of it");
        return;
    }
    if (!root_text(s, path, g->model, sizeof g->model) || !g->model[0])
        (void)snprintf(g->model, sizeof g->model, "AMD %s", name);
    set_unique_id(s, g,
                  text_field((struct str){buf_str(&props), props.len}, "unique_id"));
    g->minor = (unsigned)minor;
    (void)node_add(s, &g->nodes, &g->n_nodes, (unsigned)major, 0, "/dev/kfd");
    (void)node_add(s, &g->nodes, &g->n_nodes, DRM_MAJOR, g->minor, "/dev/dri/renderD%d",
                   minor);
}

static void read_intel(struct gpu_set *s, struct gpu *g, int minor)
{
    char device[16], path[96];

    (void)snprintf(path, sizeof path, DEVICES "/%s/device", g->pci);
    (void)root_text(s, path, device, sizeof device);
    (void)snprintf(g->model, sizeof g->model, "Intel graphics %s", device);
    if (minor < 0) {
        gpu_unusable(g, "no driver (i915, xe) offers a render node of it");
        return;
    }
    g->minor = (unsigned)minor;
    (void)node_add(s, &g->nodes, &g->n_nodes, DRM_MAJOR, g->minor, "/dev/dri/renderD%d",
                   minor);
}

static bool is_known(const struct gpu_set *s, const char *pci)
{
    for (size_t i = 0; i < s->n; i++)
        if (strcmp(s->gpus[i].pci, pci) == 0)
            return true;
    return false;
}

static void add_card(struct gpu_set *s, enum gpu_vendor v, const char *pci)
{
    struct gpu *g = gpu_add(s, v);
    size_t place = 0;

    for (size_t i = 0; i + 1 < s->n; i++)
        place += s->gpus[i].vendor == v && s->gpus[i].gi < 0;
    (void)snprintf(g->pci, sizeof g->pci, "%s", pci);
    (void)snprintf(g->id, sizeof g->id, "%s", pci);
    (void)snprintf(g->name, sizeof g->name, "%zu", place);
    g->numa = root_numa(s, pci);
    switch (v) {
    case GPU_AMD:
        read_amd(s, g, render_minor(s, pci));
        break;
    case GPU_INTEL:
        read_intel(s, g, render_minor(s, pci));
        break;
    case GPU_NVIDIA:
        (void)snprintf(g->model, sizeof g->model, "NVIDIA");
        gpu_unusable(g, "the NVIDIA driver is not loaded for it");
        break;
    case GPU_TEGRA:
    case GPU_CDI:
    case GPU_VENDORS:
        break;
    }
}

/* "0000:3b:00.0", "10000:e1:00.0": an address is an id and must not look like a name */
static bool is_address(const char *z)
{
    static const char hex[] = "0123456789abcdef";
    size_t domain = strspn(z, hex);

    return strlen(z) <= 15 && domain >= 4 && z[domain] == ':' &&
           strspn(z + domain + 1, hex) == 2 && z[domain + 3] == ':' &&
           strspn(z + domain + 4, hex) == 2 && z[domain + 6] == '.' &&
           strspn(z + domain + 7, hex) == 1 && !z[domain + 8];
}

int find_pci(struct gpu_set *s, struct err *e)
{
    static const struct {
        const char *id;
        enum gpu_vendor vendor;
    } vendors[] = {{"0x10de", GPU_NVIDIA}, {"0x1002", GPU_AMD}, {"0x8086", GPU_INTEL}};
    size_t n;
    char **pci = root_names(s, DEVICES, &n);

    for (size_t v = 0; v < N_ELEMS(vendors); v++)
        for (size_t i = 0; i < n; i++) {
            char path[96], vendor[16], class[16];
            if (!is_address(pci[i]) || is_known(s, pci[i]))
                continue;
            (void)snprintf(path, sizeof path, DEVICES "/%.16s/vendor", pci[i]);
            if (!root_text(s, path, vendor, sizeof vendor) ||
                strcmp(vendor, vendors[v].id) != 0)
                continue;
            (void)snprintf(path, sizeof path, DEVICES "/%.16s/class", pci[i]);
            /* 0300 VGA, 0302 3D, 0380 other display: what AMD's accelerators say */
            if (!root_text(s, path, class, sizeof class) ||
                (strncmp(class, "0x0300", 6) != 0 && strncmp(class, "0x0302", 6) != 0 &&
                 strncmp(class, "0x0380", 6) != 0 && strncmp(class, "0x1200", 6) != 0))
                continue;
            if (vendors[v].vendor == GPU_INTEL && strncmp(class, "0x1200", 6) == 0)
                continue; /* an NPU is no GPU */
            if (s->n >= 1024)
                return err_set(e, ERR_LIMIT, "%s" DEVICES " lists over 1024 GPUs",
                               s->root);
            add_card(s, vendors[v].vendor, pci[i]);
        }
    return 0;
}
