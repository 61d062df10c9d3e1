/* SPDX-License-Identifier: Apache-2.0 */
/* specdiff.h - two pipelines side by side: which tasks came, went and changed, and how
 *
 * Pure; memory from the given arena.
 */
#ifndef PLAN_SPECDIFF_H
#define PLAN_SPECDIFF_H

#include "plan/keydiff.h"
#include "spec/pipeline.h"

/* specdiff_command - how the command lines of two executors differ: by word, and by
 * line in scripts */
void specdiff_command(struct arena *a, const struct executor *before,
                      const struct executor *after, struct changes *out);

#endif
