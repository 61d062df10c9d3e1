/* SPDX-License-Identifier: Apache-2.0 */
/* lineage_bench.c - a record of a million artifacts beside the same in MLMD's schema
 *
 *     lineage_bench fill HOME [RUNS]   3,000 runs of 100 tasks into an empty home, then
 * the same data as HOME/mlmd.db (what export mlmd writes) lineage_bench ask HOME sizes;
 * each question to both, before and after ANALYZE
 *
 * A question is asked many times of other nodes, and the median is told. `ask` leaves
 * both files with statistics, so it is for a home that was just filled. That both sides
 * find as much is looked at, too: a fast wrong answer is none. Linked like a unit test
 * of lineage, optimised and without sanitizers.
 */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "lineage/export.h"
#include "lineage/sql.h"
#include "lineage_bench.h"

#define MLMD_FILE "mlmd.db"
#define TIMES_MAX 100

static int64_t count(struct db *d, const char *sql)
{
    AUTO_Q struct q q = {0};
    int64_t n;

    DO(q_open_text(&q, d, sql, &e));
    DO(q_one(&q, &n, &e));
    return n;
}

static double file_bytes(const char *home, const char *name)
{
    AUTO_FREE char *path = path_join(home, name);
    struct stat st;

    must(stat(path, &st) == 0);
    return (double)st.st_size;
}

/* a file that is not a record of ours, with the same page cache */
static struct db *open_foreign(const char *home, const char *name)
{
    struct db *m = xalloc(sizeof(*m));

    m->path = path_join(home, name);
    m->wlock_fd = m->sync = -1;
    m->pid = (int)getpid();
    must(sqlite3_open_v2(m->path, &m->sql, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX,
                         NULL) == SQLITE_OK);
    DO(db_exec(m, "PRAGMA cache_size = -65536; PRAGMA temp_store = MEMORY", &e));
    return m;
}

static double seconds_since(int64_t mono_ns)
{
    return (double)(clock_mono_ns() - mono_ns) / 1e9;
}

static void fill(const char *home, uint64_t runs)
{
    AUTO_FREE char *path = path_join(home, MLMD_FILE);
    struct mlmd_done done;
    struct db *d = NULL;
    int64_t began = clock_mono_ns();

    DO(db_open(home, DB_ENGINE, &d, &e));
    data_fill(d, runs);
    printf("  recorded in %.0f s\n", seconds_since(began));
    publish_rows(d);
    db_checkpoint(d);
    began = clock_mono_ns();
    DO(db_export_mlmd(d, path, &done, &e));
    printf("  exported as ML Metadata in %.0f s\n", seconds_since(began));
    db_close(d);
}

static void tell_sizes(struct db *d, struct db *m, const char *home)
{
    int64_t artifacts = count(d, "SELECT count(*) FROM artifact");
    double ours = file_bytes(home, DB_FILE), theirs = file_bytes(home, MLMD_FILE);

    printf("  %lld artifacts, %lld tasks, %lld events, %lld properties (MLMD: %lld)\n",
           (long long)artifacts, (long long)count(d, "SELECT count(*) FROM task"),
           (long long)count(d, "SELECT count(*) FROM event"),
           (long long)count(d, "SELECT count(*) FROM property"),
           (long long)count(m, "SELECT count(*) FROM ArtifactProperty"));
    printf("  bytes an artifact with its share of all: %.0f, in MLMD's schema %.0f "
           "(%.2f x)\n",
           ours / (double)artifacts, theirs / (double)artifacts, theirs / ours);
}

static int order(const void *x, const void *y)
{
    double a = *(const double *)x, b = *(const double *)y;

    return a < b ? -1 : a > b;
}

/* median wall milliseconds; *found is the last answer */
static double median(const struct question *ask, struct db *ours, struct db *mlmd,
                     size_t *found)
{
    double ms[TIMES_MAX];

    must(ask->times <= TIMES_MAX);
    for (int i = 0; i < ask->times; i++) {
        AUTO_ARENA struct arena a = {0};
        int64_t began = clock_mono_ns();
        *found = ours ? ask->ours(ours, &a, i) : ask->mlmd(mlmd, i);
        ms[i] = (double)(clock_mono_ns() - began) / 1e6;
    }
    qsort(ms, (size_t)ask->times, sizeof(*ms), order);
    return ms[ask->times / 2];
}

static void ask_all(const char *home, const char *when)
{
    struct db *m = open_foreign(home, MLMD_FILE);
    struct db *d = NULL;

    DO(db_open(home, DB_READ, &d, &e));
    ask_prepare(d);
    if (*when == 'b')
        tell_sizes(d, m, home);
    printf("%-46s %12s %12s\n", when, "ours, ms", "MLMD, ms");
    for (size_t i = 0; i < n_questions; i++) {
        const struct question *ask = &questions[i];
        size_t n = 0, theirs = 0;
        double us = median(ask, d, NULL, &n), them = median(ask, NULL, m, &theirs);

        printf("  %-44s %12.3f %12.3f   ratio %.3f\n", ask->what, us, them, us / them);
        if (ask->same && n != theirs) {
            fprintf(stderr, "lineage_bench: %s: %zu of ours, %zu of theirs\n",
                    ask->what, n, theirs);
            exit(1);
        }
    }
    db_close(d);
    db_close(m);
}

/* what every reader pays: a connection of its own */
static void ask_as_command(const char *home)
{
    double ms[20];

    for (size_t i = 0; i < N_ELEMS(ms); i++) {
        AUTO_ARENA struct arena a = {0};
        int64_t began = clock_mono_ns();
        struct db *d = NULL;
        DO(db_open(home, DB_READ, &d, &e));
        (void)questions[0].ours(d, &a, (int)i);
        db_close(d);
        ms[i] = (double)(clock_mono_ns() - began) / 1e6;
    }
    qsort(ms, N_ELEMS(ms), sizeof(*ms), order);
    printf("  %-44s %12.3f\n", "closure up, with opening and closing",
           ms[N_ELEMS(ms) / 2]);
}

static void analyze(const char *home)
{
    struct db *m = open_foreign(home, MLMD_FILE);
    struct db *d = NULL;

    DO(db_open(home, DB_WRITE, &d, &e));
    DO(db_exec(d, "ANALYZE", &e));
    DO(db_exec(m, "ANALYZE", &e));
    db_close(d);
    db_close(m);
}

int main(int argc, char **argv)
{
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc >= 3 && strcmp(argv[1], "fill") == 0) {
        fill(argv[2], argc > 3 ? strtoull(argv[3], NULL, 10) : 3000);
    } else if (argc == 3 && strcmp(argv[1], "ask") == 0) {
        ask_all(argv[2], "before ANALYZE");
        ask_as_command(argv[2]);
        analyze(argv[2]);
        ask_all(argv[2], "after ANALYZE");
    } else {
        fprintf(stderr, "usage: lineage_bench fill HOME [RUNS] | ask HOME\n");
        return 2;
    }
    return 0;
}
