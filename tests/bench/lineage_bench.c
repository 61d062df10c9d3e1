/* SPDX-License-Identifier: Apache-2.0 */
/* lineage_bench.c - what the record costs: a step, a cached step, a closure in a big
 * database
 *
 *     lineage_bench [HOME] [ARTIFACTS]
 *
 * Fills HOME (an empty directory; default: one under /tmp, removed afterwards) with
 * runs of 100 steps each until there are ARTIFACTS (default 1,000,000), then asks.
 * Times are CPU and wall, medians where a thing is done many times. Linked like a unit
 * test of lineage, but optimised and without sanitizers.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "lineage/cache.h"
#include "lineage/closure.h"
#include "lineage/live.h"
#include "lineage/record.h"

#define STEPS 100

static struct err e;

#define DO(call)                                                                       \
    do {                                                                               \
        if ((call) < 0) {                                                              \
            fprintf(stderr, "lineage_bench: %s\n", e.text);                            \
            exit(1);                                                                   \
        }                                                                              \
    } while (0)

static double cpu_ms(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static double wall_ms(void)
{
    return (double)clock_mono_ns() / 1e6;
}

static const char *hex_no(uint64_t n, char out[DIGEST_HEX])
{
    sha256_hex(&n, sizeof(n), out);
    return out;
}

static int64_t run_new(struct db *d, uint64_t nth, const char *pipeline)
{
    char uuid[37], name[32];
    int64_t run;

    (void)snprintf(uuid, sizeof(uuid), "%08x-0000-4000-8000-%012llx",
                   (unsigned)(nth * 2654435761u), (unsigned long long)nth);
    (void)snprintf(name, sizeof(name), "%s-%llu", pipeline, (unsigned long long)nth);
    DO(db_run_create(d,
                     &(struct db_run_new){.uuid = str_of(uuid),
                                          .name = str_of(name),
                                          .pipeline = str_of(pipeline),
                                          .state = DB_RUNNING,
                                          .created_unix_ms = clock_unix_ms(),
                                          .user = STR("bench"),
                                          .host = STR("box"),
                                          .parameters_json = STR("{\"n\":100}")},
                     &run, &e));
    return run;
}

/* Everything that the engine writes for one step, in two transactions as it does: it
 * reads `in` (0: nothing) and gives out one artifact, the id of which is returned. */
static int64_t step(struct db *d, int64_t run, uint64_t nth, int64_t in, bool txns)
{
    static const char enforced[] =
        "{\"memory\":\"cgroup v1\",\"cpu\":\"cgroup v1\",\"pids\":\"cgroup v1\"}";
    char key[DIGEST_HEX], image[DIGEST_HEX], content[DIGEST_HEX], path[32], meta[96],
        dir[64];
    int64_t task, made;
    bool won;

    hex_no(nth, key);
    hex_no(1u << 30, image);
    hex_no(nth + (1ull << 40), content);
    (void)snprintf(path, sizeof(path), "step-%llu", (unsigned long long)nth);
    (void)snprintf(dir, sizeof(dir), "runs/%lld/%llu.1", (long long)run,
                   (unsigned long long)nth);
    (void)snprintf(meta, sizeof(meta),
                   "{\"rows\":%llu,\"auc\":%.6f,\"display_name\":\"d\"}",
                   (unsigned long long)(nth % 20000), (double)(nth % 1000) / 1000);

    if (txns)
        DO(db_begin(d, DB_PROGRESS, &e));
    DO(db_task_insert(d,
                      &(struct db_task_new){.run = run,
                                            .path = str_of(path),
                                            .name = str_of(path),
                                            .kind = STR("container"),
                                            .state = DB_PENDING},
                      &task, &e));
    DO(db_task_start(d, task,
                     &(struct db_task_start){.started_unix_ms = 1,
                                             .cache_key_hex = str_of(key),
                                             .image_hex = str_of(image),
                                             .uuid = str_of(key)},
                     &won, &e));
    DO(db_param_put(d, task, DB_IN, STR("n"), STR("3"), &e));
    DO(db_param_put(d, task, DB_IN, STR("mode"), STR("\"fast\""), &e));
    if (in)
        DO(db_event_put(d, task, DB_IN, STR("dataset"), 0, in, &e));
    DO(db_attempt_start(d,
                        &(struct db_attempt_new){.task = task,
                                                 .number = 1,
                                                 .started_unix_ms = 1,
                                                 .dir = str_of(dir),
                                                 .host = STR("box"),
                                                 .image_hex = str_of(image)},
                        &e));
    if (txns) {
        DO(db_commit(d, &e));
        DO(db_begin(d, DB_DURABLE, &e));
    }
    DO(db_attempt_finish(d, task, 1,
                         &(struct db_attempt_end){.state = DB_SUCCEEDED,
                                                  .finished_unix_ms = 2,
                                                  .peak_memory_bytes = 1 << 20,
                                                  .cpu_usec = 1000,
                                                  .enforced_json = STR(enforced)},
                         &won, &e));
    DO(db_artifact_insert(d,
                          &(struct db_artifact_new){.type = nth % 4
                                                                ? STR("system.Dataset")
                                                                : STR("system.Model"),
                                                    .name = STR("out"),
                                                    .kind = STR("file"),
                                                    .digest_hex = str_of(content),
                                                    .size_bytes = 1000,
                                                    .metadata_json = str_of(meta),
                                                    .created_unix_ms = 2,
                                                    .task = task},
                          &made, &e));
    DO(db_event_put(d, task, DB_OUT, STR("out"), 0, made, &e));
    DO(db_param_put(d, task, DB_OUT, STR("Output"), STR("9"), &e));
    DO(db_task_finish(d, task,
                      &(struct db_task_end){.state = DB_SUCCEEDED,
                                            .finished_unix_ms = 2,
                                            .peak_memory_bytes = 1 << 20,
                                            .cpu_usec = 1000},
                      &won, &e));
    DO(db_cache_put(d, str_of(key), task, 2, &e));
    if (txns)
        DO(db_commit(d, &e));
    return made;
}

