/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_gc.c - remove what nothing needs any more
 *
 *   be the only sweep ── read the clock and the leases: younger than this stays
 *        │
 *        v  one write transaction
 *   mark what is live ── rows of what is neither live nor young become tombstones
 *        │
 *        v  commit; expand the trees and images that are live
 *   sweep what is neither live nor young: rename into trash under the lock, then remove
 *
 * The rows go before the bytes, so that no crash leaves a row without them. In the transaction
 * nobody else can begin to need what was not marked; after it the rows are tombstones, and who
 * stores the same bytes again makes them young. --dry-run is the same way without the writing.
 */
#include <dirent.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "cli/cli.h"
#include "image/image.h"
#include "lineage/images.h"
#include "lineage/live.h"
#include "store/gc.h"
#include "store/pack.h"

#define DAY_MS (86400LL * 1000)
#define COARSE_MS 20      /* times of files lag the clock by a tick of the kernel */
#define STARTED_MS 1000   /* an attempt's row has the clock of before its start */

enum reason {
    R_RETIRED,
    R_REMOVED,
    R_IMAGE,
    R_NAMELESS,
    R_ATTEMPTS,
    R_CRASHED,
    R_DAMAGED,
    REASONS
};
static const char *const reason_texts[REASONS] = {
    [R_RETIRED] = "of runs that are not kept",
    [R_REMOVED] = "removed by hand",
    [R_IMAGE] = "of removed images",
    [R_NAMELESS] = "named by nothing",
    [R_ATTEMPTS] = "directories of attempts",
    [R_CRASHED] = "left by a crash",
    [R_DAMAGED] = "damaged, found by fsck",
};
static const char *const reason_keys[REASONS] = {
    [R_RETIRED] = "retired",   [R_REMOVED] = "removed",   [R_IMAGE] = "image",
    [R_NAMELESS] = "nameless", [R_ATTEMPTS] = "attempts", [R_CRASHED] = "crashed",
    [R_DAMAGED] = "damaged",
};
static const struct {
    uint32_t bit; /* the first that fits counts */
    const char *key, *text;
} kept_rows[] = {
    {DB_KEPT_TAG, "tagged", "tagged, or upstream of it"},
    {DB_KEPT_OPEN, "unfinished", "of runs that are not over"},
    {DB_KEPT_RUN, "runs", "of runs that are kept"},
    {DB_KEPT_IMPORT, "imported", "imported"},
    {DB_KEPT_IMAGE, "images", "images"},
};

struct fate_of_tree {
    char hex[DIGEST_HEX];
    enum db_fate fate;
};

struct house {
    struct cli *c;
    struct db_keep keep;
    struct db_live live;
    struct digest_set blobs, layers, checkouts; /* to keep */
    struct digest_set fates[3];                 /* by enum db_fate, as they were before marking */
    struct fate_of_tree *trees;
    size_t n_trees;
    struct db_attempt_dir *dirs;                /* that may go */
    size_t n_dirs;
    struct map may_go; /* "runs/<run>/<attempt>" -> itself; "<run>/<task>.checkpoint" ... */
    int64_t young_unix_ms;
    bool dry_run, no_pack;
    struct pack_count packed;
    uint64_t n_evicted;
    struct gc_count made_room[GC_KINDS]; /* before the rest could be marked */
    struct gc_count counts[GC_KINDS], going[REASONS], kept[N_ELEMS(kept_rows)];
    int64_t n_buried;
};

static void house_done(struct house *h)
{
    db_live_done(&h->live);
    digest_set_done(&h->blobs);
    digest_set_done(&h->layers);
    digest_set_done(&h->checkouts);
    for (size_t i = 0; i < N_ELEMS(h->fates); i++)
        digest_set_done(&h->fates[i]);
    map_done(&h->may_go);
}

static void hex_of(const uint8_t raw[32], char out[DIGEST_HEX])
{
    for (int i = 0; i < 32; i++)
        snprintf(out + 2 * i, 3, "%02x", raw[i]);
}

/* ---- marking ---------------------------------------------------------------------------------- */

/* everything younger than this may be about to be named by a row */
static int find_young(struct house *h, int64_t grace_ms, struct err *e)
{
    int64_t leases, open;

    /* Without a grace, what was there when we were called is old: the clock is read that much later. */
    if (grace_ms < COARSE_MS)
        (void)nanosleep(&(struct timespec){.tv_nsec = COARSE_MS * 1000000L}, NULL);
    h->young_unix_ms = clock_unix_ms() - COARSE_MS - grace_ms;
    if (gc_leases(h->c->store, &leases, e) < 0 || db_open_since(h->c->db, &open, e) < 0)
        return -1;
    if (leases < h->young_unix_ms)
        h->young_unix_ms = leases;
    if (open != INT64_MAX && open - STARTED_MS < h->young_unix_ms)
        h->young_unix_ms = open - STARTED_MS;
    return 0;
}

