/* SPDX-License-Identifier: Apache-2.0 */
/* extras.c - what devices bring along: nodes, libraries, news for the dynamic linker
 *
 *     /etc/ld.so.cache           the image's, with our libraries before its own
 *     /etc/ld.so.conf.d/...      their directory, for whoever runs ldconfig in the box
 *     /etc/ld-musl-<arch>.path   the same for musl
 *     /dev/...                   nodes, made by root and bound for others
 *     <tree>                     a tmpfs with binds and links, read-only at the end
 *     /proc/<dir>                covered by a few files: it tells of no other device
 *
 * The files of the linker go into the box's own upper directory: a mount there would be
 * in the way of an ldconfig that the image runs itself. What is read of the image is
 * bounded, and nothing of it is executed. Who needs none of this pays nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/fd.h"
#include "base/limits.h"
#include "base/mem.h"
#include "box/inside.h"
#include "box/ldcache.h"

#define CONF_NAME "000-dugout.conf"
#define ATTRS_TREE (ATTR_NOSUID | ATTR_NODEV)

#if defined(__x86_64__)
#define MUSL_ARCH "x86_64"
#else
#define MUSL_ARCH "aarch64"
#endif

static const struct box_extras *extras_of(const struct mounter *m)
{
    return m->p->spec->extras;
}

/* ---- the spec ------------------------------------------------------------------- */

static bool is_plain(const char *path)
{
    return path[0] == '/' && path[1] && strlen(path) < PATH_MAX / 2 &&
           !strstr(path, "/../") && !str_ends(str_of(path), "/..");
}

static bool is_below(const char *path, const char *dir)
{
    size_t n = strlen(dir);

    return strncmp(path, dir, n) == 0 && (!path[n] || path[n] == '/');
}

/* where a device may not put anything but through .devices and .proc_files */
static int check_place(const char *path, struct err *e)
{
    if (!is_plain(path) || is_below(path, "/proc") || is_below(path, "/sys") ||
        is_below(path, "/dev"))
        return err_set(e, ERR_INPUT,
                       "%.200s: a device's files cannot go there in a box", path);
    return 0;
}

int extras_check(const struct box_spec *spec, struct err *e)
{
    const struct box_extras *x = spec->extras;

    if (!x)
        return 0;
    if (x->n_devices > CG_GRANTED_MAX)
        return err_set(e, ERR_LIMIT, "%zu device nodes: a box can have %d",
                       x->n_devices, CG_GRANTED_MAX);
    for (size_t i = 0; i < x->n_devices; i++)
        if (!is_plain(x->devices[i].path) || !is_below(x->devices[i].path, "/dev") ||
            !x->devices[i].path[5] || is_below(x->devices[i].path, "/dev/pts") ||
            is_below(x->devices[i].path, "/dev/shm") ||
            is_below(x->devices[i].path, "/dev/fd"))
            return err_set(e, ERR_INPUT, "%.200s: a device's node goes below /dev",
                           x->devices[i].path);
    if (x->tree && check_place(x->tree, e) < 0)
        return -1;
    for (size_t i = 0; i < x->n_mounts; i++)
        if (x->mounts[i].src[0] != '/' || check_place(x->mounts[i].dst, e) < 0)
            return -1;
    for (size_t i = 0; i < x->n_links; i++)
        if (check_place(x->links[i].path, e) < 0)
            return -1;
    return 0;
}

/* ---- files in the root ---------------------------------------------------------- */

/* directory and last name of a path, the directory made when it is missing */
static int open_parent(int root, const char *path, int *dir, const char **name,
                       struct err *e)
{
    char parent[PATH_MAX];
    AUTO_FD int at = -1;
    bool made;

    *name = strrchr(path, '/') + 1;
    (void)snprintf(parent, sizeof parent, "%.*s", (int)(*name - path), path);
    if (root_mkdirs(root, parent, 0755, &made, &at, e) < 0)
        return -1;
    *dir = openat(at, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return *dir < 0 ? err_sys(e, errno, "open %s of the box", parent) : 0;
}

static int put_file(int dir, const char *name, const void *bytes, size_t len,
                    struct err *e)
{
    AUTO_FD int fd = -1;

