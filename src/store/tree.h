/* SPDX-License-Identifier: Apache-2.0 */
/* tree.h - directory artifacts
 *
 * A directory is named by its tree digest, the SHA-256 of the tree object of its root.
 * One object a directory, stored as a blob:
 *
 *   "dugout-tree 1" NUL
 *   then for each entry, sorted by name bytes (memcmp, shorter first), names unique:
 *   "f " HEX " " SIZE " " NAME NUL      regular file, not executable by its owner
 *   "x " HEX " " SIZE " " NAME NUL      regular file, executable by its owner
 *   "d " HEX " " SIZE " " NAME NUL      directory: HEX is its own tree digest
 *   "l " NAME NUL TARGET NUL            symbolic link, the target as it stands
 *
 * HEX is 64 lower-case digits, SIZE decimal without leading zeros: the bytes of the
 * file, or of all regular files below the directory. A NAME has 1 to 255 bytes, no "/"
 * and no NUL, and is not "." or ".."; a TARGET has 1 to 4095 bytes. No times, owners,
 * other mode bits or extended attributes. Anything else is not a tree object.
 *
 * Vectors (tests/unit/store_tree_test.c holds the bytes):
 *   empty directory   4c83c3809ed5946fd58dda8d9f76820227d4427ccd67ff70f8aa254b3b28f5bf
 *
 * Tree objects are few; the files themselves live in checkouts/<tree digest>/, files
 * 0444 or 0555 and directories 0555, which is what tasks get mounted read-only.
 */
#ifndef STORE_TREE_H
#define STORE_TREE_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "store/blob.h"

struct tree_id {
    char hex[DIGEST_HEX];
    uint64_t size_bytes; /* of all regular files */
    uint64_t n_files;    /* regular files */
    uint32_t links;      /* symbolic links */
    uint32_t skipped;    /* sockets, fifos and devices, left out */
};

/* tree_put - store the directory NAME below dir_fd (or AT_FDCWD) with all that is in it
 *
 * With BLOB_ADOPT the directory itself becomes checkouts/<hex>/ when it is on the
 * store's file system (modes change, files with several links are replaced by copies),
 * and is removed when that checkout exists already. Without it, or from another file
 * system, it is cloned or copied; with BLOB_ADOPT the source is removed after that.
 * All of it is made durable by one syncfs (store_settle).
 *
 * ERR_MISSING, ERR_INPUT when it is not a directory, ERR_BUSY when a file changed while
 * it was read, ERR_LIMIT deeper than LIMIT_PATH_DEPTH, else ERR_SYS. On failure nothing
 * of the source is removed but what is left out anyway.
 */
int tree_put(struct store *s, int dir_fd, const char *name, unsigned flags,
             struct tree_id *out, struct err *e);

/* tree_checkout_path - absolute path of checkouts/<hex>, which tree_pin (pack.h) makes
 * when the directory is packed; ERR_MISSING when it is neither there nor packed,
 * ERR_INPUT when hex is no digest, ERR_LIMIT when it does not fit */
int tree_checkout_path(struct store *s, const char *hex, char *out, size_t cap,
                       struct err *e);

enum tree_type { TREE_FILE, TREE_EXEC, TREE_DIR, TREE_LINK };
struct tree_entry {
    enum tree_type type;
    struct str path;   /* from the root of the walk, "/" between; not NUL-terminated */
    struct str target; /* TREE_LINK */
    uint64_t size_bytes;  /* all but TREE_LINK */
    char hex[DIGEST_HEX]; /* all but TREE_LINK, else "" */
};
/* A visitor returns 0 to go on, -1 with *e set to stop. What it gets lives for the
 * call. */
typedef int tree_fn(void *ctx, const struct tree_entry *entry, struct err *e);

/* tree_walk - visit every entry below the tree, parents before children, names in
 * order. ERR_MISSING or ERR_CORRUPT when a tree object is absent or damaged; objects
 * are verified. */
int tree_walk(struct store *s, const char *hex, tree_fn *fn, void *ctx, struct err *e);

/* tree_parse - visit the entries of one tree object held in memory; ERR_CORRUPT with
 * the byte offset when it is not canonical */
int tree_parse(struct str object, tree_fn *fn, void *ctx, struct err *e);

/* tree_refresh - as blob_refresh, of the checkout and all tree objects below hex.
 * ERR_MISSING when one of them is gone */
int tree_refresh(struct store *s, const char *hex, struct err *e);

/* tree_verify - hash the checkout again, or what it is packed in, and compare it with its
 * tree; ERR_CORRUPT names the first difference */
int tree_verify(struct store *s, const char *hex, struct err *e);

#endif
