/* SPDX-License-Identifier: Apache-2.0 */
/* inflate.h - the bytes of a layer archive, decompressed and hashed as they pass */
#ifndef IMAGE_INFLATE_H
#define IMAGE_INFLATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/sha256.h"
#include "store/blob.h"

/* Where bytes come from: memory, a part of a file, or a stream read to its end.
 * Borrows. */
struct bytes_src {
    const void *mem; /* when not NULL: size bytes here */
    int fd;
    uint64_t offset, size; /* part of fd; size is the memory's too */
    bool stream;           /* fd has no size and no offset */
};

enum zip_format { ZIP_NONE, ZIP_GZIP, ZIP_ZSTD };

struct inflate_opts {
    uint64_t max_bytes;      /* decompressed; ERR_LIMIT beyond */
    struct blob_writer *tee; /* gets every byte as it came; may be NULL */
    _Atomic uint64_t
        *counter; /* compressed bytes are added as they are read; may be NULL */
};

/* inflate_open - look at the first bytes and get ready
 *
 * Gzip (any number of members, trailing zeros) and zstd (any number of frames,
 * skippable ones among them) are told by their magic; everything else passes as it is.
 * ERR_INPUT for bzip2 and xz, which dugout does not read, else ERR_SYS.
 */
struct inflate;
int inflate_open(const struct bytes_src *src, const struct inflate_opts *opts,
                 struct inflate **gives, struct err *e);
enum zip_format inflate_format(const struct inflate *z);

/* inflate_read - fill buf; *got is less than cap only at the end, 0 after it
 *
 * ERR_CORRUPT when the stream is damaged or ends early, ERR_LIMIT over max_bytes or
 * when it unpacks to more than LIMIT_RATIO times its size.
 */
int inflate_read(struct inflate *z, void *buf, size_t cap, size_t *got, struct err *e);

/* inflate_rest - after the end: SHA-256 and number of the bytes as they came */
void inflate_rest(struct inflate *z, char hex[DIGEST_HEX], uint64_t *bytes);
void inflate_close(struct inflate *z); /* accepts NULL; leaves src and tee alone */

#endif
