/* SPDX-License-Identifier: Apache-2.0 */
/* kube.h - Kubernetes settings, on the engine's side: are they met, what do they add
 *
 *   secrets, config maps   HOME/secrets/NAME/KEY, HOME/configmaps/NAME/KEY (config:
 * secrets, configmaps) volume claims          what the config's "volumes" says, else
 * HOME/volumes/NAME
 *
 * The engine looks whether files are there and never opens one of a secret.
 */
#ifndef RUN_KUBE_H
#define RUN_KUBE_H

#include "run/engine.h"

/* kube_check - before the start: what is missing of everything that is known by now,
 * appended to *missing as "task NAME: what; ..."; *worst is set when something is */
void kube_check(struct engine *en, struct buf *missing, enum err_code *worst);

/* kube_serialise - wait until no other run of this home holds the pipeline's mutex or
 * semaphore key, and hold it until engine_done(). Call it before anything is recorded:
 * a signal ends the process while it waits. */
int kube_serialise(struct engine *en, struct err *e);

/* kube_plan_task - fill j->kube and j->kube_text, once the task's inputs are resolved.
 * Errors are the task's failure. */
int kube_plan_task(struct engine *en, struct job *j, struct err *e);
/* kube_plan_image - does the image suit them? After j->image is known */
int kube_plan_image(const struct job *j, struct err *e);
/* kube_plan_workspace - set j->workspace, once argv and env are known: does anything of
 * the task mention the workspace? ERR_INPUT when the pipeline has none. */
int kube_plan_workspace(struct engine *en, struct job *j, struct err *e);
/* kube_make_workspace - the run's workspace; inside (in `a`) is what a box is given of
 * it */
int kube_make_workspace(const struct engine *en, struct arena *a, const char **inside,
                        struct err *e);
/* kube_opaque - does the task see something that its cache key cannot hold? */
bool kube_opaque(const struct engine *en, const struct job *j);

/* kube_fill - user, variables, mounts and time-out of one attempt; at->env is complete
 * but for what comes from the document */
int kube_fill(struct engine *en, struct job *j, struct attempt *at, struct err *e);

/* kube_record_labels - labels and annotations; kube_record_seen - what the task sees
 * outside of the record, at its first attempt. Inside the turn's transaction. */
int kube_record_labels(struct engine *en, const struct job *j, struct err *e);
int kube_record_seen(struct engine *en, struct job *j, struct err *e);

/* kube_volume_path - the directory of a volume claim, there or not; may lie in `a` */
const char *kube_volume_path(const struct engine *en, struct arena *a, struct str name);

#endif
