/* SPDX-License-Identifier: Apache-2.0 */
/* wheresql.c - conditions on artifacts as SQL
 *
 * A test can be asked in two ways, and which is cheap depends on how many artifacts
 * fit:
 *
 *     set   a.id IN (SELECT artifact FROM property WHERE key = 'rows' AND value > 10000
 * ...) an index finds all that fit: right when they are few row   meta_test(a.metadata,
 * 'rows', '>', 10000) the row at hand is asked: right when most fit, or one row is all
 * there is
 *
 * So a look at the index, which ends after a few thousand entries, decides. In the
 * property table numbers sort before all texts; a comparison with a number says so at
 * the open end, and text and number never match each other.
 *
 * A relation has two ways as well. When few artifacts fit its condition (the seeds),
 * one recursive statement goes from them to all that they reach, with one look at
 * `event` a step: with two SQLite plans a Bloom filter over the whole table. Else each
 * candidate is searched from (reach.h), newest first, and the first few answers come at
 * once.
 *
 *     upstream    found from the seeds by: readers -> what they made themselves
 *     downstream  found from the seeds by: who gave them out -> what those read
 */
#include "lineage/wheresql.h"

#include <stdlib.h>

#include "base/limits.h"
#include "lineage/reach.h"
#include "lineage/rows.h"

#define SET_MAX 4000  /* artifacts that a property's index may give */
#define SEEDS_MAX 200 /* artifacts that a recursive statement may start from */
#define FROM_A "artifact a CROSS JOIN type y ON y.id = a.type"

struct value {
    enum { V_TEXT, V_NUMBER, V_INT, V_BYTES } kind;
    struct str text;
    double num;
    int64_t i;
    uint8_t bytes[32];
};

struct values {
    struct value *items;
    size_t n;
};

struct relation {
    struct where_run *run;
    struct reach reach;
    struct q test; /* one artifact against the condition of the relation */
};

struct where_run {
    struct arena a;
    struct db *d;
    enum where_way way;
    struct values values; /* of the statement */
    struct relation **relations;
    size_t n_relations;
    struct marks *marks; /* opened when `revoked` is asked about */
    bool narrows, failed;
    struct err err; /* of a function, while failed */
};

/* what is being written, and how */
struct out {
    struct where_run *r;
    struct buf *sql;
    struct values *values;
    bool rows; /* one row at hand: never by index */
    struct err *e;
};

/* ---- values -------------------------------------------------------------------------
 */

static struct value *add(struct out *o)
{
    o->values->items =
        arena_grow(&o->r->a, o->values->items, &o->values->n, sizeof(struct value));
    return &o->values->items[o->values->n - 1];
}

static void add_text(struct out *o, struct str s)
{
    *add(o) = (struct value){.kind = V_TEXT, .text = s};
}

static void add_int(struct out *o, int64_t i)
{
    *add(o) = (struct value){.kind = V_INT, .i = i};
}

static void add_given(struct out *o, const struct where_value *v)
{
    if (v->is_text)
        add_text(o, v->text);
    else
        *add(o) = (struct value){.kind = V_NUMBER, .num = v->num};
}

static void bind(const struct values *v, struct q *q)
{
    for (size_t i = 0; i < v->n; i++) {
        const struct value *x = &v->items[i];
        switch (x->kind) {
        case V_TEXT:
            q_text(q, x->text);
            break;
        case V_NUMBER:
            q_real(q, x->num);
            break;
        case V_INT:
            q_i64(q, x->i);
            break;
        case V_BYTES:
            q_bytes32(q, x->bytes);
            break;
        }
    }
}

static const char *op_sql(enum where_op op)
{
    static const char *const sql[] = {
        [OP_EQ] = "=", [OP_NE] = "<>", [OP_LT] = "<",      [OP_LE] = "<=",
        [OP_GT] = ">", [OP_GE] = ">=", [OP_LIKE] = "GLOB", [OP_HAS] = "",
    };

    return sql[op];
}

/* ---- metadata -----------------------------------------------------------------------
 */

