/* SPDX-License-Identifier: Apache-2.0 */
/* lineage_live_test.c - what gc must keep, what it may take, and how queries are
 * planned */
#include "lineage_t.h"

static const struct db_keep keep_nothing = {.since_unix_ms = INT64_MAX};

static char *uuid_no(int n, char out[37])
{
    (void)snprintf(out, 37, "%08d-1111-4111-8111-111111111111", n);
    return out;
}

/* the contents 1 to 63 that are live, as bits */
static uint64_t live_bits(struct db *d, struct db_keep keep)
{
    struct db_live live = {0};
    uint64_t bits = 0;
    char hex[DIGEST_HEX];

    OK(db_live_digests(d, &keep, &live, e));
    for (unsigned i = 1; i < 64; i++)
        bits |= (uint64_t)(db_live_kinds(&live, digest_no(i, hex)) != 0) << i;
    for (size_t i = 1; i < live.n; i++)
        CHECK(memcmp(live.items[i - 1].digest, live.items[i].digest, 32) < 0);
    db_live_done(&live);
    return bits;
}

#define B(n) (1ull << (n))

/* Three finished runs of one pipeline, each reads 10 + i and makes 20 + i; the third's
 * output was taken from the first. Contents: 1 imported, 2 from outside and used by
 * nobody. */
static void runs_make(struct db *d, int64_t run[4], int64_t made[4])
{
    char uuid[37];
    int64_t x, first = 0;
    bool won = false;

    OK(db_begin(d, DB_PROGRESS, e));
    x = an_artifact(d, 0, "imported", "system.Dataset", 1, "");
    OK(db_exec(d, "UPDATE artifact SET imported = 1", e));
    CHECK_INT(x, 1);
    an_artifact(d, 0, "loose", "system.Dataset", 2, "");
    for (int i = 1; i <= 3; i++) {
        int64_t task;
        run[i] = a_run(d, uuid_no(i, uuid), "r", "p");
        task = a_task(d, run[i], "t");
        reads(d, task, "in",
              an_artifact(d, 0, "in", "system.Dataset", 10 + (unsigned)i, ""));
        if (i == 3) {
            reuses(d, task, first);
        } else {
            made[i] = an_artifact(d, task, "out", "system.Model", 20 + (unsigned)i, "");
            finish(d, task, DB_SUCCEEDED);
        }
        first = i == 1 ? task : first;
        OK(db_run_finish(d, run[i], &(struct db_run_end){.state = DB_SUCCEEDED}, &won,
                         e));
    }
    OK(db_exec(d, "UPDATE run SET created_ms = id * 1000", e));
    OK(db_commit(d, e));
}

static void each_root_keeps_what_it_should(void)
{
    const struct row {
        const char *sql; /* done first, undone after */
        struct db_keep keep;
        uint64_t want;
    } rows[] = {
        {"SELECT 1", {0, INT64_MAX, 0}, B(1)},
        {"SELECT 1", {1, INT64_MAX, 0}, B(1) | B(13) | B(21)}, /* a hit's output is kept */
        {"SELECT 1", {2, INT64_MAX, 0}, B(1) | B(13) | B(21) | B(12) | B(22)},
        {"SELECT 1", {9, INT64_MAX, 0}, B(1) | B(11) | B(12) | B(13) | B(21) | B(22)},
        {"SELECT 1", {0, 2000, 0}, B(1) | B(12) | B(13) | B(21) | B(22)},
        {"SELECT 1", {1, 2000, 0}, B(1) | B(12) | B(13) | B(21) | B(22)},
        {"UPDATE run SET state = 'RUNNING' WHERE id = 2",
         {0, INT64_MAX, 0},
         B(1) | B(12) | B(22)},
        {"UPDATE run SET state = 'INTERRUPTED' WHERE id = 1",
         {0, INT64_MAX, 0},
         B(1) | B(11) | B(21)},
        {"UPDATE run SET state = 'FAILED' WHERE id = 1", {0, INT64_MAX, 0}, B(1)},
        {"INSERT INTO ref SELECT 'x', id, 1, '' FROM artifact WHERE name = 'out'"
         " ORDER BY id LIMIT 1",
         {0, INT64_MAX, 0},
         B(1) | B(11) | B(21)}, /* the whole way up, of the producer alone */
        {"INSERT INTO ref VALUES ('x', 2, 1, '')", {0, INT64_MAX, 0}, B(1) | B(2)},
        {"UPDATE artifact SET state = 'REMOVED' WHERE imported = 1", {0, INT64_MAX, 0}, 0},
        {"UPDATE artifact SET state = 'DELETED' WHERE name = 'in'",
         {9, INT64_MAX, 0},
         B(1) | B(21) | B(22)},
    };
    struct db *d;
    int64_t run[4], made[4];

    home_make();
    d = home_open(DB_WRITE);
    runs_make(d, run, made);
    for (size_t i = 0; i < N_ELEMS(rows); i++) {
        uint64_t got;
        OK(db_begin(d, DB_PROGRESS, e));
        OK(db_exec(d, rows[i].sql, e));
        got = live_bits(d, rows[i].keep);
        if (got != rows[i].want)
            printf("row %zu: %s\n", i, rows[i].sql);
        CHECK_INT(got, rows[i].want);
        db_rollback(d);
    }
    db_close(d);
    home_remove();
}