static bool is_going(void *ctx, const char *hex, bool dir)
{
    struct house *h = ctx;
    struct store *s = h->c->store;

    if (dir)
        return tree_is_old(s, hex, h->young_unix_ms);
    return gc_is_old(s, STORE_BLOBS, hex, h->young_unix_ms);
}

static void note_fate(void *ctx, const char *hex, bool dir, enum db_fate fate)
{
    struct house *h = ctx;
    struct fate_of_tree *t;

    if (!digest_set_add(&h->fates[fate], hex) || !dir)
        return;
    h->trees = arena_grow(&h->c->a, h->trees, &h->n_trees, sizeof *h->trees);
    t = &h->trees[h->n_trees - 1];
    t->fate = fate;
    memcpy(t->hex, hex, sizeof t->hex);
}

/* tree objects share the fate of the directory */
static void expand_fates(struct house *h)
{
    struct err ignored;

    for (size_t i = 0; i < h->n_trees; i++)
        if (!db_live_kinds(&h->live, h->trees[i].hex))
            (void)gc_mark_tree(h->c->store, h->trees[i].hex, &h->fates[h->trees[i].fate], &ignored);
}

static int mark_rows(struct house *h, struct err *e)
{
    struct cli *c = h->c;

    if (db_live_digests(c->db, &h->keep, &h->live, e) < 0 ||
        db_attempt_dirs_in(&c->a, c->db, &h->keep, h->young_unix_ms, &h->dirs, &h->n_dirs, e) < 0)
        return -1;
    if (h->dry_run)
        return 0;
    return db_artifacts_bury(c->db, &h->live, is_going, h, &h->n_buried, e);
}

static int mark(struct house *h, struct err *e)
{
    struct db *d = h->c->db;
    AUTO_TXN struct db *txn = d;

    if (h->dry_run)
        return mark_rows(h, e);
    if (db_begin(d, DB_DURABLE, e) < 0 || mark_rows(h, e) < 0)
        return -1;
    return db_commit(d, e);
}

static int expand(struct house *h, struct err *e)
{
    struct cli *c = h->c;
    struct db_image *images;
    char hex[DIGEST_HEX];
    size_t n;

    for (size_t i = 0; i < h->live.n; i++) {
        const struct db_live_item *x = &h->live.items[i];
        hex_of(x->digest, hex);
        if (x->kinds & (DB_LIVE_FILE | DB_LIVE_IMAGE))
            (void)digest_set_add(&h->blobs, hex);
        if (x->kinds & DB_LIVE_LAYER)
            (void)digest_set_add(&h->layers, hex);
        if (!(x->kinds & DB_LIVE_TREE))
            continue;
        (void)digest_set_add(&h->checkouts, hex);
        if (gc_mark_tree(c->store, hex, &h->blobs, e) < 0)
            return err_at(e, "gc stops, since it cannot see what is needed (dugout fsck tells "
                             "what is damaged)");
    }
    if (db_images_in(&c->a, c->db, &images, &n, e) < 0)
        return -1;
    for (size_t i = 0; i < n; i++)
        if (image_mark(c->store, images[i].config_hex,
                       images[i].manifest_hex[0] ? images[i].manifest_hex : NULL, &h->blobs,
                       &h->layers, e) < 0)
            return -1;
    return 0;
}

/* attempts that may go, the checkpoints of their tasks, and what all of their runs had */
static void mark_dirs(struct house *h)
{
    static const char *const of_run[] = {"workspace", "etc"};

    for (size_t i = 0; i < h->n_dirs; i++) {
        struct str dir = h->dirs[i].dir;
        struct str checkpoint;
        size_t n = dir.len;

        map_put(&h->may_go, dir, &h->dirs[i]);
        while (n && dir.ptr[n - 1] != '.' && dir.ptr[n - 1] != '/')
            n--;
        if (!n || dir.ptr[n - 1] != '.')
            continue;
        checkpoint = str_of(arena_printf(&h->c->a, "%.*scheckpoint", (int)n, dir.ptr));
        map_put(&h->may_go, checkpoint, &h->dirs[i]);
        while (n && dir.ptr[n - 1] != '/')
            n--;
        for (size_t k = 0; k < N_ELEMS(of_run); k++)
            map_put(&h->may_go,
                    str_of(arena_printf(&h->c->a, "%.*s%s", (int)n, dir.ptr, of_run[k])),
                    &h->dirs[i]);
    }
}

