/* SPDX-License-Identifier: Apache-2.0 */
/* grant.c - what a box gets together with its GPUs
 *
 *             nodes                  files                     environment
 *     NVIDIA  nvidiactl, uvm,        the driver's libraries,   NVIDIA_VISIBLE_DEVICES,
 *             nvidia<minor>,         nvidia-smi, firmware,     CUDA_DEVICE_ORDER
 *             MIG capabilities       /proc of its cards
 *     AMD     kfd, renderD<n>        the image has them        ROCR_VISIBLE_DEVICES
 *     Intel   renderD<n>             the image has them
 *     Tegra   as the board says      as the board says
 *
 * What separates boxes is that the other nodes are not there and that the device rule
 * of the cgroup does not know them; the variables are for programs that read them.
 */
#include "gpu/grant.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/limits.h"
#include "gpu/cdi.h"
#include "gpu/inside.h"

/* ---- adding --------------------------------------------------------------------- */

#define ADD(w, list, count)                                                            \
    ((w)->g->x.list = arena_grow((w)->a, (void *)(uintptr_t)(w)->g->x.list,            \
                                 &(w)->g->x.count, sizeof(*(w)->g->x.list)),           \
     (void *)(uintptr_t) & (w)->g->x.list[(w)->g->x.count - 1])

static const char *on_host(struct granting *w, const char *path)
{
    return arena_printf(w->a, "%s%s", w->s->root, path);
}

void grant_node_from(struct granting *w, const struct gpu_node *n,
                     const char *host_path)
{
    for (size_t i = 0; i < w->g->x.n_devices; i++)
        if (strcmp(w->g->x.devices[i].path, n->path) == 0)
            return;
    struct box_device *d = ADD(w, devices, n_devices);
    *d = (struct box_device){arena_strdup(w->a, n->path), on_host(w, host_path),
                             n->major, n->minor};
}

void grant_node(struct granting *w, const struct gpu_node *n)
{
    grant_node_from(w, n, n->path);
}

void grant_bind(struct granting *w, const char *path, const char *dst, bool rw)
{
    for (size_t i = 0; i < w->g->x.n_mounts; i++)
        if (strcmp(w->g->x.mounts[i].dst, dst) == 0)
            return;
    struct box_mount *m = ADD(w, mounts, n_mounts);
    *m = (struct box_mount){.kind = BOX_BIND,
                            .src = on_host(w, path),
                            .dst = arena_strdup(w->a, dst),
                            .rw = rw};
}

void grant_link(struct granting *w, const char *path, const char *target)
{
    struct box_link *l = ADD(w, links, n_links);
    *l = (struct box_link){arena_strdup(w->a, path), arena_strdup(w->a, target)};
}

void grant_lib(struct granting *w, const char *name, const char *path)
{
    struct box_lib *l = ADD(w, libs, n_libs);
    *l = (struct box_lib){arena_strdup(w->a, name), arena_strdup(w->a, path)};
}

void grant_lib_dir(struct granting *w, const char *dir)
{
    for (size_t i = 0; i < w->g->x.n_lib_dirs; i++)
        if (strcmp(w->g->x.lib_dirs[i], dir) == 0)
            return;
    const char **d = ADD(w, lib_dirs, n_lib_dirs);
    *d = arena_strdup(w->a, dir);
}

void grant_proc(struct granting *w, const char *path, struct str text)
{
    struct box_file *f = ADD(w, proc_files, n_proc_files);
    *f = (struct box_file){arena_strdup(w->a, path), arena_str(w->a, text)};
}

void grant_notice(struct granting *w, const char *fmt, ...)
{
    char text[480];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    w->g->notices =
        arena_grow(w->a, w->g->notices, &w->g->n_notices, sizeof *w->g->notices);
    w->g->notices[w->g->n_notices - 1] = arena_strdup(w->a, text);
}

const char *grant_env_of(const struct granting *w, const char *name)
{
    size_t n = strlen(name);

    for (size_t i = 0; i < w->g->n_env; i++)
        if (strncmp(w->g->env[i], name, n) == 0 && w->g->env[i][n] == '=')
            return w->g->env[i] + n + 1;
    return NULL;
}

