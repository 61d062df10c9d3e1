/* SPDX-License-Identifier: Apache-2.0 */
/* lineage_bench.h - what the files of lineage_bench share
 *
 * A bench ends at the first error; times are wall milliseconds unless a name says CPU.
 */
#ifndef BENCH_LINEAGE_BENCH_H
#define BENCH_LINEAGE_BENCH_H

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/sha256.h"
#include "lineage/db.h"

#define DO(call)                                                                       \
    do {                                                                               \
        struct err e = {0};                                                            \
        if ((call) < 0) {                                                              \
            fprintf(stderr, "lineage_bench: %s\n", e.text);                            \
            exit(1);                                                                   \
        }                                                                              \
    } while (0)

/* the data: runs of DATA_TASKS tasks; each reads the DATA_READS newest artifacts of its
 * run and gives out three, every third task four */
#define DATA_TASKS 100
#define DATA_READS 5
#define DATA_TAG "big:prod"

void data_fill(struct db *d, uint64_t runs);
/* first artifact of a task, counted from 0 over all runs; 1 past the last one of the
 * task before */
static inline int64_t data_first_output(int64_t task)
{
    return 3 * task + (task + 2) / 3 + 1;
}
/* hex digits of a digest for the number n: content, cache keys */
const char *data_hex(uint64_t n, char out[DIGEST_HEX]);
uint64_t data_key_no(int64_t task); /* the number of its cache key */

/* A question, asked for the nth time, returns how much it found. */
struct question {
    const char *what;
    size_t (*ours)(struct db *d, struct arena *a, int nth);
    size_t (*mlmd)(struct db *m, int nth); /* the same of ML Metadata's tables */
    bool same;                             /* both must find as much */
    int times;
};
extern const struct question questions[];
extern const size_t n_questions;
/* which task the nth question is about: spread over the runs, the same place of each */
int64_t data_spread(int nth, int64_t place);
void ask_prepare(struct db *d); /* look how many runs there are; before any question */

/* the other side's answers: lineage_mlmd.c */
size_t mlmd_up(struct db *m, int nth);
size_t mlmd_up_ids(struct db *m, int nth); /* of the artifacts alone */
size_t mlmd_down(struct db *m, int nth);
size_t mlmd_up_naive(struct db *m, int nth);
size_t mlmd_in_prod(struct db *m, int nth);
size_t mlmd_wide(struct db *m, int nth);
size_t mlmd_rare(struct db *m, int nth);
size_t mlmd_leaders(struct db *m, int nth);
size_t mlmd_diff(struct db *m, int nth);
size_t mlmd_cache(struct db *m, int nth);
size_t mlmd_runs(struct db *m, int nth);
#define UP_PLACE 26   /* 27 tasks of a run and what they gave out: 120 nodes or so */
#define DOWN_PLACE 73 /* likewise */

void publish_rows(struct db *d); /* lineage_publish.c: what recording a step costs */

#endif
