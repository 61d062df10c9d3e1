/* SPDX-License-Identifier: Apache-2.0 */
/* artifact.c - artifacts, their searchable properties, parameters and events
 *
 * Metadata is kept twice: as the JSON it came in, to be shown and handed on unchanged,
 * and its scalars one by one as property rows, which are their own index. Nested
 * objects join their keys with dots ("train.rows"); lists, nulls, long texts and what
 * is past the first few hundred keys are not searchable, only shown. A bool is the
 * number 0 or 1, as KFP has it.
 */
#include "base/json.h"
#include "base/limits.h"
#include "lineage/record.h"
#include "lineage/sql.h"

#define PROPERTIES_MAX 256     /* of one artifact: a metrics file, not a data set */
#define PROPERTY_KEY_MAX 256   /* bytes */
#define PROPERTY_TEXT_MAX 1024 /* bytes; longer texts are prose */
#define PROPERTY_DEPTH_MAX 8

static int type_select(struct db *d, struct str name, int64_t *id, struct err *e)
{
    static const char sql[] = "SELECT id FROM type WHERE name = ?";
    AUTO_Q struct q q = {0};

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_text(&q, name);
    return q_one(&q, id, e);
}

int db_intern_type(struct db *d, struct str name, int64_t *id, struct err *e)
{
    static const char sql[] = "INSERT INTO type (name) VALUES (?)";
    AUTO_Q struct q q = {0};

    if (type_select(d, name, id, e) < 0)
        return -1;
    if (*id)
        return 0;
    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_text(&q, name);
    return q_insert(&q, id, e);
}

/* ---- properties ---------------------------------------------------------------------
 */

struct props {
    struct db *d;
    int64_t artifact;
    struct buf key; /* the dotted path to where we are */
    unsigned n;
};

static int prop_put(struct props *p, json *v, struct err *e)
{
    static const char sql[] =
        "INSERT OR IGNORE INTO property (key, value, artifact) VALUES (?, ?, ?)";
    struct str text = json_as_str(v);
    AUTO_Q struct q q = {0};

    if (p->n >= PROPERTIES_MAX || p->key.len > PROPERTY_KEY_MAX ||
        text.len > PROPERTY_TEXT_MAX)
        return 0;
    if (q_open(&q, p->d, sql, e) < 0)
        return -1;
    q_text(&q, (struct str){p->key.ptr, p->key.len});
    if (yyjson_is_bool(v))
        q_i64(&q, yyjson_get_bool(v));
    else if (yyjson_is_sint(v) ||
             (yyjson_is_uint(v) && yyjson_get_uint(v) <= INT64_MAX))
        q_i64(&q, yyjson_get_sint(v));
    else if (yyjson_is_num(v))
        q_real(&q, yyjson_get_num(v));
    else
        q_text(&q, text);
    q_i64(&q, p->artifact);
    p->n++;
    return q_run(&q, e);
}

static int props_put(struct props *p, json *obj, unsigned depth, struct err *e)
{
    size_t i, max, base = p->key.len;
    yyjson_val *k, *v;

    yyjson_obj_foreach(obj, i, max, k, v)
    {
        p->key.len = base;
        if (base)
            buf_addc(&p->key, '.');
        buf_addstr(&p->key, json_as_str(k));

        if (yyjson_is_obj(v) && depth < PROPERTY_DEPTH_MAX) {
            if (props_put(p, v, depth + 1, e) < 0)
                return -1;
        } else if (yyjson_is_bool(v) || yyjson_is_num(v) || yyjson_is_str(v)) {
            if (p->key.len && prop_put(p, v, e) < 0)
                return -1;
        }
    }
    p->key.len = base;
    return 0;
}

static int metadata_put(struct db *d, int64_t artifact, json *obj, struct err *e)
{
    struct props p = {.d = d, .artifact = artifact};
    int rc = props_put(&p, obj, 0, e);

    buf_done(&p.key);
    return rc;
}

/* ---- artifacts ----------------------------------------------------------------------
 */