/* the member that a dotted key names, as the property table spells it */
static json *member(json *obj, struct str key)
{
    json *v = yyjson_obj_getn(obj, key.ptr, key.len);

    for (size_t i = 0; !v && i < key.len; i++) {
        json *inner = key.ptr[i] == '.' ? yyjson_obj_getn(obj, key.ptr, i) : NULL;
        if (yyjson_is_obj(inner))
            v = member(inner, (struct str){key.ptr + i + 1, key.len - i - 1});
    }
    return v;
}

static bool compare(enum where_op op, int c)
{
    switch (op) {
    case OP_EQ:
        return c == 0;
    case OP_NE:
        return c != 0;
    case OP_LT:
        return c < 0;
    case OP_LE:
        return c <= 0;
    case OP_GT:
        return c > 0;
    case OP_GE:
        return c >= 0;
    case OP_LIKE:
    case OP_HAS:
        return true;
    }
    return false;
}

static bool fits_number(json *v, enum where_op op, double want)
{
    double x = yyjson_is_bool(v) ? yyjson_get_bool(v) : yyjson_get_num(v);

    if (!yyjson_is_num(v) && !yyjson_is_bool(v))
        return false;
    return compare(op, x < want ? -1 : x > want);
}

static bool fits_text(json *v, enum where_op op, struct str want)
{
    struct str s = json_as_str(v);
    size_t n = s.len < want.len ? s.len : want.len;
    int c;

    if (!yyjson_is_str(v))
        return false;
    if (op == OP_LIKE)
        return sqlite3_strglob(want.ptr, s.ptr) == 0;
    c = n ? memcmp(s.ptr, want.ptr, n) : 0;
    return compare(op, c ? c : (s.len > want.len) - (s.len < want.len));
}

/* meta_test(metadata, key, op, value) -> 0 or 1 */
static void fn_meta_test(sqlite3_context *ctx, int n, sqlite3_value **arg)
{
    const char *text = (const char *)sqlite3_value_text(arg[0]);
    struct str key = {(const char *)sqlite3_value_text(arg[1]),
                      (size_t)sqlite3_value_bytes(arg[1])};
    enum where_op op = (enum where_op)sqlite3_value_int(arg[2]);
    AUTO_JSON yyjson_doc *doc = NULL;
    json *v = NULL;
    bool fits = false;

    (void)n;
    if (text)
        doc = yyjson_read(text, (size_t)sqlite3_value_bytes(arg[0]), 0);
    if (doc && yyjson_is_obj(yyjson_doc_get_root(doc)))
        v = member(yyjson_doc_get_root(doc), key);
    if (v && op == OP_HAS)
        fits = yyjson_is_num(v) || yyjson_is_bool(v) || yyjson_is_str(v);
    else if (v && sqlite3_value_type(arg[3]) == SQLITE_TEXT)
        fits = fits_text(v, op,
                         (struct str){(const char *)sqlite3_value_text(arg[3]),
                                      (size_t)sqlite3_value_bytes(arg[3])});
    else if (v)
        fits = fits_number(v, op, sqlite3_value_double(arg[3]));
    sqlite3_result_int(ctx, fits);
}

/* meta_get(metadata, key) -> the number or text, NULL when there is none: to sort by */
static void fn_meta_get(sqlite3_context *ctx, int n, sqlite3_value **arg)
{
    const char *text = (const char *)sqlite3_value_text(arg[0]);
    AUTO_JSON yyjson_doc *doc = NULL;
    json *v = NULL;

    (void)n;
    if (text)
        doc = yyjson_read(text, (size_t)sqlite3_value_bytes(arg[0]), 0);
    if (doc && yyjson_is_obj(yyjson_doc_get_root(doc)))
        v = member(yyjson_doc_get_root(doc),
                   (struct str){(const char *)sqlite3_value_text(arg[1]),
                                (size_t)sqlite3_value_bytes(arg[1])});
    if (yyjson_is_str(v))
        sqlite3_result_text(ctx, yyjson_get_str(v), (int)yyjson_get_len(v),
                            SQLITE_TRANSIENT);
    else if (yyjson_is_bool(v))
        sqlite3_result_int(ctx, yyjson_get_bool(v));
    else if (yyjson_is_num(v))
        sqlite3_result_double(ctx, yyjson_get_num(v));
}

