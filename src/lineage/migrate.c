/* SPDX-License-Identifier: Apache-2.0 */
/* migrate.c - the schema of the file, and how it grows
 *
 * The schema is a row of numbered parts; the file knows by user_version how many of
 * them it has. A file from a newer dugout is refused rather than guessed at. An older
 * one is refused too, but to who opens it as DB_MIGRATE: then the missing parts are
 * applied, all in one transaction. Who does so has made a copy first
 * (snapshot.c) and knows that nobody else is at work.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "assets/assets.h"
#include "lineage/sql.h"
#include "version.h"

#define PART "-- migration "

/* the next part of a schema text at or after p: its number, or 0 when there is none */
static int part_next(const char **p)
{
    for (const char *at = *p; (at = strstr(at, PART)); at += sizeof(PART) - 1) {
        if (at > *p && at[-1] != '\n')
            continue;
        *p = at;
        return (int)strtol(at + sizeof(PART) - 1, NULL, 10);
    }
    return 0;
}

int schema_latest(const char *text)
{
    int latest = 0, n;

    while ((n = part_next(&text))) {
        must(n == latest + 1);
        latest = n;
        text++;
    }
    return latest;
}

int db_schema_version(void)
{
    static int latest;

    if (!latest)
        latest = schema_latest(asset_schema_start);
    return latest;
}

int pragma_i64(struct db *d, const char *sql, int64_t *out, struct err *e)
{
    AUTO_Q struct q q = {0};

    if (q_open_text(&q, d, sql, e) < 0)
        return -1;
    return q_one(&q, out, e);
}

/* who brought the file to this version: what an older dugout can tell its user */
static void say_who(struct buf *sql)
{
    buf_adds(
        sql,
        "INSERT OR REPLACE INTO meta VALUES ('migrated_by', 'dugout " DUGOUT_VERSION
        "');");
}

static int part_apply(struct db *d, const char *from, const char *end, int version,
                      struct err *e)
{
    AUTO_BUF struct buf sql = {0};

    buf_add(&sql, from, (size_t)(end - from));
    buf_addf(&sql, "\nPRAGMA user_version = %d;", version);
    if (version == 1) {
        uint8_t r[16];
        char hex[33];
        if (getrandom(r, sizeof(r), 0) != sizeof(r))
            return err_sys(e, errno, "read random bytes");
        r[6] = (uint8_t)((r[6] & 0x0f) | 0x40);
        r[8] = (uint8_t)((r[8] & 0x3f) | 0x80);
        hex_of(r, 16, hex);
        buf_addf(&sql, "INSERT INTO meta VALUES ('uuid', '%.8s-%.4s-%.4s-%.4s-%.12s');",
                 hex, hex + 8, hex + 12, hex + 16, hex + 20);
    }
    say_who(&sql);
    if (db_exec(d, buf_str(&sql), e) < 0)
        return err_at(e, "migrate %s to version %d", d->path, version);
    return 0;
}

static int too_new(struct db *d, int have, int latest, struct err *e)
{
    static const char sql[] = "SELECT value FROM meta WHERE key = 'migrated_by'";
    AUTO_Q struct q q = {0};
    struct err ignored;
    struct str by = STR("a newer dugout");

    if (q_open_text(&q, d, sql, &ignored) == 0 && q_step(&q, &ignored) > 0)
        by = q_get_str(&q);
    return err_set(
        e, ERR_INPUT,
        "%s has schema version %d, made by %.*s, and this dugout knows up to "
        "%d: use the newer dugout, or put back the copy of before, %s.v%d, "
        "which lacks what was recorded since",
        d->path, have, STR_ARG(by), latest, DB_FILE, latest);
}

/* ours, and not from the future? Nothing is written before this is known. */
int schema_look(struct db *d, int latest, int64_t *have, struct err *e)
{
    int64_t app = 0, objects = 0;

    if (pragma_i64(d, "PRAGMA user_version", have, e) < 0 ||
        pragma_i64(d, "PRAGMA application_id", &app, e) < 0)
        return -1;
    if (app != DB_APPLICATION) {
        if (pragma_i64(d, "SELECT count(*) FROM sqlite_schema", &objects, e) < 0)
            return -1;
        if (app || *have || objects)
            return err_set(e, ERR_CORRUPT, "%s is the database of another program",
                           d->path);
    }
    return *have > latest ? too_new(d, (int)*have, latest, e) : 0;
}

int schema_too_old(struct db *d, int have, int latest, struct err *e)
{
    return err_set(e, ERR_INPUT,
                   "%s has schema version %d and this dugout wants %d: run dugout "
                   "migrate once, as its owner (it keeps a copy of the old file)",
                   d->path, have, latest);
}

int schema_migrate(struct db *d, const char *text, struct err *e)
{
    AUTO_TXN struct db *txn = d;
    int64_t have = 0;
    int latest = schema_latest(text), n;

    if (schema_look(d, latest, &have, e) < 0)
        return -1;
    if (have == latest)
        return 0;
    if (!d->writable)
        return schema_too_old(d, (int)have, latest, e);

    /* all in one transaction: nobody ever sees a new file that is half made */
    if (db_begin(d, DB_DURABLE, e) < 0 ||
        pragma_i64(d, "PRAGMA user_version", &have, e) < 0)
        return -1;
    while ((n = part_next(&text))) {
        const char *end = text + 1;
        if (!part_next(&end))
            end = text + strlen(text);
        if (n > have && part_apply(d, text, end, n, e) < 0)
            return -1;
        text = end;
    }
    return db_commit(d, e);
}
