/* SPDX-License-Identifier: Apache-2.0 */
/* check.h - are the bytes what their names say?
 *
 * What lies in blobs/ and checkouts/ is looked at without asking who needs it; whether
 * everything that rows name is there is the caller's question (blob_has, tree_there in
 * pack.h).
 * Nothing that is damaged is removed: blobs and directories with wrong bytes are moved
 * to trash/corrupt-<digest>, where gc keeps them for the grace period, so that nobody
 * is given them and the next task that makes the same bytes stores them anew.
 */
#ifndef STORE_CHECK_H
#define STORE_CHECK_H

#include "store/gc.h"

enum check_what {
    CHECK_WRONG_BYTES, /* a blob does not hash to its name, or is no regular file */
    CHECK_WRONG_TREE,  /* a directory is not what its tree object says */
    CHECK_NO_TREE,     /* a directory whose tree object is gone or damaged; made again when the
                          directory is right */
    CHECK_MODE, /* a blob that could be written to, a layer that others could enter;
                   mended */
    CHECK_UNFINISHED, /* a blob that a power cut kept from the disk, and no row names; moved away */
    CHECK_STRAY /* a name that is no digest; left alone */
};

struct check_finding {
    enum check_what what;
    const char *name; /* the digest, or the stray name */
    const char *text; /* what is wrong */
    bool damage;      /* false: repaired, or of no consequence */
    bool moved;       /* to trash/ */
};
typedef void check_fn(void *ctx, const struct check_finding *f);

struct check_opts {
    bool dry_run; /* look, move and mend nothing */
    /* which of these to read and hash; the others are looked at only. NULL: none */
    bool (*wants_hash)(void *ctx, const char *hex);
    void (*right)(void *ctx,
                  const char *hex); /* was hashed and is right; may be NULL */
    check_fn *found;
    void *ctx;
};

struct check_count {
    uint64_t blobs, checkouts, packed, hashed, hashed_bytes;
    uint64_t sealed; /* blobs that the kernel keeps as they are (seal.c); one that is found right
                        and could be sealed is */
};

/* check_store - ERR_SYS when a directory cannot be read; damage is no error. A file
 * that cannot be read for an I/O error is damage, and stays where it is. */
int check_store(struct store *s, const struct check_opts *o, struct check_count *out,
                struct err *e);

#endif