static void cached_step(struct db *d, struct arena *a, int64_t run, uint64_t nth,
                        uint64_t as)
{
    char key[DIGEST_HEX], path[32];
    struct db_hit hit;
    int64_t task;
    bool found, won;

    (void)snprintf(path, sizeof(path), "step-%llu", (unsigned long long)nth);
    DO(db_task_insert(d,
                      &(struct db_task_new){.run = run,
                                            .path = str_of(path),
                                            .name = str_of(path),
                                            .kind = STR("container"),
                                            .state = DB_PENDING},
                      &task, &e));
    DO(db_cache_find_in(a, d, str_of(hex_no(as, key)), STR("bench"), 0, &hit, &found,
                        &e));
    must(found);
    DO(db_param_put(d, task, DB_IN, STR("n"), STR("3"), &e));
    DO(db_event_put(d, task, DB_IN, STR("dataset"), 0, hit.out.artifacts[0].artifact.id,
                    &e));
    DO(db_cache_reuse(d, task, &hit, 3, 3, &won, &e));
    arena_reset(a);
}

static int order(const void *x, const void *y)
{
    double a = *(const double *)x, b = *(const double *)y;

    return a < b ? -1 : a > b;
}

static void report(const char *what, double *ms, size_t n)
{
    qsort(ms, n, sizeof(*ms), order);
    printf("%-52s median %8.3f ms  p99 %8.3f ms\n", what, ms[n / 2], ms[n * 99 / 100]);
}

static void fill(struct db *d, uint64_t artifacts)
{
    double cpu = cpu_ms(), wall = wall_ms();
    uint64_t nth = 0, runs = 0;

    while (nth < artifacts) {
        int64_t run, last = 0;

        DO(db_begin(d, DB_PROGRESS, &e));
        run = run_new(d, runs++, "bench");
        for (int i = 0; i < STEPS; i++)
            last = step(d, run, nth++, last, false);
        DO(db_run_finish(d, run, &(struct db_run_end){.state = DB_SUCCEEDED},
                         &(bool){false}, &e));
        DO(db_commit(d, &e));
    }
    printf(
        "%-52s cpu %8.3f ms  wall %8.3f ms a step (%llu steps, a transaction a run)\n",
        "fill", (cpu_ms() - cpu) / (double)nth, (wall_ms() - wall) / (double)nth,
        (unsigned long long)nth);
}

static void bench_steps(struct db *d, uint64_t from)
{
    enum { N = 2000 };
    AUTO_ARENA struct arena a = {0};
    double cpu, wall;
    int64_t run, last = 0;

    DO(db_begin(d, DB_PROGRESS, &e));
    run = run_new(d, from, "bench");
    DO(db_commit(d, &e));
    cpu = cpu_ms(), wall = wall_ms();
    for (uint64_t i = 0; i < N; i++)
        last = step(d, run, from + i, last, true);
    printf("%-52s cpu %8.3f ms  wall %8.3f ms a step\n",
           "a step: one progress and one durable commit", (cpu_ms() - cpu) / N,
           (wall_ms() - wall) / N);

    DO(db_begin(d, DB_DURABLE, &e));
    run = run_new(d, from + N, "bench");
    cpu = cpu_ms(), wall = wall_ms();
    for (uint64_t i = 0; i < N; i++)
        cached_step(d, &a, run, i, from + i);
    DO(db_commit(d, &e));
    printf("%-52s cpu %8.3f ms  wall %8.3f ms a step\n",
           "a cached step, all in one commit", (cpu_ms() - cpu) / N,
           (wall_ms() - wall) / N);
}

