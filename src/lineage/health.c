/* SPDX-License-Identifier: Apache-2.0 */
/* health.c - what the rows say must be in the store, and when it was last read
 *
 * The verified table is a note of fsck to itself, so that reading a few per cent a
 * night covers everything in turn. A digest without a row was never read since it was
 * stored, and comes first.
 */
#include "lineage/health.h"

#include "lineage/sql.h"

int db_contents_in(struct arena *a, struct db *d, struct db_content **out, size_t *n,
                   struct err *e)
{
    static const char sql[] =
        "SELECT digest, kind, max(size) FROM artifact"
        " WHERE digest IS NOT NULL AND state = 'LIVE' GROUP BY digest, kind";
    AUTO_Q struct q q = {0};
    struct db_content *rows = NULL;
    size_t count = 0;
    int more;

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    while ((more = q_step(&q, e)) > 0) {
        struct db_content *x;
        rows = arena_grow(a, rows, &count, sizeof(*rows));
        x = &rows[count - 1];
        q_get_hex(&q, x->hex);
        x->dir = str_eqz(q_get_str(&q), "dir");
        x->size_bytes = q_get_i64(&q);
    }
    *out = rows;
    *n = count;
    return more;
}

int db_ended_dirs_in(struct arena *a, struct db *d, struct str **out, size_t *n, struct err *e)
{
    static const char sql[] =
        "SELECT dir FROM attempt WHERE dir IS NOT NULL AND state <> 'RUNNING'";
    AUTO_Q struct q q = {0};
    struct str *rows = NULL;
    size_t count = 0;
    int more;

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    while ((more = q_step(&q, e)) > 0) {
        rows = arena_grow(a, rows, &count, sizeof(*rows));
        rows[count - 1] = q_get_str_in(a, &q);
    }
    *out = rows;
    *n = count;
    return more;
}

int db_verified_in(struct arena *a, struct db *d, struct db_content **out, size_t *n,
                   struct err *e)
{
    static const char sql[] = "SELECT digest, at_ms FROM verified ORDER BY at_ms";
    AUTO_Q struct q q = {0};
    struct db_content *rows = NULL;
    size_t count = 0;
    int more;

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    while ((more = q_step(&q, e)) > 0) {
        struct db_content *x;
        rows = arena_grow(a, rows, &count, sizeof(*rows));
        x = &rows[count - 1];
        q_get_hex(&q, x->hex);
        x->verified_unix_ms = q_get_i64(&q);
    }
    *out = rows;
    *n = count;
    return more;
}

int db_verified_put(struct db *d, const char *hex, int64_t at_unix_ms, struct err *e)
{
    static const char sql[] =
        "INSERT INTO verified VALUES (?, ?)"
        " ON CONFLICT (digest) DO UPDATE SET at_ms = excluded.at_ms";
    AUTO_Q struct q q = {0};

    must(d->in_txn);
    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_hex(&q, str_of(hex));
    q_i64(&q, at_unix_ms);
    return q_run(&q, e);
}

int db_verified_prune(struct db *d, int64_t since_unix_ms, struct err *e)
{
    static const char sql[] = "DELETE FROM verified WHERE at_ms < ?";
    AUTO_Q struct q q = {0};

    must(d->in_txn);
    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_i64(&q, since_unix_ms);
    return q_run(&q, e);
}
