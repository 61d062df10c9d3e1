/* SPDX-License-Identifier: Apache-2.0 */
/* lineage_query_test.c - queries with relations, leaders, revoked marks, origins */
#include "lineage_t.h"

#include "lineage/origin.h"
#include "lineage/revoke.h"
#include "lineage/wheresql.h"

/* Two nights of one pipeline:
 *
 *   raw(a1) -> split -> train(a2), test(a3)
 *   train, test -> fit[0] -> model(a4) metrics(a5);  fit[1] -> model(a6) metrics(a7)
 *   a4, a6 -> pick -> best(a8), the same bytes as a6, tagged churn:prod
 *   other(a9), from outside, -> fit of another pipeline -> model(a10)
 */
static struct db *d;
static int64_t fit0, fit1, pick_task;

static int64_t a_task_of(int64_t run, const char *path, const char *component,
                         unsigned code)
{
    char hex[DIGEST_HEX];
    const char *slash = strrchr(path, '/');
    int64_t id = 0;

    OK(db_task_insert(d,
                      &(struct db_task_new){.run = run,
                                            .path = str_of(path),
                                            .name = str_of(slash ? slash + 1 : path),
                                            .kind = STR("container"),
                                            .state = DB_PENDING,
                                            .component = str_of(component),
                                            .code_hex = str_of(digest_no(code, hex)),
                                            .code_text = STR("{}")},
                      &id, e));
    return id;
}

static void runs_image(int64_t task, unsigned image)
{
    char hex[DIGEST_HEX];
    bool won;

    OK(db_task_start(
        d, task,
        &(struct db_task_start){.started_unix_ms = 1,
                                .image_hex = str_of(digest_no(image, hex))},
        &won, e));
}

static void story(void)
{
    int64_t run, other, split, fit2, raw, train, test, m0, m1, best;

    home_make();
    d = home_open(DB_WRITE);
    OK(db_begin(d, DB_PROGRESS, e));
    run = a_run(d, "11111111-1111-4111-8111-111111111111", "night-1", "nightly");
    other = a_run(d, "22222222-1111-4111-8111-111111111111", "other-1", "other");
    raw = an_artifact(d, 0, "raw", "system.Dataset", 1, "{\"rows\":20000}");
    split = a_task_of(run, "split", "comp-split", 71);
    fit0 = a_task_of(run, "loop[0]/fit", "comp-fit", 72);
    fit1 = a_task_of(run, "loop[1]/fit", "comp-fit", 72);
    pick_task = a_task_of(run, "pick", "comp-pick", 73);
    fit2 = a_task_of(other, "fit", "comp-fit", 74);
    runs_image(split, 91);
    runs_image(fit0, 92);
    runs_image(fit1, 92);
    runs_image(fit2, 93);
    reads(d, split, "raw", raw);
    train = an_artifact(d, split, "train", "system.Dataset", 2, "{\"rows\":15000}");
    test = an_artifact(d, split, "test", "system.Dataset", 3, "{\"rows\":5000}");
    reads(d, fit0, "train", train);
    reads(d, fit0, "test", test);
    reads(d, fit1, "train", train);
    reads(d, fit1, "test", test);
    OK(db_param_put(d, fit0, DB_IN, STR("trees"), STR("10"), e));
    OK(db_param_put(d, fit1, DB_IN, STR("trees"), STR("40"), e));
    OK(db_param_put(d, fit1, DB_IN, STR("mode"), STR("\"fast\""), e));
    m0 = an_artifact(d, fit0, "model", "system.Model", 4, "{\"f1\":0.8}");
    (void)an_artifact(d, fit0, "metrics", "system.Metrics", 0, "{\"f1\":0.8}");
    m1 = an_artifact(d, fit1, "model", "system.Model", 6, "{\"f1\":0.9}");
    (void)an_artifact(d, fit1, "metrics", "system.Metrics", 0, "{\"f1\":0.9}");
    reads(d, pick_task, "models", m0);
    OK(db_event_put(d, pick_task, DB_IN, STR("models"), 1, m1, e));
    best = an_artifact(d, pick_task, "best", "system.Model", 6, "{\"f1\":0.9}");
    OK(db_tag_set(d, STR("churn:prod"), best, false, BY("ada", 10), NULL, e));
    raw = an_artifact(d, 0, "elsewhere", "system.Dataset", 9, "{\"rows\":7}");
    reads(d, fit2, "train", raw);
    (void)an_artifact(d, fit2, "model", "system.Model", 10, "{\"f1\":0.95}");
    OK(db_commit(d, e));
}

