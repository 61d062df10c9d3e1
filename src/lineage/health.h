/* SPDX-License-Identifier: Apache-2.0 */
/* health.h - what the rows say must be in the store, and when it was last read */
#ifndef LINEAGE_HEALTH_H
#define LINEAGE_HEALTH_H

#include "lineage/query.h"

struct db_content {
    char hex[DIGEST_HEX];
    bool dir;
    int64_t size_bytes;
    int64_t verified_unix_ms; /* 0 = never since it was stored */
};
/* db_contents_in - what live artifacts name, each once, by digest */
int db_contents_in(struct arena *a, struct db *d, struct db_content **out, size_t *n,
                   struct err *e);

/* db_ended_dirs_in - directories, relative to the home, of attempts that are recorded as over and
 * that gc has not removed */
int db_ended_dirs_in(struct arena *a, struct db *d, struct str **out, size_t *n, struct err *e);

/* db_verified_in - all that was verified, longest ago first: verified_unix_ms is set
 * and the size is not */
int db_verified_in(struct arena *a, struct db *d, struct db_content **out, size_t *n,
                   struct err *e);
/* db_verified_put - these bytes were read and are right. Needs db_begin */
int db_verified_put(struct db *d, const char *hex, int64_t at_unix_ms, struct err *e);
/* db_verified_prune - forget what was not verified since: of things that are gone.
 * Needs db_begin */
int db_verified_prune(struct db *d, int64_t since_unix_ms, struct err *e);

#endif
