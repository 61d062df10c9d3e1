/* SPDX-License-Identifier: Apache-2.0 */
/* list.c - artifacts by type, run, pipeline, content and condition, in an order
 *
 * The one statement that is put together at run time: each filter that is set adds a
 * term, all values are bound. What an index finds in few rows is taken from there;
 * otherwise the newest rows are read off the end of the table until the limit.
 */
#include "lineage/rows.h"
#include "lineage/wheresql.h"

/* what KFP's SDK declares: absent so far is an empty list, no mistake */
static const char *const known_types[] = {
    "Artifact",
    "Dataset",
    "Model",
    "Metrics",
    "ClassificationMetrics",
    "SlicedClassificationMetrics",
    "HTML",
    "Markdown",
};

#define TYPE_TERM "SELECT id FROM type WHERE name = ?1 OR name LIKE '%.' || ?1"

static bool known_type(struct str type)
{
    if (str_starts(type, "system."))
        type = (struct str){type.ptr + 7, type.len - 7};
    for (size_t i = 0; i < N_ELEMS(known_types); i++) {
        if (str_eqz(type, known_types[i]))
            return true;
    }
    return false;
}

static int type_seen(struct db *d, struct str type, int64_t *id, struct err *e)
{
    static const char sql[] = TYPE_TERM " LIMIT 1";
    AUTO_Q struct q q = {0};

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_text(&q, type);
    return q_one(&q, id, e);
}

/* ERR_MISSING with the types that there are */
int db_type_check(struct db *d, struct str type, struct err *e)
{
    static const char sql[] = "SELECT name FROM type ORDER BY name LIMIT 20";
    AUTO_BUF struct buf all = {0};
    AUTO_Q struct q q = {0};
    int64_t id;
    int more;

    if (type_seen(d, type, &id, e) < 0)
        return -1;
    if (id || known_type(type))
        return 0;
    if (q_open(&q, d, sql, e) < 0)
        return -1;
    while ((more = q_step(&q, e)) > 0) {
        buf_adds(&all, all.len ? ", " : "; there are: ");
        buf_addstr(&all, q_get_str(&q));
    }
    if (more < 0)
        return -1;
    return err_set(e, ERR_MISSING, "no artifact of type %.*s%.350s", STR_ARG(type),
                   buf_str(&all));
}

/* "Dataset" names system.Dataset as well as custom.Dataset */
bool db_type_matches(struct str full, struct str type)
{
    struct str tail = {full.ptr + full.len - type.len, type.len};

    if (full.len == type.len)
        return memcmp(full.ptr, type.ptr, type.len) == 0;
    return full.len > type.len && full.ptr[full.len - type.len - 1] == '.' &&
           memcmp(tail.ptr, type.ptr, type.len) == 0;
}

#define PIPELINE_MAX 2000 /* tasks of a pipeline that a leader is looked for in */

/* How rows are found and in which order. A leaderboard reads the property index from
 * its end, until there are enough; within a small pipeline its own artifacts are fewer.
 */
static int sort_by_index(struct db *d, const struct db_artifact_filter *f,
                         const struct query *q, bool *by_index, struct err *e)
{
    static const char sql[] =
        "SELECT count(*) FROM (SELECT 1 FROM run r CROSS JOIN task t ON t.run = r.id"
        " WHERE r.pipeline = (SELECT id FROM pipeline WHERE name = ?) LIMIT ?)";
    AUTO_Q struct q probe = {0};
    int64_t tasks;

    *by_index = q->sort.len && q->sort_field == FIELD_METADATA;
    if (!*by_index || !f->pipeline.len)
        return 0;
    if (q_open(&probe, d, sql, e) < 0)
        return -1;
    q_text(&probe, f->pipeline);
    q_i64(&probe, PIPELINE_MAX + 1);
    if (q_one(&probe, &tasks, e) < 0)
        return -1;
    *by_index = tasks > PIPELINE_MAX;
    return 0;
}

static const char *sort_column(const struct query *q)
{
    static const char *const columns[] = {
        [FIELD_METADATA] = "meta_get(a.metadata, ?)", /* bound: the key */
        [FIELD_ID] = "a.id",
        [FIELD_NAME] = "a.name",
        [FIELD_SIZE] = "a.size",
        [FIELD_FILES] = "a.files",
        [FIELD_CREATED] = "a.created_ms",
    };

    must(q->sort_field < N_ELEMS(columns) && columns[q->sort_field]);
    return columns[q->sort_field];
}

static void order_build(struct buf *sql, const struct query *q, bool by_index)
{
    if (!q->sort.len) {
        buf_adds(sql, " ORDER BY a.id DESC");
        return;
    }
    if (by_index) { /* ties in the order of the index, so that nothing is sorted */
        const char *down = q->descending ? " DESC" : "";
        buf_addf(sql, " ORDER BY s.value%s, s.artifact%s", down, down);
        return;
    }
    buf_addf(sql, " ORDER BY %s%s, a.id DESC", sort_column(q),
             q->descending ? " DESC" : "");
}

