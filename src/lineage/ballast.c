/* SPDX-License-Identifier: Apache-2.0 */
/* ballast.c - a few megabytes to throw overboard when the disk is full
 *
 * A task that fills the disk has failed, and saying so needs room in the very database
 * that has none. So an engine puts a file of BALLAST_BYTES beside the database while
 * there is plenty of room, and who begins a write transaction on a disk with less than
 * LOW_BYTES left removes it first. What is freed is small against what fills disks, and
 * enough for thousands of rows. The next engine that finds room again makes a new one.
 */
#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/limits.h"
#include "base/log.h"
#include "lineage/sql.h"

#define BALLAST_BYTES (8 * MIB)
#define LOW_BYTES (4 * MIB)
#define ROOM_BYTES (4 * BALLAST_BYTES)

/* what this process could still write: root may use what is reserved */
static uint64_t bytes_left(const char *path)
{
    struct statvfs fs;

    if (statvfs(path, &fs) < 0)
        return UINT64_MAX;
    return (uint64_t)(geteuid() == 0 ? fs.f_bfree : fs.f_bavail) * fs.f_frsize;
}

void db_ballast_load(struct db *d)
{
    AUTO_FD int fd = -1;

    if (access(d->ballast_path, F_OK) == 0 || bytes_left(d->path) < ROOM_BYTES)
        return;
    fd = open(d->ballast_path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
              0600);
    if (fd >= 0 && fallocate(fd, 0, 0, (off_t)BALLAST_BYTES) < 0)
        (void)unlink(d->ballast_path);
}

void ballast_drop(struct db *d)
{
    if (bytes_left(d->path) >= LOW_BYTES || unlink(d->ballast_path) < 0)
        return;
    log_note("the disk of %s is full: its ballast of %d MiB was removed, so that what "
             "fails can be recorded (free some space, dugout gc may)",
             d->path, (int)(BALLAST_BYTES / MIB));
}
