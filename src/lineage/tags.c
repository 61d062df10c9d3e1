/* SPDX-License-Identifier: Apache-2.0 */
/* tags.c - tags and the log of where they pointed
 *
 * `ref` says where a tag points now, `ref_log` has one row for every time it was set or
 * removed. Both are written in one transaction, so the log answers "which model was
 * prod on that day" for any day. Two that set the same tag at once are put in order by
 * the write lock, and the second sees what the first did.
 */
#include "lineage/tags.h"

#include <ctype.h>

#include "lineage/rows.h"

#define TAG_BYTES_MAX 128

static bool all_digits(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (!isdigit((unsigned char)s.ptr[i]))
            return false;
    }
    return s.len > 0;
}

int db_tag_name_ok(struct str name, struct err *e)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                  "0123456789_.:-";
    struct str rest = {name.ptr + 1, name.len ? name.len - 1 : 0};

    if (!name.len || name.len > TAG_BYTES_MAX)
        return err_set(e, ERR_INPUT, "a tag has 1 to %d characters", TAG_BYTES_MAX);
    for (size_t i = 0; i < name.len; i++) {
        if (!name.ptr[i] || !strchr(allowed, name.ptr[i]))
            return err_set(e, ERR_INPUT,
                           "tag %.*s: want letters, digits and _ . : -, got \"%c\"",
                           STR_ARG(name), name.ptr[i] >= ' ' ? name.ptr[i] : '?');
    }
    if (strchr(".-:", name.ptr[0]))
        return err_set(e, ERR_INPUT, "tag %.*s: starts with \"%c\"", STR_ARG(name),
                       name.ptr[0]);
    if ((name.ptr[0] == 'a' && all_digits(rest)) || str_starts(name, "sha256:"))
        return err_set(e, ERR_INPUT, "tag %.*s: reads as an artifact id or a digest",
                       STR_ARG(name));
    return 0;
}

static int ref_select(struct db *d, struct str name, int64_t *artifact, struct err *e)
{
    static const char sql[] = "SELECT artifact FROM ref WHERE name = ?";
    AUTO_Q struct q q = {0};

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_text(&q, name);
    return q_one(&q, artifact, e);
}

static int ref_put(struct db *d, struct str name, int64_t artifact,
                   const struct db_by *by, struct err *e)
{
    static const char sql[] = "INSERT OR REPLACE INTO ref (name, artifact, set_ms, "
                              "set_by) VALUES (?, ?, ?, ?)";
    AUTO_Q struct q q = {0};

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_text(&q, name);
    q_i64(&q, artifact);
    q_i64(&q, by->now_unix_ms);
    q_str(&q, by->user);
    return q_run(&q, e);
}

static int ref_delete(struct db *d, struct str name, struct err *e)
{
    static const char sql[] = "DELETE FROM ref WHERE name = ?";
    AUTO_Q struct q q = {0};

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_text(&q, name);
    return q_run(&q, e);
}

static int log_put(struct db *d, struct str name, int64_t artifact,
                   const struct db_by *by, struct err *e)
{
    static const char sql[] =
        "INSERT INTO ref_log (name, artifact, set_ms, set_by, reason)"
        " VALUES (?, ?, ?, ?, ?)";
    AUTO_Q struct q q = {0};

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_text(&q, name);
    q_id(&q, artifact);
    q_i64(&q, by->now_unix_ms);
    q_str(&q, by->user);
    q_str(&q, by->reason);
    return q_run(&q, e);
}

static int taggable(struct db *d, int64_t artifact, struct err *e)
{
    static const char sql[] = "SELECT state FROM artifact WHERE id = ?";
    AUTO_Q struct q q = {0};
    int more;

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_i64(&q, artifact);
    more = q_step(&q, e);
    if (more == 0)
        return err_set(e, ERR_MISSING, "no artifact a%lld", (long long)artifact);
    if (more > 0 && !str_eqz(q_get_str(&q), "LIVE"))
        return err_set(e, ERR_INPUT, "a%lld: its content was removed, nothing to tag",
                       (long long)artifact);
    return more < 0 ? -1 : 0;
}

