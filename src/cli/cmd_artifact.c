/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_artifact.c - artifacts: list, show, cat, export, import, rm */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/limits.h"
#include "base/log.h"
#include "cli/cli.h"
#include "lineage/query.h"
#include "lineage/record.h"
#include "store/pack.h"
#include "store/tree.h"

#define SHORT 12

/* a path is looked up by what is in it: the answer never depends on a name */
static int find_by_content(struct cli *c, const char *path, int64_t *out, struct err *e)
{
    struct artifact f = {0};
    struct db_artifact_filter filter = {.limit = 1};
    struct db_artifact *rows;
    size_t n;

    if (cli_store_path(c, path, &f, e) < 0)
        return -1;
    filter.digest_hex = f.digest;
    if (db_artifacts_in(&c->a, c->db, &filter, &rows, &n, e) < 0)
        return -1;
    if (!n)
        return err_set(e, ERR_MISSING,
                       "%s (sha256:%.*s) is no recorded artifact: no run made or read these bytes",
                       path, SHORT, f.digest.ptr);
    *out = rows[0].id;
    return 0;
}

int cli_find_artifact(struct cli *c, const char *what, int64_t *out, struct err *e)
{
    if (what[0] == '/' || what[0] == '.')
        return access(what, F_OK) < 0 ? err_set(e, ERR_MISSING, "%s: %s", what, strerror(errno))
                                      : find_by_content(c, what, out, e);
    if (db_artifact_find(c->db, str_of(what), out, e) == 0)
        return 0;
    if (e->code == ERR_MISSING && access(what, F_OK) == 0)
        return find_by_content(c, what, out, e);
    return -1;
}

static void short_type(const struct db_artifact *f, struct table *t)
{
    table_addf(t, "%.*s", str_starts(f->type, "system.") ? (int)f->type.len - 7 : (int)f->type.len,
               f->type.ptr + (str_starts(f->type, "system.") ? 7 : 0));
}

int cmd_artifacts(struct cli *c)
{
    AUTO_BUF struct buf out = {0};
    const char *type = opt_text(c, "type"), *where = opt_text(c, "where"),
               *run = opt_text(c, "run");
    struct db_artifact_filter f = {.gone = opt_flag(c, "all"), .limit = 50};
    struct db_artifact *rows;
    struct err e = {0};
    uint64_t limit = 50;
    struct table t;
    struct jw w;
    size_t n;

    if (opt_u64(c, "limit", &limit, &e) < 0 || cli_open(c, DB_READ, &e) < 0)
        return cli_fail(&e);
    f.limit = (int64_t)limit;
    if (type)
        f.type = str_of(type);
    if (where)
        f.where = str_of(where);
    if ((run && db_run_find(c->db, str_of(run), &f.run, &e) < 0) ||
        db_artifacts_in(&c->a, c->db, &f, &rows, &n, &e) < 0)
        return cli_fail(&e);
    buf_init(&out, 0);
    jw_init(&w, &out);
    jw_arr(&w);
    table_init(&t, 7, (const char *const[]){"ID", "TYPE", "NAME", "SIZE", "DIGEST", "CREATED",
                                            "METADATA"});
    for (size_t i = 0; i < n; i++) {
        char size[24], when[25];
        db_artifact_short_json(&rows[i], &w);
        size_human((uint64_t)rows[i].size_bytes, size);
        clock_rfc3339(rows[i].created_unix_ms, when);
        table_addf(&t, "a%lld", (long long)rows[i].id);
        short_type(&rows[i], &t);
        table_addf(&t, "%.*s", STR_ARG(rows[i].name));
        table_add(&t, str_eqz(rows[i].kind, "none") ? "-" : size);
        table_addf(&t, "%.*s", SHORT, rows[i].digest_hex[0] ? rows[i].digest_hex : "-");
        table_addf(&t, "%.10s %.5s", when, when + 11);
        table_addf(&t, "%.60s%s", rows[i].metadata_json.len > 2 ? rows[i].metadata_json.ptr : "",
                   rows[i].metadata_json.len > 60 ? "..." : "");
    }
    jw_end_arr(&w);
    if (c->json)
        cli_out_json(&out);
    else
        table_print(&t, stdout);
    return 0;
}

