/* SPDX-License-Identifier: Apache-2.0 */
/* specdiff.h - two pipelines side by side: which tasks came, went and changed, and how
 *
 * Pure; memory from the given arena.
 */
#ifndef PLAN_SPECDIFF_H
#define PLAN_SPECDIFF_H

#include "plan/keydiff.h"
#include "spec/pipeline.h"

/* specdiff_task - the task at a path such as "outer/for-loop-2[0]/square" (the indices
 * of iterations do not matter); NULL when there is none. *dag, when not NULL, is the
 * DAG that it belongs to. */
const struct task_def *specdiff_task(const struct pipeline *p, struct str path,
                                     const struct dag **dag);

/* specdiff_command - how the command lines of two executors differ: by word, and by
 * line in scripts */
void specdiff_command(struct arena *a, const struct executor *before,
                      const struct executor *after, struct changes *out);

#endif
