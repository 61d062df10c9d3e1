/* SPDX-License-Identifier: Apache-2.0 */
/* live.c - what gc may not take
 *
 * Marking reads one consistent view and writes nothing. Kept runs are worked out once,
 * as a sorted list of ids, then each root adds digests to one growing array, which is
 * sorted and made unique at the end: 36 bytes a digest, no second structure. Anything
 * that cannot be read fails the whole, since a root left out would be content lost.
 */
#include "lineage/live.h"

#include <stdlib.h>

#include "base/json.h"
#include "base/limits.h"
#include "lineage/rows.h"

/* ---- kept runs ----------------------------------------------------------------------
 */

static int ids_read(struct arena *a, struct q *q, int64_t **ids, size_t *n,
                    struct err *e)
{
    int more;

    while ((more = q_step(q, e)) > 0) {
        *ids = arena_grow(a, *ids, n, sizeof(**ids));
        (*ids)[*n - 1] = q_get_i64(q);
    }
    return more;
}

static int runs_open(struct arena *a, struct db *d, int64_t **ids, size_t *n,
                     struct err *e)
{
    static const char sql[] =
        "SELECT id FROM run WHERE state IN ('PENDING', 'RUNNING', 'INTERRUPTED')";
    AUTO_Q struct q q = {0};

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    return ids_read(a, &q, ids, n, e);
}

static int runs_since(struct arena *a, struct db *d, int64_t since, int64_t **ids,
                      size_t *n, struct err *e)
{
    static const char sql[] = "SELECT id FROM run WHERE created_ms >= ?";
    AUTO_Q struct q q = {0};

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_i64(&q, since);
    return ids_read(a, &q, ids, n, e);
}

static int runs_last(struct arena *a, struct db *d, int64_t last, int64_t **ids,
                     size_t *n, struct err *e)
{
    static const char sql[] =
        "SELECT r.id FROM pipeline p CROSS JOIN run r"
        " WHERE r.pipeline = p.id AND r.id IN (SELECT k.id FROM run k"
        " WHERE k.pipeline = p.id ORDER BY k.id DESC LIMIT ?)";
    AUTO_Q struct q q = {0};

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_i64(&q, last);
    return ids_read(a, &q, ids, n, e);
}

static int id_order(const void *x, const void *y)
{
    int64_t a = *(const int64_t *)x, b = *(const int64_t *)y;

    return a < b ? -1 : a > b;
}

static int runs_kept(struct arena *a, struct db *d, const struct db_keep *keep,
                     int64_t **out, size_t *n, struct err *e)
{
    int64_t *ids = NULL;
    size_t count = 0, unique = 0;

    if (runs_open(a, d, &ids, &count, e) < 0 ||
        runs_since(a, d, keep->since_unix_ms, &ids, &count, e) < 0 ||
        runs_last(a, d, keep->last_runs > 0 ? keep->last_runs : 0, &ids, &count, e) < 0)
        return -1;
    if (count)
        qsort(ids, count, sizeof(*ids), id_order);
    for (size_t i = 0; i < count; i++) {
        if (!unique || ids[unique - 1] != ids[i])
            ids[unique++] = ids[i];
    }
    *out = ids;
    *n = unique;
    return 0;
}

/* ---- digests ------------------------------------------------------------------------
 */

static void live_add(struct db_live *l, const uint8_t *digest, uint32_t kind)
{
    if (l->n == l->cap) {
        l->cap = l->cap ? l->cap * 2 : 1024;
        l->items = xrealloc(l->items, l->cap * sizeof(*l->items));
    }
    memcpy(l->items[l->n].digest, digest, 32);
    l->items[l->n++].kinds = kind;
}

/* rows of (digest, kind of artifact) */
static int contents_add(struct db_live *l, struct q *q, struct err *e)
{
    int more;

    while ((more = q_step(q, e)) > 0) {
        const uint8_t *digest = q_get_bytes32(q);
        bool dir = str_eqz(q_get_str(q), "dir");
        if (digest)
            live_add(l, digest, dir ? DB_LIVE_TREE : DB_LIVE_FILE);
    }
    return more;
}

static int add_run(struct db_live *l, struct db *d, int64_t run, struct err *e)
{
    static const char sql[] =
        "SELECT a.digest, a.kind FROM task t CROSS JOIN event e ON e.task = t.id"
        " CROSS JOIN artifact a ON a.id = e.artifact"
        " WHERE t.run = ? AND a.state = 'LIVE' AND a.digest IS NOT NULL";
    AUTO_Q struct q q = {0};

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_i64(&q, run);
    return contents_add(l, &q, e);
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
    return contents_add(l, &q, e);
}

