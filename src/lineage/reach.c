/* SPDX-License-Identifier: Apache-2.0 */
/* reach.c - a search, breadth first, that remembers
 *
 * When a search ends without a find, everything it met has nothing beyond it that fits:
 * all of it is remembered as such, and a later search stops there. When it finds
 * something, only the nodes on the way to it are known to lead there, and only they are
 * remembered. That is right with cycles too, which cache hits can close downstream:
 * nothing is concluded from a node whose search has not ended.
 *
 *     known[node] = what was found beyond it + 1, once that is known (bit 1 and up)
 *                   | 1 when the node itself was asked and does not fit
 */
#include "lineage/reach.h"

#include <stdlib.h>

#include "lineage/sql.h"

#define NOT_FITTING 1u

struct met {
    bool is_task;
    int64_t id;
    size_t from; /* index of the node it was met from; its own for the start */
};

struct search {
    struct reach *r;
    struct idmap seen;
    struct met *nodes; /* the queue, and the way back */
    size_t n, cap;
    int found;
    struct err *e;
};

static void node_add(struct search *s, struct met m)
{
    if (s->n == s->cap) {
        s->cap = s->cap ? s->cap * 2 : 64;
        s->nodes = xrealloc(s->nodes, s->cap * sizeof(*s->nodes));
    }
    s->nodes[s->n++] = m;
}

static void remember(struct search *s, size_t at, int found)
{
    bool fresh;
    struct met m = s->nodes[at];
    struct idmap_slot *slot = idmap_at(&s->r->known, walk_key(m.is_task, m.id), &fresh);

    slot->value = (slot->value & NOT_FITTING) | ((size_t)found + 1) << 1;
}

/* one neighbour of node `from`: 1 when the search is over */
static int meet(struct search *s, bool is_task, int64_t id, size_t from)
{
    bool fresh;
    struct idmap_slot *slot;
    size_t value;
    int fits;

    (void)idmap_at(&s->seen, walk_key(is_task, id), &fresh);
    if (!fresh)
        return 0;
    slot = idmap_at(&s->r->known, walk_key(is_task, id), &fresh);
    if (!(slot->value & NOT_FITTING)) {
        fits = s->r->fits(s->r->ctx, is_task, id, s->e);
        if (fits < 0)
            return -1;
        if (fits) {
            s->found = fits;
            return 1;
        }
        slot = idmap_at(&s->r->known, walk_key(is_task, id), &fresh);
        slot->value |= NOT_FITTING;
    }
    if (!is_task && s->r->near_only)
        return 0;
    value = slot->value >> 1;
    if (value > 1) {
        s->found = (int)value - 1;
        return 1;
    }
    if (!value)
        node_add(s, (struct met){is_task, id, from});
    return 0;
}

static int expand(struct search *s, size_t at)
{
    static const char producer[] = "SELECT task FROM artifact"
                                   " WHERE id = ? AND task IS NOT NULL";
    static const char inputs[] = "SELECT artifact FROM event WHERE task = ? AND io = 1";
    static const char readers[] =
        "SELECT e.task FROM event e CROSS JOIN task t ON t.id = e.task"
        " WHERE e.artifact = ? AND e.io = 1 AND t.kind IN ('container', 'importer')";
    static const char outputs[] =
        "SELECT artifact FROM event WHERE task = ? AND io = 2";
    struct met m = s->nodes[at];
    bool up = s->r->way == DB_UP;
    AUTO_Q struct q q = {0};
    int more, over = 0;

    if (q_open(&q, s->r->d,
               m.is_task ? up ? inputs : outputs
               : up      ? producer
                         : readers,
               s->e) < 0)
        return -1;
    q_i64(&q, m.id);
    while (!over && (more = q_step(&q, s->e)) > 0)
        over = meet(s, !m.is_task, q_get_i64(&q), at);
    return over ? over : more;
}

static int search(struct search *s)
{
    int over = 0;

    for (size_t i = 0; i < s->n && !over; i++) {
        over = expand(s, i);
        if (over > 0) {
            size_t at = i;
            for (; s->nodes[at].from != at; at = s->nodes[at].from)
                remember(s, at, s->found);
            remember(s, at, s->found);
        }
    }
    for (size_t i = 0; !over && i < s->n; i++)
        remember(s, i, 0);
    return over < 0 ? -1 : 0;
}

int reach_find(struct reach *r, int64_t artifact, int *found, struct err *e)
{
    const struct idmap_slot *known = idmap_get(&r->known, walk_key(false, artifact));
    struct search s = {.r = r, .e = e};
    int rc;

    if (known && known->value >> 1) {
        *found = (int)(known->value >> 1) - 1;
        return 0;
    }
    /* not in `seen`: where a cycle leads back to it, it is asked as any other */
    node_add(&s, (struct met){.id = artifact});
    rc = search(&s);
    if (rc == 0)
        *found = s.found;
    idmap_done(&s.seen);
    free(s.nodes);
    return rc;
}

void reach_done(struct reach *r)
{
    idmap_done(&r->known);
}