static void property_range(struct out *o, const struct where_node *n)
{
    buf_adds(o->sql, "FROM property WHERE key = ?");
    add_text(o, n->key);
    if (n->op == OP_HAS)
        return;
    buf_addf(o->sql, " AND value %s ?", op_sql(n->op));
    add_given(o, &n->value);
    if (n->op != OP_EQ)
        buf_adds(o->sql, n->value.is_text ? " AND value >= ''" : " AND value < ''");
}

/* are there at most SET_MAX rows of "SELECT 1 <head> <what write adds>"? */
static int are_few(struct out *o, const struct where_node *n, const char *head,
                   void (*write)(struct out *o, const struct where_node *n), bool *few)
{
    AUTO_BUF struct buf sql = {0};
    struct values values = {0};
    struct out probe = *o;
    AUTO_Q struct q q = {0};
    int64_t count;

    probe.sql = &sql;
    probe.values = &values;
    buf_addf(&sql, "SELECT count(*) FROM (SELECT 1 %s", head);
    write(&probe, n);
    buf_addf(&sql, " LIMIT %d)", SET_MAX + 1);
    if (q_open_text(&q, o->r->d, buf_str(&sql), o->e) < 0)
        return -1;
    bind(&values, &q);
    if (q_one(&q, &count, o->e) < 0)
        return -1;
    *few = count <= SET_MAX;
    return 0;
}

static int write_metadata(struct out *o, const struct where_node *n)
{
    bool few = false;

    if (!o->rows && are_few(o, n, "", property_range, &few) < 0)
        return -1;
    if (few) {
        buf_adds(o->sql, "a.id IN (SELECT artifact ");
        property_range(o, n);
        buf_adds(o->sql, ")");
        o->r->narrows = true;
        return 0;
    }
    buf_addf(o->sql, "meta_test(a.metadata, ?, %d, ?)", n->op);
    add_text(o, n->key);
    add_given(o, &n->value);
    return 0;
}

/* ---- fields -------------------------------------------------------------------------
 */

static const struct column {
    const char *sql;
    bool number;
} columns[FIELD_CODE + 1] = {
    [FIELD_NAME] = {"a.name", false},
    [FIELD_KIND] = {"a.kind", false},
    [FIELD_SIZE] = {"a.size", true},
    [FIELD_FILES] = {"a.files", true},
    [FIELD_STATE] = {"a.state", false},
    [FIELD_SOURCE] = {"coalesce(a.source, '')", false},
    [FIELD_URI] = {"coalesce(a.uri, '')", false},
};

static void write_column(struct out *o, const struct column *c,
                         const struct where_node *n)
{
    buf_addf(o->sql, "%s %s ?", c->sql, op_sql(n->op));
    c->number ? add_given(o, &n->value) : add_text(o, n->value.text);
}

/* A day is compared as a whole: before it, in it, after it. */
static void write_time(struct out *o, const struct where_node *n)
{
    int64_t ms = 0, begin;
    bool from_begin = n->op == OP_LT || n->op == OP_GE;

    must(db_moment(n->value.text, &ms));
    begin = n->value.text.len == 10 ? ms - 86399999 : ms - 999;
    if (n->op == OP_EQ || n->op == OP_NE) {
        buf_addf(o->sql, "a.created_ms %s ? AND ?",
                 n->op == OP_EQ ? "BETWEEN" : "NOT BETWEEN");
        add_int(o, begin);
        add_int(o, ms);
        return;
    }
    buf_addf(o->sql, "a.created_ms %s ?", op_sql(n->op));
    add_int(o, from_begin ? begin : ms);
}

static void write_type(struct out *o, struct str type)
{
    buf_adds(o->sql, "(y.name = ? OR y.name LIKE '%.' || ?)");
    add_text(o, type);
    add_text(o, type);
}

static void write_digest(struct out *o, const char *column, struct str s)
{
    struct value low = {.kind = V_BYTES}, high = {.kind = V_BYTES};

    if (str_starts(s, "sha256:"))
        s = (struct str){s.ptr + 7, s.len - 7};
    if (!hex_range(s, low.bytes, high.bytes)) {
        buf_adds(o->sql, "0");
        return;
    }
    buf_addf(o->sql, "%s BETWEEN ? AND ?", column);
    *add(o) = low;
    *add(o) = high;
}

