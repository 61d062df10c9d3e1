/* SPDX-License-Identifier: Apache-2.0 */
/* execin.h - what one container task is started with: executor input, argv, env, paths
 *
 * Spec sections 8 to 11. Pure; memory from the given arena.
 */
#ifndef PLAN_EXECIN_H
#define PLAN_EXECIN_H

#include "plan/graph.h"

#define EXEC_ROOT "minio://mlpipeline/v2/artifacts" /* pipeline root where nobody names one, */
#define EXEC_ROOT_DIR "/minio/mlpipeline/v2/artifacts" /* and inside the box */
#define EXEC_PARAM_DIR "/tmp/kfp/outputs" /* where output parameter files lie inside the box */

struct exec_output {
    struct str name;
    struct str uri;  /* artifacts only */
    struct str path; /* inside the box */
};

struct exec_plan {
    struct str task_root_uri, task_root_path; /* both end without '/' */
    struct str output_file;                   /* executor output JSON, inside the box */
    struct exec_output *params;               /* one for each declared output parameter */
    size_t n_params;
    struct exec_output *artifacts;
    size_t n_artifacts;
    struct str executor_input;                /* compact JSON */
    char **argv;                              /* NULL-terminated; empty when the image's is used */
    size_t n_argv;
    char **env; /* the executor's env, "K=V", NULL-terminated */
    size_t n_env;
    struct str image; /* reference after placeholders */
    struct str absent; /* an input that the command line asks for and that has no value: nothing
                          was put in. The last of them; empty when there is none */
};

/* exec_uri_to_path - section 10's table; an unknown scheme gives the URI itself */
struct str exec_uri_to_path(struct arena *a, struct str uri);

/* exec_in_workspace - do its bytes lie in the run's workspace (an import with downloadToWorkspace)? */
bool exec_in_workspace(const struct artifact *f);
/* exec_artifact_path - where a consumer finds an artifact */
struct str exec_artifact_path(struct arena *a, const struct artifact *f);

/* exec_input_in - only what the component's own code is told: executor_input, output_file and the
 * places of the outputs are set in *out. Also for a group, which has no executor. */
int exec_input_in(struct arena *a, const struct graph *g, const struct task *t,
                  struct exec_plan *out, struct err *e);

/* exec_plan_in - everything for one container task; t->in is resolved, t->uuid set. ERR_INPUT,
 * ERR_LIMIT when one argument is over 128 KiB */
int exec_plan_in(struct arena *a, const struct graph *g, const struct task *t,
                 struct exec_plan *out, struct err *e);

struct exec_resources {
    uint64_t memory_limit_bytes, memory_request_bytes; /* 0 = unset */
    uint32_t cpu_limit_millis, cpu_request_millis;
    struct str accelerator_type;
    uint32_t accelerators;
};
/* exec_text - a text of the executor with its placeholders filled in */
int exec_text(struct arena *a, const struct graph *g, const struct task *t, struct str text,
              struct str *out, struct err *e);
/* exec_cpu_millis - "2", "0.5", "500m"; an empty text leaves *out alone */
int exec_cpu_millis(struct str text, uint32_t *out, struct err *e);
int exec_resources(struct arena *a, const struct graph *g, const struct task *t,
                   struct exec_resources *out, struct err *e);
/* exec_resources_known - the same before the start: what an input decides counts as unset */
int exec_resources_known(const struct component *c, struct exec_resources *out, struct err *e);

#endif