static void story_end(void)
{
    db_close(d);
    home_remove();
}

/* "8 4" of the answer */
static void ids_text(const struct db_artifact *x, size_t n, struct buf *out)
{
    for (size_t i = 0; i < n; i++)
        buf_addf(out, "%s%lld", i ? " " : "", (long long)x[i].id);
}

static void queries_find_what_they_say_by_every_way(void)
{
    static const struct row {
        const char *query, *want;
    } rows[] = {
        {"Model", "10 8 6 4"},
        {"Model where upstream Dataset.rows > 10000 and tag = prod", "8"},
        {"Model where tag = churn:prod", "8"},
        {"Model where tag = rod", ""},
        {"Model where has tag", "8"},
        {"Model where tag ~ 'churn:*'", "8"},
        {"Model where upstream Dataset.rows > 10000", "8 6 4"},
        {"Model where not upstream Dataset.rows > 10000", "10"},
        {"Model where upstream Dataset (rows > 10000 and not name = raw)", "8 6 4"},
        {"Model where upstream (rows = 7)", "10"},
        {"Model where upstream rows = 7", "10"},
        {"Model where upstream Model", "8"}, /* nothing is upstream of itself */
        {"Model where upstream 'system.Model' (f1 > 0.85)", "8"},
        {"Model where input Dataset.name = raw", ""},
        {"artifacts where input Dataset.name = raw", "3 2"},
        {"where input Model", "8"},
        {"Dataset where downstream Model.tag = prod", "3 2 1"},
        {"Dataset where not downstream Model (tag = prod or f1 > 0.9)", ""},
        {"Dataset where downstream Metrics.f1 >= 0.9", "3 2 1"},
        {"Model where identical Model.task = fit", "8"},
        {"Model where identical Model", "8 6"},
        {"Model where identical Dataset", ""},
        {"Model where param.trees > 10", "6"},
        {"Model where param.trees != 10", "10 8 6"},
        {"Model where param.mode = fast", "6"},
        {"Model where param.mode ~ 'f*'", "6"},
        {"Model where has param.trees", "6 4"},
        {"Model where upstream Model.param.trees = 40", "8"},
        {"Model where task = fit", "10 6 4"},
        {"Model where task = 'loop[1]/fit'", "6"},
        {"Model where run = night-1 and task != pick", "6 4"},
        {"Model where pipeline = nightly", "8 6 4"},
        {"Model where pipeline in (other, nightly) and f1 < 0.9", "4"},
        {"Model where experiment = Default", "10 8 6 4"},
        {"Model where component = fit", "10 6 4"},
        {"Model where component = comp-fit and code = sha256:00000048", "6 4"},
        {"Model where image = 0000005d", "10"},
        {"Model where upstream component = comp-split", "8 6 4"},
        {"Model where upstream (image = sha256:0000005b and rows < 6000)", "8 6 4"},
        {"Model where type = Dataset", ""},
        {"Metrics order by -f1", "7 5"},
        {"Metrics where f1 > 0 order by f1 limit 1", "5"},
        {"Model order by -f1 limit 3", "10 8 6"},
        {"Model order by rows", ""},
        {"artifacts order by id limit 2", "1 2"},
        {"where upstream Dataset (upstream Dataset.rows = 20000) and Model.x = 1", ""},
        {"Model where upstream Dataset (upstream Dataset.rows = 20000)", "8 6 4"},
        {"Model where upstream (not has rows)", "8"},
        {"where revoked", ""},
        {"artifacts where state = DELETED", ""},
    };

    story();
    for (size_t i = 0; i < N_ELEMS(rows); i++) {
        for (int way = WHERE_PLANNED; way <= WHERE_SEEDS; way++) {
            AUTO_ARENA struct arena a = {0};
            AUTO_BUF struct buf got = {0};
            struct db_artifact *x = NULL;
            struct query q = {0};
            size_t n = 0;

            OK(query_parse(&a, str_of(rows[i].query), &q, e));
            OK(db_query_way_in(&a, d, &q, 0, way, &x, &n, e));
            ids_text(x, n, &got);
            if (strcmp(buf_str(&got), rows[i].want) != 0)
                printf("way %d: %s\n", way, rows[i].query);
            CHECK_STR(buf_str(&got), rows[i].want);
        }
    }
    story_end();
}

