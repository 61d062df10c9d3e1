/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_fsck.c - are the bytes what the record says, and if not, what does that touch?
 *
 *   the database file itself        SQLite's own check
 *   what lies in the store          names, modes; with --full or --sample the bytes, read and hashed
 *   what live rows name             there, and of the recorded size
 *   images that are loaded          config and unpacked layers
 *
 * A finding that is damage names the artifacts that have these bytes and the models downstream of
 * them: what somebody may have deployed. Wrong bytes are moved to trash/, so that no task reads
 * them and whoever makes the right ones can store them. Rows are left alone: a missing content
 * stays a finding until it is made again, put back or removed by hand (artifact rm).
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fd.h"
#include "cli/cli.h"
#include "image/image.h"
#include "lineage/closure.h"
#include "lineage/health.h"
#include "lineage/images.h"
#include "store/check.h"
#include "store/pack.h"

#define NOTE_EVERY 1000 /* digests in one transaction */

struct finding {
    const char *what; /* a word for programs */
    const char *name, *text, *advice;
    bool damage, moved;
    int64_t *artifacts;
    size_t n_artifacts;
    struct lineage models; /* nodes of type Model downstream, the artifacts themselves included */
};

struct fsck {
    struct cli *c;
    const char *level;
    bool dry_run, all, full; /* full: the disk of the database */
    struct digest_set hash; /* what to read, unless all */
    struct digest_set told; /* digests that have a finding of damage */
    struct finding *findings;
    size_t n_findings;
    char (*right)[DIGEST_HEX]; /* to be noted as verified */
    size_t n_right;
    int64_t began_unix_ms;
    struct check_count n;
    const char *db_text; /* what is wrong with the database, NULL */
    struct err failed;   /* of a callback */
};

static struct finding *add(struct fsck *f, const char *what, const char *name, const char *text,
                           bool damage)
{
    struct finding *x;

    f->findings = arena_grow(&f->c->a, f->findings, &f->n_findings, sizeof *f->findings);
    x = &f->findings[f->n_findings - 1];
    *x = (struct finding){.what = what,
                          .name = arena_strdup(&f->c->a, name),
                          .text = arena_strdup(&f->c->a, text),
                          .damage = damage};
    if (damage)
        (void)digest_set_add(&f->told, name);
    return x;
}

/* ---- what lies in the store ---------------------------------------------------------------------- */

static void found(void *ctx, const struct check_finding *x)
{
    static const char *const words[] = {
        [CHECK_WRONG_BYTES] = "wrong bytes", [CHECK_WRONG_TREE] = "wrong directory",
        [CHECK_NO_TREE] = "no tree object",  [CHECK_MODE] = "wrong mode",
        [CHECK_UNFINISHED] = "unfinished",   [CHECK_STRAY] = "stray name",
    };

    add(ctx, words[x->what], x->name, x->text, x->damage)->moved = x->moved;
}

static bool wants_hash(void *ctx, const char *hex)
{
    struct fsck *f = ctx;

    return f->all || digest_set_has(&f->hash, hex);
}

static int write_right(struct fsck *f, struct err *e)
{
    struct db *d = f->c->db;
    AUTO_TXN struct db *txn = d;

    if (db_begin(d, DB_PROGRESS, e) < 0)
        return -1;
    for (size_t i = 0; i < f->n_right; i++)
        if (db_verified_put(d, f->right[i], clock_unix_ms(), e) < 0)
            return -1;
    f->n_right = 0;
    return db_commit(d, e);
}

/* on a full disk they are not noted, and read again next time: what was found out is said all the same */
static int note_right(struct fsck *f, struct err *e)
{
    if (!f->n_right || !db_is_writable(f->c->db) || f->dry_run)
        return 0;
    if (write_right(f, e) == 0)
        return 0;
    if (!err_is_full(e))
        return -1;
    f->n_right = 0;
    f->full = true;
    return 0;
}

static void right(void *ctx, const char *hex)
{
    struct fsck *f = ctx;

    memcpy(f->right[f->n_right++], hex, DIGEST_HEX);
    if (f->n_right == NOTE_EVERY && !f->failed.code)
        (void)note_right(f, &f->failed);
    if (f->n_right == NOTE_EVERY)
        f->n_right = 0;
}

