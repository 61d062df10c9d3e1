/* SPDX-License-Identifier: Apache-2.0 */
/* find.c - the list of GPUs, and reading below the root
 *
 * /proc and /sys have all that is needed to tell cards apart and to hand out their
 * nodes: what NVML and its like know beyond that (memory in use, temperature) is
 * nobody's business here. What is read is held against ceilings and a small alphabet
 * before it is used as a name, as a tree may be a test's or of a driver that we have
 * not met. All paths are opened with the root as "/", so that a link in it cannot lead
 * out.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/limits.h"
#include "gpu/cdi.h"
#include "gpu/inside.h"

#define MOST_NUMA 1024 /* as Linux is built with at most */

static const char *const vendor_names[GPU_VENDORS] = {"nvidia", "amd", "intel", "tegra",
                                                      "cdi"};

const char *gpu_vendor_name(enum gpu_vendor v)
{
    return vendor_names[v];
}

/* ---- reading -------------------------------------------------------------------- */

int root_open(const struct gpu_set *s, const char *path, int flags)
{
    return fd_open_in_root(s->root_fd, path, flags | O_CLOEXEC, 0);
}

bool root_file(const struct gpu_set *s, const char *path, struct buf *out)
{
    AUTO_FD int fd = root_open(s, path, O_RDONLY | O_NONBLOCK);
    struct err e;

    return fd >= 0 && fd_read_all(fd, out, LIMIT_GPU_TEXT, &e) == 0;
}

bool root_text(const struct gpu_set *s, const char *path, char *out, size_t size)
{
    AUTO_BUF struct buf b = {0};
    struct str t;

    buf_init(&b, LIMIT_GPU_TEXT);
    out[0] = 0;
    if (!root_file(s, path, &b))
        return false;
    t = str_trim((struct str){buf_str(&b), b.len});
    (void)snprintf(out, size, "%.*s", STR_ARG(t));
    return true;
}

bool root_has(const struct gpu_set *s, const char *path)
{
    AUTO_FD int fd = root_open(s, path, O_PATH);

    return fd >= 0;
}

/* by number where there is one: gpu2 before gpu10 */
static int by_name(const void *a, const void *b)
{
    return strverscmp(*(char *const *)a, *(char *const *)b);
}

char **root_names(struct gpu_set *s, const char *path, size_t *n)
{
    int fd = root_open(s, path, O_RDONLY | O_DIRECTORY);
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    const struct dirent *x;
    char **names = NULL;

    *n = 0;
    if (!d) {
        auto_fd(&fd);
        return NULL;
    }
    while (*n < LIMIT_GPU_DIR && (x = readdir(d))) {
        if (x->d_name[0] == '.')
            continue;
        names = arena_grow(&s->a, names, n, sizeof *names);
        names[*n - 1] = arena_strdup(&s->a, x->d_name);
    }
    (void)closedir(d);
    if (*n)
        qsort(names, *n, sizeof *names, by_name);
    return names;
}

bool next_line(struct str *rest, struct str *line)
{
    size_t n = 0;

    if (!rest->len)
        return false;
    while (n < rest->len && rest->ptr[n] != '\n')
        n++;
    *line = (struct str){rest->ptr, n};
    n += n < rest->len;
    *rest = (struct str){rest->ptr + n, rest->len - n};
    return true;
}

struct str text_field(struct str text, const char *key)
{
    size_t n = strlen(key);
    struct str line;

    while (next_line(&text, &line)) {
        line = str_trim(line);
        if (line.len <= n || memcmp(line.ptr, key, n) != 0)
            continue;
        if (line.ptr[n] == ':' || line.ptr[n] == ' ')
            return str_trim((struct str){line.ptr + n + 1, line.len - n - 1});
    }
    return (struct str){"", 0};
}

bool text_ok(const char *z)
{
    return *z &&
           strspn(
               z,
               "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:-") ==
               strlen(z);
}

int root_major(const struct gpu_set *s, const char *name)
{
    AUTO_BUF struct buf b = {0};
    struct str rest, line;

    buf_init(&b, LIMIT_GPU_TEXT);
    if (!root_file(s, "/proc/devices", &b))
        return -1;
    rest = (struct str){buf_str(&b), b.len};
    while (next_line(&rest, &line)) {
        struct str number = str_trim(line), what;
        size_t n = 0;
        if (str_starts(number, "Block"))
            break;
        while (n < number.len && number.ptr[n] != ' ')
            n++;
        what = str_trim((struct str){number.ptr + n, number.len - n});
        if (n && n < 10 && str_eqz(what, name))
            return (int)strtol(number.ptr, NULL, 10);
    }
    return -1;
}

int root_numa(const struct gpu_set *s, const char *pci)
{
    char path[96], text[16];
    long v;

    (void)snprintf(path, sizeof path, "/sys/bus/pci/devices/%.16s/numa_node", pci);
    if (!root_text(s, path, text, sizeof text))
        return -1;
    v = strtol(text, NULL, 10);
    return v >= 0 && v < MOST_NUMA ? (int)v : -1;
}

