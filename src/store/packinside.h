/* SPDX-License-Identifier: Apache-2.0 */
/* packinside.h - what pack.c and unpack.c share */
#ifndef STORE_PACKINSIDE_H
#define STORE_PACKINSIDE_H

#include "store/inside.h"
#include "store/pack.h"
#include "store/tree.h"

#define TAR_BLOCK 512

struct pack_ref {
    char hex[DIGEST_HEX];
    uint64_t files;
};
struct pack_index {
    struct pack_ref *packs; /* heap */
    size_t n;
};
void pack_index_done(struct pack_index *x);
#define AUTO_INDEX __attribute__((cleanup(pack_index_done)))

/* ERR_MISSING when there is none, ERR_CORRUPT */
int pack_index_read(struct store *s, const char *hex, struct pack_index *out,
                    struct err *e);
int pack_index_write(struct store *s, const char *hex, const struct pack_index *x,
                     struct err *e);

static inline bool is_packed_file(const struct tree_entry *t)
{
    return (t->type == TREE_FILE || t->type == TREE_EXEC) && t->size_bytes > 0 &&
           t->size_bytes < PACK_BIG_BYTES;
}
static inline bool is_big_file(const struct tree_entry *t)
{
    return (t->type == TREE_FILE || t->type == TREE_EXEC) && t->size_bytes >= PACK_BIG_BYTES;
}

#endif
