/* SPDX-License-Identifier: Apache-2.0 */
/* inside.h - what the files of store/ share and nobody else includes */
#ifndef STORE_INSIDE_H
#define STORE_INSIDE_H

#include <sys/stat.h>
#include <sys/types.h>

#include "store/blob.h"
#include "store/gc.h"

#define TREE_MAGIC "dugout-tree 1"  /* with its NUL */
#define HASH_BUF_BYTES (256 * 1024) /* fits the second-level cache */

struct store {
    enum { SEALS_UNKNOWN, SEALS_NO, SEALS_YES } seals; /* see seal.c */
    char *home; /* absolute */
    int home_fd;
    int dirs[STORE_DIRS];
    bool touched[STORE_DIRS];
    struct digest_set loose;    /* blobs that this one put and has not settled: settle.c */
    uint64_t serial;            /* for names in tmp/ and trash/ */
    uint8_t *hash_buf;          /* HASH_BUF_BYTES, made at first use */
    int lease_fd;               /* -1: none yet */
    char lease[STORE_TMP_NAME]; /* its name in locks/ */
    store_remove_fn *remove;    /* NULL: fd_remove_tree */
    bool put_off;               /* removing: drop.c */
    char **off;                 /* names in trash/ that wait for it */
    size_t n_off;
};

uint8_t *store_hash_buf(struct store *s);

void store_lease_end(struct store *s);

/* blob_link - make the open file fd, of a checkout of ours, the blob hex as well, which it
 * hashes to; -1 also when it has too many links */
int blob_link(struct store *s, int fd, const char *hex, uint64_t size, struct err *e);
/* meet_checkout - when checkouts/<hex> is there, make it young and drop NAME of at; *met says
 * whether it was */
int meet_checkout(struct store *s, int at, const char *name, const char *hex, bool *met,
                  struct err *e);
/* publish_checkout - move NAME of at, open as fd, to checkouts/<hex>; when that exists,
 * drop it instead */
int publish_checkout(struct store *s, int at, const char *name, int fd, const char *hex,
                     struct err *e);

/* loose_mode - of a blob that is put with these flags; loose_add - hex was, with BLOB_NOSYNC
 * is_loose - may a power cut have left other bytes under the name? Not of what s put itself
 * settle_one - make a loose blob, which was read and found right, durable */
mode_t loose_mode(unsigned flags);
void loose_add(struct store *s, const char *hex);
bool is_loose(const struct store *s, const char *hex, const struct stat *st);
int settle_one(struct store *s, const char *hex, struct err *e);

/* store_gc_lock - locks/gc, LOCK_SH for who publishes, LOCK_EX for who sweeps */
int store_gc_lock(struct store *s, int op, int *gives_fd, struct err *e);

/* store_unique - a name that no other living process makes:
 * PREFIX-pid-serial-nanoseconds */
void store_unique(struct store *s, const char *prefix, char name[STORE_TMP_NAME]);

/* store_remove_tree - as fd_remove_tree, by the function of store_set_remove */
int store_remove_tree(const struct store *s, int dir_fd, const char *name, struct err *e);

/* store_drop_later - as store_drop; after store_put_off it is only moved to trash/ */
int store_drop_later(struct store *s, int dir_fd, const char *name, struct err *e);
void drop_forget(struct store *s);

#define SWEEP_LOCK "sweep" /* in locks/, of the one gc, fsck or backup */
/* what the probe found out, in locks/ */
#define PROBE_ANSWER "probe"
#define PROBE_BYTES 256
#define PROBE_SEALS "seals "
/* seal_file - ask the kernel to let nobody write to the open file again; fd only reads
 * afterwards. false: it will not */
bool seal_file(int fd);
bool seal_holds(int fd); /* is it sealed? */
/* seal_wanted - did the probe find that this file system does it? */
bool seal_wanted(struct store *s);

#define SCRATCHES "scratches"
/* probe_scratch - once in the life of the directory fd (called NAME, of id HEX): does it do what
 * attempts need? */
int probe_scratch(struct store *s, int fd, const char *name, const char *hex, struct err *e);
/* scratch_each - every attempt's directory in every scratch directory that the home has had and
 * that is there now: NAME of at. orphan: runs/ has no such attempt any more. Directories of
 * runs that are empty afterwards go */
typedef int scratch_fn(void *ctx, int at, const char *run, const char *name, bool orphan,
                       struct err *e);
int scratch_each(struct store *s, scratch_fn *fn, void *ctx, struct err *e);

/* store_err - err_sys "WHAT NAME", with a hint when the disk is full */
int store_err(struct err *e, int sys, const char *what, const char *name);

/* same_mount - can the open files a and b be in one rename or link? */
bool same_mount(int a, int b);

/* file_unchanged - is fd as fstat said before it was read? ERR_BUSY when not */
int file_unchanged(int fd, const struct stat *before, const char *name, struct err *e);

/* file_hash - SHA-256 of size bytes of fd from its start; ERR_BUSY when it ends early
 */
int file_hash(struct store *s, int fd, uint64_t size, const char *name,
              char hex[DIGEST_HEX], struct err *e);
/* file_copy - clone or copy src (size bytes, holes stay holes) into the empty file dst
 * and hash what dst has; ERR_BUSY when src ends early */
int file_copy(struct store *s, int src, int dst, uint64_t size, const char *name,
              char hex[DIGEST_HEX], struct err *e);
/* file_link - give the open file fd the name NAME in dir_fd; errno as linkat */
int file_link(int fd, int dir_fd, const char *name);

#endif
