/* SPDX-License-Identifier: Apache-2.0 */
/* store.c - the directories of a home, and the locks that make several processes safe
 *
 * Every lock is a flock on a descriptor of its own, opened for the occasion: it ends
 * with the process, however the process ends, and a fork cannot give it away by
 * accident. What is being written lies in tmp/ under a lock of its own; a sweep that
 * gets that lock has found garbage, and needs no pid or age to know it.
 */
#include "store/blob.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "store/inside.h"

static const char *const dir_paths[STORE_DIRS] = {
    [STORE_BLOBS] = "store/blobs/sha256",
    [STORE_LAYERS] = "layers",
    [STORE_CHECKOUTS] = "checkouts",
    [STORE_PACKS] = "store/packs",
    [STORE_TMP] = "tmp",
    [STORE_TRASH] = "trash",
    [STORE_LOCKS] = "locks",
};

/* mkdir of one level; only what we made ourselves gets our group and mode. Who is in which group
 * may be a question to the network, so it is asked once something has to be made. */
static int make_level(int at, const char *path, struct err *e)
{
    struct group *g = geteuid() == 0 ? getgrnam("dugout") : NULL;
    gid_t group = g ? g->gr_gid : (gid_t)-1;
    /* set-group-id: what run makes below is the group's to read as well */
    mode_t mode = g ? 02750 : 0700;

    if (mkdirat(at, path, mode) < 0) {
        if (errno == EEXIST || errno == EROFS || errno == EACCES || errno == EPERM)
            return 0; /* the open that follows says what is wrong, if anything is */
        return err_sys(e, errno, "make directory %s", path);
    }
    if (group != (gid_t)-1 && fchownat(at, path, (uid_t)-1, group, 0) < 0)
        return err_sys(e, errno, "give %s to group dugout", path);
    if (fchmodat(at, path, mode, 0) < 0)
        return err_sys(e, errno, "chmod %s", path);
    return 0;
}