static void a_query_that_does_not_parse_says_where(void)
{
    static const struct row {
        const char *query, *says;
    } rows[] = {
        {"model where x = 1", "character 1: want a type such as Model, artifacts, or"},
        {"Model were rows > 1", "character 7: want where, order by, limit, got were"},
        {"Model where rows > 1 order f1", "character 28: want by"},
        {"Model order by tag", "character 16: want a metadata key, id, name"},
        {"Model limit 0", "character 13: want a whole number"},
        {"Model limit 1.5", "character 13: want a whole number"},
        {"Model limit 5 where x = 1", "character 15: want where, order by"},
        {"Model where upstream Dataset.rows >", "ends where a number or a text"},
    };

    for (size_t i = 0; i < N_ELEMS(rows); i++) {
        AUTO_ARENA struct arena a = {0};
        struct query q = {.limit = 77};
        FAILS(query_parse(&a, str_of(rows[i].query), &q, e), ERR_INPUT, rows[i].says);
        CHECK_INT(q.limit, 77);
    }
}

static void what_is_too_long_or_deep_is_refused(void)
{
    AUTO_ARENA struct arena a = {0};
    AUTO_BUF struct buf text = {0};
    struct query q;

    buf_adds(&text, "where ");
    for (int i = 0; i < 200; i++)
        buf_adds(&text, "not ");
    buf_adds(&text, "x = 1");
    FAILS(query_parse(&a, (struct str){text.ptr, text.len}, &q, e), ERR_LIMIT,
          "deeper");
    buf_reset(&text);
    buf_adds(&text, "where x in (1");
    for (int i = 0; i < 1000; i++)
        buf_adds(&text, ",1");
    buf_adds(&text, ")");
    FAILS(query_parse(&a, (struct str){text.ptr, text.len}, &q, e), ERR_LIMIT, "terms");
    for (int i = 0; i < 4096; i++)
        buf_addc(&text, ' ');
    FAILS(query_parse(&a, (struct str){text.ptr, text.len}, &q, e), ERR_LIMIT, "4096");
}

/* ---- random graphs ------------------------------------------------------------------
 */

static unsigned seed = 4711;

static unsigned dice(unsigned n)
{
    seed = seed * 1103515245u + 12345u;
    return (seed >> 16) % n;
}

static void a_random_graph(int n_tasks)
{
    int64_t run = a_run(d, "33333333-1111-4111-8111-111111111111", "r", "p");
    int64_t made[200], tasks[100];
    int n_made = 0;

    for (int i = 0; i < 5; i++)
        made[n_made++] = an_artifact(d, 0, "in", "system.Dataset", dice(8) + 1,
                                     i ? "{\"x\":1}" : "");
    for (int i = 0; i < n_tasks; i++) {
        char path[16];
        (void)snprintf(path, sizeof(path), "t%d", i);
        tasks[i] = a_task(d, run, path);
        for (unsigned k = dice(3); k-- > 0;) {
            char name[8];
            (void)snprintf(name, sizeof(name), "i%u", k);
            reads(d, tasks[i], name, made[dice((unsigned)n_made)]);
        }
        if (i && dice(4) == 0) {
            reuses(d, tasks[i], tasks[dice((unsigned)i)]);
            continue;
        }
        made[n_made++] =
            an_artifact(d, tasks[i], "out", dice(2) ? "system.Model" : "system.Dataset",
                        dice(8) + 1, dice(3) ? "{\"x\":1}" : "{\"x\":2}");
    }
}

