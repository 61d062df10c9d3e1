/* SPDX-License-Identifier: Apache-2.0 */
/* gc.h - remove what nothing names any more, and count what is there
 *
 * The caller decides what lives (it reads the database); this module only removes. In
 * order: gc_enter, gc_leases and the clock, mark, rows of what goes become tombstones,
 * gc_sweep. Who
 * publishes a name holds locks/gc shared for that instant and makes the file's mtime
 * new; the sweep holds it exclusively in short slices, looks at the mtime again under
 * the lock and renames into trash/ before it removes. So a blob that was found to be
 * there already is either refreshed in time or stored again, never lost.
 */
#ifndef STORE_GC_H
#define STORE_GC_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "store/blob.h"

/* A set of SHA-256 digests: 32 bytes and a quarter a member. Zero-initialised = empty.
 */
struct digest_set {
    uint8_t (*slots)[32];
    uint8_t *used;
    size_t n, cap;
};
bool digest_set_add(struct digest_set *d,
                    const char *hex); /* false: it was there, or no digest */
bool digest_set_has(const struct digest_set *d, const char *hex);
/* digest_set_hex - member in a used slot, for (i < cap) if (used[i]) */
void digest_set_hex(const struct digest_set *d, size_t slot, char hex[DIGEST_HEX]);
void digest_set_done(struct digest_set *d);
#define AUTO_DIGEST_SET __attribute__((cleanup(digest_set_done)))

/* gc_mark_tree - add all blobs that the tree needs (tree_blobs_each). ERR_MISSING when one
 * is not there: the caller aborts its sweep, since an unreadable root marks too little.
 */
int gc_mark_tree(struct store *s, const char *hex, struct digest_set *blobs,
                 struct err *e);

enum gc_kind { GC_BLOBS, GC_LAYERS, GC_CHECKOUTS, GC_RUNS, GC_TMP, GC_TRASH, GC_PACKS, GC_KINDS };
const char *gc_kind_name(enum gc_kind k); /* "blobs", "layers", ... */

struct gc_count {
    uint64_t n, bytes; /* bytes on disk */
};

/* What to keep. A NULL set means: leave this kind alone. All is borrowed for the call.
 */
struct gc_plan {
    const struct digest_set *blobs;
    const struct digest_set *layers;    /* diff_ids and chain layers */
    const struct digest_set *checkouts; /* tree digests */
    /* is this directory runs/<run>/<attempt> needed? NULL: leave runs/ alone. An empty
     * attempt asks for the directory of the run, after its attempts. */
    bool (*attempt_lives)(void *ctx, const char *run, const char *attempt);
    void *ctx;
    int64_t young_unix_ms; /* what has this mtime or a later one stays */
    bool dry_run;          /* count what would go, remove nothing */
    /* told of each thing that goes (or would go): its name in its directory and its
     * bytes on disk; may be NULL */
    void (*going)(void *ctx, enum gc_kind k, const char *name, uint64_t bytes);
};

/* gc_leases - when the oldest lease began that somebody holds, INT64_MAX when there is
 * none; dead ones are removed. Call it, and read the clock, before marking: what is
 * published later is younger than both. */
int gc_leases(struct store *s, int64_t *oldest_unix_ms, struct err *e);

/* gc_is_old - would a sweep with this plan find NAME of blobs or checkouts old enough?
 */
bool gc_is_old(struct store *s, enum store_dir d, const char *hex,
               int64_t young_unix_ms);

/* gc_enter - be the one sweep of this home: others (and a backup) wait or are refused
 * while *gives_fd is open. ERR_BUSY when another is at work. gc_sweep wants it held. */
int gc_enter(struct store *s, int *gives_fd, struct err *e);

/* gc_sweep - remove everything that the plan does not keep
 *
 * out  GC_KINDS counts of what went (or would go); counted so far also on failure
 *
 * tmp/ entries go when nobody holds their lock, trash/ entries always (corrupt-* after
 * the grace period). Pinned layers and checkouts stay. */
int gc_sweep(struct store *s, const struct gc_plan *plan, struct gc_count out[GC_KINDS],
             struct err *e);

/* store_bytes_of - bytes on disk of NAME and what is below it; 0 when it is not there
 */
uint64_t store_bytes_of(struct store *s, enum store_dir d, const char *name);
uint64_t store_bytes_below(struct store *s, const char *path); /* of the home */

/* store_usage - what is there now, by kind; a file with several links counts once */
int store_usage(struct store *s, struct gc_count out[GC_KINDS], struct err *e);

#endif
