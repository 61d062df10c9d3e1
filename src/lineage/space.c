/* SPDX-License-Identifier: Apache-2.0 */
/* space.c - how many bytes the rows stand for
 *
 * Sizes are those of the content, not of the disk, and content that several artifacts
 * have counts once. What a run found in the cache belongs to the run that made it.
 */
#include "lineage/space.h"

#include "lineage/sql.h"

static int one_sum(struct q *q, uint64_t *bytes, struct err *e)
{
    int64_t sum;

    if (q_one(q, &sum, e) < 0)
        return -1;
    *bytes = (uint64_t)sum;
    return 0;
}

int db_bytes_live(struct db *d, uint64_t *bytes, struct err *e)
{
    static const char artifacts[] =
        "SELECT sum(size) FROM (SELECT max(size) AS size FROM artifact"
        " WHERE digest IS NOT NULL AND state <> 'DELETED' GROUP BY digest)";
    static const char images[] = "SELECT sum(size) FROM image WHERE loaded_ms IS NOT "
                                 "NULL AND removed_ms IS NULL";
    AUTO_Q struct q q = {0};
    AUTO_Q struct q i = {0};
    uint64_t of_images;

    if (q_open(&q, d, artifacts, e) < 0 || one_sum(&q, bytes, e) < 0 ||
        q_open(&i, d, images, e) < 0 || one_sum(&i, &of_images, e) < 0)
        return -1;
    *bytes += of_images;
    return 0;
}

int db_bytes_last_run(struct db *d, struct str pipeline, uint64_t *bytes, struct err *e)
{
    static const char sql[] =
        "SELECT sum(a.size) FROM task t CROSS JOIN event v ON v.task = t.id AND v.io = "
        "2"
        " CROSS JOIN artifact a ON a.id = v.artifact"
        " WHERE a.task = t.id AND t.run = (SELECT r.id FROM run r"
        " WHERE r.pipeline = (SELECT id FROM pipeline WHERE name = ?)"
        " AND r.state = 'SUCCEEDED' AND r.all_cached = 0 ORDER BY r.id DESC LIMIT 1)";
    AUTO_Q struct q q = {0};

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_text(&q, pipeline);
    return one_sum(&q, bytes, e);
}

static int rows_read(struct arena *a, struct q *q, struct db_space **out, size_t *n,
                     struct err *e)
{
    struct db_space *rows = NULL;
    size_t count = 0;
    int more;

    while ((more = q_step(q, e)) > 0) {
        struct db_space *x;
        rows = arena_grow(a, rows, &count, sizeof(*rows));
        x = &rows[count - 1];
        x->name = q_get_str_in(a, q);
        x->uuid = q_get_str_in(a, q);
        x->count = q_get_i64(q);
        x->bytes = q_get_i64(q);
    }
    *out = rows;
    *n = count;
    return more;
}

#define MADE                                                                           \
    " FROM artifact a JOIN task t ON t.id = a.task JOIN run r ON r.id = t.run"         \
    " WHERE a.digest IS NOT NULL AND a.state <> 'DELETED'"

int db_space_pipelines_in(struct arena *a, struct db *d, struct db_space **out,
                          size_t *n, struct err *e)
{
    static const char sql[] =
        "SELECT p.name, NULL, count(*), sum(x.size) FROM (SELECT r.pipeline AS id,"
        " max(a.size) AS size" MADE " GROUP BY r.pipeline, a.digest) x"
        " JOIN pipeline p ON p.id = x.id GROUP BY p.id ORDER BY 4 DESC, 1";
    AUTO_Q struct q q = {0};

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    return rows_read(a, &q, out, n, e);
}

int db_space_runs_in(struct arena *a, struct db *d, struct db_space **out, size_t *n,
                     struct err *e)
{
    static const char sql[] =
        "SELECT r.name, r.uuid, count(x.size), coalesce(sum(x.size), 0) FROM run r"
        " LEFT JOIN (SELECT r.id AS id, max(a.size) AS size" MADE
        " GROUP BY r.id, a.digest) x ON x.id = r.id"
        " GROUP BY r.id ORDER BY 4 DESC, r.id DESC";
    AUTO_Q struct q q = {0};

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    return rows_read(a, &q, out, n, e);
}
