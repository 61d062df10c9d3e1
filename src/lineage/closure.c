/* SPDX-License-Identifier: Apache-2.0 */
/* closure.c - walking the record up or down, breadth first
 *
 *     up     artifact --(artifact.task)--> its producer --(inputs)--> artifacts ...
 *     down   artifact --(readers)--> tasks --(outputs)--> artifacts ...
 *
 * One small statement a step, each a look into one index, and a set of what was seen:
 * the cost is that of the answer, whatever the size of the database. An artifact knows
 * its one producer, so a cache hit, which gives out the same artifact from another run,
 * cannot drag that run into an upstream answer. Tasks that only group others (DAGs,
 * loops) are passed over: their inputs do not all lead to all of their outputs.
 *
 * db_lineage_ids_in is the same walk as one recursive statement. It holds each step to
 * one look at `event`: with two in one step SQLite plans a Bloom filter over the whole
 * table.
 */
#include "lineage/closure.h"

#include <stdlib.h>

#include "lineage/idmap.h"
#include "lineage/rows.h"

#define NODES_MAX 500000
#define TWINS_MAX 8

struct walk {
    struct arena *a;
    struct db *d;
    struct lineage *l;
    struct idmap seen; /* index of the node */
    struct err *e;
};

/* ---- nodes --------------------------------------------------------------------------
 */

static int node_tags(struct walk *w, struct lineage_node *n)
{
    static const char sql[] =
        "SELECT group_concat(name, ', ') FROM"
        " (SELECT name FROM ref WHERE artifact = ? ORDER BY name)";
    AUTO_Q struct q q = {0};

    if (q_open(&q, w->d, sql, w->e) < 0)
        return -1;
    q_i64(&q, n->id);
    if (q_step(&q, w->e) < 0)
        return -1;
    n->tags = q_get_str_in(w->a, &q);
    return 0;
}

/* An empty file is like any other empty file, so those are not asked about. */
static int node_twins(struct walk *w, struct lineage_node *n)
{
    static const char sql[] =
        "SELECT a.id, a.name, t.path, r.name,"
        " (SELECT group_concat(f.name, ', ') FROM ref f WHERE f.artifact = a.id) AS "
        "tags"
        " FROM artifact a LEFT JOIN task t ON t.id = a.task"
        " LEFT JOIN run r ON r.id = t.run WHERE a.digest = ? AND a.id <> ?"
        " ORDER BY tags IS NULL, a.id LIMIT ?";
    AUTO_Q struct q q = {0};
    int64_t *ids = NULL;
    int more;

    if (q_open(&q, w->d, sql, w->e) < 0)
        return -1;
    q_hex(&q, str_of(n->artifact->digest_hex));
    q_i64(&q, n->id);
    q_i64(&q, TWINS_MAX);
    while ((more = q_step(&q, w->e)) > 0) {
        ids = arena_grow(w->a, ids, &n->n_twins, sizeof(*ids));
        ids[n->n_twins - 1] = q_get_i64(&q);
        if (n->n_twins == 1) {
            struct str name = q_get_str(&q), task = q_get_str(&q), run = q_get_str(&q),
                       tags = q_get_str(&q);
            n->twin_text = str_of(
                arena_printf(w->a, "a%lld %.*s%s%.*s%s%.*s%s%.*s%s", (long long)ids[0],
                             STR_ARG(name), task.len ? " of " : " from outside",
                             STR_ARG(task), task.len ? " in " : "", STR_ARG(run),
                             tags.len ? " [" : "", STR_ARG(tags), tags.len ? "]" : ""));
        }
    }
    n->twins = ids;
    return more;
}

static int artifact_load(struct walk *w, struct lineage_node *n)
{
    static const char sql[] =
        "SELECT " ARTIFACT_COLUMNS ", r.name, r.uuid, p.name, t.path"
        " FROM artifact a CROSS JOIN type y ON y.id = a.type"
        " LEFT JOIN task t ON t.id = a.task LEFT JOIN run r ON r.id = t.run"
        " LEFT JOIN pipeline p ON p.id = r.pipeline WHERE a.id = ?";
    struct db_artifact *x = arena_alloc(w->a, sizeof(*x));
    AUTO_Q struct q q = {0};
    int more;

    if (q_open(&q, w->d, sql, w->e) < 0)
        return -1;
    q_i64(&q, n->id);
    more = q_step(&q, w->e);
    if (more == 0)
        return err_set(w->e, ERR_MISSING, "no artifact a%lld", (long long)n->id);
    if (more < 0)
        return -1;
    artifact_read(w->a, &q, x);
    n->run_name = q_get_str_in(w->a, &q);
    n->run_uuid = q_get_str_in(w->a, &q);
    n->pipeline = q_get_str_in(w->a, &q);
    n->task_path = q_get_str_in(w->a, &q);
    n->artifact = x;
    if (w->l->opts.twins && x->digest_hex[0] && x->size_bytes && node_twins(w, n) < 0)
        return -1;
    return node_tags(w, n);
}

