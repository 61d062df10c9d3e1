/* SPDX-License-Identifier: Apache-2.0 */
/* lease.c - what was stored a moment ago and no row names yet is not garbage
 *
 *   a publisher:  lease ... blob, blob, tree ... commit of the rows ... end of lease
 *   gc:           oldest living lease = L ... mark from the rows ... sweep what is
 * older than L and not marked
 *
 * A lease is a file in locks/, flock'ed for as long as it holds; its mtime is when it
 * began. What the holder publishes or meets gets an mtime that is not older, so one
 * number, the oldest living lease, protects all of it. Leases that began after gc
 * looked need no protection: what they touch is younger than that look. The lock ends
 * with its process, so a crash leaves a dead file at most, which gc removes.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "store/gc.h"
#include "store/inside.h"

#define PREFIX "lease"

int store_lease(struct store *s, struct err *e)
{
    AUTO_FD int gc = -1;
    AUTO_FD int fd = -1;

    if (s->lease_fd >= 0)
        return 0;
    /* gc must not meet the file before it is locked */
    if (store_gc_lock(s, LOCK_SH, &gc, e) < 0)
        return -1;
    store_unique(s, PREFIX, s->lease);
    fd = openat(s->dirs[STORE_LOCKS], s->lease,
                O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (fd < 0)
        return store_err(e, errno, "open lease", s->lease);
    if (fd_lock(fd, LOCK_EX | LOCK_NB, e) < 0)
        return err_at(e, "lock lease %s", s->lease);
    s->lease_fd = fd_take(&fd);
    return 0;
}

void store_lease_end(struct store *s)
{
    if (s->lease_fd < 0)
        return;
    (void)unlinkat(s->dirs[STORE_LOCKS], s->lease, 0);
    (void)close(s->lease_fd);
    s->lease_fd = -1;
}

/* 1: it holds since *began_ms; 0: its holder is dead, or it is gone */
static int look(struct store *s, const char *name, int64_t *began_ms)
{
    AUTO_FD int fd = openat(s->dirs[STORE_LOCKS], name,
                            O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0)
        return 0;
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
        (void)unlinkat(s->dirs[STORE_LOCKS], name, 0);
        return 0;
    }
    *began_ms = (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000;
    return 1;
}

int gc_leases(struct store *s, int64_t *oldest_unix_ms, struct err *e)
{
    AUTO_FD int gc = -1;
    int fd = openat(s->dirs[STORE_LOCKS], ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *ent;

    *oldest_unix_ms = INT64_MAX;
    if (!d) {
        int sys = errno;
        if (fd >= 0)
            (void)close(fd);
        return err_sys(e, sys, "read locks");
    }
    if (store_gc_lock(s, LOCK_EX, &gc, e) < 0) {
        (void)closedir(d);
        return -1;
    }
    while ((ent = readdir(d))) {
        int64_t began;
        if (!str_starts(str_of(ent->d_name), PREFIX "-") ||
            (s->lease_fd >= 0 && strcmp(ent->d_name, s->lease) == 0))
            continue;
        if (look(s, ent->d_name, &began) && began < *oldest_unix_ms)
            *oldest_unix_ms = began;
    }
    (void)closedir(d);
    return 0;
}
