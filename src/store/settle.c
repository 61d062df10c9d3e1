/* SPDX-License-Identifier: Apache-2.0 */
/* settle.c - blobs that have their name before their bytes are on the disk
 *
 * One fdatasync for each of a thousand tree objects would take seconds, so many blobs are put
 * with BLOB_NOSYNC and made durable by one syncfs. Until then their mode is 0400: loose. A power
 * cut can leave such a name with zeros behind it, and the next task that gives out the same
 * content would be told that it is there. Whoever meets a loose blob of somebody else therefore
 * reads it, and settles it when it is right.
 *
 *     put (0400) ... put (0400)    syncfs    0444 ... 0444    fsync of the directory    a row
 *
 * A journal keeps that order, so what a row names is settled; where the change of mode alone
 * got lost, the worst is that it is read once more.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/fd.h"
#include "store/inside.h"

#define MODE_LOOSE 0400
#define MODE_SETTLED 0444

mode_t loose_mode(unsigned flags)
{
    return flags & BLOB_NOSYNC ? MODE_LOOSE : MODE_SETTLED;
}

void loose_add(struct store *s, const char *hex)
{
    (void)digest_set_add(&s->loose, hex);
}

bool is_loose(const struct store *s, const char *hex, const struct stat *st)
{
    return (st->st_mode & 07777) == MODE_LOOSE && !digest_set_has(&s->loose, hex);
}

int settle_one(struct store *s, const char *hex, struct err *e)
{
    AUTO_FD int fd = -1;

    if (blob_open(s, hex, &fd, NULL, e) < 0)
        return -1;
    if (fsync(fd) < 0 || fchmod(fd, MODE_SETTLED) < 0)
        return err_sys(e, errno, "make durable blob %.12s", hex);
    s->touched[STORE_BLOBS] = true;
    return 0;
}

bool store_is_loose(const struct store *s)
{
    return s->loose.n > 0;
}

int store_settle(struct store *s, struct err *e)
{
    if (syncfs(s->dirs[STORE_BLOBS]) < 0)
        return store_err(e, errno, "make durable", "the store");
    for (size_t i = 0; i < s->loose.cap; i++) {
        char hex[DIGEST_HEX];

        if (!s->loose.used[i])
            continue;
        digest_set_hex(&s->loose, i, hex);
        if (fchmodat(s->dirs[STORE_BLOBS], hex, MODE_SETTLED, 0) < 0 && errno != ENOENT)
            return err_sys(e, errno, "chmod blob %.12s", hex);
    }
    digest_set_done(&s->loose);
    s->touched[STORE_BLOBS] = true;
    return 0;
}
