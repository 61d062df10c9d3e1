/* SPDX-License-Identifier: Apache-2.0 */
/* blob.h - the store: bytes named by their SHA-256, and the directories beside them
 *
 *   HOME/store/blobs/sha256/<64 hex>   content, 0444, never overwritten, an OCI blob;
 *                                      0400 until it is on the disk (settle.c)
 * directory HOME/layers/<hex>/                 unpacked image layers (written by
 * image/) HOME/checkouts/<hex>/              directory artifacts as directories
 * (tree.h) HOME/tmp/ trash/ locks/            work in progress, on its way out, flock
 * files
 *
 * Order of events: bytes durable -> name durable (store_sync) -> a row elsewhere may
 * point here. Nothing is readable under its name before it is complete, so a crash
 * leaves garbage in tmp/ and unreferenced blobs, which gc.h removes after a grace
 * period.
 *
 * One process, one `struct store`: a forked child opens its own.
 */
#ifndef STORE_BLOB_H
#define STORE_BLOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/sha256.h"

struct store;

/* store_open - open the store of one dugout home, making what is absent
 *
 * home   absolute or relative path, borrowed; created with its parents when absent
 * gives  the store; store_close frees it
 *
 * Directories made are 0750, set-group-id and of group `dugout` when root makes them and
 * that group exists, else 0700. A home that exists and cannot be written opens too: reading works,
 * the first write fails. ERR_SYS.
 */
int store_open(const char *home, struct store **gives, struct err *e);
void store_close(struct store *s); /* accepts NULL */
void auto_store(struct store **s);
#define AUTO_STORE __attribute__((cleanup(auto_store)))

/* store_set_remove - how directories are removed: files of boxes may have owners that the
 * caller is not, and then only a helper can; as fd_remove_tree otherwise */
typedef int store_remove_fn(int dir_fd, const char *name, struct err *e);
void store_set_remove(struct store *s, store_remove_fn *fn);

/* store_network_name - the kind of file system at path when several hosts may share it
 * ("NFS" ...), else NULL */
const char *store_network_name(const char *path);
/* store_probe - once in a store's life: does its file system do what a store needs? ERR_SYS
 * naming what it does not */
int store_probe(struct store *s, struct err *e);

/* store_scratch - the directory of this home below the directory `path` (absolute), for what
 * attempts write; made, probed and remembered at first use. *gives is its absolute path, to be
 * freed. ERR_MISSING when path is not there, ERR_INPUT when what is there is not ours alone,
 * ERR_SYS */
int store_scratch(struct store *s, const char *path, char **gives, struct err *e);

const char *store_home(const struct store *s); /* absolute path, lives as long as s */
int store_home_fd(const struct store *s);      /* belongs to the store */

/* store_sync - make the names published since the last call durable: one directory
 * fsync for each directory touched, none when nothing was published */
int store_sync(struct store *s, struct err *e);
/* store_settle - make all data of the store's file system durable, and what was put with
 * BLOB_NOSYNC like any other blob; before store_sync. ERR_SYS
 * store_is_loose - is there something that waits for it? */
int store_settle(struct store *s, struct err *e);
bool store_is_loose(const struct store *s);

/* Directories of the home, for modules that work in them by descriptor. The descriptors
 * belong to the store. */
enum store_dir {
    STORE_BLOBS,
    STORE_LAYERS,
    STORE_CHECKOUTS,
    STORE_PACKS, /* indexes of packed directories: pack.h */
    STORE_TMP,
    STORE_TRASH,
    STORE_LOCKS,
    STORE_DIRS
};
int store_dir_fd(const struct store *s, enum store_dir d);
void store_touched(struct store *s,
                   enum store_dir d); /* a name was added: fsync at store_sync */

/* store_tmp_dir - make a directory in tmp/ that gc leaves alone while lock_fd is open
 *
 * name     out: its name below store_dir_fd(s, STORE_TMP)
 * lock_fd  gives: the directory, opened for reading, holding a flock that lives as long
 * as any process has this descriptor open
 */
#define STORE_TMP_NAME 48
int store_tmp_dir(struct store *s, const char *prefix, char name[STORE_TMP_NAME],
                  int *lock_fd, struct err *e);
/* store_drop - rename NAME of dir_fd into trash/ and remove it; absent is success */
int store_drop(struct store *s, int dir_fd, const char *name, struct err *e);
/* store_shut - make the mode of the directory NAME of dir_fd 0700; true when it was another. Who may
 * read a home must not reach places in it that an image or a task has opened to everybody. */
bool store_shut(int dir_fd, const char *name);
/* store_put_off - from now on directories that tree_put drops, because they are known, only move
 * to trash/. store_drop_apart removes them in a child that outlives the caller and holds
 * nothing; when it is never called, gc does */
void store_put_off(struct store *s);
void store_drop_apart(struct store *s);
/* store_pin - keep layers/<hex> or checkouts/<hex> from gc while *gives_fd is open
 * (several may); ERR_MISSING when it is not there */
