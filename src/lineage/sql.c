/* SPDX-License-Identifier: Apache-2.0 */
/* sql.c - kept statements, values bound and read in order, SQLite's failures as ours
 *
 * Every statement is a literal beside the one function that runs it, so its address is
 * its name: preparing happens once a connection, finding it again is a probe into a
 * small table. That is what makes ten thousand steps cheap; parsing SQL costs ten times
 * the running of it. A statement that is running already (a reader within a reader of
 * the same kind) is prepared a second time for that use only.
 */
#include "lineage/sql.h"

#include <errno.h>
#include <string.h>

#include "base/sha256.h"

int db_err(struct db *d, int rc, const char *what, struct err *e)
{
    const char *said = d->sql ? sqlite3_errmsg(d->sql) : sqlite3_errstr(rc);
    int sys = d->sql ? sqlite3_system_errno(d->sql) : 0;

    if ((rc & 0xff) == SQLITE_FULL || sys == ENOSPC || sys == EDQUOT)
        return err_sys(e, sys ? sys : ENOSPC,
                       "%s: %s (free some space, or run dugout gc; dugout resume goes on "
                       "with what was interrupted)",
                       what, d->path);
    switch (rc & 0xff) {
    case SQLITE_NOTADB:
        return err_set(e, ERR_CORRUPT, "%s is no dugout database any more: make a new home of the last backup "
                       "(dugout --home NEW restore DIR)",
                       d->path);
    case SQLITE_CORRUPT:
        return err_set(e, ERR_CORRUPT,
                       "%s is damaged (%s): dugout fsck says more; make a new home of the last backup "
                       "(dugout --home NEW restore DIR)",
                       d->path, said);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return err_set(e, ERR_BUSY, "%s is locked by another program: try again later",
                       d->path);
    case SQLITE_READONLY:
    case SQLITE_PERM:
        return err_sys(e, sys ? sys : EROFS, "%s: %s (%s)", what, d->path, said);
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
        return err_sys(e, sys ? sys : EIO, "%s: %s (%s)", what, d->path, said);
    case SQLITE_CONSTRAINT:
        return err_set(e, ERR_INPUT, "%s: the database refuses it: %s", what, said);
    case SQLITE_TOOBIG:
        return err_set(e, ERR_LIMIT, "%s: a text is over 1 GB", what);
    default:
        return err_set(e, ERR_INPUT, "%s: %s", what, said);
    }
}

int db_exec(struct db *d, const char *sql, struct err *e)
{
    int rc = sqlite3_exec(d->sql, sql, NULL, NULL, NULL);

    if (rc != SQLITE_OK)
        return db_err(d, rc, sql, e);
    return 0;
}

static struct q_slot *slot_of(struct db *d, const char *sql)
{
    size_t at = ((uintptr_t)sql * 0x9e3779b97f4a7c15u) >> 40;

    for (size_t i = 0; i < DB_STATEMENTS; i++) {
        struct q_slot *s = &d->slots[(at + i) & (DB_STATEMENTS - 1)];
        if (!s->sql || s->sql == sql)
            return s;
    }
    must_fail(__FILE__, __LINE__, "a slot for every statement");
}

int q_open_text(struct q *q, struct db *d, const char *sql, struct err *e)
{
    int rc;

    *q = (struct q){.d = d};
    rc = sqlite3_prepare_v2(d->sql, sql, -1, &q->st, NULL);
    if (rc != SQLITE_OK)
        return db_err(d, rc, "read the database", e);
    return 0;
}

int q_open(struct q *q, struct db *d, const char *sql, struct err *e)
{
    struct q_slot *s = slot_of(d, sql);
    int rc;

    *q = (struct q){.d = d};
    if (s->busy)
        return q_open_text(q, d, sql, e);

    if (!s->st) {
        rc = sqlite3_prepare_v3(d->sql, sql, -1, SQLITE_PREPARE_PERSISTENT, &s->st,
                                NULL);
        if (rc != SQLITE_OK)
            return db_err(d, rc, "read the database", e);
        s->sql = sql;
    }
    s->busy = true;
    q->slot = s;
    q->st = s->st;
    return 0;
}

void q_done(struct q *q)
{
    if (!q->st)
        return;
    if (q->slot) {
        (void)sqlite3_reset(q->st);
        (void)sqlite3_clear_bindings(q->st);
        q->slot->busy = false;
    } else {
        (void)sqlite3_finalize(q->st);
    }
    q->st = NULL;
}

void q_null(struct q *q)
{
    must(sqlite3_bind_null(q->st, ++q->n_bound) == SQLITE_OK);
}

void q_i64(struct q *q, int64_t v)
{
    must(sqlite3_bind_int64(q->st, ++q->n_bound, v) == SQLITE_OK);
}

void q_real(struct q *q, double v)
{
    must(sqlite3_bind_double(q->st, ++q->n_bound, v) == SQLITE_OK);
}

void q_id(struct q *q, int64_t id)
{
    id ? q_i64(q, id) : q_null(q);
}

void q_known(struct q *q, int64_t v)
{
    v >= 0 ? q_i64(q, v) : q_null(q);
}

void q_exit(struct q *q, int32_t code)
{
    code != DB_NO_EXIT ? q_i64(q, code) : q_null(q);
}

