/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_house.c - gc, du, doctor, version */
#include <fcntl.h>
#include <pwd.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "box/box.h"
#include "cli/cli.h"
#include "image/image.h"
#include "lineage/images.h"
#include "lineage/live.h"
#include "store/gc.h"
#include "version.h"

#define DAY_MS (86400LL * 1000)

void cli_user(char out[64])
{
    const struct passwd *pw = getpwuid(geteuid());

    if (pw)
        snprintf(out, 64, "%s", pw->pw_name);
    else
        snprintf(out, 64, "%u", (unsigned)geteuid());
}

/* ---- gc ------------------------------------------------------------------------------------------ */

struct live_sets {
    struct digest_set blobs, layers, checkouts;
    struct map dirs; /* attempt directories that may go: "<run>/<attempt>" -> itself */
};

static void hex_of(const uint8_t raw[32], char out[DIGEST_HEX])
{
    for (int i = 0; i < 32; i++)
        snprintf(out + 2 * i, 3, "%02x", raw[i]);
}

static int mark(struct cli *c, const struct db_live *live, struct live_sets *s, struct err *e)
{
    struct db_image *images;
    size_t n;
    char hex[DIGEST_HEX];

    for (size_t i = 0; i < live->n; i++) {
        const struct db_live_item *x = &live->items[i];
        hex_of(x->digest, hex);
        if (x->kinds & (DB_LIVE_FILE | DB_LIVE_IMAGE))
            (void)digest_set_add(&s->blobs, hex);
        if (x->kinds & DB_LIVE_LAYER)
            (void)digest_set_add(&s->layers, hex);
        if (x->kinds & DB_LIVE_TREE) {
            (void)digest_set_add(&s->checkouts, hex);
            if (gc_mark_tree(c->store, hex, &s->blobs, e) < 0)
                return err_at(e, "gc stops, since it cannot see what is needed");
        }
    }
    if (db_images_in(&c->a, c->db, &images, &n, e) < 0)
        return -1;
    for (size_t i = 0; i < n; i++)
        if (image_mark(c->store, images[i].config_hex,
                       images[i].manifest_hex[0] ? images[i].manifest_hex : NULL, &s->blobs,
                       &s->layers, e) < 0)
            return -1;
    return 0;
}

/* a directory lives unless the database says that it may go; an empty attempt asks for the run's */
static bool attempt_lives(void *ctx, const char *run, const char *attempt)
{
    struct live_sets *s = ctx;
    char key[160];

    if (!attempt || !attempt[0])
        return true; /* small: its lock is how a run is found */
    snprintf(key, sizeof key, "runs/%s/%s", run, attempt);
    return !map_get(&s->dirs, str_of(key));
}

static int dead_digests(struct cli *c, const struct live_sets *s, struct err *e)
{
    struct db_artifact_filter f = {0};
    struct db_artifact *rows;
    uint8_t (*gone)[32];
    size_t n, n_gone = 0;
    int64_t marked;

    if (db_artifacts_in(&c->a, c->db, &f, &rows, &n, e) < 0)
        return -1;
    gone = arena_alloc(&c->a, (n + 1) * sizeof *gone);
    for (size_t i = 0; i < n; i++) {
        char path[4096];
        bool there;
        if (!rows[i].digest_hex[0])
            continue;
        there = str_eqz(rows[i].kind, "dir")
                    ? snprintf(path, sizeof path, "%s/checkouts/%s", c->home, rows[i].digest_hex) >
                              0 &&
                          access(path, F_OK) == 0
                    : blob_has(c->store, rows[i].digest_hex);
        if (there)
            continue;
        for (int k = 0; k < 32; k++) {
            unsigned byte;
            (void)sscanf(rows[i].digest_hex + 2 * k, "%2x", &byte);
            gone[n_gone][k] = (uint8_t)byte;
        }
        n_gone++;
    }
    (void)s;
    if (!n_gone)
        return 0;
    if (db_begin(c->db, DB_DURABLE, e) < 0)
        return -1;
    if (db_artifacts_deleted(c->db, (const uint8_t(*)[32])gone, n_gone, &marked, e) < 0) {
        db_rollback(c->db);
        return -1;
    }
    return db_commit(c->db, e);
}

