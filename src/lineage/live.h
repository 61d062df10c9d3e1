/* SPDX-License-Identifier: Apache-2.0 */
/* live.h - what gc may not take, and what it has taken
 *
 * Roots: tags with their whole upstream closure; inputs and outputs of kept runs, of
 * runs that are pending, running or interrupted; imported artifacts until removed;
 * images that were not removed. Rows are never deleted: content goes, the record stays.
 */
#ifndef LINEAGE_LIVE_H
#define LINEAGE_LIVE_H

#include "lineage/query.h"

struct db_keep {
    int64_t last_runs;     /* of each pipeline; 0 = none for that reason alone */
    int64_t since_unix_ms; /* runs created at or after this; INT64_MAX = none */
    uint64_t max_bytes;    /* of what runs that are over keep, oldest let go; 0 = any */
};

enum db_live_kind {
    DB_LIVE_FILE = 1,  /* blob of an artifact */
    DB_LIVE_TREE = 2,  /* tree object of a directory artifact: the store expands it */
    DB_LIVE_IMAGE = 4, /* config, manifest or layer blob of an image */
    DB_LIVE_LAYER = 8, /* diff_id of an unpacked layer */
};
enum db_kept_reason {
    DB_KEPT_TAG = 1,    /* tagged, or upstream of what is */
    DB_KEPT_OPEN = 2,   /* of a run that is not over */
    DB_KEPT_RUN = 4,    /* of a run that is kept by the rules */
    DB_KEPT_IMPORT = 8, /* imported by hand */
    DB_KEPT_IMAGE = 16,
};
struct db_live_item {
    uint8_t digest[32];
    uint32_t kinds;   /* set of db_live_kind */
    uint32_t reasons; /* set of db_kept_reason */
};
struct db_live { /* sorted by digest, unique; malloc'ed, for db_live_done */
    struct db_live_item *items;
    size_t n, cap;
};
/* db_live_digests - one consistent view; an unreadable root fails the whole */
int db_live_digests(struct db *d, const struct db_keep *keep, struct db_live *out,
                    struct err *e);
uint32_t db_live_kinds(const struct db_live *l, const char *hex); /* 0 = not live */
void db_live_done(struct db_live *l);

/* db_artifacts_bury - what `live` lacks and `going` says yes to becomes DELETED: the row
 * stays as a tombstone, before the bytes go, so that no row is left without bytes.
 * *n_buried counts rows. Needs db_begin, and `live` from the same transaction: with the
 * write lock held nobody can begin to need what was not marked. */
typedef bool db_going_fn(void *ctx, const char *hex, bool dir);
int db_artifacts_bury(struct db *d, const struct db_live *live, db_going_fn *going,
                      void *ctx, int64_t *n_buried, struct err *e);

/* db_gone_each - tell of every digest that rows name and that is not live by itself: what
 * gc says of a thing that goes. A digest may come more than once, and be live by another
 * row. */
enum db_fate {
    DB_FATE_RETIRED, /* no kept run names it any more */
    DB_FATE_REMOVED, /* removed by hand */
    DB_FATE_IMAGE,   /* of a removed image */
};
typedef void db_fate_fn(void *ctx, const char *hex, bool dir, enum db_fate fate);
int db_gone_each(struct db *d, db_fate_fn *fn, void *ctx, struct err *e);

/* db_open_since - when the oldest attempt that is not recorded as over was started;
 * INT64_MAX when there is none. What it has stored since is named by no row yet. */
int db_open_since(struct db *d, int64_t *since_unix_ms, struct err *e);

struct db_attempt_dir {
    int64_t task, number;
    struct str dir; /* relative to the home */
    int64_t finished_unix_ms;
    bool failed; /* it did not succeed: its outputs are only here */
};
/* db_attempt_dirs_in - directories that gc may remove: attempt finished and committed
 * before `before_unix_ms`, run over and not kept by `keep` */
int db_attempt_dirs_in(struct arena *a, struct db *d, const struct db_keep *keep,
                       int64_t before_unix_ms, struct db_attempt_dir **out, size_t *n,
                       struct err *e);
int db_attempt_dir_gone(struct db *d, int64_t task, int64_t number,
                        struct err *e); /* needs db_begin */

#endif
