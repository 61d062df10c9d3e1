/* SPDX-License-Identifier: Apache-2.0 */
/* seal.c - blobs that the kernel itself keeps as they are: fs-verity
 *
 * Where the file system has it (ext4 and f2fs made with the feature, btrfs), a blob is
 * sealed before it gets its name: the kernel keeps a tree of hashes beside the file,
 * opens it for writing to nobody, root included, and checks every page that is read.
 * Bytes that rot on the disk then end in an error instead of in a model. The seal has a
 * digest of its own (the root of that tree), so what a blob is called does not change.
 *
 * Whether the file system does it is found out by the probe and kept in its answer. A
 * blob that cannot be sealed is a blob all the same: sealing is one more lock on the
 * door.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/fsverity.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/fd.h"
#include "store/inside.h"

#define BLOCK_BYTES 4096

/* sealing is refused while anybody can write to the file, and so can who has just
 * written it: make fd a descriptor that only reads */
static int stop_writing(int fd)
{
    char self[40];
    AUTO_FD int reader = -1;

    if ((fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY)
        return 0;
    (void)snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
    reader = open(self, O_RDONLY | O_CLOEXEC);
    if (reader < 0 || flock(reader, LOCK_SH) < 0) /* a draft is locked against gc */
        return -1;
    return dup3(reader, fd, O_CLOEXEC) < 0 ? -1 : 0;
}

bool seal_file(int fd)
{
    struct fsverity_enable_arg want = {.version = 1,
                                       .hash_algorithm = FS_VERITY_HASH_ALG_SHA256,
                                       .block_size = BLOCK_BYTES};
    int r;

    if (stop_writing(fd) < 0)
        return false;
    do
        r = ioctl(fd, FS_IOC_ENABLE_VERITY, &want);
    while (r < 0 && errno == EINTR);
    return r == 0 || errno == EEXIST;
}

bool seal_holds(int fd)
{
    struct {
        struct fsverity_digest head;
        uint8_t bytes[64];
    } got = {.head = {.digest_size = sizeof(got.bytes)}};

    return ioctl(fd, FS_IOC_MEASURE_VERITY, &got) == 0;
}

bool seal_wanted(struct store *s)
{
    AUTO_BUF struct buf answer = {.ptr = NULL};
    struct err ignored;

    if (s->seals == SEALS_UNKNOWN) {
        buf_init(&answer, PROBE_BYTES);
        s->seals = fd_read_file(s->dirs[STORE_LOCKS], PROBE_ANSWER, &answer,
                                PROBE_BYTES, &ignored) == 0 &&
                           strstr(buf_str(&answer), PROBE_SEALS "yes")
                       ? SEALS_YES
                       : SEALS_NO;
    }
    return s->seals == SEALS_YES;
}