static int task_load(struct walk *w, struct lineage_node *n)
{
    static const char sql[] =
        "SELECT " TASK_COLUMNS ", r.name, r.uuid, p.name"
        " FROM task t" TASK_JOINS
        " LEFT JOIN run r ON r.id = t.run LEFT JOIN pipeline p ON p.id = r.pipeline"
        " WHERE t.id = ?";
    struct db_task *t = arena_alloc(w->a, sizeof(*t));
    AUTO_Q struct q q = {0};
    int more;

    if (q_open(&q, w->d, sql, w->e) < 0)
        return -1;
    q_i64(&q, n->id);
    more = q_step(&q, w->e);
    if (more == 0)
        return err_set(w->e, ERR_CORRUPT, "the record of task %lld is missing",
                       (long long)n->id);
    if (more < 0)
        return -1;
    task_read(w->a, &q, t);
    n->run_name = q_get_str_in(w->a, &q);
    n->run_uuid = q_get_str_in(w->a, &q);
    n->pipeline = q_get_str_in(w->a, &q);
    n->task_path = t->path;
    n->task = t;
    return 0;
}

static bool node_shown(const struct lineage *l, const struct lineage_node *n)
{
    if (!l->opts.type.len || (!n->from && !l->opts.filter_starts))
        return true;
    return !n->is_task && db_type_matches(n->artifact->type, l->opts.type);
}

/* index of the node in *at, made and loaded when it is new. `from` 0 makes a start */
static int node_get(struct walk *w, bool is_task, int64_t id, int64_t depth,
                    unsigned from, size_t *at, bool *fresh)
{
    struct lineage *l = w->l;
    bool new;
    struct idmap_slot *slot = idmap_at(&w->seen, walk_key(is_task, id), &new);
    struct lineage_node *n;

    if (!new) {
        must(slot->value < l->n_nodes);
        n = &l->nodes[slot->value];
        *at = slot->value;
        *fresh = slot->value >= l->n_starts && !(n->from & from);
        n->from |= slot->value >= l->n_starts ? from : 0;
        n->depth = depth < n->depth ? depth : n->depth;
        return 0;
    }

    if (l->n_nodes >= NODES_MAX)
        return err_set(w->e, ERR_LIMIT,
                       "the answer has over %d nodes: limit it with --depth",
                       NODES_MAX);
    l->nodes = arena_grow(w->a, l->nodes, &l->n_nodes, sizeof(*l->nodes));
    *at = slot->value = l->n_nodes - 1;
    *fresh = true;
    n = &l->nodes[*at];
    n->is_task = is_task;
    n->id = id;
    n->depth = depth;
    n->from = from;
    if ((is_task ? task_load(w, n) : artifact_load(w, n)) < 0)
        return -1;
    n->shown = node_shown(l, n);
    return 0;
}

static void edge_add(struct walk *w, struct lineage_edge edge)
{
    struct lineage *l = w->l;

    l->edges = arena_grow(w->a, l->edges, &l->n_edges, sizeof(*l->edges));
    l->edges[l->n_edges - 1] = edge;
}

/* ---- steps --------------------------------------------------------------------------
 */

struct step { /* one row of an answer: who, under which name */
    int64_t id;
    struct str name;
    int64_t idx;
};

static int steps_read(struct walk *w, struct q *q, struct step **out, size_t *n)
{
    struct step *steps = NULL;
    size_t count = 0;
    int more;

    while ((more = q_step(q, w->e)) > 0) {
        steps = arena_grow(w->a, steps, &count, sizeof(*steps));
        steps[count - 1].id = q_get_i64(q);
        steps[count - 1].name = q_get_str_in(w->a, q);
        steps[count - 1].idx = q_get_i64(q);
    }
    *out = steps;
    *n = count;
    return more;
}

