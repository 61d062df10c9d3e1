/* SPDX-License-Identifier: Apache-2.0 */
/* specdiff.h - two pipelines side by side: which tasks came, went and changed, and how
 *
 * Pure; memory from the given arena.
 */
#ifndef PLAN_SPECDIFF_H
#define PLAN_SPECDIFF_H

#include "plan/keydiff.h"
#include "spec/pipeline.h"

enum spec_change_kind { SPEC_ADDED, SPEC_REMOVED, SPEC_CHANGED };
const char *spec_change_word(enum spec_change_kind k); /* "added" ... */

struct spec_change {
    enum spec_change_kind kind;
    struct str path; /* of the task; "(pipeline)" for what belongs to the whole */
    struct changes changes; /* of a changed one */
};
/* specdiff_in - in the order of `after`, with what was removed at the place where it
 * stood */
void specdiff_in(struct arena *a, const struct pipeline *before,
                 const struct pipeline *after, struct spec_change **out, size_t *n);

/* specdiff_command - how the command lines of two executors differ: by word, and by
 * line in scripts */
void specdiff_command(struct arena *a, const struct executor *before,
                      const struct executor *after, struct changes *out);

#endif
