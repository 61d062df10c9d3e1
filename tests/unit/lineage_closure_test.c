/* SPDX-License-Identifier: Apache-2.0 */
/* lineage_closure_test.c - up and down, the two ways agree, what the drawings say */
#include "lineage_t.h"

/* Two runs of one pipeline; the second takes `load` from the cache, trains anew:
 *
 *     raw (a1) -> load -> data (a2) -> train -> model (a3) -> evaluate -> metrics (a4)
 *     raw      -> load (hit)  data  -> train -> model (a5) -> serve (gives out nothing)
 */
struct story {
    struct db *d;
    int64_t run1, run2, load1, train1, evaluate1, load2, train2, serve2, dag1;
    int64_t raw, data, model1, metrics, model2;
};

static void story_make(struct story *s)
{
    struct db *d;

    home_make();
    d = s->d = home_open(DB_WRITE);
    OK(db_begin(d, DB_PROGRESS, e));
    s->run1 = a_run(d, "11111111-1111-4111-8111-111111111111", "churn-1", "churn");
    s->run2 = a_run(d, "22222222-1111-4111-8111-111111111111", "churn-2", "churn");
    s->raw = an_artifact(d, 0, "raw", "system.Dataset", 1, "{\"rows\":9000}");
    s->dag1 = a_task(d, s->run1, "outer");
    OK(db_exec(d, "UPDATE task SET kind = 'dag' WHERE path = 'outer'", e));
    s->load1 = a_task(d, s->run1, "outer/load");
    s->train1 = a_task(d, s->run1, "train");
    s->evaluate1 = a_task(d, s->run1, "evaluate");
    s->load2 = a_task(d, s->run2, "outer/load");
    s->train2 = a_task(d, s->run2, "train");
    s->serve2 = a_task(d, s->run2, "serve");

    reads(d, s->load1, "input", s->raw);
    s->data = an_artifact(d, s->load1, "data", "system.Dataset", 2,
                          "{\"rows\":5000,\"lang\":\"de\"}");
    reads(d, s->train1, "dataset", s->data);
    s->model1 = an_artifact(d, s->train1, "model", "system.Model", 3, "{\"auc\":0.93}");
    reads(d, s->evaluate1, "model", s->model1);
    reads(d, s->evaluate1, "dataset", s->data);
    s->metrics =
        an_artifact(d, s->evaluate1, "metrics", "system.Metrics", 0, "{\"f1\":0.5}");

    /* the DAG's own inputs and outputs: as recorded by a run, no part of the answer */
    reads(d, s->dag1, "input", s->raw);
    OK(db_event_put(d, s->dag1, DB_OUT, STR("data"), 0, s->data, e));

    reads(d, s->load2, "input", s->raw);
    reuses(d, s->load2, s->load1);
    reads(d, s->train2, "dataset", s->data);
    s->model2 = an_artifact(d, s->train2, "model", "system.Model", 5, "{\"auc\":0.97}");
    reads(d, s->serve2, "model", s->model2);
    finish(d, s->serve2, DB_SUCCEEDED);
    OK(db_tag_set(d, STR("churn:prod"), s->model2, false, BY("ada", 5000), NULL, e));
    OK(db_commit(d, e));
}

static void story_end(struct story *s)
{
    db_close(s->d);
    home_remove();
}

/* "a3 t2 a2 ..." in order of discovery, hidden ones in brackets */
static void nodes_text(const struct lineage *l, struct buf *out)
{
    for (size_t i = 0; i < l->n_nodes; i++)
        buf_addf(out, "%s%s%c%lld%s", i ? " " : "", l->nodes[i].shown ? "" : "(",
                 l->nodes[i].is_task ? 't' : 'a', (long long)l->nodes[i].id,
                 l->nodes[i].shown ? "" : ")");
}

