/* SPDX-License-Identifier: Apache-2.0 */
/* fd.c - descriptors, and files below directory descriptors
 *
 * A file is replaced by writing a neighbour and renaming it, so a reader finds the old
 * bytes or the new ones and a crash leaves at worst a file ".tmp-PID-N". Removing trees
 * has a file of its own, remove.c.
 */
#include "base/fd.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
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

/* ---- whole files
 * ------------------------------------------------------------------------- */

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
    char chunk[16 * KIB]; /* not from the heap: a page mapped and unmapped costs more than a small file */
    const size_t start = out->len;

    for (;;) {
        ssize_t n = read(fd, chunk, sizeof chunk);
        if (n < 0 && errno == EINTR)
            continue;
        if (n == 0)
            return 0;
        if (n < 0) {
            (void)err_sys(e, errno, "read");
            break;
        }
        if ((size_t)n > max_bytes - (out->len - start)) {
            (void)err_set(e, ERR_LIMIT, "more than %zu bytes", max_bytes);
            break;
        }
        buf_add(out, chunk, (size_t)n);
        if (out->overflow) {
            (void)err_set(e, ERR_LIMIT, "more than %zu bytes", out->max_bytes);
            break;
        }
    }
    if (out->ptr) { /* half a file is nobody's output */
        out->len = start;
        out->ptr[start] = 0;
    }
    return -1;
}