static void images_keep_their_blobs_and_layers(void)
{
    struct db_image i = {.loaded_unix_ms = 1, .os = STR("linux")};
    struct db_live live = {0};
    char blob[DIGEST_HEX], layer[DIGEST_HEX], other[DIGEST_HEX], dir[DIGEST_HEX];
    AUTO_FREE char *layers = NULL;
    struct db *d;
    int64_t x;

    home_make();
    d = home_open(DB_WRITE);
    digest_no(1, i.config_hex);
    digest_no(2, i.manifest_hex);
    layers =
        xasprintf("[{\"diff_id\":\"sha256:%s\",\"digest\":\"sha256:%s\",\"size\":1},"
                  "{\"diff_id\":\"sha256:%s\",\"digest\":null}]",
                  digest_no(3, layer), digest_no(4, blob), digest_no(5, other));
    i.layers_json = str_of(layers);
    OK(db_begin(d, DB_PROGRESS, e));
    OK(db_image_put(d, &i, e));
    OK(db_artifact_insert(
        d,
        &(struct db_artifact_new){.type = STR("system.Dataset"),
                                  .name = STR("d"),
                                  .kind = STR("dir"),
                                  .digest_hex = str_of(digest_no(6, dir)),
                                  .imported = true},
        &x, e));
    an_artifact(d, 0, "shared", "system.Dataset", 4,
                ""); /* a file with a layer's bytes */
    OK(db_exec(d, "UPDATE artifact SET imported = 1", e));
    OK(db_commit(d, e));

    OK(db_live_digests(d, &keep_nothing, &live, e));
    CHECK_INT(live.n, 6);
    CHECK_INT(db_live_kinds(&live, i.config_hex), DB_LIVE_IMAGE);
    CHECK_INT(db_live_kinds(&live, i.manifest_hex), DB_LIVE_IMAGE);
    CHECK_INT(db_live_kinds(&live, layer), DB_LIVE_LAYER);
    CHECK_INT(db_live_kinds(&live, other), DB_LIVE_LAYER);
    CHECK_INT(db_live_kinds(&live, blob), DB_LIVE_IMAGE | DB_LIVE_FILE);
    CHECK_INT(db_live_kinds(&live, dir), DB_LIVE_TREE);
    CHECK_INT(db_live_kinds(&live, "short"), 0);
    db_live_done(&live);

    OK(db_begin(d, DB_PROGRESS, e));
    OK(db_image_remove(d, str_of(i.config_hex), STR("ada"), 5, e));
    OK(db_commit(d, e));
    OK(db_live_digests(d, &keep_nothing, &live, e));
    CHECK_INT(live.n, 2);
    db_live_done(&live);

    OK(db_exec(d, "UPDATE image SET removed_ms = NULL, layers = '[{'", e));
    FAILS(db_live_digests(d, &keep_nothing, &live, e), ERR_CORRUPT,
          "layers of an image");
    CHECK_INT(live.n, 0); /* nothing half done */
    db_close(d);
    home_remove();
}

static bool all_but(void *ctx, const char *hex, bool dir)
{
    CHECK(!dir);
    return strcmp(ctx, hex) != 0;
}

