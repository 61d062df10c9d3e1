/* SPDX-License-Identifier: Apache-2.0 */
/* remove.c - rm -rf for trees that others made
 *
 * Images and tasks may leave trees of any depth, with links to anywhere, directories
 * that nobody may enter and mounts. So no path is ever built and nothing recurses: the
 * walk is a stack of levels, and each step down is one openat2 that refuses links and
 * mount points.
 *
 *     levels   0     1     2   ...  n-33 | n-32 ... n-2   n-1
 *              (identity only, closed)   | (open, with a name)
 *
 * Only the lowest OPEN_LEVELS directories stay open. On the way up a closed one is
 * opened again as "..", and must be the directory that was walked through: a tree that
 * is being rearranged meanwhile ends in an error, not outside of itself. An open
 * directory is read until one whole pass removes nothing, since file systems differ in
 * what readdir tells about a directory that changes; that also finds the empty child of
 * a level opened again.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"

#define OPEN_LEVELS 32

struct level {
    DIR *dir;   /* NULL while closed */
    char *name; /* in the level above; NULL when that one is closed */
    dev_t dev;
    ino_t ino;
    bool removed; /* something, in this pass */
};

struct remover {
    struct level *levels;
    size_t n, cap;
    struct err *e;
};

static void level_close(struct level *l)
{
    if (l->dir)
        (void)closedir(l->dir);
    l->dir = NULL;
}

static void remover_done(struct remover *r)
{
    for (size_t i = 0; i < r->n; i++) {
        level_close(&r->levels[i]);
        free(r->levels[i].name);
    }
    free(r->levels);
}

static int open_dir(int parent, const char *name)
{
    const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;
    int fd = fd_openat2(parent, name, flags, 0, RESOLVE_NO_XDEV);

    if (fd < 0 && errno == EACCES &&
        fchmodat(parent, name, 0700, AT_SYMLINK_NOFOLLOW) == 0)
        fd = fd_openat2(parent, name, flags, 0, RESOLVE_NO_XDEV);
    return fd;
}

/* l->dir from a directory that open_dir or ".." gave; takes fd */
static int level_open(struct level *l, int fd)
{
    l->dir = fdopendir(fd);
    if (!l->dir) {
        int saved = errno;
        (void)close(fd);
        errno = saved;
        return -1;
    }
    l->removed = false;
    return 0;
}

/* make the directory `name` in `parent` the lowest level; when it is gone, another remover was
 * quicker, and there is nothing to do */
static int descend(struct remover *r, int parent, const char *name)
{
    AUTO_FD int fd = open_dir(parent, name);
    struct level *l;
    struct stat st;

    if (fd < 0 && errno == EXDEV)
        return err_sys(r->e, errno, "%s: something is mounted there", name);
    if (fd < 0 && errno == ENOENT)
        return 0;
    if (fd < 0 || fstat(fd, &st) < 0)
        return err_sys(r->e, errno, "%s", name);
    if ((st.st_mode & 0700) != 0700)
        (void)fchmod(fd, 0700); /* what comes of it, unlinkat will tell */

    if (r->n == r->cap) {
        r->cap = r->cap ? r->cap * 2 : 16;
        r->levels = xrealloc(r->levels, r->cap * sizeof(*r->levels));
    }
    l = &r->levels[r->n];
    *l = (struct level){.dev = st.st_dev, .ino = st.st_ino};
    if (level_open(l, fd_take(&fd)) < 0)
        return err_sys(r->e, errno, "%s", name);
    l->name = xstrdup(name);
    r->n++;

    if (r->n > OPEN_LEVELS) {
        struct level *top = &r->levels[r->n - 1 - OPEN_LEVELS];

        level_close(top);
        free(top[1].name);
        top[1].name = NULL;
    }
    return 0;
}

/* leave the lowest level, which is empty, and remove it from the one above */
static int ascend(struct remover *r)
{
    struct level *done = &r->levels[r->n - 1], *up = done - 1;
    int rc = 0;

    if (!up->dir) {
        int fd = openat(dirfd(done->dir), "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        struct stat st;

        if (fd < 0 || level_open(up, fd) < 0)
            return err_sys(r->e, errno, "go up from a deep directory");
        if (fstat(dirfd(up->dir), &st) < 0 || st.st_dev != up->dev ||
            st.st_ino != up->ino)
            return err_sys(r->e, EBUSY,
                           "something moves the directories about meanwhile");
    } else if (done->name && unlinkat(dirfd(up->dir), done->name, AT_REMOVEDIR) == 0) {
        up->removed = true;
    } else if (done->name && errno != ENOENT) {
        rc = err_sys(r->e, errno, "%s", done->name);
    }
    level_close(done);
    free(done->name);
    r->n--;
    return rc;
}

/* remove one entry of the lowest level, or go down into it */
static int remove_entry(struct remover *r, const char *name, unsigned char type)
{
    struct level *l = &r->levels[r->n - 1];
    int fd = dirfd(l->dir);

    if (type != DT_DIR) { /* DT_UNKNOWN, too: unlinkat says EISDIR */
        if (unlinkat(fd, name, 0) == 0) {
            l->removed = true;
            return 0;
        }
        if (errno == ENOENT)
            return 0;
        if (errno != EISDIR)
            return err_sys(r->e, errno, "%s", name);
    }
    if (unlinkat(fd, name, AT_REMOVEDIR) == 0) { /* empty ones need not be opened */
        l->removed = true;
        return 0;
    }
    return errno == ENOENT ? 0 : descend(r, fd, name);
}

/* empty level 0 */
static int walk(struct remover *r)
{
    for (;;) {
        struct level *l;
        struct dirent *d;

        must(r->n > 0);
        l = &r->levels[r->n - 1];
        errno = 0;
        d = readdir(l->dir);
        if (d) {
            if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0 &&
                remove_entry(r, d->d_name, d->d_type) < 0)
                return -1;
        } else if (errno) {
            return err_sys(r->e, errno, "read a directory");
        } else if (l->removed) {
            l->removed = false;
            rewinddir(l->dir);
        } else if (r->n == 1) {
            return 0;
        } else if (ascend(r) < 0) {
            return -1;
        }
    }
}

/* remove `name`, one component, from the directory at */
static int remove_at(int at, const char *name, struct err *e)
{
    __attribute__((cleanup(remover_done))) struct remover r = {.e = e};

    if (unlinkat(at, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR)
        return err_sys(e, errno, "%s", name);
    if (unlinkat(at, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
        return 0;
    if (descend(&r, at, name) < 0 || (r.n > 0 && walk(&r) < 0))
        return -1;
    if (unlinkat(at, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
        return err_sys(e, errno, "%s", name);
    return 0;
}

int fd_remove_tree(int dir_fd, const char *path, struct err *e)
{
    AUTO_FREE char *copy = xstrdup(path);
    AUTO_FD int parent = -1;
    size_t len = strlen(copy);
    char *name;

    while (len > 1 && copy[len - 1] == '/')
        copy[--len] = 0;
    name = strrchr(copy, '/');
    if (name)
        *name++ = 0;
    else
        name = copy;
    if (!*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return err_set(e, ERR_INPUT, "cannot remove \"%s\", name what is in it", path);
    if (name != copy) {
        parent = openat(dir_fd, *copy ? copy : "/", O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (parent < 0 && (errno == ENOENT || errno == ENOTDIR))
            return 0;
        if (parent < 0)
            return err_sys(e, errno, "remove %s", path);
    }
    if (remove_at(name != copy ? parent : dir_fd, name, e) < 0)
        return err_at(e, "remove %s", path);
    return 0;
}