/* ---- show ------------------------------------------------------------------------------------- */

static void line(const char *key, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void line(const char *key, const char *fmt, ...)
{
    va_list ap;

    (void)printf("%-11s ", key);
    va_start(ap, fmt);
    (void)vprintf(fmt, ap);
    va_end(ap);
    (void)putchar('\n');
}

static void print_metadata(struct cli *c, struct str text)
{
    struct value v;
    struct err e;
    size_t widest = 0;

    if (!text.len || value_parse_in(&c->a, text, &v, &e) < 0 || !v.n_items)
        return;
    for (size_t i = 0; i < v.n_items; i++)
        if (v.keys[i].len > widest)
            widest = v.keys[i].len;
    (void)printf("metadata\n");
    for (size_t i = 0; i < v.n_items; i++) {
        AUTO_BUF struct buf b = {0};
        buf_init(&b, 0);
        value_text(&b, &v.items[i]);
        (void)printf("  %-*.*s  %s\n", (int)widest, STR_ARG(v.keys[i]), buf_str(&b));
    }
}

static void print_uses(json *list, const char *what)
{
    json *item;
    size_t i, max;

    if (!yyjson_is_arr(list))
        return;
    yyjson_arr_foreach(list, i, max, item)
    {
        struct str run = json_as_str(json_at(item, "run"));
        struct str task = json_as_str(json_at(item, "task"));
        struct str name = json_as_str(json_at(item, "name"));
        if (run.len)
            line(i ? "" : what, "%.*s/%.*s:%.*s", STR_ARG(run), STR_ARG(task), STR_ARG(name));
    }
}

static int where_is_it(struct cli *c, const struct db_artifact *f, char *path, size_t size,
                       struct err *e)
{
    if (str_eqz(f->kind, "dir"))
        return tree_checkout_path(c->store, f->digest_hex, path, size, e);
    if (!blob_has(c->store, f->digest_hex))
        return err_set(e, ERR_MISSING, "artifact a%lld is recorded, but its content is gone",
                       (long long)f->id);
    return blob_path(c->store, f->digest_hex, path, size, e);
}

int cmd_artifact_show(struct cli *c)
{
    AUTO_BUF struct buf out = {0};
    AUTO_JSON yyjson_doc *doc = NULL;
    struct db_artifact f;
    struct err e = {0};
    char path[LIMIT_PATH_BYTES], size[24], when[25];
    int64_t id;
    struct jw w;
    json *root, *tags, *tag;
    size_t i, max;

    buf_init(&out, 0);
    jw_init(&w, &out);
    if (cli_open(c, DB_READ, &e) < 0 || cli_find_artifact(c, c->args[0], &id, &e) < 0 ||
        db_artifact_get_in(&c->a, c->db, id, &f, &e) < 0 ||
        db_artifact_json(c->db, id, &w, &e) < 0)
        return cli_fail(&e);
    if (c->json) {
        cli_out_json(&out);
        return 0;
    }
    if (json_parse((struct str){buf_str(&out), out.len}, LIMIT_RESULT_BYTES, &doc, &e) < 0)
        return cli_fail(&e);
    root = yyjson_doc_get_root(doc);
    size_human((uint64_t)f.size_bytes, size);
    clock_rfc3339(f.created_unix_ms, when);
    line("artifact", "a%lld  %.*s", (long long)f.id, STR_ARG(f.name));
    line("type", "%.*s", STR_ARG(f.type));
    if (f.digest_hex[0])
        line("digest", "sha256:%s", f.digest_hex);
    if (str_eqz(f.kind, "dir"))
        line("size", "%s in %lld files", size, (long long)f.n_files);
    else if (str_eqz(f.kind, "file"))
        line("size", "%s", size);
    line("created", "%s", when);
    if (f.source.len)
        line("source", "%.*s", STR_ARG(f.source));
    if (f.uri.len)
        line("uri", "%.*s", STR_ARG(f.uri));
    if (!f.digest_hex[0])
        line("content", "none: metadata only");
    else if (where_is_it(c, &f, path, sizeof path, &e) == 0)
        line("content", "%s", path);
    else
        line("content", "gone");
    if (json_at(root, "producer.run"))
        line("made by", "%.*s/%.*s", STR_ARG(json_as_str(json_at(root, "producer.run"))),
             STR_ARG(json_as_str(json_at(root, "producer.task"))));
    print_uses(json_at(root, "consumers"), "read by");
    tags = json_at(root, "tags");
    if (yyjson_is_arr(tags))
        yyjson_arr_foreach(tags, i, max, tag)
            line(i ? "" : "tags", "%.*s", STR_ARG(json_as_str(tag)));
    print_metadata(c, f.metadata_json);
    return 0;
}

/* ---- bytes out --------------------------------------------------------------------------------------- */

static int find_content(struct cli *c, struct db_artifact *f, char *path, size_t size,
                        struct err *e)
{
    int64_t id;

    if (cli_open(c, DB_READ, e) < 0 || cli_find_artifact(c, c->args[0], &id, e) < 0 ||
        db_artifact_get_in(&c->a, c->db, id, f, e) < 0)
        return -1;
    if (!f->digest_hex[0])
        return err_set(e, ERR_INPUT, "artifact a%lld is metadata only, it has no content",
                       (long long)id);
    if (str_eqz(f->kind, "dir")) {
        int pin; /* closed by our exit */
        if (tree_pin(c->store, f->digest_hex, &pin, e) < 0)
            return -1;
    }
    return where_is_it(c, f, path, size, e);
}

static int copy_fd(int from, int to, const char *what, struct err *e)
{
    AUTO_FREE char *chunk = xalloc(256 * KIB);
    ssize_t n;

    while ((n = read(from, chunk, 256 * KIB)) > 0) {
        if (fd_write_all(to, chunk, (size_t)n, e) < 0)
            return e->sys == EPIPE ? 0 : err_at(e, "%s", what); /* head has seen enough */
    }
    return n < 0 ? err_sys(e, errno, "read %s", what) : 0;
}

int cmd_artifact_cat(struct cli *c)
{
    char path[LIMIT_PATH_BYTES];
    struct db_artifact f;
    struct err e = {0};
    AUTO_FD int fd = -1;

    if (find_content(c, &f, path, sizeof path, &e) < 0)
        return cli_fail(&e);
    if (str_eqz(f.kind, "dir"))
        return cli_fail((err_set(&e, ERR_INPUT,
                                 "artifact a%lld is a directory: dugout artifact export a%lld PATH",
                                 (long long)f.id, (long long)f.id),
                         &e));
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return cli_fail((err_sys(&e, errno, "open %s", path), &e));
    return copy_fd(fd, 1, "standard output", &e) < 0 ? cli_fail(&e) : 0;
}

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
        if (symlinkat(arena_strndup(&x->c->a, t->target.ptr, t->target.len), x->dst_fd, path) < 0)
            return err_sys(e, errno, "link %s", path);
        return 0;
    case TREE_FILE:
    case TREE_EXEC:
        from = fd_open_beneath(x->src_fd, path, O_RDONLY | O_NOFOLLOW, 0);
        to = fd_open_beneath(x->dst_fd, path, O_WRONLY | O_CREAT | O_EXCL,
                             t->type == TREE_EXEC ? 0755 : 0644);
        if (from < 0 || to < 0)
            return err_sys(e, errno, "copy %s", path);
        return copy_fd(from, to, path, e);
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

static int export_file(const char *src, const char *tmp, struct err *e)
{
    AUTO_FD int from = open(src, O_RDONLY | O_CLOEXEC);
    AUTO_FD int to = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

    if (from < 0 || to < 0)
        return err_sys(e, errno, "create %s", tmp);
    return copy_fd(from, to, tmp, e);
}

int cmd_artifact_export(struct cli *c)
{
    const char *dst = c->args[1];
    char *tmp = arena_printf(&c->a, "%s.dugout-%d", dst, (int)getpid());
    char path[LIMIT_PATH_BYTES];
    struct db_artifact f;
    struct stat st;
    struct err e = {0};
    int rc;

    if (opt_flag(c, "oci"))
        return cmd_artifact_export_oci(c);
    if (lstat(dst, &st) == 0)
        return cli_fail((err_set(&e, ERR_INPUT, "%s exists: choose another name", dst), &e));
    if (find_content(c, &f, path, sizeof path, &e) < 0)
        return cli_fail(&e);
    rc = str_eqz(f.kind, "dir") ? export_dir(c, &f, path, tmp, &e) : export_file(path, tmp, &e);
    if (rc == 0 && rename(tmp, dst) < 0)
        rc = err_sys(&e, errno, "name %s", dst);
    if (rc < 0) {
        (void)fd_remove_tree(AT_FDCWD, tmp, &(struct err){0});
        return cli_fail(&e);
    }
    return 0;
}

/* ---- in, and away -------------------------------------------------------------------------------------- */

static int read_metadata(struct cli *c, struct buf *out, struct err *e)
{
    size_t n;
    const char **flags = opt_list(c, "metadata", &n);
    struct jw w;

    jw_init(&w, out);
    jw_obj(&w);
    for (size_t i = 0; i < n; i++) {
        const char *eq = strchr(flags[i], '=');
        struct value v;
        struct err unused;
        if (!eq || eq == flags[i])
            return err_set(e, ERR_INPUT, "--metadata %.80s: want KEY=VALUE", flags[i]);
        jw_keystr(&w, (struct str){flags[i], (size_t)(eq - flags[i])});
        if (value_parse_in(&c->a, str_of(eq + 1), &v, &unused) == 0 && v.kind != VALUE_NULL)
            value_write(&w, &v); /* a number, true, false or JSON */
        else
            jw_strz(&w, eq + 1);
    }
    jw_end_obj(&w);
    return 0;
}

int cmd_artifact_import(struct cli *c)
{
    AUTO_BUF struct buf meta = {0};
    const char *type = opt_text(c, "type"), *name = opt_text(c, "name");
    char *real, *slash;
    struct db_artifact_new row = {.imported = true, .created_unix_ms = clock_unix_ms()};
    struct artifact f = {0};
    struct err e = {0};
    int64_t id;

    if (opt_flag(c, "oci"))
        return cmd_artifact_import_oci(c);
    buf_init(&meta, LIMIT_JSON_BYTES);
    real = realpath(c->args[0], NULL);
    if (!real)
        return cli_fail((err_set(&e, ERR_MISSING, "%s: %s", c->args[0], strerror(errno)), &e));
    row.source = arena_str(&c->a, str_of(real));
    free(real);
    slash = strrchr(row.source.ptr, '/');
    row.name = str_of(name ? name : slash + 1);
    row.type = str_of(!type ? "system.Dataset"
                      : strchr(type, '.') ? type
                                          : arena_printf(&c->a, "system.%s", type));
    if (read_metadata(c, &meta, &e) < 0 || cli_open(c, DB_WRITE, &e) < 0 ||
        cli_store_path(c, row.source.ptr, &f, &e) < 0)
        return cli_fail(&e);
    row.kind = f.kind;
    row.digest_hex = f.digest;
    row.size_bytes = (int64_t)f.size_bytes;
    row.n_files = (int64_t)f.n_files;
    row.metadata_json = (struct str){buf_str(&meta), meta.len};
    if (db_begin(c->db, DB_DURABLE, &e) < 0)
        return cli_fail(&e);
    if (db_artifact_intern(c->db, &row, &id, &e) < 0) {
        db_rollback(c->db);
        return cli_fail(&e);
    }
    if (db_commit(c->db, &e) < 0)
        return cli_fail(&e);
    if (c->json)
        (void)printf("{\"id\":%lld,\"digest\":\"sha256:%s\"}\n", (long long)id, f.digest.ptr);
    else
        (void)printf("a%lld\n", (long long)id);
    return 0;
}

int cmd_artifact_rm(struct cli *c)
{
    struct err e = {0};
    int64_t id;

    if (cli_open(c, DB_WRITE, &e) < 0)
        return cli_fail(&e);
    for (int i = 0; i < c->n_args; i++) {
        if (cli_find_artifact(c, c->args[i], &id, &e) < 0 || db_begin(c->db, DB_DURABLE, &e) < 0)
            return cli_fail(&e);
        if (db_artifact_remove(c->db, id, &e) < 0) {
            db_rollback(c->db);
            return cli_fail(&e);
        }
        if (db_commit(c->db, &e) < 0)
            return cli_fail(&e);
        log_note("artifact a%lld is removed; dugout gc frees its space, its record stays",
                 (long long)id);
    }
    return 0;
}
