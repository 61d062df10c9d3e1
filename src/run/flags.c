/* SPDX-License-Identifier: Apache-2.0 */
/* flags.c - what a run says and does about artifacts that were revoked
 *
 * A flag never stops a run: whoever started it may know better. But it is said, and a result
 * that is flagged is not taken from the cache: tonight's model must not silently be the one
 * that was found to be bad.
 */
#include "lineage/cache.h"
#include "lineage/revoke.h"
#include "run/engine.h"

static int flagged(struct engine *en, int64_t artifact, const struct db_mark **why, struct err *e)
{
    *why = NULL;
    if (!artifact || (!en->marks && marks_open(en->env->db, &en->marks, e) < 0))
        return artifact ? -1 : 0;
    return marks_look(en->marks, artifact, why, e);
}

/* false when this was said of it before in this run */
static bool first_time(struct engine *en, int64_t artifact)
{
    const char *key = arena_printf(&en->a, "a%lld", (long long)artifact);

    if (map_get(&en->told, str_of(key)))
        return false;
    map_put(&en->told, str_of(key), en);
    return true;
}

/* A flag never stops a run; it is said once of each artifact that has one. */
int task_warn_revoked(struct engine *en, struct task *t, struct err *e)
{
    const struct db_mark *why;

    for (size_t i = 0; i < t->in.n_artifacts; i++)
        for (size_t k = 0; k < t->in.artifacts[i].n_items; k++) {
            int64_t id = t->in.artifacts[i].items[k].id;
            if (flagged(en, id, &why, e) < 0)
                return -1;
            if (why && first_time(en, id))
                engine_notice(en, t, "task %.*s reads a%lld as %.*s, and %.*s is revoked: %.*s",
                              STR_ARG(t->path), (long long)id, STR_ARG(t->in.artifacts[i].name),
                              STR_ARG(why->what), STR_ARG(why->reason));
        }
    return 0;
}

static int inputs_flagged(struct engine *en, const struct task *t, bool *any, struct err *e)
{
    const struct db_mark *why = NULL;

    for (size_t i = 0; !why && i < t->in.n_artifacts; i++)
        for (size_t k = 0; !why && k < t->in.artifacts[i].n_items; k++)
            if (flagged(en, t->in.artifacts[i].items[k].id, &why, e) < 0)
                return -1;
    *any = why;
    return 0;
}

/* A revoked result is no result: the task runs again. Where it was made from what was said to
 * be revoked already, nothing more is said. */
int task_hit_sound(struct engine *en, const struct task *t, const struct db_io_rows *rows,
                   bool *sound, struct err *e)
{
    const struct db_mark *why;
    bool inputs;

    *sound = true;
    if (inputs_flagged(en, t, &inputs, e) < 0)
        return -1;
    for (size_t i = 0; i < rows->n_artifacts && *sound; i++) {
        if (flagged(en, rows->artifacts[i].artifact.id, &why, e) < 0)
            return -1;
        *sound = !why;
        if (why && !inputs)
            engine_notice(en, t, "task %.*s: its cached result is not used, %.*s is revoked: %.*s",
                          STR_ARG(t->path), STR_ARG(why->what), STR_ARG(why->reason));
    }
    return 0;
}