    (void)unlinkat(dir, name, 0);
    fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (fd < 0 || fchmod(fd, 0644) < 0)
        return err_sys(e, errno, "make %s in the box", name);
    return fd_write_all(fd, bytes, len, e);
}

static int put_path(int root, const char *path, const struct buf *b, struct err *e)
{
    AUTO_FD int dir = -1;
    const char *name;

    if (open_parent(root, path, &dir, &name, e) < 0)
        return -1;
    return put_file(dir, name, buf_str(b), b->len, e);
}

/* a regular file of the image, followed inside its root; false when there is none of
 * that size */
static bool read_image_file(int root, const char *path, struct buf *out, size_t max)
{
    AUTO_FD int fd = fd_open_in_root(root, path, O_RDONLY | O_NONBLOCK, 0);
    struct stat st;
    struct err e;

    return fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
           fd_read_all(fd, out, max, &e) == 0;
}

/* ---- the dynamic linker --------------------------------------------------------- */

static void write_cache(const struct mounter *m)
{
    AUTO_ARENA struct arena a = {0};
    AUTO_BUF struct buf had = {0}, now = {0};
    const struct box_extras *x = extras_of(m);
    struct ldcache_lib *images = NULL, *all;
    size_t n_images = 0, n = 0;
    struct err e;

    buf_init(&had, LIMIT_LDCACHE_BYTES);
    buf_init(&now, 0);
    /* One that cannot be read is left alone: without it the image's own libraries would
     * be lost, and ours are found by LD_LIBRARY_PATH as well. */
    if (read_image_file(m->root_fd, "/etc/ld.so.cache", &had, LIMIT_LDCACHE_BYTES) &&
        ldcache_read_in(&a, (struct str){buf_str(&had), had.len}, &images, &n_images,
                        &e) < 0)
        return;
    all = arena_alloc(&a, (x->n_libs + n_images + 1) * sizeof *all);
    for (; n < x->n_libs; n++)
        all[n] = (struct ldcache_lib){x->libs[n].name, x->libs[n].path, LDCACHE_NATIVE};
    for (size_t i = 0; i < n_images; i++)
        all[n++] = images[i];
    ldcache_write(&now, all, n);
    (void)put_path(m->root_fd, "/etc/ld.so.cache", &now, &e);
}

static void write_musl_path(const struct mounter *m)
{
    static const char path[] = "/etc/ld-musl-" MUSL_ARCH ".path";
    AUTO_FD int loader =
        fd_open_in_root(m->root_fd, "/lib/ld-musl-" MUSL_ARCH ".so.1", O_PATH, 0);
    AUTO_BUF struct buf text = {0};
    struct err e;

    if (loader < 0)
        return;
    buf_init(&text, 64 * KIB);
    if (!read_image_file(m->root_fd, path, &text, 16 * KIB) || !text.len)
        buf_adds(&text, "/lib:/usr/local/lib:/usr/lib");
    for (size_t i = 0; i < extras_of(m)->n_lib_dirs; i++)
        buf_addf(&text, "\n%s", extras_of(m)->lib_dirs[i]);
    (void)put_path(m->root_fd, path, &text, &e);
}

int extras_etc(const struct mounter *m, struct err *e)
{
    const struct box_extras *x = extras_of(m);
    AUTO_BUF struct buf conf = {0};

    if (!x || !x->n_lib_dirs)
        return 0;
    buf_init(&conf, 64 * KIB);
    for (size_t i = 0; i < x->n_lib_dirs; i++)
        buf_addf(&conf, "%s\n", x->lib_dirs[i]);
    if (put_path(m->root_fd, "/etc/ld.so.conf.d/" CONF_NAME, &conf, e) < 0)
        return err_at(e, "tell the box's dynamic linker of the driver");
    write_cache(m);
    write_musl_path(m);
    return 0;
}

/* ---- /dev ----------------------------------------------------------------------- */

static bool is_device(int dir, const char *name, const struct box_device *d)
{
    struct stat st;

    return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISCHR(st.st_mode) &&
           st.st_rdev == makedev(d->major, d->minor);
}

static int bind_node(int dir, const char *name, const struct box_device *d,
                     struct err *e)
{
    AUTO_FD int file = openat(dir, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0666);
    AUTO_FD int host = -1;

