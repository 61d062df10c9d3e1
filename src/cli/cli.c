/* SPDX-License-Identifier: Apache-2.0 */
/* cli.c - what every command begins and ends with: home, store, database, errors, tables */
#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/limits.h"
#include "base/log.h"
#include "box/box.h"
#include "cli/label.h"
#include "lineage/images.h"

#define ONE_PAGE 4096 /* of SQLite: no schema fits */

int cli_fail(const struct err *e)
{
    AUTO_BUF struct buf line = {0}; /* one write, also past --quiet */

    buf_init(&line, 0);
    buf_addf(&line, "dugout: %s\n", e->text);
    (void)fflush(stdout);
    (void)!write(2, line.ptr, line.len);
    return err_exit(e);
}

void cli_out_json(const struct buf *b)
{
    (void)fwrite(buf_str(b), 1, b->len, stdout);
    (void)fputc('\n', stdout);
}

/* Several hosts may share it, and our locks may not hold between them. */
static int refuse_network(struct cli *c, struct err *e)
{
    const char *kind = store_network_name(c->home);

    if (!kind || c->cfg.network_home)
        return 0;
    return err_set(e, ERR_INPUT,
                   "%s is on %s, where the database of a home is not safe: put the home on a local "
                   "disk (--home, DUGOUT_HOME), or set network_home: true in /etc/dugout/config.yaml "
                   "or in its own config.yaml when no other host uses it",
                   c->home, kind);
}

static off_t size_of(int dir, const char *name)
{
    struct stat st;

    return fstatat(dir, name, &st, 0) == 0 ? st.st_size : 0;
}

/* A database made anew would hide the loss, and to the next gc all content would be named by
 * nothing. A page, with the rest still in the WAL, is there before the first content is. */
static int refuse_lost_record(struct cli *c, struct err *e)
{
    int home = store_home_fd(c->store);
    off_t size = size_of(home, DB_FILE);

    if (size > ONE_PAGE || (size > 0 && size_of(home, DB_FILE "-wal") > 0) ||
        (!fd_has_entries(home, "store/blobs/sha256") && !fd_has_entries(home, "checkouts") &&
         !fd_has_entries(home, "runs")))
        return 0;
    return err_set(e, ERR_CORRUPT,
                   "%s has content, and its " DB_FILE " is gone or empty: put the file back, or "
                   "make a new home of a backup (dugout --home NEW restore DIR; after a restore that "
                   "broke off, run it again); to begin anew, move %s away",
                   c->home, c->home);
}

/* A backup looks like a home. It can be asked; what is written into it would be lost with the next
 * backup, and gc would take from it what only the lost home had. */
static bool is_backup(struct cli *c)
{
    return access(arena_printf(&c->a, "%s/" LABEL_FILE, c->home), F_OK) == 0;
}

/* *mode becomes what the home can be opened for */
static int open_store(struct cli *c, enum db_mode *mode, struct err *e)
{
    bool backup;

    if (cli_config(c, e) < 0)
        return -1;
    backup = is_backup(c);
    if (backup && *mode != DB_READ)
        return err_set(e, ERR_INPUT, "%s is a backup and no home: dugout --home NEW restore %s makes one",
                       c->home, c->home);
    if (!backup && *mode == DB_READ && access(c->home, F_OK) == 0 && access(c->home, W_OK) == 0)
        *mode = DB_WRITE; /* reconcile first: no run stays RUNNING for ever */
    if (*mode != DB_READ && refuse_network(c, e) < 0)
        return -1;
    if (*mode == DB_READ && access(c->home, F_OK) < 0)
        *mode = DB_WRITE;
    if (store_open(c->home, &c->store, e) < 0 || refuse_lost_record(c, e) < 0)
        return -1;
    store_set_remove(c->store, box_remove_tree);
    return *mode == DB_READ ? 0 : store_probe(c->store, e);
}

static int open_database(struct cli *c, enum db_mode mode, struct err *e)
{
    struct run_env env;
    int from;

    if (c->may_migrate && cli_migrate(c, &from, e) < 0)
        return -1;
    if (db_open(c->home, mode, &c->db, e) < 0)
        return -1;
    if (!db_is_writable(c->db))
        return 0;
    env = cli_run_env(c);
    return run_reconcile(&env, NULL, e);
}

int cli_open(struct cli *c, enum db_mode mode, struct err *e)
{
    return open_store(c, &mode, e) < 0 ? -1 : open_database(c, mode, e);
}

