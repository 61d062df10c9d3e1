/* SPDX-License-Identifier: Apache-2.0 */
/* group.c - tasks that hold tasks: DAGs, branches, loops
 *
 *   group_start   inputs are resolved: look at the condition, open the scope, or the loop's first
 *                 iterations
 *   group_ended   the last task of a scope has ended: so has the DAG, or one iteration
 *
 * A loop instantiates and records an iteration when its turn comes, so `parallelism` bounds what
 * is in flight. The first iteration that fails ends the supply; those under way finish, then the
 * loop is FAILED. What a group gives is read from its scopes once it has succeeded.
 */
#include "base/clock.h"
#include "lineage/record.h"
#include "run/engine.h"

/* the task whose own failure it was, however deep */
static const struct task *culprit(const struct task *group)
{
    const struct task *t = group_failed(group);

    while (t && task_is_group(t) && group_failed(t))
        t = group_failed(t);
    return t;
}

static bool any_canceled(const struct task *t)
{
    if (t->kind == TASK_LOOP) {
        const struct loop *l = t->loop;
        for (size_t i = 0; i < l->n_started; i++)
            for (size_t k = 0; k < l->iterations[i]->dag->n_tasks; k++)
                if (l->iterations[i]->tasks[k]->state == TASK_CANCELED)
                    return true;
        return l->n_started < l->n_items; /* it was stopped before they began */
    }
    for (size_t i = 0; i < t->inner->dag->n_tasks; i++)
        if (t->inner->tasks[i]->state == TASK_CANCELED)
            return true;
    return false;
}

static int finish_group(struct engine *en, struct task *t, struct err *e)
{
    const struct task *failed = culprit(t);

    if (failed) {
        char *text = arena_printf(&en->a, "task %.*s failed: %.*s", STR_ARG(failed->path),
                                  STR_ARG(failed->error));
        return task_close(en, t, TASK_FAILED, NO_TEXT, str_of(text), e);
    }
    if (any_canceled(t))
        return task_close(en, t, TASK_CANCELED, STR("the run was stopped"), NO_TEXT, e);
    group_outputs(&en->g, t, &t->out);
    return task_close(en, t, TASK_SUCCEEDED, NO_TEXT, NO_TEXT, e);
}

static bool loop_goes_on(const struct engine *en, const struct task *t)
{
    if (t->loop->failed || en->stopping_hard)
        return false;
    return !en->stopping || task_outlives_stop(t);
}

/* as many iterations as may be under way; the end when none is left */
static int supply_loop(struct engine *en, struct task *t, struct err *e)
{
    struct scope *s;

    while (loop_goes_on(en, t) && (s = loop_next(&en->g, t))) {
        if (record_scope(en, s, e) < 0)
            return -1;
        for (size_t i = 0; i < s->dag->n_tasks; i++)
            engine_examine(en, s->tasks[i]);
        if (!s->n_left) /* a resume found all of it done */
            t->loop->n_active--;
    }
    return t->loop->n_active ? 0 : finish_group(en, t, e);
}

int group_ended(struct engine *en, struct scope *s, struct err *e)
{
    struct task *owner = s->owner;

    if (s->n_left || !owner || owner->state != TASK_RUNNING)
        return 0;
    if (owner->kind != TASK_LOOP)
        return finish_group(en, owner, e);
    owner->loop->n_active--;
    if (s->failed && !owner->loop->failed)
        owner->loop->failed = s->failed;
    return supply_loop(en, owner, e);
}

static int close_scope(struct engine *en, struct scope *s, enum task_state state,
                       struct str reason, struct err *e)
{
    for (size_t i = 0; i < s->dag->n_tasks; i++)
        if (!task_state_final(s->tasks[i]->state) &&
            task_close(en, s->tasks[i], state, reason, NO_TEXT, e) < 0)
            return -1;
    return 0;
}

int group_close_inner(struct engine *en, struct task *t, struct err *e)
{
    enum task_state state = t->state == TASK_CANCELED ? TASK_CANCELED : TASK_SKIPPED;
    struct str reason = str_of(arena_printf(&en->a, "%.*s did not run", STR_ARG(t->path)));

    return t->inner ? close_scope(en, t->inner, state, reason, e) : 0;
}

int group_start(struct engine *en, struct task *t, struct err *e)
{
    struct db_task_start s = {.started_unix_ms = clock_unix_ms()};
    struct err why = {0};
    bool won;

    if (t->kind == TASK_LOOP && loop_open(&en->g, t, &why) < 0)
        return task_fail(en, t, &why, e);
    if (db_task_start(en->env->db, job_of(en, t)->row, &s, &won, e) < 0 ||
        task_put_inputs(en, t, e) < 0)
        return -1;
    job_of(en, t)->started_mono_ns = clock_mono_ns();
    t->state = TASK_RUNNING;
    engine_event(en, RUN_EVENT_TASK, t, NULL);
    if (t->kind == TASK_LOOP)
        return supply_loop(en, t, e);
    for (size_t i = 0; i < t->inner->dag->n_tasks; i++)
        engine_examine(en, t->inner->tasks[i]);
    return group_ended(en, t->inner, e); /* a resumed one may be complete */
}
