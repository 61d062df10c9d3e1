/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_backup.c - a consistent copy of a home beside running pipelines, and the way back
 *
 *   backup   no gc meanwhile ─ snapshot of the database into DIR/tmp ─ what it names, into DIR ─
 *            everything durable ─ the snapshot becomes DIR/dugout.db ─ backup.json
 *   restore  DIR/backup.json fits, the home has no database ─ DIR/dugout.db is whole ─ what it names,
 *            hashed on the way ─ layers unpacked from their archives ─ dugout.db, last
 *
 * The snapshot is taken first and what it names is durable by the store's own rule and cannot be
 * swept while we hold gc off, so whatever runs may go on. A backup that ends early leaves DIR with
 * the database of the one before, and all that names. A copy of a living home by other means has
 * neither: its database is torn, or names what was swept before the copy came to it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/limits.h"
#include "base/log.h"
#include "cli/carry.h"
#include "cli/label.h"
#include "image/image.h"
#include "lineage/images.h"
#include "store/gc.h"

static int print_carry(struct cli *c, const struct carry *x, const char *verb, const char *dir)
{
    AUTO_BUF struct buf out = {0};
    struct jw w;
    char size[24];

    for (size_t i = 0; i < x->n_damage; i++)
        log_note("%s", x->damage[i]);
    if (c->json) {
        buf_init(&out, 0);
        jw_init(&w, &out);
        jw_obj(&w);
        jw_ki64(&w, "copied", (int64_t)x->copied);
        jw_ki64(&w, "copied_bytes", (int64_t)x->copied_bytes);
        jw_ki64(&w, "there", (int64_t)x->there);
        jw_ki64(&w, "damage", (int64_t)x->n_damage);
        jw_end_obj(&w);
        cli_out_json(&out);
        return x->n_damage ? 4 : 0;
    }
    size_human(x->copied_bytes, size);
    (void)printf("%s %s: %llu contents, %s; %llu were there already%s\n", verb, dir,
                 (unsigned long long)x->copied, size, (unsigned long long)x->there,
                 x->n_damage ? "; some are damaged or missing, see above" : "");
    return x->n_damage ? 4 : 0;
}

/* ---- backup ------------------------------------------------------------------------------------------ */

/* Is the open directory home, or below it? By their inodes: links and bind mounts tell no lies. */
static bool lies_within(int dir, int home)
{
    AUTO_FD int at = fcntl(dir, F_DUPFD_CLOEXEC, 0);
    struct stat want, here, before = {0};

    if (at < 0 || fstat(home, &want) < 0)
        return false;
    while (fstat(at, &here) == 0) {
        int up;
        if (here.st_dev == want.st_dev && here.st_ino == want.st_ino)
            return true;
        if (here.st_dev == before.st_dev && here.st_ino == before.st_ino)
            return false; /* the root is its own parent */
        before = here;
        up = openat(at, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (up < 0)
            return false;
        (void)close(at);
        at = up;
    }
    return false;
}

/* the directory itself, or what is there of the way to it */
static int open_nearest(struct cli *c, const char *dir)
{
    char *path = arena_strdup(&c->a, dir);
    char *slash;
    int fd;

    while ((fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC)) < 0 && errno == ENOENT &&
           (slash = strrchr(path, '/')) && slash != path)
        *slash = '\0';
    return fd < 0 && errno == ENOENT ? open(dir[0] == '/' ? "/" : ".", O_PATH | O_CLOEXEC) : fd;
}

static int open_target(struct cli *c, const char *dir, struct store **to, struct err *e)
{
    AUTO_FD int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    AUTO_FD int near = open_nearest(c, dir);
    struct label label;
    bool there = fd >= 0 && label_read(fd, dir, &label, e) == 0;
    char uuid[37];

    if (fd >= 0 && !there && e->code != ERR_MISSING)
        return -1;
    if (near >= 0 && lies_within(near, store_home_fd(c->store)))
        return err_set(e, ERR_INPUT,
                       "%s lies in the home that it would be a backup of, and would go with it: name "
                       "a directory elsewhere, on another disk if there is one",
                       dir);
    if (!there && fd_has_entries(AT_FDCWD, dir) && faccessat(fd, "tmp/backup", F_OK, 0) < 0)
        return err_set(e, ERR_INPUT, "%s is neither empty nor a backup: name another directory",
                       dir);
    if (db_uuid(c->db, uuid, e) < 0)
        return -1;
    if (there && strcmp(uuid, label.uuid) != 0)
        return err_set(e, ERR_INPUT, "%s is the backup of another home (%s): name another "
                                     "directory",
                       dir, label.uuid);
    return store_open(dir, to, e);
}

