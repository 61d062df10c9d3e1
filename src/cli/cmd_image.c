/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_image.c - image load, import, ls, inspect, tag, export, rm */
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "cli/cli.h"
#include "image/image.h"
#include "lineage/images.h"
#include "lineage/origin.h"

#define SHORT 12 /* digits of a digest that people are shown */

/* ---- recording what was loaded ---------------------------------------------------------------- */

static int64_t parse_created(const char *text)
{
    struct tm tm = {0};

    if (!text || sscanf(text, "%d-%d-%dT%d:%d:%d", &tm.tm_year, &tm.tm_mon, &tm.tm_mday,
                        &tm.tm_hour, &tm.tm_min, &tm.tm_sec) != 6)
        return 0;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    return (int64_t)timegm(&tm) * 1000;
}

/* the layers as the database keeps them, from the config blob */
static int layers_json(struct cli *c, const struct image_info *i, struct buf *out, struct err *e)
{
    AUTO_BUF struct buf text = {0};
    AUTO_JSON yyjson_doc *doc = NULL;
    json *ids, *id;
    struct jw w;
    size_t k, max;

    buf_init(&text, LIMIT_JSON_BYTES);
    if (blob_read(c->store, i->config_digest, &text, LIMIT_JSON_BYTES, e) < 0 ||
        json_parse((struct str){buf_str(&text), text.len}, LIMIT_JSON_BYTES, &doc, e) < 0 ||
        json_arr(yyjson_doc_get_root(doc), "rootfs.diff_ids", &ids, e) < 0)
        return err_at(e, "config of the image");
    jw_init(&w, out);
    jw_arr(&w);
    yyjson_arr_foreach(ids, k, max, id)
    {
        jw_obj(&w);
        jw_key(&w, "diff_id");
        jw_str(&w, json_as_str(id));
        jw_end_obj(&w);
    }
    jw_end_arr(&w);
    return 0;
}

static void print_move(const char *name, const char *was, const char *now)
{
    if (!was[0] || strcmp(was, now) == 0)
        return;
    log_note("%s moved from %.*s to %.*s (undo: dugout image tag sha256:%.*s %s)",
             image_name_short(name), SHORT, was, SHORT, now, SHORT, was, image_name_short(name));
}

static int record_image(struct cli *c, const struct image_info *i, struct err *e)
{
    AUTO_BUF struct buf layers = {0};
    AUTO_TXN struct db *txn = c->db;
    const char *slash = i->platform ? strchr(i->platform, '/') : NULL;
    struct db_image row = {.created_unix_ms = parse_created(i->created),
                           .size_bytes = (int64_t)i->layer_bytes,
                           .loaded_unix_ms = clock_unix_ms()};
    char user[64], was[DIGEST_HEX];

    cli_user(user);
    buf_init(&layers, LIMIT_JSON_BYTES);
    if (layers_json(c, i, &layers, e) < 0)
        return -1;
    memcpy(row.config_hex, i->config_digest, sizeof row.config_hex);
    memcpy(row.manifest_hex, i->manifest_digest, sizeof row.manifest_hex);
    if (slash) {
        row.os = (struct str){i->platform, (size_t)(slash - i->platform)};
        row.arch = str_of(slash + 1);
    }
    row.layers_json = (struct str){buf_str(&layers), layers.len};
    if (db_begin(c->db, DB_DURABLE, e) < 0 || db_image_put(c->db, &row, e) < 0)
        return -1;
    for (size_t k = 0; k < i->n_names; k++) {
        if (db_image_name_set(c->db, str_of(i->names[k]), str_of(i->config_digest), str_of(user),
                              row.loaded_unix_ms, was, e) < 0)
            return -1;
        print_move(i->names[k], was, i->config_digest);
    }
    (void)txn;
    return db_commit(c->db, e);
}

static void info_json(struct jw *w, const struct image_info *i)
{
    jw_obj(w);
    jw_key(w, "id");
    jw_str(w, str_of(i->config_digest));
    jw_key(w, "names");
    jw_arr(w);
    for (size_t k = 0; k < i->n_names; k++)
        jw_strz(w, i->names[k]);
    jw_end_arr(w);
    jw_ki64(w, "layers", (int64_t)i->n_layers);
    jw_ki64(w, "layers_new", (int64_t)i->layers_new);
    jw_ki64(w, "size", (int64_t)i->layer_bytes);
    jw_end_obj(w);
}