static int make_levels(int at, const char *path, struct err *e)
{
    AUTO_FREE char *p = xstrdup(path);

    for (char *slash = strchr(p + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (make_level(at, p, e) < 0)
            return -1;
        *slash = '/';
    }
    return make_level(at, p, e);
}

static int open_home(const char *home, struct store *s, struct err *e)
{
    char real[PATH_MAX];

    s->home_fd = open(home, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->home_fd < 0 && errno == ENOENT) {
        const char *slash = strrchr(home, '/');
        AUTO_FREE char *parent =
            slash && slash > home ? xasprintf("%.*s", (int)(slash - home), home) : NULL;
        if (parent && fd_mkdirs(AT_FDCWD, parent, 0755, e) < 0)
            return err_at(e, "make home %s", home);
        if (make_level(AT_FDCWD, home, e) < 0)
            return -1;
        s->home_fd = open(home, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    }
    if (s->home_fd < 0)
        return err_sys(e, errno, "open home %s", home);
    if (!realpath(home, real))
        return err_sys(e, errno, "resolve home %s", home);
    s->home = xstrdup(real);
    return 0;
}

int store_open(const char *home, struct store **gives, struct err *e)
{
    struct store *s = xalloc(sizeof(*s));

    s->home_fd = s->lease_fd = -1;
    for (int i = 0; i < STORE_DIRS; i++)
        s->dirs[i] = -1;
    if (open_home(home, s, e) < 0)
        goto fail;
    for (int i = 0; i < STORE_DIRS; i++) {
        s->dirs[i] =
            openat(s->home_fd, dir_paths[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (s->dirs[i] < 0 && errno == ENOENT) {
            if (make_levels(s->home_fd, dir_paths[i], e) < 0)
                goto fail;
            s->dirs[i] =
                openat(s->home_fd, dir_paths[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        }
        if (s->dirs[i] < 0) {
            err_sys(e, errno, "open %s/%s", s->home, dir_paths[i]);
            goto fail;
        }
    }
    *gives = s;
    return 0;
fail:
    store_close(s);
    return -1;
}

void store_close(struct store *s)
{
    if (!s)
        return;
    store_lease_end(s);
    drop_forget(s);
    for (int i = 0; i < STORE_DIRS; i++)
        if (s->dirs[i] >= 0)
            (void)close(s->dirs[i]);
    if (s->home_fd >= 0)
        (void)close(s->home_fd);
    digest_set_done(&s->loose);
    free(s->hash_buf);
    free(s->home);
    free(s);
}

void auto_store(struct store **s)
{
    store_close(*s);
}

const char *store_home(const struct store *s)
{
    return s->home;
}

int store_home_fd(const struct store *s)
{
    return s->home_fd;
}

int store_dir_fd(const struct store *s, enum store_dir d)
{
    return s->dirs[d];
}

void store_touched(struct store *s, enum store_dir d)
{
    s->touched[d] = true;
}

int store_sync(struct store *s, struct err *e)
{
    for (int i = 0; i < STORE_DIRS; i++) {
        if (!s->touched[i])
            continue;
        if (fsync(s->dirs[i]) < 0)
            return err_sys(e, errno, "make %s/%s durable", s->home, dir_paths[i]);
        s->touched[i] = false;
    }
    return 0;
}

uint8_t *store_hash_buf(struct store *s)
{
    if (!s->hash_buf)
        s->hash_buf = xalloc(HASH_BUF_BYTES);
    return s->hash_buf;
}

int store_err(struct err *e, int sys, const char *what, const char *name)
{
    if (sys == ENOSPC || sys == EDQUOT)
        return err_sys(e, sys, "%s %s (free some space, or run dugout gc)", what, name);
    return err_sys(e, sys, "%s %s", what, name);
}

void store_unique(struct store *s, const char *prefix, char name[STORE_TMP_NAME])
{
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)snprintf(name, STORE_TMP_NAME, "%.12s-%d-%llx-%lx", prefix, (int)getpid(),
                   (unsigned long long)s->serial++,
                   (unsigned long)now.tv_nsec ^ (unsigned long)now.tv_sec << 30);
}

int store_lock(struct store *s, const char *name, int op, int *gives_fd, struct err *e)
{
    AUTO_FD int fd = openat(s->dirs[STORE_LOCKS], name,
                            O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);

    if (fd < 0)
        return store_err(e, errno, "open lock", name);
    if (fd_lock(fd, op, e) < 0)
        return err_at(e, "lock %s", name);
    *gives_fd = fd_take(&fd);
    return 0;
}

int store_gc_lock(struct store *s, int op, int *gives_fd, struct err *e)
{
    return store_lock(s, "gc", op, gives_fd, e);
}

int store_tmp_dir(struct store *s, const char *prefix, char name[STORE_TMP_NAME],
                  int *lock_fd, struct err *e)
{
    AUTO_FD int gc = -1;
    AUTO_FD int fd = -1;

    /* a sweep must not meet the directory before it is locked */
    if (store_gc_lock(s, LOCK_SH, &gc, e) < 0)
        return -1;
    store_unique(s, prefix, name);
    if (mkdirat(s->dirs[STORE_TMP], name, 0700) < 0)
        return store_err(e, errno, "make tmp directory", name);
    fd = openat(s->dirs[STORE_TMP], name,
                O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || flock(fd, LOCK_SH) < 0)
        return err_sys(e, errno, "open tmp directory %s", name);
    *lock_fd = fd_take(&fd);
    return 0;
}

bool store_shut(int dir_fd, const char *name)
{
    struct stat st;

    return fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode) &&
           (st.st_mode & 0777) != 0700 && fchmodat(dir_fd, name, 0700, 0) == 0;
}

int store_pin(struct store *s, enum store_dir d, const char *hex, int *gives_fd,
              struct err *e)
{
    struct stat named, held;

    if (!is_hex64(hex))
        return err_set(e, ERR_INPUT, "\"%.80s\" is not a sha256 digest", hex);
    for (;;) {
        AUTO_FD int fd =
            openat(s->dirs[d], hex, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0 && errno == ENOENT)
            return err_set(e, ERR_MISSING, "%s/%.12s is not there", dir_paths[d], hex);
        if (fd < 0)
            return err_sys(e, errno, "open %s/%.12s", dir_paths[d], hex);
        if (fd_lock(fd, LOCK_SH, e) < 0)
            return err_at(e, "pin %s/%.12s", dir_paths[d], hex);
        /* a sweep may have moved it away between the open and the lock */
        if (fstat(fd, &held) == 0 &&
            fstatat(s->dirs[d], hex, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
            held.st_ino == named.st_ino) {
            *gives_fd = fd_take(&fd);
            return 0;
        }
    }
}
