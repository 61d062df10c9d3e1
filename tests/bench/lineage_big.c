/* SPDX-License-Identifier: Apache-2.0 */
/* lineage_big.c - questions to a record of 1,000,000 artifacts
 *
 *     lineage_big HOME [RUNS]
 *
 * Fills HOME, an empty directory, with RUNS (3,000) runs of 100 tasks: 300,000 tasks,
 * 1,000,000 artifacts with three properties each, 2,600,000 events. Then asks what
 * people ask, before and after ANALYZE, and the same closure as one naive recursive
 * statement. Medians of the wall time. Linked as a test of lineage, optimised, without
 * sanitizers.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "lineage/cache.h"
#include "lineage/closure.h"
#include "lineage/diff.h"
#include "lineage/record.h"
#include "lineage/sql.h"
#include "lineage/tags.h"

#define TASKS 100 /* of a run */
#define READS 5   /* artifacts that a task reads, where there are as many before it */

static struct err e;

#define DO(call)                                                                       \
    do {                                                                               \
        if ((call) < 0) {                                                              \
            fprintf(stderr, "lineage_big: %s\n", e.text);                              \
            exit(1);                                                                   \
        }                                                                              \
    } while (0)

static const char *hex_no(uint64_t n, char out[DIGEST_HEX])
{
    sha256_hex(&n, sizeof(n), out);
    return out;
}

/* three or four artifacts a task, ten for three tasks */
static unsigned outputs_of(uint64_t task)
{
    return 3 + (task % 3 == 0);
}

static int64_t output(struct db *d, int64_t task, uint64_t nth, unsigned k)
{
    static const char *const types[] = {"system.Model", "system.Dataset",
                                        "system.Metrics", "system.Dataset"};
    char content[DIGEST_HEX], meta[96], name[8];
    int64_t made;

    (void)snprintf(name, sizeof(name), "out%u", k);
    (void)snprintf(
        meta, sizeof(meta), "{\"rows\":%llu,\"f1\":%.6f,\"split\":\"s%llu\"}",
        (unsigned long long)((nth * 7919) % 20000),
        (double)((nth * 104729) % 1000000) / 1e6, (unsigned long long)(nth % 10));
    DO(db_artifact_insert(
        d,
        &(struct db_artifact_new){.type = str_of(types[k]),
                                  .name = str_of(name),
                                  .kind = STR("file"),
                                  .digest_hex = str_of(hex_no(nth * 4 + k, content)),
                                  .size_bytes = 1000,
                                  .metadata_json = str_of(meta),
                                  .created_unix_ms = 2,
                                  .task = task},
        &made, &e));
    DO(db_event_put(d, task, DB_OUT, str_of(name), 0, made, &e));
    return made;
}

static void one_task(struct db *d, int64_t run, uint64_t nth, int64_t first_of_run,
                     int64_t *last)
{
    char key[DIGEST_HEX], image[DIGEST_HEX], path[32];
    int64_t task;
    bool won;

    (void)snprintf(path, sizeof(path), "step-%llu", (unsigned long long)(nth % TASKS));
    DO(db_task_insert(d,
                      &(struct db_task_new){.run = run,
                                            .path = str_of(path),
                                            .name = str_of(path),
                                            .kind = STR("container"),
                                            .state = DB_PENDING},
                      &task, &e));
    DO(db_task_start(
        d, task,
        &(struct db_task_start){.started_unix_ms = 1,
                                .cache_key_hex = str_of(hex_no(nth, key)),
                                .image_hex = str_of(hex_no(1u << 30, image))},
        &won, &e));
    DO(db_param_put(d, task, DB_IN, STR("n"), STR("3"), &e));
    for (int64_t k = 0; k < READS && *last - k >= first_of_run && *last; k++) {
        char name[8];
        (void)snprintf(name, sizeof(name), "in%d", (int)k);
        DO(db_event_put(d, task, DB_IN, str_of(name), 0, *last - k, &e));
    }
    for (unsigned k = 0; k < outputs_of(nth); k++)
        *last = output(d, task, nth, k);
    DO(db_task_finish(d, task,
                      &(struct db_task_end){.state = DB_SUCCEEDED,
                                            .finished_unix_ms = 2,
                                            .peak_memory_bytes = -1,
                                            .cpu_usec = -1},
                      &won, &e));
    DO(db_cache_put(d, str_of(key), task, 2, &e));
}