static int report_images(struct cli *c, const struct image_list *l, int64_t started_ns)
{
    AUTO_BUF struct buf out = {0};
    char human[24], size[24];
    struct err e;
    struct jw w;

    buf_init(&out, 0);
    jw_init(&w, &out);
    jw_arr(&w);
    clock_human((clock_mono_ns() - started_ns) / 1000000, human);
    for (size_t i = 0; i < l->n; i++) {
        const struct image_info *x = &l->items[i];
        if (record_image(c, x, &e) < 0)
            return cli_fail(&e);
        info_json(&w, x);
        for (size_t k = 0; k < x->n_notes; k++)
            log_note("%s", x->notes[k]);
        if (c->json)
            continue;
        size_human(x->layer_bytes, size);
        if (!x->n_names)
            (void)printf("sha256:%.*s", SHORT, x->config_digest);
        for (size_t k = 0; k < x->n_names; k++)
            (void)printf("%s%s", k ? " " : "", image_name_short(x->names[k]));
        (void)printf("  sha256:%.*s  %zu layers (%zu new)  %s\n", SHORT, x->config_digest,
                     x->n_layers, x->layers_new, size);
    }
    jw_end_arr(&w);
    if (c->json)
        cli_out_json(&out);
    else
        log_verbose("in %s", human);
    return 0;
}

int cmd_image_load(struct cli *c)
{
    AUTO_IMAGES struct image_list list = {0};
    struct image_load_opts o = {.name = opt_text(c, "name"),
                                .ref = opt_text(c, "ref"),
                                .platform = opt_text(c, "platform"),
                                .no_blobs = opt_flag(c, "no-blobs")};
    int64_t started = clock_mono_ns();
    struct err e = {0};
    uint64_t jobs = 0;

    if (opt_u64(c, "jobs", &jobs, &e) < 0 || cli_open_to_store(c, &e) < 0)
        return cli_fail(&e);
    o.jobs = jobs > 64 ? 64 : (unsigned)jobs;
    if (image_load(c->store, c->args[0], &o, &list, &e) < 0)
        return cli_fail(&e);
    return report_images(c, &list, started);
}

int cmd_image_import(struct cli *c)
{
    AUTO_IMAGES struct image_list list = {0};
    size_t n_env;
    const char **env = opt_list(c, "env", &n_env); /* NULL-terminated by the arena's zeroes */
    struct image_import_opts o = {.name = opt_text(c, "name"),
                                  .env = n_env ? env : NULL,
                                  .workdir = opt_text(c, "workdir"),
                                  .user = opt_text(c, "user"),
                                  .no_blobs = opt_flag(c, "no-blobs")};
    int64_t started = clock_mono_ns();
    struct err e = {0};

    if (!o.name)
        return cli_fail((err_set(&e, ERR_INPUT, "--name REF is wanted: how shall the image be "
                                                "called?"),
                         &e));
    if (cli_open_to_store(c, &e) < 0 ||
        image_import(c->store, c->args[0], &o, &list, &e) < 0)
        return cli_fail(&e);
    return report_images(c, &list, started);
}

/* ---- looking ---------------------------------------------------------------------------------------- */

/* normalised, aliases followed */
static int full_name(struct cli *c, const char *what, char name[IMAGE_NAME_BYTES], struct err *e)
{
    if (image_name_normalise(str_of(what), name, e) < 0)
        return -1;
    for (size_t i = 0; i < c->cfg.run.n_aliases; i++)
        if (strcmp(c->cfg.run.aliases[i].from, name) == 0)
            snprintf(name, IMAGE_NAME_BYTES, "%s", c->cfg.run.aliases[i].to);
    return 0;
}

bool cli_image_kept(struct cli *c, const char *what, char hex[DIGEST_HEX])
{
    char name[IMAGE_NAME_BYTES];

    return strncmp(what, "sha256:", 7) != 0 && full_name(c, what, name, &(struct err){0}) == 0 &&
           db_image_name_kept(store_home_fd(c->store), name, hex);
}

