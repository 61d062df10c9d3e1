/* SPDX-License-Identifier: Apache-2.0 */
/* kube.h - the platform settings of one task, its parameters filled in
 *
 * Parameters of the platform document belong to the DAG that encloses the task: its
 * inputs and the outputs of the task's siblings. One that is null drops its entry.
 * Pure; memory from the given arena; no content of a secret or config map comes here.
 */
#ifndef PLAN_KUBE_H
#define PLAN_KUBE_H

#include "plan/graph.h"
#include "spec/kube.h"

struct kube_env_from { /* a variable whose value the supervisor reads from a file */
    enum kube_store store;
    struct str name, key, var;
    bool optional;
};
struct kube_mount {
    const struct kube_volume *def;
    struct str name; /* of the secret, config map or claim; empty for scratch */
};

struct kube_plan {
    const struct kube *def;         /* NULL when the executor has no settings */
    struct kube_env_from *env_from; /* in the order of precedence: later wins */
    size_t n_env_from;
    struct kube_mount *mounts;
    size_t n_mounts;
    struct str *pull_secrets;
    size_t n_pull_secrets;
    const struct value **placements; /* one for each of def->placements; NULL = dropped */
    bool no_field_env; /* field paths are only passed on (taskconfig.h) */
};

/* kube_resolve_in - fill in the parameters of t's platform settings
 *
 * ERR_INPUT, naming the field, when a name is not a non-empty string that may name an
 * object, when JSON is of the wrong kind, or when two entries are mounted in one place.
 */
int kube_resolve_in(struct arena *a, struct graph *g, const struct task *t,
                    struct kube_plan *out, struct err *e);

/* kube_known_name - the name of an object as far as it is known before the run
 *
 * in  inputs of the enclosing DAG, NULL when they are not known yet
 *
 * false when only the run will tell, or when the entry is dropped. */
bool kube_known_name(const struct kube_value *v, const struct io_values *in,
                     struct str *out);

/* kube_label - the value of a label or annotation that a field path names; empty when
 * there is none */
struct str kube_label(const struct kube *k, const struct kube_field_env *f);

/* kube_key_text - what the task sees by its platform settings, as text for its cache
 * key; names only, never contents */
void kube_key_text(const struct kube_plan *k, struct buf *out);

#endif
