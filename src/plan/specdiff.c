/* SPDX-License-Identifier: Apache-2.0 */
/* specdiff.c - two pipelines side by side
 *
 * Tasks are matched by their place: the keys of the DAGs that lead to them. What a
 * person edits is a task's component (image, script, types) or its wiring (inputs,
 * order, retry); both are reported at the task, since the names of components and
 * executors are the compiler's and shift when one is inserted.
 */
#include "plan/specdiff.h"

/* "for-loop-2[0]" -> "for-loop-2" */
static struct str without_index(struct str key)
{
    size_t n = key.len;

    if (!n || key.ptr[n - 1] != ']')
        return key;
    for (n--; n > 0 && key.ptr[n - 1] >= '0' && key.ptr[n - 1] <= '9'; n--)
        ;
    return n > 1 && key.ptr[n - 1] == '[' ? (struct str){key.ptr, n - 1} : key;
}

static const struct task_def *find_task(const struct dag *dag, struct str key)
{
    for (size_t i = 0; i < dag->n_tasks; i++)
        if (str_eq(dag->tasks[i].key, key))
            return &dag->tasks[i];
    return NULL;
}

const struct task_def *specdiff_task(const struct pipeline *p, struct str path,
                                     const struct dag **dag)
{
    const struct dag *in = p->root->dag;

    for (;;) {
        const char *slash = memchr(path.ptr, '/', path.len);
        struct str key = {path.ptr, slash ? (size_t)(slash - path.ptr) : path.len};
        const struct task_def *t = find_task(in, key);

        if (!t)
            t = find_task(in, without_index(key));
        if (t && !slash) {
            if (dag)
                *dag = in;
            return t;
        }
        if (!t || !t->component->dag)
            return NULL;
        in = t->component->dag;
        path.len -= key.len + 1;
        path.ptr = slash + 1;
    }
}

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