/* ---- building the list ---------------------------------------------------------- */

struct gpu *gpu_add(struct gpu_set *s, enum gpu_vendor v)
{
    struct gpu *g;

    s->gpus = arena_grow(&s->a, s->gpus, &s->n, sizeof *s->gpus);
    g = &s->gpus[s->n - 1];
    *g = (struct gpu){.vendor = v, .numa = -1, .gi = -1, .ci = -1};
    return g;
}

void gpu_unusable(struct gpu *g, const char *fmt, ...)
{
    va_list ap;

    if (g->unusable[0])
        return; /* the first reason is the cause */
    va_start(ap, fmt);
    (void)vsnprintf(g->unusable, sizeof g->unusable, fmt, ap);
    va_end(ap);
}

struct gpu_node *node_add(struct gpu_set *s, struct gpu_node **nodes, size_t *n,
                          unsigned major, unsigned minor, const char *fmt, ...)
{
    struct gpu_node *x;
    struct stat st;
    va_list ap;

    *nodes = arena_grow(&s->a, *nodes, n, sizeof **nodes);
    x = &(*nodes)[*n - 1];
    *x = (struct gpu_node){.major = major, .minor = minor};
    va_start(ap, fmt);
    (void)vsnprintf(x->path, sizeof x->path, fmt, ap);
    va_end(ap);
    {
        AUTO_FD int fd = root_open(s, x->path, O_PATH | O_NOFOLLOW);
        x->present = fd >= 0 && fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) &&
                     st.st_rdev == makedev(major, minor);
    }
    return x;
}

bool node_found(struct gpu_set *s, struct gpu_node **nodes, size_t *n, const char *path)
{
    AUTO_FD int fd = root_open(s, path, O_PATH | O_NOFOLLOW);
    struct stat st;

    if (strlen(path) >= sizeof((struct gpu_node *)0)->path || fd < 0 ||
        fstat(fd, &st) < 0 || !S_ISCHR(st.st_mode))
        return false;
    (void)node_add(s, nodes, n, major(st.st_rdev), minor(st.st_rdev), "%s", path);
    return true;
}

/* models are shown on terminals */
static void clean_models(struct gpu_set *s)
{
    for (size_t i = 0; i < s->n; i++)
        for (char *c = s->gpus[i].model; *c; c++)
            if ((unsigned char)*c < ' ' || *c == 0x7f)
                *c = '?';
}

int gpu_find(const char *root, struct gpu_set *out, struct err *e)
{
    size_t n = root ? strlen(root) : 0;

    *out = (struct gpu_set){.root_fd = -1};
    while (n && root[n - 1] == '/')
        n--;
    if (n && root[0] != '/')
        return err_set(e, ERR_INPUT, "gpu_root %.200s: want an absolute path", root);
    out->root = n ? arena_strndup(&out->a, root, n) : "";
    out->root_fd = open(n ? out->root : "/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (out->root_fd < 0) {
        (void)err_sys(e, errno, "gpu_root %.200s", out->root);
        e->code = ERR_INPUT;
    } else if (find_nvidia(out, e) == 0 && find_pci(out, e) == 0 &&
               find_tegra(out, e) == 0) {
        cdi_load(out);
        clean_models(out);
        return 0;
    }
    gpu_set_done(out);
    return -1;
}

void gpu_set_done(struct gpu_set *s)
{
    if (s->root) {
        if (s->root_fd >= 0)
            (void)close(s->root_fd);
        arena_done(&s->a);
    }
    *s = (struct gpu_set){.root_fd = -1};
}

/* ---- by name -------------------------------------------------------------------- */

static bool is_called(const struct gpu *g, const char *what)
{
    const char *colon = strchr(what, ':');
    const char *vendor = gpu_vendor_name(g->vendor);

    if (strcmp(g->id, what) == 0 || strcmp(g->name, what) == 0 ||
        strcmp(g->pci, what) == 0)
        return true;
    return colon && (size_t)(colon - what) == strlen(vendor) &&
           strncmp(what, vendor, strlen(vendor)) == 0 &&
           strcmp(g->name, colon + 1) == 0;
}

struct gpu *gpu_named(struct gpu_set *s, const char *what, struct err *e)
{
    struct gpu *found = NULL;

    for (size_t i = 0; i < s->n; i++)
        if (is_called(&s->gpus[i], what))
            return &s->gpus[i];
    for (size_t i = 0; strlen(what) >= 4 && i < s->n; i++) {
        if (strncmp(s->gpus[i].id, what, strlen(what)) != 0)
            continue;
        if (found) {
            (void)err_set(e, ERR_INPUT, "GPU %.80s: %s and %s begin with that", what,
                          found->id, s->gpus[i].id);
            return NULL;
        }
        found = &s->gpus[i];
    }
    if (!found)
        (void)err_set(e, ERR_MISSING,
                      "there is no GPU %.80s here (dugout gpu ls lists %zu)", what,
                      s->n);
    return found;
}
