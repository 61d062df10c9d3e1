/* SPDX-License-Identifier: Apache-2.0 */
/* lineage_db_test.c - opening, refusing, migrating, queueing, surviving */
#include <signal.h>
#include <sys/file.h>
#include <time.h>

#include "lineage_t.h"

static const char *const uuid1 = "11111111-1111-4111-8111-111111111111";

static void a_new_home_gets_a_database_with_an_identity(void)
{
    char a[37] = "", b[37] = "";
    struct db *d;

    home_make();
    d = home_open(DB_WRITE);
    OK(db_uuid(d, a, e));
    CHECK_INT(strlen(a), 36);
    CHECK_INT(a[14], '4');
    CHECK(db_is_writable(d));
    db_close(d);

    d = home_open(DB_READ);
    OK(db_uuid(d, b, e));
    CHECK_STR(b, a);
    CHECK(!db_is_writable(d));
    CHECK_INT(sql_i64(d, "PRAGMA user_version"), db_schema_version());
    CHECK_INT(sql_i64(d, "PRAGMA application_id"), DB_APPLICATION);
    OK(db_check(d, true, e));
    db_close(d);
    home_remove();
}

static void settings_are_those_of_the_reference(void)
{
    static const struct row {
        enum db_mode mode;
        const char *sql;
        int64_t want;
    } rows[] = {
        {DB_ENGINE, "PRAGMA cache_size", -4096},
        {DB_WRITE, "PRAGMA cache_size", -65536},
        {DB_READ, "PRAGMA cache_size", -65536},
        {DB_ENGINE, "PRAGMA mmap_size", 0},
        {DB_ENGINE, "PRAGMA temp_store", 2},
        {DB_ENGINE, "PRAGMA page_size", 4096},
        {DB_ENGINE, "PRAGMA foreign_keys", 0}, /* see db.c */
        {DB_WRITE, "PRAGMA foreign_keys", 1},
        {DB_ENGINE, "PRAGMA trusted_schema", 0},
        {DB_ENGINE, "PRAGMA journal_size_limit", 64 << 20},
        {DB_ENGINE, "SELECT count(*) FROM sqlite_schema WHERE name = 'sqlite_stat1'",
         0},
        {DB_ENGINE,
         "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND sql NOT LIKE "
         "'%STRICT%'",
         0},
    };
    struct db *d;

    home_make();
    db_close(home_open(DB_WRITE));
    for (size_t i = 0; i < N_ELEMS(rows); i++) {
        d = home_open(rows[i].mode);
        CHECK_INT(sql_i64(d, rows[i].sql), rows[i].want);
        db_close(d);
    }
    home_remove();
}

static void the_kind_of_commit_chooses_the_sync_level(void)
{
    struct db *d;

    home_make();
    d = home_open(DB_ENGINE);
    OK(db_begin(d, DB_PROGRESS, e));
    CHECK_INT(sql_i64(d, "PRAGMA synchronous"), 1);
    OK(db_commit(d, e));
    OK(db_begin(d, DB_DURABLE, e));
    CHECK_INT(sql_i64(d, "PRAGMA synchronous"), 2);
    db_rollback(d);
    db_close(d);
    home_remove();
}

static void reading_an_empty_home_says_so_and_makes_nothing(void)
{
    AUTO_FREE char *path = NULL;
    struct db *d = (struct db *)77;

    home_make();
    path = in_home(DB_FILE);
    FAILS(db_open(t_home, DB_READ, &d, e), ERR_MISSING, "nothing was run");
    CHECK(d == (struct db *)77); /* untouched */
    CHECK(access(path, F_OK) < 0);
    home_remove();
    FAILS(db_open("/nonexistent/home", DB_WRITE, &d, e), ERR_SYS, "/nonexistent/home");
}

static void put_file(const char *name, const char *bytes, size_t len)
{
    AUTO_FREE char *path = in_home(name);

    OK(fd_write_file(AT_FDCWD, path, bytes, len, 0644, false, e));
}

