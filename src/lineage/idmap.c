/* SPDX-License-Identifier: Apache-2.0 */
/* idmap.c - open addressing, at most half full, nothing is ever taken out */
#include "lineage/idmap.h"

#include <stdlib.h>

#include "base/mem.h"

static struct idmap_slot *slot_of(const struct idmap *m, uint64_t key)
{
    size_t at = (size_t)((key * 0x9e3779b97f4a7c15u) >> 20);

    for (;; at++) {
        struct idmap_slot *slot = &m->slots[at & (m->cap - 1)];
        if (!slot->key || slot->key == key)
            return slot;
    }
}

static void grow(struct idmap *m)
{
    struct idmap old = *m;

    m->cap = old.cap ? old.cap * 2 : 256;
    m->slots = xalloc(m->cap * sizeof(*m->slots));
    for (size_t i = 0; i < old.cap; i++) {
        if (old.slots[i].key)
            *slot_of(m, old.slots[i].key) = old.slots[i];
    }
    free(old.slots);
}

struct idmap_slot *idmap_at(struct idmap *m, uint64_t key, bool *fresh)
{
    struct idmap_slot *slot;

    if (2 * m->n >= m->cap)
        grow(m);
    slot = slot_of(m, key);
    *fresh = !slot->key;
    m->n += *fresh;
    slot->key = key;
    return slot;
}

struct idmap_slot *idmap_get(const struct idmap *m, uint64_t key)
{
    struct idmap_slot *slot = m->cap ? slot_of(m, key) : NULL;

    return slot && slot->key ? slot : NULL;
}

void idmap_done(struct idmap *m)
{
    free(m->slots);
    *m = (struct idmap){0};
}