/* P per cent of what the rows name, the longest unread first */
static int choose_sample(struct fsck *f, uint64_t percent, struct err *e)
{
    struct cli *c = f->c;
    AUTO_DIGEST_SET struct digest_set read_before = {.n = 0};
    struct db_content *all, *verified;
    size_t n, n_verified, want, taken = 0;

    if (db_contents_in(&c->a, c->db, &all, &n, e) < 0 ||
        db_verified_in(&c->a, c->db, &verified, &n_verified, e) < 0)
        return -1;
    want = (size_t)((n * percent + 99) / 100);
    for (size_t i = 0; i < n_verified; i++)
        (void)digest_set_add(&read_before, verified[i].hex);
    for (size_t i = 0; i < n && taken < want; i++)
        if (!digest_set_has(&read_before, all[i].hex))
            taken += digest_set_add(&f->hash, all[i].hex);
    for (size_t i = 0; i < n_verified && taken < want; i++)
        taken += digest_set_add(&f->hash, verified[i].hex);
    return 0;
}

/* ---- what the rows name ----------------------------------------------------------------------------- */

static void check_content(struct fsck *f, const struct db_content *x)
{
    struct err why = {0};
    AUTO_FD int fd = -1;
    uint64_t size;

    if (digest_set_has(&f->told, x->hex))
        return;
    if (x->dir) {
        if (!tree_there(f->c->store, x->hex, &why))
            add(f, "missing", x->hex, why.text, true);
        return;
    }
    if (blob_open(f->c->store, x->hex, &fd, &size, &why) < 0)
        add(f, "missing", x->hex, why.text, true);
    else if (size != (uint64_t)x->size_bytes)
        add(f, "wrong size", x->hex,
            arena_printf(&f->c->a, "has %llu bytes, %lld were recorded", (unsigned long long)size,
                         (long long)x->size_bytes),
            true)
            ->moved = !f->dry_run && blob_quarantine(f->c->store, x->hex, &why) == 0;
}

/* a tree object that was moved away, and then made again from its directory, is no damage any more */
static void forgive_mended(struct fsck *f)
{
    for (size_t i = 0; i < f->n_findings; i++) {
        struct finding *x = &f->findings[i];
        if (!x->moved || strcmp(x->what, "wrong bytes") != 0 ||
            !blob_has(f->c->store, x->name))
            continue;
        x->damage = false;
        x->text = arena_printf(&f->c->a, "%s, and was made again", x->text);
    }
}

static int check_contents(struct fsck *f, struct err *e)
{
    struct db_content *all;
    size_t n;

    if (db_contents_in(&f->c->a, f->c->db, &all, &n, e) < 0)
        return -1;
    for (size_t i = 0; i < n; i++)
        check_content(f, &all[i]);
    return 0;
}

/* are its config, manifest and compressed layers there, from which the rest can be made again? */
static bool has_archive(struct fsck *f, const struct db_image *row)
{
    AUTO_DIGEST_SET struct digest_set blobs = {.n = 0};
    AUTO_DIGEST_SET struct digest_set layers = {.n = 0};
    struct err ignored;

    if (!row->manifest_hex[0] || image_mark(f->c->store, row->config_hex, row->manifest_hex, &blobs,
                                            &layers, &ignored) < 0)
        return false;
    for (size_t i = 0; i < blobs.cap; i++) {
        char hex[DIGEST_HEX];
        if (!blobs.used[i])
            continue;
        digest_set_hex(&blobs, i, hex);
        if (!blob_has(f->c->store, hex))
            return false;
    }
    return true;
}

static int check_images(struct fsck *f, struct err *e)
{
    struct cli *c = f->c;
    struct db_image *rows;
    size_t n;

    if (db_images_in(&c->a, c->db, &rows, &n, e) < 0)
        return -1;
    for (size_t i = 0; i < n; i++) {
        const char *name = rows[i].n_names ? rows[i].names[0].ptr : rows[i].config_hex;
        struct err why = {0};
        struct image image;
        if (image_open_in(&c->a, c->store, rows[i].config_hex, &image, &why) < 0)
            add(f, "image", rows[i].config_hex,
                arena_printf(&c->a, "image %s: %s", name, why.text), true)
                ->advice = has_archive(f, &rows[i])
                               ? arena_printf(&c->a,
                                              "its archive is here: dugout image export %s FILE.tar, "
                                              "then dugout image load FILE.tar",
                                              name)
                               : "load the image again";
        else if (!has_archive(f, &rows[i]))
            add(f, "no archive", rows[i].config_hex,
                arena_printf(&c->a,
                             "image %s runs, but was loaded with --no-blobs or lost its archive: it "
                             "cannot be exported or backed up until it is loaded again",
                             name),
                false);
    }
    return 0;
}

/* ---- what the damage touches ------------------------------------------------------------------------- */

