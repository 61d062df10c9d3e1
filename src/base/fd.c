/* SPDX-License-Identifier: Apache-2.0 */
/* fd.c - descriptors, files below directory descriptors, removing trees
 *
 * fd_remove_tree walks with one open directory a level and never builds a path, so neither depth
 * nor names nor links of a hostile tree matter; when descriptors run short at great depth it
 * moves the deep part up beside the root and goes on from there.
 */
#include "base/fd.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/mem.h"

void auto_fd(int *fd)
{
    if (*fd >= 0) {
        int saved = errno;
        (void)close(*fd);
        errno = saved;
    }
}

/* ---- whole files ------------------------------------------------------------------------- */

int fd_write_all(int fd, const void *bytes, size_t len, struct err *e)
{
    const char *p = bytes;

    while (len) {
        ssize_t n = write(fd, p, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_sys(e, errno, "write");
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

int fd_read_all(int fd, struct buf *out, size_t max_bytes, struct err *e)
{
    AUTO_FREE char *chunk = xalloc(64 * KIB);
    size_t total = 0;

    for (;;) {
        ssize_t n = read(fd, chunk, 64 * KIB);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_sys(e, errno, "read");
        if (n == 0)
            return out->overflow ? err_set(e, ERR_LIMIT, "more than %zu bytes", out->max_bytes)
                                 : 0;
        total += (size_t)n;
        if (total > max_bytes)
            return err_set(e, ERR_LIMIT, "more than %zu bytes", max_bytes);
        buf_add(out, chunk, (size_t)n);
    }
}

int fd_read_file(int dir_fd, const char *path, struct buf *out, size_t max_bytes,
                 struct err *e)
{
    /* O_NONBLOCK: a FIFO in the place of a file must not hang us */
    AUTO_FD int fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;

    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return err_set(e, ERR_MISSING, "%s: no such file", path);
    if (fd < 0 || fstat(fd, &st) < 0)
        return err_sys(e, errno, "open %s", path);
    if (S_ISDIR(st.st_mode))
        return err_set(e, ERR_INPUT, "%s is a directory", path);
    if (!S_ISREG(st.st_mode))
        return err_set(e, ERR_INPUT, "%s is not a regular file", path);
    if (fd_read_all(fd, out, max_bytes, e) < 0)
        return err_at(e, "%s", path);
    return 0;
}

int fd_write_file(int dir_fd, const char *path, const void *bytes, size_t len, mode_t mode,
                  bool sync, struct err *e)
{
    static unsigned serial;
    AUTO_FREE char *tmp = xasprintf("%s.tmp-%d-%u", path, (int)getpid(), serial++);
    AUTO_FD int fd = openat(dir_fd, tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);

    if (fd < 0)
        return err_sys(e, errno, "create %s", tmp);
    if (fd_write_all(fd, bytes, len, e) < 0) {
        (void)unlinkat(dir_fd, tmp, 0);
        return err_at(e, "%s", path);
    }
    if ((sync && fdatasync(fd) < 0) || renameat(dir_fd, tmp, dir_fd, path) < 0) {
        int saved = errno;
        (void)unlinkat(dir_fd, tmp, 0);
        return err_sys(e, saved, "write %s", path);
    }
    return 0;
}

int fd_write_small(int dir_fd, const char *path, const char *text, struct err *e)
{
    AUTO_FD int fd = openat(dir_fd, path, O_WRONLY | O_CLOEXEC);

    if (fd < 0)
        return err_sys(e, errno, "open %s", path);
    if (write(fd, text, strlen(text)) != (ssize_t)strlen(text))
        return err_sys(e, errno, "write \"%s\" to %s", text, path);
    return 0;
}

/* ---- opening below a directory ------------------------------------------------------------- */

int fd_openat2(int dir_fd, const char *path, int flags, mode_t mode, uint64_t resolve)
{
    struct open_how how = {.flags = (uint64_t)(flags | O_CLOEXEC), .resolve = resolve};
    int fd;

    if (flags & (O_CREAT | O_TMPFILE))
        how.mode = mode;
    do /* EAGAIN: something was renamed while the kernel walked (openat2(2)) */
        fd = (int)syscall(SYS_openat2, dir_fd, path, &how, sizeof how);
    while (fd < 0 && errno == EAGAIN);
    return fd;
}

int fd_open_beneath(int dir_fd, const char *path, int flags, mode_t mode)
{
    return fd_openat2(dir_fd, path, flags, mode, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS);
}

int fd_open_in_root(int root_fd, const char *path, int flags, mode_t mode)
{
    return fd_openat2(root_fd, path, flags, mode, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
}

int fd_mkdirs(int dir_fd, const char *path, mode_t mode, struct err *e)
{
    AUTO_FREE char *copy = xstrdup(path);
    struct stat st;

    for (char *p = copy + 1;; p++) {
        char c = *p;
        if (c != '/' && c != 0)
            continue;
        *p = 0;
        if (mkdirat(dir_fd, copy, mode) < 0 && errno != EEXIST &&
            (errno != EROFS || fstatat(dir_fd, copy, &st, 0) < 0))
            return err_sys(e, errno, "make directory %s", copy);
        if (!c)
            break;
        *p = c;
    }
    if (fstatat(dir_fd, path, &st, 0) < 0)
        return err_sys(e, errno, "make directory %s", path);
    if (!S_ISDIR(st.st_mode))
        return err_sys(e, ENOTDIR, "make directory %s", path);
    return 0;
}

/* ---- removing ----------------------------------------------------------------------------- */

#define MAX_OPEN_LEVELS 100

struct remover {
    int top_fd; /* directory that holds the tree */
    dev_t dev;
    unsigned serial;
    struct err *e;
};

static int remove_dir(struct remover *r, int parent, const char *name, unsigned level);

/* Too deep to keep a descriptor a level: move it up beside the tree, remove it from there. */
static int remove_far_below(struct remover *r, int parent, const char *name)
{
    char up[64];

    snprintf(up, sizeof up, ".deep-%d-%u", (int)getpid(), r->serial++);
    if (renameat(parent, name, r->top_fd, up) < 0)
        return err_sys(r->e, errno, "remove %s", name);
    return remove_dir(r, r->top_fd, up, 0);
}

static int remove_entry(struct remover *r, int dir, const struct dirent *d, unsigned level)
{
    if (d->d_type != DT_DIR && unlinkat(dir, d->d_name, 0) == 0)
        return 0;
    if (d->d_type != DT_DIR && errno != EISDIR && errno != EPERM)
        return errno == ENOENT ? 0 : err_sys(r->e, errno, "remove %s", d->d_name);
    if (level >= MAX_OPEN_LEVELS)
        return remove_far_below(r, dir, d->d_name);
    return remove_dir(r, dir, d->d_name, level + 1);
}

static int remove_dir(struct remover *r, int parent, const char *name, unsigned level)
{
    struct dirent *d;
    struct stat st;
    int fd, rc = 0;
    DIR *dir;

    if (unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
        return 0;
    fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && errno == EACCES) {
        (void)fchmodat(parent, name, 0700, 0);
        fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    }
    if (fd < 0)
        return err_sys(r->e, errno, "remove %s", name);
    if (fstat(fd, &st) < 0 || st.st_dev != r->dev) {
        (void)close(fd);
        return err_sys(r->e, EXDEV, "remove %s", name);
    }
    if ((st.st_mode & 0700) != 0700)
        (void)fchmod(fd, 0700);
    dir = fdopendir(fd);
    must(dir != NULL);
    while (rc == 0 && (d = readdir(dir)))
        if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0)
            rc = remove_entry(r, fd, d, level);
    (void)closedir(dir);
    if (rc == 0 && unlinkat(parent, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
        return err_sys(r->e, errno, "remove %s", name);
    return rc;
}

int fd_remove_tree(int dir_fd, const char *name, struct err *e)
{
    struct remover r = {.top_fd = dir_fd, .e = e};
    struct stat st;

    if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT || errno == ENOTDIR ? 0 : err_sys(e, errno, "remove %s", name);
    if (!S_ISDIR(st.st_mode)) {
        if (unlinkat(dir_fd, name, 0) < 0 && errno != ENOENT)
            return err_sys(e, errno, "remove %s", name);
        return 0;
    }
    r.dev = st.st_dev;
    return remove_dir(&r, dir_fd, name, 0);
}

/* ---- locks, paths -------------------------------------------------------------------------- */

int fd_lock(int fd, int op, struct err *e)
{
    while (flock(fd, op) < 0) {
        if (errno == EINTR)
            continue;
        if (errno == EWOULDBLOCK)
            return err_set(e, ERR_BUSY, "locked by another process");
        return err_sys(e, errno, "lock");
    }
    return 0;
}

bool path_name_ok(struct str s)
{
    if (!s.len || s.len > 128)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                    (c >= '0' && c <= '9') || c == '_';
        if (!word && (i == 0 || (c != '.' && c != '-')))
            return false;
    }
    return true;
}

char *path_join(const char *dir, const char *name)
{
    size_t n = strlen(dir);

    if (name[0] == '/')
        return xstrdup(name);
    return xasprintf("%s%s%s", dir, n && dir[n - 1] != '/' ? "/" : "", name);
}