static void what_is_no_database_is_refused_and_left_alone(void)
{
    static const char junk[] = "#!/bin/sh\necho this is a script, and a long one: "
                               "longer than the header of a database file is, surely, "
                               "by some way\n";
    AUTO_BUF struct buf after = {0};
    AUTO_FREE char *path = NULL;
    struct db *d = NULL;

    home_make();
    path = in_home(DB_FILE);
    put_file(DB_FILE, junk, sizeof(junk));
    FAILS(db_open(t_home, DB_READ, &d, e), ERR_CORRUPT, "no dugout database");
    FAILS(db_open(t_home, DB_WRITE, &d, e), ERR_CORRUPT, "no dugout database");
    OK(fd_read_file(AT_FDCWD, path, &after, 4096, e));
    CHECK_INT(after.len, sizeof(junk));
    CHECK(memcmp(after.ptr, junk, sizeof(junk)) == 0);
    home_remove();
}

static void another_programs_database_is_refused_before_any_write(void)
{
    AUTO_FREE char *path = NULL;
    sqlite3 *other;
    struct db *d = NULL;
    struct stat before, after;

    home_make();
    path = in_home(DB_FILE);
    must(sqlite3_open(path, &other) == SQLITE_OK);
    must(sqlite3_exec(other, "CREATE TABLE t (x)", NULL, NULL, NULL) == SQLITE_OK);
    sqlite3_close(other);
    must(stat(path, &before) == 0);
    FAILS(db_open(t_home, DB_WRITE, &d, e), ERR_CORRUPT, "another program");
    FAILS(db_open(t_home, DB_READ, &d, e), ERR_CORRUPT, "another program");
    must(stat(path, &after) == 0);
    CHECK_INT(after.st_mtim.tv_nsec, before.st_mtim.tv_nsec);
    CHECK_INT(after.st_size, before.st_size);
    home_remove();
}

static void a_newer_schema_is_refused_with_both_numbers(void)
{
    struct db *d;

    home_make();
    d = home_open(DB_WRITE);
    OK(db_exec(d, "PRAGMA user_version = 99", e));
    db_close(d);
    d = NULL;
    FAILS(db_open(t_home, DB_WRITE, &d, e), ERR_INPUT, "schema version 99, made by dugout");
    FAILS(db_open(t_home, DB_READ, &d, e), ERR_INPUT, "use the newer dugout");
    home_remove();
}

static void a_damaged_page_is_reported_as_damage(void)
{
    AUTO_FREE char *path = NULL;
    struct db *d;
    char junk[4096];
    int fd;

    home_make();
    path = in_home(DB_FILE);
    d = home_open(DB_WRITE);
    a_run(d, uuid1, "r", "p");
    OK(db_exec(d, "PRAGMA wal_checkpoint(TRUNCATE)", e));
    db_close(d);

    memset(junk, 0x5a, sizeof(junk));
    fd = open(path, O_WRONLY | O_CLOEXEC);
    for (int page = 30; page < 40; page++)
        must(pwrite(fd, junk, sizeof(junk), 4096 * page) == sizeof(junk));
    d = home_open(DB_READ);
    FAILS(db_check(d, true, e), ERR_CORRUPT, "damaged");
    db_close(d);
    d = NULL;

    for (int page = 1; page < 30; page++) /* the schema too */
        must(pwrite(fd, junk, sizeof(junk), 4096 * page) == sizeof(junk));
    FAILS(db_open(t_home, DB_READ, &d, e), ERR_CORRUPT, "damaged");
    (void)close(fd);
    home_remove();
}

static void a_row_that_points_at_nothing_is_found(void)
{
    struct db *d;

    home_make();
    d = home_open(DB_ENGINE);
    OK(db_check(d, true, e));
    OK(db_exec(d, "INSERT INTO event VALUES (1, 2, 'x', 0, 3)", e));
    OK(db_check(d, false, e));
    FAILS(db_check(d, true, e), ERR_CORRUPT, "event row 0 points at nothing");
    db_close(d);
    home_remove();
}