static int copy_home(struct cli *c, struct carry *x, struct err *e)
{
    const char *to = store_home(x->to);
    const char *half = arena_printf(&c->a, "%s/tmp/backup", to);
    const char *file = arena_printf(&c->a, "%s/%s", half, DB_FILE);
    AUTO_DB struct db *snapshot = NULL;
    struct label label = {.created_unix_ms = clock_unix_ms()};

    if (fd_mkdirs(AT_FDCWD, half, 0700, e) < 0 || db_snapshot(c->db, file, e) < 0 ||
        db_open(half, DB_READ, &snapshot, e) < 0 || db_uuid(snapshot, label.uuid, e) < 0 ||
        carry_contents(x, snapshot, e) < 0 || carry_runs(x, snapshot, e) < 0)
        return -1;
    if (rename(file, arena_printf(&c->a, "%s/%s", to, DB_FILE)) < 0)
        return err_sys(e, errno, "put %s/%s in place", to, DB_FILE);
    if (fsync(store_home_fd(x->to)) < 0)
        return err_sys(e, errno, "make %s durable", to);
    return label_write(store_home_fd(x->to), &label,
                       &(struct label_notes){c->home, x->damage, x->n_damage}, e);
}

/* what was written to is full, and not the home that the error speaks of */
static int full(const char *dir, const struct carry *x, const char *verb, struct err *e)
{
    char size[24];

    if (!err_is_full(e))
        return -1;
    size_human(x->copied_bytes, size);
    return err_sys(e, e->sys,
                   "%s is full after %s: make room there and run dugout %s again, which goes on where "
                   "it stopped%s",
                   dir, size, verb,
                   strcmp(verb, "backup") == 0 ? " (a backup that was there before is still whole)"
                                               : "");
}

int cmd_backup(struct cli *c)
{
    AUTO_STORE struct store *to = NULL;
    AUTO_FD int one = -1;
    AUTO_FD int target = -1;
    struct carry x = {.a = &c->a};
    struct err e = {0};

    if (cli_open(c, DB_WRITE, &e) < 0 || open_target(c, c->args[0], &to, &e) < 0 ||
        gc_enter(c->store, &one, &e) < 0 || gc_enter(to, &target, &e) < 0)
        return cli_fail(&e);
    x.from = c->store;
    x.to = to;
    if (copy_home(c, &x, &e) < 0) {
        full(c->args[0], &x, "backup", &e);
        return cli_fail(&e);
    }
    return print_carry(c, &x, "backed up to", c->args[0]);
}

/* ---- restore -------------------------------------------------------------------------------------------- */

/* unpack what the archives among the blobs hold: an image goes out as a layout and comes in again */
static int unpack_image(struct cli *c, const struct db_image *x, const char *tmp, struct err *e)
{
    const char *dir = arena_printf(&c->a, "%s/%.12s", tmp, x->config_hex);
    struct image_export_opts out = {.format = IMAGE_OCI_DIR};
    struct image_load_opts in = {.platform = NULL};
    AUTO_IMAGES struct image_list list = {.n = 0};
    struct image image;
    struct err ignored;

    if (image_open_in(&c->a, c->store, x->config_hex, &image, &ignored) == 0)
        return 0; /* an earlier restore got this far */
    if (image_export(c->store, x->config_hex, x->manifest_hex[0] ? x->manifest_hex : NULL, dir, &out,
                     e) < 0)
        return -1;
    if (x->os.len && x->arch.len)
        in.platform = arena_printf(&c->a, "%.*s/%.*s", STR_ARG(x->os), STR_ARG(x->arch));
    if (image_load(c->store, dir, &in, &list, e) < 0)
        return -1;
    return fd_remove_tree(AT_FDCWD, dir, e);
}

