/* SPDX-License-Identifier: Apache-2.0 */
/* cdiapply.c - finding CDI files, and doing what they say
 *
 * A file of CDI may hand any host path to a container and run any program as root, so
 * only files and directories that nobody but root (or the caller himself) can write are
 * read. Paths that would uncover the host as a whole are refused, and hooks are never
 * run: those of NVIDIA's own tool are done here (links, the linker's cache, the switch
 * in /proc), any other one refuses the device by name.
 *
 * Files are written by a tool after the driver was installed, and grow stale with its
 * next update. So every host path is looked at first; a stale file is named and the GPU
 * served without it.
 */
#include "gpu/cdi.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/fd.h"
#include "gpu/inside.h"

#define SPECS_MAX 64

/* ---- finding -------------------------------------------------------------------- */

static void note(struct gpu_set *s, const char *text)
{
    s->notes = arena_grow(&s->a, s->notes, &s->n_notes, sizeof *s->notes);
    s->notes[s->n_notes - 1] = arena_strdup(&s->a, text);
}

/* may others than root and us write it? */
static bool is_ours(const struct stat *st)
{
    return (st->st_uid == 0 || st->st_uid == geteuid()) && !(st->st_mode & 022);
}

static int read_file(struct gpu_set *s, const char *path, struct cdi_spec *out,
                     struct err *e)
{
    AUTO_FD int fd = root_open(s, path, O_RDONLY | O_NONBLOCK);
    AUTO_BUF struct buf b = {0};
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0)
        return err_sys(e, errno, "%s%s", s->root, path);
    if (!S_ISREG(st.st_mode) || !is_ours(&st))
        return err_set(e, ERR_INPUT,
                       "%s%s: not a file of root's that nobody else can write", s->root,
                       path);
    buf_init(&b, LIMIT_CDI_BYTES + 1);
    if (st.st_size > LIMIT_CDI_BYTES || fd_read_all(fd, &b, LIMIT_CDI_BYTES, e) < 0)
        return err_set(e, ERR_LIMIT, "%s%s: over 1 MiB is no CDI file", s->root, path);
    return cdi_parse_in(&s->a, arena_printf(&s->a, "%s%s", s->root, path),
                        (struct str){buf_str(&b), b.len}, out, e);
}

static void read_dir(struct gpu_set *s, const char *dir, unsigned priority)
{
    AUTO_FD int fd = root_open(s, dir, O_RDONLY | O_DIRECTORY);
    struct stat st;
    size_t n;
    char **names;

    if (fd < 0 || fstat(fd, &st) < 0)
        return;
    if (!is_ours(&st)) {
        note(s, arena_printf(
                    &s->a,
                    "%s%s: others than root can write there: its CDI files are not "
                    "read",
                    s->root, dir));
        return;
    }
    names = root_names(s, dir, &n);
    for (size_t i = 0; i < n && s->n_specs < SPECS_MAX; i++) {
        struct str name = str_of(names[i]);
        struct cdi_spec spec;
        struct err e = {0};
        if (!str_ends(name, ".json") && !str_ends(name, ".yaml") &&
            !str_ends(name, ".yml"))
            continue;
        if (read_file(s, arena_printf(&s->a, "%s/%s", dir, names[i]), &spec, &e) < 0) {
            note(s, e.text);
            continue;
        }
        spec.priority = priority;
        for (size_t k = 0; k < spec.n_notices; k++)
            note(s, spec.notices[k]);
        s->specs = arena_grow(&s->a, s->specs, &s->n_specs, sizeof *s->specs);
        s->specs[s->n_specs - 1] = spec;
    }
}

static void mark_conflicts(struct gpu_set *s)
{
    for (size_t i = 0; i < s->n_specs; i++)
        for (size_t k = i + 1; k < s->n_specs; k++) {
            struct cdi_spec *a = &s->specs[i], *b = &s->specs[k];
            if (a->priority != b->priority || strcmp(a->kind, b->kind) != 0)
                continue;
            for (size_t x = 0; x < a->n_devices; x++)
                for (size_t y = 0; y < b->n_devices; y++)
                    if (strcmp(a->devices[x].name, b->devices[y].name) == 0)
                        a->devices[x].conflict = b->devices[y].conflict = true;
        }
}

/* the file and the device of that name; the later directory wins */
static struct cdi_device *find_device(struct gpu_set *s, const char *kind,
                                      const char *name, struct cdi_spec **spec)
{
    struct cdi_device *found = NULL;

    for (size_t i = 0; i < s->n_specs; i++) {
        struct cdi_spec *c = &s->specs[i];
        if (strcmp(c->kind, kind) != 0 || (found && c->priority < (*spec)->priority))
            continue;
        for (size_t k = 0; k < c->n_devices; k++)
            if (strcmp(c->devices[k].name, name) == 0) {
                found = &c->devices[k];
                *spec = c;
            }
    }
    return found;
}