static void fill(struct db *d, uint64_t runs)
{
    int64_t last = 0;

    for (uint64_t r = 0; r < runs; r++) {
        char uuid[37], name[32];
        int64_t run, first;

        (void)snprintf(uuid, sizeof(uuid), "%08x-0000-4000-8000-%012llx",
                       (unsigned)(r * 2654435761u), (unsigned long long)r);
        (void)snprintf(name, sizeof(name), "night-%llu", (unsigned long long)r);
        DO(db_begin(d, DB_PROGRESS, &e));
        DO(db_run_create(
            d,
            &(struct db_run_new){.uuid = str_of(uuid),
                                 .name = str_of(name),
                                 .pipeline = r % 10 ? STR("big") : STR("small"),
                                 .state = DB_RUNNING,
                                 .created_unix_ms = (int64_t)r + 1,
                                 .parameters_json = STR("{\"n\":100}")},
            &run, &e));
        first = last + 1;
        for (uint64_t t = 0; t < TASKS; t++)
            one_task(d, run, r * TASKS + t, first, &last);
        DO(db_run_finish(d, run, &(struct db_run_end){.state = DB_SUCCEEDED},
                         &(bool){false}, &e));
        DO(db_commit(d, &e));
    }
    DO(db_begin(d, DB_DURABLE, &e));
    DO(db_tag_set(d, STR("big:prod"), last + 1 - outputs_of(runs * TASKS - 1), false,
                  &(struct db_by){.user = STR("bench"), .now_unix_ms = 1}, NULL, &e));
    DO(db_commit(d, &e));
}

/* ---- questions ----------------------------------------------------------------------
 */

static int64_t artifacts, n_runs;

static size_t ask_closure(struct db *d, struct arena *a, int i, enum db_direction dir)
{
    struct lineage_opts o = {.directions = dir, .depth = 15};
    int64_t per_run = artifacts / n_runs, run = (i * 37) % n_runs;
    int64_t start = run * per_run + (dir == DB_UP ? per_run / 2 : per_run / 3);
    struct lineage l;

    DO(db_lineage_in(a, d, &start, 1, &o, &l, &e));
    return l.n_nodes;
}

static size_t ask_up(struct db *d, struct arena *a, int i)
{
    return ask_closure(d, a, i, DB_UP);
}

static size_t ask_down(struct db *d, struct arena *a, int i)
{
    return ask_closure(d, a, i, DB_DOWN);
}

