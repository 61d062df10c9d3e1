/* SPDX-License-Identifier: Apache-2.0 */
/* group.c - tasks that hold tasks: a DAG opens its scope, and ends with the last task in it
 */
#include "base/clock.h"
#include "lineage/record.h"
#include "run/engine.h"

/* the last task of a nested DAG has ended: so has the DAG */
int group_ended(struct engine *en, struct scope *s, struct err *e)
{
    struct task *owner = s->owner;

    if (s->n_left || !owner || task_state_final(owner->state))
        return 0;
    if (s->failed)
        return task_close(en, owner, TASK_FAILED, NO_TEXT, STR("a task inside it failed"), e);
    for (size_t i = 0; i < s->dag->n_tasks; i++)
        if (s->tasks[i]->state == TASK_CANCELED)
            return task_close(en, owner, TASK_CANCELED, STR("canceled"), NO_TEXT, e);
    if (scope_outputs(&en->g, s, &owner->out, e) < 0)
        return -1;
    return task_close(en, owner, TASK_SUCCEEDED, NO_TEXT, NO_TEXT, e);
}

int group_close_inner(struct engine *en, struct task *t, struct str reason, struct err *e)
{
    for (size_t i = 0; t->inner && i < t->inner->dag->n_tasks; i++)
        if (!task_state_final(t->inner->tasks[i]->state) &&
            task_close(en, t->inner->tasks[i], TASK_SKIPPED, reason, NO_TEXT, e) < 0)
            return -1;
    return 0;
}

int group_start(struct engine *en, struct task *t, struct err *e)
{
    struct db_task_start s = {.started_unix_ms = clock_unix_ms()};
    bool won;

    if (db_task_start(en->env->db, job_of(en, t)->row, &s, &won, e) < 0 ||
        task_put_inputs(en, t, e) < 0)
        return -1;
    job_of(en, t)->started_mono_ns = clock_mono_ns();
    t->state = TASK_RUNNING;
    engine_event(en, RUN_EVENT_TASK, t, NULL);
    for (size_t i = 0; i < t->inner->dag->n_tasks; i++)
        engine_examine(en, t->inner->tasks[i]);
    return group_ended(en, t->inner, e); /* a resumed one may be complete */
}