/* who made it: one step, or none. The name is that of the output. */
static int producer_of(struct walk *w, const struct db_artifact *x, struct step **out,
                       size_t *n)
{
    static const char sql[] = "SELECT task, name, idx FROM event"
                              " WHERE artifact = ? AND io = 2 AND task = ? LIMIT 1";
    AUTO_Q struct q q = {0};

    *n = 0;
    if (!x->task)
        return 0;
    if (q_open(&q, w->d, sql, w->e) < 0)
        return -1;
    q_i64(&q, x->id);
    q_i64(&q, x->task);
    if (steps_read(w, &q, out, n) < 0)
        return -1;
    if (!*n) { /* made, but its task failed afterwards */
        *out = arena_grow(w->a, *out, n, sizeof(**out));
        **out = (struct step){x->task, x->name, 0};
    }
    return 0;
}

static int readers_of(struct walk *w, int64_t artifact, struct step **out, size_t *n)
{
    static const char sql[] =
        "SELECT e.task, e.name, e.idx FROM event e CROSS JOIN task t ON t.id = e.task"
        " WHERE e.artifact = ? AND e.io = 1 AND t.kind IN ('container', 'importer')"
        " ORDER BY e.task, e.name, e.idx";
    AUTO_Q struct q q = {0};

    if (q_open(&q, w->d, sql, w->e) < 0)
        return -1;
    q_i64(&q, artifact);
    return steps_read(w, &q, out, n);
}

static int io_of(struct walk *w, int64_t task, enum db_io io, struct step **out,
                 size_t *n)
{
    static const char sql[] = "SELECT artifact, name, idx FROM event"
                              " WHERE task = ? AND io = ? ORDER BY name, idx";
    AUTO_Q struct q q = {0};

    if (q_open(&q, w->d, sql, w->e) < 0)
        return -1;
    q_i64(&q, task);
    q_i64(&q, io);
    return steps_read(w, &q, out, n);
}

/* all neighbours of one node in one direction; fresh ones go to the queue */
static int expand(struct walk *w, size_t at, enum db_direction dir, size_t **queue,
                  size_t *n_queue)
{
    struct lineage_node n = w->l->nodes[at]; /* a copy: nodes may move */
    struct step *steps = NULL;
    size_t n_steps = 0;
    int rc;

    if (!n.is_task && w->l->opts.depth > 0 && n.depth >= w->l->opts.depth)
        return 0;
    if (n.is_task)
        rc = io_of(w, n.id, dir == DB_UP ? DB_IN : DB_OUT, &steps, &n_steps);
    else if (dir == DB_UP)
        rc = producer_of(w, n.artifact, &steps, &n_steps);
    else
        rc = readers_of(w, n.id, &steps, &n_steps);
    if (rc < 0)
        return -1;

    for (size_t i = 0; i < n_steps; i++) {
        size_t other = 0, made, maker;
        bool fresh = false;

        if (node_get(w, !n.is_task, steps[i].id, n.is_task ? n.depth : n.depth + 1, dir,
                     &other, &fresh) < 0)
            return -1;
        made = dir == DB_UP ? at : other;
        maker = dir == DB_UP ? other : at;
        edge_add(w, (struct lineage_edge){.from = maker,
                                          .to = made,
                                          .name = steps[i].name,
                                          .idx = steps[i].idx,
                                          .reused = w->l->nodes[maker].is_task &&
                                                    w->l->nodes[made].artifact->task !=
                                                        w->l->nodes[maker].id});
        if (fresh) {
            *queue = arena_grow(w->a, *queue, n_queue, sizeof(**queue));
            (*queue)[*n_queue - 1] = other;
        }
    }
    return 0;
}

static int walk(struct walk *w, enum db_direction dir)
{
    size_t *queue = NULL, n_queue = 0;

    for (size_t i = 0; i < w->l->n_starts; i++) {
        queue = arena_grow(w->a, queue, &n_queue, sizeof(*queue));
        queue[n_queue - 1] = i;
    }
    for (size_t i = 0; i < n_queue; i++) {
        if (expand(w, queue[i], dir, &queue, &n_queue) < 0)
            return -1;
    }
    return 0;
}

static int edge_order(const void *x, const void *y)
{
    const struct lineage_edge *a = x, *b = y;
    size_t n = a->name.len < b->name.len ? a->name.len : b->name.len;
    int c;

    if (a->from != b->from)
        return a->from < b->from ? -1 : 1;
    if (a->to != b->to)
        return a->to < b->to ? -1 : 1;
    c = n ? memcmp(a->name.ptr, b->name.ptr, n) : 0;
    if (c || a->name.len != b->name.len)
        return c ? c : a->name.len < b->name.len ? -1 : 1;
    return a->idx < b->idx ? -1 : a->idx > b->idx;
}

