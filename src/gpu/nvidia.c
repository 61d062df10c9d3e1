/* SPDX-License-Identifier: Apache-2.0 */
/* nvidia.c - NVIDIA cards and MIG instances, from what their driver shows in /proc
 *
 *     /proc/driver/nvidia/version      the driver's version
 *     .../nvidia/gpus/<pci>/information
 *                                      model, UUID, minor of /dev/nvidia<minor>
 *     .../nvidia/capabilities/gpu<minor>/mig/gi<G>/ci<C>/access
 *                                      an instance that exists
 *     .../nvidia-caps/mig-minors       "gpu0/gi1/ci0/access 31": minors of all
 *                                      nvidia-caps that there could be
 *     /proc/devices                    majors, all but 195 given out at load time
 *
 * The place of a card is its rank by PCI address, as NVML counts; its minor may be
 * another.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "gpu/inside.h"

#define NVIDIA_MAJOR 195
#define MINOR_CTL 255
#define GPUS "/proc/driver/nvidia/gpus"

/* the first word of the first line that looks like 535.104.05 */
static void parse_version(const char *text, char out[32])
{
    out[0] = 0;
    for (const char *p = text; *p && *p != '\n';) {
        size_t n = strcspn(p, " \t\n");
        size_t digits = strspn(p, "0123456789."), major = strspn(p, "0123456789");
        if (n && digits == n && major >= 2 && major < n - 1 && p[n - 1] != '.' &&
            n < 32) {
            (void)snprintf(out, 32, "%.*s", (int)n, p);
            return;
        }
        p += n;
        p += strspn(p, " \t");
    }
}

static void find_driver(struct gpu_set *s)
{
    char text[1024];

    if (root_text(s, "/proc/driver/nvidia/version", text, sizeof text))
        parse_version(text, s->nvidia_driver);
    if (!s->nvidia_driver[0] &&
        root_text(s, "/sys/module/nvidia/version", text, sizeof text))
        parse_version(text, s->nvidia_driver);
}

static void find_common(struct gpu_set *s)
{
    int uvm = root_major(s, "nvidia-uvm");

    (void)node_add(s, &s->nvidia_all, &s->n_nvidia_all, NVIDIA_MAJOR, MINOR_CTL,
                   "/dev/nvidiactl");
    if (uvm < 0)
        return;
    (void)node_add(s, &s->nvidia_all, &s->n_nvidia_all, (unsigned)uvm, 0,
                   "/dev/nvidia-uvm");
    (void)node_add(s, &s->nvidia_all, &s->n_nvidia_all, (unsigned)uvm, 1,
                   "/dev/nvidia-uvm-tools");
}

static void copy_field(struct str text, const char *key, char *out, size_t size)
{
    struct str v = text_field(text, key);

    (void)snprintf(out, size, "%.*s", STR_ARG(v));
}

/* ---- MIG ------------------------------------------------------------------------ */

/* the number after `prefix` when that is all of name; -1 otherwise */
static int number_after(const char *name, const char *prefix)
{
    size_t n = strlen(prefix);
    char *end;
    long v;

    if (strncmp(name, prefix, n) != 0 || name[n] < '0' || name[n] > '9')
        return -1;
    v = strtol(name + n, &end, 10);
    return *end || v > 100000 ? -1 : (int)v;
}

static int cap_minor(struct str minors, const char *what)
{
    struct str v = text_field(minors, what);
    int n = 0;

    for (size_t i = 0; i < v.len; i++) {
        if (v.ptr[i] < '0' || v.ptr[i] > '9' || n > 1000000)
            return -1;
        n = n * 10 + v.ptr[i] - '0';
    }
    return v.len ? n : -1;
}

static void add_instance(struct gpu_set *s, const struct gpu *card, int gi, int ci,
                         struct str minors)
{
    struct gpu *g = gpu_add(s, GPU_NVIDIA);
    int major = root_major(s, "nvidia-caps"), m_gi, m_ci;
    char what[64];

    (void)snprintf(g->id, sizeof g->id, "MIG-%.60s/%d/%d", card->id, gi, ci);
    (void)snprintf(g->name, sizeof g->name, "%.60s:%d:%d", card->name, gi, ci);
    (void)snprintf(g->model, sizeof g->model, "%.100s MIG %d/%d", card->model, gi, ci);
    (void)snprintf(g->pci, sizeof g->pci, "%s", card->pci);
    g->numa = card->numa;
    g->minor = card->minor;
    g->gi = gi;
    g->ci = ci;
    (void)snprintf(what, sizeof what, "gpu%u/gi%d/access", card->minor, gi);
    m_gi = cap_minor(minors, what);
    (void)snprintf(what, sizeof what, "gpu%u/gi%d/ci%d/access", card->minor, gi, ci);
    m_ci = cap_minor(minors, what);
    (void)node_add(s, &g->nodes, &g->n_nodes, NVIDIA_MAJOR, g->minor, "/dev/nvidia%u",
                   g->minor);
    if (major < 0 || m_gi < 0 || m_ci < 0) {
        gpu_unusable(g, "/proc/driver/nvidia-caps/mig-minors does not name it");
        return;
    }
    (void)node_add(s, &g->nodes, &g->n_nodes, (unsigned)major, (unsigned)m_gi,
                   "/dev/nvidia-caps/nvidia-cap%d", m_gi);
    (void)node_add(s, &g->nodes, &g->n_nodes, (unsigned)major, (unsigned)m_ci,
                   "/dev/nvidia-caps/nvidia-cap%d", m_ci);
}

