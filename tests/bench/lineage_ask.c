/* SPDX-License-Identifier: Apache-2.0 */
/* lineage_ask.c - what people ask, as the commands ask it */
#include "lineage/cache.h"
#include "lineage/closure.h"
#include "lineage/diff.h"
#include "lineage/query.h"
#include "lineage/sql.h"
#include "lineage_bench.h"

static int64_t n_runs; /* of the database at hand */

int64_t data_spread(int nth, int64_t place)
{
    must(n_runs > 0);
    return nth * 37 % n_runs * DATA_TASKS + place;
}

static size_t closure(struct db *d, struct arena *a, int64_t start,
                      enum db_direction way)
{
    struct lineage_opts o = {.directions = way};
    struct lineage l;

    DO(db_lineage_in(a, d, &start, 1, &o, &l, &e));
    return l.n_nodes;
}

static size_t ask_up(struct db *d, struct arena *a, int nth)
{
    return closure(d, a, data_first_output(data_spread(nth, UP_PLACE)), DB_UP);
}

static size_t ask_up_ids(struct db *d, struct arena *a, int nth)
{
    int64_t *ids;
    size_t n;

    DO(db_lineage_ids_in(a, d, data_first_output(data_spread(nth, UP_PLACE)), DB_UP, &ids,
                         &n, &e));
    return n;
}

static size_t ask_down(struct db *d, struct arena *a, int nth)
{
    return closure(d, a, data_first_output(data_spread(nth, DOWN_PLACE)), DB_DOWN);
}

/* what not to write: two looks at the events in one recursive step */
static size_t ask_naive(struct db *d, struct arena *a, int nth)
{
    static const char sql[] =
        "WITH RECURSIVE w(id) AS (SELECT ? UNION SELECT i.artifact FROM w"
        " JOIN event o ON o.artifact = w.id AND o.io = 2"
        " JOIN event i ON i.task = o.task AND i.io = 1) SELECT count(*) FROM w";
    AUTO_Q struct q q = {0};
    int64_t n;

    (void)a;
    DO(q_open(&q, d, sql, &e));
    q_i64(&q, data_first_output(data_spread(nth, UP_PLACE)));
    DO(q_one(&q, &n, &e));
    return (size_t)n;
}

static size_t rows_of(struct db *d, struct arena *a, const char *text)
{
    struct db_artifact *rows;
    size_t n;

    DO(db_query_in(a, d, str_of(text), 50, &rows, &n, &e));
    return n;
}

static size_t ask_in_prod(struct db *d, struct arena *a, int nth)
{
    (void)nth;
    return rows_of(d, a, "Model where upstream Dataset.rows > 10000 and tag = prod");
}

static size_t ask_wide(struct db *d, struct arena *a, int nth)
{
    (void)nth;
    return rows_of(d, a, "Model where upstream Dataset.rows > 10000");
}

static size_t ask_rare(struct db *d, struct arena *a, int nth)
{
    (void)nth;
    return rows_of(d, a, "Model where upstream Dataset (rows > 19990 and f1 > 0.95)");
}

static size_t ask_leaders(struct db *d, struct arena *a, int nth)
{
    struct db_artifact_filter f = {.type = STR("Metrics"),
                                   .sort = STR("-f1"),
                                   .pipeline = STR("big"),
                                   .limit = 20};
    struct db_artifact *rows;
    size_t n;

    (void)nth;
    DO(db_artifacts_in(a, d, &f, &rows, &n, &e));
    return n;
}

static size_t ask_diff(struct db *d, struct arena *a, int nth)
{
    struct run_diff diff;

    DO(db_diff_in(a, d, nth + 1, nth + 2, &diff, &e));
    return diff.n_tasks;
}

static size_t ask_cache(struct db *d, struct arena *a, int nth)
{
    int64_t task = data_spread(nth, UP_PLACE);
    char key[DIGEST_HEX];
    struct db_hit hit;
    bool found;

    DO(db_cache_find_in(a, d, str_of(data_hex(data_key_no(task), key)),
                        task / DATA_TASKS % 10 ? STR("big") : STR("small"), 0, &hit,
                        &found, &e));
    return found;
}

static size_t ask_runs(struct db *d, struct arena *a, int nth)
{
    struct db_run_filter f = {.limit = 20};
    struct db_run *runs;
    size_t n;

    (void)nth;
    DO(db_runs_in(a, d, &f, &runs, &n, &e));
    return n;
}

const struct question questions[] = {
    {"closure up, 100 nodes, all that is shown", ask_up, mlmd_up, true, 100},
    {"closure up, 100 nodes, ids alone", ask_up_ids, mlmd_up_ids, true, 100},
    {"closure down, 100 nodes, all that is shown", ask_down, mlmd_down, true, 100},
    {"upstream, naive recursive SQL", ask_naive, mlmd_up_naive, true, 5},
    {"the model in prod, its data (query)", ask_in_prod, mlmd_in_prod, true, 20},
    {"50 models with a large dataset upstream", ask_wide, mlmd_wide, true, 5},
    {"models with one of a few datasets upstream", ask_rare, mlmd_rare, true, 3},
    {"20 leaders of a pipeline", ask_leaders, mlmd_leaders, true, 10},
    {"diff of two runs of 100 tasks", ask_diff, mlmd_diff, false, 10},
    {"look into the cache", ask_cache, mlmd_cache, true, 100},
    {"the newest 20 runs", ask_runs, mlmd_runs, true, 20},
};
const size_t n_questions = N_ELEMS(questions);

void ask_prepare(struct db *d)
{
    AUTO_Q struct q q = {0};

    DO(q_open(&q, d, "SELECT count(*) FROM run WHERE name GLOB 'night-*'", &e));
    DO(q_one(&q, &n_runs, &e));
}
