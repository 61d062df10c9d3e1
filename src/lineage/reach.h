/* SPDX-License-Identifier: Apache-2.0 */
/* reach.h - inside lineage/ only: is there anything upstream (or downstream) that fits?
 *
 * One struct reach answers for any number of artifacts and remembers what it met, so
 * that many questions cost no more than one walk over all that they touch. What "up"
 * and "down" mean is said in closure.h.
 */
#ifndef LINEAGE_REACH_H
#define LINEAGE_REACH_H

#include "lineage/closure.h"
#include "lineage/idmap.h"

struct reach {
    struct db *d;
    enum db_direction way;
    bool near_only; /* only what its producer read, or its readers gave out */
    /* 0: the node does not fit; above 0: it does, and this is what reach_find gives;
     * -1 with *e set */
    int (*fits)(void *ctx, bool is_task, int64_t id, struct err *e);
    void *ctx;
    struct idmap known;
};
#define AUTO_REACH __attribute__((cleanup(reach_done)))

/* reach_find - *found is what `fits` said of the nearest node that fits, 0 when none
 * does. The artifact itself is not asked about, unless a cycle (a cache hit can close
 * one) leads back to it. */
int reach_find(struct reach *r, int64_t artifact, int *found, struct err *e);
void reach_done(struct reach *r);

#endif