static void a_closure_has_what_led_here_and_nothing_else(void)
{
    struct story s;
    const struct row {
        const char *start;
        unsigned directions;
        int64_t depth;
        const char *type;
        const char *want;
    } rows[] = {
        {"a3", DB_UP, 0, "", "a3 t3 a2 t2 a1"},
        {"a5", DB_UP, 0, "", "a5 t6 a2 t2 a1"}, /* through the producer, not the hit */
        {"a5", DB_UP, 1, "", "a5 t6 a2"},
        {"a4", DB_UP, 0, "", "a4 t4 a2 a3 t2 t3 a1"},
        {"a4", DB_UP, 0, "Dataset", "a4 (t4) a2 (a3) (t2) (t3) a1"},
        {"a1", DB_UP, 0, "", "a1"},
        {"a1", DB_DOWN, 0, "", "a1 t2 t5 a2 t3 t4 t6 a3 a4 a5 t7"},
        {"a1", DB_DOWN, 1, "", "a1 t2 t5 a2"},
        {"a1", DB_DOWN, 0, "Model", "a1 (t2) (t5) (a2) (t3) (t4) (t6) a3 (a4) a5 (t7)"},
        {"a4", DB_DOWN, 0, "", "a4"},
        {"a3", DB_UP | DB_DOWN, 0, "", "a3 t3 a2 t2 a1 t4 a4"},
    };

    story_make(&s);
    for (size_t i = 0; i < N_ELEMS(rows); i++) {
        AUTO_ARENA struct arena a = {0};
        AUTO_BUF struct buf got = {0};
        struct lineage_opts o = {.directions = rows[i].directions,
                                 .depth = rows[i].depth,
                                 .type = str_of(rows[i].type)};
        struct lineage l = {0};
        int64_t start = 0;

        OK(db_artifact_find(s.d, str_of(rows[i].start), &start, e));
        OK(db_lineage_in(&a, s.d, &start, 1, &o, &l, e));
        nodes_text(&l, &got);
        CHECK_STR(buf_str(&got), rows[i].want);
        CHECK_INT(l.n_starts, 1);
    }
    story_end(&s);
}

static void depths_edges_and_facts_are_those_of_the_record(void)
{
    AUTO_ARENA struct arena a = {0};
    struct lineage_opts o = {.directions = DB_DOWN};
    struct lineage l = {0};
    struct story s;
    size_t reused = 0;

    story_make(&s);
    OK(db_lineage_in(&a, s.d, &s.raw, 1, &o, &l, e));
    CHECK_INT(l.nodes[0].depth, 0);
    CHECK_INT(l.nodes[0].from, 0);
    CHECK_INT(l.nodes[3].depth, 1); /* a2 */
    CHECK_INT(l.nodes[7].depth, 2); /* a3 */
    CHECK_INT(l.nodes[7].from, DB_DOWN);
    CHECK_STR(l.nodes[7].run_name.ptr, "churn-1");
    CHECK_STR(l.nodes[7].task_path.ptr, "train");
    CHECK_STR(l.nodes[7].pipeline.ptr, "churn");
    CHECK_STR(l.nodes[9].tags.ptr, "churn:prod");
    CHECK_INT(l.n_edges, 12);
    for (size_t i = 0; i < l.n_edges; i++)
        reused += l.edges[i].reused;
    CHECK_INT(reused, 1);
    CHECK_STR(l.edges[0].name.ptr, "input");

    o.directions = DB_UP | DB_DOWN; /* two starts on one line: no edge twice */
    OK(db_lineage_in(&a, s.d, (int64_t[]){s.data, s.model1, s.data}, 3, &o, &l, e));
    CHECK_INT(l.n_starts, 2);
    for (size_t i = 1; i < l.n_edges; i++)
        CHECK(l.edges[i].from != l.edges[i - 1].from ||
              l.edges[i].to != l.edges[i - 1].to);
    l.n_nodes = 77;
    FAILS(db_lineage_in(&a, s.d, (int64_t[]){99}, 1, &o, &l, e), ERR_MISSING, "a99");
    o.type = STR("Modle");
    FAILS(db_lineage_in(&a, s.d, &s.raw, 1, &o, &l, e), ERR_MISSING, "there are:");
    CHECK_INT(l.n_nodes, 77);
    story_end(&s);
}

