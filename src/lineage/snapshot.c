/* SPDX-License-Identifier: Apache-2.0 */
/* snapshot.c - the database as it is at one instant, as a file of its own
 *
 * VACUUM INTO reads inside one transaction, so writers go on beside it and are not in
 * the copy. What comes out has no WAL, is as small as it can be, and was read through
 * every page: a damaged database cannot be copied unnoticed. The copy gets its name
 * when it is on the disk.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "lineage/sql.h"

static int write_copy(struct db *d, const char *path, struct err *e)
{
    static const char sql[] = "VACUUM INTO ?";
    AUTO_Q struct q q = {0};

    if (q_open_text(&q, d, sql, e) < 0)
        return -1;
    q_text(&q, str_of(path));
    return q_run(&q, e);
}

static int make_durable(const char *tmp, const char *path, struct err *e)
{
    AUTO_FREE char *dir = xstrdup(path);
    AUTO_FD int fd = open(tmp, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    AUTO_FD int dir_fd = -1;
    char *slash = strrchr(dir, '/');

    if (fd < 0 || fsync(fd) < 0)
        return err_sys(e, errno, "make %s durable", tmp);
    if (rename(tmp, path) < 0)
        return err_sys(e, errno, "rename %s", tmp);
    if (slash)
        *slash = '\0';
    dir_fd = open(slash ? (*dir ? dir : "/") : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir_fd < 0 || fsync(dir_fd) < 0)
        return err_sys(e, errno, "make %s durable", path);
    return 0;
}

int db_snapshot(struct db *d, const char *path, struct err *e)
{
    AUTO_FREE char *tmp = xasprintf("%s.tmp-%d", path, (int)getpid());
    AUTO_FD int fd = -1;
    int rc;

    must(!d->in_txn && !d->in_read);
    (void)unlink(tmp);
    /* SQLite takes an empty file that is there: made here, it is ours alone */
    fd = open(tmp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return err_sys(e, errno, "create %s", tmp);
    rc = write_copy(d, tmp, e);
    if (rc == 0)
        rc = make_durable(tmp, path, e);
    if (rc < 0) {
        (void)unlink(tmp);
        return err_at(e, "copy the database");
    }
    return 0;
}
