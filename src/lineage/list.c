/* SPDX-License-Identifier: Apache-2.0 */
/* list.c - artifacts by type, run, content and condition
 *
 * The one statement that is put together at run time: each filter that is set adds a
 * term, all values are bound. Every term is answered by an index; without any, the
 * newest rows are read off the end of the table until the limit.
 */
#include "lineage/rows.h"
#include "lineage/where.h"

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

static void sql_build(struct buf *sql, const struct db_artifact_filter *f,
                      const struct where *w)
{
    buf_adds(sql, "SELECT " ARTIFACT_COLUMNS
                  " FROM artifact a CROSS JOIN type y ON y.id = a.type WHERE ");
    buf_adds(sql, f->gone ? "1" : "a.state = 'LIVE'");
    if (f->type.len)
        buf_adds(sql, " AND a.type IN (SELECT id FROM type WHERE name = ? OR name LIKE "
                      "'%.' || ?)");
    if (f->digest_hex.len)
        buf_adds(sql, " AND a.digest = ?");
    if (f->run)
        buf_adds(sql, " AND a.id IN (SELECT e.artifact FROM task t CROSS JOIN event e"
                      " ON e.task = t.id AND e.io = 2 WHERE t.run = ?)");
    if (w->sql.len)
        buf_addf(sql, " AND (%s)", buf_str(&w->sql));
    buf_adds(sql, " ORDER BY a.id DESC LIMIT ?");
}

int db_artifacts_in(struct arena *a, struct db *d, const struct db_artifact_filter *f,
                    struct db_artifact **out, size_t *n, struct err *e)
{
    struct where w = {0};
    AUTO_BUF struct buf sql = {0};
    AUTO_Q struct q q = {0};
    struct db_artifact *rows = NULL;
    size_t count = 0;
    int more;

    if (f->type.len && db_type_check(d, f->type, e) < 0)
        return -1;
    if (f->where.len && where_parse(a, f->where, &w, e) < 0)
        return -1;
    sql_build(&sql, f, &w);
    buf_done(&w.sql);

    if (q_open_text(&q, d, buf_str(&sql), e) < 0)
        return -1;
    if (f->type.len) {
        q_text(&q, f->type);
        q_text(&q, f->type);
    }
    if (f->digest_hex.len)
        q_hex(&q, f->digest_hex);
    if (f->run)
        q_i64(&q, f->run);
    where_bind(&w, &q);
    q_i64(&q, f->limit > 0 ? f->limit : -1);
    while ((more = q_step(&q, e)) > 0) {
        rows = arena_grow(a, rows, &count, sizeof(*rows));
        artifact_read(a, &q, &rows[count - 1]);
    }
    if (more < 0)
        return -1;
    *out = rows;
    *n = count;
    return 0;
}