void grant_env(struct granting *w, const char *name, const char *value)
{
    char *kv = arena_printf(w->a, "%s=%s", name, value);
    size_t n = strlen(name) + 1;

    for (size_t i = 0; i < w->g->n_env; i++)
        if (strncmp(w->g->env[i], kv, n) == 0) {
            w->g->env[i] = kv;
            return;
        }
    w->g->env = arena_grow(w->a, w->g->env, &w->g->n_env, sizeof *w->g->env);
    w->g->env[w->g->n_env - 1] = kv;
}

/* ---- each vendor's -------------------------------------------------------------- */

static void join_ids(struct granting *w, struct gpu *const *gpus, size_t n,
                     enum gpu_vendor v, const char *name)
{
    AUTO_BUF struct buf ids = {0};

    buf_init(&ids, 0);
    for (size_t i = 0; i < n; i++)
        if (gpus[i]->vendor == v && strncmp(gpus[i]->id, "0000:", 5) != 0)
            buf_addf(&ids, "%s%s", ids.len ? "," : "", gpus[i]->id);
    if (ids.len)
        grant_env(w, name, buf_str(&ids));
}

/* Covers /proc/driver/nvidia: only the granted cards, and a switch that keeps the
 * user-space driver from making nodes by itself. */
static void nvidia_proc(struct granting *w, struct gpu *const *gpus, size_t n)
{
    static const char dir[] = "/proc/driver/nvidia";
    static const char *const copied[] = {"/version", "/registry"};
    char path[160], name[96];

    w->g->x.proc_dir = "driver/nvidia";
    for (size_t i = 0; i < N_ELEMS(copied); i++) {
        AUTO_BUF struct buf b = {0};
        buf_init(&b, LIMIT_GPU_TEXT);
        (void)snprintf(path, sizeof path, "%s%s", dir, copied[i]);
        if (root_file(w->s, path, &b))
            grant_proc(w, copied[i], (struct str){buf_str(&b), b.len});
    }
    {
        AUTO_BUF struct buf b = {0};
        static const char key[] = "ModifyDeviceFiles: ";
        char *at;
        buf_init(&b, LIMIT_GPU_TEXT);
        if (root_file(w->s, "/proc/driver/nvidia/params", &b) && b.len) {
            at = strstr(b.ptr, key);
            if (at && at[sizeof key - 1] && at[sizeof key - 1] != '\n')
                at[sizeof key - 1] = '0';
            grant_proc(w, "/params", (struct str){buf_str(&b), b.len});
        }
    }
    for (size_t i = 0; i < n; i++) {
        AUTO_BUF struct buf b = {0};
        const struct gpu *g = gpus[i];
        buf_init(&b, LIMIT_GPU_TEXT);
        (void)snprintf(name, sizeof name, "/gpus/%.15s/information", g->pci);
        (void)snprintf(path, sizeof path, "%s%s", dir, name);
        if (g->vendor == GPU_NVIDIA && root_file(w->s, path, &b))
            grant_proc(w, name, (struct str){buf_str(&b), b.len});
    }
}

static void nvidia_instances(struct granting *w, struct gpu *const *gpus, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct gpu *g = gpus[i];
        char name[96], path[160];
        for (int k = 0; g->gi >= 0 && k < 2; k++) {
            AUTO_BUF struct buf b = {0};
            buf_init(&b, LIMIT_GPU_TEXT);
            (void)snprintf(name, sizeof name, "/capabilities/gpu%u/mig/gi%d%s",
                           g->minor, g->gi, "/access");
            if (k)
                (void)snprintf(name, sizeof name,
                               "/capabilities/gpu%u/mig/gi%d/ci%d/access", g->minor,
                               g->gi, g->ci);
            (void)snprintf(path, sizeof path, "/proc/driver/nvidia%s", name);
            if (root_file(w->s, path, &b))
                grant_proc(w, name, (struct str){buf_str(&b), b.len});
        }
    }
}

