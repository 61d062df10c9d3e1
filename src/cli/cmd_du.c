/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_du.c - what takes space: by place on the disk, by pipeline, by run, by image
 *
 * By place is what the disk has. By pipeline and by run is content that they made and that is not
 * gone, each once, and for a run also its directory (logs, outputs of failed attempts). An image's
 * own bytes are those that no other image has: what removing it would free.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/cli.h"
#include "image/image.h"
#include "lineage/images.h"
#include "lineage/space.h"
#include "store/gc.h"

static void add_size(struct table *t, uint64_t bytes)
{
    char size[24];

    size_human(bytes, size);
    table_add(t, size);
}

/* ---- by place -------------------------------------------------------------------------------- */

static int by_place(struct cli *c, struct table *t, struct jw *w, struct err *e)
{
    struct gc_count counts[GC_KINDS] = {{0}};

    if (store_usage(c->store, counts, e) < 0)
        return -1;
    jw_obj(w);
    table_init(t, 3, (const char *const[]){"WHAT", "NUMBER", "SIZE"});
    for (int k = 0; k < GC_KINDS; k++) {
        jw_key(w, gc_kind_name((enum gc_kind)k));
        jw_obj(w);
        jw_ki64(w, "count", (int64_t)counts[k].n);
        jw_ki64(w, "bytes", (int64_t)counts[k].bytes);
        jw_end_obj(w);
        table_add(t, gc_kind_name((enum gc_kind)k));
        table_addf(t, "%llu", (unsigned long long)counts[k].n);
        add_size(t, counts[k].bytes);
    }
    jw_end_obj(w);
    return 0;
}

/* ---- by pipeline and run ----------------------------------------------------------------------- */

static int by_pipeline(struct cli *c, struct table *t, struct jw *w, struct err *e)
{
    struct db_space *rows;
    size_t n;

    if (db_space_pipelines_in(&c->a, c->db, &rows, &n, e) < 0)
        return -1;
    table_init(t, 3, (const char *const[]){"PIPELINE", "ARTIFACTS", "SIZE"});
    jw_arr(w);
    for (size_t i = 0; i < n; i++) {
        table_add(t, rows[i].name.ptr);
        table_addf(t, "%lld", (long long)rows[i].count);
        add_size(t, (uint64_t)rows[i].bytes);
        jw_obj(w);
        jw_kstr(w, "pipeline", rows[i].name.ptr);
        jw_ki64(w, "artifacts", rows[i].count);
        jw_ki64(w, "bytes", rows[i].bytes);
        jw_end_obj(w);
    }
    jw_end_arr(w);
    return 0;
}

static int by_run(struct cli *c, struct table *t, struct jw *w, struct err *e)
{
    struct db_space *rows;
    size_t n;

    if (db_space_runs_in(&c->a, c->db, &rows, &n, e) < 0)
        return -1;
    table_init(t, 4, (const char *const[]){"RUN", "ARTIFACTS", "SIZE", "DIRECTORY"});
    jw_arr(w);
    for (size_t i = 0; i < n; i++) {
        uint64_t dir = store_bytes_below(c->store, arena_printf(&c->a, "runs/%s", rows[i].uuid.ptr));
        table_add(t, rows[i].name.ptr);
        table_addf(t, "%lld", (long long)rows[i].count);
        add_size(t, (uint64_t)rows[i].bytes);
        add_size(t, dir);
        jw_obj(w);
        jw_kstr(w, "run", rows[i].name.ptr);
        jw_kstr(w, "run_id", rows[i].uuid.ptr);
        jw_ki64(w, "artifacts", rows[i].count);
        jw_ki64(w, "bytes", rows[i].bytes);
        jw_ki64(w, "directory_bytes", (int64_t)dir);
        jw_end_obj(w);
    }
    jw_end_arr(w);
    return 0;
}

/* ---- by image ------------------------------------------------------------------------------------ */

/* blobs and layers of one image, as sets */
struct parts {
    struct digest_set blobs, layers;
};

static int parts_of(struct cli *c, const struct db_image *x, struct parts *p, struct err *e)
{
    return image_mark(c->store, x->config_hex, x->manifest_hex[0] ? x->manifest_hex : NULL,
                      &p->blobs, &p->layers, e);
}

static uint64_t set_bytes(struct cli *c, enum store_dir d, const struct digest_set *set,
                          const struct digest_set *but)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < set->cap; i++) {
        char hex[DIGEST_HEX];
        if (!set->used[i])
            continue;
        digest_set_hex(set, i, hex);
        if (!but || !digest_set_has(but, hex))
            bytes += store_bytes_of(c->store, d, hex);
    }
    return bytes;
}

static int others_of(struct cli *c, const struct db_image *rows, size_t n, size_t me,
                     struct parts *p, struct err *e)
{
    for (size_t i = 0; i < n; i++)
        if (i != me && parts_of(c, &rows[i], p, e) < 0)
            return -1;
    return 0;
}

static void parts_done(struct parts *p)
{
    digest_set_done(&p->blobs);
    digest_set_done(&p->layers);
}

static int by_image(struct cli *c, struct table *t, struct jw *w, struct err *e)
{
    struct db_image *rows;
    size_t n;
    int rc = 0;

    if (db_images_in(&c->a, c->db, &rows, &n, e) < 0)
        return -1;
    table_init(t, 3, (const char *const[]){"IMAGE", "SIZE", "ITS OWN"});
    jw_arr(w);
    for (size_t i = 0; i < n && rc == 0; i++) {
        struct parts mine = {{0}, {0}}, others = {{0}, {0}};
        const char *name = rows[i].n_names ? rows[i].names[0].ptr : rows[i].config_hex;
        uint64_t size, own;

        if (parts_of(c, &rows[i], &mine, e) < 0 || others_of(c, rows, n, i, &others, e) < 0) {
            rc = -1;
        } else {
            size = set_bytes(c, STORE_BLOBS, &mine.blobs, NULL) +
                   set_bytes(c, STORE_LAYERS, &mine.layers, NULL);
            own = set_bytes(c, STORE_BLOBS, &mine.blobs, &others.blobs) +
                  set_bytes(c, STORE_LAYERS, &mine.layers, &others.layers);
            table_add(t, name);
            add_size(t, size);
            add_size(t, own);
            jw_obj(w);
            jw_kstr(w, "image", name);
            jw_ki64(w, "bytes", (int64_t)size);
            jw_ki64(w, "own_bytes", (int64_t)own);
            jw_end_obj(w);
        }
        parts_done(&mine);
        parts_done(&others);
    }
    jw_end_arr(w);
    return rc;
}

int cmd_du(struct cli *c)
{
    static const struct {
        const char *name;
        int (*fn)(struct cli *c, struct table *t, struct jw *w, struct err *e);
    } ways[] = {{"place", by_place}, {"pipeline", by_pipeline}, {"run", by_run}, {"image", by_image}};
    const char *by = opt_text(c, "by");
    AUTO_BUF struct buf out = {0};
    struct err e = {0};
    struct table t = {0};
    struct jw w;
    size_t k = 0;

    if (cli_open(c, DB_READ, &e) < 0)
        return cli_fail(&e);
    while (by && strcmp(ways[k].name, by) != 0)
        k++;
    buf_init(&out, 0);
    jw_init(&w, &out);
    if (ways[k].fn(c, &t, &w, &e) < 0)
        return cli_fail(&e);
    if (c->json)
        cli_out_json(&out);
    else
        table_print(&t, stdout);
    return 0;
}