/* "prod" is churn:prod, too */
static void write_tag(struct out *o, const struct where_node *n)
{
    if (o->rows)
        buf_adds(o->sql, "EXISTS (SELECT 1 FROM ref f WHERE f.artifact = a.id AND ");
    else
        buf_adds(o->sql, "a.id IN (SELECT f.artifact FROM ref f WHERE ");
    o->r->narrows |= !o->rows;
    if (n->op == OP_HAS) {
        buf_adds(o->sql, "1)");
    } else if (n->op == OP_LIKE) {
        buf_adds(o->sql, "f.name GLOB ?)");
        add_text(o, n->value.text);
    } else {
        buf_adds(o->sql, "(f.name = ? OR substr(f.name, -1 - length(?)) = ':' || ?))");
        for (int i = 0; i < 3; i++)
            add_text(o, n->value.text);
    }
}

static void write_id(struct out *o, struct str s)
{
    if (s.len && s.ptr[0] == 'a')
        s = (struct str){s.ptr + 1, s.len - 1};
    buf_adds(o->sql, "a.id = ?");
    add_int(o, strtoll(s.ptr, NULL, 10)); /* digits, and what ends them */
}

/* ---- who gave it out ----------------------------------------------------------------
 */

static void write_text_test(struct out *o, const char *column,
                            const struct where_node *n)
{
    buf_addf(o->sql, "%s %s ?", column, n->op == OP_LIKE ? "GLOB" : "=");
    add_text(o, n->value.text);
}

/* a name is recorded in full, docker.io/library/tiny:latest, and asked for as people say it */
static void write_image_name(struct out *o, struct str s, const char *tag)
{
    buf_addf(o->sql,
             "m.name = ? || '%s' OR substr(m.name, -1 - length(? || '%s')) = '/' || ? || '%s'", tag,
             tag, tag);
    for (int i = 0; i < 3; i++)
        add_text(o, s);
}

static bool has_image_tag(struct str s)
{
    while (s.len && s.ptr[s.len - 1] != '/')
        if (s.ptr[--s.len] == ':')
            return true;
    return false;
}

static void write_image(struct out *o, const struct where_node *n)
{
    struct str s = n->value.text;
    uint8_t low[32], high[32];
    struct str hex = str_starts(s, "sha256:") ? (struct str){s.ptr + 7, s.len - 7} : s;

    buf_adds(o->sql, "t.image IN (SELECT i.id FROM image i WHERE ");
    if (hex.len >= 6 && hex_range(hex, low, high)) {
        write_digest(o, "i.config", s);
    } else {
        buf_adds(o->sql, "i.id IN (SELECT m.image FROM image_name m WHERE ");
        if (n->op == OP_LIKE) {
            buf_adds(o->sql, "m.name GLOB ? OR m.name GLOB '*/' || ?");
            add_text(o, s);
            add_text(o, s);
        } else {
            write_image_name(o, s, has_image_tag(s) ? "" : ":latest");
        }
        buf_adds(o->sql, ")");
    }
    buf_adds(o->sql, ")");
}

static void write_param(struct out *o, const struct where_node *n)
{
    bool like = n->op == OP_LIKE;

    buf_adds(o->sql,
             "t.id IN (SELECT m.task FROM param m WHERE m.io = 1 AND m.name = ?");
    add_text(o, n->key);
    if (n->op != OP_HAS && n->value.is_text) {
        buf_addf(o->sql,
                 " AND m.value ->> '$' %s ? AND typeof(m.value ->> '$') = 'text'",
                 like ? "GLOB" : op_sql(n->op));
        add_text(o, n->value.text);
    } else if (n->op != OP_HAS) {
        buf_addf(o->sql, " AND m.num %s ?", op_sql(n->op));
        add_given(o, &n->value);
    }
    buf_adds(o->sql, o->rows ? " AND m.task = t.id)" : ")");
}

/* "outer/inner", "loop[0]/square": a name has neither */
static bool is_path(const struct where_node *n)
{
    struct str s = n->value.text;

    return n->field == FIELD_TASK && s.len && (memchr(s.ptr, '/', s.len) != NULL);
}