static const char *advice_for(struct fsck *f, const struct db_artifact *x)
{
    struct db_task task;
    struct db_run run;
    struct err ignored;

    if (x->source.len)
        return arena_printf(&f->c->a, "bring it in again%s %s",
                            x->source.ptr[0] == '/' ? ": dugout artifact import" : " from",
                            x->source.ptr);
    if (!x->task || db_task_get_in(&f->c->a, f->c->db, x->task, &task, &ignored) < 0 ||
        db_run_get_in(&f->c->a, f->c->db, task.run, &run, &ignored) < 0)
        return arena_printf(&f->c->a,
                            "put it back from a backup, or give it up: dugout artifact rm a%lld",
                            (long long)x->id);
    return arena_printf(&f->c->a,
                        "put it back from a backup, or make it again: dugout rerun %s (its task %s; "
                        "what is still there is taken from the cache), or give it up: dugout "
                        "artifact rm a%lld",
                        run.name.ptr, task.path.ptr, (long long)x->id);
}

static int find_touched(struct fsck *f, struct finding *x, struct err *e)
{
    struct cli *c = f->c;
    struct db_artifact_filter filter = {.digest_hex = str_of(x->name)};
    struct lineage_opts down = {.directions = DB_DOWN, .type = STR("Model")};
    struct db_artifact *rows;
    size_t n;

    if (!is_hex64(x->name))
        return 0;
    if (db_artifacts_in(&c->a, c->db, &filter, &rows, &n, e) < 0)
        return -1;
    x->artifacts = arena_alloc(&c->a, (n + 1) * sizeof *x->artifacts);
    for (size_t i = 0; i < n; i++)
        x->artifacts[x->n_artifacts++] = rows[i].id;
    if (!n)
        return 0;
    if (!x->advice)
        x->advice = advice_for(f, &rows[n - 1]); /* the oldest: who made it first */
    return db_lineage_in(&c->a, c->db, x->artifacts, n, &down, &x->models, e);
}

static bool is_model(const struct lineage_node *node)
{
    struct str type = node->is_task ? (struct str){"", 0} : node->artifact->type;

    return type.len >= 5 && memcmp(type.ptr + type.len - 5, "Model", 5) == 0 &&
           (type.len == 5 || type.ptr[type.len - 6] == '.');
}

/* ---- the report ------------------------------------------------------------------------------------------ */

static void finding_json(struct jw *w, const struct finding *x)
{
    jw_obj(w);
    jw_kstr(w, "what", x->what);
    jw_kstr(w, "name", x->name);
    jw_kstr(w, "text", x->text);
    jw_kbool(w, "damage", x->damage);
    jw_kbool(w, "moved", x->moved);
    jw_kstr(w, "advice", x->advice);
    jw_key(w, "artifacts");
    jw_arr(w);
    for (size_t i = 0; i < x->n_artifacts; i++) {
        char id[24];
        snprintf(id, sizeof id, "a%lld", (long long)x->artifacts[i]);
        jw_strz(w, id);
    }
    jw_end_arr(w);
    jw_key(w, "models");
    jw_arr(w);
    for (size_t i = 0; i < x->models.n_nodes; i++) {
        const struct lineage_node *m = &x->models.nodes[i];
        char id[24];
        if (!is_model(m))
            continue;
        snprintf(id, sizeof id, "a%lld", (long long)m->id);
        jw_obj(w);
        jw_kstr(w, "artifact", id);
        jw_kstr(w, "name", m->artifact->name.ptr);
        jw_kstr(w, "task", m->task_path.len ? m->task_path.ptr : NULL);
        jw_kstr(w, "run", m->run_name.len ? m->run_name.ptr : NULL);
        jw_kstr(w, "tags", m->tags.len ? m->tags.ptr : NULL);
        jw_end_obj(w);
    }
    jw_end_arr(w);
    jw_end_obj(w);
}

static size_t count_damage(const struct fsck *f)
{
    size_t n = f->db_text ? 1 : 0;

    for (size_t i = 0; i < f->n_findings; i++)
        n += f->findings[i].damage;
    return n;
}

static void print_json(const struct fsck *f)
{
    AUTO_BUF struct buf out = {0};
    struct jw w;

    buf_init(&out, 0);
    jw_init(&w, &out);
    jw_obj(&w);
    jw_kstr(&w, "level", f->level);
    jw_kstr(&w, "database", f->db_text ? f->db_text : "ok");
    jw_ki64(&w, "blobs", (int64_t)f->n.blobs);
    jw_ki64(&w, "checkouts", (int64_t)f->n.checkouts);
    jw_ki64(&w, "packed", (int64_t)f->n.packed);
    jw_ki64(&w, "sealed", (int64_t)f->n.sealed);
    jw_ki64(&w, "hashed", (int64_t)f->n.hashed);
    jw_ki64(&w, "hashed_bytes", (int64_t)f->n.hashed_bytes);
    jw_ki64(&w, "damage", (int64_t)count_damage(f));
    jw_key(&w, "findings");
    jw_arr(&w);
    for (size_t i = 0; i < f->n_findings; i++)
        finding_json(&w, &f->findings[i]);
    jw_end_arr(&w);
    jw_end_obj(&w);
    cli_out_json(&out);
}

