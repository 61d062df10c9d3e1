/* SPDX-License-Identifier: Apache-2.0 */
/* export.c - artifacts out of the store, to where others read them
 *
 * The copy is made beside its destination and renamed over it, so a server that reloads
 * a model sees the old one or the new one. With it may go PATH.provenance.json: what
 * the artifact is and all that it was made from, for whoever finds the file years
 * later. It is put in place first and names the digest, so a pair that a power cut left
 * half done can be told.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/limits.h"
#include "base/log.h"
#include "cli/cli.h"
#include "lineage/closure.h"
#include "lineage/revoke.h"
#include "store/hash.h"
#include "store/pack.h"
#include "store/tree.h"
#include "version.h"

static int content_gone(struct cli *c, const struct db_artifact *f, struct err *e)
{
    struct str run, task;
    long long id = f->id;

    if (db_artifact_maker_in(&c->a, c->db, f, &run, &task, e) < 0)
        return -1;
    if (run.len)
        return err_set(
            e, ERR_MISSING,
            "artifact a%lld is recorded, but its content is gone: dugout rerun %.*s "
            "makes it again (task %.*s), if it still has its inputs",
            id, STR_ARG(run), STR_ARG(task));
    return err_set(
        e, ERR_MISSING,
        "artifact a%lld is recorded, but its content is gone: it came from %.*s", id,
        STR_ARG(f->source.len ? f->source : STR("outside")));
}

int cli_artifact_path(struct cli *c, const struct db_artifact *f, char *path,
                      size_t size, struct err *e)
{
    if (str_eqz(f->kind, "dir"))
        return tree_checkout_path(c->store, f->digest_hex, path, size, e);
    if (!blob_has(c->store, f->digest_hex))
        return content_gone(c, f, e);
    return blob_path(c->store, f->digest_hex, path, size, e);
}

int cli_artifact_content(struct cli *c, const struct db_artifact *f, char *path,
                         size_t size, struct err *e)
{
    int pin; /* closed by our exit */

    if (str_eqz(f->kind, "dir") && tree_pin(c->store, f->digest_hex, &pin, e) < 0)
        return e->code == ERR_MISSING ? content_gone(c, f, e) : -1;
    return cli_artifact_path(c, f, path, size, e);
}

int cli_copy_fd(int from, int to, const char *hex, const char *what, struct err *e)
{
    AUTO_FREE char *chunk = xalloc(256 * KIB);
    struct sha256 sum;
    ssize_t n;

    sha256_init(&sum);
    while ((n = read(from, chunk, 256 * KIB)) > 0) {
        sha256_add(&sum, chunk, (size_t)n);
        if (fd_write_all(to, chunk, (size_t)n, e) < 0)
            return e->sys == EPIPE ? 0
                                   : err_at(e, "%s", what); /* head has seen enough */
    }
    return n < 0 ? err_sys(e, errno, "read %s", what) : blob_copied(&sum, hex, what, e);
}

#define PROVENANCE ".provenance.json"

struct exporting {
    struct cli *c;
    int dst_fd, src_fd;
};

static int export_entry(void *ctx, const struct tree_entry *t, struct err *e)
{
    struct exporting *x = ctx;
    char *path = arena_strndup(&x->c->a, t->path.ptr, t->path.len);
    AUTO_FD int from = -1;
    AUTO_FD int to = -1;

    switch (t->type) {
    case TREE_DIR:
        return fd_mkdirs(x->dst_fd, path, 0755, e);
    case TREE_LINK:
        if (symlinkat(arena_strndup(&x->c->a, t->target.ptr, t->target.len), x->dst_fd,
                      path) < 0)
            return err_sys(e, errno, "link %s", path);
        return 0;
    case TREE_FILE:
    case TREE_EXEC:
        from = fd_open_beneath(x->src_fd, path, O_RDONLY | O_NOFOLLOW, 0);
        to = fd_open_beneath(x->dst_fd, path, O_WRONLY | O_CREAT | O_EXCL,
                             t->type == TREE_EXEC ? 0755 : 0644);
        if (from < 0 || to < 0)
            return err_sys(e, errno, "copy %s", path);
        return cli_copy_fd(from, to, t->hex, path, e);
    }
    return 0;
}

