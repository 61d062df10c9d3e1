/* SPDX-License-Identifier: Apache-2.0 */
/* chore.h - tasks without a box, on the engine's side: importers, CreatePVC and
 * DeletePVC */
#ifndef RUN_CHORE_H
#define RUN_CHORE_H

#include "run/engine.h"

/* chore_is - is the executor one of these? */
bool chore_is(const struct executor *x);
/* chore_check - before the start, of an importer: is the file there, as far as its URI
 * is known? `in` as in kube_known_name(). ERR_MISSING, ERR_INPUT */
int chore_check(struct engine *en, const struct task_def *t, const struct io_values *in,
                struct err *e);
/* chore_plan - fill j->work once the task's inputs are resolved; errors are the task's
 * failure */
int chore_plan(struct engine *en, struct job *j, struct err *e);
/* chore_fill - the whole of j->at; always 0 */
int chore_fill(struct engine *en, struct job *j);
/* chore_fetched - are the bytes of t's input artifacts to be had? ERR_MISSING for one
 * that was recorded by its remote URI only */
int chore_fetched(const struct engine *en, const struct task *t, struct err *e);
/* chore_cacheable - may the task's result be used again? Of a volume that was made by
 * name */
bool chore_cacheable(const struct job *j);
/* chore_still_true - is what a hit says still so? The volume must be there */
bool chore_still_true(const struct job *j);

#endif
