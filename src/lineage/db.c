/* SPDX-License-Identifier: Apache-2.0 */
/* db.c - one SQLite file: opening it safely, queueing writers, keeping the schema up to
 * date
 *
 * Writers queue at a flock'ed file before BEGIN IMMEDIATE. SQLite's own waiting sleeps
 * and polls, which let one writer starve for seconds behind others; the kernel's queue
 * is fair and wakes the next one at once. The lock goes with its process, whatever
 * happens to it.
 *
 *     db_begin                       db_commit
 *     flock(db.wlock) ... BEGIN IMMEDIATE ... COMMIT (fsync when DB_DURABLE) ... unlock
 *
 * The WAL files stay when the last one closes, so that a reader without write access (a
 * colleague in the group) can open the database at any time. On a network or FUSE file
 * system, where several hosts could not share the WAL's index, the old rollback journal
 * is used. ANALYZE is never run: with its statistics SQLite plans some recursive
 * queries a thousand times slower.
 *
 * Which schema the file has, and what happens when it is not ours: migrate.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "assets/assets.h"
#include "base/fd.h"
#include "lineage/sql.h"
#include "store/blob.h"

#define HOME_BYTES_MAX                                                                 \
    490 /* SQLite ends paths at 512, the file name and "-wal" included */
#define BUSY_WAIT_MS 10000
#define WAL_KEEP_BYTES "67108864"

static const char *const state_names[DB_STATES] = {
    [DB_PENDING] = "PENDING",         [DB_RUNNING] = "RUNNING",
    [DB_SUCCEEDED] = "SUCCEEDED",     [DB_FAILED] = "FAILED",
    [DB_SKIPPED] = "SKIPPED",         [DB_CANCELED] = "CANCELED",
    [DB_INTERRUPTED] = "INTERRUPTED",
};

const char *db_state_name(enum db_state s)
{
    must((unsigned)s < DB_STATES);
    return state_names[s];
}

bool db_state_from_name(struct str name, enum db_state *out)
{
    for (unsigned i = 0; i < DB_STATES; i++) {
        if (!str_eqz(name, state_names[i]))
            continue;
        *out = (enum db_state)i;
        return true;
    }
    return false;
}

/* ---- the queue of writers
 * ------------------------------------------------------------ */

static int queue(struct db *d, struct err *e)
{
    if (d->wlock_fd < 0)
        d->wlock_fd =
            open(d->wlock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (d->wlock_fd < 0)
        return err_sys(e, errno, "open %s", d->wlock_path);
    while (flock(d->wlock_fd, LOCK_EX) < 0) {
        if (errno != EINTR)
            return err_sys(e, errno, "lock %s", d->wlock_path);
    }
    return 0;
}

static void unqueue(struct db *d)
{
    (void)flock(d->wlock_fd, LOCK_UN);
}

/* ---- opening ------------------------------------------------------------------------
 */

/* A file that the group may read when it may read the home; SQLite gives -wal and -shm
 * the same mode and owner. */
static int file_make(const char *home, const char *path, struct err *e)
{
    struct stat st;
    AUTO_FD int fd = -1;

    if (stat(home, &st) < 0)
        return err_sys(e, errno, "open the home %s", home);
    fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 && errno == EEXIST)
        return 0;
    if (fd < 0)
        return err_sys(e, errno, "create %s", path);

    (void)fchown(fd, (uid_t)-1,
                 st.st_gid); /* an ordinary user may be in the way: 0600 */
    (void)fchmod(fd, 0600 | (st.st_mode & 0040));
    return 0;
}