static void print_counts(struct cli *c, const struct gc_count *counts, const char *verb)
{
    AUTO_BUF struct buf out = {0};
    uint64_t total = 0;
    struct table t;
    struct jw w;
    char size[24];

    buf_init(&out, 0);
    jw_init(&w, &out);
    jw_obj(&w);
    table_init(&t, 3, (const char *const[]){"WHAT", "NUMBER", "SIZE"});
    for (int k = 0; k < GC_KINDS; k++) {
        jw_key(&w, gc_kind_name((enum gc_kind)k));
        jw_obj(&w);
        jw_ki64(&w, "count", (int64_t)counts[k].n);
        jw_ki64(&w, "bytes", (int64_t)counts[k].bytes);
        jw_end_obj(&w);
        total += counts[k].bytes;
        size_human(counts[k].bytes, size);
        table_add(&t, gc_kind_name((enum gc_kind)k));
        table_addf(&t, "%llu", (unsigned long long)counts[k].n);
        table_add(&t, size);
    }
    jw_end_obj(&w);
    if (c->json) {
        cli_out_json(&out);
        return;
    }
    table_print(&t, stdout);
    size_human(total, size);
    (void)printf("%s %s\n", size, verb);
}

int cmd_gc(struct cli *c)
{
    AUTO_FREE struct live_sets *s = xalloc(sizeof *s);
    struct gc_count counts[GC_KINDS] = {{0}};
    struct db_live live = {0};
    struct db_keep keep;
    struct db_attempt_dir *dirs;
    struct gc_plan plan;
    struct err e = {0};
    int64_t grace = DAY_MS;
    uint64_t runs, days;
    size_t n;
    int rc = -1;

    if (opt_duration(c, "grace", &grace, &e) < 0 || cli_open(c, DB_WRITE, &e) < 0)
        return cli_fail(&e);
    runs = (uint64_t)c->cfg.keep_runs;
    days = (uint64_t)c->cfg.keep_days;
    if (opt_u64(c, "keep-runs", &runs, &e) < 0 || opt_u64(c, "keep-days", &days, &e) < 0)
        return cli_fail(&e);
    keep = (struct db_keep){.last_runs = (int64_t)runs,
                            .since_unix_ms = days ? clock_unix_ms() - (int64_t)days * DAY_MS
                                                  : INT64_MAX};
    if (db_live_digests(c->db, &keep, &live, &e) < 0 || mark(c, &live, s, &e) < 0 ||
        db_attempt_dirs_in(&c->a, c->db, &keep, clock_unix_ms() - grace, &dirs, &n, &e) < 0)
        goto done;
    for (size_t i = 0; i < n; i++)
        map_put(&s->dirs, dirs[i].dir, &dirs[i]);
    plan = (struct gc_plan){.blobs = &s->blobs,
                            .layers = &s->layers,
                            .checkouts = &s->checkouts,
                            .attempt_lives = attempt_lives,
                            .ctx = s,
                            .grace_ms = grace,
                            .dry_run = opt_flag(c, "dry-run")};
    if (gc_sweep(c->store, &plan, counts, &e) < 0)
        goto done;
    if (!plan.dry_run) {
        if (dead_digests(c, s, &e) < 0 || db_begin(c->db, DB_DURABLE, &e) < 0)
            goto done;
        for (size_t i = 0; i < n; i++)
            if (access(arena_printf(&c->a, "%s/%s", c->home, dirs[i].dir.ptr), F_OK) < 0 &&
                db_attempt_dir_gone(c->db, dirs[i].task, dirs[i].number, &e) < 0) {
                db_rollback(c->db);
                goto done;
            }
        if (db_commit(c->db, &e) < 0)
            goto done;
        db_checkpoint(c->db);
    }
    print_counts(c, counts, plan.dry_run ? "would be freed" : "freed");
    rc = 0;
done:
    db_live_done(&live);
    digest_set_done(&s->blobs);
    digest_set_done(&s->layers);
    digest_set_done(&s->checkouts);
    map_done(&s->dirs);
    return rc < 0 ? cli_fail(&e) : 0;
}