static void migrations_run_once_each_and_in_order(void)
{
    static const char one[] =
        "-- migration 1\nPRAGMA application_id = 0x6475676f;\n"
        "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT) STRICT;\n"
        "CREATE TABLE log (n INTEGER);\nINSERT INTO log VALUES (1);\n";
    static const char later[] = "-- migration 2\nINSERT INTO log VALUES (2);\n"
                                "-- migration 3\nINSERT INTO log VALUES (3);\n";
    static const char broken[] = "-- migration 4\nINSERT INTO log VALUES (4);\n"
                                 "INSERT INTO nowhere VALUES (1);\n";
    AUTO_FREE char *two = xasprintf("%s%s", one, later);
    AUTO_FREE char *three = xasprintf("%s%s%s", one, later, broken);
    struct db d = {.wlock_fd = -1, .sync = -1, .writable = true, .pid = (int)getpid()};

    CHECK_INT(schema_latest(""), 0);
    CHECK_INT(schema_latest(one), 1);
    CHECK_INT(schema_latest(two), 3);

    home_make();
    d.path = in_home("m.db");
    d.wlock_path = in_home("m.lock");
    must(sqlite3_open(d.path, &d.sql) == SQLITE_OK);
    OK(schema_migrate(&d, one, e));
    CHECK_INT(sql_i64(&d, "SELECT group_concat(n, '') FROM log"), 1);
    OK(schema_migrate(&d, two, e));
    OK(schema_migrate(&d, two, e));
    CHECK_INT(sql_i64(&d, "SELECT group_concat(n, '') FROM log"), 123);
    CHECK_INT(sql_i64(&d, "SELECT length(value) FROM meta"), 36);

    FAILS(schema_migrate(&d, three, e), ERR_INPUT, "to version 4");
    CHECK_INT(sql_i64(&d, "SELECT group_concat(n, '') FROM log"), 123); /* undone */
    CHECK_INT(sql_i64(&d, "PRAGMA user_version"), 3);

    d.writable = false;
    FAILS(schema_migrate(&d, three, e), ERR_INPUT, "as its owner");
    for (size_t i = 0; i < DB_STATEMENTS; i++)
        (void)sqlite3_finalize(d.slots[i].st);
    (void)sqlite3_close_v2(d.sql);
    (void)close(d.wlock_fd);
    free(d.path);
    free(d.wlock_path);
    home_remove();
}

static void what_is_rolled_back_is_gone(void)
{
    struct db *d;
    int64_t id;

    home_make();
    d = home_open(DB_ENGINE);
    {
        AUTO_TXN struct db *txn = d;
        OK(db_begin(d, DB_DURABLE, e));
        id = a_run(d, uuid1, "r", "p");
        CHECK(id > 0);
    } /* leaves without commit */
    CHECK(!d->in_txn);
    CHECK_INT(sql_i64(d, "SELECT count(*) FROM run"), 0);
    OK(db_begin(d, DB_DURABLE, e)); /* and the next one can begin */
    OK(db_commit(d, e));
    CHECK_INT(sql_i64(d, "SELECT count(*) FROM run"), 0);
    db_close(d);
    home_remove();
}

static int write_and_hang(int fd)
{
    struct db *d = NULL;
    struct err e;
    int64_t id;

    if (db_open(t_home, DB_ENGINE, &d, &e) < 0 || db_begin(d, DB_DURABLE, &e) < 0 ||
        db_run_create(d,
                      &(struct db_run_new){.uuid = str_of(uuid1),
                                           .name = STR("r"),
                                           .pipeline = STR("p"),
                                           .state = DB_RUNNING},
                      &id, &e) < 0)
        return 1;
    (void)!write(fd, "x", 1);
    for (;;)
        pause();
}