static void what_is_not_live_becomes_a_tombstone_unless_it_is_young(void)
{
    AUTO_ARENA struct arena a = {0};
    struct db_artifact x = {0};
    struct db_live live = {0};
    char hex[DIGEST_HEX];
    struct db *d;
    int64_t one, n = 0;

    home_make();
    d = home_open(DB_WRITE);
    one = an_artifact(d, 0, "x", "system.Dataset", 1, "");
    an_artifact(d, 0, "y", "system.Dataset", 1, "");
    an_artifact(d, 0, "z", "system.Dataset", 2, "");
    an_artifact(d, 0, "kept", "system.Dataset", 3, "");
    OK(db_begin(d, DB_DURABLE, e));
    OK(db_tag_set(d, STR("t"), 4, false, BY("me", 1), NULL, e));
    OK(db_exec(d, "INSERT INTO verified SELECT DISTINCT digest, 1 FROM artifact", e));
    OK(db_live_digests(d, &keep_nothing, &live, e));
    (void)digest_no(2, hex);
    OK(db_artifacts_bury(d, &live, all_but, hex, &n, e));
    CHECK_INT(n, 2);
    OK(db_artifacts_bury(d, &live, all_but, hex, &n, e));
    CHECK_INT(n, 0);
    OK(db_commit(d, e));
    db_live_done(&live);
    OK(db_artifact_get_in(&a, d, one, &x, e));
    CHECK_INT(x.state, DB_DELETED);
    CHECK_STR(db_artifact_state_name(x.state), "DELETED");
    CHECK_INT(sql_i64(d, "SELECT count(*) FROM verified"), 2);
    CHECK_INT(sql_i64(d, "SELECT count(*) FROM artifact WHERE state = 'LIVE'"), 2);
    db_close(d);
    home_remove();
}

/* 20 runs, each makes 1 MB of its own and reads the one that all share (10 MB) */
static void a_ceiling_of_bytes_lets_the_oldest_runs_go(void)
{
    struct db_keep keep = {.last_runs = 20, .since_unix_ms = INT64_MAX};
    struct db *d;
    int64_t run[21], shared;
    char uuid[37];
    bool won = false;

    home_make();
    d = home_open(DB_WRITE);
    OK(db_begin(d, DB_PROGRESS, e));
    shared = an_artifact(d, 0, "shared", "system.Dataset", 63, "");
    for (int i = 1; i <= 20; i++) {
        int64_t task;
        run[i] = a_run(d, uuid_no(i, uuid), "r", "p");
        task = a_task(d, run[i], "t");
        reads(d, task, "in", shared);
        an_artifact(d, task, "out", "system.Model", (unsigned)i, "");
        if (i != 2) /* this one is not over */
            OK(db_run_finish(d, run[i], &(struct db_run_end){.state = DB_SUCCEEDED}, &won, e));
    }
    OK(db_exec(d, "UPDATE artifact SET size = 1000000; UPDATE artifact SET size = 10000000"
                  " WHERE task IS NULL", e));
    OK(db_commit(d, e));
    CHECK(live_bits(d, keep) == ((1ull << 63) | ((1ull << 21) - 2)));
    keep.max_bytes = 15500000;
    CHECK(live_bits(d, keep) == ((1ull << 63) | 0x1f << 16 | 1 << 2));
    keep.max_bytes = 1;
    CHECK(live_bits(d, keep) == ((1ull << 63) | 1 << 2));
    db_close(d);
    home_remove();
}

