/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_migrate.c - an older database is brought up to date, once, with a way back
 *
 * Under a lock of its own: look at the version again, make sure that nothing of the home runs (a
 * living engine of the older dugout would write rows that the new schema does not expect), copy
 * the file, then let lineage/ apply what is missing. A crash in between leaves the old version or
 * a later one, each complete, and the copy.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "cli/cli.h"

static int keep_copy(struct cli *c, int version, struct err *e)
{
    const char *path = arena_printf(&c->a, "%s/%s.v%d", c->home, DB_FILE, version);
    AUTO_DB struct db *d = NULL;

    if (access(path, F_OK) == 0) /* of an attempt that ended early, or put back by hand */
        path = arena_printf(&c->a, "%s.%d", path, (int)getpid());
    if (db_open(c->home, DB_OLD, &d, e) < 0 || db_snapshot(d, path, e) < 0)
        return err_at(e, "the copy to make before migrating");
    cli_note("the database of before is kept as %s", path);
    return 0;
}

int cli_migrate(struct cli *c, int *from, struct err *e)
{
    AUTO_DB struct db *d = NULL;
    AUTO_FD int lock = -1;
    char run[37];
    size_t n;

    if (db_file_version(c->home, from, e) < 0)
        return -1;
    if (!*from || *from == db_schema_version())
        return 0;
    if (store_lock(c->store, "migrate", LOCK_EX, &lock, e) < 0 ||
        db_file_version(c->home, from, e) < 0)
        return -1;
    if (*from == db_schema_version())
        return 0;
    n = run_count_alive(c->home, run);
    if (n)
        return err_set(e, ERR_BUSY,
                       "%s/%s has schema version %d, wants %d, and is not migrated while %zu "
                       "run%s (%s ...): let them end, or cancel them with the dugout that "
                       "started them",
                       c->home, DB_FILE, *from, db_schema_version(), n, n == 1 ? "" : "s", run);
    if (keep_copy(c, *from, e) < 0 || db_open(c->home, DB_MIGRATE, &d, e) < 0)
        return -1;
    cli_note("the database went from schema version %d to %d", *from, db_schema_version());
    return 0;
}

int cmd_migrate(struct cli *c)
{
    struct err e = {0};
    int from;

    if (cli_config(c, &e) < 0)
        return cli_fail(&e);
    if (access(c->home, F_OK) < 0 && errno == ENOENT) {
        (void)err_set(&e, ERR_MISSING, "there is no home %s", c->home);
        return cli_fail(&e);
    }
    if (store_open(c->home, &c->store, &e) < 0 || cli_migrate(c, &from, &e) < 0)
        return cli_fail(&e);
    if (c->json)
        (void)printf("{\"from\":%d,\"to\":%d}\n", from, db_schema_version());
    else if (from == db_schema_version())
        (void)printf("nothing to do: the schema version is %d\n", from);
    else if (!from)
        (void)printf("nothing to do: there is no database yet\n");
    return 0;
}
