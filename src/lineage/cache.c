/* SPDX-License-Identifier: Apache-2.0 */
/* cache.c - a finished task stands for its cache key
 *
 * The table holds one task for a key within one pipeline, always the one that really
 * ran: a hit is recorded as a task of its own whose outputs are the same artifacts, but
 * it never becomes the answer itself. An entry counts only while everything it would
 * give out is live.
 */
#include "lineage/cache.h"

#include "lineage/record.h"
#include "lineage/rows.h"

int db_cache_put(struct db *d, struct str key_hex, int64_t task, int64_t now_unix_ms,
                 struct err *e)
{
    static const char sql[] =
        "INSERT INTO cache (task, key, created_ms, pipeline) VALUES (?1, ?2, ?3,"
        " (SELECT r.pipeline FROM task t CROSS JOIN run r ON r.id = t.run WHERE t.id = "
        "?1))"
        " ON CONFLICT DO UPDATE SET task = excluded.task, created_ms = "
        "excluded.created_ms";
    AUTO_Q struct q q = {0};

    must(d->in_txn);
    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_i64(&q, task);
    q_hex(&q, key_hex);
    q_i64(&q, now_unix_ms);
    return q_run(&q, e);
}

static int entry_find(struct arena *a, struct db *d, struct str key_hex,
                      struct str pipeline, int64_t not_before_unix_ms,
                      struct db_hit *hit, struct err *e)
{
    static const char sql[] =
        "SELECT c.task, c.created_ms, r.uuid, r.name, t.path"
        " FROM cache c CROSS JOIN task t ON t.id = c.task CROSS JOIN run r ON r.id = "
        "t.run"
        " WHERE c.key = ? AND c.pipeline = (SELECT id FROM pipeline WHERE name = ?)"
        " AND c.created_ms >= ? AND t.state = 'SUCCEEDED'";
    AUTO_Q struct q q = {0};
    int more;

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_hex(&q, key_hex);
    q_text(&q, pipeline);
    q_i64(&q, not_before_unix_ms);
    more = q_step(&q, e);
    if (more <= 0)
        return more;
    hit->task = q_get_i64(&q);
    hit->created_unix_ms = q_get_i64(&q);
    hit->run_uuid = q_get_str_in(a, &q);
    hit->run_name = q_get_str_in(a, &q);
    hit->path = q_get_str_in(a, &q);
    return 1;
}

int db_cache_find_in(struct arena *a, struct db *d, struct str key_hex,
                     struct str pipeline, int64_t not_before_unix_ms,
                     struct db_hit *hit, bool *found, struct err *e)
{
    struct db_hit h = {0};
    int more = entry_find(a, d, key_hex, pipeline, not_before_unix_ms, &h, e);

    if (more < 0)
        return -1;
    if (more && db_task_io_in(a, d, h.task, DB_OUT, &h.out, e) < 0)
        return -1;
    for (size_t i = 0; more && i < h.out.n_artifacts; i++)
        more = h.out.artifacts[i].artifact.state == DB_LIVE;

    if (more)
        *hit = h;
    *found = more;
    return 0;
}

int db_run_keys_in(struct arena *a, struct db *d, int64_t run, struct db_key_task **out,
                   size_t *n, struct err *e)
{
    static const char sql[] =
        "SELECT coalesce(t.cached_from, t.id), coalesce(o.cache_key, t.cache_key)"
        " FROM task t LEFT JOIN task o ON o.id = t.cached_from"
        " WHERE t.run = ? AND t.state = 'SUCCEEDED'"
        " AND coalesce(o.cache_key, t.cache_key) IS NOT NULL";
    AUTO_Q struct q q = {0};
    struct db_key_task *rows = NULL;
    size_t count = 0;
    int more;

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_i64(&q, run);
    while ((more = q_step(&q, e)) > 0) {
        rows = arena_grow(a, rows, &count, sizeof *rows);
        rows[count - 1].task = q_get_i64(&q);
        q_get_hex(&q, rows[count - 1].key_hex);
    }
    *out = rows;
    *n = count;
    return more;
}

int db_task_before(struct db *d, int64_t task, int64_t *before, int64_t *recorded,
                   struct err *e)
{
    static const char sql[] =
        "SELECT o.id, coalesce(o.cached_from, o.id)"
        " FROM task t CROSS JOIN run mine ON mine.id = t.run"
        " CROSS JOIN run r ON r.pipeline = mine.pipeline AND r.id < mine.id"
        " CROSS JOIN task o ON o.run = r.id AND o.path = t.path"
        " WHERE t.id = ? AND o.state IN ('SUCCEEDED', 'FAILED')"
        " AND EXISTS (SELECT 1 FROM ingredients g"
        "             WHERE g.task = coalesce(o.cached_from, o.id))"
        " ORDER BY o.state = 'SUCCEEDED' DESC, r.id DESC LIMIT 1";
    AUTO_Q struct q q = {0};
    int more;

    *before = *recorded = 0;
    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_i64(&q, task);
    more = q_step(&q, e);
    if (more > 0) {
        *before = q_get_i64(&q);
        *recorded = q_get_i64(&q);
    }
    return more < 0 ? -1 : 0;
}

static int reuse_mark(struct db *d, int64_t task, int64_t from, int64_t started_unix_ms,
                      int64_t now_unix_ms, bool *won, struct err *e)
{
    static const char sql[] =
        "UPDATE task SET state = 'SUCCEEDED', cached = 1, cached_from = ?1,"
        " image = (SELECT image FROM task WHERE id = ?1)," /* it is part of the key */
        " started_ms = coalesce(started_ms, ?2), finished_ms = ?3"
        " WHERE id = ?4 AND state IN ('PENDING', 'RUNNING')";
    AUTO_Q struct q q = {0};

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_i64(&q, from);
    q_id(&q, started_unix_ms);
    q_id(&q, now_unix_ms);
    q_i64(&q, task);
    if (q_run(&q, e) < 0)
        return -1;
    *won = q_changes(&q) == 1;
    return 0;
}

static int outputs_put(struct db *d, int64_t task, const struct db_io_rows *out,
                       struct err *e)
{
    for (size_t i = 0; i < out->n_artifacts; i++) {
        const struct db_io_artifact *x = &out->artifacts[i];
        if (db_event_put(d, task, DB_OUT, x->name, x->idx, x->artifact.id, e) < 0)
            return -1;
    }
    for (size_t i = 0; i < out->n_params; i++) {
        const struct db_param *p = &out->params[i];
        if (db_param_put(d, task, DB_OUT, p->name, p->value_json, e) < 0)
            return -1;
    }
    return 0;
}

int db_cache_reuse(struct db *d, int64_t task, const struct db_hit *hit,
                   int64_t started_unix_ms, int64_t now_unix_ms, bool *won,
                   struct err *e)
{
    bool moved;

    must(d->in_txn);
    if (reuse_mark(d, task, hit->task, started_unix_ms, now_unix_ms, &moved, e) < 0)
        return -1;
    if (moved && outputs_put(d, task, &hit->out, e) < 0)
        return -1;
    *won = moved;
    return 0;
}

int db_cache_forget(struct db *d, struct str key_hex, struct str pipeline,
                    struct err *e)
{
    static const char sql[] =
        "DELETE FROM cache WHERE key = ?"
        " AND pipeline = (SELECT id FROM pipeline WHERE name = ?)";
    AUTO_Q struct q q = {0};

    must(d->in_txn);
    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_hex(&q, key_hex);
    q_text(&q, pipeline);
    return q_run(&q, e);
}
