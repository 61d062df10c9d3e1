/* SPDX-License-Identifier: Apache-2.0 */
/* adhoc.c - SQL from outside, behind three fences
 *
 *     the connection   is opened read-only: the file cannot be written through it
 *     the authorizer   sees each thing a statement would do when it is prepared, and
 * lets pass only selecting, reading and calling functions: no ATTACH (it could make
 * files), no PRAGMA that sets, no temporary tables, no transactions the clock        is
 * looked at every few thousand steps: a cross join of two big tables ends in an error
 * and not next week
 */
#include "lineage/adhoc.h"

#include "assets/assets.h"
#include "base/clock.h"
#include "lineage/sql.h"

#define STEPS_A_LOOK 5000
#define SQL_BYTES_MAX (256 * 1024)

struct fence {
    int64_t until_mono_ns; /* 0 = no limit */
    bool late;
    char denied[120];
};

static bool reading_pragma(const char *name, const char *value)
{
    static const char *const free_of_value[] = {"table_list", "user_version",
                                                "compile_options", "function_list"};
    static const char *const about[] = {"table_info",  "table_xinfo",
                                        "index_list",  "index_info",
                                        "index_xinfo", "foreign_key_list"};

    for (size_t i = 0; !value && i < N_ELEMS(free_of_value); i++) {
        if (strcmp(name, free_of_value[i]) == 0)
            return true;
    }
    for (size_t i = 0; i < N_ELEMS(about); i++) {
        if (strcmp(name, about[i]) == 0)
            return true;
    }
    return false;
}

static const char *action_name(int action)
{
    switch (action) {
    case SQLITE_INSERT:
        return "INSERT";
    case SQLITE_UPDATE:
        return "UPDATE";
    case SQLITE_DELETE:
        return "DELETE";
    case SQLITE_ATTACH:
        return "ATTACH";
    case SQLITE_DETACH:
        return "DETACH";
    case SQLITE_PRAGMA:
        return "PRAGMA";
    case SQLITE_TRANSACTION:
    case SQLITE_SAVEPOINT:
        return "a transaction";
    default:
        return "changing the schema";
    }
}

static int look_at(void *ctx, int action, const char *a, const char *b, const char *c,
                   const char *d)
{
    struct fence *f = ctx;

    (void)c, (void)d;
    if (action == SQLITE_SELECT || action == SQLITE_READ || action == SQLITE_FUNCTION ||
        action == SQLITE_RECURSIVE)
        return SQLITE_OK;
    if (action == SQLITE_PRAGMA && reading_pragma(a, b))
        return SQLITE_OK;
    (void)snprintf(f->denied, sizeof(f->denied), "%s%s%.60s", action_name(action),
                   a && action == SQLITE_PRAGMA ? " " : "",
                   a && action == SQLITE_PRAGMA ? a : "");
    return SQLITE_DENY;
}

static int look_at_clock(void *ctx)
{
    struct fence *f = ctx;

    f->late = f->until_mono_ns && clock_mono_ns() > f->until_mono_ns;
    return f->late;
}

static int refuse(struct db *d, const struct fence *f, struct str text, int rc,
                  struct err *e)
{
    int at = sqlite3_error_offset(d->sql);

    if (f->late)
        return err_set(
            e, ERR_LIMIT,
            "sql: it took too long and was stopped (--timeout gives it more)");
    if (f->denied[0])
        return err_set(e, ERR_INPUT, "sql: only reading is allowed, and this is %s",
                       f->denied);
    if ((rc & 0xff) == SQLITE_ERROR && at >= 0 && (size_t)at < text.len)
        return err_set(e, ERR_INPUT, "sql, character %d: %s", at + 1,
                       sqlite3_errmsg(d->sql));
    if ((rc & 0xff) == SQLITE_ERROR)
        return err_set(e, ERR_INPUT, "sql: %s", sqlite3_errmsg(d->sql));
    return db_err(d, rc, "sql", e);
}