static void bench_queries(const char *home, uint64_t artifacts)
{
    enum { N = 200 };
    static const struct question {
        const char *what;
        unsigned directions;
        int64_t depth;
    } questions[] = {
        {"closure up, 100 nodes (50 artifacts, 50 tasks)", DB_UP, 50},
        {"closure up, one whole run", DB_UP, 0},
        {"closure down, 100 nodes", DB_DOWN, 50},
    };
    double ms[N];

    for (int i = 0; i < 20;
         i++) { /* each with a connection of its own: what a command pays */
        AUTO_ARENA struct arena a = {0};
        struct lineage_opts o = {.directions = DB_UP, .depth = 50};
        struct lineage l;
        struct db *d = NULL;
        int64_t start = (int64_t)(artifacts / 20 * (uint64_t)i / STEPS * STEPS + STEPS);
        double t = wall_ms();

        DO(db_open(home, DB_READ, &d, &e));
        DO(db_lineage_in(&a, d, &start, 1, &o, &l, &e));
        db_close(d);
        ms[i] = wall_ms() - t;
    }
    report("open, closure of 100 nodes, close", ms, 20);

    for (size_t k = 0; k < N_ELEMS(questions); k++) {
        struct lineage_opts o = {.directions = questions[k].directions,
                                 .depth = questions[k].depth};
        struct db *d = NULL;
        size_t nodes = 0;

        DO(db_open(home, DB_READ, &d, &e));
        for (int i = 0; i < N; i++) {
            AUTO_ARENA struct arena a = {0};
            struct lineage l;
            uint64_t run = artifacts / STEPS * (uint64_t)i / N;
            int64_t start =
                (int64_t)(run * STEPS + (o.directions == DB_UP ? STEPS : 1));
            double t = wall_ms();

            DO(db_lineage_in(&a, d, &start, 1, &o, &l, &e));
            ms[i] = wall_ms() - t;
            nodes = l.n_nodes;
        }
        report(questions[k].what, ms, N);
        printf("  %zu nodes\n", nodes);
        db_close(d);
    }
}

static void bench_lists(const char *home)
{
    static const char *const wheres[] = {
        "rows > 19990 and auc > 0.995",
        "rows = 777",
        "rows > 10000",
    };
    struct db *d = NULL;
    double ms[20];

    DO(db_open(home, DB_READ, &d, &e));
    for (size_t k = 0; k < N_ELEMS(wheres); k++) {
        char what[80];
        for (int i = 0; i < 5; i++) {
            AUTO_ARENA struct arena a = {0};
            struct db_artifact_filter f = {
                .type = STR("Model"), .where = str_of(wheres[k]), .limit = 20};
            struct db_artifact *rows;
            size_t n;
            double t = wall_ms();
            DO(db_artifacts_in(&a, d, &f, &rows, &n, &e));
            ms[i] = wall_ms() - t;
        }
        (void)snprintf(what, sizeof(what), "20 models where %s", wheres[k]);
        report(what, ms, 5);
    }
    for (int i = 0; i < 5; i++) {
        AUTO_ARENA struct arena a = {0};
        struct db_run_filter f = {.limit = 20};
        struct db_run *runs;
        size_t n;
        double t = wall_ms();
        DO(db_runs_in(&a, d, &f, &runs, &n, &e));
        ms[i] = wall_ms() - t;
    }
    report("the newest 20 runs", ms, 5);
    for (int i = 0; i < 5; i++) {
        AUTO_BUF struct buf b = {0};
        struct jw w;
        double t = wall_ms();
        jw_init(&w, &b);
        DO(db_run_json(d, 1, &w, &e));
        ms[i] = wall_ms() - t;
    }
    report("JSON of a run of 100 steps", ms, 5);
    for (int i = 0; i < 2; i++) {
        struct db_live live;
        double t = wall_ms();
        DO(db_live_digests(
            d, &(struct db_keep){.last_runs = 1000, .since_unix_ms = INT64_MAX}, &live,
            &e));
        ms[i] = wall_ms() - t;
        db_live_done(&live);
    }
    report("live digests, 1,000 runs kept", ms, 2);
    db_close(d);
}

int main(int argc, char **argv)
{
    char temp[] = "/tmp/lineage-bench-XXXXXX";
    const char *home = argc > 1 ? argv[1] : mkdtemp(temp);
    uint64_t artifacts = argc > 2 ? strtoull(argv[2], NULL, 10) : 1000000;
    AUTO_FREE char *path = NULL;
    struct rusage used;
    struct db *d = NULL;
    struct stat st;

    must(home);
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    DO(db_open(home, DB_ENGINE, &d, &e));
    fill(d, artifacts);
    bench_steps(d, artifacts);
    (void)getrusage(RUSAGE_SELF, &used);
    db_close(d);
    path = path_join(home, DB_FILE);
    must(stat(path, &st) == 0);
    printf("%-52s %.0f bytes an artifact, its task and all; engine peak %ld KiB\n",
           "size", (double)st.st_size / (double)artifacts, used.ru_maxrss);
    bench_queries(home, artifacts);
    bench_lists(home);
    if (argc < 2)
        DO(fd_remove_tree(AT_FDCWD, home, &e));
    return 0;
}