static int add_imported(struct db_live *l, struct db *d, struct err *e)
{
    static const char sql[] =
        "SELECT digest, kind FROM artifact"
        " WHERE imported = 1 AND state = 'LIVE' AND digest IS NOT NULL";
    AUTO_Q struct q q = {0};

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    return contents_add(l, &q, e);
}

static void layer_add(struct db_live *l, json *layer, const char *key, uint32_t kind)
{
    struct str s = json_as_str(yyjson_obj_get(layer, key));
    uint8_t digest[32];

    if (str_starts(s, "sha256:") && s.len == 71 &&
        hex_bytes((struct str){s.ptr + 7, 64}, digest, 32))
        live_add(l, digest, kind);
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
        live_add(l, config, DB_LIVE_IMAGE);
        if (manifest)
            live_add(l, manifest, DB_LIVE_IMAGE);
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
        if (n && live_order(&l->items[n - 1], &l->items[i]) == 0)
            l->items[n - 1].kinds |= l->items[i].kinds;
        else
            l->items[n++] = l->items[i];
    }
    l->n = n;
}

static int mark(struct db_live *l, struct db *d, const struct db_keep *keep,
                struct err *e)
{
    AUTO_ARENA struct arena a = {0};
    int64_t *runs;
    size_t n;

    if (runs_kept(&a, d, keep, &runs, &n, e) < 0)
        return -1;
    for (size_t i = 0; i < n; i++) {
        if (add_run(l, d, runs[i], e) < 0)
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

/* ---- what was taken -----------------------------------------------------------------
 */

static int deleted_mark(struct db *d, const uint8_t *digest, int64_t *n, struct err *e)
{
    static const char sql[] =
        "UPDATE artifact SET state = 'DELETED' WHERE digest = ? AND state <> 'DELETED'";
    AUTO_Q struct q q = {0};

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_bytes32(&q, digest);
    if (q_run(&q, e) < 0)
        return -1;
    *n += q_changes(&q);
    return 0;
}

int db_artifacts_deleted(struct db *d, const uint8_t (*digests)[32], size_t n,
                         int64_t *n_marked, struct err *e)
{
    int64_t count = 0;

    must(d->in_txn);
    for (size_t i = 0; i < n; i++) {
        if (deleted_mark(d, digests[i], &count, e) < 0)
            return -1;
    }
    *n_marked = count;
    return 0;
}

int db_attempt_dirs_in(struct arena *a, struct db *d, const struct db_keep *keep,
                       int64_t before_unix_ms, struct db_attempt_dir **out, size_t *n,
                       struct err *e)
{
    static const char sql[] =
        "SELECT t.run, m.task, m.number, m.dir, m.finished_ms, m.state <> 'SUCCEEDED'"
        " FROM attempt m CROSS JOIN task t ON t.id = m.task"
        " WHERE m.dir IS NOT NULL AND m.state <> 'RUNNING' AND m.finished_ms < ?"
        " ORDER BY m.task, m.number";
    AUTO_Q struct q q = {0};
    struct db_attempt_dir *dirs = NULL;
    int64_t *runs;
    size_t n_runs, count = 0;
    int more;

    if (runs_kept(a, d, keep, &runs, &n_runs, e) < 0 || q_open(&q, d, sql, e) < 0)
        return -1;
    q_i64(&q, before_unix_ms);
    while ((more = q_step(&q, e)) > 0) {
        int64_t run = q_get_i64(&q);
        struct db_attempt_dir *x;
        if (n_runs && bsearch(&run, runs, n_runs, sizeof(*runs), id_order))
            continue;
        dirs = arena_grow(a, dirs, &count, sizeof(*dirs));
        x = &dirs[count - 1];
        x->task = q_get_i64(&q);
        x->number = q_get_i64(&q);
        x->dir = q_get_str_in(a, &q);
        x->finished_unix_ms = q_get_i64(&q);
        x->failed = q_get_bool(&q);
    }
    if (more < 0)
        return -1;
    *out = dirs;
    *n = count;
    return 0;
}

int db_attempt_dir_gone(struct db *d, int64_t task, int64_t number, struct err *e)
{
    static const char sql[] =
        "UPDATE attempt SET dir = NULL WHERE task = ? AND number = ?";
    AUTO_Q struct q q = {0};

    must(d->in_txn);
    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_i64(&q, task);
    q_i64(&q, number);
    return q_run(&q, e);
}