int cli_find_image(struct cli *c, const char *what, struct db_image *out, struct err *e)
{
    char name[IMAGE_NAME_BYTES];
    struct err first = {0};
    size_t hex = strspn(what, "0123456789abcdef");
    const char *digest;

    if (strncmp(what, "sha256:", 7) == 0)
        return db_image_find_in(&c->a, c->db, str_of(what), out, e);
    if (full_name(c, what, name, e) < 0)
        return -1;
    if (db_image_find_in(&c->a, c->db, str_of(name), out, &first) == 0)
        return 0;
    digest = image_name_digest(name);
    if (digest && db_image_find_in(&c->a, c->db, str_of(digest), out, e) == 0)
        return 0;
    if (what[hex] == 0 && hex >= 6 && db_image_find_in(&c->a, c->db, str_of(what), out, e) == 0)
        return 0;
    if (first.code == ERR_MISSING)
        return err_set(e, ERR_MISSING,
                       "image %s is not here (dugout images lists those that are; dugout image "
                       "load brings one in)",
                       what);
    *e = first;
    return -1;
}

int cli_known_image(struct cli *c, const char *what, char hex[DIGEST_HEX], struct err *e)
{
    struct db_image row;
    struct err first = {0};

    if (cli_find_image(c, what, &row, &first) == 0) {
        memcpy(hex, row.config_hex, DIGEST_HEX);
        return 0;
    }
    if (first.code == ERR_MISSING && db_image_known(c->db, str_of(what), hex, e) == 0)
        return 0;
    *e = first;
    return -1;
}

int cmd_image_ls(struct cli *c)
{
    AUTO_BUF struct buf out = {0};
    struct db_image *rows;
    struct err e = {0};
    struct table t;
    struct jw w;
    size_t n;

    if (cli_open(c, DB_READ, &e) < 0 || db_images_in(&c->a, c->db, &rows, &n, &e) < 0)
        return cli_fail(&e);
    buf_init(&out, 0);
    jw_init(&w, &out);
    jw_arr(&w);
    table_init(&t, 4, (const char *const[]){"NAME", "IMAGE", "SIZE", "LOADED"});
    for (size_t i = 0; i < n; i++) {
        char size[24], when[25];
        size_human((uint64_t)rows[i].size_bytes, size);
        clock_rfc3339(rows[i].loaded_unix_ms, when);
        for (size_t k = 0; k < (rows[i].n_names ? rows[i].n_names : 1); k++) {
            table_add(&t, rows[i].n_names ? image_name_short(rows[i].names[k].ptr) : "-");
            table_addf(&t, "%.*s", SHORT, rows[i].config_hex);
            table_add(&t, size);
            table_addf(&t, "%.10s %.5s", when, when + 11);
        }
        jw_obj(&w);
        jw_kstr(&w, "id", rows[i].config_hex);
        jw_key(&w, "manifest");
        if (rows[i].manifest_hex[0])
            jw_strz(&w, rows[i].manifest_hex);
        else
            jw_null(&w);
        jw_key(&w, "names");
        jw_arr(&w);
        for (size_t k = 0; k < rows[i].n_names; k++)
            jw_str(&w, rows[i].names[k]);
        jw_end_arr(&w);
        jw_ki64(&w, "size", rows[i].size_bytes);
        jw_kstr(&w, "loaded", when);
        jw_end_obj(&w);
    }
    jw_end_arr(&w);
    if (c->json) {
        cli_out_json(&out);
        return 0;
    }
    table_print(&t, stdout);
    return 0;
}

int cmd_image_inspect(struct cli *c)
{
    AUTO_BUF struct buf out = {0};
    struct db_image row;
    struct image img;
    struct err e = {0};
    struct jw w;

    if (cli_open(c, DB_READ, &e) < 0 || cli_find_image(c, c->args[0], &row, &e) < 0 ||
        image_open_in(&c->a, c->store, row.config_hex, &img, &e) < 0)
        return cli_fail(&e);
    buf_init(&out, 0);
    jw_init(&w, &out);
    jw_obj(&w);
    jw_kstr(&w, "id", row.config_hex);
    jw_kstr(&w, "manifest", row.manifest_hex[0] ? row.manifest_hex : NULL);
    jw_kstr(&w, "platform", img.platform);
    jw_key(&w, "names");
    jw_arr(&w);
    for (size_t k = 0; k < row.n_names; k++)
        jw_str(&w, row.names[k]);
    jw_end_arr(&w);
    jw_ki64(&w, "size", row.size_bytes);
    jw_key(&w, "directories");
    jw_arr(&w);
    for (size_t k = 0; k < img.n_layers; k++)
        jw_strz(&w, img.layers[k]);
    jw_end_arr(&w);
    jw_key(&w, "config");
    jw_raw(&w, img.config_json);
    jw_end_obj(&w);
    cli_out_json(&out);
    return 0;
}