static int sql_build(struct where_run *run, struct buf *sql,
                     const struct db_artifact_filter *f, const struct query *q,
                     bool by_index, struct err *e)
{
    AUTO_BUF struct buf cond = {0};
    bool keyed = q->sort.len && q->sort_field == FIELD_METADATA && !by_index;

    if (where_add(run, q->where, &cond, e) < 0)
        return -1;
    buf_adds(sql, "SELECT " ARTIFACT_COLUMNS " FROM ");
    buf_adds(sql, by_index ? "property s CROSS JOIN artifact a ON a.id = s.artifact"
                           : "artifact a");
    buf_addf(sql, " CROSS JOIN type y ON y.id = a.type WHERE %s AND %s",
             f->gone || q->any_state ? "1" : "a.state = 'LIVE'", buf_str(&cond));
    if (f->type.len) {
        buf_adds(sql, " AND ");
        if (where_type(run, f->type, !where_narrows(run) && !f->run && !by_index, sql,
                       e) < 0)
            return -1;
    }
    if (f->digest_hex.len)
        buf_adds(sql, " AND a.digest = ?");
    if (f->run)
        buf_adds(sql, " AND a.id IN (SELECT e.artifact FROM task t CROSS JOIN event e"
                      " ON e.task = t.id AND e.io = 2 WHERE t.run = ?)");
    if (f->pipeline.len && by_index) /* EXISTS would become a join, in another order */
        buf_adds(sql, " AND (SELECT r.pipeline FROM task t CROSS JOIN run r"
                      " ON r.id = t.run WHERE t.id = a.task) ="
                      " (SELECT id FROM pipeline WHERE name = ?)");
    else if (f->pipeline.len)
        buf_adds(sql,
                 " AND a.id IN (SELECT e.artifact FROM run r CROSS JOIN task t"
                 " ON t.run = r.id CROSS JOIN event e ON e.task = t.id AND e.io = 2"
                 " WHERE r.pipeline = (SELECT id FROM pipeline WHERE name = ?))");
    if (by_index)
        buf_adds(sql, " AND s.key = ?");
    if (keyed)
        buf_adds(sql, " AND meta_get(a.metadata, ?) IS NOT NULL");
    order_build(sql, q, by_index);
    buf_adds(sql, " LIMIT ?");
    return 0;
}

static void filter_bind(struct where_run *run, struct q *q,
                        const struct db_artifact_filter *f, const struct query *query,
                        bool by_index)
{
    bool meta = query->sort.len && query->sort_field == FIELD_METADATA;

    where_bind(run, q);
    if (f->digest_hex.len)
        q_hex(q, f->digest_hex);
    if (f->run)
        q_i64(q, f->run);
    if (f->pipeline.len)
        q_text(q, f->pipeline);
    for (int i = 0; meta && i < (by_index ? 1 : 2); i++)
        q_text(q, query->sort);
    q_i64(q, f->limit > 0 ? f->limit : -1);
}

static int select_rows(struct arena *a, struct db *d,
                       const struct db_artifact_filter *f, const struct query *query,
                       enum where_way way, struct db_artifact **out, size_t *n,
                       struct err *e)
{
    AUTO_WHERE struct where_run *run = NULL;
    AUTO_BUF struct buf sql = {0};
    AUTO_Q struct q q = {0};
    struct db_artifact *rows = NULL;
    bool by_index;
    size_t count = 0;
    int more;

    if (where_open(d, way, &run, e) < 0 ||
        sort_by_index(d, f, query, &by_index, e) < 0 ||
        sql_build(run, &sql, f, query, by_index, e) < 0 ||
        q_open_text(&q, d, buf_str(&sql), e) < 0)
        return -1;
    filter_bind(run, &q, f, query, by_index);
    while ((more = where_step(run, &q, e)) > 0) {
        rows = arena_grow(a, rows, &count, sizeof(*rows));
        artifact_read(a, &q, &rows[count - 1]);
    }
    if (more < 0)
        return -1;
    *out = rows;
    *n = count;
    return 0;
}

/* one consistent view: what was estimated, found and searched is of one moment */
static int select_in(struct arena *a, struct db *d, const struct db_artifact_filter *f,
                     const struct query *query, enum where_way way,
                     struct db_artifact **out, size_t *n, struct err *e)
{
    bool mine = !d->in_read && !d->in_txn;
    int rc;

    if (f->type.len && db_type_check(d, f->type, e) < 0)
        return -1;
    if (mine && db_read_begin(d, e) < 0)
        return -1;
    rc = select_rows(a, d, f, query, way, out, n, e);
    if (mine)
        db_read_end(d);
    return rc;
}

int db_artifacts_in(struct arena *a, struct db *d, const struct db_artifact_filter *f,
                    struct db_artifact **out, size_t *n, struct err *e)
{
    struct query query = {0};

    if (f->where.len && query_parse_where(a, f->where, &query, e) < 0)
        return -1;
    if (f->sort.len && query_sort(a, f->sort, &query, e) < 0)
        return -1;
    return select_in(a, d, f, &query, WHERE_PLANNED, out, n, e);
}

int db_query_way_in(struct arena *a, struct db *d, const struct query *query,
                    int64_t limit, enum where_way way, struct db_artifact **out,
                    size_t *n, struct err *e)
{
    struct db_artifact_filter f = {.type = query->type,
                                   .limit = query->limit ? query->limit : limit};

    return select_in(a, d, &f, query, way, out, n, e);
}

int db_query_in(struct arena *a, struct db *d, struct str text, int64_t limit,
                struct db_artifact **out, size_t *n, struct err *e)
{
    struct query query;

    if (query_parse(a, text, &query, e) < 0)
        return -1;
    return db_query_way_in(a, d, &query, limit, WHERE_PLANNED, out, n, e);
}
