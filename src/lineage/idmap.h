/* SPDX-License-Identifier: Apache-2.0 */
/* idmap.h - inside lineage/ only: what was met on a walk, and a number for each
 *
 * The key of a node is walk_key(); it is never 0. Zero-initialised = empty.
 */
#ifndef LINEAGE_IDMAP_H
#define LINEAGE_IDMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct idmap_slot {
    uint64_t key; /* 0 = free */
    size_t value;
};
struct idmap {
    struct idmap_slot *slots;
    size_t n, cap;
};

static inline uint64_t walk_key(bool is_task, int64_t id)
{
    return (uint64_t)id << 1 | is_task;
}

/* idmap_at - the slot of key, made when it is new (*fresh; its value is 0 then). The
 * pointer is good until the next call. */
struct idmap_slot *idmap_at(struct idmap *m, uint64_t key, bool *fresh);
/* idmap_get - NULL when it is not there */
struct idmap_slot *idmap_get(const struct idmap *m, uint64_t key);
void idmap_done(struct idmap *m);

#endif