static void the_tree_reads_like_a_sentence(void)
{
    static const struct row {
        const char *start, *type;
        unsigned directions;
        const char *want;
    } rows[] = {
        {"a5", "Dataset", DB_UP,
         "a5 model  system.Model  000000051715  auc=0.97  train in churn-2  "
         "[churn:prod]\n"
         "└─ dataset: a2 data  system.Dataset  000000023c6e  rows=5000  lang=de  "
         "outer/load in "
         "churn-1\n"
         "   └─ input: a1 raw  system.Dataset  000000019e37  rows=9000  from "
         "outside\n"},
        {"a4", "", DB_UP,
         "a4 metrics  system.Metrics  f1=0.5  evaluate in churn-1\n"
         "├─ dataset: a2 data  system.Dataset  000000023c6e  rows=5000  lang=de  "
         "outer/load in "
         "churn-1\n"
         "│  └─ input: a1 raw  system.Dataset  000000019e37  rows=9000  from outside\n"
         "└─ model: a3 model  system.Model  00000003daa6  auc=0.93  train in churn-1\n"
         "   └─ dataset: a2 data  (see above)\n"},
        {"a4", "Dataset", DB_UP, /* joined over the hidden model, each once */
         "a4 metrics  system.Metrics  f1=0.5  evaluate in churn-1\n"
         "└─ dataset: a2 data  system.Dataset  000000023c6e  rows=5000  lang=de  "
         "outer/load in "
         "churn-1\n"
         "   └─ input: a1 raw  system.Dataset  000000019e37  rows=9000  from "
         "outside\n"},
        {"a1", "", DB_DOWN,
         "a1 raw  system.Dataset  000000019e37  rows=9000  from outside\n"
         "└─ a2 data  system.Dataset  000000023c6e  rows=5000  lang=de  outer/load in "
         "churn-1  read as input\n"
         "   ├─ a3 model  system.Model  00000003daa6  auc=0.93  train in churn-1"
         "  read as dataset\n"
         "   │  └─ a4 metrics  system.Metrics  f1=0.5  evaluate in churn-1"
         "  read as model\n"
         "   ├─ a4 metrics  (see above)\n"
         "   └─ a5 model  system.Model  000000051715  auc=0.97  train in churn-2  "
         "[churn:prod]  read as dataset\n"
         "      └─ serve in churn-2  SUCCEEDED, no artifacts  read as model\n"},
        {"a3", "", DB_UP | DB_DOWN,
         "a3 model  system.Model  00000003daa6  auc=0.93  train in churn-1\n"
         "upstream\n"
         "└─ dataset: a2 data  system.Dataset  000000023c6e  rows=5000  lang=de  "
         "outer/load in "
         "churn-1\n"
         "   └─ input: a1 raw  system.Dataset  000000019e37  rows=9000  from outside\n"
         "downstream\n"
         "└─ a4 metrics  system.Metrics  f1=0.5  evaluate in churn-1  read as model\n"},
    };
    struct story s;

    story_make(&s);
    for (size_t i = 0; i < N_ELEMS(rows); i++) {
        AUTO_ARENA struct arena a = {0};
        AUTO_BUF struct buf got = {0};
        struct lineage_opts o = {.directions = rows[i].directions,
                                 .type = str_of(rows[i].type)};
        struct lineage l = {0};
        int64_t start = 0;

        OK(db_artifact_find(s.d, str_of(rows[i].start), &start, e));
        OK(db_lineage_in(&a, s.d, &start, 1, &o, &l, e));
        lineage_tree(&l, &got);
        CHECK_STR(buf_str(&got), rows[i].want);
    }
    story_end(&s);
}

