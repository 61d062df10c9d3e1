/* SPDX-License-Identifier: Apache-2.0 */
/* pipeline.h - a compiled pipeline, typed: what the rest of dugout knows of the YAML
 *
 * pipeline_parse_in() reads text (YAML stream or JSON), refuses what it does not
 * understand with file:line:col, and gives structs that live in the caller's arena.
 * Arrays keep document order. Names are str with a NUL behind them.
 */
#ifndef SPEC_PIPELINE_H
#define SPEC_PIPELINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/sha256.h"
#include "spec/pos.h"
#include "spec/value.h"

struct param_def {
    struct str name, description;
    enum param_type type;
    const struct value *default_value; /* NULL when there is none */
    bool optional;
    const struct value *literals; /* array, n_literals */
    size_t n_literals;
    struct pos pos;
};

struct artifact_def {
    struct str name, description;
    struct str
        schema_title; /* "system.Dataset"; "system.Artifact" when nothing was said */
    struct str schema_version; /* "0.0.1" by default */
    bool is_list, optional;
    const struct value *metadata; /* struct or NULL: outputs only */
    struct pos pos;
};

struct io_defs {
    struct param_def *params;
    size_t n_params;
    struct artifact_def *artifacts;
    size_t n_artifacts;
    uint32_t *params_by_name,
        *artifacts_by_name; /* indices, for large ones; may be NULL */
};
const struct param_def *io_param(const struct io_defs *d,
                                 struct str name); /* NULL when absent */
const struct artifact_def *io_artifact(const struct io_defs *d, struct str name);
/* param_allows - is v one of the literals, or are there none? */
bool param_allows(const struct param_def *p, const struct value *v);

enum source_kind {
    SOURCE_INPUT,        /* input `name` of the enclosing DAG */
    SOURCE_TASK_OUTPUT,  /* output `name` of sibling `task` */
    SOURCE_CONSTANT,     /* parameters only */
    SOURCE_FINAL_STATUS, /* parameters only: state of sibling `task` */
};

struct source {
    enum source_kind kind;
    struct str task;   /* key of the sibling */
    size_t task_index; /* its index in the enclosing dag's tasks (after checking) */
    struct str name;   /* input or output key */
    const struct value *constant; /* may hold placeholders in strings */
    struct str selector;          /* parameterExpressionSelector, empty when absent */
    struct pos pos;
};

struct binding {
    struct str name; /* input name of the task; the component may not declare it */
    struct source from;
};

struct retry_policy {
    bool set;
    uint32_t max_retries;
    int64_t backoff_ms, backoff_max_ms; /* defaults 0 and 3600 s */
    double backoff_factor;              /* default 2 */
};

struct task_def {
    struct str key;          /* unique in its DAG */
    struct str display_name; /* taskInfo.name, else the key */
    struct component *component;
    struct binding *params;
    size_t n_params;
    struct binding *artifacts;
    size_t n_artifacts;
    size_t *deps; /* indices into the enclosing dag: dependentTasks and producers,
                     unique, sorted */
    size_t n_deps;
    bool cache_enabled;
    struct str cache_key; /* custom, empty when absent */
    struct retry_policy retry;
    struct str condition; /* CEL text, empty when absent */
    bool run_on_any_end;  /* strategy ALL_UPSTREAM_TASKS_COMPLETED */
    /* loops: items_raw or items_input is set when it is one */
    struct str items_raw, items_input, item_name;
    bool iterates_artifacts;
    uint32_t parallelism_limit; /* 0 = none */
    struct pos pos;
};
bool task_is_loop(const struct task_def *t);

struct selector { /* where a DAG output comes from */
    struct str task, output;
    size_t task_index;
};

struct dag_output {
    struct str name;
    struct selector *from; /* one, or several = first that completed (one-of) */
    size_t n_from;
    bool one_of;
    struct pos pos;
};

struct dag {
    struct task_def *tasks;
    size_t n_tasks;
    size_t *first_dependent; /* tasks that wait for task i: dependents[first_dependent[i]] */
    size_t *dependents;      /* up to dependents[first_dependent[i + 1]], indices */
    struct dag_output *params;
    size_t n_params;
    struct dag_output *artifacts;
    size_t n_artifacts;
};

struct env_var {
    struct str name, value;
};

struct resources { /* texts may be one placeholder; empty = unset. Numbers come from
                      resources_resolve() */
    struct str cpu_limit, cpu_request, memory_limit,
        memory_request; /* Kubernetes quantities */
    struct str accelerator_type, accelerator_count;
};

