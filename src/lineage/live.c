/* SPDX-License-Identifier: Apache-2.0 */
/* live.c - what gc may not take
 *
 * Marking reads one consistent view and writes nothing. Kept runs are worked out once
 * (keep.c), then each root adds digests to one growing array, which is sorted and made
 * unique at the end: 40 bytes a digest, no second structure. Anything that cannot be
 * read fails the whole, since a root left out would be content lost.
 */
#include "lineage/live.h"

#include <stdlib.h>

#include "base/json.h"
#include "base/limits.h"
#include "lineage/rows.h"

/* ---- digests ------------------------------------------------------------------------
 */

static void live_add(struct db_live *l, const uint8_t *digest, uint32_t kind,
                     uint32_t reason)
{
    if (l->n == l->cap) {
        l->cap = l->cap ? l->cap * 2 : 1024;
        l->items = xrealloc(l->items, l->cap * sizeof(*l->items));
    }
    memcpy(l->items[l->n].digest, digest, 32);
    l->items[l->n].reasons = reason;
    l->items[l->n++].kinds = kind;
}

/* rows of (digest, kind of artifact) */
static int contents_add(struct db_live *l, struct q *q, uint32_t reason, struct err *e)
{
    int more;

    while ((more = q_step(q, e)) > 0) {
        const uint8_t *digest = q_get_bytes32(q);
        bool dir = str_eqz(q_get_str(q), "dir");
        if (digest)
            live_add(l, digest, dir ? DB_LIVE_TREE : DB_LIVE_FILE, reason);
    }
    return more;
}

static int add_run(struct db_live *l, struct db *d, int64_t run, uint32_t reason,
                   struct err *e)
{
    static const char sql[] =
        "SELECT a.digest, a.kind FROM task t CROSS JOIN event e ON e.task = t.id"
        " CROSS JOIN artifact a ON a.id = e.artifact"
        " WHERE t.run = ? AND a.state = 'LIVE' AND a.digest IS NOT NULL";
    AUTO_Q struct q q = {0};

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_i64(&q, run);
    return contents_add(l, &q, reason, e);
}

static int add_tagged(struct db_live *l, struct db *d, struct err *e)
{
    static const char sql[] =
        "WITH RECURSIVE w(k, id) AS (SELECT 0, artifact FROM ref"
        " UNION SELECT 1, a.task FROM w CROSS JOIN artifact a"
        " WHERE w.k = 0 AND a.id = w.id AND a.task IS NOT NULL"
        " UNION SELECT 0, e.artifact FROM w CROSS JOIN event e"
        " WHERE w.k = 1 AND e.task = w.id AND e.io = 1)"
        " SELECT a.digest, a.kind FROM w CROSS JOIN artifact a"
        " WHERE w.k = 0 AND a.id = w.id AND a.state = 'LIVE' AND a.digest IS NOT NULL";
    AUTO_Q struct q q = {0};

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    return contents_add(l, &q, DB_KEPT_TAG, e);
}

static int add_imported(struct db_live *l, struct db *d, struct err *e)
{
    static const char sql[] =
        "SELECT digest, kind FROM artifact"
        " WHERE imported = 1 AND state = 'LIVE' AND digest IS NOT NULL";
    AUTO_Q struct q q = {0};

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    return contents_add(l, &q, DB_KEPT_IMPORT, e);
}

static void layer_add(struct db_live *l, json *layer, const char *key, uint32_t kind)
{
    struct str s = json_as_str(yyjson_obj_get(layer, key));
    uint8_t digest[32];

    if (str_starts(s, "sha256:") && s.len == 71 &&
        hex_bytes((struct str){s.ptr + 7, 64}, digest, 32))
        live_add(l, digest, kind, DB_KEPT_IMAGE);
}