static void write_run_test(struct out *o, const struct where_node *n)
{
    buf_adds(o->sql, "t.run IN (SELECT r.id FROM run r WHERE ");
    if (n->field == FIELD_PIPELINE) {
        buf_adds(o->sql, "r.pipeline IN (SELECT p.id FROM pipeline p WHERE ");
        write_text_test(o, "p.name", n);
        buf_adds(o->sql, ")");
    } else if (n->field == FIELD_EXPERIMENT) {
        write_text_test(o, "r.experiment", n);
    } else {
        buf_adds(o->sql, "(");
        write_text_test(o, "r.name", n);
        buf_adds(o->sql, " OR ");
        write_text_test(o, "r.uuid", n);
        buf_adds(o->sql, ")");
    }
    buf_adds(o->sql, o->rows ? " AND r.id = t.run)" : ")");
}

static void write_code_test(struct out *o, const struct where_node *n)
{
    buf_adds(o->sql, "t.code IN (SELECT c.id FROM code c WHERE ");
    if (n->field == FIELD_CODE) {
        write_digest(o, "c.digest", n->value.text);
    } else {
        write_text_test(o, "c.component", n);
        if (n->op != OP_LIKE) {
            buf_adds(o->sql, " OR c.component = 'comp-' || ?");
            add_text(o, n->value.text);
        }
    }
    buf_adds(o->sql, ")");
}

/* a condition over task t */
static void write_giver(struct out *o, const struct where_node *n)
{
    if (n->field == FIELD_TASK)
        write_text_test(o, is_path(n) ? "t.path" : "t.name", n);
    else if (n->field == FIELD_IMAGE)
        write_image(o, n);
    else if (n->field == FIELD_PARAM)
        write_param(o, n);
    else if (n->field == FIELD_COMPONENT || n->field == FIELD_CODE)
        write_code_test(o, n);
    else
        write_run_test(o, n);
}

static void write_given_out(struct out *o, const struct where_node *n, bool rows)
{
    struct out inner = *o;

    inner.rows = rows;
    if (rows) {
        buf_adds(o->sql,
                 "EXISTS (SELECT 1 FROM event e CROSS JOIN task t ON t.id = e.task"
                 " WHERE e.artifact = a.id AND e.io = 2 AND ");
    } else {
        buf_adds(o->sql, "a.id IN (SELECT e.artifact FROM task t CROSS JOIN event e"
                         " ON e.task = t.id AND e.io = 2 WHERE ");
        o->r->narrows = true;
    }
    write_giver(&inner, n);
    buf_adds(o->sql, ")");
}

static int write_by_giver(struct out *o, const struct where_node *n)
{
    /* by path or by pattern no index helps: the row at hand is asked */
    bool indexed = n->op != OP_LIKE && !is_path(n) && n->field != FIELD_EXPERIMENT &&
                   (n->field != FIELD_PARAM || !n->value.is_text) && n->op != OP_HAS;
    bool few = false;

    if (!o->rows && indexed && are_few(o, n, "FROM task t WHERE ", write_giver, &few) < 0)
        return -1;
    write_given_out(o, n, !few);
    return 0;
}

static int write_field(struct out *o, const struct where_node *n)
{
    bool narrows = n->field == FIELD_ID || n->field == FIELD_DIGEST;

    if (columns[n->field].sql)
        write_column(o, &columns[n->field], n);
    else if (n->field == FIELD_METADATA)
        return write_metadata(o, n);
    else if (n->field == FIELD_TAG)
        write_tag(o, n);
    else if (n->field == FIELD_CREATED)
        write_time(o, n);
    else if (n->field == FIELD_TYPE && n->op == OP_LIKE)
        write_text_test(o, "y.name", n);
    else if (n->field == FIELD_TYPE)
        write_type(o, n->value.text);
    else if (n->field == FIELD_DIGEST)
        write_digest(o, "a.digest", n->value.text);
    else if (n->field == FIELD_ID)
        write_id(o, n->value.text);
    else if (n->field == FIELD_REVOKED)
        buf_addf(o->sql, "is_revoked(a.id) = %d", n->value.num != 0);
    else
        return write_by_giver(o, n);
    o->r->narrows |= narrows && !o->rows;
    return 0;
}