int fd_read_file(int dir_fd, const char *path, struct buf *out, size_t max_bytes,
                 struct err *e)
{
    /* O_NONBLOCK: a FIFO in the place of a file must not hang us */
    AUTO_FD int fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
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

/* sync the directory that `path` is in, so that a rename in it outlives a power cut */
static int sync_parent(int dir_fd, const char *path)
{
    const char *slash = strrchr(path, '/');
    AUTO_FREE char *parent =
        slash ? xasprintf("%.*s", (int)(slash - path) + 1, path) : xstrdup(".");
    AUTO_FD int fd = openat(dir_fd, parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    return fd < 0 ? -1 : fsync(fd);
}

/* create a new file beside `path`, its name in *tmp; a process of another PID
 * namespace, or one that died with our id, may have left the first names taken */
static int create_beside(int dir_fd, const char *path, mode_t mode, char **tmp)
{
    static unsigned serial;
    const char *slash = strrchr(path, '/');
    int dir_len = slash ? (int)(slash - path) + 1 : 0;

    for (int tries = 0; tries < 1000; tries++) {
        int fd;

        free(*tmp);
        *tmp = xasprintf("%.*s.tmp-%d-%u", dir_len, path, (int)getpid(), serial++);
        fd = openat(dir_fd, *tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
        if (fd >= 0 || errno != EEXIST)
            return fd;
    }
    return -1;
}

int fd_write_file(int dir_fd, const char *path, const void *bytes, size_t len,
                  mode_t mode, bool sync, struct err *e)
{
    AUTO_FREE char *tmp = NULL;
    AUTO_FD int fd = create_beside(dir_fd, path, mode, &tmp);

    if (fd < 0)
        return err_sys(e, errno, "create %s", path);
    if (fd_write_all(fd, bytes, len, e) < 0) {
        (void)unlinkat(dir_fd, tmp, 0);
        return err_at(e, "%s", path);
    }
    /* some file systems tell about a full disk only at close */
    if ((sync && fdatasync(fd) < 0) || close(fd_take(&fd)) < 0 ||
        renameat(dir_fd, tmp, dir_fd, path) < 0) {
        int saved = errno;
        (void)unlinkat(dir_fd, tmp, 0);
        return err_sys(e, saved, "write %s", path);
    }
    if (sync && sync_parent(dir_fd, path) < 0)
        return err_sys(e, errno, "sync the directory of %s", path);
    return 0;
}

bool fd_has_entries(int dir_fd, const char *path)
{
    int fd = openat(dir_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *ent;
    bool found = false;

    if (!d) {
        if (fd >= 0)
            (void)close(fd);
        return false;
    }
    while (!found && (ent = readdir(d)))
        found = strcmp(ent->d_name, ".") != 0 && strcmp(ent->d_name, "..") != 0 &&
                strcmp(ent->d_name, "lost+found") != 0;
    (void)closedir(d);
    return found;
}

bool fd_is_stream(const char *path)
{
    struct stat st;

    if (strncmp(path, "/proc/", 6) == 0 ||
        (strncmp(path, "/dev/", 5) == 0 && strncmp(path, "/dev/shm/", 9) != 0))
        return true;
    return stat(path, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode);
}

bool fd_meminfo(const char *name, uint64_t *kib)
{
    AUTO_BUF struct buf b = {0};
    size_t len = strlen(name);

    buf_init(&b, 0);
    if (fd_read_file(AT_FDCWD, "/proc/meminfo", &b, 64 * KIB, &(struct err){0}) < 0)
        return false;
    for (const char *line = buf_str(&b); *line;) {
        const char *end = line + strcspn(line, "\n");
        if (strncmp(line, name, len) == 0 && line[len] == ':') {
            *kib = strtoull(line + len + 1, NULL, 10);
            return true;
        }
        line = *end ? end + 1 : end;
    }
    return false;
}

int fd_write_small(int dir_fd, const char *path, const char *text, struct err *e)
{
    AUTO_FD int fd = openat(dir_fd, path, O_WRONLY | O_CLOEXEC);
    size_t len = strlen(text);
    ssize_t n;

    if (fd < 0)
        return err_sys(e, errno, "open %s", path);
    do
        n = write(fd, text, len);
    while (n < 0 && errno == EINTR);
    if (n != (ssize_t)len) /* what is left would be taken for a text of its own */
        return err_sys(e, n < 0 ? errno : EIO, "write \"%s\" to %s", text, path);
    return 0;
}

/* ---- opening below a directory
 * ------------------------------------------------------------- */

#define EAGAIN_TRIES 256

int fd_openat2(int dir_fd, const char *path, int flags, mode_t mode, uint64_t resolve)
{
    struct open_how how = {.flags = (uint64_t)(flags | O_CLOEXEC), .resolve = resolve};
    int fd, tries = 0;

    /* the kernel refuses a mode that it would ignore; O_TMPFILE holds the bit
     * O_DIRECTORY */
    if ((flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE)
        how.mode = mode;
    do /* EAGAIN: something was renamed while the kernel walked (openat2(2)) */
        fd = (int)syscall(SYS_openat2, dir_fd, path, &how, sizeof how);
    while (fd < 0 && errno == EAGAIN && ++tries < EAGAIN_TRIES);
    return fd;
}

int fd_open_beneath(int dir_fd, const char *path, int flags, mode_t mode)
{
    return fd_openat2(dir_fd, path, flags, mode,
                      RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS);
}

int fd_open_in_root(int root_fd, const char *path, int flags, mode_t mode)
{
    return fd_openat2(root_fd, path, flags, mode,
                      RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
}

int fd_mkdirs(int dir_fd, const char *path, mode_t mode, struct err *e)
{
    AUTO_FREE char *copy = xstrdup(path);
    struct stat st;

    if (!*path)
        return err_sys(e, ENOENT, "make directory \"\"");
    for (char *p = copy + 1;; p++) {
        char c = *p;
        if (c != '/' && c != 0)
            continue;
        *p = 0;
        int sys = mkdirat(dir_fd, copy, mode) < 0 ? errno : 0;
        if (sys && sys != EEXIST && (sys != EROFS || fstatat(dir_fd, copy, &st, 0) < 0))
            return err_sys(e, sys, "make directory %s", copy);
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

/* ---- locks, paths
 * -------------------------------------------------------------------------- */

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

/* ---- descriptors of others -------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
    int x = *(const int *)a, y = *(const int *)b;

    return x < y ? -1 : x > y;
}

void fd_leave_stdio(void)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    for (int fd = 0; null >= 0 && fd < 3; fd++)
        (void)dup2(null, fd);
    if (null > 2)
        (void)close(null);
}

void fd_close_all_but(const int *keep, size_t n)
{
    int sorted[FD_KEEP_MAX];
    unsigned from = 3;

    must(n <= FD_KEEP_MAX);
    if (n)
        memcpy(sorted, keep, n * sizeof *keep);
    qsort(sorted, n, sizeof *sorted, by_value);
    for (size_t i = 0; i < n; i++) {
        if ((unsigned)sorted[i] > from)
            (void)syscall(SYS_close_range, from, (unsigned)sorted[i] - 1, 0);
        from = (unsigned)sorted[i] + 1;
    }
    (void)syscall(SYS_close_range, from, ~0U, 0);
}