/* a directory lives unless the database says that it may go; an empty attempt asks for the run's,
 * which is small: its lock is how a run is found */
static bool attempt_lives(void *ctx, const char *run, const char *attempt)
{
    struct house *h = ctx;
    char key[320];

    if (!attempt || !attempt[0])
        return true;
    snprintf(key, sizeof key, "runs/%s/%s", run, attempt);
    return !map_get(&h->may_go, str_of(key));
}

/* ---- counting ------------------------------------------------------------------------------------ */

static enum reason reason_of(struct house *h, enum gc_kind kind, const char *name)
{
    if (kind == GC_TMP)
        return R_CRASHED;
    if (kind == GC_TRASH)
        return strncmp(name, "corrupt-", 8) == 0 ? R_DAMAGED : R_CRASHED;
    if (kind == GC_RUNS)
        return R_ATTEMPTS;
    if (digest_set_has(&h->fates[DB_FATE_REMOVED], name))
        return R_REMOVED;
    if (digest_set_has(&h->fates[DB_FATE_RETIRED], name))
        return R_RETIRED;
    return kind == GC_LAYERS || digest_set_has(&h->fates[DB_FATE_IMAGE], name) ? R_IMAGE
                                                                               : R_NAMELESS;
}

static void count_going(void *ctx, enum gc_kind kind, const char *name, uint64_t bytes)
{
    struct house *h = ctx;
    struct gc_count *n = &h->going[reason_of(h, kind, name)];

    n->n++;
    n->bytes += bytes;
}

/* what stays, by the first reason; bytes as the blob or the directory artifact has them on disk */
static void count_kept(struct house *h)
{
    for (size_t i = 0; i < h->live.n; i++) {
        const struct db_live_item *x = &h->live.items[i];
        struct gc_count *n = NULL;
        char hex[DIGEST_HEX];

        for (size_t k = 0; k < N_ELEMS(kept_rows) && !n; k++)
            if (x->reasons & kept_rows[k].bit)
                n = &h->kept[k];
        if (!n)
            continue;
        hex_of(x->digest, hex);
        n->n++;
        if (x->kinds & (DB_LIVE_FILE | DB_LIVE_IMAGE))
            n->bytes += store_bytes_of(h->c->store, STORE_BLOBS, hex);
        if (x->kinds & DB_LIVE_TREE)
            n->bytes += store_bytes_of(h->c->store, STORE_CHECKOUTS, hex);
        if (x->kinds & DB_LIVE_LAYER)
            n->bytes += store_bytes_of(h->c->store, STORE_LAYERS, hex);
    }
}

static void count_json(struct jw *w, const char *key, const struct gc_count *n)
{
    jw_key(w, key);
    jw_obj(w);
    jw_ki64(w, "count", (int64_t)n->n);
    jw_ki64(w, "bytes", (int64_t)n->bytes);
    jw_end_obj(w);
}

static void print_json(struct house *h)
{
    AUTO_BUF struct buf out = {0};
    struct jw w;

    buf_init(&out, 0);
    jw_init(&w, &out);
    jw_obj(&w);
    for (int k = 0; k < GC_KINDS; k++)
        count_json(&w, gc_kind_name((enum gc_kind)k), &h->counts[k]);
    jw_kbool(&w, "dry_run", h->dry_run);
    jw_ki64(&w, "tombstones", h->n_buried);
    jw_key(&w, "packed");
    jw_obj(&w);
    jw_ki64(&w, "directories", (int64_t)h->packed.trees);
    jw_ki64(&w, "files", (int64_t)h->packed.files);
    jw_ki64(&w, "packs", (int64_t)h->packed.packs);
    jw_ki64(&w, "bytes", (int64_t)h->packed.bytes);
    jw_ki64(&w, "checkouts_removed", (int64_t)h->n_evicted);
    jw_end_obj(&w);
    jw_key(&w, "going");
    jw_obj(&w);
    for (int i = 0; i < REASONS; i++)
        count_json(&w, reason_keys[i], &h->going[i]);
    jw_end_obj(&w);
    if (h->dry_run) {
        jw_key(&w, "kept");
        jw_obj(&w);
        for (size_t i = 0; i < N_ELEMS(kept_rows); i++)
            count_json(&w, kept_rows[i].key, &h->kept[i]);
        jw_end_obj(&w);
    }
    jw_end_obj(&w);
    cli_out_json(&out);
}