/* Where a thing is not one column of the artifact, "!=" is "not one that is =". */
static bool negated(const struct where_node *n)
{
    return n->op == OP_NE && !columns[n->field].sql && n->field != FIELD_METADATA &&
           n->field != FIELD_CREATED;
}

static int write_test(struct out *o, const struct where_node *n)
{
    struct where_node equal = *n;
    bool narrows = o->r->narrows;
    int rc;

    if (!negated(n))
        return write_field(o, n);
    equal.op = OP_EQ;
    buf_adds(o->sql, "NOT ");
    rc = write_field(o, &equal);
    o->r->narrows = narrows;
    return rc;
}

/* ---- relations ----------------------------------------------------------------------
 */

static int write_node(struct out *o, const struct where_node *n);

/* the condition of a relation on the artifact at its other end */
static int write_inner(struct out *o, const struct where_node *n)
{
    if (n->type.len)
        write_type(o, n->type);
    else
        buf_adds(o->sql, "1");
    if (!n->left)
        return 0;
    buf_adds(o->sql, " AND ");
    return write_node(o, n->left);
}

static int count_seeds(struct out *o, const struct where_node *n, bool *few)
{
    AUTO_BUF struct buf sql = {0};
    struct values values = {0};
    struct out probe = *o;
    AUTO_Q struct q q = {0};
    int64_t count;

    probe.sql = &sql;
    probe.values = &values;
    buf_adds(&sql, "SELECT count(*) FROM (SELECT 1 FROM " FROM_A " WHERE ");
    if (write_inner(&probe, n) < 0)
        return -1;
    buf_addf(&sql, " LIMIT %d)", SEEDS_MAX + 1);
    if (q_open_text(&q, o->r->d, buf_str(&sql), o->e) < 0)
        return -1;
    bind(&values, &q);
    if (where_step(o->r, &q, o->e) < 0)
        return -1;
    count = q_get_i64(&q);
    *few = count <= SEEDS_MAX;
    return 0;
}

/* k: 0 a seed, 1 a task, 2 an artifact that was reached. `input` stops at the first. */
static int write_seeds(struct out *o, const struct where_node *n)
{
    bool down = n->relation == REL_DOWNSTREAM;
    struct out inner = *o;

    inner.rows = false;
    buf_adds(o->sql,
             "a.id IN (WITH RECURSIVE w(k, id) AS (SELECT 0, s.id FROM (SELECT a.id"
             " FROM " FROM_A " WHERE ");
    if (write_inner(&inner, n) < 0)
        return -1;
    buf_adds(o->sql, ") s");
    buf_addf(o->sql,
             " UNION SELECT 1, e.task FROM w CROSS JOIN event e CROSS JOIN task t"
             " WHERE %s AND e.artifact = w.id AND e.io = %d AND t.id = e.task"
             " AND t.kind IN ('container', 'importer')",
             n->relation == REL_INPUT ? "w.k = 0" : "w.k IN (0, 2)", down ? 2 : 1);
    buf_addf(o->sql,
             " UNION SELECT 2, e.artifact FROM w CROSS JOIN event e%s"
             " WHERE w.k = 1 AND e.task = w.id AND e.io = %d%s)",
             down ? "" : " CROSS JOIN artifact x", down ? 1 : 2,
             down ? "" : " AND x.id = e.artifact AND x.task = w.id");
    buf_adds(o->sql, " SELECT id FROM w WHERE k = 2)");
    o->r->narrows |= !o->rows;
    return 0;
}

static int test_artifact(void *ctx, bool is_task, int64_t id, struct err *e)
{
    struct relation *x = ctx;
    int more;

    if (is_task)
        return 0;
    (void)sqlite3_reset(x->test.st);
    must(sqlite3_bind_int64(x->test.st, 1, id) == SQLITE_OK);
    more = q_step(&x->test, e);
    (void)sqlite3_reset(x->test.st);
    return more;
}