static size_t ask_naive(struct db *d, struct arena *a, int i)
{
    static const char sql[] =
        "WITH RECURSIVE w(id) AS (SELECT ? UNION SELECT i.artifact FROM w"
        " JOIN event o ON o.artifact = w.id AND o.io = 2"
        " JOIN event i ON i.task = o.task AND i.io = 1) SELECT count(*) FROM w";
    AUTO_Q struct q q = {0};
    int64_t n;

    (void)a;
    DO(q_open(&q, d, sql, &e));
    q_i64(&q, ((i * 37) % n_runs) * (artifacts / n_runs) + artifacts / n_runs / 2);
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

static size_t ask_mission(struct db *d, struct arena *a, int i)
{
    (void)i;
    return rows_of(d, a, "Model where upstream Dataset.rows > 10000 and tag = prod");
}

static size_t ask_wide(struct db *d, struct arena *a, int i)
{
    (void)i;
    return rows_of(d, a, "Model where upstream Dataset.rows > 10000");
}

static size_t ask_rare(struct db *d, struct arena *a, int i)
{
    (void)i;
    return rows_of(d, a, "Model where upstream Dataset (rows > 19990 and f1 > 0.9999)");
}

static size_t leaders(struct db *d, struct arena *a, const char *pipeline)
{
    struct db_artifact_filter f = {.type = STR("Metrics"),
                                   .sort = STR("-f1"),
                                   .pipeline = str_of(pipeline),
                                   .limit = 20};
    struct db_artifact *rows;
    size_t n;

    DO(db_artifacts_in(a, d, &f, &rows, &n, &e));
    return n;
}

static size_t ask_leaders(struct db *d, struct arena *a, int i)
{
    (void)i;
    return leaders(d, a, "big");
}

static size_t ask_diff(struct db *d, struct arena *a, int i)
{
    struct run_diff diff;

    DO(db_diff_in(a, d, i + 1, i + 2, &diff, &e));
    return diff.n_tasks;
}

static size_t ask_cache(struct db *d, struct arena *a, int i)
{
    char key[DIGEST_HEX];
    struct db_hit hit;
    bool found;

    DO(db_cache_find_in(a, d, str_of(hex_no((uint64_t)i * 1009 + TASKS, key)),
                        STR("big"), 0, &hit, &found, &e));
    return found;
}

static size_t ask_runs(struct db *d, struct arena *a, int i)
{
    struct db_run_filter f = {.limit = 20};
    struct db_run *runs;
    size_t n;

    (void)i;
    DO(db_runs_in(a, d, &f, &runs, &n, &e));
    return n;
}

static const struct question {
    const char *what;
    size_t (*ask)(struct db *d, struct arena *a, int i);
    int times;
} questions[] = {
    {"closure up, 15 artifacts deep", ask_up, 100},
    {"closure down, 15 artifacts deep", ask_down, 100},
    {"upstream as a naive recursive statement", ask_naive, 5},
    {"the model in prod and its datasets (query)", ask_mission, 50},
    {"models with a large dataset upstream, 50", ask_wide, 10},
    {"models with one of a few datasets upstream", ask_rare, 5},
    {"20 leaders of a pipeline of 270,000 tasks", ask_leaders, 20},
    {"diff of two runs of 100 tasks", ask_diff, 20},
    {"look into the cache", ask_cache, 100},
    {"the newest 20 runs", ask_runs, 50},
};

static int order(const void *x, const void *y)
{
    double a = *(const double *)x, b = *(const double *)y;

    return a < b ? -1 : a > b;
}

static void ask_all(const char *home, const char *when)
{
    struct db *d = NULL;

    printf("%s\n", when);
    DO(db_open(home, DB_READ, &d, &e));
    for (size_t k = 0; k < N_ELEMS(questions); k++) {
        double ms[100];
        size_t n = 0;

        for (int i = 0; i < questions[k].times; i++) {
            AUTO_ARENA struct arena a = {0};
            int64_t begun = clock_mono_ns();
            n = questions[k].ask(d, &a, i);
            ms[i] = (double)(clock_mono_ns() - begun) / 1e6;
        }
        qsort(ms, (size_t)questions[k].times, sizeof(*ms), order);
        printf("  %-44s %10.3f ms  (last answer %zu)\n", questions[k].what,
               ms[questions[k].times / 2], n);
    }
    db_close(d);
}

static int64_t count(struct db *d, const char *sql)
{
    AUTO_Q struct q q = {0};
    int64_t n;

    DO(q_open_text(&q, d, sql, &e));
    DO(q_one(&q, &n, &e));
    return n;
}

int main(int argc, char **argv)
{
    uint64_t runs = argc > 2 ? strtoull(argv[2], NULL, 10) : 3000;
    AUTO_FREE char *path = argc > 1 ? path_join(argv[1], DB_FILE) : NULL;
    int64_t begun = clock_mono_ns();
    struct db *d = NULL;
    struct stat st;

    must(path);
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    DO(db_open(argv[1], DB_WRITE, &d, &e));
    if (count(d, "SELECT count(*) FROM run") == 0)
        fill(d, runs);
    artifacts = count(d, "SELECT count(*) FROM artifact");
    n_runs = count(d, "SELECT count(*) FROM run");
    printf("%lld artifacts, %lld tasks, %lld events, %lld properties in %.0f s\n",
           (long long)artifacts, (long long)count(d, "SELECT count(*) FROM task"),
           (long long)count(d, "SELECT count(*) FROM event"),
           (long long)count(d, "SELECT count(*) FROM property"),
           (double)(clock_mono_ns() - begun) / 1e9);
    db_checkpoint(d);
    must(stat(path, &st) == 0);
    printf("%.0f MB, %.0f bytes an artifact with its share of tasks and events\n",
           (double)st.st_size / 1e6, (double)st.st_size / (double)artifacts);
    ask_all(argv[1], "before ANALYZE");
    DO(db_exec(d, "ANALYZE", &e));
    db_close(d);
    ask_all(argv[1], "after ANALYZE");
    return 0;
}