static void search_and_seeds_agree_on_random_graphs(void)
{
    static const char *const queries[] = {
        "where upstream x = 1",
        "where upstream Model.x = 2",
        "where downstream Model.x = 1",
        "where downstream (x = 2 and not upstream x = 2)",
        "where input x = 1 and not input x = 2",
        "where upstream Dataset (downstream Model.x = 2) or downstream x = 2",
        "where not upstream Model",
    };

    for (int round = 0; round < 40; round++) {
        home_make();
        d = home_open(DB_WRITE);
        OK(db_begin(d, DB_PROGRESS, e));
        a_random_graph(30);
        OK(db_commit(d, e));
        if (round % 2)
            OK(db_exec(d, "ANALYZE", e));
        for (size_t i = 0; i < N_ELEMS(queries); i++) {
            AUTO_ARENA struct arena a = {0};
            AUTO_BUF struct buf want = {0}, got = {0};
            struct db_artifact *x = NULL;
            struct query q;
            size_t n = 0;

            OK(query_parse(&a, str_of(queries[i]), &q, e));
            OK(db_query_way_in(&a, d, &q, 0, WHERE_SEARCH, &x, &n, e));
            ids_text(x, n, &want);
            OK(db_query_way_in(&a, d, &q, 0, WHERE_SEEDS, &x, &n, e));
            ids_text(x, n, &got);
            CHECK_STR(buf_str(&got), buf_str(&want));
        }
        story_end();
    }
}

/* ---- marks and origins --------------------------------------------------------------
 */

static void flagged_text(struct buf *out)
{
    AUTO_MARKS struct marks *m = NULL;
    const struct db_mark *why;

    OK(marks_open(d, &m, e));
    for (int64_t id = 1; id <= 10; id++) {
        OK(marks_look(m, id, &why, e));
        if (why)
            buf_addf(out, "%lld ", (long long)id);
    }
}

static void a_mark_flags_equal_bytes_and_all_downstream_until_it_is_lifted(void)
{
    AUTO_BUF struct buf got = {0};
    AUTO_ARENA struct arena a = {0};
    char hex[DIGEST_HEX];
    struct db_artifact *x;
    size_t n;

    story();
    flagged_text(&got);
    CHECK_STR(buf_str(&got), "");
    OK(db_begin(d, DB_DURABLE, e));
    OK(db_revoke_artifact(d, 8, BY("eve", 5), e)); /* as a6 has its bytes, a6 is too */
    FAILS(db_revoke_artifact(d, 8, BY("eve", 6), e), ERR_INPUT,
          "a8: it is revoked already");
    FAILS(db_revoke_artifact(d, 99, BY("eve", 6), e), ERR_MISSING, "no artifact a99");
    OK(db_commit(d, e));
    flagged_text(&got);
    CHECK_STR(buf_str(&got), "6 8 ");
    OK(db_query_in(&a, d, STR("Model where revoked"), 0, &x, &n, e));
    CHECK_INT(n, 2);

    OK(db_begin(d, DB_DURABLE, e));
    OK(db_unrevoke_artifact(d, 8, BY("eve", 7), e));
    FAILS(db_unrevoke_artifact(d, 8, BY("eve", 8), e), ERR_MISSING,
          "not revoked itself");
    OK(db_revoke_artifact(d, 1, BY("eve", 9), e));
    OK(db_commit(d, e));
    buf_reset(&got);
    flagged_text(&got);
    CHECK_STR(buf_str(&got), "1 2 3 4 5 6 7 8 ");

    OK(db_begin(d, DB_DURABLE, e));
    OK(db_unrevoke_artifact(d, 1, BY("eve", 10), e));
    FAILS(db_revoke_image(d, str_of(digest_no(12345, hex)), BY("eve", 11), e),
          ERR_MISSING, "no image");
    OK(db_revoke_image(d, str_of(digest_no(93, hex)), BY("eve", 11), e));
    OK(db_commit(d, e));
    buf_reset(&got);
    flagged_text(&got);
    CHECK_STR(buf_str(&got), "10 ");
    CHECK_INT(sql_i64(d, "SELECT count(*) FROM revocation WHERE lifted_ms IS NULL"),
              1);
    story_end();
}

