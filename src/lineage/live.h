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
};

enum db_live_kind {
    DB_LIVE_FILE = 1,  /* blob of an artifact */
    DB_LIVE_TREE = 2,  /* tree object of a directory artifact: the store expands it */
    DB_LIVE_IMAGE = 4, /* config, manifest or layer blob of an image */
    DB_LIVE_LAYER = 8, /* diff_id of an unpacked layer */
};
struct db_live_item {
    uint8_t digest[32];
    uint32_t kinds; /* set of db_live_kind */
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

/* db_artifacts_deleted - these digests were swept: artifacts that have them are marked
 * DELETED. *n_marked counts rows. Needs db_begin */
int db_artifacts_deleted(struct db *d, const uint8_t (*digests)[32], size_t n,
                         int64_t *n_marked, struct err *e);

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