static void add_row(struct table *t, const char *what, const char *why, const struct gc_count *n)
{
    char size[24];

    if (!n->n)
        return;
    size_human(n->bytes, size);
    table_add(t, what);
    table_add(t, why);
    table_addf(t, "%llu", (unsigned long long)n->n);
    table_add(t, size);
}

static void print_text(struct house *h)
{
    struct table t;
    uint64_t total = 0;
    char size[24];

    table_init(&t, 4, (const char *const[]){"", "WHY", "NUMBER", "SIZE"});
    for (size_t i = 0; i < N_ELEMS(kept_rows) && h->dry_run; i++)
        add_row(&t, "stays", kept_rows[i].text, &h->kept[i]);
    for (int i = 0; i < REASONS; i++) {
        add_row(&t, h->dry_run ? "goes" : "gone", reason_texts[i], &h->going[i]);
        total += h->going[i].bytes;
    }
    table_print(&t, stdout);
    size_human(total, size);
    (void)printf("%s %s\n", size, h->dry_run ? "would be freed" : "freed");
    if (h->packed.trees && h->dry_run)
        (void)printf("%llu directories of many small files would be packed, which frees more\n",
                     (unsigned long long)h->packed.trees);
    else if (h->packed.trees)
        (void)printf("%llu files of %llu directories are now in %llu packs\n",
                     (unsigned long long)h->packed.files, (unsigned long long)h->packed.trees,
                     (unsigned long long)h->packed.packs);
}

/* ---- the command ------------------------------------------------------------------------------------ */

/* Directories that are kept and not in use go into packs, and their checkouts go. What cannot be
 * packed stays as it is: that is said, and is no reason to stop. */
static int pack(struct house *h, struct err *e)
{
    struct store *s = h->c->store;

    for (size_t i = 0; i < h->live.n; i++) {
        struct err why = {0};
        char hex[DIGEST_HEX];
        bool gone = false;

        if (!(h->live.items[i].kinds & DB_LIVE_TREE))
            continue;
        hex_of(h->live.items[i].digest, hex);
        if (!gc_is_old(s, STORE_CHECKOUTS, hex, h->young_unix_ms) ||
            !tree_worth_packing(s, hex))
            continue;
        if (h->dry_run) {
            h->packed.trees++;
            continue;
        }
        if (tree_pack(s, hex, &h->packed, &why) < 0) {
            if (err_is_full(&why)) {
                log_note("no room to pack directories of many small files: left as they are");
                return 0;
            }
            if (why.code == ERR_SYS)
                return *e = why, -1;
            log_note("%s: it stays as it is", why.text);
            continue;
        }
        if (tree_evict(s, hex, h->young_unix_ms, &gone, e) < 0)
            return -1;
        h->n_evicted += gone;
    }
    return 0;
}

static int forget_dirs(struct house *h, struct err *e)
{
    struct cli *c = h->c;
    AUTO_TXN struct db *txn = c->db;

    if (db_begin(c->db, DB_DURABLE, e) < 0)
        return -1;
    for (size_t i = 0; i < h->n_dirs; i++)
        if (access(arena_printf(&c->a, "%s/%s", c->home, h->dirs[i].dir.ptr), F_OK) < 0 &&
            db_attempt_dir_gone(c->db, h->dirs[i].task, h->dirs[i].number, e) < 0)
            return -1;
    return db_commit(c->db, e);
}

static void start_over(struct house *h)
{
    db_live_done(&h->live);
    for (size_t i = 0; i < N_ELEMS(h->fates); i++)
        digest_set_done(&h->fates[i]);
    h->trees = NULL;
    h->dirs = NULL;
    h->n_trees = h->n_dirs = 0;
    h->n_buried = 0;
}

/* On a disk without a byte left the database cannot say what goes. What no row names by its content
 * goes first then: what crashes left, and directories of attempts that are not kept. */
static int make_room(struct house *h, struct gc_plan *plan, struct err *e)
{
    struct gc_plan first = *plan;

    start_over(h);
    if (db_live_digests(h->c->db, &h->keep, &h->live, e) < 0 ||
        db_attempt_dirs_in(&h->c->a, h->c->db, &h->keep, h->young_unix_ms, &h->dirs, &h->n_dirs,
                           e) < 0)
        return -1;
    mark_dirs(h);
    first.blobs = first.layers = first.checkouts = NULL;
    first.young_unix_ms = h->young_unix_ms;
    if (gc_sweep(h->c->store, &first, h->made_room, e) < 0)
        return -1;
    start_over(h);
    return db_gone_each(h->c->db, note_fate, h, e);
}