static int layers_add(struct db_live *l, struct str layers_json, struct err *e)
{
    AUTO_JSON yyjson_doc *doc = NULL;
    size_t i, max;
    yyjson_val *layer;

    if (!layers_json.len)
        return 0;
    if (json_parse(layers_json, LIMIT_JSON_BYTES, &doc, e) < 0)
        return err_at(e, "layers of an image");
    yyjson_arr_foreach(yyjson_doc_get_root(doc), i, max, layer)
    {
        layer_add(l, layer, "digest", DB_LIVE_IMAGE);
        layer_add(l, layer, "diff_id", DB_LIVE_LAYER);
    }
    return 0;
}

static int add_images(struct db_live *l, struct db *d, struct err *e)
{
    static const char sql[] = "SELECT config, manifest, layers FROM image"
                              " WHERE loaded_ms IS NOT NULL AND removed_ms IS NULL";
    AUTO_Q struct q q = {0};
    int more;

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    while ((more = q_step(&q, e)) > 0) {
        const uint8_t *config = q_get_bytes32(&q), *manifest = q_get_bytes32(&q);
        live_add(l, config, DB_LIVE_IMAGE, DB_KEPT_IMAGE);
        if (manifest)
            live_add(l, manifest, DB_LIVE_IMAGE, DB_KEPT_IMAGE);
        if (layers_add(l, q_get_str(&q), e) < 0)
            return -1;
    }
    return more;
}

static int live_order(const void *x, const void *y)
{
    return memcmp(((const struct db_live_item *)x)->digest,
                  ((const struct db_live_item *)y)->digest, 32);
}

static void live_sort(struct db_live *l)
{
    size_t n = 0;

    if (l->n)
        qsort(l->items, l->n, sizeof(*l->items), live_order);
    for (size_t i = 0; i < l->n; i++) {
        if (n && live_order(&l->items[n - 1], &l->items[i]) == 0) {
            l->items[n - 1].kinds |= l->items[i].kinds;
            l->items[n - 1].reasons |= l->items[i].reasons;
        } else {
            l->items[n++] = l->items[i];
        }
    }
    l->n = n;
}

static int mark(struct db_live *l, struct db *d, const struct db_keep *keep,
                struct err *e)
{
    AUTO_ARENA struct arena a = {0};
    struct kept_run *runs;
    size_t n;

    if (kept_runs_in(&a, d, keep, &runs, &n, e) < 0)
        return -1;
    for (size_t i = 0; i < n; i++) {
        if (add_run(l, d, runs[i].id, runs[i].open ? DB_KEPT_OPEN : DB_KEPT_RUN, e) < 0)
            return -1;
    }
    if (add_tagged(l, d, e) < 0 || add_imported(l, d, e) < 0 || add_images(l, d, e) < 0)
        return -1;
    live_sort(l);
    return 0;
}

int db_live_digests(struct db *d, const struct db_keep *keep, struct db_live *out,
                    struct err *e)
{
    struct db_live l = {0};
    bool mine = !d->in_read;
    int rc;

    if (mine && db_read_begin(d, e) < 0)
        return -1;
    rc = mark(&l, d, keep, e);
    if (mine)
        db_read_end(d);
    if (rc < 0) {
        db_live_done(&l);
        return err_at(e, "mark what is in use");
    }
    *out = l;
    return 0;
}

uint32_t db_live_kinds(const struct db_live *l, const char *hex)
{
    struct db_live_item key = {0};
    const struct db_live_item *found;

    if (!l->n || strlen(hex) != 64 || !hex_bytes(str_of(hex), key.digest, 32))
        return 0;
    found = bsearch(&key, l->items, l->n, sizeof(*l->items), live_order);
    return found ? found->kinds : 0;
}

void db_live_done(struct db_live *l)
{
    free(l->items);
    *l = (struct db_live){0};
}

/* ---- what goes ----------------------------------------------------------------------
 */

struct gone {
    int64_t id;
    uint8_t digest[32];
};