static void kill_9_in_mid_transaction_leaves_nothing_and_no_lock(void)
{
    struct db *d;
    int pipe_fds[2];
    pid_t pid;
    char c;

    home_make();
    must(pipe2(pipe_fds, O_CLOEXEC) == 0);
    pid = in_child(write_and_hang, pipe_fds[1]);
    must(read(pipe_fds[0], &c, 1) == 1);
    must(kill(pid, SIGKILL) == 0);
    CHECK_INT(status_of(pid), 128 + SIGKILL);

    d = home_open(DB_WRITE);
    CHECK_INT(sql_i64(d, "SELECT count(*) FROM run"), 0);
    CHECK(a_run(d, uuid1, "r", "p") > 0); /* the queue is free */
    OK(db_check(d, true, e));
    db_close(d);
    (void)close(pipe_fds[0]);
    (void)close(pipe_fds[1]);
    home_remove();
}

#define WRITERS 6
#define WRITES 60

static int count_up(int nth)
{
    struct db *d = NULL;
    struct err e;

    (void)nth;
    if (db_open(t_home, DB_WRITE, &d, &e) < 0) /* all of them also race to make it */
        return 1;
    for (int i = 0; i < WRITES; i++) {
        if (db_begin(d, DB_PROGRESS, &e) < 0 ||
            db_exec(d,
                    "INSERT INTO meta VALUES ('n', '1')"
                    " ON CONFLICT DO UPDATE SET value = value + 1",
                    &e) < 0 ||
            db_commit(d, &e) < 0) {
            printf("writer: %s\n", e.text);
            return 2;
        }
    }
    db_close(d);
    return 0;
}

static void many_writers_wait_for_each_other(void)
{
    pid_t pids[WRITERS];
    struct db *d;

    home_make();
    for (int i = 0; i < WRITERS; i++)
        pids[i] = in_child(count_up, i);
    for (int i = 0; i < WRITERS; i++)
        CHECK_INT(status_of(pids[i]), 0);
    d = home_open(DB_READ);
    CHECK_INT(sql_i64(d, "SELECT value + 0 FROM meta WHERE key = 'n'"),
              WRITERS * WRITES);
    db_close(d);
    home_remove();
}

/* As somebody who may read but not write: another user when we are root, else the same
 * one without write permission. */
static int read_without_write_access(int want_runs)
{
    struct db *d = NULL;
    struct err e;
    int64_t n;

    if (getuid() == 0 && (setgid(65534) < 0 || setuid(65534) < 0))
        return 1;
    if (db_open(t_home, DB_READ, &d, &e) < 0) {
        printf("reader: %s\n", e.text);
        return 2;
    }
    n = sql_i64(d, "SELECT count(*) FROM run");
    db_close(d);
    if (n != want_runs)
        return 3;
    return db_open(t_home, DB_WRITE, &d, &e) == 0 || e.code != ERR_SYS ? 4 : 0;
}

static void mode_of_all(mode_t files, mode_t dir)
{
    static const char *const names[] = {DB_FILE, DB_FILE "-wal", DB_FILE "-shm",
                                        DB_WLOCK_FILE};

    for (size_t i = 0; i < N_ELEMS(names); i++) {
        AUTO_FREE char *path = in_home(names[i]);
        (void)chmod(path, files);
    }
    must(chmod(t_home, dir) == 0);
}

static void a_reader_needs_no_write_access(void)
{
    AUTO_FREE char *wal = NULL, *shm = NULL;
    struct db *d;

    home_make();
    wal = in_home(DB_FILE "-wal");
    shm = in_home(DB_FILE "-shm");
    d = home_open(DB_ENGINE);
    a_run(d, uuid1, "r", "p");

    mode_of_all(0444, 0555); /* beside a living writer */
    CHECK_INT(status_of(in_child(read_without_write_access, 1)), 0);
    mode_of_all(0644, 0755);
    db_close(d);
    CHECK_INT(access(wal, F_OK), 0); /* they stay for readers */
    CHECK_INT(access(shm, F_OK), 0);

    mode_of_all(0444, 0555); /* after the last writer */
    CHECK_INT(status_of(in_child(read_without_write_access, 1)), 0);
    mode_of_all(0644, 0755);

    d = home_open(DB_WRITE); /* a copy of the file alone, on read-only media */
    OK(db_exec(d, "PRAGMA wal_checkpoint(TRUNCATE)", e));
    db_close(d);
    must(unlink(wal) == 0 && unlink(shm) == 0);
    mode_of_all(0444, 0555);
    CHECK_INT(status_of(in_child(read_without_write_access, 1)), 0);
    mode_of_all(0644, 0755);
    home_remove();
}

