/* SPDX-License-Identifier: Apache-2.0 */
/* archive.h - the members of an image archive, wherever they are
 *
 * A directory, a tar on disk (indexed once, then read in place) or a stream. Of a
 * stream the small members are kept in memory and the others go into the store as they
 * pass, since a tar that is piped in may name its parts in any order.
 */
#ifndef IMAGE_ARCHIVE_H
#define IMAGE_ARCHIVE_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "image/inflate.h"
#include "store/blob.h"

struct archive_opts {
    bool
        keep; /* a stream's large members become blobs, else they are spooled in tmp/ */
    _Atomic uint64_t *counter; /* bytes read of a stream; may be NULL */
};

/* archive_open - path is a directory, a file, or "-" for standard input
 *
 * gives  closed with archive_close
 *
 * ERR_MISSING when it is not there; ERR_INPUT when it is neither a directory nor a tar,
 * plain, gzip or zstd; ERR_CORRUPT when it is damaged; ERR_LIMIT for too many members.
 */
struct image_archive;
int archive_open(struct store *s, const char *path, const struct archive_opts *opts,
                 struct image_archive **gives, struct err *e);
void archive_close(struct image_archive *a); /* accepts NULL */

/* archive_has - is there such a member? Links inside the archive are followed. */
bool archive_has(struct image_archive *a, const char *name);
/* archive_read - append a small member; ERR_MISSING, ERR_LIMIT over max_bytes */
int archive_read_small(struct image_archive *a, const char *name, size_t max_bytes,
                       struct buf *out, struct err *e);
/* archive_bytes - where a member's bytes are
 *
 * fd  gives a descriptor that out uses, or -1; out borrows from the archive
 */
int archive_bytes(struct image_archive *a, const char *name, struct bytes_src *out,
                  int *fd, struct err *e);
/* archive_size - of the file itself, for progress; 0 when not known */
uint64_t archive_size(const struct image_archive *a);

#endif