void q_text(struct q *q, struct str s)
{
    int rc = sqlite3_bind_text64(q->st, ++q->n_bound, s.ptr ? s.ptr : "", s.len,
                                 SQLITE_STATIC, SQLITE_UTF8);

    must(rc == SQLITE_OK || rc == SQLITE_TOOBIG);
    if (rc == SQLITE_TOOBIG)
        q->bad = true;
}

void q_str(struct q *q, struct str s)
{
    s.len ? q_text(q, s) : q_null(q);
}

void q_state(struct q *q, enum db_state s)
{
    q_text(q, str_of(db_state_name(s)));
}

void q_bytes32(struct q *q, const uint8_t *bytes)
{
    must(sqlite3_bind_blob(q->st, ++q->n_bound, bytes, 32, SQLITE_TRANSIENT) ==
         SQLITE_OK);
}

bool hex_bytes(struct str hex, uint8_t *out, size_t n)
{
    static const char digits[] = "0123456789abcdef";

    if (hex.len < 2 * n)
        return false;
    for (size_t i = 0; i < n; i++) {
        const char *hi = memchr(digits, hex.ptr[2 * i], 16);
        const char *lo = memchr(digits, hex.ptr[2 * i + 1], 16);
        if (!hi || !lo)
            return false;
        out[i] = (uint8_t)((hi - digits) << 4 | (lo - digits));
    }
    return true;
}

void q_hex(struct q *q, struct str hex)
{
    uint8_t bytes[32];

    if (!hex.len) {
        q_null(q);
    } else if (hex.len == 64 && hex_bytes(hex, bytes, 32)) {
        q_bytes32(q, bytes);
    } else {
        q->bad = true;
        q_null(q);
    }
}

int q_step(struct q *q, struct err *e)
{
    int rc;

    if (q->bad)
        return err_set(e, ERR_INPUT,
                       "not a sha256 digest of 64 hex digits, or a text "
                       "over 1 GB: not written to the database");
    q->n_read = 0;
    rc = sqlite3_step(q->st);
    if (rc == SQLITE_ROW)
        return 1;
    if (rc == SQLITE_DONE)
        return 0;
    return db_err(q->d, rc,
                  sqlite3_stmt_readonly(q->st) ? "read the database" : "record", e);
}

int q_run(struct q *q, struct err *e)
{
    int more;

    do
        more = q_step(q, e);
    while (more > 0);
    return more;
}

int64_t q_changes(const struct q *q)
{
    return sqlite3_changes64(q->d->sql);
}

int q_one(struct q *q, int64_t *id, struct err *e)
{
    int more = q_step(q, e);

    if (more < 0)
        return -1;
    *id = more ? q_get_i64(q) : 0;
    return more ? q_run(q, e) : 0;
}

int q_insert(struct q *q, int64_t *id, struct err *e)
{
    if (q_run(q, e) < 0)
        return -1;
    *id = sqlite3_last_insert_rowid(q->d->sql);
    return 0;
}

int64_t q_get_i64(struct q *q)
{
    return sqlite3_column_int64(q->st, q->n_read++);
}

int64_t q_get_known(struct q *q)
{
    int at = q->n_read++;

    if (sqlite3_column_type(q->st, at) == SQLITE_NULL)
        return -1;
    return sqlite3_column_int64(q->st, at);
}

int32_t q_get_exit(struct q *q)
{
    int at = q->n_read++;

    if (sqlite3_column_type(q->st, at) == SQLITE_NULL)
        return DB_NO_EXIT;
    return sqlite3_column_int(q->st, at);
}

bool q_get_bool(struct q *q)
{
    return q_get_i64(q) != 0;
}

struct str q_get_str(struct q *q)
{
    int at = q->n_read++;
    const char *text = (const char *)sqlite3_column_text(q->st, at);

    if (!text)
        return (struct str){"", 0};
    return (struct str){text, (size_t)sqlite3_column_bytes(q->st, at)};
}

struct str q_get_str_in(struct arena *a, struct q *q)
{
    struct str s = q_get_str(q);

    return s.len ? arena_str(a, s) : (struct str){"", 0};
}

enum db_state q_get_state(struct q *q)
{
    enum db_state s = DB_PENDING;

    must(db_state_from_name(q_get_str(q), &s)); /* the schema checks what comes in */
    return s;
}

const uint8_t *q_get_bytes32(struct q *q)
{
    int at = q->n_read++;

    if (sqlite3_column_bytes(q->st, at) != 32)
        return NULL;
    return sqlite3_column_blob(q->st, at);
}

void hex_of(const uint8_t *bytes, size_t n, char *out)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < n; i++) {
        *out++ = digits[bytes[i] >> 4];
        *out++ = digits[bytes[i] & 15];
    }
    *out = '\0';
}

bool hex_range(struct str prefix, uint8_t low[32], uint8_t high[32])
{
    char text[65];

    if (prefix.len > 64)
        return false;
    memset(text, '0', 64);
    memcpy(text, prefix.ptr, prefix.len);
    if (!hex_bytes((struct str){text, 64}, low, 32))
        return false;
    memset(text + prefix.len, 'f', 64 - prefix.len);
    return hex_bytes((struct str){text, 64}, high, 32);
}

void q_get_hex(struct q *q, char out[65])
{
    const uint8_t *bytes = q_get_bytes32(q);

    out[0] = '\0';
    if (bytes)
        hex_of(bytes, 32, out);
}
