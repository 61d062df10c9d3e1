/* SPDX-License-Identifier: Apache-2.0 */
/* kuberead.h - what the readers of the platform document share; private to kube*.c
 *
 * A kube_fn reads one field, or one element of a field that is a list, into *k.
 */
#ifndef SPEC_KUBEREAD_H
#define SPEC_KUBEREAD_H

#include "spec/kube.h"
#include "spec/reader.h"

typedef int kube_fn(struct reader *r, const struct node *n, struct kube *k,
                    struct err *e);

/* kubevol.c */
kube_fn kube_secret_env, kube_config_env, kube_field_env;
kube_fn kube_secret_volume, kube_config_volume, kube_claim, kube_empty_dir,
    kube_ephemeral, kube_shared_memory;
/* kubeinit.c: one of initContainers; scratch volumes have been read */
kube_fn kube_init;

/* kube_source - where a value comes from; absent and null leave *v alone */
int kube_source(struct reader *r, const struct node *n, struct kube_value *v,
                struct err *e);
/* the same with its members given by hand; `at` is for the message */
int kube_source_of(struct reader *r, const struct node *at, const struct node *outer,
                   const struct node *output, const struct node *constant,
                   struct kube_value *v, struct err *e);
/* kube_name - the name of an object as a literal or as a source; one must be there */
int kube_name(struct reader *r, const struct node *at, const struct node *literal,
              const struct node *source, const char *what, struct kube_value *v,
              struct err *e);
/* kube_mount_path - an absolute path in the box, outside of the workspace; `at` is for
 * the message when n is NULL */
int kube_mount_path(struct reader *r, const struct node *at, const struct node *n,
                    struct str *out, struct err *e);
/* kube_size - 1Gi, 500M; empty and absent: *out stays */
int kube_size(struct reader *r, const struct node *n, uint64_t *out, struct err *e);
/* kube_var - may it name an environment variable? */
int kube_var(struct reader *r, const struct node *n, struct str var, struct err *e);

#endif