int store_pin(struct store *s, enum store_dir d, const char *hex, int *gives_fd,
              struct err *e);
/* store_lock - take locks/NAME (LOCK_EX or LOCK_SH, with LOCK_NB: ERR_BUSY); closing
 * *gives_fd lets go */
int store_lock(struct store *s, const char *name, int op, int *gives_fd, struct err *e);

/* store_lease - from now on, until store_close or the end of the process, gc keeps what
 * this store publishes or refreshes, though no row names it yet. Everything that
 * publishes takes it by itself; who will name what a child publishes calls it first. */
int store_lease(struct store *s, struct err *e);

struct blob_id {
    char hex[DIGEST_HEX];
    uint64_t size_bytes;
};

enum blob_flags {
    BLOB_ADOPT =
        1, /* the source may be taken instead of copied; gone from its place then */
    BLOB_NOSYNC =
        2, /* loose until store_settle(), which makes many durable at once */
    BLOB_SURE =
        4, /* what has the name already is read, and replaced when it is damaged */
};

/* blob_put_bytes - store len bytes; present already is success */
int blob_put_bytes(struct store *s, const void *bytes, size_t len, unsigned flags,
                   struct blob_id *out, struct err *e);

/* blob_put_file - store the regular file NAME below dir_fd (or AT_FDCWD), hashing it
 * once
 *
 * With BLOB_ADOPT a file of this file system, with one link, ours, and that nobody has
 * open for writing becomes the blob itself (owner and mode change, its old name goes);
 * any other is cloned or copied with its holes, and with BLOB_ADOPT the old name goes
 * as well.
 *
 * ERR_MISSING when absent, ERR_INPUT when not a regular file, ERR_BUSY when it changed
 * while it was read, else ERR_SYS. On failure the source is still there.
 */
int blob_put_file(struct store *s, int dir_fd, const char *name, unsigned flags,
                  struct blob_id *out, struct err *e);

/* A blob written piece by piece: open, add..., commit or abort. */
struct blob_writer;
int blob_writer_open(struct store *s, unsigned flags, struct blob_writer **gives,
                     struct err *e);
int blob_writer_add(struct blob_writer *w, const void *bytes, size_t len,
                    struct err *e);
/* blob_writer_commit - name it; takes w whatever happens
 *
 * want_hex  NULL, or the digest that the bytes must have: ERR_CORRUPT naming both
 * otherwise
 */
int blob_writer_commit(struct blob_writer *w, const char *want_hex, struct blob_id *out,
                       struct err *e);
void blob_writer_abort(struct blob_writer *w); /* accepts NULL */

/* blob_open - open a blob for reading
 *
 * hex         64 lower-case hex digits, borrowed
 * out         gives: descriptor at offset 0, read-only, close-on-exec
 * size_bytes  may be NULL
 *
 * ERR_INPUT when hex is not a digest, ERR_MISSING when there is no such blob, else
 * ERR_SYS. Content is not hashed again; blob_verify() does that.
 */
int blob_open(struct store *s, const char *hex, int *out, uint64_t *size_bytes,
              struct err *e);
/* blob_has - is it there? Refreshes nothing; false for what is no digest
 * blob_is_kept - and does it need no putting again: it is durable, or s has put it itself? */
bool blob_has(struct store *s, const char *hex);
bool blob_is_kept(struct store *s, const char *hex);
/* blob_refresh - start its grace period again because a row is about to name it;
 * ERR_MISSING when it is gone */
int blob_refresh(struct store *s, const char *hex, struct err *e);
/* blob_verify - read it and compare; ERR_CORRUPT, ERR_MISSING, ERR_SYS */
int blob_verify(struct store *s, const char *hex, struct err *e);
/* blob_copied - whoever copies content out of the store hashes it on the way: does the sum say hex?
 * ERR_CORRUPT naming `what`, with the next step. Takes the sum. */
int blob_copied(struct sha256 *sum, const char *hex, const char *what, struct err *e);
/* blob_is_sealed - does the kernel (fs-verity) keep it from being written to?
 * blob_seal - make it so, where the file system can; false when it is not */
bool blob_is_sealed(struct store *s, const char *hex);
bool blob_seal(struct store *s, const char *hex);
/* blob_quarantine - move a damaged blob to trash/corrupt-<hex>, where gc keeps it for
 * the grace period */
int blob_quarantine(struct store *s, const char *hex, struct err *e);
/* blob_read - append a small blob to *out and check its digest; ERR_LIMIT over
 * max_bytes */
int blob_read(struct store *s, const char *hex, struct buf *out, size_t max_bytes,
              struct err *e);
/* blob_path - absolute path of the blob, there or not; ERR_INPUT when hex is no digest,
 * ERR_LIMIT when it does not fit */
int blob_path(struct store *s, const char *hex, char *out, size_t cap, struct err *e);

#endif