static void attempt_directories_go_after_their_run(void)
{
    AUTO_ARENA struct arena a = {0};
    struct db_attempt_dir *dirs = NULL;
    size_t n = 0;
    struct db *d;
    int64_t run[3], task[3];
    char uuid[37];
    bool won;

    home_make();
    d = home_open(DB_WRITE);
    OK(db_begin(d, DB_PROGRESS, e));
    for (int i = 0; i < 3; i++) {
        run[i] = a_run(d, uuid_no(i, uuid), "r", "p");
        task[i] = a_task(d, run[i], "t");
        for (int k = 1; k <= 2; k++) {
            char dir[32];
            (void)snprintf(dir, sizeof(dir), "runs/%d/%d", i, k);
            OK(db_attempt_start(d,
                                &(struct db_attempt_new){.task = task[i],
                                                         .number = k,
                                                         .started_unix_ms = 1,
                                                         .dir = str_of(dir)},
                                e));
            if (i != 1 || k != 2) /* one is not reconciled */
                OK(db_attempt_finish(
                    d, task[i], k,
                    &(struct db_attempt_end){.state = k == 1 ? DB_FAILED : DB_SUCCEEDED,
                                             .finished_unix_ms = 100 * k},
                    &won, e));
        }
        if (i < 2)
            OK(db_run_finish(d, run[i], &(struct db_run_end){.state = DB_FAILED}, &won,
                             e));
    }
    OK(db_commit(d, e));

    OK(db_attempt_dirs_in(&a, d, &keep_nothing, 1000, &dirs, &n, e));
    CHECK_INT(n, 3); /* not those of the living run, not the open one */
    CHECK_STR(dirs[0].dir.ptr, "runs/0/1");
    CHECK(dirs[0].failed && !dirs[1].failed);
    CHECK_STR(dirs[2].dir.ptr, "runs/1/1");
    OK(db_attempt_dirs_in(&a, d, &keep_nothing, 150, &dirs, &n, e));
    CHECK_INT(n, 2);
    OK(db_attempt_dirs_in(&a, d, &(struct db_keep){2, INT64_MAX, 0}, 1000, &dirs, &n, e));
    CHECK_INT(n, 2); /* run 1 is among the last two */
    OK(db_begin(d, DB_PROGRESS, e));
    OK(db_attempt_dir_gone(d, task[0], 1, e));
    OK(db_commit(d, e));
    OK(db_attempt_dirs_in(&a, d, &keep_nothing, 1000, &dirs, &n, e));
    CHECK_INT(n, 2);
    db_close(d);
    home_remove();
}

/* ---- plans --------------------------------------------------------------------------
 */

/* run every kind of query once, so that its statement is among the kept ones */
static void ask_everything(struct db *d)
{
    AUTO_ARENA struct arena a = {0};
    AUTO_BUF struct buf b = {0};
    struct db_run_filter all = {0}, open = {.states = DB_IS(DB_RUNNING)},
                         of_p = {.pipeline = STR("p")};
    struct lineage_opts o = {.directions = DB_UP | DB_DOWN};
    struct db_run r, *runs;
    struct db_task t, *tasks;
    struct db_attempt *attempts;
    struct db_external_row *rows;
    struct db_run_counts counts;
    struct db_artifact x;
    struct db_tag *tags;
    struct db_image *images;
    struct db_image_move *moves;
    struct db_attempt_dir *dirs;
    struct db_live live;
    struct db_hit hit;
    struct lineage l;
    struct jw w;
    int64_t id, *ids;
    bool found;
    size_t n;
    char hex[DIGEST_HEX];
    struct err ignored;

    digest_no(21, hex);
    OK(db_run_get_in(&a, d, 1, &r, e));
    OK(db_runs_in(&a, d, &all, &runs, &n, e));
    OK(db_runs_in(&a, d, &open, &runs, &n, e));
    OK(db_runs_in(&a, d, &of_p, &runs, &n, e));
    OK(db_run_counts(d, 1, &counts, e));
    OK(db_run_find(d, STR("00000001"), &id, e));
    OK(db_run_find(d, STR("p@latest"), &id, e));
    OK(db_tasks_in(&a, d, 1, &tasks, &n, e));
    OK(db_task_get_in(&a, d, 1, &t, e));
    OK(db_attempts_in(&a, d, 1, &attempts, &n, e));
    OK(db_attempts_open_in(&a, d, 0, &attempts, &n, e));
    OK(db_externals_in(&a, d, 1, &rows, &n, e));
    OK(db_artifact_get_in(&a, d, 1, &x, e));
    OK(db_artifact_find(d, STR("sha256:00000015"), &id, e));
    OK(db_artifact_find(d, STR("00000001/t:out"), &id, e));
    (void)db_artifact_find(d, STR("00000001/t:none"), &id, &ignored);
    (void)db_artifact_find(d, STR("nothing@2026-01-01"), &id, &ignored);
    (void)db_task_find(d, STR("00000001/none"), &id, &id, &ignored);
    OK(db_tags_in(&a, d, &tags, &n, e));
    OK(db_tag_log_in(&a, d, STR("x"), &tags, &n, e));
    OK(db_images_in(&a, d, &images, &n, e));
    OK(db_image_log_in(&a, d, STR("x"), &moves, &n, e));
    OK(db_lineage_in(&a, d, &id, 1, &o, &l, e));
    OK(db_lineage_ids_in(&a, d, id, DB_UP, &ids, &n, e));
    OK(db_lineage_ids_in(&a, d, id, DB_DOWN, &ids, &n, e));
    OK(db_live_digests(d, &keep_nothing, &live, e));
    db_live_done(&live);
    OK(db_attempt_dirs_in(&a, d, &keep_nothing, 1, &dirs, &n, e));
    OK(db_cache_find_in(&a, d, str_of(hex), STR("p"), 0, &hit, &found, e));
    jw_init(&w, &b);
    OK(db_run_json(d, 1, &w, e));
    jw_init(&w, &b);
    OK(db_artifact_json(d, 3, &w, e));
}