static int mark_or_make_room(struct house *h, struct gc_plan *plan, struct err *e)
{
    if (mark(h, e) == 0)
        return 0;
    if (!err_is_full(e) || make_room(h, plan, e) < 0)
        return -1;
    *e = (struct err){0};
    if (mark(h, e) == 0)
        return 0;
    if (!err_is_full(e))
        return -1;
    return err_sys(e, e->sys,
                   "the disk of %s has not even room to record what goes: remove or move away some "
                   "other file there, and run dugout gc again",
                   h->c->home);
}

static int gc(struct house *h, int64_t grace_ms, struct err *e)
{
    struct cli *c = h->c;
    AUTO_FD int one = -1;
    struct gc_plan plan = {.blobs = &h->blobs,
                           .layers = &h->layers,
                           .checkouts = &h->checkouts,
                           .attempt_lives = attempt_lives,
                           .going = count_going,
                           .ctx = h,
                           .dry_run = h->dry_run};

    if (gc_enter(c->store, &one, e) < 0 || find_young(h, grace_ms, e) < 0 ||
        db_gone_each(c->db, note_fate, h, e) < 0 ||
        mark_or_make_room(h, &plan, e) < 0 || expand(h, e) < 0)
        return -1;
    expand_fates(h);
    mark_dirs(h);
    plan.young_unix_ms = h->young_unix_ms;
    if (gc_sweep(c->store, &plan, h->counts, e) < 0)
        return -1;
    for (int k = 0; k < GC_KINDS; k++) {
        h->counts[k].n += h->made_room[k].n;
        h->counts[k].bytes += h->made_room[k].bytes;
    }
    if (h->dry_run) {
        count_kept(h);
        return h->no_pack ? 0 : pack(h, e);
    }
    if ((h->n_dirs && forget_dirs(h, e) < 0) ||
        (!h->no_pack && pack(h, e) < 0))
        return -1;
    db_checkpoint(c->db);
    return 0;
}

/* as many days as there can be mean for ever, and must not wrap round to never */
static struct db_keep keep(uint64_t runs, uint64_t days, uint64_t bytes)
{
    int64_t now = clock_unix_ms();
    uint64_t all_days = (uint64_t)(now / DAY_MS); /* since 1970 */

    return (struct db_keep){.last_runs = (int64_t)runs,
                            .since_unix_ms = !days             ? INT64_MAX
                                             : days < all_days ? now - (int64_t)days * DAY_MS
                                                               : 0,
                            .max_bytes = bytes};
}

int cli_gc(struct cli *c, uint64_t *freed, struct err *e)
{
    AUTO_FREE struct house *h = xalloc(sizeof *h);
    int rc;

    h->c = c;
    h->keep =
        keep((uint64_t)c->cfg.keep_runs, (uint64_t)c->cfg.keep_days, c->cfg.keep_bytes);
    rc = gc(h, DAY_MS, e);
    *freed = 0;
    for (int i = 0; i < REASONS; i++)
        *freed += h->going[i].bytes;
    house_done(h);
    return rc;
}

int cmd_gc(struct cli *c)
{
    AUTO_FREE struct house *h = xalloc(sizeof *h);
    struct err e = {0};
    int64_t grace = DAY_MS;
    uint64_t runs, days, bytes;
    int rc;

    if (opt_duration(c, "grace", &grace, &e) < 0 || cli_open(c, DB_WRITE, &e) < 0)
        return cli_fail(&e);
    runs = (uint64_t)c->cfg.keep_runs;
    days = (uint64_t)c->cfg.keep_days;
    bytes = c->cfg.keep_bytes;
    if (opt_u64(c, "keep-runs", &runs, &e) < 0 || opt_u64(c, "keep-days", &days, &e) < 0 ||
        opt_size(c, "keep-bytes", &bytes, &e) < 0)
        return cli_fail(&e);
    h->c = c;
    h->dry_run = opt_flag(c, "dry-run");
    h->no_pack = opt_flag(c, "no-pack");
    h->keep = keep(runs, days, bytes);
    rc = gc(h, grace, &e);
    if (rc == 0)
        (c->json ? print_json : print_text)(h);
    house_done(h);
    return rc < 0 ? cli_fail(&e) : 0;
}