static int metadata_parse(const struct db_artifact_new *n, yyjson_doc **gives,
                          struct err *e)
{
    if (!n->metadata_json.len)
        return 0;
    if (json_parse(n->metadata_json, LIMIT_VALUE_BYTES, gives, e) < 0) {
        e->code = e->code == ERR_CORRUPT ? ERR_INPUT : e->code;
        return err_at(e, "metadata of artifact %.*s", STR_ARG(n->name));
    }
    if (!yyjson_is_obj(yyjson_doc_get_root(*gives)))
        return err_set(e, ERR_INPUT, "metadata of artifact %.*s: want a JSON object",
                       STR_ARG(n->name));
    return 0;
}

int db_artifact_insert(struct db *d, const struct db_artifact_new *n, int64_t *id,
                       struct err *e)
{
    static const char sql[] =
        "INSERT INTO artifact (type, name, kind, digest, size, files, task, imported,"
        " created_ms, uri, source, metadata)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    AUTO_Q struct q q = {0};
    AUTO_JSON yyjson_doc *doc = NULL;
    int64_t type, made;

    must(d->in_txn);
    if (metadata_parse(n, &doc, e) < 0 || db_intern_type(d, n->type, &type, e) < 0)
        return -1;

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_i64(&q, type);
    q_text(&q, n->name);
    q_text(&q, n->kind);
    q_hex(&q, n->digest_hex);
    q_i64(&q, n->size_bytes);
    q_i64(&q, n->n_files);
    q_id(&q, n->task);
    q_i64(&q, n->imported);
    q_i64(&q, n->created_unix_ms);
    q_str(&q, n->uri);
    q_str(&q, n->source);
    q_str(&q, n->metadata_json);
    if (q_insert(&q, &made, e) < 0)
        return err_at(e, "artifact %.*s", STR_ARG(n->name));

    if (doc && metadata_put(d, made, yyjson_doc_get_root(doc), e) < 0)
        return -1;
    *id = made;
    return 0;
}

static int import_mark(struct db *d, int64_t artifact, struct err *e)
{
    static const char sql[] =
        "UPDATE artifact SET imported = 1 WHERE id = ? AND imported = 0";
    AUTO_Q struct q q = {0};

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_i64(&q, artifact);
    return q_run(&q, e);
}

/* Content without a digest (a URI that was not fetched) is the same when the URI is. */
static int intern_select(struct db *d, const struct db_artifact_new *n, int64_t type,
                         int64_t *id, struct err *e)
{
    static const char by_digest[] =
        "SELECT a.id FROM artifact a LEFT JOIN task t ON t.id = a.task"
        " WHERE a.digest = ? AND a.type = ? AND a.name = ? AND a.metadata IS ?"
        " AND a.state = 'LIVE' AND (a.task IS NULL OR t.kind = 'importer')"
        " ORDER BY a.id LIMIT 1";
    static const char by_uri[] =
        "SELECT a.id FROM artifact a LEFT JOIN task t ON t.id = a.task"
        " WHERE a.uri IS ? AND a.type = ? AND a.name = ? AND a.metadata IS ?"
        " AND a.digest IS NULL"
        " AND a.state = 'LIVE' AND (a.task IS NULL OR t.kind = 'importer')"
        " ORDER BY a.id LIMIT 1";
    AUTO_Q struct q q = {0};

    if (q_open(&q, d, n->digest_hex.len ? by_digest : by_uri, e) < 0)
        return -1;
    n->digest_hex.len ? q_hex(&q, n->digest_hex) : q_str(&q, n->uri);
    q_i64(&q, type);
    q_text(&q, n->name);
    q_str(&q, n->metadata_json);
    return q_one(&q, id, e);
}

int db_artifact_intern(struct db *d, const struct db_artifact_new *n, int64_t *id,
                       struct err *e)
{
    int64_t type, found;

    must(d->in_txn);
    if (db_intern_type(d, n->type, &type, e) < 0 ||
        intern_select(d, n, type, &found, e) < 0)
        return -1;
    if (!found)
        return db_artifact_insert(d, n, id, e);

    if (n->imported && import_mark(d, found, e) < 0)
        return -1;
    *id = found;
    return 0;
}

