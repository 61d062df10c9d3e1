/* SPDX-License-Identifier: Apache-2.0 */
/* taskconfig.h - the settings of a task as JSON, for a component that passes them on
 *
 * A component with taskConfigPassthroughs starts a workload of its own and wants to
 * know what the task was given. Its input of type TASK_CONFIG gets that, in the shape
 * of a pod spec. A setting whose applyToTask is false is only passed on.
 */
#ifndef PLAN_TASKCONFIG_H
#define PLAN_TASKCONFIG_H

#include "plan/kube.h"

/* taskconfig_set - give every input of type TASK_CONFIG of t's component its value, in
 * the graph's arena. `k` is resolved and complete. */
int taskconfig_set(struct graph *g, struct task *t, const struct kube_plan *k,
                   struct err *e);

/* taskconfig_trim - then take out of *k what is only passed on */
void taskconfig_trim(const struct task *t, struct kube_plan *k);

#endif
