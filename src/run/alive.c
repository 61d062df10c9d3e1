/* SPDX-License-Identifier: Apache-2.0 */
/* alive.c - does anything of a home run now?
 *
 * Asked of the lock files alone, not of the database: who asks may be about to change the
 * database's schema, or to fill an empty one. Each engine and each supervisor holds a lock of
 * its own for life (attempt.h), so what can be locked here is dead.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/fd.h"
#include "run/run.h"

static bool is_held(int dir_fd, const char *name)
{
    AUTO_FD int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

    return fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

static DIR *open_dir(int at, const char *name)
{
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);

    if (!d && fd >= 0)
        (void)close(fd);
    return d;
}

static bool run_is_alive(int runs_fd, const char *run)
{
    DIR *d = open_dir(runs_fd, run);
    const struct dirent *ent;
    bool alive = false;
    char lock[sizeof(ent->d_name) + sizeof("/lock")];

    if (!d)
        return false;
    alive = is_held(dirfd(d), "lock");
    while (!alive && (ent = readdir(d))) {
        if (ent->d_name[0] < '0' || ent->d_name[0] > '9')
            continue;
        (void)snprintf(lock, sizeof lock, "%s/lock", ent->d_name);
        alive = is_held(dirfd(d), lock);
    }
    (void)closedir(d);
    return alive;
}

size_t run_count_alive(const char *home, char one[37])
{
    AUTO_FD int home_fd = open(home, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = home_fd < 0 ? NULL : open_dir(home_fd, "runs");
    const struct dirent *ent;
    size_t n = 0;

    while (d && (ent = readdir(d))) {
        if (ent->d_name[0] == '.' || !run_is_alive(dirfd(d), ent->d_name))
            continue;
        if (n++ == 0)
            (void)snprintf(one, 37, "%.36s", ent->d_name);
    }
    if (d)
        (void)closedir(d);
    return n;
}
