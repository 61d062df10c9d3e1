/* SPDX-License-Identifier: Apache-2.0 */
/* kubeinside.h - where Kubernetes' things lie on this box; internal to run/kube*.c */
#ifndef RUN_KUBEINSIDE_H
#define RUN_KUBEINSIDE_H

#include "run/engine.h"

/* "secret", "config map" */
const char *kube_store_noun(enum kube_store s);
/* the directory of a secret or config map, there or not; lies in `a` */
const char *kube_store_path(const struct engine *en, struct arena *a, enum kube_store s,
                            struct str name);
/* what the config says of a claim; NULL: nothing */
const struct run_volume *kube_volume_of(const struct engine *en, struct str name);

/* Are they there? ERR_MISSING says what to make. Nothing is opened. */
int kube_look_for_key(const struct engine *en, struct arena *a, enum kube_store s,
                      struct str name, struct str key, struct err *e);
int kube_look_for_volume(const struct engine *en, struct arena *a,
                         const struct kube_volume *v, struct str name, struct err *e);
/* runAsNonRoot against the image's user; ERR_INPUT */
int kube_check_user(const struct kube *k, const struct image_use *img, struct err *e);

#endif