/* both directions may meet the same edge from its two ends */
static void edges_unique(struct lineage *l)
{
    size_t n = 0;

    if (l->n_edges)
        qsort(l->edges, l->n_edges, sizeof(*l->edges), edge_order);
    for (size_t i = 0; i < l->n_edges; i++) {
        if (!n || edge_order(&l->edges[n - 1], &l->edges[i]) != 0)
            l->edges[n++] = l->edges[i];
    }
    l->n_edges = n;
}

static int walk_all(struct walk *w, const int64_t *starts, size_t n_starts)
{
    struct lineage *l = w->l;

    if (l->opts.type.len && db_type_check(w->d, l->opts.type, w->e) < 0)
        return -1;
    for (size_t i = 0; i < n_starts; i++) {
        size_t at;
        bool fresh = false;
        l->n_starts = l->n_nodes;
        if (node_get(w, false, starts[i], 0, 0, &at, &fresh) < 0)
            return -1;
    }
    l->n_starts = l->n_nodes;

    if ((l->opts.directions & DB_UP) && walk(w, DB_UP) < 0)
        return -1;
    if ((l->opts.directions & DB_DOWN) && walk(w, DB_DOWN) < 0)
        return -1;
    if (l->opts.directions == (DB_UP | DB_DOWN))
        edges_unique(l);
    return 0;
}

int db_lineage_in(struct arena *a, struct db *d, const int64_t *starts, size_t n_starts,
                  const struct lineage_opts *o, struct lineage *out, struct err *e)
{
    struct lineage l = {.opts = *o};
    struct walk w = {.a = a, .d = d, .l = &l, .e = e};
    bool mine = !d->in_read;
    int rc;

    if (mine && db_read_begin(d, e) < 0)
        return -1;
    rc = walk_all(&w, starts, n_starts);
    if (mine)
        db_read_end(d);
    idmap_done(&w.seen);
    if (rc == 0)
        *out = l;
    return rc;
}

int lineage_flag(struct lineage *l, struct marks *m, struct err *e)
{
    for (size_t i = 0; marks_any(m) && i < l->n_nodes; i++) {
        struct lineage_node *n = &l->nodes[i];
        if (!n->is_task && marks_look(m, n->id, &n->mark, e) < 0)
            return -1;
    }
    return 0;
}

/* ---- the same as one statement ------------------------------------------------------
 */

int db_lineage_ids_in(struct arena *a, struct db *d, int64_t start,
                      enum db_direction dir, int64_t **ids, size_t *n, struct err *e)
{
    static const char up[] = "WITH RECURSIVE w(k, id) AS (SELECT 0, ?"
                             " UNION SELECT 1, a.task FROM w CROSS JOIN artifact a"
                             " WHERE w.k = 0 AND a.id = w.id AND a.task IS NOT NULL"
                             " UNION SELECT 0, e.artifact FROM w CROSS JOIN event e"
                             " WHERE w.k = 1 AND e.task = w.id AND e.io = 1)"
                             " SELECT id FROM w WHERE k = 0 ORDER BY id";
    static const char down[] =
        "WITH RECURSIVE w(k, id) AS (SELECT 0, ?"
        " UNION SELECT 1, e.task FROM w CROSS JOIN event e CROSS JOIN task t"
        " WHERE w.k = 0 AND e.artifact = w.id AND e.io = 1 AND t.id = e.task"
        " AND t.kind IN ('container', 'importer')"
        " UNION SELECT 0, e.artifact FROM w CROSS JOIN event e"
        " WHERE w.k = 1 AND e.task = w.id AND e.io = 2)"
        " SELECT id FROM w WHERE k = 0 ORDER BY id";
    AUTO_Q struct q q = {0};
    int64_t *found = NULL;
    size_t count = 0;
    int more;

    if (q_open(&q, d, dir == DB_UP ? up : down, e) < 0)
        return -1;
    q_i64(&q, start);
    while ((more = q_step(&q, e)) > 0) {
        found = arena_grow(a, found, &count, sizeof(*found));
        found[count - 1] = q_get_i64(&q);
    }
    if (more < 0)
        return -1;
    *ids = found;
    *n = count;
    return 0;
}