static int gone_list(struct db *d, const struct db_live *live, db_going_fn *going,
                     void *ctx, struct gone **out, size_t *n, struct err *e)
{
    static const char sql[] = "SELECT id, digest, kind FROM artifact"
                              " WHERE digest IS NOT NULL AND state <> 'DELETED'";
    AUTO_Q struct q q = {0};
    size_t cap = 0;
    int more;

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    while ((more = q_step(&q, e)) > 0) {
        struct gone g = {.id = q_get_i64(&q)};
        char hex[65];
        q_get_hex(&q, hex);
        if (!hex_bytes(str_of(hex), g.digest, 32) || db_live_kinds(live, hex) ||
            !going(ctx, hex, str_eqz(q_get_str(&q), "dir")))
            continue;
        if (*n == cap) {
            cap = cap ? cap * 2 : 256;
            *out = xrealloc(*out, cap * sizeof(**out));
        }
        (*out)[(*n)++] = g;
    }
    return more;
}

static int bury(struct db *d, const struct gone *g, struct err *e)
{
    static const char tombstone[] =
        "UPDATE artifact SET state = 'DELETED' WHERE id = ?";
    static const char forget[] = "DELETE FROM verified WHERE digest = ?";
    AUTO_Q struct q t = {0};
    AUTO_Q struct q f = {0};

    if (q_open(&t, d, tombstone, e) < 0 || q_open(&f, d, forget, e) < 0)
        return -1;
    q_i64(&t, g->id);
    q_bytes32(&f, g->digest);
    return q_run(&t, e) < 0 || q_run(&f, e) < 0 ? -1 : 0;
}

int db_artifacts_bury(struct db *d, const struct db_live *live, db_going_fn *going,
                      void *ctx, int64_t *n_buried, struct err *e)
{
    AUTO_FREE struct gone *gone = NULL;
    size_t n = 0;

    must(d->in_txn);
    if (gone_list(d, live, going, ctx, &gone, &n, e) < 0)
        return -1;
    for (size_t i = 0; i < n; i++) {
        if (bury(d, &gone[i], e) < 0)
            return -1;
    }
    *n_buried = (int64_t)n;
    return 0;
}

/* ---- why it goes --------------------------------------------------------------------
 */

static int images_gone(struct db *d, db_fate_fn *fn, void *ctx, struct err *e)
{
    static const char sql[] =
        "SELECT config, manifest, layers FROM image WHERE removed_ms IS NOT NULL";
    struct db_live l = {0};
    AUTO_Q struct q q = {0};
    int more;

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    while ((more = q_step(&q, e)) > 0) {
        const uint8_t *config = q_get_bytes32(&q), *manifest = q_get_bytes32(&q);
        struct err bad;
        live_add(&l, config, DB_LIVE_IMAGE, 0);
        if (manifest)
            live_add(&l, manifest, DB_LIVE_IMAGE, 0);
        (void)layers_add(&l, q_get_str(&q),
                         &bad); /* an unreadable list explains nothing */
    }
    for (size_t i = 0; i < l.n; i++) {
        char hex[65];
        hex_of(l.items[i].digest, 32, hex);
        fn(ctx, hex, false, DB_FATE_IMAGE);
    }
    db_live_done(&l);
    return more;
}

int db_gone_each(struct db *d, db_fate_fn *fn, void *ctx, struct err *e)
{
    static const char sql[] =
        "SELECT digest, kind, state = 'REMOVED' FROM artifact WHERE digest IS NOT NULL";
    AUTO_Q struct q q = {0};
    int more;

    if (images_gone(d, fn, ctx, e) < 0 || q_open(&q, d, sql, e) < 0)
        return -1;
    while ((more = q_step(&q, e)) > 0) {
        char hex[65];
        bool dir;
        q_get_hex(&q, hex);
        dir = str_eqz(q_get_str(&q), "dir");
        fn(ctx, hex, dir, q_get_bool(&q) ? DB_FATE_REMOVED : DB_FATE_RETIRED);
    }
    return more;
}
