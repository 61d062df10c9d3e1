/* SPDX-License-Identifier: Apache-2.0 */
/* unpack.h - forked workers that unpack layers, several at a time */
#ifndef IMAGE_UNPACK_H
#define IMAGE_UNPACK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"
#include "image/feed.h"
#include "image/image.h"
#include "image/layers.h"
#include "image/layer.h"
#include "image/stack.h"

/* One layer archive to be read. What came of it is in the fields below `out`. */
struct unpack_job {
    struct bytes_src src;
    int src_fd;            /* owned by who made the job; -1 */
    const char *want_blob; /* digest of the archive as it is; NULL: not known */
    const char *want_diff; /* digest of its tar; NULL: not known */
    bool keep;             /* the archive becomes a blob */
    const char *dir; /* below unpack_pool.tmp_fd, made here; NULL: unpack nothing */
    const struct stack *below;

    /* out */
    bool needs_below; /* nothing was unpacked: give it a stack and try again */
    struct feed_sums sums;
    uint64_t entries;
    uint32_t devices, sockets, attributes;
    char attribute[64];
    bool no_xattrs;

    pid_t pid;
    int result_fd;
};

struct unpack_pool {
    const char *home;
    int tmp_fd;
    bool owners, userxattr;
    uint64_t max_bytes, max_entries; /* of one layer */
    struct layer_budget *budget;     /* of all of them; shared memory */
    unsigned workers;
    _Atomic uint64_t *counter;                 /* shared memory: bytes read so far */
    void (*tick)(void *ctx, size_t jobs_done); /* a few times a second; may be NULL */
    void *ctx;
};

/* unpack_run - do all jobs; the first failure ends the others
 *
 * On failure *failed is the index of the job that e speaks of. */
int unpack_run(const struct unpack_pool *pool, struct unpack_job *jobs, size_t n,
               size_t *failed, struct err *e);

#endif