static int write_search(struct out *o, const struct where_node *n)
{
    struct where_run *r = o->r;
    struct relation *x = arena_alloc(&r->a, sizeof(*x));
    AUTO_BUF struct buf sql = {0};
    struct values values = {0};
    struct out inner = {
        .r = r, .sql = &sql, .values = &values, .rows = true, .e = o->e};

    r->relations =
        arena_grow(&r->a, r->relations, &r->n_relations, sizeof(*r->relations));
    r->relations[r->n_relations - 1] = x;
    buf_addf(o->sql, "reaches(%zu, a.id)", r->n_relations - 1);
    *x = (struct relation){
        .run = r,
        .reach = {.d = r->d,
                  .way = n->relation == REL_DOWNSTREAM ? DB_DOWN : DB_UP,
                  .near_only = n->relation == REL_INPUT,
                  .fits = test_artifact,
                  .ctx = x}};
    buf_adds(&sql, "SELECT 1 FROM " FROM_A " WHERE a.id = ? AND ");
    if (write_inner(&inner, n) < 0 ||
        q_open_text(&x->test, r->d, buf_str(&sql), o->e) < 0)
        return -1;
    x->test.n_bound = 1; /* the id comes with each question */
    bind(&values, &x->test);
    return 0;
}

static int write_identical(struct out *o, const struct where_node *n)
{
    AUTO_BUF struct buf cond = {0};
    struct out inner = *o;

    inner.sql = &cond;
    inner.rows = true;
    if (write_inner(&inner, n) < 0)
        return -1;
    /* the names of the inner artifact and type hide those outside */
    buf_addf(
        o->sql,
        "EXISTS (SELECT 1 FROM (SELECT a.id AS id, a.digest AS digest, a.size AS size)"
        " o CROSS JOIN " FROM_A
        " WHERE a.digest = o.digest AND a.id <> o.id AND o.size > 0 AND %s)",
        buf_str(&cond));
    return 0;
}

static int write_relation(struct out *o, const struct where_node *n)
{
    bool seeds = o->r->way == WHERE_SEEDS;

    if (n->relation == REL_IDENTICAL)
        return write_identical(o, n);
    if (o->r->way == WHERE_PLANNED && !o->rows && count_seeds(o, n, &seeds) < 0)
        return -1;
    return seeds && !o->rows ? write_seeds(o, n) : write_search(o, n);
}

/* ---- the whole ----------------------------------------------------------------------
 */

static bool costly(const struct where_node *n)
{
    return n->kind == WHERE_RELATION ||
           ((n->kind == WHERE_AND || n->kind == WHERE_OR || n->kind == WHERE_NOT) &&
            (costly(n->left) || (n->right && costly(n->right))));
}

static int write_pair(struct out *o, const struct where_node *n)
{
    bool and = n->kind == WHERE_AND, narrows = o->r->narrows;
    /* SQLite asks in the order of the text: what walks the graph comes last */
    bool turn = and&&costly(n->left) && !costly(n->right);

    buf_addc(o->sql, '(');
    if (write_node(o, turn ? n->right : n->left) < 0)
        return -1;
    buf_adds(o->sql, and? " AND " : " OR ");
    if (write_node(o, turn ? n->left : n->right) < 0)
        return -1;
    buf_addc(o->sql, ')');
    if (!and)
        o->r->narrows = narrows;
    return 0;
}

static int write_node(struct out *o, const struct where_node *n)
{
    bool narrows = o->r->narrows;
    int rc;

    switch (n->kind) {
    case WHERE_AND:
    case WHERE_OR:
        return write_pair(o, n);
    case WHERE_NOT:
        buf_adds(o->sql, "NOT (");
        rc = write_node(o, n->left);
        buf_addc(o->sql, ')');
        o->r->narrows = narrows;
        return rc;
    case WHERE_TEST:
    case WHERE_HAS:
        return write_test(o, n);
    case WHERE_RELATION:
        return write_relation(o, n);
    }
    return 0;
}

static void fail(struct where_run *r, sqlite3_context *ctx)
{
    r->failed = true;
    sqlite3_result_error(ctx, r->err.text, -1);
}