/* kinds whose devices are found without CDI */
static bool is_native(const struct gpu_set *s, const char *kind)
{
    static const struct {
        const char *kind;
        enum gpu_vendor vendor;
    } native[] = {{"nvidia.com/gpu", GPU_NVIDIA},
                  {"amd.com/gpu", GPU_AMD},
                  {"intel.com/gpu", GPU_INTEL},
                  {"nvidia.com/gpu", GPU_TEGRA},
                  {"gpu.intel.com/i915", GPU_INTEL}};

    for (size_t i = 0; i < N_ELEMS(native); i++)
        for (size_t k = 0; strcmp(kind, native[i].kind) == 0 && k < s->n; k++)
            if (s->gpus[k].vendor == native[i].vendor)
                return true;
    return false;
}

/* a GPU that only a CDI file knows of */
static void add_unit(struct gpu_set *s, const struct cdi_spec *spec,
                     const struct cdi_device *d)
{
    struct gpu *g;
    char id[2 * GPU_ID_BYTES];

    (void)snprintf(id, sizeof id, "%s=%s", spec->kind, d->name);
    if (strlen(id) >= GPU_ID_BYTES)
        return;
    for (size_t i = 0; i < s->n; i++)
        if (strcmp(s->gpus[i].id, id) == 0)
            return;
    g = gpu_add(s, GPU_CDI);
    (void)snprintf(g->id, sizeof g->id, "%s", id);
    (void)snprintf(g->name, sizeof g->name, "%s", id);
    (void)snprintf(g->model, sizeof g->model, "%s (CDI)", spec->kind);
    if (d->conflict)
        gpu_unusable(g, "two CDI files of one directory describe it");
    for (size_t i = 0; i < d->edits.n_nodes; i++)
        (void)node_found(s, &g->nodes, &g->n_nodes, d->edits.nodes[i].host_path);
}

void cdi_load(struct gpu_set *s)
{
    read_dir(s, "/etc/cdi", 0);
    read_dir(s, "/var/run/cdi", 1);
    mark_conflicts(s);
    for (size_t i = 0; i < s->n_specs; i++) {
        const struct cdi_spec *c = &s->specs[i];
        if (is_native(s, c->kind))
            continue;
        for (size_t k = 0; k < c->n_devices; k++)
            if (strcmp(c->devices[k].name, "all") != 0 || c->n_devices == 1)
                add_unit(s, c, &c->devices[k]);
    }
}

/* ---- is it what it says? -------------------------------------------------------- */

/* the numbers of a node: those of the host's, which must be those of the file when it
 * has any */
static int node_numbers(struct gpu_set *s, const struct cdi_spec *c,
                        const struct cdi_node *d, struct gpu_node *out, struct err *e)
{
    AUTO_FD int fd = root_open(s, d->host_path, O_PATH | O_NOFOLLOW);
    struct stat st;

    if (strncmp(d->path, "/dev/", 5) != 0 || strlen(d->path) >= sizeof out->path)
        return err_set(e, ERR_INPUT,
                       "CDI file %s: device node %.100s: nodes go below /dev", c->file,
                       d->path);
    if (d->type && d->type != 'c' && d->type != 'u')
        return err_set(e, ERR_INPUT,
                       "CDI file %s: %.100s: boxes get character devices only", c->file,
                       d->path);
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISCHR(st.st_mode))
        return err_set(e, ERR_MISSING,
                       "CDI file %s is stale: the host has no device %.100s", c->file,
                       d->host_path);
    *out = (struct gpu_node){
        .major = major(st.st_rdev), .minor = minor(st.st_rdev), .present = true};
    if (d->numbered && (d->major != out->major || d->minor != out->minor))
        return err_set(e, ERR_MISSING, "CDI file %s is stale: %.100s is %u:%u now",
                       c->file, d->host_path, out->major, out->minor);
    (void)snprintf(out->path, sizeof out->path, "%s", d->path);
    return 0;
}

static bool is_below(const char *path, const char *dir)
{
    size_t n = strlen(dir);

    return strncmp(path, dir, n) == 0 && (!path[n] || path[n] == '/');
}

