/* SPDX-License-Identifier: Apache-2.0 */
/* planinside.h - what the walk of plan.c finds, and who writes it down; internal to the
 * two */
#ifndef RUN_PLANINSIDE_H
#define RUN_PLANINSIDE_H

#include "base/json.h"
#include "run/engine.h"

enum would {
    WOULD_NOTHING, /* not looked at yet */
    WOULD_CACHED,
    WOULD_RUN,
    WOULD_IMPORT,
    WOULD_DEPEND,
    WOULD_SKIP,
    WOULD_FAIL,
    WOULDS
};
struct note {
    enum would would;
    bool maybe;       /* behind a condition that is not known yet */
    bool dark;        /* its outputs are not known; of a group only when none is */
    uint8_t *dark_in; /* by binding, as task_resolve_known() wants it */
    size_t order;     /* in which tasks were settled: one in which they can run */
    struct str reason, image;
    struct str from_run, from_task; /* of a hit */
};

struct walk {
    struct engine *en;
    struct note **notes; /* by task->index */
    size_t n_notes;
    size_t counts[WOULDS], n_maybe, n_settled;
    bool broken; /* *e says how: nothing further is looked at */
    struct err *e;
};

/* plan_note - of a task, made when it is asked for first */
struct note *plan_note(struct walk *w, const struct task *t);

/* plan_write - the whole document; en->needs is filled, every task has its note */
void plan_write(struct walk *p, struct jw *w);

#endif