static void cell_read(sqlite3_stmt *st, int at, struct db_cell *x)
{
    *x = (struct db_cell){.kind = CELL_NULL};
    switch (sqlite3_column_type(st, at)) {
    case SQLITE_INTEGER:
        x->kind = CELL_INT;
        x->i = sqlite3_column_int64(st, at);
        break;
    case SQLITE_FLOAT:
        x->kind = CELL_REAL;
        x->num = sqlite3_column_double(st, at);
        break;
    case SQLITE_TEXT:
        x->kind = CELL_TEXT;
        x->text.ptr = (const char *)sqlite3_column_text(st, at);
        break;
    case SQLITE_BLOB:
        x->kind = CELL_BLOB;
        x->text.ptr = sqlite3_column_blob(st, at);
        break;
    default:
        return;
    }
    x->text.len = x->text.ptr ? (size_t)sqlite3_column_bytes(st, at) : 0;
}

static int head(sqlite3_stmt *st, const struct db_sink *sink, int n, struct err *e)
{
    AUTO_FREE const char **names = xalloc(((size_t)n + 1) * sizeof(*names));

    for (int i = 0; i < n; i++)
        names[i] = sqlite3_column_name(st, i);
    return sink->head(sink->ctx, names, n, e);
}

static int rows(struct db *d, sqlite3_stmt *st, const struct fence *f, struct str text,
                const struct db_sink *sink, struct err *e)
{
    int n = sqlite3_column_count(st), rc;
    AUTO_FREE struct db_cell *cells = xalloc(((size_t)n + 1) * sizeof(*cells));

    if (head(st, sink, n, e) < 0)
        return -1;
    while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
        for (int i = 0; i < n; i++)
            cell_read(st, i, &cells[i]);
        if (sink->row(sink->ctx, cells, n, e) < 0)
            return -1;
    }
    return rc == SQLITE_DONE ? 0 : refuse(d, f, text, rc, e);
}

static int run_one(struct db *d, struct fence *f, struct str text,
                   const struct db_sink *sink, struct err *e)
{
    sqlite3_stmt *st = NULL;
    const char *tail = NULL;
    int rc = sqlite3_prepare_v2(d->sql, text.ptr, (int)text.len, &st, &tail);
    struct str rest = {tail, tail ? (size_t)(text.ptr + text.len - tail) : 0};

    if (rc != SQLITE_OK)
        return refuse(d, f, text, rc, e);
    if (!st)
        return err_set(e, ERR_INPUT, "sql: there is no statement in it");
    if (str_trim(rest).len)
        rc = err_set(e, ERR_INPUT, "sql, character %zu: one statement at a time",
                     (size_t)(rest.ptr - text.ptr) + 1);
    else if (!sqlite3_stmt_readonly(st))
        rc = err_set(e, ERR_INPUT, "sql: only reading is allowed");
    else
        rc = rows(d, st, f, text, sink, e);
    (void)sqlite3_finalize(st);
    return rc;
}

int db_views_make(struct db *d, struct err *e)
{
    return db_exec(d, asset_views_start, e);
}

int db_sql(struct db *d, struct str text, int64_t timeout_ms,
           const struct db_sink *sink, struct err *e)
{
    struct fence f = {.until_mono_ns =
                          timeout_ms ? clock_mono_ns() + timeout_ms * 1000000 : 0};
    int rc;

    must(!db_is_writable(d));
    if (text.len > SQL_BYTES_MAX)
        return err_set(e, ERR_LIMIT, "sql: over %d bytes", SQL_BYTES_MAX);
    if (db_views_make(d, e) < 0)
        return -1;
    (void)sqlite3_set_authorizer(d->sql, look_at, &f);
    sqlite3_progress_handler(d->sql, STEPS_A_LOOK, look_at_clock, &f);
    rc = run_one(d, &f, text, sink, e);
    sqlite3_progress_handler(d->sql, 0, NULL, NULL);
    (void)sqlite3_set_authorizer(d->sql, NULL, NULL);
    return rc;
}

int db_sql_views(struct db *d, const struct db_sink *sink, struct err *e)
{
    static const char sql[] =
        "SELECT s.name AS view, group_concat(c.name, ', ') AS columns"
        " FROM sqlite_temp_schema s CROSS JOIN pragma_table_info(s.name) c"
        " WHERE s.type = 'view' GROUP BY s.name ORDER BY s.rowid";
    struct fence f = {0};

    return db_views_make(d, e) < 0 ? -1 : run_one(d, &f, STR(sql), sink, e);
}