static int export_dir(struct cli *c, const struct db_artifact *f, const char *src,
                      const char *tmp, struct err *e)
{
    AUTO_FD int from = open(src, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    AUTO_FD int to = -1;
    struct exporting x = {.c = c, .src_fd = from};

    if (mkdir(tmp, 0755) < 0)
        return err_sys(e, errno, "make %s", tmp);
    to = open(tmp, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    x.dst_fd = to;
    if (from < 0 || to < 0)
        return err_sys(e, errno, "open %s", tmp);
    return tree_walk(c->store, f->digest_hex, export_entry, &x, e);
}

static int export_file(const char *hex, const char *src, const char *tmp,
                       const char *dst, struct err *e)
{
    AUTO_FD int from = open(src, O_RDONLY | O_CLOEXEC);
    AUTO_FD int to = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

    if (from < 0 || to < 0)
        return err_sys(e, errno, "create %s", tmp);
    return cli_copy_fd(from, to, hex, dst, e);
}

static int sync_path(const char *path, struct err *e)
{
    AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || syncfs(fd) < 0)
        return err_sys(e, errno, "sync %s", path);
    return 0;
}

static int rename_as(const char *from, const char *to, unsigned flags)
{
    return (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, flags);
}

static bool is_dir(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static int not_over_a_dir(const char *dst, struct err *e)
{
    return err_set(e, ERR_INPUT,
                   "%s is a directory, and the artifact is a file: name a file in it",
                   dst);
}

/* A directory changes places with what is there. A file is renamed over a file, which
 * the kernel refuses where a directory is: who names the directory to write into loses
 * nothing. */
static int put_in_place(const char *tmp, const char *dst, bool dir, bool replace,
                        struct err *e)
{
    if (rename_as(tmp, dst, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno == EEXIST && !replace)
        return err_set(e, ERR_INPUT, "%s exists: choose another name, or --force", dst);
    if (errno == EEXIST && dir && rename_as(tmp, dst, RENAME_EXCHANGE) == 0)
        return fd_remove_tree(AT_FDCWD, tmp, e);
    if (rename(tmp, dst) == 0) /* also on a file system without those */
        return 0;
    return errno == EISDIR ? not_over_a_dir(dst, e) : err_sys(e, errno, "name %s", dst);
}

static int provenance_json(struct cli *c, int64_t id, struct buf *out, struct err *e)
{
    struct lineage_opts up = {.directions = DB_UP};
    struct lineage l;
    char when[25];
    struct jw w;

    if (db_lineage_in(&c->a, c->db, &id, 1, &up, &l, e) < 0)
        return -1;
    clock_rfc3339(clock_unix_ms(), when);
    jw_init(&w, out);
    jw_obj(&w);
    jw_ki64(&w, "version", 1);
    jw_kstr(&w, "exported", when);
    jw_kstr(&w, "dugout", DUGOUT_VERSION);
    jw_key(&w, "artifact");
    if (db_artifact_json(c->db, id, &w, e) < 0)
        return -1;
    jw_key(&w, "lineage");
    lineage_json(&l, &w);
    jw_end_obj(&w);
    buf_addc(out, '\n');
    return 0;
}

static int export_provenance(struct cli *c, int64_t id, const char *dst, struct err *e)
{
    char *name = arena_printf(&c->a, "%s" PROVENANCE, dst);
    AUTO_BUF struct buf text = {0};

    buf_init(&text, LIMIT_RESULT_BYTES);
    if (provenance_json(c, id, &text, e) < 0)
        return -1;
    return fd_write_file(AT_FDCWD, name, text.ptr, text.len, 0644, true, e);
}

/* Beside a directory that was exported lies what says so. */
static bool was_exported(const char *path)
{
    AUTO_FREE char *name = xasprintf("%s" PROVENANCE, path);

    return access(name, F_OK) == 0;
}

/* what would fail after an hour of training can be seen before it */
int cli_export_check(const struct export_to *to, struct err *e)
{
    AUTO_FREE char *dir = xstrdup(to->path);
    char *slash = strrchr(dir, '/');
    struct stat st;

    if (!to->path[0] || to->path[strlen(to->path) - 1] == '/')
        return err_set(e, ERR_INPUT, "\"%s\" is no name of a file", to->path);
    if (lstat(to->path, &st) == 0 && !to->replace)
        return err_set(e, ERR_INPUT, "%s exists: choose another name, or --force",
                       to->path);
    if (lstat(to->path, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode) &&
        !S_ISLNK(st.st_mode))
        return err_set(e, ERR_INPUT,
                       "%s is a device, pipe or socket: choose another name", to->path);
    if (to->own_dir_only && is_dir(to->path) && !was_exported(to->path))
        return err_set(
            e, ERR_INPUT,
            "%s is a directory that dugout did not export: name a file in it, or a "
            "directory that is not there yet",
            to->path);
    if (slash == dir)
        slash++;
    if (slash)
        *slash = '\0';
    if (access(slash ? dir : ".", W_OK | X_OK) < 0)
        return err_sys(e, errno, "write into the directory of %s", to->path);
    return 0;
}

/* What is removed in one step, and for good, is a directory that came from a store: by
 * what lies beside it, or by what is in it. Anything else may be somebody's only copy.
 */
static int may_replace_dir(struct cli *c, const char *path, struct err *e)
{
    char hex[DIGEST_HEX];
    int64_t known;
    bool dir;

    if (!is_dir(path) || was_exported(path) || !fd_has_entries(AT_FDCWD, path))
        return 0;
    if (hash_path(AT_FDCWD, path, hex, &dir, e) < 0 ||
        db_artifact_by_digest(c->db, str_of(hex), &known, e) < 0)
        return -1;
    return known ? 0
                 : err_set(e, ERR_INPUT,
                           "%s is a directory, and what is in it is no recorded "
                           "artifact: remove it "
                           "first, or name another",
                           path);
}

int cli_export(struct cli *c, int64_t id, const struct export_to *to, struct err *e)
{
    char *tmp = arena_printf(&c->a, "%s.dugout-%d", to->path, (int)getpid());
    char path[LIMIT_PATH_BYTES];
    struct db_artifact f;
    bool dir;
    int rc;

    if (cli_export_check(to, e) < 0 || db_artifact_get_in(&c->a, c->db, id, &f, e) < 0)
        return -1;
    if (!f.digest_hex[0])
        return err_set(e, ERR_INPUT,
                       "artifact a%lld is metadata only, it has no content",
                       (long long)id);
    dir = str_eqz(f.kind, "dir");
    if (!dir && is_dir(to->path))
        return not_over_a_dir(to->path, e);
    if (may_replace_dir(c, to->path, e) < 0)
        return -1;
    if (cli_artifact_content(c, &f, path, sizeof(path), e) < 0)
        return -1;
    rc = dir ? export_dir(c, &f, path, tmp, e)
             : export_file(f.digest_hex, path, tmp, to->path, e);
    if (rc == 0)
        rc = sync_path(tmp, e);
    if (rc == 0 && to->provenance)
        rc = export_provenance(c, id, to->path, e);
    if (rc == 0)
        rc = put_in_place(tmp, to->path, dir, to->replace, e);
    if (rc < 0)
        (void)fd_remove_tree(AT_FDCWD, tmp, &(struct err){0});
    return rc;
}