static void files_are_for_the_group_when_the_home_is(void)
{
    static const struct row {
        mode_t home, file;
    } rows[] = {{0750, 0640}, {0700, 0600}, {0755, 0640}};
    struct stat st;

    for (size_t i = 0; i < N_ELEMS(rows); i++) {
        AUTO_FREE char *path = NULL;
        mode_t mask = umask(077);
        home_make();
        must(chmod(t_home, rows[i].home) == 0);
        db_close(home_open(DB_WRITE));
        (void)umask(mask);
        path = in_home(DB_FILE);
        must(stat(path, &st) == 0);
        CHECK_INT(st.st_mode & 0777, rows[i].file);
        home_remove();
    }
}

static void a_reader_sees_one_state_until_it_ends(void)
{
    struct db *w, *r;

    home_make();
    w = home_open(DB_WRITE);
    r = home_open(DB_READ);
    OK(db_read_begin(r, e));
    CHECK_INT(sql_i64(r, "SELECT count(*) FROM run"), 0);
    a_run(w, uuid1, "r", "p");
    CHECK_INT(sql_i64(r, "SELECT count(*) FROM run"), 0);
    db_read_end(r);
    CHECK_INT(sql_i64(r, "SELECT count(*) FROM run"), 1);
    FAILS(db_begin(r, DB_DURABLE, e), ERR_SYS, "write to");
    db_checkpoint(w);
    db_close(r);
    db_close(w);
    home_remove();
}

static void no_descriptor_of_the_database_survives_an_exec(void)
{
    struct db *d;
    char path[64], target[256];
    int seen = 0;

    home_make();
    d = home_open(DB_ENGINE);
    a_run(d, uuid1, "r", "p");
    for (int fd = 3; fd < 64; fd++) {
        ssize_t n;
        (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        n = readlink(path, target, sizeof(target) - 1);
        if (n < 0)
            continue;
        target[n] = '\0';
        if (!strstr(target, t_home))
            continue;
        seen++;
        CHECK(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    }
    CHECK(seen >= 3);
    db_close(d);
    home_remove();
}

static void a_home_with_odd_characters_or_too_long_a_path(void)
{
    AUTO_FREE char *odd = NULL, *path = NULL;
    char longer[600];
    struct db *d = NULL;

    home_make();
    odd = in_home("a b?c#d%20e");
    must(mkdir(odd, 0700) == 0);
    OK(db_open(odd, DB_WRITE, &d, e));
    OK(db_exec(d, "PRAGMA wal_checkpoint(TRUNCATE)", e));
    db_close(d);
    d = NULL;
    OK(db_open(odd, DB_READ, &d, e));
    db_close(d);

    memset(longer, 'x', sizeof(longer));
    longer[0] = '/';
    longer[sizeof(longer) - 1] = '\0';
    FAILS(db_open(longer, DB_WRITE, &d, e), ERR_LIMIT, "490");
    home_remove();
}

int main(void)
{
    a_new_home_gets_a_database_with_an_identity();
    settings_are_those_of_the_reference();
    the_kind_of_commit_chooses_the_sync_level();
    reading_an_empty_home_says_so_and_makes_nothing();
    what_is_no_database_is_refused_and_left_alone();
    another_programs_database_is_refused_before_any_write();
    a_newer_schema_is_refused_with_both_numbers();
    a_damaged_page_is_reported_as_damage();
    a_row_that_points_at_nothing_is_found();
    migrations_run_once_each_and_in_order();
    what_is_rolled_back_is_gone();
    kill_9_in_mid_transaction_leaves_nothing_and_no_lock();
    many_writers_wait_for_each_other();
    a_reader_needs_no_write_access();
    files_are_for_the_group_when_the_home_is();
    a_reader_sees_one_state_until_it_ends();
    no_descriptor_of_the_database_survives_an_exec();
    a_home_with_odd_characters_or_too_long_a_path();
    return t_end();
}
