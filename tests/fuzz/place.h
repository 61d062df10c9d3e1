/* SPDX-License-Identifier: Apache-2.0 */
/* place.h - a directory in memory for a fuzz target that needs files, with a canary
 * beside it
 *
 *     /dev/shm/dugout-fuzz-PID/canary     must never change
 *     /dev/shm/dugout-fuzz-PID/work       what the target may write; emptied by
 * place_clean()
 */
#ifndef FUZZ_PLACE_H
#define FUZZ_PLACE_H

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"

struct fuzz_place {
    char path[64], work_path[80];
    int dir_fd, work_fd;
    struct stat canary;
};

static struct fuzz_place the_place;

static void place_drop(void)
{
    struct err ignored;

    (void)fd_remove_tree(AT_FDCWD, the_place.path, &ignored);
}

static inline struct fuzz_place *place_get(void)
{
    struct fuzz_place *p = &the_place;
    int fd;

    if (p->path[0])
        return p;
    (void)snprintf(p->path, sizeof p->path, "/dev/shm/dugout-fuzz-%d", (int)getpid());
    (void)snprintf(p->work_path, sizeof p->work_path, "%s/work", p->path);
    must(mkdir(p->path, 0755) == 0);
    p->dir_fd = open(p->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    must(p->dir_fd >= 0 && mkdirat(p->dir_fd, "work", 0755) == 0);
    fd = openat(p->dir_fd, "canary", O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0640);
    must(fd >= 0 && write(fd, "sing", 4) == 4 && fstat(fd, &p->canary) == 0);
    (void)close(fd);
    p->work_fd = openat(p->dir_fd, "work", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    (void)atexit(place_drop);
    return p;
}

/* empty the work directory again; the canary and the names beside it are as they were
 */
static inline void place_clean(struct fuzz_place *p)
{
    struct stat now, dir;
    struct err e = {0};

    must(fstatat(p->dir_fd, "canary", &now, AT_SYMLINK_NOFOLLOW) == 0);
    must(now.st_ino == p->canary.st_ino && now.st_mode == p->canary.st_mode &&
         now.st_nlink == 1 && now.st_size == 4 && now.st_uid == p->canary.st_uid &&
         now.st_ctim.tv_sec == p->canary.st_ctim.tv_sec &&
         now.st_ctim.tv_nsec == p->canary.st_ctim.tv_nsec);
    must(fstat(p->dir_fd, &dir) == 0 && dir.st_nlink == 3 &&
         (dir.st_mode & 07777) == 0755);
    (void)close(p->work_fd);
    must(fd_remove_tree(p->dir_fd, "work", &e) == 0);
    must(mkdirat(p->dir_fd, "work", 0755) == 0);
    p->work_fd = openat(p->dir_fd, "work", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    must(p->work_fd >= 0);
}

static inline void place_file(int dir_fd, const char *path, struct str text)
{
    int fd = openat(dir_fd, path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);

    must(fd >= 0 && write(fd, text.ptr, text.len) == (ssize_t)text.len);
    (void)close(fd);
}

/* cut what stands before the next NUL off *rest */
static inline struct str place_part(struct str *rest)
{
    const char *end = rest->len ? memchr(rest->ptr, 0, rest->len) : NULL;
    struct str part = {rest->ptr, end ? (size_t)(end - rest->ptr) : rest->len};

    rest->ptr += part.len + (end != NULL);
    rest->len -= part.len + (end != NULL);
    return part;
}

#endif