static void json_and_dot_say_the_same(void)
{
    static const char want_dot[] =
        "digraph lineage {\n  rankdir=LR;\n"
        "  node [fontname=\"sans-serif\", fontsize=10];\n"
        "  edge [fontname=\"sans-serif\", fontsize=8];\n"
        "  a2 [shape=box, penwidth=2, label=\"a2 data\\nsystem.Dataset\\n000000023c6e"
        "\\nrows 5000\\nlang de\"];\n"
        "  t2 [shape=ellipse, label=\"outer/load\\nchurn-1\"];\n"
        "  a1 [shape=box, label=\"a1 raw\\nsystem.Dataset\\n000000019e37\\nrows "
        "9000\"];\n"
        "  t2 -> a2 [label=\"data\"];\n  a1 -> t2 [label=\"input\"];\n}\n";
    static const char want_json[] =
        "{\"start\":[\"a5\"],\"nodes\":[{\"id\":\"a5\",\"kind\":\"artifact\",\"name\":"
        "\"model\","
        "\"type\":\"system.Model\",\"digest\":\"sha256:"
        "0000000517156075171560751715607517156075171560751715607517156075\",\"size\":"
        "100,"
        "\"state\":\"LIVE\",\"source\":null,\"metadata\":{\"auc\":0.97},\"tags\":"
        "\"churn:prod\",\"identical\":[],\"revoked\":null,"
        "\"run_id\":\"22222222-1111-4111-8111-111111111111\",\"run\":"
        "\"churn-2\",\"pipeline\":\"churn\",\"task\":\"train\",\"depth\":0,"
        "\"upstream\":false,"
        "\"downstream\":false}";
    AUTO_ARENA struct arena a = {0};
    AUTO_BUF struct buf dot = {0}, json_text = {0};
    AUTO_JSON yyjson_doc *doc = NULL;
    struct lineage_opts o = {.directions = DB_UP};
    struct lineage l = {0};
    struct story s;
    struct jw w;

    story_make(&s);
    OK(db_lineage_in(&a, s.d, &s.data, 1, &o, &l, e));
    lineage_dot(&l, &dot);
    CHECK_STR(buf_str(&dot), want_dot);

    o.type = STR("Dataset");
    OK(db_lineage_in(&a, s.d, &s.model2, 1, &o, &l, e));
    jw_init(&w, &json_text);
    lineage_json(&l, &w);
    OK(json_parse((struct str){json_text.ptr, json_text.len}, 1 << 20, &doc, e));
    CHECK(str_starts((struct str){json_text.ptr, json_text.len}, want_json));
    CHECK_INT(yyjson_arr_size(json_at(yyjson_doc_get_root(doc), "nodes")), 3);
    CHECK(strstr(buf_str(&json_text), "\"edges\":[{\"from\":\"a2\",\"to\":\"a5\"},{"
                                      "\"from\":\"a1\",\"to\":\"a2\"}]}"));
    buf_reset(&dot);
    lineage_dot(&l, &dot);
    CHECK(strstr(buf_str(&dot), "  a2 -> a5 [style=dotted];\n"));
    story_end(&s);
}

static void equal_bytes_and_revoked_ones_are_pointed_at(void)
{
    AUTO_ARENA struct arena a = {0};
    AUTO_MARKS struct marks *marks = NULL;
    AUTO_BUF struct buf tree = {0}, dot = {0};
    struct lineage_opts o = {.directions = DB_UP, .twins = true};
    struct lineage l = {0};
    struct story s;
    int64_t pick, best;

    story_make(&s);
    OK(db_begin(s.d, DB_PROGRESS, e));
    pick = a_task(s.d, s.run2, "pick");
    reads(s.d, pick, "models", s.model2);
    best = an_artifact(s.d, pick, "best", "system.Model", 5, "");
    OK(db_revoke_artifact(s.d, s.raw, BY("eve", 7000), e));
    OK(db_commit(s.d, e));

    OK(db_lineage_in(&a, s.d, &best, 1, &o, &l, e));
    OK(marks_open(s.d, &marks, e));
    OK(lineage_flag(&l, marks, e));
    lineage_tree(&l, &tree);
    CHECK(strstr(buf_str(&tree),
                 "a6 best  system.Model  000000051715  pick in churn-2"
                 "  (same bytes as a5 model of train in churn-2 [churn:prod])"
                 "  REVOKED (a1 raw: )\n"));
    CHECK(strstr(buf_str(&tree), "└─ models: a5 model"));
    CHECK(strstr(buf_str(&tree), "(same bytes as a6 best of pick in churn-2)"));
    lineage_dot(&l, &dot);
    CHECK(strstr(buf_str(&dot), "color=red"));
    story_end(&s);
}

