/* SPDX-License-Identifier: Apache-2.0 */
/* db.h - the one SQLite file of a home: opening, transactions, schema version
 *
 * Only lineage/ speaks SQL. A `struct db` is one connection of one process; it must not
 * cross a fork. Writing functions (record.h, cache.h, tags.h, images.h, live.h) must be
 * called between db_begin and db_commit; reading ones may be called any time, and see
 * one consistent state between db_read_begin and db_read_end.
 *
 * Errors of every function below lineage/: ERR_CORRUPT when the file is damaged or no
 * database, ERR_LIMIT when the disk is full, ERR_BUSY when somebody else keeps it
 * locked, ERR_SYS for other failures of the disk. What is said besides stands at the
 * function.
 */
#ifndef LINEAGE_DB_H
#define LINEAGE_DB_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define DB_FILE "dugout.db" /* in the home directory, with -wal and -shm beside it */
#define DB_WLOCK_FILE                                                                  \
    "db.wlock" /* the queue of writers: flock, held for one transaction */
#define DB_NAMES_FILE "dugout.db-names" /* what images are called: names.c */
#define DB_BALLAST_FILE "ballast" /* room for the last words on a full disk: ballast.c */

struct db;

enum db_mode {
    DB_READ,   /* queries; needs no write access; big page cache */
    DB_WRITE,  /* commands that write: tag, image load; makes and migrates the file; big
                  cache */
    DB_ENGINE, /* as DB_WRITE with a small page cache: the engine of a run */
    DB_MIGRATE, /* as DB_WRITE, and an older schema is brought up to date */
    DB_OLD,     /* as DB_READ, of any schema that is not newer: to copy the file */
};

/* db_open - open (and but for DB_READ create) HOME/dugout.db
 *
 * home   existing directory, borrowed
 * gives  the connection, for db_close
 *
 * DB_READ of a home without database: ERR_MISSING. A schema newer than this program
 * knows: ERR_INPUT. So is an older one, unless DB_MIGRATE. Not a database, or one of
 * another program: ERR_CORRUPT. */
int db_open(const char *home, enum db_mode mode, struct db **gives, struct err *e);
void db_close(struct db *d); /* NULL is fine; an open transaction is rolled back */
void auto_db(struct db **d);
#define AUTO_DB __attribute__((cleanup(auto_db)))

bool db_is_writable(const struct db *d);
/* db_file_version - schema version of the file, 0 when there is none; errors as DB_READ */
int db_file_version(const char *home, int *version, struct err *e);
/* db_ballast_load - before a run starts: make the ballast file when it is absent and there is
 * room for it. Best effort */
void db_ballast_load(struct db *d);
/* db_snapshot - write the database as it is at this instant to a new file, durable and
 * complete in itself (no WAL beside it); writers go on meanwhile
 *
 * path  of the file, replaced when it exists; mode 0600 */
int db_snapshot(struct db *d, const char *path, struct err *e);

enum db_sync {
    DB_PROGRESS, /* atomic; a power cut may lose it: RUNNING, counters */
    DB_DURABLE,  /* on disk when db_commit returns: everything that is reported done */
};
/* db_begin - queue for the write lock, then start a write transaction. Keep it short:
 * no file work or hashing until db_commit. Transactions do not nest. */
int db_begin(struct db *d, enum db_sync sync, struct err *e);
int db_commit(struct db *d, struct err *e); /* on failure it is rolled back */
/* db_sync - wait until all that was committed as DB_PROGRESS is on disk, too */
int db_sync(struct db *d, struct err *e);
void db_rollback(struct db *d);             /* nothing happens when none is open */
/* db_rollback as a cleanup: `AUTO_TXN struct db *txn = d;` undoes an early return and
 * is harmless after db_commit */
void auto_txn(struct db **d);
#define AUTO_TXN __attribute__((cleanup(auto_txn), unused))

int db_read_begin(struct db *d,
                  struct err *e); /* inside db_begin: nothing to do, success */
void db_read_end(struct db *d);

/* db_uuid - the identity of this database, made with it: 36 characters */
int db_uuid(struct db *d, char out[37], struct err *e);
/* db_checkpoint - move the WAL into the file as far as no reader is in the way; call
 * when idle */
void db_checkpoint(struct db *d);
/* db_check - SQLite's own check of the file: quick (structure) or full (indexes and
 * references too).
 * ERR_CORRUPT with the first finding */
int db_check(struct db *d, bool full, struct err *e);
int db_schema_version(void); /* the newest one that this program knows */
const char *db_sqlite_version(void);

/* States as stored and shown. A run uses all but SKIPPED, a task all but INTERRUPTED,
 * an attempt RUNNING, SUCCEEDED, FAILED, CANCELED. The order of the first six is that
 * of plan/graph.h. */
enum db_state {
    DB_PENDING,
    DB_RUNNING,
    DB_SUCCEEDED,
    DB_FAILED,
    DB_SKIPPED,
    DB_CANCELED,
    DB_INTERRUPTED,
    DB_STATES
};
#define DB_IS(state) (1u << (state))        /* for masks of states */
const char *db_state_name(enum db_state s); /* "PENDING" ... */
bool db_state_from_name(struct str name, enum db_state *out);

enum db_io { DB_IN = 1, DB_OUT = 2 };

/* who did something by hand, when, and why (empty = not said) */
struct db_by {
    struct str user, reason;
    int64_t now_unix_ms;
};

#define DB_NO_EXIT INT32_MIN /* exit_code where there is none */

#endif
