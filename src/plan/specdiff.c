/* SPDX-License-Identifier: Apache-2.0 */
/* specdiff.c - two pipelines side by side
 *
 * Tasks are matched by their place: the keys of the DAGs that lead to them. What a
 * person edits is a task's component (image, script, types) or its wiring (inputs,
 * order, retry); both are reported at the task, since the names of components and
 * executors are the compiler's and shift when one is inserted.
 */
#include "plan/specdiff.h"

static void differ_words(struct arena *a, const char *of, const struct str *before,
                         size_t n_before, const struct str *after, size_t n_after,
                         struct changes *out)
{
    const struct str none = {NULL, 0};

    for (size_t i = 0; i < n_before || i < n_after; i++)
        change_add_text(a, out,
                        str_of(arena_printf(a, "word %zu of the %s", i + 1, of)),
                        i < n_before ? before[i] : none, i < n_after ? after[i] : none);
}

void specdiff_command(struct arena *a, const struct executor *before,
                      const struct executor *after, struct changes *out)
{
    differ_words(a, "command", before->command, before->n_command, after->command,
                 after->n_command, out);
    differ_words(a, "arguments", before->args, before->n_args, after->args,
                 after->n_args, out);
}
