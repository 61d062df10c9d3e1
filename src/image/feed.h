/* SPDX-License-Identifier: Apache-2.0 */
/* feed.h - a forked worker that inflates while this process unpacks */
#ifndef IMAGE_FEED_H
#define IMAGE_FEED_H

#include "base/err.h"
#include "base/sha256.h"
#include "image/inflate.h"
#include "store/blob.h"

struct feed_opts {
    const char *home;     /* of the store: the worker opens its own when it keeps */
    const char *want_hex; /* digest of the bytes as they come; NULL: not known */
    bool keep;            /* put the bytes as they come into the store as a blob */
    uint64_t max_bytes;   /* decompressed */
    _Atomic uint64_t
        *counter; /* in memory shared with the caller's parent; may be NULL */
};

/* feed_open - start the worker on src (borrowed: the worker has its copy of the
 * descriptor) */
struct feed;
int feed_open(const struct bytes_src *src, const struct feed_opts *opts,
              struct feed **gives, struct err *e);

/* feed_next - the next decompressed bytes
 *
 * The block belongs to the feed and is good until the next call. *len 0 is the end:
 * then every byte has arrived, and the digest of the bytes as they came was what was
 * wanted. Errors as inflate_read; ERR_CORRUPT for a wrong digest.
 */
int feed_next(struct feed *f, const void **block, size_t *len, struct err *e);

struct feed_sums {
    struct blob_id as_came;   /* the archive as it was */
    char tar_hex[DIGEST_HEX]; /* decompressed: the diff_id */
    uint64_t tar_bytes;
    enum zip_format format;
};
/* feed_sums - after the end only */
void feed_sums(struct feed *f, struct feed_sums *out);
void feed_close(struct feed *f); /* ends the worker; accepts NULL */

#endif