static void ids_list(const int64_t *ids, size_t n, struct buf *out)
{
    buf_reset(out);
    for (size_t i = 0; i < n; i++)
        buf_addf(out, "%lld ", (long long)ids[i]);
}

static void images_and_components_know_what_they_made(void)
{
    static const struct row {
        const char *what, *want;
    } rows[] = {
        {"comp-fit", "4 5 6 7 10 "},     {"fit", "4 5 6 7 10 "},
        {"sha256:00000048", "4 5 6 7 "}, {"other-1/fit", "10 "},
        {"night-1/pick", "8 "},
    };
    AUTO_ARENA struct arena a = {0};
    AUTO_BUF struct buf got = {0};
    char hex[DIGEST_HEX];
    int64_t *ids;
    size_t n;

    story();
    for (size_t i = 0; i < N_ELEMS(rows); i++) {
        OK(db_made_by_component_in(&a, d, str_of(rows[i].what), &ids, &n, e));
        ids_list(ids, n, &got);
        CHECK_STR(buf_str(&got), rows[i].want);
    }
    FAILS(db_made_by_component_in(&a, d, STR("comp-none"), &ids, &n, e), ERR_MISSING,
          "there are: comp-fit, comp-pick, comp-split");
    OK(db_image_known(d, STR("sha256:0000005c"), hex, e));
    OK(db_made_by_image_in(&a, d, str_of(hex), &ids, &n, e));
    ids_list(ids, n, &got);
    CHECK_STR(buf_str(&got), "4 5 6 7 ");
    FAILS(db_image_known(d, STR("00000"), hex, e), ERR_MISSING, "no image");
    FAILS(db_image_known(d, STR("000000"), hex, e), ERR_INPUT, "several");
    FAILS(db_image_known(d, STR("ffffff"), hex, e), ERR_MISSING, "ever loaded or run");
    story_end();
}

static void leaders_are_those_with_the_metric(void)
{
    AUTO_ARENA struct arena a = {0};
    AUTO_BUF struct buf got = {0};
    struct db_artifact_filter f = {.type = STR("Metrics"), .sort = STR("-f1")};
    struct db_artifact *x;
    size_t n;

    story();
    OK(db_artifacts_in(&a, d, &f, &x, &n, e));
    ids_text(x, n, &got);
    CHECK_STR(buf_str(&got), "7 5");
    f.pipeline = STR("nightly");
    f.type = STR("Model");
    buf_reset(&got);
    OK(db_artifacts_in(&a, d, &f, &x, &n, e));
    ids_text(x, n, &got);
    CHECK_STR(buf_str(&got), "8 6 4");
    f.sort = STR("f1");
    f.limit = 1;
    buf_reset(&got);
    OK(db_artifacts_in(&a, d, &f, &x, &n, e));
    ids_text(x, n, &got);
    CHECK_STR(buf_str(&got), "4");
    f.sort = STR("tag");
    FAILS(db_artifacts_in(&a, d, &f, &x, &n, e), ERR_INPUT, "character 1");
    story_end();
}

int main(void)
{
    queries_find_what_they_say_by_every_way();
    a_query_that_does_not_parse_says_where();
    what_is_too_long_or_deep_is_refused();
    search_and_seeds_agree_on_random_graphs();
    a_mark_flags_equal_bytes_and_all_downstream_until_it_is_lifted();
    images_and_components_know_what_they_made();
    leaders_are_those_with_the_metric();
    return t_end();
}