/* ---- changing names, going out -------------------------------------------------------------------------- */

int cmd_image_tag(struct cli *c)
{
    AUTO_TXN struct db *txn = NULL;
    char name[IMAGE_NAME_BYTES], user[64], was[DIGEST_HEX];
    struct db_image row;
    struct err e = {0};

    cli_user(user);
    if (cli_open(c, DB_WRITE, &e) < 0)
        return cli_fail(&e);
    txn = c->db;
    if (cli_find_image(c, c->args[0], &row, &e) < 0 ||
        image_name_normalise(str_of(c->args[1]), name, &e) < 0)
        return cli_fail(&e);
    if (image_name_digest(name))
        return cli_fail((err_set(&e, ERR_INPUT, "%s: a name with a digest cannot be given away",
                                 c->args[1]),
                         &e));
    if (db_begin(c->db, DB_DURABLE, &e) < 0 ||
        db_image_name_set(c->db, str_of(name), str_of(row.config_hex), str_of(user),
                          clock_unix_ms(), was, &e) < 0 ||
        db_commit(c->db, &e) < 0)
        return cli_fail(&e);
    print_move(name, was, row.config_hex);
    (void)txn;
    return 0;
}

int cmd_image_export(struct cli *c)
{
    const char *format = opt_text(c, "format"), *path = c->args[1];
    struct image_export_opts o = {.format = IMAGE_OCI_TAR, .name = opt_text(c, "name")};
    char name[IMAGE_NAME_BYTES];
    struct db_image row;
    struct err e = {0};

    if (format)
        o.format = strcmp(format, "docker") == 0    ? IMAGE_DOCKER_TAR
                   : strcmp(format, "oci-dir") == 0 ? IMAGE_OCI_DIR
                                                    : IMAGE_OCI_TAR;
    if (cli_open(c, DB_READ, &e) < 0 || cli_find_image(c, c->args[0], &row, &e) < 0)
        return cli_fail(&e);
    if (o.name && image_name_normalise(str_of(o.name), name, &e) < 0)
        return cli_fail(&e);
    o.name = o.name ? name : row.n_names ? row.names[0].ptr : NULL;
    if (image_export(c->store, row.config_hex, row.manifest_hex[0] ? row.manifest_hex : NULL,
                     path, &o, &e) < 0)
        return cli_fail(&e);
    return 0;
}

static int remove_one(struct cli *c, const char *what, struct err *e)
{
    AUTO_TXN struct db *txn = c->db;
    char user[64], name[IMAGE_NAME_BYTES];
    struct db_image row;
    bool by_name = false;

    (void)txn;
    cli_user(user);
    if (cli_find_image(c, what, &row, e) < 0)
        return -1;
    if (strncmp(what, "sha256:", 7) != 0 &&
        image_name_normalise(str_of(what), name, &(struct err){0}) == 0)
        for (size_t i = 0; i < row.n_names; i++)
            by_name |= str_eqz(row.names[i], name);
    if (db_begin(c->db, DB_DURABLE, e) < 0)
        return -1;
    if (by_name && row.n_names > 1) {
        if (db_image_name_remove(c->db, str_of(name), str_of(user), clock_unix_ms(), e) < 0)
            return -1;
        log_note("the name %s is gone; the image keeps %zu more", image_name_short(name),
                 row.n_names - 1);
    } else {
        if (db_image_remove(c->db, str_of(row.config_hex), str_of(user), clock_unix_ms(), e) < 0)
            return -1;
        log_note("image %.*s is removed; dugout gc frees its space", SHORT, row.config_hex);
    }
    return db_commit(c->db, e);
}

int cmd_image_rm(struct cli *c)
{
    struct err e = {0};

    if (cli_open(c, DB_WRITE, &e) < 0)
        return cli_fail(&e);
    for (int i = 0; i < c->n_args; i++)
        if (remove_one(c, c->args[i], &e) < 0)
            return cli_fail(&e);
    return 0;
}
