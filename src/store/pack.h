/* SPDX-License-Identifier: Apache-2.0 */
/* pack.h - a directory artifact without an inode for each of its files
 *
 * Packed later, by gc: the files of a checkout that is not in use go into packs, and the
 * checkout goes. It is made again when somebody needs it.
 *
 *   store/packs/<tree digest>   the index, text:
 *       "dugout-packs 1\n"
 *       "<pack digest> <files>\n" ...   in order
 *       "end <SHA-256 of all lines before>\n"
 *   packs       blobs: plain tar (ustar; a pax "path" record where a name does not fit),
 *               mtime, uid and gid 0, mode 0644 or 0755. Their entries, one pack after
 *               the other, are the files of the tree in the order of tree_walk, but for
 *               empty ones and those of PACK_BIG_BYTES or more
 *   big files   blobs of their own
 *
 * A pack ends after a file whose path hashes to a certain pattern, so that a file more or
 * less changes one pack, or at PACK_MAX_BYTES. A pack is an OCI layer as it stands.
 */
#ifndef STORE_PACK_H
#define STORE_PACK_H

#include "base/limits.h"
#include "store/gc.h"

#define PACK_BIG_BYTES (1 * MIB)
#define PACK_MAX_BYTES (256 * MIB)
#define PACK_WORTH_FILES 256 /* fewer are left as they are */

struct pack_count {
    uint64_t trees, files, packs, bytes;
};

/* tree_is_packed - is there an index? */
bool tree_is_packed(struct store *s, const char *hex);
/* tree_pack - write packs and index of checkouts/<hex>, durable; the checkout stays. Each
 * file is hashed: ERR_CORRUPT when the checkout is not what its tree says. *out is added
 * to. Packed already: success, nothing done. */
int tree_pack(struct store *s, const char *hex, struct pack_count *out, struct err *e);
/* tree_worth_packing - has it PACK_WORTH_FILES that would go into packs? */
bool tree_worth_packing(struct store *s, const char *hex);
/* tree_evict - remove the checkout of a packed tree, unless it is pinned or younger than
 * that; *gone says whether it went */
int tree_evict(struct store *s, const char *hex, int64_t young_unix_ms, bool *gone,
               struct err *e);

/* tree_unpack - make sure that checkouts/<hex> is there: nothing to do when it is, else it
 * is made from the packs, every byte hashed. ERR_MISSING when there is neither. */
int tree_unpack(struct store *s, const char *hex, struct err *e);
/* tree_pin - tree_unpack, and keep it from gc while *gives_fd is open */
int tree_pin(struct store *s, const char *hex, int *gives_fd, struct err *e);
/* pack_verify - read and hash the packed form, as tree_verify does a checkout */
int pack_verify(struct store *s, const char *hex, struct err *e);

/* tree_blobs_each - all blobs that the tree needs as it is stored: its objects, and of the
 * packed form packs and big files. fn returns -1 with *e set to stop. */
typedef int blob_fn(void *ctx, const char *hex, struct err *e);
int tree_blobs_each(struct store *s, const char *hex, blob_fn *fn, void *ctx,
                    struct err *e);

/* tree_there - is it there by name: all its objects, and a checkout or all it is packed in?
 * *e says what is not */
bool tree_there(struct store *s, const char *hex, struct err *e);
/* tree_is_old - is what is there of it, checkout and index, older than that? */
bool tree_is_old(struct store *s, const char *hex, int64_t young_unix_ms);

#endif