/* what holds whoever described the files */
static void nvidia_rest(struct granting *w, struct gpu *const *gpus, size_t n)
{
    nvidia_proc(w, gpus, n);
    nvidia_instances(w, gpus, n);
    join_ids(w, gpus, n, GPU_NVIDIA, "NVIDIA_VISIBLE_DEVICES");
    if (!grant_env_of(w, "CUDA_DEVICE_ORDER"))
        grant_env(w, "CUDA_DEVICE_ORDER", "PCI_BUS_ID");
}

static int grant_nvidia(struct granting *w, struct err *e)
{
    for (size_t i = 0; i < w->s->n_nvidia_all; i++)
        grant_node(w, &w->s->nvidia_all[i]);
    return grant_nvidia_files(w, e);
}

/* one line of a Jetson's lists */
static bool tegra_line(void *ctx, struct str kind, const char *path)
{
    struct granting *w = ctx;
    AUTO_FD int fd = root_open(w->s, path, O_PATH | O_NOFOLLOW);
    char target[LIMIT_PATH_BYTES];
    struct stat st;
    ssize_t len;

    if (fd < 0 || fstat(fd, &st) < 0 || strncmp(path, "/dev/", 5) == 0 ||
        strncmp(path, "/proc/", 6) == 0 || strncmp(path, "/sys/", 5) == 0)
        return true;
    if (S_ISLNK(st.st_mode)) {
        len = readlinkat(fd, "", target, sizeof target - 1);
        if (len > 0) {
            target[len] = 0;
            grant_link(w, path, target);
        }
    } else if (str_eqz(kind, "lib") || str_eqz(kind, "dir")) {
        grant_bind(w, path, path, false);
    }
    return w->g->x.n_mounts < 2000;
}

static int grant_tegra(struct granting *w)
{
    tegra_list(w->s, tegra_line, w);
    grant_env(w, "NVIDIA_VISIBLE_DEVICES", "all");
    return 0;
}

/* ---- all ------------------------------------------------------------------------ */

static unsigned vendors_of(struct gpu *const *gpus, size_t n)
{
    unsigned v = 0;

    for (size_t i = 0; i < n; i++)
        v |= 1U << gpus[i]->vendor;
    return v;
}

/* In a user namespace nodes are bound, so they must be there; root makes them. */
static int check_nodes(const struct gpu *g, struct err *e)
{
    for (size_t i = 0; geteuid() != 0 && i < g->n_nodes; i++)
        if (!g->nodes[i].present)
            return err_set(e, ERR_MISSING,
                           "GPU %s: %s is missing (as root: nvidia-modprobe -c0 -u)",
                           g->id, g->nodes[i].path);
    return 0;
}

int grant_found(struct granting *w, struct gpu *const *gpus, size_t n, struct err *e)
{
    unsigned vendors = vendors_of(gpus, n);

    for (size_t i = 0; i < n; i++) {
        if (check_nodes(gpus[i], e) < 0)
            return -1;
        for (size_t k = 0; k < gpus[i]->n_nodes; k++)
            grant_node(w, &gpus[i]->nodes[k]);
    }
    if ((vendors & (1U << GPU_NVIDIA)) && grant_nvidia(w, e) < 0)
        return -1;
    if (vendors & (1U << GPU_AMD))
        join_ids(w, gpus, n, GPU_AMD, "ROCR_VISIBLE_DEVICES");
    return vendors & (1U << GPU_TEGRA) ? grant_tegra(w) : 0;
}

int grant_make(struct arena *a, struct gpu_set *s, struct gpu *const *gpus, size_t n,
               char *const *env, size_t n_env, struct grant *out, struct err *e)
{
    struct granting w = {a, s, out};
    int by_cdi;

    *out = (struct grant){0};
    for (size_t i = 0; i < n_env; i++) {
        out->env = arena_grow(a, out->env, &out->n_env, sizeof *out->env);
        out->env[i] = env[i];
    }
    by_cdi = cdi_apply(&w, gpus, n, e);
    if (by_cdi < 0 || (!by_cdi && grant_found(&w, gpus, n, e) < 0))
        return -1;
    if (vendors_of(gpus, n) & (1U << GPU_NVIDIA))
        nvidia_rest(&w, gpus, n);
    out->env = arena_grow(a, out->env, &out->n_env,
                          sizeof *out->env); /* the NULL at its end */
    out->env[--out->n_env] = NULL;
    return 0;
}