int cli_open_for_image(struct cli *c, const char *what, char hex[DIGEST_HEX], struct err *e)
{
    enum db_mode mode = DB_READ;
    struct db_image row;

    if (open_store(c, &mode, e) < 0)
        return -1;
    if (cli_image_kept(c, what, hex))
        return 0;
    if (open_database(c, mode, e) < 0 || cli_find_image(c, what, &row, e) < 0)
        return -1;
    memcpy(hex, row.config_hex, DIGEST_HEX);
    return 0;
}

int cli_open_to_store(struct cli *c, struct err *e)
{
    AUTO_BUF struct buf notices = {0};
    struct run_env env;

    buf_init(&notices, 0);
    if (cli_open(c, DB_WRITE, e) < 0)
        return -1;
    env = cli_run_env(c);
    if (run_space_check(&env, &c->cfg.run, (struct str){"", 0}, &notices, e) < 0)
        return -1;
    if (notices.len)
        log_note("%.*s", (int)notices.len - 1, notices.ptr); /* but for the last newline */
    return 0;
}

struct run_env cli_run_env(struct cli *c)
{
    return (struct run_env){
        .home = c->home, .store = c->store, .db = c->db, .spawner = c->spawner,
        .hook_interrupted = c->cfg.run.hook_interrupted};
}

void cli_close(struct cli *c)
{
    db_close(c->db);
    store_close(c->store);
    c->db = NULL;
    c->store = NULL;
    if (c->spawner >= 0)
        (void)close(c->spawner);
    arena_done(&c->a);
}

int64_t cli_one_more(uint64_t limit)
{
    return limit && limit < INT64_MAX ? (int64_t)limit + 1 : 0;
}

size_t cli_cut(size_t n, uint64_t limit)
{
    if (!limit || n <= limit)
        return n;
    log_note("these are %llu, and there are more: -n 0 shows all", (unsigned long long)limit);
    return (size_t)limit;
}

/* ---- tables --------------------------------------------------------------------------------- */

void table_init(struct table *t, size_t n_cols, const char *const *heads)
{
    *t = (struct table){.n_cols = n_cols};
    for (size_t i = 0; i < n_cols; i++)
        table_add(t, heads[i]);
}

void table_add(struct table *t, const char *cell)
{
    AUTO_BUF struct buf plain = {0};

    if (t->n_cells == t->cap) {
        t->cap = t->cap ? t->cap * 2 : 64;
        t->cells = xrealloc(t->cells, t->cap * sizeof(*t->cells));
    }
    buf_add_plain(&plain, cell, strlen(cell));
    t->cells[t->n_cells++] = xstrdup(buf_str(&plain));
}

void table_addf(struct table *t, const char *fmt, ...)
{
    AUTO_BUF struct buf b = {0};
    va_list ap;

    buf_init(&b, 0);
    va_start(ap, fmt);
    buf_addvf(&b, fmt, ap);
    va_end(ap);
    table_add(t, buf_str(&b));
}

/* columns of text on a terminal: UTF-8 continuation bytes take no room */
static size_t width(const char *z)
{
    size_t n = 0;

    for (; *z; z++)
        n += ((unsigned char)*z & 0xc0) != 0x80;
    return n;
}

void table_print(struct table *t, FILE *to)
{
    AUTO_FREE size_t *w = xalloc((t->n_cols + 1) * sizeof *w);

    for (size_t i = 0; i < t->n_cells; i++)
        if (width(t->cells[i]) > w[i % t->n_cols])
            w[i % t->n_cols] = width(t->cells[i]);
    for (size_t i = 0; i < t->n_cells; i++) {
        size_t col = i % t->n_cols;
        bool last = col + 1 == t->n_cols;
        (void)fputs(t->cells[i], to);
        for (size_t k = width(t->cells[i]); !last && k < w[col] + 2; k++)
            (void)fputc(' ', to);
        if (last)
            (void)fputc('\n', to);
        free(t->cells[i]);
    }
    free(t->cells);
    *t = (struct table){0};
}

void cli_quote(FILE *to, const char *text)
{
    AUTO_BUF struct buf line = {0};

    for (const char *p = text; *p;) {
        size_t n = strcspn(p, "\n");
        buf_reset(&line);
        buf_add_plain(&line, p, n);
        (void)fprintf(to, "  | %s\n", buf_str(&line));
        p += n + (p[n] == '\n');
    }
}