int db_tag_set(struct db *d, struct str name, int64_t artifact, bool move,
               const struct db_by *by, int64_t *previous, struct err *e)
{
    int64_t old;

    must(d->in_txn);
    if (db_tag_name_ok(name, e) < 0 || taggable(d, artifact, e) < 0 ||
        ref_select(d, name, &old, e) < 0)
        return -1;

    if (old && old != artifact && !move)
        return err_set(e, ERR_INPUT,
                       "tag %.*s points at a%lld already: --move moves it to a%lld",
                       STR_ARG(name), (long long)old, (long long)artifact);
    if (old != artifact && (ref_put(d, name, artifact, by, e) < 0 ||
                            log_put(d, name, artifact, by, e) < 0))
        return -1;
    if (previous)
        *previous = old;
    return 0;
}

int db_tag_remove(struct db *d, struct str name, const struct db_by *by, struct err *e)
{
    int64_t old;

    must(d->in_txn);
    if (ref_select(d, name, &old, e) < 0)
        return -1;
    if (!old)
        return err_set(e, ERR_MISSING, "no tag %.*s", STR_ARG(name));
    if (ref_delete(d, name, e) < 0)
        return -1;
    return log_put(d, name, 0, by, e);
}

/* With clocks that were set back the log's order is what counts, so: the last row that
 * was written at or before the time. */
static int log_select(struct db *d, struct str name, int64_t at_unix_ms,
                      int64_t *artifact, struct err *e)
{
    static const char sql[] = "SELECT artifact FROM ref_log WHERE name = ? AND set_ms "
                              "<= ? ORDER BY id DESC LIMIT 1";
    AUTO_Q struct q q = {0};

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_text(&q, name);
    q_i64(&q, at_unix_ms);
    return q_one(&q, artifact, e);
}

int db_tag_find(struct db *d, struct str name, int64_t at_unix_ms, int64_t *artifact,
                struct err *e)
{
    int64_t found;

    if (at_unix_ms ? log_select(d, name, at_unix_ms, &found, e) < 0
                   : ref_select(d, name, &found, e) < 0)
        return -1;
    if (!found)
        return err_set(e, ERR_MISSING,
                       at_unix_ms ? "tag %.*s pointed at nothing at that time"
                                  : "no tag %.*s",
                       STR_ARG(name));
    *artifact = found;
    return 0;
}

/* of "ref f"; the reason is that of the log's last row, which set it */
#define REF_COLUMNS                                                                    \
    "f.name, f.artifact, f.set_ms, f.set_by, (SELECT l.reason FROM ref_log l"          \
    " WHERE l.name = f.name ORDER BY l.id DESC LIMIT 1)"

static int tags_read(struct arena *a, struct q *q, struct db_tag **out, size_t *n,
                     struct err *e)
{
    struct db_tag *tags = NULL;
    size_t count = 0;
    int more;

    while ((more = q_step(q, e)) > 0) {
        struct db_tag *t;
        tags = arena_grow(a, tags, &count, sizeof(*tags));
        t = &tags[count - 1];
        t->name = q_get_str_in(a, q);
        t->artifact = q_get_i64(q);
        t->set_unix_ms = q_get_i64(q);
        t->set_by = q_get_str_in(a, q);
        t->reason = q_get_str_in(a, q);
    }
    if (more < 0)
        return -1;
    *out = tags;
    *n = count;
    return 0;
}

int db_tags_in(struct arena *a, struct db *d, struct db_tag **out, size_t *n,
               struct err *e)
{
    static const char sql[] = "SELECT " REF_COLUMNS " FROM ref f ORDER BY f.name";
    AUTO_Q struct q q = {0};

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    return tags_read(a, &q, out, n, e);
}

int db_tag_log_in(struct arena *a, struct db *d, struct str name, struct db_tag **out,
                  size_t *n, struct err *e)
{
    static const char all[] =
        "SELECT name, artifact, set_ms, set_by, reason FROM ref_log ORDER BY id";
    static const char one[] = "SELECT name, artifact, set_ms, set_by, reason"
                              " FROM ref_log WHERE name = ? ORDER BY id";
    AUTO_Q struct q q = {0};

    if (q_open(&q, d, name.len ? one : all, e) < 0)
        return -1;
    if (name.len)
        q_text(&q, name);
    return tags_read(a, &q, out, n, e);
}

int db_tags_of_in(struct arena *a, struct db *d, int64_t artifact, struct db_tag **out,
                  size_t *n, struct err *e)
{
    static const char sql[] =
        "SELECT " REF_COLUMNS " FROM ref f WHERE f.artifact = ? ORDER BY f.name";
    AUTO_Q struct q q = {0};

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_i64(&q, artifact);
    return tags_read(a, &q, out, n, e);
}