struct kube;
enum executor_kind { EXECUTOR_CONTAINER, EXECUTOR_IMPORTER };

struct executor {
    struct str label;
    enum executor_kind kind;
    struct str image; /* may be one placeholder */
    struct str *command;
    size_t n_command;
    struct str *args;
    size_t n_args;
    struct env_var *env;
    size_t n_env;
    struct resources res;
    struct importer_def *importer; /* NULL unless EXECUTOR_IMPORTER */
    struct kube *kube; /* platforms.kubernetes.deploymentSpec.executors.LABEL or NULL;
                          see kube.h */
    const struct value *platform; /* the same as it was written, to be compared */
    struct pos pos;
};

struct importer_def {
    struct source
        uri; /* SOURCE_CONSTANT, or SOURCE_INPUT with an input of the component */
    struct str schema_title, schema_version;
    bool reimport;
    const struct value *metadata; /* struct or NULL, may hold placeholders */
    bool to_workspace;
};

/* settings that a component wants to know of, so that it can pass them on */
enum passthrough {
    PASS_RESOURCES,
    PASS_ENV,
    PASS_AFFINITY,
    PASS_TOLERATIONS,
    PASS_NODE_SELECTOR,
    PASS_VOLUMES,
    PASSTHROUGHS
};

struct component {
    struct str name;
    struct io_defs in, out;
    struct dag *dag; /* one of these two */
    struct executor *executor;
    struct {
        bool set, apply;
    } pass[PASSTHROUGHS]; /* taskConfigPassthroughs */
    uint64_t n_inside; /* task instances of one execution, a loop's body counted once */
    struct pos pos;
};

/* component_applies - does a setting hold for the task itself, too? */
bool component_applies(const struct component *c, enum passthrough p);

struct pipeline {
    struct str file; /* for messages */
    struct str name, display_name, description, sdk_version;
    struct component *root; /* root->dag is never NULL */
    struct component **components;
    size_t n_components;
    struct executor **executors;
    size_t n_executors;
    struct str default_root; /* defaultPipelineRoot, empty when absent */
    const struct value *platform_config; /* platforms.kubernetes.pipelineConfig as it was
                                            written, or NULL; what it means: */
    bool workspace; /* a directory of the run at /kfp-workspace */
    struct str mutex, semaphore; /* runs that share one do not run at the same time */
    int64_t deadline_ms;         /* activeDeadlineSeconds, 0 = none */
    char text_hex[DIGEST_HEX]; /* SHA-256 of the text */
    char **notices;            /* what was ignored, one line each, at most 200 */
    size_t n_notices;
};

struct pipeline_opts {
    bool lenient; /* unknown fields become notices */
};

/* pipeline_parse_in - text -> pipeline, all in `a` (text need not outlive the call)
 *
 * file   shown in messages; "-" for stdin
 * ERR_INPUT with "file:line:col: what" for anything refused, ERR_LIMIT for size and
 * depth. Checks done here: schema version, names, references, cycles, input sources,
 * types of constants and defaults, unknown fields (by their path), executors of
 * unsupported kinds. */
int pipeline_parse_in(struct arena *a, struct str file, struct str text,
                      const struct pipeline_opts *o, struct pipeline *out,
                      struct err *e);

/* pipeline_unpack - yaml, json, zip or tar.gz bytes -> the text of the pipeline,
 * appended to *out (a copy of `bytes` when it is no archive)
 *
 * The entry pipeline.yaml is taken, else the only .yaml, .yml or .json. ERR_INPUT for
 * an archive without exactly one candidate and for bytes that are not what the name of
 * `file` promises, ERR_CORRUPT for a damaged one, ERR_LIMIT past LIMIT_SPEC_BYTES. */
int pipeline_unpack(struct str bytes, struct str file, struct buf *out, struct err *e);

/* pipeline_supported - what this version does not run yet is refused by name:
 * conditions, loops, exit handlers, importers, Kubernetes fields. ERR_INPUT with the
 * position. */
int pipeline_supported(const struct pipeline *p, struct err *e);

/* A root parameter as given: text from -p, or a value from --params */
struct given_param {
    struct str name;
    struct str text; /* used when value is NULL */
    const struct value *value;
};
/* pipeline_root_params_in - section 5: given values, defaults, required ones; *out is a
 * STRUCT value of every root parameter (null for an absent optional). Unknown names:
 * ERR_INPUT with the nearest right one. */
int pipeline_root_params_in(struct arena *a, const struct pipeline *p,
                            const struct given_param *given, size_t n_given,
                            struct value *out, struct err *e);

#endif