int db_artifact_again(struct db *d, const struct db_artifact_new *n, int64_t *id,
                      struct err *e)
{
#define SAME_PIPELINE                                                                  \
    " AND a.type = ? AND a.name = ? AND a.metadata IS ? AND a.source = ?"              \
    " AND a.state = 'LIVE' AND r.pipeline = (SELECT rr.pipeline FROM task tt"          \
    " JOIN run rr ON rr.id = tt.run WHERE tt.id = ?) ORDER BY a.id DESC LIMIT 1"
    static const char by_digest[] =
        "SELECT a.id FROM artifact a JOIN task t ON t.id = a.task"
        " JOIN run r ON r.id = t.run WHERE a.digest = ?" SAME_PIPELINE;
    static const char by_uri[] = "SELECT a.id FROM artifact a JOIN task t ON t.id = a.task"
                                 " JOIN run r ON r.id = t.run"
                                 " WHERE a.uri = ? AND a.digest IS NULL" SAME_PIPELINE;
    AUTO_Q struct q q = {0};
    int64_t type;

    must(d->in_txn);
    if (db_intern_type(d, n->type, &type, e) < 0 ||
        q_open(&q, d, n->digest_hex.len ? by_digest : by_uri, e) < 0)
        return -1;
    n->digest_hex.len ? q_hex(&q, n->digest_hex) : q_str(&q, n->uri);
    q_i64(&q, type);
    q_text(&q, n->name);
    q_str(&q, n->metadata_json);
    q_text(&q, n->source);
    q_i64(&q, n->task);
    return q_one(&q, id, e);
}

static int tag_of(struct db *d, int64_t artifact, struct err *e)
{
    static const char sql[] = "SELECT name FROM ref WHERE artifact = ? LIMIT 1";
    AUTO_Q struct q q = {0};
    int more;

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_i64(&q, artifact);
    more = q_step(&q, e);
    if (more > 0) {
        struct str name = q_get_str(&q);
        return err_set(e, ERR_INPUT,
                       "a%lld is tagged %.*s: move or remove the tag first",
                       (long long)artifact, STR_ARG(name));
    }
    return more;
}

int db_artifact_remove(struct db *d, int64_t artifact, struct err *e)
{
    static const char sql[] =
        "UPDATE artifact SET state = 'REMOVED' WHERE id = ? AND state = 'LIVE'";
    AUTO_Q struct q q = {0};

    must(d->in_txn);
    if (tag_of(d, artifact, e) < 0)
        return -1;
    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_i64(&q, artifact);
    return q_run(&q, e);
}

/* ---- parameters and events ----------------------------------------------------------
 */

/* the number of a JSON number or bool */
static bool json_number(struct str json_text, double *out)
{
    yyjson_doc *doc;
    yyjson_val *v;
    bool is;

    if (!json_text.len || !strchr("-0123456789tf", json_text.ptr[0]))
        return false;
    doc = yyjson_read(json_text.ptr, json_text.len, 0);
    v = yyjson_doc_get_root(doc);
    is = yyjson_is_num(v) || yyjson_is_bool(v);
    if (is)
        *out = yyjson_is_num(v) ? yyjson_get_num(v) : (double)yyjson_get_bool(v);
    yyjson_doc_free(doc);
    return is;
}

int db_param_put(struct db *d, int64_t task, enum db_io io, struct str name,
                 struct str value_json, struct err *e)
{
    static const char sql[] =
        "INSERT INTO param (task, io, name, value, num) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT DO UPDATE SET value = excluded.value, num = excluded.num";
    AUTO_Q struct q q = {0};
    double num;

    must(d->in_txn);
    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_i64(&q, task);
    q_i64(&q, io);
    q_text(&q, name);
    q_text(&q, value_json);
    json_number(value_json, &num) ? q_real(&q, num) : q_null(&q);
    return q_run(&q, e);
}

int db_event_put(struct db *d, int64_t task, enum db_io io, struct str name,
                 int64_t idx, int64_t artifact, struct err *e)
{
    static const char sql[] =
        "INSERT INTO event (task, io, name, idx, artifact) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT DO UPDATE SET artifact = excluded.artifact";
    AUTO_Q struct q q = {0};

    must(d->in_txn);
    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_i64(&q, task);
    q_i64(&q, io);
    q_text(&q, name);
    q_i64(&q, idx);
    q_i64(&q, artifact);
    return q_run(&q, e);
}