static int unpack_images(struct cli *c, struct db *d, struct carry *x, struct err *e)
{
    char tmp[STORE_TMP_NAME];
    AUTO_FD int lock = -1;
    struct db_image *rows;
    struct err why;
    size_t n;

    if (db_images_in(&c->a, d, &rows, &n, e) < 0 ||
        store_tmp_dir(c->store, "restore", tmp, &lock, e) < 0)
        return -1;
    for (size_t i = 0; i < n; i++) {
        why = (struct err){0};
        if (unpack_image(c, &rows[i], arena_printf(&c->a, "%s/tmp/%s", c->home, tmp), &why) == 0)
            continue;
        if (err_is_full(&why))
            return *e = why, -1;
        x->damage = arena_grow(&c->a, x->damage, &x->n_damage, sizeof *x->damage);
        x->damage[x->n_damage - 1] =
            arena_printf(&c->a, "image %s: %s: load it again",
                         rows[i].n_names ? rows[i].names[0].ptr : rows[i].config_hex, why.text);
    }
    return store_drop(c->store, store_dir_fd(c->store, STORE_TMP), tmp, e);
}

/* Through SQLite every page is read: what is damaged is found before anything is copied. */
static int open_record(const char *dir, struct db **gives, struct err *e)
{
    AUTO_DB struct db *d = NULL;

    if (db_open(dir, DB_OLD, &d, e) < 0 || db_check(d, true, e) < 0)
        return err_at(e, "the backup %s cannot be used, take another", dir);
    *gives = d;
    d = NULL;
    return 0;
}

static int copy_database(struct cli *c, const char *dir, struct err *e)
{
    const char *from = arena_printf(&c->a, "%s/%s", dir, DB_FILE);
    AUTO_DB struct db *d = NULL;

    if (db_open(dir, DB_OLD, &d, e) < 0)
        return err_at(e, "%s", from);
    return db_snapshot(d, arena_printf(&c->a, "%s/%s", c->home, DB_FILE), e);
}

static int restore(struct cli *c, const char *dir, struct carry *x, struct err *e)
{
    AUTO_DB struct db *d = NULL;
    AUTO_FD int one = -1;

    if (access(arena_printf(&c->a, "%s/%s", c->home, DB_FILE), F_OK) == 0)
        return err_set(e, ERR_INPUT, "%s has a database already: restore into a home of its own "
                                     "(--home DIR)",
                       c->home);
    if (store_open(c->home, &c->store, e) < 0 || gc_enter(c->store, &one, e) < 0 ||
        open_record(dir, &d, e) < 0)
        return -1;
    x->to = c->store;
    if (carry_contents(x, d, e) < 0 || carry_runs(x, d, e) < 0 || unpack_images(c, d, x, e) < 0 ||
        store_sync(c->store, e) < 0)
        return -1;
    return copy_database(c, dir, e);
}

static int check_only(const char *dir, struct carry *x, struct err *e)
{
    AUTO_DB struct db *d = NULL;

    return open_record(dir, &d, e) < 0 ? -1 : carry_contents(x, d, e);
}

int cmd_restore(struct cli *c)
{
    const char *dir = c->args[0];
    AUTO_STORE struct store *from = NULL;
    AUTO_FD int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct carry x = {.a = &c->a};
    bool check = opt_flag(c, "check");
    struct label label;
    struct err e = {0};

    if (fd < 0) {
        (void)err_set(&e, ERR_MISSING, "%s is not there or no directory", dir);
        return cli_fail(&e);
    }
    if (cli_config(c, &e) < 0)
        return cli_fail(&e);
    if (label_read(fd, dir, &label, &e) < 0) {
        if (e.code == ERR_MISSING)
            (void)err_set(&e, ERR_INPUT, "%s has no %s: it is no backup, or one that never ended",
                          dir, LABEL_FILE);
        return cli_fail(&e);
    }
    if (store_open(dir, &from, &e) < 0)
        return cli_fail(&e);
    x.from = from;
    if ((check ? check_only(dir, &x, &e) : restore(c, dir, &x, &e)) < 0) {
        full(c->home, &x, "restore", &e);
        return cli_fail(&e);
    }
    if (x.n_damage)
        log_note("while the home is there: remove what is damaged from %s/store/blobs/sha256 or "
                 "%s/checkouts, and dugout backup %s copies it again",
                 dir, dir, dir);
    return print_carry(c, &x, check ? "read and right in" : "restored from", dir);
}