static void print_finding(const struct finding *x)
{
    (void)printf("%s%s %.64s: %s%s\n", x->damage ? "DAMAGE " : "note ", x->what, x->name, x->text,
                 x->moved ? " (moved to trash)" : "");
    for (size_t i = 0; i < x->n_artifacts; i++)
        (void)printf("  is artifact a%lld\n", (long long)x->artifacts[i]);
    for (size_t i = 0; i < x->models.n_nodes; i++) {
        const struct lineage_node *m = &x->models.nodes[i];
        if (is_model(m))
            (void)printf("  touches model a%lld %s, task %s of run %s%s%s%s\n", (long long)m->id,
                         m->artifact->name.ptr, m->task_path.len ? m->task_path.ptr : "-",
                         m->run_name.len ? m->run_name.ptr : "-", m->tags.len ? " [" : "",
                         m->tags.len ? m->tags.ptr : "", m->tags.len ? "]" : "");
    }
    if (x->advice)
        (void)printf("  %s\n", x->advice);
}

static void print_text(const struct fsck *f)
{
    size_t damage = count_damage(f);
    char size[24];

    if (f->db_text)
        (void)printf("DAMAGE %s\n  dugout backup DIR tells whether it can still be read: then make a new home "
                     "of that (dugout --home NEW restore DIR), else of the last backup\n",
                     f->db_text);
    for (size_t i = 0; i < f->n_findings; i++)
        print_finding(&f->findings[i]);
    size_human(f->n.hashed_bytes, size);
    (void)printf("%llu blobs and %llu directories looked at, %llu of them read (%s): ",
                 (unsigned long long)f->n.blobs, (unsigned long long)f->n.checkouts,
                 (unsigned long long)f->n.hashed, size);
    if (f->n.sealed)
        (void)printf("%llu sealed by the kernel, ", (unsigned long long)f->n.sealed);
    if (damage)
        (void)printf("%zu damaged\n", damage);
    else
        (void)printf("no damage\n");
}

/* ---- the command -------------------------------------------------------------------------------------------- */

static int check(struct fsck *f, struct err *e)
{
    struct cli *c = f->c;
    struct check_opts o = {.dry_run = f->dry_run,
                           .wants_hash = wants_hash,
                           .right = right,
                           .found = found,
                           .ctx = f};
    AUTO_FD int one = -1;
    struct err why = {0};

    if (db_is_writable(c->db) && gc_enter(c->store, &one, e) < 0)
        return -1;
    if (db_check(c->db, f->all, &why) < 0)
        f->db_text = arena_strdup(&c->a, why.text);
    if (check_store(c->store, &o, &f->n, e) < 0)
        return -1;
    forgive_mended(f);
    if (note_right(f, e) < 0 ||
        check_contents(f, e) < 0 || check_images(f, e) < 0)
        return -1;
    if (f->failed.code) {
        *e = f->failed;
        return -1;
    }
    for (size_t i = 0; i < f->n_findings; i++)
        if (f->findings[i].damage && find_touched(f, &f->findings[i], e) < 0)
            return -1;
    if (!f->all || !db_is_writable(c->db) || f->dry_run || f->full)
        return 0;
    if (db_begin(c->db, DB_PROGRESS, e) < 0)
        return -1;
    if (db_verified_prune(c->db, f->began_unix_ms, e) < 0) {
        db_rollback(c->db);
        return -1;
    }
    return db_commit(c->db, e);
}

int cmd_fsck(struct cli *c)
{
    AUTO_FREE struct fsck *f = xalloc(sizeof *f);
    struct err e = {0};
    uint64_t percent = 0;
    int rc;

    f->c = c;
    f->all = opt_flag(c, "full");
    f->dry_run = opt_flag(c, "dry-run");
    f->began_unix_ms = clock_unix_ms();
    if (opt_u64(c, "sample", &percent, &e) < 0)
        return cli_fail(&e);
    if (percent > 100 || (percent && f->all)) {
        (void)err_set(&e, ERR_INPUT, "--sample wants 1 to 100 per cent, and not --full");
        return cli_fail(&e);
    }
    f->level = f->all ? "full" : percent ? "sample" : "quick";
    if (cli_open(c, DB_READ, &e) < 0 || (percent && choose_sample(f, percent, &e) < 0))
        return cli_fail(&e);
    f->dry_run |= !db_is_writable(c->db);
    f->right = arena_alloc(&c->a, NOTE_EVERY * sizeof *f->right);
    rc = check(f, &e);
    if (rc == 0)
        (c->json ? print_json : print_text)(f);
    digest_set_done(&f->hash);
    digest_set_done(&f->told);
    return rc < 0 ? cli_fail(&e) : count_damage(f) ? 4 : 0;
}
