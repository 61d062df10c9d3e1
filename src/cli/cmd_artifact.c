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
#include "lineage/revoke.h"
#include "store/tree.h"

/* ---- show ------------------------------------------------------------------------------------- */

static void line(const char *key, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void line(const char *key, const char *fmt, ...)
{
    AUTO_BUF struct buf text = {0}, plain = {0};
    va_list ap;

    va_start(ap, fmt);
    buf_addvf(&text, fmt, ap);
    va_end(ap);
    buf_add_plain(&plain, buf_str(&text), text.len);
    (void)printf("%-11s %s\n", key, buf_str(&plain));
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
        AUTO_BUF struct buf b = {0}, plain = {0};
        buf_addf(&b, "%-*.*s  ", (int)widest, STR_ARG(v.keys[i]));
        value_text(&b, &v.items[i]);
        buf_add_plain(&plain, buf_str(&b), b.len);
        (void)printf("  %s\n", buf_str(&plain));
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

int cmd_artifact_show(struct cli *c)
{
    AUTO_BUF struct buf out = {0};
    AUTO_JSON yyjson_doc *doc = NULL;
    struct db_artifact f;
    struct err e = {0};
    char path[LIMIT_PATH_BYTES], size[24], when[25];
    AUTO_MARKS struct marks *marks = NULL;
    const struct db_mark *why;
    int64_t id;
    struct jw w;
    json *root, *tags, *tag;
    size_t i, max;

    buf_init(&out, 0);
    jw_init(&w, &out);
    if (cli_open(c, DB_READ, &e) < 0 || cli_find_holder(c, c->args[0], &id, &e) < 0 ||
        db_artifact_get_in(&c->a, c->db, id, &f, &e) < 0 ||
        db_artifact_json(c->db, id, &w, &e) < 0 || marks_open(c->db, &marks, &e) < 0 ||
        marks_look(marks, id, &why, &e) < 0)
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
    else if (cli_artifact_path(c, &f, path, sizeof path, &e) == 0)
        line("content", "%s%s", path,
             access(path, F_OK) < 0 ? "  (packed: there again when it is read or exported)" : "");
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
    if (why)
        line("revoked", "%.*s: %.*s (%.*s)", STR_ARG(why->what), STR_ARG(why->reason),
             STR_ARG(why->set_by));
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
    return cli_artifact_content(c, f, path, size, e);
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
    return cli_copy_fd(fd, 1, f.digest_hex, c->args[0], &e) < 0 ? cli_fail(&e) : 0;
}

int cmd_artifact_export(struct cli *c)
{
    struct export_to to = {.path = c->args[1],
                           .replace = opt_flag(c, "force"),
                           .provenance = opt_flag(c, "provenance")};
    struct err e = {0};
    int64_t id;

    if (opt_flag(c, "oci"))
        return cmd_artifact_export_oci(c);
    if (cli_open(c, DB_READ, &e) < 0 || cli_find_artifact(c, c->args[0], &id, &e) < 0 ||
        cli_export(c, id, &to, &e) < 0)
        return cli_fail(&e);
    return 0;
}

/* ---- in, and away -------------------------------------------------------------------------------------- */

static int read_metadata(struct cli *c, struct buf *out, struct err *e)
{
    size_t n;
    const char **flags = opt_list(c, "set", &n);
    struct jw w;

    jw_init(&w, out);
    jw_obj(&w);
    for (size_t i = 0; i < n; i++) {
        const char *eq = strchr(flags[i], '=');
        struct value v;
        struct err unused;
        if (!eq || eq == flags[i])
            return err_set(e, ERR_INPUT, "--set %.80s: want KEY=VALUE", flags[i]);
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
    if (read_metadata(c, &meta, &e) < 0 || cli_open_to_store(c, &e) < 0 ||
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
    struct reach reach;
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
        if (cli_reach(c, &id, 1, &reach, &e) < 0)
            return cli_fail(&e);
        if (reach.tags[0]) /* what gc alone would have kept */
            log_note("it is upstream of %s: what that was made from will not be there any more",
                     reach.tags);
    }
    return 0;
}
