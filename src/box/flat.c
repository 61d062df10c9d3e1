/* SPDX-License-Identifier: Apache-2.0 */
/* flat.c - the layers of an image as one ordinary directory, where overlayfs cannot be had
 *
 * Layers are laid down from the bottom one to the top one. Each is in overlayfs's form:
 *
 *     character device 0:0          what has this name below goes
 *     directory, xattr opaque=y     everything below in it goes first
 *     anything else                 replaces what has its name; directories are merged
 *
 * so the result is what the overlay would show. Contents are shared with the layer where the
 * file system can (reflink), else copied by the kernel. Hard links within a layer stay.
 * Everything goes through directory descriptors and single names; links are never followed.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "base/fd.h"
#include "base/limits.h"
#include "base/mem.h"
#include "box/inside.h"

struct flat {
    int root_fd;
    bool owners, userxattr;
    struct arena arena;
    struct map links; /* "INODE" of the layer -> path in the copy, without the leading slash */
    char path[PATH_MAX];
    size_t path_len;
    struct err *e;
};

/* ---- metadata ------------------------------------------------------------------------------ */

static bool keep_xattr(const char *name)
{
    return strncmp(name, "trusted.", 8) != 0 && strncmp(name, "user.overlay.", 13) != 0 &&
           strcmp(name, "security.selinux") != 0;
}

/* best effort: a file system without attributes makes no worse copy than it must */
static void copy_xattrs(int from, int to)
{
    char names[4096];
    ssize_t n = flistxattr(from, names, sizeof names);

    for (ssize_t i = 0; i < n; i += (ssize_t)strlen(names + i) + 1) {
        char value[4096];
        ssize_t len;
        if (!keep_xattr(names + i))
            continue;
        len = fgetxattr(from, names + i, value, sizeof value);
        if (len >= 0)
            (void)fsetxattr(to, names + i, value, (size_t)len, 0);
    }
}

/* owner before mode, as chown takes setuid away; times last */
static int copy_meta(const struct flat *f, int from, int to, const struct stat *st)
{
    struct timespec times[2] = {st->st_atim, st->st_mtim};

    if ((f->owners && fchown(to, st->st_uid, st->st_gid) < 0) ||
        fchmod(to, st->st_mode & 07777) < 0)
        return err_sys(f->e, errno, "copy /%s", f->path);
    copy_xattrs(from, to);
    return futimens(to, times) < 0 ? err_sys(f->e, errno, "copy /%s", f->path) : 0;
}

static bool is_opaque(const struct flat *f, int dir)
{
    char value[4];

    return fgetxattr(dir, f->userxattr ? "user.overlay.opaque" : "trusted.overlay.opaque", value,
                     sizeof value) == 1 &&
           value[0] == 'y';
}

/* ---- contents ------------------------------------------------------------------------------- */

static int copy_bytes(int from, int to)
{
    char chunk[32768];
    ssize_t n;

    if (ioctl(to, FICLONE, from) == 0)
        return 0;
    while ((n = copy_file_range(from, NULL, to, NULL, 1 << 30, 0)) > 0)
        ;
    if (n == 0)
        return 0;
    if (errno != EXDEV && errno != EINVAL && errno != EOPNOTSUPP && errno != ENOSYS)
        return -1;
    while ((n = read(from, chunk, sizeof chunk)) > 0)
        for (ssize_t done = 0; done < n;) {
            ssize_t w = write(to, chunk + done, (size_t)(n - done));
            if (w < 0)
                return -1;
            done += w;
        }
    return (int)n;
}

