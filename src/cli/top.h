/* SPDX-License-Identifier: Apache-2.0 */
/* top.h - what runs now and what waits for what, as facts: for cmd_top.c */
#ifndef CLI_TOP_H
#define CLI_TOP_H

#include "box/look.h"
#include "cli/cli.h"
#include "gpu/gpu.h"
#include "lineage/query.h"
#include "run/waits.h"

struct top_task {
    int64_t row;
    struct str path;
    const char *phase; /* "starting", "running", "storing" (its outputs), "working" (without a
                          box); NULL: it waits */
    int64_t attempt, since_unix_ms; /* of the attempt; when it could have started */
    bool looked;
    struct box_look look;
    int64_t cpu_percent; /* of one CPU, since the last look, else since its start; -1: unknown */
    struct str *gpus;    /* ids */
    size_t n_gpus;
    enum wait_for what; /* that it waits for */
    uint64_t amount;
    struct str why; /* in words */
};

struct top_run {
    struct db_run row;
    struct db_run_counts counts;
    bool engine; /* it has one: else its tasks go on by themselves */
    struct top_task *tasks; /* those that run first */
    size_t n_tasks;
    int64_t more; /* that wait and are not listed */
};

/* a `dugout box` */
struct top_box {
    pid_t pid;
    struct str command;
    int64_t since_unix_ms;
    struct box_look look;
    int64_t cpu_percent;
};

/* what one look leaves for the next one; zeroed at first, free(items) at the end */
struct top_memory {
    struct top_seen {
        int64_t key; /* row of a task; of a box, the negative of its pid */
        int64_t cpu_usec, at_mono_ns;
    } *items;
    size_t n;
};

struct top {
    int64_t now_unix_ms;
    uint64_t budget_bytes, promised_bytes; /* of memory */
    long cpus;
    struct top_run *runs; /* newest first */
    size_t n_runs;
    struct waiting_run *waiting_runs;
    size_t n_waiting_runs;
    struct top_box *boxes;
    size_t n_boxes;
    size_t gpu_queue; /* who waits for GPUs on this machine */
};

/* top_look - everything in `a`. The database is read; nothing is changed. */
int top_look(struct cli *c, struct arena *a, const struct gpu_set *gpus, struct top_memory *before,
             struct top *out, struct err *e);

/* cmd_gpu.c: cli_gpu_state - "free", "in use", "draining", "drained", "unusable"; text: by whom or
 * why, "" when there is no more to say. cli_gpu_json - an object of it, as `gpu ls` prints */
const char *cli_gpu_state(const struct gpu_set *s, const struct gpu *g, char text[GPU_TEXT_BYTES]);
void cli_gpu_json(struct jw *w, const struct gpu *g, const char *state, const char *text);

#endif