static void fn_reaches(sqlite3_context *ctx, int n, sqlite3_value **arg)
{
    struct where_run *r = sqlite3_user_data(ctx);
    size_t k = (size_t)sqlite3_value_int64(arg[0]);
    int found = 0;

    (void)n;
    must(k < r->n_relations);
    if (reach_find(&r->relations[k]->reach, sqlite3_value_int64(arg[1]), &found,
                   &r->err) < 0)
        fail(r, ctx);
    else
        sqlite3_result_int(ctx, found > 0);
}

static void fn_is_revoked(sqlite3_context *ctx, int n, sqlite3_value **arg)
{
    struct where_run *r = sqlite3_user_data(ctx);
    const struct db_mark *why = NULL;

    (void)n;
    if ((!r->marks && marks_open(r->d, &r->marks, &r->err) < 0) ||
        marks_look(r->marks, sqlite3_value_int64(arg[0]), &why, &r->err) < 0)
        fail(r, ctx);
    else
        sqlite3_result_int(ctx, why != NULL);
}

int where_open(struct db *d, enum where_way way, struct where_run **gives,
               struct err *e)
{
    struct where_run *r = xalloc(sizeof(*r));
    const int flags = SQLITE_UTF8 | SQLITE_DIRECTONLY;
    int rc;

    r->d = d;
    r->way = way;
    rc =
        sqlite3_create_function_v2(d->sql, "meta_test", 4, flags | SQLITE_DETERMINISTIC,
                                   NULL, fn_meta_test, NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_create_function_v2(d->sql, "meta_get", 2,
                                        flags | SQLITE_DETERMINISTIC, NULL, fn_meta_get,
                                        NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_create_function_v2(d->sql, "reaches", 2, flags, r, fn_reaches,
                                        NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_create_function_v2(d->sql, "is_revoked", 1, flags, r,
                                        fn_is_revoked, NULL, NULL, NULL);
    if (rc != SQLITE_OK) {
        where_done(r);
        return db_err(d, rc, "query", e);
    }
    *gives = r;
    return 0;
}

int where_add(struct where_run *r, const struct where_node *n, struct buf *sql,
              struct err *e)
{
    struct out o = {.r = r, .sql = sql, .values = &r->values, .e = e};

    if (!n) {
        buf_addc(sql, '1');
        return 0;
    }
    buf_addc(sql, '(');
    if (write_node(&o, n) < 0)
        return -1;
    buf_addc(sql, ')');
    return 0;
}

int where_type(struct where_run *r, struct str type, bool indexed, struct buf *sql,
               struct err *e)
{
    static const char find[] =
        "SELECT id FROM type WHERE name = ?1 OR name LIKE '%.' || ?1 LIMIT 2";
    struct out o = {.r = r, .sql = sql, .values = &r->values, .e = e};
    AUTO_Q struct q q = {0};
    int64_t id = 0;
    int more;

    if (q_open(&q, r->d, find, e) < 0)
        return -1;
    q_text(&q, type);
    more = q_step(&q, e);
    if (more > 0) {
        id = q_get_i64(&q);
        more = q_step(&q, e);
    }
    if (more < 0)
        return -1;
    if (!more) { /* one type, or none: its index gives artifacts in their order */
        buf_addf(sql, "%sa.type = ?", indexed ? "" : "+");
        add_int(&o, id);
        return 0;
    }
    /* by the index of several types all would have to be found before the first answer
     */
    buf_adds(sql,
             "+a.type IN (SELECT id FROM type WHERE name = ? OR name LIKE '%.' || ?)");
    add_text(&o, type);
    add_text(&o, type);
    return 0;
}

bool where_narrows(const struct where_run *r)
{
    return r->narrows;
}

void where_bind(struct where_run *r, struct q *q)
{
    bind(&r->values, q);
}

int where_step(struct where_run *r, struct q *q, struct err *e)
{
    int more = q_step(q, e);

    if (more < 0 && r->failed)
        *e = r->err;
    return more;
}

void where_done(struct where_run *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < r->n_relations; i++) {
        q_done(&r->relations[i]->test);
        reach_done(&r->relations[i]->reach);
    }
    marks_done(r->marks);
    arena_done(&r->a);
    free(r);
}

void auto_where(struct where_run **r)
{
    where_done(*r);
    *r = NULL;
}