static int copy_file(const struct flat *f, int from_dir, int to_dir, const char *name,
                     const struct stat *st)
{
    AUTO_FD int from = openat(from_dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    AUTO_FD int to = -1;

    if (from < 0)
        return err_sys(f->e, errno, "copy /%s", f->path);
    to = openat(to_dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (to < 0 || copy_bytes(from, to) < 0)
        return err_sys(f->e, errno, "copy /%s", f->path);
    return copy_meta(f, from, to, st);
}

static int copy_link(const struct flat *f, int from_dir, int to_dir, const char *name,
                     const struct stat *st)
{
    struct timespec times[2] = {st->st_atim, st->st_mtim};
    char text[PATH_MAX];
    ssize_t n = readlinkat(from_dir, name, text, sizeof text - 1);

    if (n < 0)
        return err_sys(f->e, errno, "copy /%s", f->path);
    text[n] = 0;
    if (symlinkat(text, to_dir, name) < 0 ||
        (f->owners && fchownat(to_dir, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0))
        return err_sys(f->e, errno, "copy /%s", f->path);
    (void)utimensat(to_dir, name, times, AT_SYMLINK_NOFOLLOW);
    return 0;
}

static int copy_fifo(const struct flat *f, int to_dir, const char *name, const struct stat *st)
{
    if (mkfifoat(to_dir, name, 0600) < 0 ||
        (f->owners && fchownat(to_dir, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0) ||
        fchmodat(to_dir, name, st->st_mode & 07777, 0) < 0)
        return err_sys(f->e, errno, "copy /%s", f->path);
    return 0;
}

/* a further name of a file that is there: 1, linked; 0, it is the first */
static int link_again(struct flat *f, int to_dir, const char *name, const struct stat *st)
{
    char *key, *first;

    if (st->st_nlink < 2 || S_ISDIR(st->st_mode))
        return 0;
    key = arena_printf(&f->arena, "%llu", (unsigned long long)st->st_ino);
    first = map_get(&f->links, str_of(key));
    if (!first) {
        map_put(&f->links, str_of(key), arena_strdup(&f->arena, f->path));
        return 0;
    }
    if (linkat(f->root_fd, first, to_dir, name, 0) < 0)
        return err_sys(f->e, errno, "link /%s", f->path);
    return 1;
}

/* ---- directories ------------------------------------------------------------------------------ */

static int copy_dir(struct flat *f, int from, int to, const struct stat *st, unsigned depth);

static int empty_dir(const struct flat *f, int dir_fd)
{
    int again = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = again < 0 ? NULL : fdopendir(again);
    struct dirent *entry;
    int rc = 0;

    if (!d)
        return err_sys(f->e, errno, "empty /%s", f->path);
    while (rc == 0 && (entry = readdir(d)))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            rc = fd_remove_tree(dir_fd, entry->d_name, f->e);
    (void)closedir(d);
    return rc;
}

static int enter_dir(struct flat *f, int from_dir, int to_dir, const char *name,
                     const struct stat *st, unsigned depth)
{
    AUTO_FD int from = openat(from_dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    AUTO_FD int to = -1;
    struct stat there;

    if (from < 0)
        return err_sys(f->e, errno, "copy /%s", f->path);
    if (fstatat(to_dir, name, &there, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISDIR(there.st_mode) &&
        fd_remove_tree(to_dir, name, f->e) < 0)
        return -1;
    if (mkdirat(to_dir, name, 0700) < 0 && errno != EEXIST)
        return err_sys(f->e, errno, "copy /%s", f->path);
    to = openat(to_dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (to < 0)
        return err_sys(f->e, errno, "copy /%s", f->path);
    if (is_opaque(f, from) && empty_dir(f, to) < 0)
        return -1;
    return copy_dir(f, from, to, st, depth);
}

static int copy_entry(struct flat *f, int from, int to, const char *name, unsigned depth)
{
    struct stat st;
    int linked;

    if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return err_sys(f->e, errno, "copy /%s", f->path);
    if (S_ISDIR(st.st_mode))
        return enter_dir(f, from, to, name, &st, depth + 1);
    if (fd_remove_tree(to, name, f->e) < 0)
        return -1;
    if (S_ISCHR(st.st_mode) && st.st_rdev == makedev(0, 0))
        return 0; /* a whiteout has done its work */
    linked = link_again(f, to, name, &st);
    if (linked)
        return linked < 0 ? -1 : 0;
    if (S_ISREG(st.st_mode))
        return copy_file(f, from, to, name, &st);
    if (S_ISLNK(st.st_mode))
        return copy_link(f, from, to, name, &st);
    if (S_ISFIFO(st.st_mode))
        return copy_fifo(f, to, name, &st);
    return 0; /* devices and sockets are not used from an image */
}

static int copy_children(struct flat *f, DIR *d, int to, unsigned depth)
{
    size_t len = f->path_len;
    struct dirent *entry;
    int rc = 0;

    while (rc == 0 && (entry = readdir(d))) {
        size_t n = strlen(entry->d_name);
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (len + n + 2 > sizeof f->path)
            return err_set(f->e, ERR_LIMIT, "/%.100s...: the path is too long", f->path);
        if (len)
            f->path[len] = '/';
        memcpy(f->path + len + (len > 0), entry->d_name, n + 1);
        f->path_len = len + (len > 0) + n;
        rc = copy_entry(f, dirfd(d), to, entry->d_name, depth);
    }
    f->path_len = len;
    f->path[len] = 0;
    return rc;
}

static int copy_dir(struct flat *f, int from, int to, const struct stat *st, unsigned depth)
{
    int again = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d;
    int rc;

    if (depth > LIMIT_PATH_DEPTH || again < 0) {
        auto_fd(&again);
        return err_sys(f->e, again < 0 ? errno : ELOOP, "copy /%s", f->path);
    }
    d = fdopendir(again);
    must(d != NULL);
    rc = copy_children(f, d, to, depth);
    (void)closedir(d);
    return rc < 0 ? -1 : copy_meta(f, from, to, st);
}

int flat_copy(const char *const *lowers, size_t n, bool userxattr, int to_fd, struct err *e)
{
    struct flat f = {.root_fd = to_fd, .userxattr = userxattr, .owners = geteuid() == 0, .e = e};
    int rc = 0;

    while (rc == 0 && n-- > 0) { /* bottom first */
        AUTO_FD int from = open(lowers[n], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        struct stat st;
        if (from < 0 || fstat(from, &st) < 0) {
            rc = err_sys(e, errno, "layer %s", lowers[n]);
            break;
        }
        st.st_mode |= 0555;
        f.path_len = 0;
        f.path[0] = 0;
        rc = copy_dir(&f, from, to_fd, &st, 0);
        map_done(&f.links); /* inode numbers are a layer's own */
        f.links = (struct map){0};
        arena_reset(&f.arena);
    }
    arena_done(&f.arena);
    map_done(&f.links);
    return rc;
}
