/* SPDX-License-Identifier: Apache-2.0 */
/* kube.h - what a pipeline asks of Kubernetes, typed
 *
 * The platform document has one entry for an executor, and an executor may serve tasks
 * of several DAGs. So what comes from a parameter is kept by name only: the enclosing
 * DAG of each task that uses the executor answers for it (plan/kube.h).
 */
#ifndef SPEC_KUBE_H
#define SPEC_KUBE_H

#include "spec/pipeline.h"

#define WORKSPACE_PATH "/kfp-workspace"

/* A text or JSON value, written in the document (SOURCE_CONSTANT) or taken from an
 * input of the enclosing DAG or from an output of a sibling. task_index means nothing.
 */
struct kube_value {
    bool set;
    struct source from;
};

enum kube_store { KUBE_SECRET, KUBE_CONFIG_MAP };

struct kube_key { /* one key of a secret or config map as an environment variable */
    struct str key, var;
};
struct kube_store_env {
    enum kube_store store;
    struct kube_value name;
    struct kube_key *keys;
    size_t n_keys;
    bool optional;
    struct pos pos;
};

enum kube_volume_kind {
    KUBE_VOLUME_SECRET,
    KUBE_VOLUME_CONFIG_MAP,
    KUBE_VOLUME_CLAIM,   /* a persistent volume claim */
    KUBE_VOLUME_SCRATCH, /* emptyDir or generic ephemeral: lives as long as the attempt
                          */
    KUBE_VOLUME_MEMORY,  /* emptyDir of medium Memory */
};
struct kube_volume {
    enum kube_volume_kind kind;
    struct kube_value name; /* of the secret, config map or claim */
    struct str volume_name; /* of a scratch volume: init containers refer to it */
    struct str mount_path;  /* absolute */
    struct str sub_path;    /* of a claim: relative, without "..", may be empty */
    bool optional;
    uint64_t size_bytes; /* 0 = not said */
    struct pos pos;
};

enum kube_field {
    KUBE_FIELD_NAME,
    KUBE_FIELD_NAMESPACE,
    KUBE_FIELD_UID,
    KUBE_FIELD_LABEL,
    KUBE_FIELD_ANNOTATION,
    KUBE_FIELD_NODE,
    KUBE_FIELD_SERVICE_ACCOUNT,
    KUBE_FIELD_POD_IP,
    KUBE_FIELD_HOST_IP,
};
struct kube_field_env {
    struct str var;
    enum kube_field field;
    struct str key; /* of a label or annotation */
};

enum kube_placement_kind {
    KUBE_NODE_SELECTOR,
    KUBE_TOLERATION,
    KUBE_NODE_AFFINITY,
    KUBE_POD_AFFINITY
};
/* Where a pod may run. It means nothing on one machine; kept for the type check of its
 * parameters and for components that pass their own settings on (TASK_CONFIG). */
struct kube_placement {
    enum kube_placement_kind kind;
    const struct value *literal; /* as written, without the ...Json field; NULL when
                                    there is nothing else */
    struct kube_value json;
};

struct kube_init_mount {
    struct str volume_name, mount_path;
};
struct kube_init { /* runs to its end before the task; a side car from its turn on until the task's end */
    struct str name, image;
    struct str *argv; /* command, then args */
    size_t n_argv;
    struct env_var *env;
    size_t n_env;
    struct kube_init_mount *mounts;
    size_t n_mounts;
    struct str cpu_limit, memory_limit;
    bool side_car;
    struct pos pos;
};

struct kube {
    struct kube_store_env *store_env; /* in the order of their precedence: secrets, then
                                         config maps; later wins */
    size_t n_store_env;
    struct kube_volume *volumes;
    size_t n_volumes;
    struct kube_field_env *field_env;
    size_t n_field_env;
    struct env_var *labels, *annotations;
    size_t n_labels, n_annotations;
    bool shm;
    uint64_t shm_bytes; /* 0 = not said */
    bool has_user, has_group, non_root;
    uint32_t user, group;
    int64_t timeout_ms; /* of one attempt, 0 = none */
    bool pull_always;
    struct kube_value *pull_secrets;
    size_t n_pull_secrets;
    struct kube_placement *placements;
    size_t n_placements;
    struct kube_init *inits;
    size_t n_inits;
    struct pos pos;
};

/* kube_name_ok - may it name a secret, config map or claim, and so a directory?
 * Letters, digits, "-", "_" and ".", at most 253, not a dot first */
bool kube_name_ok(struct str s);
/* kube_key_ok - the same for a key, and so a file; ".name" is fine, "..name" is not */
bool kube_key_ok(struct str s);
/* kube_sources - every value of `k` that may come from a parameter. gives: an array in
 * `a` of *n pointers into k */
const struct kube_value **kube_values_in(struct arena *a, const struct kube *k,
                                         size_t *n);
/* kube_path_is_workspace - is it the run's workspace or below it? */
bool kube_path_is_workspace(struct str path);

#endif