static void what_users_wrote_cannot_break_the_drawing(void)
{
    AUTO_ARENA struct arena a = {0};
    AUTO_BUF struct buf out = {0};
    struct lineage_opts o = {.directions = DB_UP};
    struct lineage l = {0};
    struct db *d;
    int64_t x;

    home_make();
    d = home_open(DB_WRITE);
    x = an_artifact(
        d, 0, "a\"b\\c", "system.Dataset", 0,
        "{\"k\":\"x\\ny\\\" -> evil\",\"t\":\"0123456789012345678901234567890"
        "12345678\xc3\xa9tail\"}");
    OK(db_lineage_in(&a, d, &x, 1, &o, &l, e));
    lineage_dot(&l, &out);
    CHECK(strstr(buf_str(&out),
                 "label=\"a1 a\\\"b\\\\c\\nsystem.Dataset\\nk x y\\\" -> evil"));
    buf_reset(&out);
    lineage_tree(&l, &out);
    CHECK(strstr(buf_str(&out),
                 "k=x y\" -> evil  t=012345678901234567890123456789012345678..."));
    db_close(d);
    home_remove();
}

/* ---- the two ways -------------------------------------------------------------------
 */

static unsigned seed = 12345;

static unsigned dice(unsigned n)
{
    seed = seed * 1103515245u + 12345u;
    return (seed >> 8) % n;
}

static int id_order(const void *x, const void *y)
{
    int64_t a = *(const int64_t *)x, b = *(const int64_t *)y;

    return a < b ? -1 : a > b;
}

static void agree(struct db *d, int64_t start, enum db_direction dir)
{
    AUTO_ARENA struct arena a = {0};
    struct lineage_opts o = {.directions = dir};
    struct lineage l = {0};
    int64_t *ids = NULL, *mine;
    size_t n = 0, count = 0;

    OK(db_lineage_in(&a, d, &start, 1, &o, &l, e));
    OK(db_lineage_ids_in(&a, d, start, dir, &ids, &n, e));
    mine = arena_alloc(&a, (l.n_nodes + 1) * sizeof(*mine));
    for (size_t i = 0; i < l.n_nodes; i++) {
        if (!l.nodes[i].is_task)
            mine[count++] = l.nodes[i].id;
    }
    qsort(mine, count, sizeof(*mine), id_order);
    CHECK_INT(count, n);
    CHECK(count == n && memcmp(mine, ids, n * sizeof(*ids)) == 0);
}

static void search_and_statement_agree_on_random_graphs(void)
{
    struct db *d;

    home_make();
    d = home_open(DB_WRITE);
    for (int graph = 0; graph < 100; graph++) {
        int64_t made[40], tasks[40];
        size_t n_made = 0, n_tasks = 0;
        char uuid[37];
        int64_t run;

        OK(db_begin(d, DB_PROGRESS, e));
        (void)snprintf(uuid, sizeof(uuid), "%08d-1111-4111-8111-111111111111", graph);
        run = a_run(d, uuid, "r", "p");
        made[n_made++] = an_artifact(d, 0, "x", "system.Dataset", 0, "");
        while (n_tasks < 20) {
            char path[16], name[16];

            (void)snprintf(path, sizeof(path), "t%zu", n_tasks);
            tasks[n_tasks] = a_task(d, run, path);
            for (unsigned i = dice(4); i > 0; i--) {
                (void)snprintf(name, sizeof(name), "i%u", i);
                reads(d, tasks[n_tasks], name, made[dice((unsigned)n_made)]);
            }
            if (n_tasks &&
                dice(4) == 0) { /* what another made: cycles come from here */
                reuses(d, tasks[n_tasks], tasks[dice((unsigned)n_tasks)]);
            } else {
                for (unsigned i = dice(3); i > 0 && n_made < N_ELEMS(made); i--) {
                    (void)snprintf(name, sizeof(name), "o%u", i);
                    made[n_made++] =
                        an_artifact(d, tasks[n_tasks], name, "system.Model", 0, "");
                }
            }
            n_tasks++;
        }
        OK(db_commit(d, e));
        for (int i = 0; i < 5; i++) {
            agree(d, made[dice((unsigned)n_made)], DB_UP);
            agree(d, made[dice((unsigned)n_made)], DB_DOWN);
        }
    }
    db_close(d);
    home_remove();
}