int cmd_du(struct cli *c)
{
    struct gc_count counts[GC_KINDS] = {{0}};
    struct err e = {0};

    if (cli_open(c, DB_READ, &e) < 0 || store_usage(c->store, counts, &e) < 0)
        return cli_fail(&e);
    print_counts(c, counts, "in all");
    return 0;
}

/* ---- doctor ---------------------------------------------------------------------------------------------- */

static void home_fact(struct cli *c, struct table *t, struct jw *w)
{
    struct statvfs fs;
    char free_text[24], text[128];

    if (statvfs(c->home, &fs) < 0)
        return;
    size_human((uint64_t)fs.f_bavail * fs.f_frsize, free_text);
    snprintf(text, sizeof text, "%s free, %llu inodes free", free_text,
             (unsigned long long)fs.f_favail);
    table_add(t, "ok");
    table_add(t, "disk");
    table_add(t, text);
    jw_obj(w);
    jw_kstr(w, "name", "disk");
    jw_kstr(w, "state", "good");
    jw_kstr(w, "value", text);
    jw_kstr(w, "remedy", NULL);
    jw_end_obj(w);
}

int cmd_doctor(struct cli *c)
{
    static const char *const words[] = {"ok", "less", "BAD"};
    static const char *const states[] = {"good", "worse", "bad"};
    AUTO_FREE struct box_facts *f = xalloc(sizeof *f);
    AUTO_BUF struct buf out = {0};
    struct err e = {0};
    struct table t;
    struct jw w;
    bool bad = false;

    if (cli_open(c, DB_READ, &e) < 0)
        return cli_fail(&e);
    box_probe(c->home, f);
    buf_init(&out, 0);
    jw_init(&w, &out);
    jw_arr(&w);
    table_init(&t, 3, (const char *const[]){"", "WHAT", "FOUND"});
    for (size_t i = 0; i < f->n; i++) {
        const struct box_fact *x = &f->facts[i];
        table_add(&t, words[x->state]);
        table_add(&t, x->name);
        table_add(&t, x->value);
        jw_obj(&w);
        jw_kstr(&w, "name", x->name);
        jw_kstr(&w, "state", states[x->state]);
        jw_kstr(&w, "value", x->value);
        jw_kstr(&w, "remedy", x->remedy);
        jw_end_obj(&w);
        bad |= x->state == BOX_FACT_BAD;
    }
    doctor_gpus(c, &t, &w);
    home_fact(c, &t, &w);
    jw_end_arr(&w);
    if (c->json) {
        cli_out_json(&out);
        free(t.cells);
        return bad ? 6 : 0;
    }
    table_print(&t, stdout);
    for (size_t i = 0; i < f->n; i++)
        if (f->facts[i].remedy && f->facts[i].state != BOX_FACT_GOOD)
            (void)printf("\n%s: %s\n", f->facts[i].name, f->facts[i].remedy);
    (void)printf("\n%s\n", bad ? "Boxes cannot be started here until the lines marked BAD are mended."
                               : "Boxes can be started here.");
    return bad ? 6 : 0;
}

/* ---- version ------------------------------------------------------------------------------------------------ */

int cmd_version(struct cli *c)
{
    if (c->json)
        (void)printf("{\"version\":\"%s\",\"commit\":\"%s\",\"vendored\":\"%s\"}\n", DUGOUT_VERSION,
                     DUGOUT_COMMIT, VENDOR_VERSIONS);
    else
        (void)printf("dugout %s\ncommit %s\n%s\n", DUGOUT_VERSION, DUGOUT_COMMIT, VENDOR_VERSIONS);
    return 0;
}