static int check_mount(struct gpu_set *s, const struct cdi_spec *c,
                       const struct cdi_mount *m, struct err *e)
{
    static const char *const closed[] = {"/proc", "/sys", "/dev"};
    /* what would uncover the host as a whole */
    static const char *const roots[] = {"/",     "/etc", "/root", "/home", "/var",
                                        "/boot", "/run", "/usr",  "/lib",  "/bin"};

    for (size_t i = 0; i < N_ELEMS(closed); i++)
        if (is_below(m->path, closed[i]) || is_below(m->host_path, closed[i]))
            return err_set(e, ERR_INPUT,
                           "CDI file %s: mount of %.100s at %.100s: nothing of %s is "
                           "mounted",
                           c->file, m->host_path, m->path, closed[i]);
    for (size_t i = 0; i < N_ELEMS(roots); i++)
        if (strcmp(m->host_path, roots[i]) == 0 || strcmp(m->path, "/") == 0)
            return err_set(
                e, ERR_INPUT,
                "CDI file %s: mount of %.100s at %.100s would uncover the host",
                c->file, m->host_path, m->path);
    if (!root_has(s, m->host_path))
        return err_set(e, ERR_MISSING, "CDI file %s is stale: there is no %.200s",
                       c->file, m->host_path);
    return 0;
}

/* does it give nodes of cards that were not granted, or not those that were? */
static bool gives_just(struct gpu_set *s, const struct cdi_edits *x,
                       const struct gpu *g)
{
    bool has = !g->n_nodes;

    for (size_t i = 0; i < x->n_nodes; i++) {
        const char *path = x->nodes[i].path;
        has = has || (g->n_nodes && strcmp(path, g->nodes[0].path) == 0);
        for (size_t k = 0; k < s->n; k++)
            if (&s->gpus[k] != g && s->gpus[k].n_nodes && g->n_nodes &&
                s->gpus[k].vendor == g->vendor &&
                strcmp(path, s->gpus[k].nodes[0].path) == 0 &&
                strcmp(path, g->nodes[0].path) != 0)
                return false;
    }
    return has;
}

/* ---- hooks ---------------------------------------------------------------------- */

/* "--link A" or "--link=A"; NULL at the end. *i moves on */
static const char *next_value(const struct cdi_hook *h, const char *flag, size_t *i)
{
    size_t n = strlen(flag);

    for (; *i < h->n_args; (*i)++) {
        const char *arg = h->args[*i];
        if (strcmp(arg, flag) == 0 && *i + 1 < h->n_args) {
            *i += 2;
            return h->args[*i - 1];
        }
        if (strncmp(arg, flag, n) == 0 && arg[n] == '=') {
            (*i)++;
            return arg + n + 1;
        }
    }
    return NULL;
}

static int make_links(struct granting *w, const struct cdi_spec *c,
                      const struct cdi_hook *h, struct err *e)
{
    const char *v;

    for (size_t i = 0; (v = next_value(h, "--link", &i));) {
        const char *sep = strstr(v, "::");
        if (!sep || sep == v || sep[2] != '/')
            return err_set(e, ERR_INPUT,
                           "CDI file %s: hook create-symlinks: want TARGET::PATH, not "
                           "%.100s",
                           c->file, v);
        grant_link(w, sep + 2, arena_strndup(w->a, v, (size_t)(sep - v)));
    }
    return 0;
}

/* what ldconfig would find in that directory of what the edits mount: a name and a link
 * for it */
static void list_libraries(struct granting *w, const char *dir)
{
    size_t n = strlen(dir), n_mounts = w->g->x.n_mounts;

    grant_lib_dir(w, dir);
    for (size_t i = 0; i < n_mounts; i++) {
        const struct box_mount *m = &w->g->x.mounts[i];
        AUTO_FD int fd = -1;
        char soname[128];
        if (strncmp(m->dst, dir, n) != 0 || m->dst[n] != '/' ||
            strchr(m->dst + n + 1, '/'))
            continue;
        fd = root_open(w->s, m->src + strlen(w->s->root), O_RDONLY | O_NONBLOCK);
        if (fd < 0 || !elf_soname(fd, soname, sizeof soname))
            continue;
        grant_lib(w, soname[0] ? soname : m->dst + n + 1, m->dst);
        if (soname[0] && strcmp(soname, m->dst + n + 1) != 0)
            grant_link(w, arena_printf(w->a, "%s/%s", dir, soname), m->dst + n + 1);
    }
}

