/* SPDX-License-Identifier: Apache-2.0 */
/* sink.h - where an export goes: a directory, a tar file, or a tar on standard output
 *
 * Files and directories appear under their name when they are whole.
 */
#ifndef IMAGE_SINK_H
#define IMAGE_SINK_H

#include "base/mem.h"
#include "store/blob.h"

struct sink {
    struct store *store;
    struct archive *tar; /* NULL: a directory */
    int fd;              /* of the tar or the directory */
    const char *path;    /* borrowed */
    char *tmp;           /* its name until it is whole; NULL: a stream */
    struct map seen;     /* what came already is not written again */
    struct arena arena;
};

/* sink_open - path "-" with tar is standard output; a directory must not exist yet
 * (ERR_INPUT), a file is replaced. On success sink_close is owed. */
int sink_open(struct sink *k, struct store *s, const char *path, bool tar,
              struct err *e);
/* Members: a text, a blob, `size` bytes of a descriptor. Directories in a name are
 * made.
 */
int sink_text(struct sink *k, const char *name, struct str text, struct err *e);
int sink_blob(struct sink *k, const char *hex, const char *name, struct err *e);
int sink_bytes(struct sink *k, int fd, uint64_t size, const char *hex, const char *name,
               struct err *e); /* ERR_CORRUPT when they do not hash to hex */
/* sink_close - with rc 0 give it its name, else throw it away; -1 when rc is or that
 * fails */
int sink_close(struct sink *k, int rc, struct err *e);

#endif
