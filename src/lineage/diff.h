/* SPDX-License-Identifier: Apache-2.0 */
/* diff.h - what is different between two runs
 *
 * Tasks are paired by their path. One row is one fact of both: what was the same is
 * left out, but for metrics, which are compared side by side.
 */
#ifndef LINEAGE_DIFF_H
#define LINEAGE_DIFF_H

#include "lineage/query.h"

enum diff_kind {
    DIFF_RUN,       /* pipeline, spec, version, host, user, git commit, state */
    DIFF_PARAMETER, /* of the run */
    DIFF_TASK,      /* it is only in one of the two */
    DIFF_STATE,
    DIFF_IMAGE,
    DIFF_CODE,
    DIFF_TASK_PARAMETER,
    DIFF_INPUT,
    DIFF_OUTPUT_PARAMETER,
    DIFF_OUTPUT,
    DIFF_METRIC, /* a number or text of an output's metadata; the same ones too */
    DIFF_KINDS
};
const char *diff_kind_name(enum diff_kind k); /* "parameter", as in JSON */

struct diff_row {
    enum diff_kind kind;
    struct str task; /* path; empty for the run */
    struct str name; /* of the parameter, input, output, "output.key" of a metric */
    struct str a, b; /* as text; empty = not there */
    bool same;       /* metrics only */
    bool numeric;
    double num_a, num_b;
};
struct run_diff {
    struct db_run a, b;
    struct diff_row *rows;
    size_t n;
    size_t n_tasks, n_same; /* tasks in both; of them without any difference */
    size_t n_outputs, n_outputs_same; /* artifacts with content, in both */
};

/* db_diff_in - ERR_MISSING when there is no such run */
int db_diff_in(struct arena *a, struct db *d, int64_t run_a, int64_t run_b,
               struct run_diff *out, struct err *e);

/* db_code_text - what a task ran, by its digest; appends nothing when it is not there
 */
int db_code_text(struct db *d, struct str code_hex, struct buf *out, struct err *e);

#endif