    if (file < 0)
        return err_sys(e, errno, "make %s in the box", d->path);
    if (mnt_clone(AT_FDCWD, d->src, false, &host, e) < 0 ||
        mnt_attach(host, file, d->path, e) < 0)
        return err_at(e, "device %s", d->path);
    if (!is_device(dir, name, d))
        return err_set(e, ERR_SYS, "the host's %s is not device %u:%u any more", d->src,
                       d->major, d->minor);
    return 0;
}

int extras_dev(const struct mounter *m, struct err *e)
{
    const struct box_extras *x = extras_of(m);

    for (size_t i = 0; x && i < x->n_devices; i++) {
        const struct box_device *d = &x->devices[i];
        AUTO_FD int dir = -1;
        const char *name;
        /* below our own /dev, where no link of the image can be */
        if (open_parent(m->dev_fd, d->path + 4, &dir, &name, e) < 0)
            return -1;
        if (is_device(dir, name, d))
            continue; /* two devices of one card name it */
        if (m->p->ids.kind == IDS_HOST &&
            mknodat(dir, name, S_IFCHR | 0666, makedev(d->major, d->minor)) == 0)
            continue;
        if (bind_node(dir, name, d, e) < 0)
            return -1;
    }
    return 0;
}

/* ---- the tree, binds, links ----------------------------------------------------- */

static int make_tree(const struct mounter *m, int *tree, struct err *e)
{
    const char *options[] = {"size", "1m", "mode", "0755", NULL};
    const char *path = extras_of(m)->tree;
    AUTO_FD int at = -1;
    bool made;

    if (!path)
        return 0;
    if (root_mkdirs(m->root_fd, path, 0755, &made, &at, e) < 0 ||
        mnt_new("tmpfs", options, ATTRS_TREE, tree, e) < 0)
        return err_at(e, "make %s in the box", path);
    return mnt_attach(*tree, at, path, e);
}

static int make_link(const struct mounter *m, const struct box_link *l, struct err *e)
{
    AUTO_FD int dir = -1;
    const char *name;

    if (open_parent(m->root_fd, l->path, &dir, &name, e) < 0)
        return -1;
    if (symlinkat(l->target, dir, name) < 0 && errno != EEXIST)
        return err_sys(e, errno, "make the link %s in the box", l->path);
    return 0;
}

int extras_root(const struct mounter *m, struct err *e)
{
    const struct box_extras *x = extras_of(m);
    AUTO_FD int tree = -1;

    if (!x)
        return 0;
    if (make_tree(m, &tree, e) < 0)
        return -1;
    for (size_t i = 0; i < x->n_mounts; i++)
        if (mnt_bind_user(m, &x->mounts[i], e) < 0)
            return -1;
    for (size_t i = 0; i < x->n_links; i++)
        if (make_link(m, &x->links[i], e) < 0)
            return -1;
    return tree < 0 ? 0 : mnt_set(tree, ATTR_RDONLY | ATTRS_TREE, false, e);
}

/* ---- /proc ---------------------------------------------------------------------- */

/* A driver's directory tells of all cards. It is covered by one that has just the given
 * files. */
int extras_proc(const struct mounter *m, int proc_fd, struct err *e)
{
    const char *options[] = {"size", "256k", "mode", "0555", NULL};
    const struct box_extras *x = extras_of(m);
    AUTO_FD int at = -1;
    AUTO_FD int cover = -1;

    if (!x || !x->proc_dir)
        return 0;
    at = fd_open_beneath(proc_fd, x->proc_dir, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0);
    if (at < 0)
        return errno == ENOENT ? 0 : err_sys(e, errno, "cover /proc/%s", x->proc_dir);
    if (mnt_new("tmpfs", options, ATTRS_TREE | ATTR_NOEXEC, &cover, e) < 0)
        return -1;
    for (size_t i = 0; i < x->n_proc_files; i++) {
        AUTO_FD int dir = -1;
        const char *name;
        if (open_parent(cover, x->proc_files[i].path, &dir, &name, e) < 0 ||
            put_file(dir, name, x->proc_files[i].text.ptr, x->proc_files[i].text.len,
                     e) < 0)
            return err_at(e, "cover /proc/%s", x->proc_dir);
    }
    if (mnt_set(cover, ATTR_RDONLY | ATTRS_TREE | ATTR_NOEXEC, false, e) < 0)
        return -1;
    return mnt_attach(cover, at, x->proc_dir, e);
}
