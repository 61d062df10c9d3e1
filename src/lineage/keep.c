/* SPDX-License-Identifier: Apache-2.0 */
/* keep.c - which runs gc keeps, and whose directories may go
 *
 * A run is kept when it is not over, or by what the user wants kept: the last N of each
 * pipeline, those since a day. A ceiling of bytes takes back from the oldest end: runs
 * are gone through newest first, each adds what no newer one had, and what is past the
 * ceiling is not kept. Runs that are not over stay whatever the ceiling says.
 */
#include <stdlib.h>

#include "lineage/live.h"
#include "lineage/rows.h"
#include "store/gc.h"

static int runs_read(struct arena *a, struct q *q, bool open, struct kept_run **runs,
                     size_t *n, struct err *e)
{
    int more;

    while ((more = q_step(q, e)) > 0) {
        *runs = arena_grow(a, *runs, n, sizeof(**runs));
        (*runs)[*n - 1] = (struct kept_run){.id = q_get_i64(q), .open = open};
    }
    return more;
}

static int runs_open(struct arena *a, struct db *d, struct kept_run **runs, size_t *n,
                     struct err *e)
{
    static const char sql[] =
        "SELECT id FROM run WHERE state IN ('PENDING', 'RUNNING', 'INTERRUPTED')";
    AUTO_Q struct q q = {0};

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    return runs_read(a, &q, true, runs, n, e);
}

static int runs_since(struct arena *a, struct db *d, int64_t since,
                      struct kept_run **runs, size_t *n, struct err *e)
{
    static const char sql[] = "SELECT id FROM run WHERE created_ms >= ?";
    AUTO_Q struct q q = {0};

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_i64(&q, since);
    return runs_read(a, &q, false, runs, n, e);
}

static int runs_last(struct arena *a, struct db *d, int64_t last,
                     struct kept_run **runs, size_t *n, struct err *e)
{
    static const char sql[] =
        "SELECT r.id FROM pipeline p CROSS JOIN run r"
        " WHERE r.pipeline = p.id AND r.id IN (SELECT k.id FROM run k"
        " WHERE k.pipeline = p.id ORDER BY k.id DESC LIMIT ?)";
    AUTO_Q struct q q = {0};

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_i64(&q, last);
    return runs_read(a, &q, false, runs, n, e);
}

static int id_order(const void *x, const void *y)
{
    int64_t a = ((const struct kept_run *)x)->id, b = ((const struct kept_run *)y)->id;

    return a < b ? -1 : a > b;
}

static void make_unique(struct kept_run *runs, size_t *n)
{
    size_t unique = 0;

    if (*n)
        qsort(runs, *n, sizeof(*runs), id_order);
    for (size_t i = 0; i < *n; i++) {
        if (unique && runs[unique - 1].id == runs[i].id)
            runs[unique - 1].open |= runs[i].open;
        else
            runs[unique++] = runs[i];
    }
    *n = unique;
}

/* bytes that the run names and no run before it in `seen` did */
static int bytes_of(struct db *d, int64_t run, struct digest_set *seen, uint64_t *bytes,
                    struct err *e)
{
    static const char sql[] =
        "SELECT a.digest, a.size FROM task t CROSS JOIN event e ON e.task = t.id"
        " CROSS JOIN artifact a ON a.id = e.artifact"
        " WHERE t.run = ? AND a.state = 'LIVE' AND a.digest IS NOT NULL";
    AUTO_Q struct q q = {0};
    int more;

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_i64(&q, run);
    while ((more = q_step(&q, e)) > 0) {
        char hex[65];
        q_get_hex(&q, hex);
        if (digest_set_add(seen, hex))
            *bytes += (uint64_t)q_get_i64(&q);
    }
    return more;
}

static int hold_to_ceiling(struct db *d, uint64_t max_bytes, struct kept_run *runs,
                           size_t *n, struct err *e)
{
    AUTO_DIGEST_SET struct digest_set seen = {.n = 0};
    uint64_t bytes = 0;
    size_t kept = 0;

    for (size_t i = *n; i-- > 0;) {
        if (bytes <= max_bytes && bytes_of(d, runs[i].id, &seen, &bytes, e) < 0)
            return -1;
        runs[i].over = bytes > max_bytes && !runs[i].open;
    }
    for (size_t i = 0; i < *n; i++) {
        if (!runs[i].over)
            runs[kept++] = runs[i];
    }
    *n = kept;
    return 0;
}

int kept_runs_in(struct arena *a, struct db *d, const struct db_keep *keep,
                 struct kept_run **out, size_t *n, struct err *e)
{
    struct kept_run *runs = NULL;
    size_t count = 0;

    if (runs_open(a, d, &runs, &count, e) < 0 ||
        runs_since(a, d, keep->since_unix_ms, &runs, &count, e) < 0 ||
        runs_last(a, d, keep->last_runs > 0 ? keep->last_runs : 0, &runs, &count, e) <
            0)
        return -1;
    make_unique(runs, &count);
    if (keep->max_bytes && hold_to_ceiling(d, keep->max_bytes, runs, &count, e) < 0)
        return -1;
    *out = runs;
    *n = count;
    return 0;
}

int db_open_since(struct db *d, int64_t *since_unix_ms, struct err *e)
{
    static const char sql[] =
        "SELECT min(started_ms) FROM attempt WHERE state = 'RUNNING'";
    AUTO_Q struct q q = {0};
    int more;

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    more = q_step(&q, e);
    if (more < 0)
        return -1;
    *since_unix_ms = more ? q_get_known(&q) : -1;
    if (*since_unix_ms < 0)
        *since_unix_ms = INT64_MAX;
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
    struct kept_run *runs;
    size_t n_runs, count = 0;
    int more;

    if (kept_runs_in(a, d, keep, &runs, &n_runs, e) < 0 || q_open(&q, d, sql, e) < 0)
        return -1;
    q_i64(&q, before_unix_ms);
    while ((more = q_step(&q, e)) > 0) {
        struct kept_run run = {.id = q_get_i64(&q)};
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
