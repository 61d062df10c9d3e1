/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_export.c - the record in the forms that other tools read
 *
 * A file appears under its name when it is whole, never half.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "cli/cli.h"
#include "lineage/export.h"
#include "lineage/query.h"

struct lines {
    FILE *to;
    const char *name;
    size_t n;
};

static int write_line(void *ctx, struct str line, struct err *e)
{
    struct lines *l = ctx;

    if (fwrite(line.ptr, 1, line.len, l->to) != line.len)
        return err_sys(e, errno, "write %s", l->name);
    l->n++;
    return 0;
}

static int write_lines(struct cli *c, struct lines *l, struct err *e)
{
    const char *only = opt_text(c, "run");
    int64_t run = 0;

    if (only && db_run_find(c->db, str_of(only), &run, e) < 0)
        return -1;
    if (db_export_openlineage(c->db, run, write_line, l, e) < 0)
        return -1;
    return fflush(l->to) == 0 ? 0 : err_sys(e, errno, "write %s", l->name);
}

static int write_lines_file(struct cli *c, const char *path, struct lines *l,
                            struct err *e)
{
    bool stream = fd_is_stream(path);
    const char *tmp =
        stream ? path : arena_printf(&c->a, "%s.dugout-%d", path, (int)getpid());
    int rc;

    l->to = fopen(tmp, stream ? "we" : "wxe");
    if (!l->to)
        return err_sys(e, errno, "create %s", tmp);
    rc = write_lines(c, l, e);
    if (fclose(l->to) != 0 && rc == 0)
        rc = err_sys(e, errno, "write %s", path);
    if (rc == 0 && !stream && rename(tmp, path) < 0)
        rc = err_sys(e, errno, "name %s", path);
    if (rc < 0 && !stream)
        (void)unlink(tmp);
    return rc;
}

int cmd_export_openlineage(struct cli *c)
{
    const char *path = c->args[0];
    bool to_stdout = strcmp(path, "-") == 0;
    struct lines l = {.to = stdout, .name = to_stdout ? "standard output" : path};
    struct err e = {0};

    if (cli_open(c, DB_READ, &e) < 0)
        return cli_fail(&e);
    if ((to_stdout ? write_lines(c, &l, &e) : write_lines_file(c, path, &l, &e)) < 0)
        return to_stdout && e.sys == EPIPE ? 0 : cli_fail(&e);
    if (!to_stdout)
        log_note("%s has %zu events", path, l.n);
    return 0;
}

int cmd_export_mlmd(struct cli *c)
{
    struct mlmd_done n;
    struct err e = {0};

    if (cli_open(c, DB_READ, &e) < 0 || db_export_mlmd(c->db, c->args[0], &n, &e) < 0)
        return cli_fail(&e);
    log_note("%s has %lld artifacts, %lld executions, %lld events", c->args[0],
             (long long)n.artifacts, (long long)n.executions, (long long)n.events);
    if (n.dropped)
        log_note("%lld properties were left out: ML Metadata holds no null and no name "
                 "over 255 "
                 "bytes",
                 (long long)n.dropped);
    return 0;
}