static int do_hook(struct granting *w, const struct cdi_spec *c,
                   const struct cdi_hook *h, struct err *e)
{
    const char *program = strrchr(h->path, '/') + 1, *what = "", *v;
    bool known =
        strcmp(program, "nvidia-cdi-hook") == 0 || strcmp(program, "nvidia-ctk") == 0;
    size_t i = 1;

    if (known && h->n_args > i && strcmp(h->args[i], "hook") == 0)
        i++;
    if (known && h->n_args > i)
        what = h->args[i++];
    if (strcmp(what, "create-symlinks") == 0)
        return make_links(w, c, h, e);
    if (strcmp(what, "update-ldcache") == 0) {
        for (i = 0; (v = next_value(h, "--folder", &i));)
            if (v[0] == '/')
                list_libraries(w, v);
        return 0;
    }
    if (strcmp(what, "chmod") ==
        0) { /* directories below /dev are open in a box as it is */
        for (i = 0; (v = next_value(h, "--path", &i));)
            if (strncmp(v, "/dev/", 5) != 0)
                return err_set(e, ERR_INPUT,
                               "CDI file %s: hook chmod of %.100s is not done", c->file,
                               v);
        return 0;
    }
    /* the first is what the cover of /proc/driver/nvidia does; the others choose among
     * the image's own libraries and displays, and a program does without */
    if (strcmp(what, "disable-device-node-modification") == 0 ||
        strcmp(what, "enable-cuda-compat") == 0 ||
        strcmp(what, "update-application-profile") == 0)
        return 0;
    return err_set(
        e, ERR_INPUT,
        "CDI file %s: hook %.100s%s%.60s is not known, and hooks are not run: "
        "take it out of the file, or remove the file",
        c->file, h->path, what[0] ? " " : "", what);
}

/* ---- doing it ------------------------------------------------------------------- */

static int check_edits(struct gpu_set *s, const struct cdi_spec *c,
                       const struct cdi_edits *x, struct err *e)
{
    struct gpu_node ignored;

    for (size_t i = 0; i < x->n_nodes; i++)
        if (node_numbers(s, c, &x->nodes[i], &ignored, e) < 0)
            return -1;
    for (size_t i = 0; i < x->n_mounts; i++)
        if (check_mount(s, c, &x->mounts[i], e) < 0)
            return -1;
    return 0;
}

static int do_edits(struct granting *w, const struct cdi_spec *c,
                    const struct cdi_edits *x, struct err *e)
{
    for (size_t i = 0; i < x->n_env; i++) {
        const char *eq = strchr(x->env[i], '=');
        grant_env(w, arena_strndup(w->a, x->env[i], (size_t)(eq - x->env[i])), eq + 1);
    }
    for (size_t i = 0; i < x->n_nodes; i++) {
        struct gpu_node node;
        if (node_numbers(w->s, c, &x->nodes[i], &node, e) < 0)
            return -1;
        grant_node_from(w, &node, x->nodes[i].host_path);
    }
    for (size_t i = 0; i < x->n_mounts; i++)
        grant_bind(w, x->mounts[i].host_path, x->mounts[i].path, x->mounts[i].rw);
    for (size_t i = 0; i < x->n_hooks; i++)
        if (do_hook(w, c, &x->hooks[i], e) < 0)
            return -1;
    return 0;
}

struct chosen {
    struct cdi_spec *spec;
    struct cdi_device *device;
};

/* the file's device for this GPU: by its id, or by its place as nvidia-ctk numbers them
 */
static bool choose(struct gpu_set *s, const struct gpu *g, struct chosen *out)
{
    const char *eq = strrchr(g->id, '=');

    if (g->vendor == GPU_CDI) {
        char kind[GPU_ID_BYTES];
        (void)snprintf(kind, sizeof kind, "%.*s", (int)(eq - g->id), g->id);
        out->device = find_device(s, kind, eq + 1, &out->spec);
        return out->device != NULL;
    }
    if (g->vendor != GPU_NVIDIA)
        return false;
    out->device = find_device(s, "nvidia.com/gpu", g->id, &out->spec);
    if (!out->device)
        out->device = find_device(s, "nvidia.com/gpu", g->name, &out->spec);
    return out->device && !out->device->conflict &&
           gives_just(s, &out->device->edits, g);
}

int cdi_apply(struct granting *w, struct gpu *const *gpus, size_t n, struct err *e)
{
    struct chosen *c = arena_alloc(w->a, (n + 1) * sizeof *c);

    for (size_t i = 0; i < n; i++) {
        if (!choose(w->s, gpus[i], &c[i]))
            return gpus[i]->vendor == GPU_CDI
                       ? err_set(e, ERR_MISSING, "no CDI file describes %s any more",
                                 gpus[i]->id)
                       : 0;
        if (check_edits(w->s, c[i].spec, &c[i].spec->all, e) < 0 ||
            check_edits(w->s, c[i].spec, &c[i].device->edits, e) < 0) {
            if (e->code != ERR_MISSING || gpus[i]->vendor == GPU_CDI)
                return -1;
            grant_notice(w, "%s; the driver's files were found without it", e->text);
            return 0;
        }
    }
    for (size_t i = 0; i < n; i++) {
        bool first = true;
        for (size_t k = 0; k < i; k++)
            first = first && c[k].spec != c[i].spec;
        /* hooks look at what the device mounts, too */
        if (do_edits(w, c[i].spec, &c[i].device->edits, e) < 0 ||
            (first && do_edits(w, c[i].spec, &c[i].spec->all, e) < 0))
            return -1;
    }
    return 1;
}
