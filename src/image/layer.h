/* SPDX-License-Identifier: Apache-2.0 */
/* layer.h - unpack one layer's tar into a directory that overlayfs can stack */
#ifndef IMAGE_LAYER_H
#define IMAGE_LAYER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "image/stack.h"

/* The tar, block by block; *len 0 is the end. A block is good until the next call. */
typedef int layer_read_fn(void *ctx, const void **block, size_t *len, struct err *e);

/* What all layers of a load may still take together, in memory that its workers share */
struct layer_budget {
    _Atomic int64_t bytes, entries;
};

struct layer_opts {
    int fs_fd;      /* borrowed: an empty directory */
    bool owners;    /* chown as the tar says; else all is the caller's */
    bool userxattr; /* mark opaque directories with user.overlay.opaque */
    const struct stack
        *below;         /* the layers under this one; NULL: unpack it by itself */
    uint64_t max_bytes; /* of file data, sparse files by their full size */
    uint64_t max_entries;
    struct layer_budget *budget; /* NULL: none but those two */
};

struct layer_facts {
    uint64_t entries;
    bool
        needs_below; /* a hard link leads to what is not in this layer: stopped there */
    uint32_t devices; /* left out; so are the next two */
    uint32_t sockets;
    uint32_t attributes;
    char attribute[64]; /* one of them */
    bool no_xattrs;     /* the file system has none */
    struct buf implied; /* directories without an entry, NUL after each path */
};
void layer_facts_done(struct layer_facts *f);

/* layer_unpack - read the tar to its very end and write it out
 *
 * out  filled on success, and when needs_below is set; layer_facts_done() it always
 *
 * ERR_CORRUPT for what is no sound tar or wants out of its directory, ERR_LIMIT,
 * ERR_SYS; what read() says. On failure fs_fd holds rubbish.
 */
int layer_unpack(layer_read_fn *read, void *ctx, const struct layer_opts *opts,
                 struct layer_facts *out, struct err *e);

#endif