/* the instances of one card, after it in the list; how many */
static size_t find_instances(struct gpu_set *s, struct gpu card)
{
    AUTO_BUF struct buf minors = {0};
    char dir[128], sub[192];
    size_t n_gi, n_ci, found = 0;
    char **gis, **cis;

    (void)snprintf(dir, sizeof dir, "/proc/driver/nvidia/capabilities/gpu%u/mig",
                   card.minor);
    gis = root_names(s, dir, &n_gi);
    buf_init(&minors, LIMIT_GPU_TEXT);
    if (n_gi)
        (void)root_file(s, "/proc/driver/nvidia-caps/mig-minors", &minors);
    for (size_t i = 0; i < n_gi; i++) {
        int gi = number_after(gis[i], "gi");
        if (gi < 0)
            continue;
        (void)snprintf(sub, sizeof sub, "%s/gi%d", dir, gi);
        cis = root_names(s, sub, &n_ci);
        for (size_t k = 0; k < n_ci && found < 64; k++) {
            int ci = number_after(cis[k], "ci");
            if (ci < 0)
                continue;
            add_instance(s, &card, gi, ci, (struct str){buf_str(&minors), minors.len});
            found++;
        }
    }
    return found;
}

/* ---- cards ---------------------------------------------------------------------- */

static void read_card(struct gpu_set *s, struct gpu *g, struct str info)
{
    char minor[16], excluded[8];

    copy_field(info, "Model", g->model, sizeof g->model);
    copy_field(info, "GPU UUID", g->id, sizeof g->id);
    copy_field(info, "Device Minor", minor, sizeof minor);
    copy_field(info, "GPU Excluded", excluded, sizeof excluded);
    g->minor = (unsigned)strtoul(minor, NULL, 10);
    g->numa = root_numa(s, g->pci);
    if (minor[0] < '0' || minor[0] > '9' || g->minor >= MINOR_CTL - 1)
        gpu_unusable(g, "the driver says no device minor of it");
    if (strcmp(excluded, "Yes") == 0)
        gpu_unusable(g, "the driver excludes it");
    if (!text_ok(g->id) ||
        strchr(g->id, '?')) /* the driver fills in ? until its first use */
        (void)snprintf(g->id, sizeof g->id, "%s", g->pci);
}

static void check_modules(const struct gpu_set *s, struct gpu *g)
{
    if (s->n_nvidia_all < 2)
        gpu_unusable(
            g, "the module nvidia-uvm is not loaded (as root: nvidia-modprobe -c0 -u)");
}

int find_nvidia(struct gpu_set *s, struct err *e)
{
    size_t n, place = 0;
    char **pci = root_names(s, GPUS, &n);

    find_driver(s);
    if (!n)
        return 0;
    if (n > 64)
        return err_set(e, ERR_LIMIT,
                       "%s" GPUS " lists %zu cards: at most 64 are believed", s->root,
                       n);
    find_common(s);
    for (size_t i = 0; i < n; i++) {
        AUTO_BUF struct buf info = {0};
        char path[96];
        struct gpu *g;
        size_t at;

        buf_init(&info, LIMIT_GPU_TEXT);
        (void)snprintf(path, sizeof path, GPUS "/%.32s/information", pci[i]);
        if (!text_ok(pci[i]) || strlen(pci[i]) >= sizeof g->pci ||
            !root_file(s, path, &info))
            continue;
        g = gpu_add(s, GPU_NVIDIA);
        at = s->n - 1;
        (void)snprintf(g->pci, sizeof g->pci, "%s", pci[i]);
        (void)snprintf(g->name, sizeof g->name, "%zu", place++);
        read_card(s, g, (struct str){buf_str(&info), info.len});
        check_modules(s, g);
        (void)node_add(s, &g->nodes, &g->n_nodes, NVIDIA_MAJOR, g->minor,
                       "/dev/nvidia%u", g->minor);
        if (!g->unusable[0] && find_instances(s, *g))
            gpu_unusable(&s->gpus[at], "MIG is on: its instances are handed out");
    }
    return 0;
}