static void a_chain_of_thousands_neither_overflows_nor_takes_for_ever(void)
{
    enum { LINKS = 3000 };
    AUTO_ARENA struct arena a = {0};
    AUTO_BUF struct buf out = {0};
    struct lineage_opts o = {.directions = DB_UP};
    struct lineage l = {0};
    struct db *d;
    int64_t run, x;

    home_make();
    d = home_open(DB_WRITE);
    OK(db_begin(d, DB_PROGRESS, e));
    run = a_run(d, "11111111-1111-4111-8111-111111111111", "r", "p");
    x = an_artifact(d, 0, "x", "system.Dataset", 0, "");
    for (int i = 0; i < LINKS; i++) {
        char path[16];
        int64_t task;

        (void)snprintf(path, sizeof(path), "t%d", i);
        task = a_task(d, run, path);
        reads(d, task, "x", x);
        x = an_artifact(d, task, "x", "system.Model", 0, "");
    }
    OK(db_commit(d, e));
    OK(db_lineage_in(&a, d, &x, 1, &o, &l, e));
    CHECK_INT(l.n_nodes, 2 * LINKS + 1);
    CHECK_INT(l.nodes[l.n_nodes - 1].depth, LINKS);
    lineage_tree(&l, &out);
    CHECK(strstr(buf_str(&out), "   ...\n"));
    buf_reset(&out);
    o.type = STR("Dataset"); /* one line under the start, over all that is hidden */
    OK(db_lineage_in(&a, d, &x, 1, &o, &l, e));
    lineage_tree(&l, &out);
    CHECK(strstr(buf_str(&out), "\n└─ a1 x  system.Dataset  from outside\n"));
    db_close(d);
    home_remove();
}

static void artifact_json_has_producer_consumers_and_tags(void)
{
    static const char want[] =
        "\"tags\":[],\"producer\":{\"run_id\":\"11111111-1111-4111-8111-111111111111\","
        "\"run\":\"churn-1\",\"pipeline\":\"churn\",\"task\":\"outer/"
        "load\",\"image\":null,\"component\":null,\"code\":null},"
        "\"consumers\":[{\"run_id\":\"11111111-1111-4111-8111-111111111111\",\"run\":"
        "\"churn-1\",\"task\":\"train\",\"name\":\"dataset\",\"index\":0},{\"run_id\":"
        "\"11111111-1111-4111-8111-111111111111\",\"run\":\"churn-1\",\"task\":"
        "\"evaluate\","
        "\"name\":\"dataset\",\"index\":0},{\"run_id\":"
        "\"22222222-1111-4111-8111-111111111111\",\"run\":\"churn-2\",\"task\":"
        "\"train\","
        "\"name\":\"dataset\",\"index\":0}],\"reused_by\":[{\"run_id\":"
        "\"22222222-1111-4111-8111-111111111111\",\"run\":\"churn-2\",\"task\":"
        "\"outer/load\",\"name\":\"data\",\"index\":0}],\"revoked\":null}";
    AUTO_BUF struct buf out = {0};
    struct story s;
    struct jw w;

    story_make(&s);
    jw_init(&w, &out);
    OK(db_artifact_json(s.d, s.data, &w, e));
    CHECK(str_starts((struct str){out.ptr, out.len},
                     "{\"id\":2,\"name\":\"data\",\"type\":"));
    CHECK_STR(strstr(buf_str(&out), "\"tags\""), want);
    story_end(&s);
}

int main(void)
{
    a_closure_has_what_led_here_and_nothing_else();
    depths_edges_and_facts_are_those_of_the_record();
    the_tree_reads_like_a_sentence();
    json_and_dot_say_the_same();
    equal_bytes_and_revoked_ones_are_pointed_at();
    what_users_wrote_cannot_break_the_drawing();
    search_and_statement_agree_on_random_graphs();
    a_chain_of_thousands_neither_overflows_nor_takes_for_ever();
    artifact_json_has_producer_consumers_and_tags();
    return t_end();
}