static int settle(struct db *d, enum db_mode mode, struct err *e)
{
    int on = 1;

    (void)sqlite3_extended_result_codes(d->sql, 1);
    (void)sqlite3_busy_timeout(d->sql, BUSY_WAIT_MS);
    (void)sqlite3_db_config(d->sql, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    (void)sqlite3_db_config(d->sql, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    (void)sqlite3_db_config(d->sql, SQLITE_DBCONFIG_ENABLE_FKEY, mode != DB_ENGINE,
                            NULL);
    if (d->writable)
        (void)sqlite3_file_control(d->sql, "main", SQLITE_FCNTL_PERSIST_WAL, &on);

    if (db_exec(d, "PRAGMA temp_store = MEMORY; PRAGMA mmap_size = 0", e) < 0)
        return -1;
    return db_exec(d,
                   mode == DB_ENGINE ? "PRAGMA cache_size = -4096"
                                     : "PRAGMA cache_size = -65536",
                   e);
}

static int open_file(struct db *d, const char *name, int flags, struct err *e)
{
    int rc;

    (void)sqlite3_close_v2(d->sql);
    d->sql = NULL;
    rc = sqlite3_open_v2(name, &d->sql, flags | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc != SQLITE_OK)
        return db_err(d, rc, "open", e);
    return 0;
}

static int read_begin(struct db *d, const char *name, int flags, struct err *e)
{
    int64_t version;

    if (open_file(d, name, SQLITE_OPEN_READONLY | flags, e) < 0 ||
        settle(d, DB_READ, e) < 0)
        return -1;
    return pragma_i64(d, "PRAGMA user_version", &version, e);
}

/* A WAL database on a medium where not even its index can be made: readable as it
 * stands when nothing is left in the WAL. */
static int read_immutable(struct db *d, struct err *e)
{
    AUTO_FREE char *wal = xasprintf("%s-wal", d->path);
    AUTO_BUF struct buf uri = {0};
    struct err again;
    struct stat st;

    if (stat(wal, &st) == 0 && st.st_size > 0)
        return err_at(e,
                      "%s was copied without %s-shm, or is in use elsewhere: open it "
                      "once with write access",
                      d->path, DB_FILE);
    buf_adds(&uri, "file:");
    for (const char *p = d->path; *p; p++) {
        if (strchr("?#%", *p))
            buf_addf(&uri, "%%%02X", (unsigned)(unsigned char)*p);
        else
            buf_addc(&uri, *p);
    }
    buf_adds(&uri, "?immutable=1");
    return read_begin(d, buf_str(&uri), SQLITE_OPEN_URI,
                      &again); /* *e says what was first */
}

static int open_read(struct db *d, struct err *e)
{
    if (access(d->path, F_OK) < 0 && errno == ENOENT)
        return err_set(e, ERR_MISSING, "no %s: nothing was run or recorded here yet",
                       d->path);
    if (read_begin(d, d->path, 0, e) == 0)
        return 0;
    return e->code == ERR_SYS ? read_immutable(d, e) : -1;
}

static int journal_set(struct db *d, bool network, struct err *e)
{
    const char *want = network ? "delete" : "wal";
    AUTO_Q struct q q = {0};
    int rc, more;

    if (q_open_text(&q, d, "PRAGMA journal_mode", e) < 0)
        return -1;
    more = q_step(&q, e);
    if (more < 0)
        return -1;
    if (more && str_eqz(q_get_str(&q), want))
        return 0;
    q_done(&q);

    if (queue(d, e) < 0) /* two that make the same new file */
        return -1;
    rc = db_exec(
        d, network ? "PRAGMA journal_mode = DELETE" : "PRAGMA journal_mode = WAL", e);
    unqueue(d);
    return rc;
}

static int open_write(struct db *d, const char *home, enum db_mode mode, struct err *e)
{
    d->writable = true;
    if (file_make(home, d->path, e) < 0 || file_make(home, d->wlock_path, e) < 0)
        return -1;
    if (open_file(d, d->path, SQLITE_OPEN_READWRITE, e) < 0 || settle(d, mode, e) < 0)
        return -1;
    if (sqlite3_db_readonly(d->sql, "main") == 1)
        return err_sys(e, access(d->path, W_OK) < 0 ? errno : EACCES,
                       "open %s for writing", d->path);
    return db_exec(d, "PRAGMA journal_size_limit = " WAL_KEEP_BYTES, e);
}

static struct db *db_new(const char *home)
{
    struct db *d = xalloc(sizeof(*d));

    d->path = path_join(home, DB_FILE);
    d->wlock_path = path_join(home, DB_WLOCK_FILE);
    d->ballast_path = path_join(home, DB_BALLAST_FILE);
    d->wlock_fd = -1;
    d->sync = -1;
    d->pid = (int)getpid();
    return d;
}

/* a new file gets the whole schema; an old one waits for somebody who may migrate */
static int schema_fit(struct db *d, enum db_mode mode, int64_t have, struct err *e)
{
    int latest = db_schema_version();

    if (mode == DB_OLD || have == latest)
        return 0;
    if (have && mode != DB_MIGRATE)
        return schema_too_old(d, (int)have, latest, e);
    return schema_migrate(d, asset_schema_start, e);
}

int db_open(const char *home, enum db_mode mode, struct db **gives, struct err *e)
{
    AUTO_DB struct db *d = NULL;
    bool reading = mode == DB_READ || mode == DB_OLD;
    int64_t have;

    if (strlen(home) > HOME_BYTES_MAX)
        return err_set(e, ERR_LIMIT, "the path of the home is over %d bytes: %.60s...",
                       HOME_BYTES_MAX, home);
    d = db_new(home);
    if ((reading ? open_read(d, e) : open_write(d, home, mode, e)) < 0 ||
        schema_look(d, db_schema_version(), &have, e) < 0)
        return -1; /* of another program, or newer: nothing was written */
    if ((!reading && journal_set(d, store_network_name(home) != NULL, e) < 0) ||
        schema_fit(d, mode, have, e) < 0)
        return -1;
    *gives = d;
    d = NULL;
    return 0;
}

int db_file_version(const char *home, int *version, struct err *e)
{
    AUTO_DB struct db *d = db_new(home);
    int64_t have;

    *version = 0;
    if (access(d->path, F_OK) < 0)
        return 0;
    if (open_read(d, e) < 0 || schema_look(d, db_schema_version(), &have, e) < 0)
        return -1;
    *version = (int)have;
    return 0;
}

void db_close(struct db *d)
{
    if (!d)
        return;
    db_rollback(d);
    db_read_end(d);
    for (size_t i = 0; i < DB_STATEMENTS; i++)
        (void)sqlite3_finalize(d->slots[i].st);
    (void)sqlite3_close_v2(d->sql);
    if (d->wlock_fd >= 0)
        (void)close(d->wlock_fd);
    free(d->path);
    free(d->wlock_path);
    free(d->ballast_path);
    free(d);
}

void auto_db(struct db **d)
{
    db_close(*d);
    *d = NULL;
}

bool db_is_writable(const struct db *d)
{
    return d->writable;
}

const char *db_sqlite_version(void)
{
    return sqlite3_libversion();
}

/* ---- transactions -------------------------------------------------------------------
 */

static int sync_set(struct db *d, enum db_sync sync, struct err *e)
{
    if (d->sync == (int)sync)
        return 0;
    if (db_exec(d,
                sync == DB_DURABLE ? "PRAGMA synchronous = FULL"
                                   : "PRAGMA synchronous = NORMAL",
                e) < 0)
        return -1;
    d->sync = (int)sync;
    return 0;
}

/* BEGIN and friends are kept too, so they go through q_open like everything else */
static int say(struct db *d, const char *sql, struct err *e)
{
    AUTO_Q struct q q = {0};

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    return q_run(&q, e);
}

int db_begin(struct db *d, enum db_sync sync, struct err *e)
{
    static const char begin[] = "BEGIN IMMEDIATE";

    must(!d->in_txn && !d->in_read);
    must(d->pid == (int)getpid());
    if (!d->writable)
        return err_sys(e, EROFS, "write to %s", d->path);
    if (queue(d, e) < 0)
        return -1;
    if (d->ballast_path)
        ballast_drop(d);
    if (sync_set(d, sync, e) < 0 || say(d, begin, e) < 0) {
        unqueue(d);
        return -1;
    }
    d->in_txn = true;
    return 0;
}

int db_commit(struct db *d, struct err *e)
{
    static const char commit[] = "COMMIT";

    must(d->in_txn);
    if (say(d, commit, e) < 0) {
        db_rollback(d);
        return -1;
    }
    d->in_txn = false;
    unqueue(d);
    return 0;
}

int db_sync(struct db *d, struct err *e)
{
    sqlite3_file *wal = NULL;

    must(!d->in_txn);
    (void)sqlite3_file_control(d->sql, "main", SQLITE_FCNTL_JOURNAL_POINTER, &wal);
    if (!wal || !wal->pMethods)
        return 0; /* a rollback journal: the commit has synced the file itself */
    if (wal->pMethods->xSync(wal, SQLITE_SYNC_NORMAL | SQLITE_SYNC_DATAONLY) != SQLITE_OK)
        return err_sys(e, errno, "sync %s-wal", d->path);
    return 0;
}

void db_rollback(struct db *d)
{
    static const char rollback[] = "ROLLBACK";
    struct err ignored;

    if (!d->in_txn)
        return;
    if (!sqlite3_get_autocommit(
            d->sql)) /* SQLite may have done it itself, on a full disk */
        (void)say(d, rollback, &ignored);
    d->in_txn = false;
    unqueue(d);
}

void auto_txn(struct db **d)
{
    if (*d)
        db_rollback(*d);
}

int db_read_begin(struct db *d, struct err *e)
{
    static const char begin[] = "BEGIN";

    if (d->in_txn)
        return 0;
    must(!d->in_read);
    if (say(d, begin, e) < 0)
        return -1;
    d->in_read = true;
    return 0;
}

void db_read_end(struct db *d)
{
    static const char end[] = "COMMIT";
    struct err ignored;

    if (!d->in_read)
        return;
    (void)say(d, end, &ignored);
    d->in_read = false;
}

/* ---- the whole file -----------------------------------------------------------------
 */

int db_uuid(struct db *d, char out[37], struct err *e)
{
    static const char sql[] = "SELECT value FROM meta WHERE key = 'uuid'";
    AUTO_Q struct q q = {0};
    struct str s;
    int more;

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    more = q_step(&q, e);
    if (more < 0)
        return -1;
    s = more ? q_get_str(&q) : (struct str){"", 0};
    if (s.len != 36)
        return err_set(e, ERR_CORRUPT, "%s has no identity", d->path);
    memcpy(out, s.ptr, 37);
    return 0;
}

void db_checkpoint(struct db *d)
{
    if (d->writable && !d->in_txn && !d->in_read)
        (void)sqlite3_wal_checkpoint_v2(d->sql, "main", SQLITE_CHECKPOINT_PASSIVE, NULL,
                                        NULL);
}

static int check_ok(struct db *d, const char *sql, struct err *e)
{
    AUTO_Q struct q q = {0};
    struct str s;
    int more;

    if (q_open_text(&q, d, sql, e) < 0)
        return -1;
    more = q_step(&q, e);
    if (more < 0)
        return -1;
    s = more ? q_get_str(&q) : STR("no answer");
    if (!str_eqz(s, "ok"))
        return err_set(e, ERR_CORRUPT, "%s is damaged: %.*s", d->path, STR_ARG(s));
    return 0;
}

static int check_references(struct db *d, struct err *e)
{
    AUTO_Q struct q q = {0};
    struct str table;
    int64_t row;
    int more;

    if (q_open_text(&q, d, "PRAGMA foreign_key_check", e) < 0)
        return -1;
    more = q_step(&q, e);
    if (more <= 0)
        return more;
    table = q_get_str(&q);
    row = q_get_i64(&q);
    return err_set(e, ERR_CORRUPT, "%s is damaged: %.*s row %lld points at nothing",
                   d->path, STR_ARG(table), (long long)row);
}

int db_check(struct db *d, bool full, struct err *e)
{
    if (!full)
        return check_ok(d, "PRAGMA quick_check(1)", e);
    if (check_ok(d, "PRAGMA integrity_check(1)", e) < 0)
        return -1;
    return check_references(d, e);
}