/* tables that grow with every step: never read from end to end, except by gc */
static bool plan_is_fine(const char *sql, const char *detail)
{
    static const char *const big[] = {"SCAN a ",      "SCAN e ",    "SCAN t ",
                                      "SCAN param",   "SCAN event", "SCAN artifact",
                                      "SCAN property"};
    char line[512];

    (void)snprintf(line, sizeof(line), "%s ", detail);
    if (strstr(line, "BLOOM FILTER") || strstr(line, "AUTOMATIC"))
        return false;
    if (strstr(sql, "m.finished_ms < ?")) /* gc's list of attempts */
        return true;
    for (size_t i = 0; i < N_ELEMS(big); i++) {
        if (strstr(line, big[i]))
            return false;
    }
    return true;
}

static size_t plans_check(struct db *d)
{
    size_t n = 0;

    for (size_t i = 0; i < DB_STATEMENTS; i++) {
        AUTO_FREE char *sql = NULL;
        AUTO_Q struct q q = {0};
        struct err e;

        if (!d->slots[i].sql || strncmp(d->slots[i].sql, "PRAGMA", 6) == 0)
            continue;
        sql = xasprintf("EXPLAIN QUERY PLAN %s", d->slots[i].sql);
        if (q_open_text(&q, d, sql, &e) < 0)
            continue; /* BEGIN and COMMIT have no plan */
        n++;
        while (q_step(&q, &e) > 0) {
            const char *detail = (const char *)sqlite3_column_text(q.st, 3);
            CHECK(plan_is_fine(d->slots[i].sql, detail));
            if (!plan_is_fine(d->slots[i].sql, detail))
                printf("  %s\n  %s\n", detail, d->slots[i].sql);
        }
    }
    return n;
}

static void no_query_reads_a_big_table_with_or_without_statistics(void)
{
    struct db *d;
    int64_t run[4], made[4];

    home_make();
    d = home_open(DB_WRITE);
    runs_make(d, run, made);
    ask_everything(d);
    CHECK(plans_check(d) > 50);
    OK(db_exec(d, "ANALYZE", e)); /* somebody will */
    CHECK(sql_i64(d, "SELECT count(*) FROM sqlite_stat1") > 5);
    db_close(d);
    d = home_open(DB_WRITE);
    ask_everything(d);
    CHECK(plans_check(d) > 40);

    /* as a database of millions would have it */
    OK(db_exec(d, "UPDATE sqlite_stat1 SET stat = replace(stat, ' ', '00000 ')", e));
    db_close(d);
    d = home_open(DB_WRITE);
    ask_everything(d);
    CHECK(plans_check(d) > 40);
    db_close(d);
    home_remove();
}

static void conditions_are_answered_by_the_property_index(void)
{
    AUTO_Q struct q q = {0};
    struct db *d;
    struct err e;
    bool searched = false;

    home_make();
    d = home_open(DB_WRITE);
    must(q_open_text(&q, d,
                     "EXPLAIN QUERY PLAN SELECT artifact FROM property"
                     " WHERE key = ? AND value > ? AND value < ''",
                     &e) == 0);
    while (q_step(&q, &e) > 0)
        searched |= strstr((const char *)sqlite3_column_text(q.st, 3),
                           "SEARCH property USING PRIMARY KEY (key=? AND value>? AND "
                           "value<?)") != NULL;
    CHECK(searched);
    q_done(&q);
    db_close(d);
    home_remove();
}

int main(void)
{
    each_root_keeps_what_it_should();
    images_keep_their_blobs_and_layers();
    what_is_not_live_becomes_a_tombstone_unless_it_is_young();
    a_ceiling_of_bytes_lets_the_oldest_runs_go();
    attempt_directories_go_after_their_run();
    no_query_reads_a_big_table_with_or_without_statistics();
    conditions_are_answered_by_the_property_index();
    return t_end();
}
